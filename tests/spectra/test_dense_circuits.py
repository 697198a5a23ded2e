"""Circuits of fused attention against dense products, with q, k, v, o from the model's own code."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import spectra
from tests.spectra.same_numbers import OPTIONS
from tests.spectra.tiny_models import HEAD_DIM, HEADS, WIDTH, build_tiny

Array = NDArray[Any]
Heads = tuple[Array, Array, Array, Array]  # q (H, Dh, D), k and v (K or H, Dh, D), o (D, H Dh)


def unit_inputs() -> torch.Tensor:
    """The unit vectors as D sequences of one position, where rotary embeddings are the identity: (D, 1, D)."""
    return torch.eye(WIDTH)[:, None]


def heads_of(states: list[torch.Tensor], output: Callable[[torch.Tensor], torch.Tensor]) -> Heads:
    """Matrices from the q, k, v states (D, heads, Dh) of the unit inputs, and from the output projection itself."""
    q, k, v = (state.permute(1, 2, 0).double().numpy() for state in states)
    o = output(torch.eye(HEADS * HEAD_DIM)).T.double().numpy()
    return q, k, v, o


def through_attention(fused: str, output: str) -> Callable[[Any, pytest.MonkeyPatch], list[Heads]]:
    """Heads as they reach `eager_attention_forward` when the fused projection is fed the unit vectors."""

    def run(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[Heads]:
        module = import_module(type(model).__module__)
        original = module.eager_attention_forward
        found: list[Heads] = []

        def spy(owner: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            found.append(heads_of([state[:, :, 0] for state in (query, key, value)], getattr(owner, output)))
            return original(owner, query, key, value, *args, **kwargs)

        monkeypatch.setattr(module, "eager_attention_forward", spy)
        handles = [
            part.register_forward_pre_hook(lambda _, args: (unit_inputs(), *args[1:]))
            for name, part in model.named_modules()
            if name.endswith(fused)
        ]
        model(torch.zeros(WIDTH, 1, dtype=torch.long))
        for handle in handles:
            handle.remove()
        return found

    return run


def falcon_heads(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[Heads]:
    """`FalconAttention._split_heads`: (D, 1, heads, Dh)."""
    found = []
    for block in model.transformer.h:
        attention = block.self_attention
        states = attention._split_heads(attention.query_key_value(unit_inputs()))
        found.append(heads_of([state[:, 0] for state in states], attention.dense))
    return found


def bloom_heads(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[Heads]:
    """`BloomAttention._reshape`: (D, heads, 1, Dh)."""
    found = []
    for block in model.transformer.h:
        attention = block.self_attention
        states = attention._reshape(attention.query_key_value(unit_inputs()))
        found.append(heads_of([state[:, :, 0] for state in states], attention.dense))
    return found


OWN_SPLIT = {
    "gpt2": through_attention("attn.c_attn", "c_proj"),
    "gpt_neox": through_attention("attention.query_key_value", "dense"),
    "phi3": through_attention("self_attn.qkv_proj", "o_proj"),
    "falcon": falcon_heads,
    "falcon_new_decoder": falcon_heads,
    "bloom": bloom_heads,
}


@pytest.mark.parametrize("arch", OWN_SPLIT)
def test_circuits_equal_the_dense_product(arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_tiny(arch)
    with torch.no_grad():
        layers = OWN_SPLIT[arch](model, monkeypatch)
    assert len(layers) == 2
    model.save_pretrained(tmp_path)
    for source in (tmp_path, model):
        circuits = spectra.analyze(source, options=OPTIONS).circuits
        assert len(circuits) == 2 * 2 * HEADS
        for circuit in circuits:
            assert circuit.layer is not None and circuit.head is not None
            q, k, v, o = layers[circuit.layer]
            h = circuit.head
            g = h * len(k) // HEADS  # Falcon repeats k and v for every query head of a group
            dense = k[g].T @ q[h] if circuit.kind == "qk" else o[:, h * HEAD_DIM : (h + 1) * HEAD_DIM] @ v[g]
            s = np.linalg.svd(dense, compute_uv=False)
            assert s[HEAD_DIM] < 1e-12 * s[0]
            p = s[:HEAD_DIM] / s[:HEAD_DIM].sum()
            assert circuit.values["spectral_norm"] == pytest.approx(s[0], rel=1e-6)
            assert circuit.values["frobenius_norm"] == pytest.approx(np.linalg.norm(dense), rel=1e-6)
            assert circuit.values["effective_rank"] == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-6)
            assert circuit.values["pseudo_rank"] == (np.searchsorted(np.cumsum(p), 0.95) + 1) / HEAD_DIM
