"""From an experiment's folder to its summary: against numbers worked out by hand, on folders that the test writes itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.summary_terminal import print_summary
from plasticity import experiment, experiment_answers, experiment_bases, experiment_cell, experiment_plan
from plasticity.experiment_families import POOLED
from plasticity.experiment_places import places
from plasticity.experiment_plan import Cell
from plasticity.experiment_points import over_seeds
from plasticity.experiment_results import read_summary, summarise, write_summary
from plasticity.stats_grid import interval
from plasticity.stats_resample import counts, percentile
from spectra.errors import SpectraError

from . import experiment_folder

TEXT = """
name: made
pretrain: {recipe: tiny, grid: {decay.base: [0, 0.1, 1.0]}, seeds: [1, 2, 3]}
finetune: {from_scratch: true}
tasks: [toy_arithmetic, medmcqa]
evaluate: {samples: 2, limit: 200, stability: [piqa]}
probe: {tasks: [corpus_kinds]}
gap: {}
spectra: {}
"""
Q = 200
RIGHT = {0: (40, 44, 48), 0.1: (60, 62, 70), 1.0: (120, 126, 126)}  # of 200 questions, by seed
LOSS = {
    0: (2.3, 2.2, 2.1),
    0.1: (2.0, 2.1, 2.2),
    1.0: (2.5, 2.59, 2.71),
}  # 0.1 has the smallest; 0 is not shown to have more
KEPT = {
    0: (2, 2, 2),
    0.1: (3, 3, 2),
    1.0: (2, 2, 1),
}  # of 4 questions of piqa after toy_arithmetic; after medmcqa one less
DRAWS = 300


def flags(cell: Cell) -> list[int]:
    """medmcqa has ten more right than toy_arithmetic; which ones is scrambled, alike for all."""
    order = np.random.default_rng(7).permutation(Q)
    if cell.kind == "before" and cell.task == "piqa":
        return [1, 1, 1, 0]
    if cell.kind == "before" or "start" in cell.axes:
        return [int(n < 10) for n in range(Q)]
    right = RIGHT[cell.axes["decay.base"]][cell.base.axes["seed"] - 1] + 10 * (cell.task == "medmcqa")
    return [int(n < right) for n in order]


def measured(cell: Cell) -> Mapping[str, Any]:
    """Probes rise with decay in every seed, the rank falls in one and rises in another, the gap rises."""
    x, seed = cell.base.axes["decay.base"], cell.base.axes["seed"]
    at = {0: 0, 0.1: 1, 1.0: 2}[x]
    rank = 0.5 + 0.1 * at * (seed - 2)
    kept = KEPT[x][seed - 1] - (cell.task == "medmcqa")
    return {
        "stability": [int(n < kept) for n in range(4)],
        "loss": LOSS[x][seed - 1],
        "probe": 0.5 + 0.1 * at + 0.01 * seed * at,
        "rank": rank,
        "gap": 0.1 * at + 0.01 * seed * at,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    experiment_folder.write(out, TEXT, flags=flags, measured=measured)
    return out


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, Any]:
    return summarise(folder, draws=DRAWS)


def point(summary: Mapping[str, Any], x: Any, task: str, score: str = "greedy") -> dict[str, Any]:
    (found,) = [p for p in summary["points"] if (p["x"], p["task"], p["score"]) == (x, task, score)]
    return dict(found)


def half_width(d: Any) -> float:
    """Of the 95% interval of the mean of (3, Q) values, by the two-way layout of seeds and questions."""
    rest = d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()
    seeds, questions = d.mean(axis=1).var(ddof=1) / 3, d.mean(axis=0).var(ddof=1) / Q
    own = questions - (rest**2).sum() / (2 * (Q - 1) * 3 * Q)
    return float(np.sqrt(4.302653**2 * seeds + 1.971957**2 * own))


def test_points_are_means_over_seeds_and_tasks_with_intervals_over_both(whole: dict[str, Any]) -> None:
    toy, mean = point(whole, 0.1, "toy_arithmetic"), point(whole, 0.1, "mean")
    assert toy["value"] == pytest.approx((60 + 62 + 70) / 600)
    assert mean["value"] == pytest.approx((64 + 5) / 200)  # the other task has 10 of 200 more
    assert toy["by_seed"] == pytest.approx([0.3, 0.31, 0.35]) and toy["n_seeds"] == 3
    assert (toy["n_questions"], mean["n_questions"]) == (Q, 2 * Q)
    for one in (toy, mean):
        assert one["ci95"][0] < one["value"] < one["ci95"][1]
        assert "3 seeds of pretraining" in one["method"]
    flat = np.array([np.arange(Q) < many for many in RIGHT[0.1]], dtype=float)
    more = np.array([np.arange(Q) < many + 10 for many in RIGHT[0.1]], dtype=float)
    assert toy["ci95"] == pytest.approx([toy["value"] - half_width(flat), toy["value"] + half_width(flat)], rel=1e-5)
    found = interval({"toy_arithmetic": flat, "medmcqa": more})
    assert found is not None and mean["ci95"] == pytest.approx(found)
    assert mean["ci95"][1] - mean["value"] < half_width(flat)  # more questions
    assert (
        point(whole, 0.1, "toy_arithmetic", "correct_ratio")["value"] == 1.0
    )  # of questions with a right sample, all are


def test_the_control_from_random_weights_has_no_x(whole: dict[str, Any]) -> None:
    control = point(whole, None, "toy_arithmetic")
    assert control["start"] == "scratch" and control["value"] == 0.05 and control["n_seeds"] == 1
    assert "one seed" in control["method"] and "questions alone" in control["method"]
    assert whole["counts"] == {"cells": 9 * (1 + 3 + 3 + 2) + 2, "done": 83, "failed": 0, "pending": 0, "blocked": 0}


def test_losses_have_a_t_interval(whole: dict[str, Any]) -> None:
    (one,) = [entry for entry in whole["loss"] if entry["x"] == 0.1]
    assert one["value"] == pytest.approx(2.1)
    assert one["ci95"][1] - 2.1 == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)


def test_statistics_against_the_loss_optimal_base(whole: dict[str, Any]) -> None:
    found = {(c["x_a"], c["task"]): c for c in whole["statistics"]["comparisons"]}
    assert {c["x_b"] for c in found.values()} == {0.1} and {c["reference_by"] for c in found.values()} == {"loss"}
    one = found[1.0, "toy_arithmetic"]
    assert one["paired"]["value"] == one["over_seeds"]["value"] == pytest.approx(60 / 200)  # (60 + 64 + 56) / 3
    assert one["over_seeds"]["t"] == pytest.approx(60 / (4 / 3**0.5))
    assert one["mcnemar"] is None  # responses of several seeds are not independent
    assert one["holm_p"] == pytest.approx(2 * one["over_seeds"]["p"])  # two tasks with the same p
    assert found[1.0, "mean"]["holm_p"] is None
    (r,) = [c for c in whole["statistics"]["correlations"] if c["of"] == "eval_loss" and c["with"] == "mean greedy"]
    losses, scores = [2.2, 2.1, 2.6], [44 + 5, 64 + 5, 124 + 5]
    assert r["pearson"]["value"] == pytest.approx(np.corrcoef(losses, scores)[0, 1])
    (best,) = [o for o in whole["statistics"]["optimum"] if o["task"] == "mean"]
    assert (best["by_loss"], best["by_score"]) == ([0.1], [1.0])
    assert best["shares"]["by_score"]["1.0"] == 1.0 and best["difference"]["ci95"][0] > 0
    (trade,) = [t for t in whole["statistics"]["tradeoffs"] if t["x"] == 1.0]
    assert trade["stability"]["value"] == pytest.approx((5 + 2) / 24 - 0.75)  # piqa: 7 of 24 after, 3 of 4 before
    assert trade["plasticity"]["value"] == pytest.approx(129 / 200)
    assert all("3 seeds" in trade[name]["method"] for name in ("stability", "upstream", "plasticity"))
    assert trade["tasks"] == ["toy_arithmetic", "medmcqa"] and trade["seeds_of"] == "pretraining"


def test_an_interval_over_seeds_is_wider_than_one_over_questions(whole: dict[str, Any]) -> None:
    """Against the two-way layout by hand; over questions alone it would be 0.12 wide."""
    (one,) = [
        c["paired"] for c in whole["statistics"]["comparisons"] if (c["x_a"], c["task"]) == (1.0, "toy_arithmetic")
    ]
    n = np.arange(Q)
    d = np.array([(n < high) * (n >= low) for low, high in zip(RIGHT[0.1], RIGHT[1.0], strict=True)], dtype=float)
    half = half_width(d)
    assert one["ci95"] == pytest.approx([0.3 - half, 0.3 + half], rel=1e-5) and 2 * half > 0.15
    assert "3 seeds" in one["method"] and one["seeds"] == [3, 3]


def test_findings_are_settled_by_intervals_over_seeds(whole: dict[str, Any]) -> None:
    found = {one["claim"]: one for one in whole["findings"]}
    assert {claim: one["status"] for claim, one in found.items()} == {
        "plasticity": "holds",
        "loss": "holds",
        "probes": "holds",
        "rank": "not settled",
        "gap": "does not hold",
    }
    assert "1.0 against 0.1" in found["plasticity"]["answer"] and "+30.00 points" in found["plasticity"]["answer"]
    assert "0.5000 at 0, 0.7400 at 1.0" in found["probes"]["answer"]
    assert found["probes"]["answer"].count("0.12") == 1  # 0.1 and 0.01 times the mean seed a step
    assert all(one["evidence"] for one in found.values())
    assert "medmcqa: 67.0% at 1.0, 37.0% at 0.1" in found["plasticity"]["evidence"]


def test_findings_can_go_the_other_way(tmp_path: Path) -> None:
    right = {0: 60, 0.1: 120, 1.0: 62}

    def other(cell: Cell) -> list[int]:
        many = right[cell.axes["decay.base"]] + 2 * cell.base.axes["seed"] if cell.kind == "tune" else 10
        return [int(n < many) for n in np.random.default_rng(3).permutation(Q)]

    def clear(cell: Cell) -> Mapping[str, Any]:
        """0.1 has the smallest loss in every seed."""
        seed = cell.base.axes["seed"]
        return {**measured(cell), "loss": 2 + abs(cell.base.axes["decay.base"] - 0.1) * (1 + 0.1 * seed)}

    text = TEXT.replace(", medmcqa]", "]").replace("from_scratch: true", "from_scratch: false")
    experiment_folder.write(tmp_path, text, flags=other, measured=clear)
    found = {one["claim"]: one for one in summarise(tmp_path, draws=DRAWS)["findings"]}
    assert found["plasticity"]["status"] == found["loss"]["status"] == "does not hold"
    assert "every larger value scores worse" in found["plasticity"]["answer"]
    assert (
        "the smallest loss also scores best" in found["loss"]["answer"] and "-29.00 points" in found["loss"]["answer"]
    )
    right[1.0] = 119
    same = tmp_path / "same"
    experiment_folder.write(same, text, flags=other, measured=clear)
    found = {one["claim"]: one for one in summarise(same, draws=DRAWS)["findings"]}
    assert found["plasticity"]["status"] == found["loss"]["status"] == "not settled"  # one question of 200 more or less


def test_bases_hold_what_was_measured(whole: dict[str, Any]) -> None:
    (base,) = [b for b in whole["bases"] if b["x"] == 1.0 and b["seed"] == 3]
    assert base["probes"]["corpus_kinds"]["test_accuracy"]["mean"] == pytest.approx(0.5 + 0.2 + 0.06)
    assert base["spectra"]["pseudo_rank"]["qk"] == {"3": [1.0, pytest.approx(0.7)]}
    assert base["spectra"]["norms"] == {"embed": [0.5, 0.25]} and base["spectra"]["steps"] == [2, 4]
    assert base["gap"]["gap"] == pytest.approx(0.26) and base["tokenizer_sha256"] == experiment_folder.TOKENIZER
    assert base["before"]["toy_arithmetic"]["greedy"]["value"] == 0.05
    assert whole["provenance"]["cells_commits"] == ["abc"] and whole["provenance"]["cell_seconds"] == 2 * 83
    assert whole["warnings"] == []


def test_written_printed_and_read_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read = read_summary(write_summary(folder))
    print_summary(read)
    printed = capsys.readouterr().out
    assert "83 of 83 cells done" in printed and "2.1000 (1.8516 to 2.3484)" in printed
    assert "does not hold. No, the reverse" in printed and "mean greedy" in printed
    (folder / "summary.json").write_text(json.dumps(read | {"schema_version": 0}), encoding="utf-8")
    with pytest.raises(SpectraError, match="version 0"):
        read_summary(folder)


def test_a_grid_in_the_middle_is_summarised_as_far_as_it_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    shutil.copytree(folder, out)
    cells = experiment_plan.cells(experiment.load(str(out / "recipe.yaml")))
    tunes = [
        cell for cell in cells if cell.kind == "tune" and cell.task == "medmcqa" and cell.base.axes["decay.base"] == 1.0
    ]
    for cell in tunes:
        shutil.rmtree(experiment_cell.folder(out, cell))
    bases = [cell for cell in cells if cell.kind == "base" and cell.base.axes["decay.base"] == 0]
    for cell in bases[1:]:
        for other in cells:
            if other.base.key == cell.key:
                shutil.rmtree(experiment_cell.folder(out, other))
    experiment_folder.record(out, bases[1], {"status": "failed", "reason": "the disk is full"})
    (probe,) = [c for c in cells if c.kind == "probe" and c.base.key == bases[0].key]
    (experiment_cell.folder(out, probe) / "probe" / "corpus_kinds" / "probe.json").write_text("{", encoding="utf-8")
    found = summarise(out, draws=DRAWS)
    assert found["counts"] == {"cells": 83, "done": 83 - 3 - 18, "failed": 1, "pending": 3 + 9, "blocked": 8}
    assert found["failed"] == [
        {"id": bases[1].id, "kind": "base", "label": bases[1].label, "reason": "the disk is full"}
    ]
    assert len(found["pending"]) == 20 and any("21 of 83 cells are missing" in w for w in found["warnings"])
    assert any("probes of corpus_kinds cannot be read" in warning for warning in found["warnings"])
    assert point(found, 0, "toy_arithmetic")["n_seeds"] == 1 and point(found, 1.0, "toy_arithmetic")["n_seeds"] == 3
    assert not [p for p in found["points"] if p["x"] == 1.0 and p["task"] == "mean"]  # not the mean of other tasks
    statuses = {one["claim"]: one["status"] for one in found["findings"]}
    assert statuses["plasticity"] == "not settled" and statuses["gap"] == "not settled"  # one seed has all values


UNEVEN = """
name: uneven
pretrain: {recipe: tiny, grid: {decay.base: [0.1, 1.0]}, seeds: [1, 2, 3]}
tasks: [toy_arithmetic]
evaluate: {before: false, samples: 0}
probe: {tasks: [corpus_kinds]}
"""
UNEVEN_RIGHT = {0.1: (20, 24, 90), 1.0: (30, 36, 0)}  # of 100; over all seeds that are there 0.1 would be ahead


def uneven(cell: Cell) -> dict[str, Any]:
    """Seed 3 makes 0.1 good; 1.0 has it for its probe and its loss alone."""
    x, seed = cell.base.axes["decay.base"], cell.base.axes["seed"]
    probe = {0.1: (0.5, 0.52, 0.9), 1.0: (0.6, 0.63, 0.0)}[x][seed - 1]
    return {"loss": {0.1: 2.0, 1.0: 2.5}[x] + 0.02 * seed * x, "probe": probe}


@pytest.fixture(scope="module")
def uneven_summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of the seeds of 1.0 the third is not fine-tuned, nor probed."""
    out = tmp_path_factory.mktemp("uneven")
    cells = experiment_folder.write(
        out, UNEVEN, measured=uneven,
        flags=lambda cell: [
            int(n < UNEVEN_RIGHT[cell.base.axes["decay.base"]][cell.base.axes["seed"] - 1])
            for n in np.random.default_rng(4).permutation(100)
        ],
    )  # fmt: skip
    for cell in cells:
        if cell.kind in {"tune", "probe"} and (cell.base.axes["decay.base"], cell.base.axes["seed"]) == (1.0, 3):
            shutil.rmtree(experiment_cell.folder(out, cell))
    return summarise(out, draws=100)


def test_a_missing_seed_does_not_turn_a_comparison_round(uneven_summary: dict[str, Any]) -> None:
    """Everything that stands side by side is over seeds 1 and 2: 22% against 33%, not 44.7% against 33%."""
    found = uneven_summary["statistics"]
    (one,) = found["comparisons"]
    assert (one["x_a"], one["x_b"], one["seeds_of"]) == (1.0, 0.1, "pretraining")
    assert (one["paired"]["value"], one["over_seeds"]["value"]) == pytest.approx((0.11, 0.11))
    assert (
        one["paired"]["status"] == "seeds_left_out" and "3" in one["paired"]["why"] and one["paired"]["seeds"] == [2, 2]
    )
    (pair,) = found["pairs"]
    assert (pair["value_a"], pair["value_b"], pair["value"]) == pytest.approx((0.22, 0.33, 0.11))
    assert pair["seeds"] == [1, 2] and "Left out, seeds that not all have: 3." in pair["said_of_seeds"]
    for one in found["correlations"]:
        x = {"eval_loss": [2.003, 2.53], "probe:corpus_kinds": [0.51, 0.615]}[one["of"]]
        assert np.array(list(one["points"].values())) == pytest.approx(np.array([[x[0], 0.22], [x[1], 0.33]]))
        assert one["seeds"] == [1, 2] and "3" in one["said_of_seeds"]
    assert found["optimum"][0]["means"] == pytest.approx({"0.1": 0.22, "1.0": 0.33})
    told = {one["claim"]: one for one in uneven_summary["findings"]}
    assert "+11.00 points" in told["plasticity"]["answer"] and "2 seeds of pretraining" in told["plasticity"]["answer"]
    assert "0.1: loss 2.0040, toy_arithmetic greedy 22.0%" in told["plasticity"]["evidence"]
    assert "Left out, seeds that not all have: 3." in told["plasticity"]["evidence"]
    assert point(uneven_summary, 0.1, "toy_arithmetic")["n_seeds"] == 3  # a point by itself is over all that it has


def test_a_trend_is_over_the_seeds_that_its_slope_is_over(uneven_summary: dict[str, Any]) -> None:
    """Over all seeds it would be 0.64 at 0.1 and 0.615 at 1.0, and a slope of +0.105."""
    (probes,) = [one for one in uneven_summary["findings"] if one["claim"] == "probes"]
    assert "0.5100 at 0.1, 0.6150 at 1.0; +0.1050 a step" in probes["answer"]
    assert probes["evidence"][:2] == ["weight decay 0.1: 0.5100 (2 seeds)", "weight decay 1.0: 0.6150 (2 seeds)"]
    assert "Left out, seeds that not all values of weight decay have: 3." in probes["evidence"]


def test_seeds_are_what_the_experiment_asks_for_not_what_is_done(
    uneven_summary: dict[str, Any], tmp_path: Path
) -> None:
    """Two seeds of pretraining are asked for, one is done, three times fine-tuned: that is still one seed."""
    text = UNEVEN.replace("[1, 2, 3]}", "[1, 2]}\nfinetune: {seeds: [5, 6, 7]}").replace(
        "probe: {tasks: [corpus_kinds]}", ""
    )
    right = {0.1: 20, 1.0: 60}
    cells = experiment_folder.write(
        tmp_path, text, measured=uneven,
        flags=lambda cell: [int(n < right[cell.base.axes["decay.base"]] + (cell.seed or 0)) for n in range(100)],
    )  # fmt: skip
    for cell in cells:
        if cell.base.axes["seed"] == 2:
            shutil.rmtree(experiment_cell.folder(tmp_path, cell))
    found = summarise(tmp_path, draws=100)
    assert [(p["n_seeds"], p["seeds_of"]) for p in found["points"]] == [(1, "pretraining")] * len(found["points"])
    (pair,) = found["statistics"]["pairs"]
    assert (pair["n_seeds"], pair["status"], pair["seeds_of"]) == (1, "one seed", "pretraining")
    told = {one["claim"]: one for one in found["findings"]}
    assert told["plasticity"]["status"] == told["loss"]["status"] == "not settled"
    assert "one seed of pretraining" in told["loss"]["answer"]


def test_a_missing_seed_of_finetuning_is_left_out_everywhere(tmp_path: Path) -> None:
    """Fine-tuning seed 6 gives 40 points more; one base of four lacks it, and would look that much worse by half."""
    text = UNEVEN.replace("[1, 2, 3]}", "[1, 2]}\nfinetune: {seeds: [5, 6]}").replace(
        "probe: {tasks: [corpus_kinds]}", ""
    )
    cells = experiment_folder.write(
        tmp_path, text, measured=uneven,
        flags=lambda cell: [
            int(n < 20 + 10 * cell.base.axes["decay.base"] + cell.base.axes["seed"] + 40 * (cell.seed == 6)) for n in range(100)
        ],
    )  # fmt: skip
    for cell in cells:
        if cell.kind == "tune" and (cell.base.axes["decay.base"], cell.base.axes["seed"], cell.seed) == (1.0, 1, 6):
            shutil.rmtree(experiment_cell.folder(tmp_path, cell))
    (pair,) = summarise(tmp_path, draws=50)["statistics"]["pairs"]
    assert (pair["value_a"], pair["value_b"]) == pytest.approx((0.225, 0.315))  # 22 and 23 right, 31 and 32
    assert "left out, seeds of fine-tuning that not all bases have: 6" in pair["said_of_seeds"]


def test_seeds_of_finetuning_settle_nothing_about_pretraining(tmp_path: Path) -> None:
    text = UNEVEN.replace("[1, 2, 3]}", "[1]}\nfinetune: {seeds: [5, 6, 7]}").replace(
        "probe: {tasks: [corpus_kinds]}", ""
    )
    right = {0.1: 20, 1.0: 60}
    experiment_folder.write(
        tmp_path, text, measured=uneven,
        flags=lambda cell: [int(n < right[cell.base.axes["decay.base"]] + (cell.seed or 0)) for n in range(100)],
    )  # fmt: skip
    found = summarise(tmp_path, draws=100)
    told = {one["claim"]: one for one in found["findings"]}
    assert told["plasticity"]["status"] == told["loss"]["status"] == "not settled"
    assert (
        "3 seeds of fine-tuning" in told["plasticity"]["answer"]
        and "one seed of pretraining" in told["plasticity"]["answer"]
    )
    (pair,) = found["statistics"]["pairs"]
    assert (pair["n_seeds"], pair["status"], pair["seeds_of"]) == (3, "one seed", "fine-tuning")
    assert "One seed of pretraining" in pair["remark"] and "seeds of fine-tuning" in pair["method"]
    assert any("One seed of pretraining (tiny)" in warning for warning in found["warnings"])


@pytest.mark.parametrize(("losses", "said"), [((2.0, 2.0), "no interval"), ((2.0, 2.02), "95% interval")])
def test_a_larger_loss_is_tested_before_it_is_said(losses: tuple[float, float], said: str, tmp_path: Path) -> None:
    """Equal losses, and losses whose order is the luck of a seed."""
    right, luck = {0.1: 20, 1.0: 60}, (0.0, 0.05, -0.05)

    def numbers(cell: Cell) -> Mapping[str, Any]:
        at, seed = (0.1, 1.0).index(cell.base.axes["decay.base"]), cell.base.axes["seed"]
        return {"loss": losses[at] + at * (losses[1] != losses[0]) * luck[seed - 1]}

    experiment_folder.write(
        tmp_path, UNEVEN.replace("probe: {tasks: [corpus_kinds]}", ""), measured=numbers,
        flags=lambda cell: [
            int(n < right[cell.base.axes["decay.base"]] + cell.base.axes["seed"]) for n in range(100)
        ],
    )  # fmt: skip
    told = {one["claim"]: one for one in summarise(tmp_path, draws=100)["findings"]}
    assert told["loss"]["status"] == told["plasticity"]["status"] == "not settled"
    assert (
        "which has the smallest loss is itself not settled" in told["loss"]["answer"] and said in told["loss"]["answer"]
    )


TUNED_ON_CLOZE = """
name: cloze
pretrain: {recipe: tiny, grid: {decay.base: [0.1]}, seeds: [1, 2]}
tasks: [toy_arithmetic, medmcqa, piqa, winogrande]
evaluate: {samples: 0, stability: [hellaswag]}
"""


def test_tradeoffs_are_over_models_tuned_to_reason_and_cloze_has_its_own_mean(tmp_path: Path) -> None:
    """Models tuned on cloze tasks gain on hellaswag, the others forget a quarter of it, and a half."""
    kept = {"toy_arithmetic": 20, "medmcqa": 10, "piqa": 40, "winogrande": 40}
    right = {"toy_arithmetic": 10, "medmcqa": 14, "piqa": 30, "winogrande": 20, "hellaswag": 30}

    def flags_of(cell: Cell) -> list[int]:
        return [int(n < right[cell.task] + cell.base.axes["seed"]) for n in range(40)]

    def numbers(cell: Cell) -> Mapping[str, Any]:
        return {"loss": 2.0, "stability": [int(n < kept.get(cell.task, 0) + cell.base.axes["seed"]) for n in range(40)]}

    experiment_folder.write(tmp_path, TUNED_ON_CLOZE, flags=flags_of, measured=numbers)
    found = summarise(tmp_path, draws=100)
    (trade,) = found["statistics"]["tradeoffs"]
    assert trade["tasks"] == ["toy_arithmetic", "medmcqa"] and trade["n_models"] == 2 and trade["n_seeds"] == 2
    assert trade["stability"]["value"] == pytest.approx((-10 - 20) / 2 / 40)
    assert trade["plasticity"]["value"] == pytest.approx((12 + 1.5) / 40)
    mean, cloze = point(found, 0.1, "mean"), point(found, 0.1, "mean_cloze", "acc")
    assert (mean["tasks"], cloze["tasks"]) == (["toy_arithmetic", "medmcqa"], ["piqa", "winogrande"])
    assert cloze["value"] == pytest.approx(26.5 / 40) and mean["value"] == pytest.approx(13.5 / 40)


def test_a_base_that_lacks_a_probe_task_shifts_no_mean(tmp_path: Path) -> None:
    """The easy task is missing on one base: its mean over the other alone would be the least."""
    text = """
name: probes
pretrain: {recipe: tiny, grid: {decay.base: [0, 0.1, 1.0]}}
probe: {tasks: [corpus_kinds, sst2, ag_news]}
"""

    def numbers(cell: Cell) -> Mapping[str, Any]:
        x = cell.base.axes["decay.base"]
        told = {"corpus_kinds": 0.5 + 0.1 * x, "sst2": 0.6 + 0.1 * x, "ag_news": 0.9}
        return {"loss": 2.0, "probe": {k: v for k, v in told.items() if (x, k) != (1.0, "ag_news")}}

    experiment_folder.write(tmp_path, text, flags=flags, measured=numbers)
    found = summarise(tmp_path, draws=100)
    (probes,) = [one for one in found["findings"] if one["claim"] == "probes"]
    assert "0.5500 at 0, 0.6500 at 1.0" in probes["answer"]
    assert any("ag_news" in w and "corpus_kinds, sst2" in w and "decay.base=1.0" in w for w in found["warnings"])


def test_one_probe_stands_for_all_bases() -> None:
    """Each by its first would rank bases by different tasks."""
    some = {
        "a": {"probe:easy": 0.9, "probe:hard": 0.5},
        "b": {"probe:easy": None, "probe:hard": 0.6},
        "c": {"probe:hard": 0.7},
    }
    assert experiment_bases.probe_of(some) == "probe:hard"
    assert experiment_bases.probe_of({name: {**of, "probe mean": 0.5} for name, of in some.items()}) == "probe mean"
    assert experiment_bases.probe_of({"a": {"gap": 1.0}}) == "probe"


def test_of_another_axis_nothing_is_claimed_of_the_paper(tmp_path: Path) -> None:
    text = UNEVEN.replace("decay.base: [0.1, 1.0]", "train.lr: [0.001, 0.003]").replace(
        "name: uneven", "name: u\naxis: train.lr"
    )

    def numbers(cell: Cell) -> Mapping[str, Any]:
        x, seed = 1000 * cell.base.axes["train.lr"], cell.base.axes["seed"]
        return {"loss": 2 + 0.1 * x + 0.01 * seed * x, "probe": 0.8 - 0.1 * x + 0.01 * seed * x}

    experiment_folder.write(
        tmp_path, text, measured=numbers,
        flags=lambda cell: [int(n < 20000 * cell.base.axes["train.lr"] + cell.base.axes["seed"] * 2) for n in range(100)],
    )  # fmt: skip
    found = summarise(tmp_path, draws=100)
    told = {one["claim"]: one for one in found["findings"]}
    assert {one["of_paper"] for one in told.values()} == {False}
    assert {claim: one["status"] for claim, one in told.items()} == {
        "plasticity": "yes", "loss": "yes", "probes": "falls", "rank": "not measured", "gap": "not measured",
    }  # fmt: skip
    assert "rise or fall with learning rate" in told["probes"]["question"]


def test_losses_of_different_tokenizers_choose_nothing(tmp_path: Path) -> None:
    """Five bases, the last of the smallest loss, with a tokenizer of its own."""
    names = ["a", "b", "c", "d", "e"]
    text = "name: five\ncheckpoints:\n" + "".join(f"  {name}: {{path: some/{name}}}\n" for name in names)
    text += "tasks: [toy_arithmetic]\nevaluate: {before: false, samples: 0}\n"

    def numbers(cell: Cell) -> Mapping[str, Any]:
        return {
            "loss": 9.0 - names.index(cell.base.label),
            **({"tokenizer": "u" * 64} if cell.base.label == "e" else {}),
        }

    def right(cell: Cell) -> list[int]:
        return [int(n < 20 + names.index(cell.base.label)) for n in range(100)]

    experiment_folder.write(tmp_path / "mixed", text, flags=right, measured=numbers)
    found = summarise(tmp_path / "mixed", draws=50)["statistics"]
    assert {(p["name_a"], p["reference_by"]) for p in found["pairs"]} == {("a", "smallest")}
    assert {(c["name_b"], c["reference_by"]) for c in found["comparisons"]} == {("a", "smallest")}
    why = "losses of different tokenizers cannot be compared"
    assert {one["reference_why"] for one in (*found["pairs"], *found["comparisons"])} == {why}
    experiment_folder.write(tmp_path / "same", text, flags=right, measured=lambda cell: {"loss": numbers(cell)["loss"]})
    found = summarise(tmp_path / "same", draws=50)["statistics"]
    assert {(p["name_a"], p["reference_by"]) for p in found["pairs"]} == {("e", "loss")}


ONE_SEED = TEXT.replace("seeds: [1, 2, 3]", "seeds: [1]").replace(", medmcqa]", "]")


def test_nothing_is_settled_by_one_seed(tmp_path: Path) -> None:
    experiment_folder.write(tmp_path, ONE_SEED, flags=flags, measured=measured)
    found = summarise(tmp_path, draws=DRAWS)
    assert {one["status"] for one in found["findings"]} == {"not settled"}
    assert all("one seed of pretraining" in one["answer"] for one in found["findings"])
    assert any("One seed throughout" in warning for warning in found["warnings"])
    one = next(c for c in found["statistics"]["comparisons"] if c["x_a"] == 1.0)
    assert one["over_seeds"]["status"] == "one_seed" and one["over_seeds"]["ci95"] is None
    assert (one["mcnemar"]["only_first"], one["mcnemar"]["only_second"]) == (60, 0)
    assert one["holm_p"] == one["mcnemar"]["p"] == pytest.approx(2 * 0.5**60)
    assert all(entry["ci95"] is None for entry in found["loss"])
    assert not [p for p in found["points"] if p["task"] == "mean"]  # one task is no mean


def test_different_tokenizers_are_said_wherever_losses_are_compared(tmp_path: Path) -> None:
    def other(cell: Cell) -> Mapping[str, Any]:
        own = {"tokenizer": "u" * 64} if cell.base.axes["decay.base"] == 1.0 else {}
        return {**measured(cell), **own}

    experiment_folder.write(tmp_path, TEXT.replace(", medmcqa]", "]"), flags=flags, measured=other)
    found = summarise(tmp_path, draws=DRAWS)
    assert all("warning" in entry for entry in (*found["loss"], *found["bases"], *found["statistics"]["optimum"]))
    warned = {c["of"] for c in found["statistics"]["correlations"] if "warning" in c}
    assert warned == {"eval_loss", "gap"}
    assert {c["reference_by"] for c in found["statistics"]["comparisons"]} == {"smallest"}
    statuses = {one["claim"]: (one["status"], "tokenizers" in one["answer"]) for one in found["findings"]}
    assert statuses["plasticity"] == statuses["loss"] == statuses["gap"] == ("not settled", True)
    assert statuses["probes"] == ("holds", False)
    assert any("different tokenizers" in warning for warning in found["warnings"])


SETTINGS = """
name: settings
pretrain: {recipe: tiny, grid: {decay.base: [0, 0.1]}}
finetune: {grid: {train.lr: [0.001, 0.002]}, seeds: [1, 2]}
tasks: [toy_arithmetic]
evaluate: {before: false}
"""


def test_settings_are_apart_and_pooled_and_seeds_of_finetuning_count(tmp_path: Path) -> None:
    def right(cell: Cell) -> list[int]:
        x, rate = cell.axes["decay.base"], cell.axes["finetune.train.lr"]
        return [int(n < 10 + 20 * (x == 0.1) + 4 * (rate == 0.002) + (cell.seed or 0)) for n in range(50)]

    experiment_folder.write(
        tmp_path, SETTINGS, flags=right, measured=lambda cell: {"loss": 2.0 + cell.base.axes["decay.base"]}
    )
    found = summarise(tmp_path, draws=DRAWS)
    slow = [
        p for p in found["points"] if p["score"] == "greedy" and p["x"] == 0 and p["setting"] == {"train.lr": 0.001}
    ]
    assert [(p["value"], p["n_seeds"]) for p in slow] == [(pytest.approx((11 + 12) / 100), 2)]
    assert "2 seeds of fine-tuning" in slow[0]["method"]
    settings = [c["setting"] for c in found["statistics"]["comparisons"]]
    assert settings == [{POOLED: 2}, {"train.lr": 0.001}, {"train.lr": 0.002}]
    assert [c["paired"]["value"] for c in found["statistics"]["comparisons"]] == pytest.approx([0.4] * 3)
    best = {entry["x"]: entry for entry in found["statistics"]["best_settings"]}
    assert [(best[x]["value"], best[x]["mean"], best[x]["settings"]) for x in (0, 0.1)] == [
        (pytest.approx(0.31), pytest.approx(0.27), [{"train.lr": 0.002}]),
        (pytest.approx(0.71), pytest.approx(0.67), [{"train.lr": 0.002}]),
    ]
    assert best[0]["gain"] is None and best[0.1]["gain"]["value"] == pytest.approx(0.4, abs=0.02)  # halved at random
    unknown = [one["status"] for one in found["findings"] if one["claim"] in {"probes", "rank", "gap"}]
    assert unknown == ["not measured"] * 3


def test_equal_answers_have_the_exact_interval(tmp_path: Path) -> None:
    text = SETTINGS.replace("{grid: {train.lr: [0.001, 0.002]}, seeds: [1, 2]}", "{}")
    experiment_folder.write(tmp_path, text, flags=lambda cell: [0] * 50, measured=lambda cell: {"loss": None})
    found = summarise(tmp_path, draws=DRAWS)
    one = point(found, 0.1, "toy_arithmetic")
    assert one["ci95"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 50))] and one["value"] == 0.0
    assert all(c["reference_by"] == "smallest" for c in found["statistics"]["comparisons"])
    assert {o["claim"]: o["status"] for o in found["findings"]}["loss"] == "not measured"


def test_answers_that_do_not_bear_out_a_score_give_no_interval(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "wrong"
    shutil.copytree(folder, out)
    cell = next(c for c in experiment_plan.cells(experiment.load(str(out / "recipe.yaml"))) if c.kind == "tune")
    experiment_folder.answers(experiment_cell.folder(out, cell) / "scores", [1] * Q, cell.task)
    found = summarise(out, draws=DRAWS)
    wrong = point(found, cell.base.axes["decay.base"], cell.task)
    assert wrong["ci95"] is None and "not all there" in wrong["method"] and wrong["value"] == pytest.approx(0.22)
    assert any("cannot be told by question" in warning for warning in found["warnings"])


def test_every_score_by_question() -> None:
    sampled = {
        "id": "a", "greedy": {"answer": "1", "correct": True}, "majority": {"answer": "1", "correct": False},
        "samples": [{"correct": True, "reward": 1.0}, {"correct": False, "reward": 3.0}, {"correct": False, "reward": 2.0}],
    }  # fmt: skip
    nothing = {
        **sampled,
        "samples": [{"correct": False}] * 3,
        "greedy": {"answer": None, "correct": False, "reward": 2.5},
    }
    names = ("greedy", "maj@3", "pass@3", "correct_ratio", "rm@3", "orm_score", "harmfulness", "unheard_of")
    found = experiment_answers.tables([sampled, nothing], names)
    scores = {name: table.score for name, table in found.items()}
    assert scores == {
        "greedy": 0.5, "maj@3": 0.0, "pass@3": 0.5, "correct_ratio": pytest.approx(1 / 3), "rm@3": 0.0, "orm_score": 2.0,
        "harmfulness": 2.5,
    }  # fmt: skip
    assert found["greedy"].ids[0] != found["greedy"].ids[1]  # equal ids are told apart
    cloze = [{"task": t, "id": "x", "metrics": {"acc": v}} for t, v in (("one", 1.0), ("one", 0.0), ("two", 1.0))]
    found = experiment_answers.tables(cloze, ("acc", "one/acc", "three/acc"))
    assert (
        found["acc"].score == pytest.approx(2 / 3)
        and found["one/acc"].score == 0.5
        and found["three/acc"].score is None
    )


def test_places_of_the_demo_share_the_base_without_decay() -> None:
    demo = experiment.load("demo")
    bases = {base.label: base.axes for base in experiment_plan.bases(demo)}
    variants = {name: changes for grid in demo.pretrain for name, changes in grid.variants.items()}
    found = sorted((place.x, place.families) for place in places(bases, demo.axis, variants, {}).values())
    uniform, alpha = found[1][1][0], found[2][1][0]
    if "alphadecay" in uniform:
        uniform, alpha = alpha, uniform
    assert (uniform, alpha) == ("tiny (decay.policy uniform)", "tiny (decay.policy alphadecay)")
    assert found[0][0] == 0 and set(found[0][1]) == {uniform, alpha}


POLICIES = """
name: policies
pretrain:
  recipe: tiny
  variants:
    none: {decay.policy: none, decay.base: 0}
    even: {decay.policy: uniform, decay.base: 0.1}
    uneven: {decay.policy: alphadecay, decay.base: 0.1, decay.gap: 50}
tasks: [toy_arithmetic]
evaluate: {before: false}
"""


def test_bases_that_share_x_are_compared_too(tmp_path: Path) -> None:
    right = {"none": 10, "even": 12, "uneven": 20}
    loss = {"none": 2.0, "even": 1.8, "uneven": 1.9}
    experiment_folder.write(
        tmp_path, POLICIES, flags=lambda cell: [int(n < right[cell.axes["variant"]]) for n in range(40)],
        measured=lambda cell: {"loss": loss[cell.axes["variant"]]},
    )  # fmt: skip
    found = {c["group"]: c for c in summarise(tmp_path, draws=DRAWS)["statistics"]["comparisons"]}
    assert set(found) == {"tiny (decay.policy uniform)", "tiny (decay.policy alphadecay)", "tiny, decay.base 0.1"}
    policies = found["tiny, decay.base 0.1"]
    assert (policies["name_a"], policies["name_b"]) == ("decay.policy alphadecay", "decay.policy uniform")
    assert policies["paired"]["value"] == pytest.approx(8 / 40) and policies["mcnemar"]["p"] == pytest.approx(
        2 * 0.5**8
    )
    assert found["tiny (decay.policy alphadecay)"]["paired"]["value"] == pytest.approx(
        -10 / 40
    )  # none against its smaller loss


GIVEN = """
name: given
checkpoints: {first: {path: some/one}, second: {path: some/two}, third: {path: some/three}}
finetune: {seeds: [1, 2, 3]}
tasks: [toy_arithmetic]
evaluate: {before: false}
probe: {tasks: [corpus_kinds]}
"""


def test_given_bases_without_an_axis_are_compared_by_name(tmp_path: Path) -> None:
    right = {"first": 40, "second": 60, "third": 61}
    experiment_folder.write(
        tmp_path, GIVEN, flags=lambda cell: [int(n < right[cell.base.label] + (cell.seed or 0)) for n in range(100)],
        measured=lambda cell: {"loss": None, "probe": right[cell.base.label] / 100},
    )  # fmt: skip
    found = summarise(tmp_path, draws=DRAWS)
    pairs = [(c["name_a"], c["name_b"], c["x_a"]) for c in found["statistics"]["comparisons"]]
    assert pairs == [("second", "first", None), ("third", "first", None)]
    assert {one["status"] for one in found["findings"]} == {"not measured"}
    (r,) = [c for c in found["statistics"]["correlations"] if c["of"] == "probe:corpus_kinds"]
    assert r["pearson"]["value"] == pytest.approx(1.0) and r["points"]["third"] == [0.61, pytest.approx(0.63)]
    assert found["loss"] == [] and found["statistics"]["optimum"] == []
    assert [(p["name"], p["n_seeds"]) for p in found["points"] if p["score"] == "greedy"] == [
        (name, 3) for name in right
    ]


def test_correlations_are_given_a_line_and_over_all_lines_together(tmp_path: Path) -> None:
    text = """
name: lines
pretrain: {recipe: tiny, grid: {decay.base: [0, 0.1, 1.0], train.lr: [0.001, 0.003]}}
tasks: [toy_arithmetic]
evaluate: {before: false}
"""
    right = {(0, 0.001): 20, (0.1, 0.001): 30, (1.0, 0.001): 40, (0, 0.003): 60, (0.1, 0.003): 55, (1.0, 0.003): 50}

    def of(cell: Cell) -> int:
        return right[cell.base.axes["decay.base"], cell.base.axes["train.lr"]]

    experiment_folder.write(
        tmp_path, text, flags=lambda cell: [int(n < of(cell)) for n in range(100)],
        measured=lambda cell: {"loss": 3 + of(cell) ** 2 / 1e4},
    )  # fmt: skip
    statistics = summarise(tmp_path, draws=DRAWS)["statistics"]
    best = {one["group"]: one for one in statistics["optimum"]}
    assert len(best) == 3 and best["all bases"]["by_loss"] == best["all bases"]["by_score"] == [None]
    assert [best["all bases"][f"name_by_{by}"] for by in ("loss", "score")] == [
        ["tiny decay.base=0 train.lr=0.001"], ["tiny decay.base=0 train.lr=0.003"],
    ]  # fmt: skip
    made = [c for c in statistics["correlations"] if c["of"] == "eval_loss"]
    found = {c["group"]: c for c in made}
    assert len(made) == 3 and [c["pearson"]["n"] for c in made] == [3, 3, 6]
    x = np.array(list(right.values()))
    assert found["all bases"]["pearson"]["value"] == pytest.approx(np.corrcoef(x, 3 + x**2 / 1e4)[0, 1])
    assert "all lines together" in found["all bases"]["remark"]
    assert not any("remark" in c for c in made if c["group"] != "all bases")


def test_controls_of_other_architectures_are_told_apart(tmp_path: Path) -> None:
    text = """
name: layers
pretrain: {recipe: tiny, grid: {model.settings.num_hidden_layers: [2, 3], decay.base: [0, 0.1]}}
finetune: {from_scratch: true}
tasks: [toy_arithmetic]
evaluate: {before: false}
"""

    def right(cell: Cell) -> int:
        return 10 * cell.base.axes["model.settings.num_hidden_layers"] if "start" in cell.axes else 50

    experiment_folder.write(
        tmp_path,
        text,
        flags=lambda cell: [int(n < right(cell)) for n in range(100)],
        measured=lambda cell: {"loss": 2.0},
    )
    found = [
        p for p in summarise(tmp_path, draws=DRAWS)["points"] if p["start"] == "scratch" and p["score"] == "greedy"
    ]
    assert sorted(p["value"] for p in found) == pytest.approx([0.2, 0.3])
    assert all(p["name"].startswith("from scratch, as ") for p in found) and len({p["name"] for p in found}) == 2


def test_places_of_given_and_of_two_axes() -> None:
    given = {"a": {"decay.base": 0.1, "seed": 1}, "b": {"decay.base": 0.1, "seed": 2}, "c": {}}
    found = places(given, "decay.base", {}, {})
    assert found["a"].key == found["b"].key and found["a"].x == 0.1
    assert (found["c"].x, found["c"].axes, found["c"].name) == (None, {"checkpoint": "c"}, "c")
    rates = {
        f"{x} {lr}": {"recipe": "r", "decay.base": x, "train.lr": lr, "data.max": 5} for x in (0, 1) for lr in (2, 3)
    }
    found = places(rates, "decay.base", {}, {})
    assert {place.families for place in found.values()} == {("r (train.lr 2)",), ("r (train.lr 3)",)}
    assert found["1 3"].axes == {"train.lr": 3} and found["1 3"].name == "1"


OTHER_AXIS = """
name: given
checkpoints:
  early: {path: some/one, axes: {step: 125}}
  late: {path: some/two, axes: {step: 250}}
finetune: {seeds: [1, 2, 3]}
tasks: [toy_arithmetic]
"""


def given_scores(cell: Cell) -> list[int]:
    many = {"early": 40, "late": 60}[cell.base.label] + (cell.seed or 0) if cell.kind == "tune" else 7
    return [int(n < many) for n in np.random.default_rng(5).permutation(100)]


def test_bases_with_another_axis_stand_on_it_and_are_compared_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment_folder.write(tmp_path, OTHER_AXIS, flags=given_scores, measured=lambda cell: {"loss": None})
    found = read_summary(write_summary(tmp_path))
    assert found["experiment"]["axis"] == "step"
    (pair,) = found["statistics"]["pairs"]
    assert (pair["name_a"], pair["name_b"], pair["ahead"], pair["status"]) == ("early", "late", "late", "settled")
    assert pair["value"] == pytest.approx(0.2) and (pair["n_seeds"], pair["n_questions"]) == (3, 100)
    assert pair["seeds_of"] == "fine-tuning" and pair["remark"].startswith("Of these two checkpoints")
    assert 0.1 < pair["ci95"][0] < 0.2 < pair["ci95"][1] < 0.3  # sqrt(0.2 * 0.8 / 100) = 0.04
    print_summary(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "decay" not in printed and printed.count("ot measured") == 1
    assert "step seeds toy_arithmetic before toy_arithmetic greedy, 100 questions 125 3 0.070 0.420" in printed
    assert "late 0.620, early 0.420, difference +0.200" in printed and "3 seeds): late is ahead" in printed


@pytest.mark.parametrize("axes", ["", ", axes: {%s: 1}"])
def test_bases_without_a_shared_axis_are_called_by_their_names(
    axes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = OTHER_AXIS.replace("[1, 2, 3]", "[1]")
    for number, key in ((125, "width"), (250, "depth")):
        text = text.replace(f", axes: {{step: {number}}}", axes % key if axes else "")
    experiment_folder.write(tmp_path, text, flags=given_scores, measured=lambda cell: {"loss": None})
    found = read_summary(write_summary(tmp_path))
    assert found["experiment"]["axis"] == "base" and found["statistics"]["pairs"][0]["status"] == "one seed"
    print_summary(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "given base seeds toy_arithmetic before" in printed and "early 1 0.070 0.410" in printed
    assert "not measured: plasticity (its bases have no number for weight decay); loss (it takes" in printed


def test_given_bases_that_agree_in_everything_are_not_taken_for_seeds() -> None:
    found = places({"a": {"step": 5}, "b": {"step": 5}, "c": {"step": 6}}, "step", {}, {})
    assert len({place.key for place in found.values()}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "least", "most"), [(0.04, 0.93, 1.0), (0.1, 0.82, 0.94)])
def test_how_often_a_points_interval_holds_with_three_seeds(spread: float, least: float, most: float) -> None:
    """Questions of differing difficulty (mean 0.4, 200 of them: sd 0.035), seeds that shift all of them."""
    dice, holds = np.random.default_rng(0), 0
    for number in range(300):
        chance = np.clip(dice.beta(1, 1.5, 200)[:, None] + dice.normal(0, spread, 3), 0, 1)
        right = (dice.random(chance.shape) < chance).astype(float)
        drawn = np.concatenate([block @ right / 200 for block in counts(np.random.default_rng(number), 200, 400)])
        low, high = percentile(over_seeds([drawn]))
        holds += low <= 0.4 <= high
    assert least <= holds / 300 <= most
