"""The same model under the names of other hands: OpenAI's GPT-2, torch.compile, DistributedDataParallel, bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import spectra
from spectra.types import MatrixRow
from tests.spectra.same_numbers import OPTIONS, assert_same_numbers, rows_by_place
from tests.spectra.tiny_models import HEADS, build_tiny


def openai_gpt2(model: Any) -> dict[str, torch.Tensor]:
    """GPT-2 as OpenAI's file names it: no `transformer.`, no lm_head, and the causal masks beside the weights."""
    state = {
        name.removeprefix("transformer."): tensor.clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    mask = torch.tril(torch.ones(64, 64))[None, None]
    return state | {f"h.{layer}.attn.bias": mask.clone() for layer in (0, 1)}


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_gpt2_as_openai_named_it(tmp_path: Path, *, config: bool, suffix: str) -> None:
    model = build_tiny("gpt2")
    state = openai_gpt2(model)
    if suffix == "bin":
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        save_file(state, tmp_path / "model.safetensors")
    if config:
        model.config.save_pretrained(tmp_path)
    analysis = spectra.analyze(tmp_path, options=OPTIONS)
    ledger = {line.tensor: line for line in analysis.coverage}
    assert ledger.keys() == state.keys()
    for layer in (0, 1):
        mask = ledger[f"h.{layer}.attn.bias"]
        assert (mask.disposition, mask.reason) == ("skipped", "causal mask buffer: computed, not learned")
        assert ledger[f"h.{layer}.attn.c_attn.weight"].disposition == "split"
    live = spectra.analyze(model, options=OPTIONS if config else replace(OPTIONS, circuits=False))
    assert_same_numbers(live, analysis, rel=1e-12)
    assert len(analysis.circuits) == (2 * 2 * HEADS if config else 0)
    if not config:
        assert analysis.notes == (
            "No attention circuits: the config does not give the number of attention heads (h.0.attn and 1 more).",
        )


WRAPPED = ("gpt2", "gpt_neox", "mixtral", "gpt_oss", "vit", "t5")


@pytest.mark.parametrize("arch", WRAPPED)
@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_prefixed_state_dict(arch: str, prefix: str, tmp_path: Path) -> None:
    model = build_tiny(arch)
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    config = model.config.to_dict()
    live = spectra.analyze(model, options=OPTIONS)
    held = spectra.analyze(state, options=OPTIONS, config=config)
    assert [line.tensor for line in held.coverage] == list(state)
    assert_same_numbers(live, held, rel=1e-12)
    torch.save({"model": state, "step": 3}, tmp_path / "last.pt")  # as training scripts do
    assert_same_numbers(live, spectra.analyze(tmp_path / "last.pt", options=OPTIONS, config=config), rel=1e-12)


# torch.compile's first call imports torch._dynamo, which still uses torch.jit.script_method and warns of itself.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("arch", WRAPPED)
@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel])
def test_wrapped_module(arch: str, wrap: Callable[[Any], Any]) -> None:
    """A wrapper hides the model's config behind an attribute; head counts are found all the same."""
    model = build_tiny(arch)
    wrapped = wrap(model)
    analysis = spectra.analyze(wrapped, options=OPTIONS)
    assert [line.tensor for line in analysis.coverage] == list(wrapped.state_dict())
    assert_same_numbers(spectra.analyze(model, options=OPTIONS), analysis, rel=1e-12)


@pytest.mark.parametrize("arch", ["gpt2", "gpt_oss"])
def test_bfloat16_changes_the_numbers_alone(arch: str) -> None:
    model = build_tiny(arch)
    exact = spectra.analyze(model, options=OPTIONS)
    rounded = spectra.analyze(model.to(torch.bfloat16), options=OPTIONS)
    assert {row.ref.dtype for row in rounded.matrices} == {"bfloat16"}
    assert exact.coverage == rounded.coverage

    def plain(row: MatrixRow) -> tuple[Any, ...]:
        return row.ref.name, row.ref.role, row.ref.layer, row.ref.rows, row.ref.cols, row.status

    assert [plain(row) for row in exact.matrices] == [plain(row) for row in rounded.matrices]
    assert rows_by_place(exact) != rows_by_place(rounded)
    for one, other in zip(exact.matrices, rounded.matrices, strict=True):
        norm = one.values["frobenius_norm"]
        assert other.values["frobenius_norm"] == pytest.approx(norm, rel=2**-9)  # unit roundoff of bfloat16
