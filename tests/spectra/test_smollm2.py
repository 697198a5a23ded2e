"""SmolLM2-135M, the real model of `make demo` (skipped where that has not run): against WeightWatcher, SVD, dense products."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spectra.analysis import analyze
from spectra.checkpoint import open_checkpoint
from spectra.options import AnalysisOptions
from spectra.types import Analysis

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "demo" / "SmolLM2-135M-Instruct.Q4_1.gguf"
GOLDEN = ROOT / "tests" / "data" / "smollm2_weightwatcher_0.7.7.json"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not MODEL.exists(), reason="make demo has not fetched the model")]

GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def gguf_name(name: str) -> str:
    """transformers' name -> llama.cpp's."""
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    _, _, layer, rest = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest]}.weight"


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyze(MODEL, options=AnalysisOptions(null_cache=None))


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    checkpoint = open_checkpoint(MODEL)
    return {n: checkpoint.read(n).decode() for n, info in checkpoint.tensors.items() if len(info.shape) == 2}


def test_every_tensor_once(analysis: Analysis) -> None:
    assert len(analysis.coverage) == len({c.tensor for c in analysis.coverage}) == 272
    roles = [row.ref.role for row in analysis.matrices]
    assert {role: roles.count(role) for role in set(roles)} == {
        "q": 30, "k": 30, "v": 30, "o": 30, "gate": 30, "up": 30, "down": 30, "embed": 1,
    }  # fmt: skip
    assert len(analysis.circuits) == 30 * 9 * 2
    assert any("quantisation noise" in note for note in analysis.notes)


def test_goodness_of_fit_agrees_with_weightwatcher(analysis: Analysis) -> None:
    theirs = json.loads(GOLDEN.read_text())["alpha"]
    ours = {row.ref.name: row.values["alpha_gof"] for row in analysis.matrices}
    both = {gguf_name(name): alpha for name, alpha in theirs.items() if name != "lm_head.weight"}
    assert both.keys() == ours.keys()
    for name, alpha in both.items():
        assert ours[name] == pytest.approx(alpha, rel=1e-4), name


def test_hill_is_the_formula_on_a_float64_svd(analysis: Analysis, weights: dict[str, np.ndarray]) -> None:
    for row in analysis.matrices:
        W = weights[row.ref.tensor]
        if W.shape[0] > 10000:
            W = np.linalg.qr(W, mode="r")  # same singular values, in a minute less
        lam = np.sort(np.linalg.svd(W, compute_uv=False) ** 2)
        k = len(lam) // 2
        assert row.values["alpha_hill"] == pytest.approx(1 + k / np.sum(np.log(lam[-k:] / lam[-k - 1])), rel=1e-9), (
            row.ref.name
        )


def test_circuits_equal_the_dense_product(analysis: Analysis, weights: dict[str, np.ndarray]) -> None:
    """All 30 layers x 9 heads x 2, to 1e-6."""
    for row in analysis.circuits:
        h, g, at = row.head, row.kv_head, f"blk.{row.layer}"
        q, k, v, o = (weights[f"{at}.attn_{x}.weight"] for x in ("q", "k", "v", "output"))
        if row.kind == "qk":
            dense = k[g * 64 : g * 64 + 64].T @ q[h * 64 : h * 64 + 64]
        else:
            dense = o[:, h * 64 : h * 64 + 64] @ v[g * 64 : g * 64 + 64]
        s = np.linalg.svd(dense, compute_uv=False)
        p = s[:64] / s[:64].sum()
        assert row.values["spectral_norm"] == pytest.approx(s[0], rel=1e-6)
        assert row.values["frobenius_norm"] == pytest.approx(np.linalg.norm(dense), rel=1e-6)
        assert row.values["effective_rank"] == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-6)
        assert row.values["pseudo_rank"] == (int(np.searchsorted(np.cumsum(s), 0.95 * s.sum())) + 1) / 64
