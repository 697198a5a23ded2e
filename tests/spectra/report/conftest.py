"""Analyses to report on: a tiny Llama with hostile names, and what is made from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spectra.analysis import analyze
from spectra.checkpoint import open_checkpoint
from spectra.compare import Comparison, compare
from spectra.options import AnalysisOptions
from spectra.track import Track, track
from spectra.types import Analysis
from tests.spectra.conftest import LLAMA_CONFIG, Save, llama_tensors
from tests.spectra.report.browser import Browser, find_chromium

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


QUICK = AnalysisOptions(workers=1, null=False, circuits=False)


@pytest.fixture
def comparison(save: Save) -> Comparison:
    """Two checkpoints of three layers: two updates of rank 2, one with NaN, hostile names matched and left over."""
    rng = np.random.default_rng(1)
    first = llama_tensors(layers=3)
    for name in (IMG, CONTROL):
        first[name] = rng.standard_normal((24, 40)).astype(np.float32)
    second = {name: value.copy() for name, value in first.items() if name != CONTROL}
    second[SCRIPT] = rng.standard_normal((20, 30)).astype(np.float32)
    for name in ("model.layers.1.mlp.up_proj.weight", "model.layers.2.self_attn.q_proj.weight"):
        rows, cols = second[name].shape
        step = rng.standard_normal((rows, 2)) @ rng.standard_normal((2, cols))
        second[name] = (second[name] + 0.1 * step).astype(np.float32)
    second["model.layers.0.mlp.down_proj.weight"][0, 0] = np.nan
    config = LLAMA_CONFIG | {"num_hidden_layers": 3}
    folders = [save(tensors, config, name=name) for tensors, name in ((first, "a"), (second, "b"))]
    a, b = (analyze(folder, options=QUICK) for folder in folders)
    return compare(a, b, (open_checkpoint(folders[0]), open_checkpoint(folders[1])), workers=1)


@pytest.fixture
def followed(save: Save) -> Track:
    """Four checkpoints whose q grows heavier in the tail; hostile names, and a matrix that is missing at the first step."""
    series = []
    for step in (100, 200, 500, 1000):
        tensors = llama_tensors(layers=4)
        for layer in range(4):
            tensors[f"model.layers.{layer}.self_attn.q_proj.weight"][:, 0] *= 1 + step / 100
        tensors[IMG] = np.random.default_rng(2).standard_normal((24, 40)).astype(np.float32)
        if step > 100:
            tensors[SCRIPT] = np.random.default_rng(3).standard_normal((24, 40)).astype(np.float32)
        folder = save(tensors, LLAMA_CONFIG | {"num_hidden_layers": 4}, name=f"checkpoint-{step}")
        series.append((step, analyze(folder, options=AnalysisOptions(workers=1, null=False))))
    return track(series)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = find_chromium()
    assert program is not None
    made = Browser(program, tmp_path / "profile")
    yield made
    made.close()
