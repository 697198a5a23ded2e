"""All 28 architectures of arch_params.json, as held in memory and as saved: every role, spelled out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from spectra.naming import plan
from spectra.types import Plan, TensorInfo

Ledger = Callable[[Mapping[str, TensorInfo], Plan], None]

DATA = Path(__file__).parents[4] / "shared" / "data" / "arch_params.json"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="shared/data/arch_params.json is not here")

MHA = {"num_attention_heads": 4, "hidden_size": 32}
GQA = {**MHA, "num_key_value_heads": 2}
MOE = {"num_experts": 4}
# arch: (config beside model_type, roles of both layers' matrices and of the rest, attention modules)
LLAMA = "embed lm_head 2q 2k 2v 2o 2gate 2up 2down"
EXPECTED: dict[str, tuple[dict[str, Any], str, int]] = {
    **dict.fromkeys(("llama", "qwen2", "qwen3", "mistral", "olmo", "olmo2", "phi3"), (GQA, LLAMA, 2)),
    **dict.fromkeys(("gemma2", "gemma3_text"), (GQA, LLAMA.replace("lm_head ", ""), 2)),
    **dict.fromkeys(("mixtral", "gpt_oss", "qwen3_moe"), (GQA, "embed lm_head 2q 2k 2v 2o 2router 8gate 8up 8down", 2)),
    "qwen2_moe": (GQA, "embed lm_head 2q 2k 2v 2o 4router 10gate 10up 10down", 2),
    "phi": (GQA, "embed lm_head 2q 2k 2v 2o 2up 2down", 2),
    "gpt2": ({"n_head": 4, "n_embd": 32}, "2embed 2q 2k 2v 2o 2up 2down", 2),
    "gpt_neo": ({"num_heads": 4}, "2embed 2q 2k 2v 2o 2up 2down", 2),
    "gptj": ({"n_head": 4}, "embed lm_head 2q 2k 2v 2o 2up 2down", 2),
    "gpt_neox": (MHA, "embed lm_head 2q 2k 2v 2o 2up 2down", 2),
    "bloom": ({"n_head": 4}, "embed 2q 2k 2v 2o 2up 2down", 2),
    "mpt": ({"n_heads": 4, "attn_config": {"attn_type": "multihead_attention"}}, "embed 2q 2k 2v 2o 2up 2down", 2),
    "falcon": ({**MHA, "multi_query": True, "num_kv_heads": 4}, "embed 2q 2k 2v 2o 2up 2down", 2),
    "falcon_new_decoder": (
        {**MHA, "new_decoder_architecture": True, "num_kv_heads": 2}, "embed 2q 2k 2v 2o 2up 2down", 2
    ),
    "opt": (MHA, "2embed 2q 2k 2v 2o 2up 2down", 2),
    "bert": (MHA, "3embed 2q 2k 2v 2o 2up 2down other", 2),  # other: cls.predictions.transform
    "vit": (MHA, "conv embed lm_head 2q 2k 2v 2o 2up 2down", 2),
    "deepseek_v3": (
        {**MHA, "qk_nope_head_dim": 8, "v_head_dim": 8}, "embed lm_head 4qkv_in 2q 2k 2v 2o", 0
    ),
    "mamba": ({}, "embed 2conv 10other", 0),
    "t5": ({"num_heads": 4, "d_kv": 8}, "3embed 6q 6k 6v 6o 4up 4down", 6),
}  # fmt: skip


def _roles(text: str) -> dict[str, int]:
    counts = {}
    for word in text.split():
        role = word.lstrip("0123456789")
        counts[role] = int(word[: len(word) - len(role)] or 1)
    return counts


def _cases() -> list[Any]:
    return [(arch, which) for arch in EXPECTED for which in ("runtime", "saved")]


@pytest.fixture(scope="module")
def archs() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DATA.read_text())
    return found


def _plan(archs: dict[str, Any], arch: str, which: str, **config: Any) -> tuple[dict[str, TensorInfo], Any]:
    entry = archs[arch]
    tensors = {
        t["name"]: TensorInfo(
            name=t["name"], shape=tuple(t["shape"]), dtype="float32", kind=t.get("module", "") if which == "runtime" else ""
        )
        for t in entry[which]
    }  # fmt: skip
    return tensors, plan(tensors, {"model_type": entry["model_type"], **config})


def test_every_architecture_is_expected(archs: dict[str, Any]) -> None:
    assert set(archs) - {"_meta"} == set(EXPECTED)


@pytest.mark.parametrize(("arch", "which"), _cases())
def test_roles_and_attention(archs: dict[str, Any], arch: str, which: str, ledger: Ledger) -> None:
    config, roles, modules = EXPECTED[arch]
    tensors, result = _plan(archs, arch, which, **config)
    ledger(tensors, result)
    counts: dict[str, int] = {}
    for ref in result.matrices:
        counts[ref.role] = counts.get(ref.role, 0) + 1
    if arch == "deepseek_v3":  # its dense first layer, experts and shared experts
        feed_forward = {role: counts.pop(role) for role in ("gate", "up", "down", "router") if role in counts}
        assert len({feed_forward[role] for role in ("gate", "up", "down")}) == 1
    assert counts == _roles(roles)
    assert len(result.attention) == modules
    for circuit in result.attention:
        assert circuit.heads == 4
        assert circuit.head_dim == circuit.value_dim == 8
        assert circuit.kv_heads == {"falcon": 1, "falcon_new_decoder": 2}.get(
            arch, 2 if config.get("num_key_value_heads") else 4
        )
    assert all(ref.layer in (0, 1) for ref in result.matrices if ref.role in ("q", "k", "v", "o", "up", "down"))


@pytest.mark.parametrize("arch", [a for a in EXPECTED if a not in ("t5", "mamba")])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod._fsdp_wrapped_module.", "strip"])
def test_prefixes_change_nothing(archs: dict[str, Any], arch: str, prefix: str) -> None:
    entry = archs[arch]
    config = {"model_type": entry["model_type"], **EXPECTED[arch][0]}
    plain, changed = {}, {}
    for t in entry["saved"]:
        name = t["name"]
        head, _, rest = name.partition(".")
        renamed = (
            (rest if head in ("model", "transformer", "gpt_neox", "bert") else name)
            if prefix == "strip"
            else prefix + name
        )
        plain[name] = TensorInfo(name=name, shape=tuple(t["shape"]), dtype="float32")
        changed[renamed] = TensorInfo(name=renamed, shape=tuple(t["shape"]), dtype="float32")
    before, after = plan(plain, config), plan(changed, config)
    assert [(r.role, r.layer, r.rows, r.cols, r.stack) for r in before.matrices] == [
        (r.role, r.layer, r.rows, r.cols, r.stack) for r in after.matrices
    ]
    assert len(before.attention) == len(after.attention)


def test_gpt2_is_oriented_as_out_in(archs: dict[str, Any]) -> None:
    for which in ("runtime", "saved"):
        _, result = _plan(archs, "gpt2", which, n_head=4)
        shapes = {ref.name: (ref.rows, ref.cols) for ref in result.matrices if ref.layer == 0}
        assert shapes["transformer.h.0.attn.c_attn.weight[q]"] == (32, 32)
        assert shapes["transformer.h.0.mlp.c_fc.weight"] == (48, 32)
        assert shapes["transformer.h.0.mlp.c_proj.weight"] == (32, 48)


def test_t5_stacks_and_layers(archs: dict[str, Any]) -> None:
    _, result = _plan(archs, "t5", "saved", num_heads=4, d_kv=8)
    ref = next(r for r in result.matrices if r.name == "encoder.block.0.layer.1.DenseReluDense.wi.weight")
    assert (ref.layer, ref.stack, ref.role) == (0, "encoder", "up")
    cross = [a for a in result.attention if "EncDecAttention" in a.module]
    assert [(a.layer, a.stack) for a in cross] == [(0, "decoder"), (1, "decoder")]


def test_every_other_architecture_has_one_stack(archs: dict[str, Any]) -> None:
    for arch in EXPECTED:
        _, result = _plan(archs, arch, "saved")
        assert arch == "t5" or {ref.stack for ref in result.matrices} == {""}


def test_ties_are_offered_between_lm_head_and_embedding(archs: dict[str, Any]) -> None:
    _, result = _plan(archs, "gpt_neox", "saved", **MHA)
    assert result.tie_candidates == (("embed_out.weight", "gpt_neox.embed_in.weight"),)
