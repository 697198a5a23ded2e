"""Analyses to report on: a tiny Llama with hostile names, and what is made from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spectra.analysis import analyze
from spectra.options import AnalysisOptions
from spectra.types import Analysis
from tests.spectra.conftest import LLAMA_CONFIG, Save, llama_tensors

IMG = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(2)</script>&amp;<b>\"'"
CONTROL = "a\x1b[31m\u202eb\u2028c"


@pytest.fixture
def analysis(save: Save) -> Analysis:
    """Eight layers, one of them failing in several ways, and matrices named to break a page."""
    tensors = llama_tensors(layers=8)
    rng = np.random.default_rng(1)
    for name in (IMG, SCRIPT, CONTROL):
        tensors[name] = rng.standard_normal((24, 40)).astype(np.float32)
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = np.nan
    tensors["model.layers.2.mlp.up_proj.weight"][:] = 0
    tensors["model.layers.5.self_attn.q_proj.weight"][:, 0] *= 40
    config = LLAMA_CONFIG | {"num_hidden_layers": 8}
    return analyze(save(tensors, config), options=AnalysisOptions(workers=1))


def mixture(analysis: Analysis, experts: int) -> Analysis:
    """The same with every feed-forward matrix as so many experts, in an encoder and a decoder."""
    rows = []
    for row in analysis.matrices:
        if row.ref.role not in ("gate", "up", "down"):
            rows += [replace(row, ref=replace(row.ref, stack="decoder" if row.ref.layer is not None else ""))]
            continue
        for stack in ("encoder", "decoder"):
            rows += [
                replace(row, ref=replace(row.ref, name=f"{stack}.{row.ref.name}[expert {e}]", expert=e, stack=stack))
                for e in range(experts)
            ]
    return replace(analysis, matrices=tuple(rows))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "report.html"
