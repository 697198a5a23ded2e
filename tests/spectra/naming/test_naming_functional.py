"""Splits proved on tiny random models: what our cut computes is what the model itself computes.

x is the input of the fused weight, at position 0, where rotary embeddings are the identity; biases are zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from spectra.naming import cut, plan
from spectra.stored import Stored
from spectra.types import Plan, TensorInfo
from tests.spectra.tiny_models import build

SIZES = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "n_positions": 16}
PAD = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
Array = NDArray[Any]


def plan_live(model: Any, *, kinds: bool) -> Plan:
    """The plan of a model's parameters, with or without the class names of their modules."""
    tensors = {}
    for name, parameter in model.named_parameters():
        owner = type(model.get_submodule(name.rpartition(".")[0])).__name__
        tensors[name] = TensorInfo(
            name=name, shape=tuple(parameter.shape), dtype="float32", kind=owner if kinds else ""
        )
    return plan(tensors, model.config.to_dict())


def weights(model: Any, result: Plan) -> dict[str, Array]:
    """Every matrix of a plan, cut and decoded, by its name."""
    parameters = dict(model.named_parameters())
    found = {}
    for ref in result.matrices:
        raw = parameters[ref.tensor].detach().numpy()
        stored = Stored(raw if ref.view.index is None else raw[ref.view.index], "float32")
        matrix = cut(stored, ref.view)
        assert matrix.shape == (ref.rows, ref.cols), ref.name
        found[ref.name] = matrix.decode()
    return found


def check_heads(found: Mapping[str, Array], result: Plan, x: Array, q: Array, k: Array, v: Array) -> None:
    """q (H, Dh), k and v (K or H, Dh) of the first layer's attention against x @ W[head].T."""
    circuit = result.attention[0]
    assert q.shape == (circuit.heads, circuit.head_dim)
    for name, states in ((circuit.q, q), (circuit.k, k), (circuit.v, v)):
        count = circuit.heads if name == circuit.q else circuit.kv_heads
        ours = (found[name] @ x).reshape(count, -1)
        # Models that repeat k and v for every query head of the group: h // G is its key/value head
        ours = ours[np.arange(len(states)) * count // len(states)]
        np.testing.assert_allclose(ours, states, rtol=1e-4, atol=1e-4)


def spy_on_attention(model: Any, fused: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Array, Array, Array, Array]:
    """Input of the first layer's fused projection, and the q, k, v that reach its attention."""
    module = import_module(type(model).__module__)
    original = module.eager_attention_forward
    seen: list[Any] = []

    def spy(owner: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        seen.extend([query, key, value])
        return original(owner, query, key, value, *args, **kwargs)

    monkeypatch.setattr(module, "eager_attention_forward", spy)
    projection = next(m for name, m in model.named_modules() if name.endswith(fused))
    handle = projection.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(torch.tensor([[3]]))
    handle.remove()
    x, q, k, v = (tensor.detach().numpy() for tensor in seen[:4])
    return x[0, 0], q[0, :, 0], k[0, :, 0], v[0, :, 0]


@pytest.mark.parametrize("kinds", [True, False])
@pytest.mark.parametrize(("config", "settings", "fused"), [
    ("GPT2Config", {**GPT2, **PAD}, "c_attn"),
    ("GPTNeoXConfig", {**SIZES, **PAD}, "query_key_value"),
    ("Phi3Config", {**SIZES, **PAD, "num_key_value_heads": 2}, "qkv_proj"),
    ("GPTBigCodeConfig", {**GPT2, **PAD, "multi_query": True}, "c_attn"),
    ("GPTBigCodeConfig", {**GPT2, **PAD, "multi_query": False}, "c_attn"),
    ("PersimmonConfig", {**SIZES, **PAD, "qk_layernorm": False}, "query_key_value"),
])  # fmt: skip
def test_qkv_through_the_attention_interface(
    config: str, settings: dict[str, Any], fused: str, kinds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(config, **settings)
    result = plan_live(model, kinds=kinds)
    assert len(result.attention) == 2
    check_heads(weights(model, result), result, *spy_on_attention(model, fused, monkeypatch))


@pytest.mark.parametrize("settings", [
    {"multi_query": True, "new_decoder_architecture": False},
    {"multi_query": False, "new_decoder_architecture": False, "alibi": True},
    {"multi_query": False, "new_decoder_architecture": True, "num_kv_heads": 2},
], ids=["multi-query", "interleaved", "grouped"])  # fmt: skip
def test_falcon(settings: dict[str, Any]) -> None:
    model = build("FalconConfig", **SIZES, **PAD, **settings)
    attention = model.transformer.h[0].self_attention
    x = torch.randn(1, 1, 32)
    with torch.no_grad():
        states = [s.numpy()[0, 0] for s in attention._split_heads(attention.query_key_value(x))]
    result = plan_live(model, kinds=True)
    assert result.attention[0].kv_heads == {True: 1}.get(settings["multi_query"], settings.get("num_kv_heads", 4))
    check_heads(weights(model, result), result, x.numpy()[0, 0], *states)


def test_bloom() -> None:
    model = build("BloomConfig", vocab_size=64, hidden_size=32, n_layer=2, n_head=4, **PAD)
    attention = model.transformer.h[0].self_attention
    x = torch.randn(1, 1, 32)
    with torch.no_grad():
        states = [s.numpy()[0, :, 0] for s in attention._reshape(attention.query_key_value(x))]
    result = plan_live(model, kinds=True)
    check_heads(weights(model, result), result, x.numpy()[0, 0], *states)


def test_codegen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("CodeGenConfig", **GPT2, **PAD, rotary_dim=4)
    attention = model.transformer.h[0].attn
    seen: list[Any] = []

    def spy(query: Any, key: Any, value: Any, attention_mask: Any = None) -> Any:
        seen.extend([query, key, value])
        return type(attention)._attn(attention, query, key, value, attention_mask)

    monkeypatch.setattr(attention, "_attn", spy)
    attention.qkv_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(torch.tensor([[3]]))
    x, q, k, v = (tensor.detach().numpy() for tensor in seen)
    result = plan_live(model, kinds=True)
    check_heads(weights(model, result), result, x[0, 0], q[0, :, 0], k[0, :, 0], v[0, :, 0])


def test_mpt_attention_computed_from_the_cuts() -> None:
    """No rotary embedding, so the whole module can be rebuilt from q, k, v and o at three positions."""
    model = build("MptConfig", vocab_size=64, d_model=32, n_layers=2, n_heads=4, **PAD)
    x = torch.randn(1, 3, 32)
    with torch.no_grad():
        expected = model.transformer.blocks[0].attn(x, position_bias=None)[0][0].numpy()
    result = plan_live(model, kinds=True)
    found, circuit = weights(model, result), result.attention[0]
    H, Dh = circuit.heads, circuit.head_dim
    q, k, v = (
        (x.numpy()[0] @ found[name].T).reshape(3, H, Dh).transpose(1, 0, 2)
        for name in (circuit.q, circuit.k, circuit.v)
    )
    scores = torch.softmax(torch.from_numpy(q @ k.transpose(0, 2, 1)) / Dh**0.5, -1).numpy()
    ours = (scores @ v).transpose(1, 0, 2).reshape(3, H * Dh) @ found[circuit.o].T
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def _gpt_oss_glu(gate: Array, up: Array) -> Array:
    gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
    return (up + 1) * gate / (1 + np.exp(-1.702 * gate))


@pytest.mark.parametrize(("config", "extra", "glu"), [
    ("MixtralConfig", {"num_local_experts": 3, "num_experts_per_tok": 1}, lambda g, u: _silu(g) * u),
    ("Qwen3MoeConfig", {"num_experts": 3, "num_experts_per_tok": 1, "moe_intermediate_size": 48},
     lambda g, u: _silu(g) * u),
    ("GptOssConfig", {"num_local_experts": 3, "num_experts_per_tok": 1, "head_dim": 8, "layer_types": ["full_attention"] * 2},
     _gpt_oss_glu),
])  # fmt: skip
@pytest.mark.parametrize("kinds", [True, False])
def test_expert_stacks(config: str, extra: dict[str, Any], glu: Callable[[Array, Array], Array], kinds: bool) -> None:
    model = build(config, **{**SIZES, **PAD, "num_key_value_heads": 2, **extra})
    experts = model.model.layers[0].mlp.experts
    x = torch.randn(1, 32) / 4
    result = plan_live(model, kinds=kinds)
    found = weights(model, result)
    for e in range(3):
        with torch.no_grad():
            expected = experts(x, torch.tensor([[e]]), torch.ones(1, 1)).numpy()[0]
        gate, up, down = (
            found[f"model.layers.0.mlp.experts.{name}"]
            for name in (
                f"gate_up_proj[expert {e}][gate]", f"gate_up_proj[expert {e}][up]", f"down_proj[expert {e}]"
            )
        )  # fmt: skip
        ours = down @ glu(gate @ x.numpy()[0], up @ x.numpy()[0])
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)


def test_phi3_gate_and_up() -> None:
    model = build("Phi3Config", **SIZES, **PAD)
    found = weights(model, plan_live(model, kinds=True))
    x = torch.randn(32)
    with torch.no_grad():
        expected = model.model.layers[0].mlp(x).numpy()
    mlp = "model.layers.0.mlp."
    gate, up = found[mlp + "gate_up_proj.weight[gate]"] @ x.numpy(), found[mlp + "gate_up_proj.weight[up]"] @ x.numpy()
    np.testing.assert_allclose(found[mlp + "down_proj.weight"] @ (_silu(gate) * up), expected, rtol=1e-3, atol=1e-3)


def test_latent_attention_keys_and_values() -> None:
    """DeepseekV3Attention views kv_b's output as (heads, nope + v) and splits it."""
    model = build(
        "DeepseekV3Config", **SIZES, **PAD, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, moe_intermediate_size=16, q_lora_rank=16, kv_lora_rank=12, qk_nope_head_dim=8,
        qk_rope_head_dim=4, v_head_dim=6,
    )  # fmt: skip
    attention = model.model.layers[0].self_attn
    c = torch.randn(12)
    with torch.no_grad():
        key, value = attention.kv_b_proj(c).view(4, 14).split([8, 6], dim=-1)
    result = plan_live(model, kinds=True)
    found = weights(model, result)
    kv_b = "model.layers.0.self_attn.kv_b_proj.weight"
    np.testing.assert_allclose((found[kv_b + "[k]"] @ c.numpy()).reshape(4, 8), key.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((found[kv_b + "[v]"] @ c.numpy()).reshape(4, 6), value.numpy(), rtol=1e-4, atol=1e-4)
    assert result.attention == ()
