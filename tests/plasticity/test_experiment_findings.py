"""What is said of the paper's claims: no more than bases, seeds and intervals carry."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plasticity import experiment_cell
from plasticity.experiment_plan import Cell
from plasticity.experiment_results import summarise

from . import experiment_folder

TEXT = """
name: made
pretrain: {recipe: tiny, grid: {decay.base: [0, 0.1, 0.3, 1.0]}, seeds: [1, 2, 3]}
tasks: [toy_arithmetic]
evaluate: {before: false, samples: 0}
"""
Q = 200
Gone = Callable[[Cell], bool]


def told(
    out: Path, loss: Mapping[float, float], right: Mapping[float, int], *, gone: Gone = lambda _: False, text: str = TEXT,
    probe: Mapping[float, float] | None = None, uneven: float = 0.0,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Claim -> finding, of these losses (with 0.01 of luck a seed) and right answers (1 a seed); `gone`: not done."""

    def flags(cell: Cell) -> list[int]:
        many = right[cell.axes["decay.base"]] + cell.base.axes["seed"]
        return [int(n < many) for n in np.random.default_rng(3).permutation(Q)]

    def measured(cell: Cell) -> Mapping[str, Any]:
        x, seed = cell.base.axes["decay.base"], cell.base.axes["seed"]
        luck = 0.01 * np.random.default_rng([int(100 * x), seed]).standard_normal()
        return {"loss": loss[x] + luck, "probe": (probe or {}).get(x, 0.5) + 0.001 * seed * (1 + uneven * x)}

    for cell in experiment_folder.write(out, text, flags=flags, measured=measured):
        if gone(cell):
            shutil.rmtree(experiment_cell.folder(out, cell))
    return {one["claim"]: one for one in summarise(out, draws=50)["findings"]}


def tunes_of(*values: float) -> Gone:
    """Fine-tuning cells of these decays."""
    return lambda cell: cell.kind == "tune" and cell.base.axes["decay.base"] in values


LOSS = {0: 2.4, 0.1: 2.0, 0.3: 2.2, 1.0: 2.5}


def test_a_base_that_was_not_scored_may_be_the_one_of_the_smallest_loss(tmp_path: Path) -> None:
    """0.1 has it, and scores best: without its scores 1.0 must not be said to beat it."""
    right = {0: 20, 0.1: 160, 0.3: 60, 1.0: 100}
    found = told(tmp_path, LOSS, right, gone=tunes_of(0.1))
    for claim in ("plasticity", "loss"):
        assert found[claim]["status"] == "not settled"
        assert "0.1 was not scored, and may change that" in found[claim]["answer"]
        assert "Without scores: 0.1." in found[claim]["evidence"]
    assert told(tmp_path / "all", LOSS, right)["loss"]["status"] == "does not hold"


def test_a_larger_value_that_was_not_scored_may_be_better(tmp_path: Path) -> None:
    right = {0: 20, 0.1: 100, 0.3: 40, 1.0: 180}
    found = told(tmp_path, LOSS, right, gone=tunes_of(1.0))
    assert {found[claim]["status"] for claim in ("plasticity", "loss")} == {"not settled"}
    assert all("1.0 was not scored" in found[claim]["answer"] for claim in ("plasticity", "loss"))
    base = told(tmp_path / "base", LOSS, right, gone=lambda cell: cell.base.axes["decay.base"] == 1.0)
    assert base["plasticity"]["status"] == "not settled"  # its base is not done, either
    assert told(tmp_path / "all", LOSS, right)["plasticity"]["status"] == "holds"


@pytest.mark.parametrize(("of_third", "status"), [(128, "not settled"), (60, "holds")])
def test_the_winner_must_beat_every_base_that_may_have_the_smallest_loss(
    of_third: int, status: str, tmp_path: Path
) -> None:
    """0.1 and 0.3 are 0.002 apart, within their luck; 1.0 has a larger loss for certain."""
    loss = {0: 2.9, 0.1: 2.0, 0.3: 2.002, 1.0: 2.5}
    found = told(tmp_path, loss, {0: 10, 0.1: 60, 0.3: of_third, 1.0: 128})
    assert {found[claim]["status"] for claim in ("plasticity", "loss")} == {status}, found
    said = "itself not settled" if status == "not settled" else "so also against 0.3"
    assert said in found["plasticity"]["answer"]


def test_a_larger_value_is_larger_than_all_that_may_have_the_smallest_loss(tmp_path: Path) -> None:
    """0.3 is better than 0.1, which has the smallest loss; but 1.0 may have it, and is larger."""
    found = told(tmp_path, {0: 2.9, 0.1: 2.0, 0.3: 2.5, 1.0: 2.002}, {0: 10, 0.1: 60, 0.3: 150, 1.0: 50})
    assert (found["plasticity"]["status"], found["loss"]["status"]) == ("not settled", "holds")


PROBED = TEXT + "probe: {tasks: [corpus_kinds]}\n"


def probes(
    out: Path, by_decay: Mapping[float, float], gone: Gone = lambda _: False, uneven: float = 0.0
) -> dict[str, Any]:
    """`uneven`: how much more the luck of a seed is at decay 1 than at 0."""
    return told(out, LOSS, dict.fromkeys(LOSS, 50), gone=gone, text=PROBED, probe=by_decay, uneven=uneven)["probes"]


def test_a_trend_is_not_settled_while_an_end_is_missing(tmp_path: Path) -> None:
    level = {0: 0.5, 0.1: 0.6, 0.3: 0.7, 1.0: 0.2}

    def last(cell: Cell) -> bool:
        return cell.kind == "probe" and cell.base.axes["decay.base"] == 1.0

    found = probes(tmp_path / "end", level, last, uneven=1.0)
    assert found["status"] == "not settled" and "weight decay 1 was not measured" in found["answer"]
    assert "Not measured at weight decay 1." in found["evidence"]


def test_a_hole_in_the_middle_counts_as_a_step(tmp_path: Path) -> None:
    """0, 0.1 and 1.0 at steps 0, 1 and 3 of the grid lie on a line of 0.1 a step, but for the luck of seeds, the same for all."""

    def third(cell: Cell) -> bool:
        return cell.kind == "probe" and cell.base.axes["decay.base"] == 0.3

    found = probes(tmp_path, {0: 0.5, 0.1: 0.6, 1.0: 0.8}, third)
    assert (
        "there is no spread over seeds" in found["answer"] and "Not measured at weight decay 0.3." in found["evidence"]
    )
    assert "Every step goes in the direction asked about" in found["evidence"][-1]


def test_what_is_flat_in_every_seed_has_no_slope(tmp_path: Path) -> None:
    """Levels that differ by seed alone: a slope of rounding errors would differ from zero for certain, now and then."""
    for flat in (0.1, 0.3, 0.7, 0.9):
        found = probes(tmp_path / str(flat), dict.fromkeys(LOSS, flat))
        assert found["status"] == "not settled" and "no spread over seeds" in found["answer"]


def test_alphadecay_against_none_is_no_test_of_the_papers_claims(tmp_path: Path) -> None:
    text = TEXT.replace(
        "grid: {decay.base: [0, 0.1, 0.3, 1.0]}",
        "variants: {none: {decay.policy: none, decay.base: 0}, uniform: {decay.policy: uniform, decay.base: 0.1}, "
        "alphadecay: {decay.policy: alphadecay, decay.base: 0.1}}",
    )
    experiment_folder.write(
        tmp_path, text, flags=lambda cell: [int(n < 50) for n in range(100)],
        measured=lambda cell: {"loss": 2.0 + 0.01 * cell.base.axes["seed"]},
    )  # fmt: skip
    found = summarise(tmp_path, draws=50)["findings"]
    of_paper = {one["group"]: one["of_paper"] for one in found}
    assert of_paper == {"tiny (decay.policy uniform)": True, "tiny (decay.policy alphadecay)": False}


def test_of_one_seed_no_interval_is_announced(tmp_path: Path) -> None:
    found = told(tmp_path, LOSS, {0: 20, 0.1: 100, 0.3: 40, 1.0: 180}, text=TEXT.replace("[1, 2, 3]", "[1]"))
    said = " ".join(found["plasticity"]["evidence"])
    assert "at once" not in said and "of one seed there is no interval here" in said


def test_the_control_from_random_weights_is_over_its_own_seeds(tmp_path: Path) -> None:
    """Three random starts hang on one base: their luck is in the interval."""
    text = TEXT.replace("evaluate", "finetune: {from_scratch: true, seeds: [1, 2, 3]}\nevaluate").replace(
        "samples: 0", "samples: 2"
    )

    def flags(cell: Cell) -> list[int]:
        return [int(n < 40 + 20 * cell.axes["finetune.seed"]) for n in range(Q)]

    experiment_folder.write(tmp_path, text, flags=flags, measured=lambda _: {"loss": 2.0})
    made = summarise(tmp_path, draws=50)["points"]
    (control,) = [one for one in made if one["start"] == "scratch" and one["score"] == "greedy"]
    assert (control["n_seeds"], control["seeds"], control["seeds_of"]) == (3, [1, 2, 3], "fine-tuning")
    assert control["by_seed"] == pytest.approx([0.3, 0.4, 0.5])
    assert control["ci95"][0] < 0.3 and control["ci95"][1] > 0.5
    ratio = next(one for one in made if one["score"] == "correct_ratio" and one["x"] == 0.1)
    assert ratio["n_questions"] == 80  # those with a right sample: of 60, 80 and 100 the mean
