"""`spectra.analyze` on 28 architectures, as files and as live modules: ledger, roles, circuits, ties."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open

import spectra
from spectra.naming import plan
from spectra.types import Analysis, TensorInfo
from tests.spectra.conftest import SHARED
from tests.spectra.expected_roles import BY_NAME, EXPECTED, EXPERT_BIASES, FUSED, TIED, At
from tests.spectra.same_numbers import OPTIONS, assert_same_numbers
from tests.spectra.tiny_models import HEADS, TINY, build_tiny

BFLOAT16 = {"qwen2", "mixtral", "gpt2", "falcon", "bloom", "deepseek_v3", "mamba", "t5"}  # the rest in float32
SHARD_BYTES = {"llama": 20_000, "mixtral": 30_000}  # the rest in one file


@dataclass(frozen=True, kw_only=True)
class Case:
    """One architecture, analysed from its files and as it stands in memory."""

    arch: str
    model: Any
    files: dict[str, int]  # tensor -> elements
    saved: Analysis
    live: Analysis

    @property
    def both(self) -> tuple[tuple[Analysis, dict[str, int]], ...]:
        """Each analysis with the tensors it was made from."""
        state = {name: tensor.numel() for name, tensor in self.model.state_dict().items()}
        return (self.saved, self.files), (self.live, state)


def stored(folder: Path) -> dict[str, int]:
    """Tensor -> number of elements, over all safetensors files of a folder."""
    sizes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 -- safe_open is no mapping
                assert name not in sizes
                sizes[name] = int(np.prod(file.get_slice(name).get_shape()))
    return sizes


@pytest.fixture(scope="module", params=list(TINY))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Every architecture, built, saved and analysed once for all tests of this file."""
    arch = request.param
    model = build_tiny(arch, torch.bfloat16 if arch in BFLOAT16 else torch.float32)
    folder = tmp_path_factory.mktemp(arch)
    model.save_pretrained(folder, max_shard_size=SHARD_BYTES.get(arch, "1GB"))
    assert (len(list(folder.glob("model-*.safetensors"))) > 1) == (arch in SHARD_BYTES)
    return Case(
        arch=arch,
        model=model,
        files=stored(folder),
        saved=spectra.analyze(folder, options=OPTIONS),
        live=spectra.analyze(model, options=OPTIONS),
    )


def test_every_architecture_is_expected() -> None:
    assert set(TINY) == set(EXPECTED) and len(TINY) == 28
    assert BFLOAT16 | set(SHARD_BYTES) | set(TIED) <= set(TINY)


def test_ledger_has_every_tensor_once(case: Case) -> None:
    for analysis, tensors in case.both:
        assert sorted(line.tensor for line in analysis.coverage) == sorted(tensors)
        assert {line.tensor: line.parameters for line in analysis.coverage} == tensors
        cut: Counter[str] = Counter()
        for row in analysis.matrices:
            cut[row.ref.tensor] += row.ref.rows * row.ref.cols
        for line in analysis.coverage:
            wanted = line.parameters if line.disposition in ("analysed", "split") else 0
            assert cut[line.tensor] == wanted, line


def test_only_vectors_are_left_out(case: Case) -> None:
    for analysis, _ in case.both:
        for line in analysis.coverage:
            if line.disposition == "skipped" and line.reason != "vector (1-D)":
                assert case.arch == "gpt_oss" and EXPERT_BIASES.fullmatch(line.tensor), line
        counted = [line for line in analysis.coverage if line.disposition != "tied"]
        covered = sum(line.parameters for line in counted if line.disposition != "skipped")
        assert covered / sum(line.parameters for line in counted) >= EXPECTED[case.arch].covered


def test_roles_of_every_layer(case: Case) -> None:
    for analysis, _ in case.both:
        found: dict[At, Counter[str]] = {}
        for row in analysis.matrices:
            found.setdefault((row.ref.stack, row.ref.layer), Counter())[row.ref.role] += 1
        assert found == EXPECTED[case.arch].roles()
        assert {layer for _, layer in found} == {0, 1, None}


def test_roles_follow_from_names(case: Case) -> None:
    for analysis, _ in case.both:
        for row in analysis.matrices:
            path = row.ref.tensor.removesuffix(".weight")
            if FUSED.search(path.rpartition(".")[2]):
                assert row.ref.name.endswith(f"[{row.ref.role}]")
            elif not path.endswith(("position_embeddings", "mlp.experts.down_proj")):
                fitting = {role for role, ends in BY_NAME.items() if re.search(rf"(?:{ends})$", path)}
                if case.arch == "mamba":
                    fitting &= {"other", "embed", "conv"}  # the mixer's in_proj and out_proj
                assert row.ref.role in fitting and len(fitting) == 1, (row.ref.name, fitting)


def test_experts_are_numbered(case: Case) -> None:
    if "moe" not in case.arch and case.arch not in ("mixtral", "gpt_oss", "deepseek_v3"):
        assert all(row.ref.expert is None for analysis, _ in case.both for row in analysis.matrices)
        return
    shared = [None] if case.arch in ("qwen2_moe", "deepseek_v3") else []
    for analysis, _ in case.both:
        for layer in (0, 1):
            for role in ("gate", "up", "down"):
                experts = [r.ref.expert for r in analysis.matrices if (r.ref.layer, r.ref.role) == (layer, role)]
                routed = [None] if (case.arch, layer) == ("deepseek_v3", 0) else [0, 1, 2, 3, *shared]
                assert sorted(experts, key=lambda e: 9 if e is None else e) == routed


def test_every_row_is_ok_or_small(case: Case) -> None:
    dtype = "bfloat16" if case.arch in BFLOAT16 else "float32"
    for analysis, _ in case.both:
        for row in analysis.matrices:
            short = min(row.ref.rows, row.ref.cols)
            assert row.n_eigenvalues == short and row.ref.dtype == dtype
            assert row.status == ("ok" if short >= 8 else "too_few_eigenvalues"), row.ref.name
            assert (row.values["alpha_hill"] is None) == (short < 8)


def test_circuits_of_every_head(case: Case) -> None:
    expected = EXPECTED[case.arch]
    for analysis, _ in case.both:
        places = Counter((c.stack, c.layer, c.kind, c.head) for c in analysis.circuits)
        assert places == {
            (*at, kind, head): 2 if at[0] == "decoder" else 1  # T5's decoder has self- and cross-attention
            for at in expected.layers
            for kind in ("qk", "vp")
            for head in range(HEADS)
            if expected.attention
        }
        group = HEADS // expected.kv_heads
        for circuit in analysis.circuits:
            assert circuit.status == "ok" and circuit.kv_head == (circuit.head or 0) // group
            assert 0 < (circuit.values["pseudo_rank"] or 0.0) <= 1
        if case.arch == "deepseek_v3":
            assert len(analysis.notes) == 1 and "latent attention" in analysis.notes[0]
        else:
            assert analysis.notes == ()


def test_file_and_module_agree(case: Case) -> None:
    assert_same_numbers(case.saved, case.live)


def test_tied_tensors_are_analysed_once(case: Case) -> None:
    tied = {line.tensor for line in case.live.coverage if line.disposition == "tied"}
    assert tied == TIED.get(case.arch, frozenset())
    assert not tied & case.files.keys()
    # Copies with their own storage, as a state dict that went through other hands has them: found by value.
    copies = {name: tensor.clone() for name, tensor in case.model.state_dict().items()}
    analysis = spectra.analyze(copies, options=OPTIONS, config=case.model.config.to_dict())
    by_value = {line.tensor for line in analysis.coverage if line.disposition == "tied"}
    assert by_value == {name for name in tied if name.endswith("weight")}
    assert_same_numbers(case.live, analysis)


def test_names_are_those_of_the_real_architectures(case: Case) -> None:
    path = SHARED / "arch_params.json"
    if not path.exists():
        pytest.skip("../shared is absent")

    def pattern(name: str) -> str:
        return re.sub(r"(?<=\.)\d+(?=\.)", "N", name)

    listed = json.loads(path.read_text())[case.arch]
    for analysis, which in ((case.saved, "saved"), (case.live, "runtime")):
        ours = {pattern(line.tensor) for line in analysis.coverage}
        assert {pattern(tensor["name"]) for tensor in listed[which]} <= ours


@pytest.mark.parametrize("arch", list(TINY))
def test_default_sizes_are_covered(arch: str) -> None:
    """The config's default sizes (LLaMA-7B, Mixtral-8x7B, ...), without values: 99% in matrices, all heads found."""
    made = TINY[arch]
    kept = {k: v for k, v in made.settings.items() if k in ("multi_query", "new_decoder_architecture")}
    with torch.device("meta"):
        model = getattr(transformers, made.head).from_config(getattr(transformers, made.config)(**kept))
    kinds = {path: type(module).__name__ for path, module in model.named_modules()}
    tensors = {
        name: TensorInfo(
            name=name, shape=tuple(value.shape), dtype="float32", kind=kinds.get(name.rpartition(".")[0], "")
        )
        for name, value in model.named_parameters()  # tied ones once
    }  # fmt: skip
    result = plan(tensors, model.config.to_dict())
    covered = sum(ref.rows * ref.cols for ref in result.matrices)
    assert covered >= 0.99 * sum(info.parameters for info in tensors.values())
    expected = EXPECTED[arch]
    stacks = sum(2 if at[0] == "decoder" else 1 for at in expected.layers) // 2
    assert len(result.attention) == expected.attention * stacks * model.config.num_hidden_layers
    assert len(result.notes) == (arch == "deepseek_v3")
