"""A training run followed over its checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spectra.errors import SpectraError
from spectra.options import AnalysisOptions
from spectra.reading import read_result
from spectra.track import Track
from spectra.tracking import read_track, step_of, track_paths, write_track
from tests.spectra.conftest import LLAMA_CONFIG, llama_tensors

QUICK = AnalysisOptions(workers=1, null_cache=None, null=False)


class Told:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def progress(self, done: int, total: int, name: str) -> None:
        pass

    def message(self, sentence: str) -> None:
        self.sentences.append(sentence)


def checkpoint(folder: Path, step: int, *, state: bool = False) -> str:
    """Weights that grow with the step."""
    folder.mkdir(parents=True)
    save_file({n: v * np.float32(1 + step / 100) for n, v in llama_tensors().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    if state:
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return str(folder)


@pytest.fixture
def run(tmp_path: Path) -> list[str]:
    return [checkpoint(tmp_path / f"checkpoint-{step}", step) for step in (1000, 100, 200, 500)]


def follow(paths: list[str], keep: Path | None = None, **more: object) -> tuple[Track, list[str]]:
    told = Told()
    return track_paths(paths, keep=keep, options=QUICK, listener=told, **more), told.sentences  # type: ignore[arg-type]


def test_trajectories_in_the_order_of_steps(run: list[str], tmp_path: Path) -> None:
    found, _ = follow(run)
    assert found.steps == (100, 200, 500, 1000)
    name = "model.layers.1.mlp.up_proj.weight"
    base = np.linalg.norm(llama_tensors()[name].astype(np.float64))
    assert found.matrices[name]["frobenius_norm"] == pytest.approx(
        [base * (1 + s / 100) for s in found.steps], rel=1e-6
    )
    assert found.matrices[name]["alpha_hill"] == pytest.approx([found.matrices[name]["alpha_hill"][0]] * 4, rel=1e-4)
    assert set(found.roles) == {"q", "k", "v", "o", "gate", "up", "down", "embed"}
    assert set(found.circuits) == {"model.layers.0.self_attn", "model.layers.1.self_attn"}
    for kinds in found.circuits.values():
        assert all(0 < (value or 0) <= 1 for kind in ("qk", "vp") for value in kinds[kind])
    total = np.sum([np.square([v or 0 for v in series]) for series in found.norms.values()], axis=0)
    np.testing.assert_allclose(total, 1)
    assert set(found.norms) == {"embed", "layer 0", "layer 1"}
    write_track(found, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["steps"] == [100, 200, 500, 1000]
    assert read_track(tmp_path / "t.json") == found == read_result(tmp_path / "t.json")
    place = found.places[name]
    assert (place.role, place.layer, place.module, place.rows) == ("up", 1, "model.layers.1.mlp", 48)
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(SpectraError, match="no track"):
        read_track(tmp_path / "no.json")


def test_an_eleventh_checkpoint_is_the_only_one_analysed(tmp_path: Path) -> None:
    paths = [checkpoint(tmp_path / "run" / f"checkpoint-{step}", step) for step in range(10, 110, 10)]
    keep = tmp_path / "keep"
    _, first = follow(paths, keep)
    assert sum(s.startswith("analysing") for s in first) == 10
    paths.append(checkpoint(tmp_path / "run" / "checkpoint-110", 110))
    found, second = follow(paths, keep)
    assert [s for s in second if s.startswith("analysing")] == [f"analysing {paths[-1]}"]
    assert len(found.steps) == 11
    save_file({n: v + np.float32(1) for n, v in llama_tensors().items()}, Path(paths[0]) / "model.safetensors")
    _, third = follow(paths, keep)
    assert [s for s in third if s.startswith("analysing")] == [f"analysing {paths[0]}"]


def test_steps_from_trainer_state_names_or_the_user(tmp_path: Path) -> None:
    assert step_of(checkpoint(tmp_path / "last", 77, state=True)) == 77
    assert step_of("runs/a/checkpoint-1200") == 1200
    assert step_of("runs/2024/step_000500.safetensors") == 500
    assert step_of("model-step20-00001-of-00002.safetensors") == 20
    assert step_of("runs/final") is None
    unnamed = [checkpoint(tmp_path / name, s) for name, s in (("early", 1), ("late", 9))]
    with pytest.raises(SpectraError, match="--steps"):
        follow(unnamed)
    with pytest.raises(SpectraError, match="3 steps for 2"):
        follow(unnamed, steps=[1, 2, 3])
    with pytest.raises(SpectraError, match="at step 5"):
        follow(unnamed, steps=[5, 5])
    assert follow(unnamed, steps=[9, 1])[0].sources == (unnamed[1], unnamed[0])


def test_what_is_no_run_is_refused(run: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match="at least two"):
        follow(run[:1])
    other = tmp_path / "other-5"
    other.mkdir()
    save_file({"x.weight": np.random.default_rng(0).standard_normal((20, 30))}, other / "model.safetensors")
    with pytest.raises(SpectraError, match="no matrix name in common"):
        follow([run[0], str(other)])
