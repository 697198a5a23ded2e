"""Studies: read, planned, run in one process, turned into results and words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alphadecay import recipes, study, study_cell, study_plan, study_run
from alphadecay.study_report import markdown
from alphadecay.study_results import results
from spectra.errors import SpectraError

TEXT = """
description: A test
recipe:
  model:
    settings: {hidden_size: 32, intermediate_size: 48, num_attention_heads: 4, num_hidden_layers: 2, max_position_embeddings: 32}
  data: {source: embedded, vocab_size: 300, window: 32, max_tokens: 20000, validation: 0.1}
  train: {steps: 4, batch_size: 4, lr: 0.01, eval_every: 0, eval_windows: 8, save_every: 0, log_every: 1}
  decay: {gap: 2}
tuning_seed: 0
seeds: [1, 2]
reference: uniform
focus: alphadecay
limits: ["Small."]
arms:
  none: {decay.policy: none}
  uniform: {decay.policy: uniform}
  alphadecay: {decay.policy: alphadecay}
parts:
  adamw:
    change: {train.optimizer: adamw}
    bases: {none: [0], uniform: [0.1, 0.3], alphadecay: [0.3, 0.1]}
  adam:
    change: {train.optimizer: adam}
    bases: {none: [0], uniform: [1e-4], alphadecay: [1e-4]}
"""

pytestmark = pytest.mark.xdist_group("study")  # their runs are made once


def small() -> study.Study:
    return study.from_yaml(TEXT, "test.yaml", "test")


def record(cell: study_plan.Cell, loss: float) -> dict[str, Any]:
    """A record as a run leaves it, without the run."""
    import math

    spread = {"n": 2, "mean": 2.5, "sd": 0.1, "min": 2.4, "max": 2.6}
    alphas = {**spread, "without": 0, "roles": {"q": 2.4, "up": 2.6}, "modules": {"a": 2.4, "b": 2.6}}
    return study_cell.about(cell) | {
        "status": "done",
        "eval": {"loss": loss, "perplexity": math.exp(loss), "tokens": 248.0},
        "train_loss": loss + 0.01,
        "parameters": 30000,
        "steps": 4,
        "tokens": 512,
        "seconds": 36.0,
        "alphas": {"hill": alphas, "hill_null_corrected": alphas},
        "decay": {"last": spread, "least": 0.1, "greatest": 0.5, "others": 0.1},
        "provenance": {
            "commit": "abc", "sources": "def", "platform": "Linux", "device": "cpu", "data": "123", "threads": 1,
            "cpu_count": 2, "python": "3.11", "transformers": "5", "libraries": {"torch": "2"},
            "created": "2026-01-01T00:00:00+00:00",
        },
    }  # fmt: skip


def failure(cell: study_plan.Cell) -> dict[str, Any]:
    return study_cell.about(cell) | {"status": "failed", "reason": "the loss is nan"}


def played(made: study.Study, loss: Any) -> list[dict[str, Any]]:
    """Records of the whole study, one after another in the order of the plan; `loss(cell)` None: it fails."""
    found: list[dict[str, Any]] = []
    losses: dict[str, float] = {}
    failed: set[str] = set()
    while (cell := next(study_plan.pending(made, losses, failed), None)) is not None:
        value = loss(cell)
        found.append(failure(cell) if value is None else record(cell, value))
        if value is None:
            failed.add(cell.key)
        else:
            losses[cell.key] = value
    return found


def even(cell: study_plan.Cell) -> float:
    """AlphaDecay is better by about 0.02, least at base 0.1."""
    noise = {0: 0.0, 1: 0.011, 2: -0.004}[cell.seed]
    gain = {"none": 0.0, "uniform": 0.01, "alphadecay": 0.02 + 0.1 * noise}[cell.arm]
    return 1.0 + noise - gain + abs(cell.base - 0.1) * 0.1


# --- reading ---------------------------------------------------------------------------------------------------------


def test_shipped_studies_load_and_come_back_from_their_yaml() -> None:
    assert "study_alphadecay_small" in study.names()
    for name in study.names():
        made = study.load(name)
        assert study.from_yaml(study.to_yaml(made), name, name) == made
        for part in made.parts.values():
            assert all(len(bases) == (1 if arm == "none" else 3) for arm, bases in part.bases.items())
        assert study_plan.count(study.only(made, "adamw")) == (16, 30)
        assert len(made.seeds) == 5


def test_a_seed_changes_weights_and_nothing_of_the_data() -> None:
    one, two = (small().resolved("adamw", "uniform", 0.1, seed) for seed in (1, 2))
    assert recipes.differences(one, two) == ["train.seed: 1 -> 2"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds: [1, 2]", "seeds: [0, 1]", "all different"),
        ("seeds: [1, 2]", "seeds: [1, 1]", "all different"),
        ("seeds: [1, 2]", "seeds: []", "all different"),
        ("focus: alphadecay", "focus: alphadeca", "Did you mean 'alphadecay'"),
        ("uniform: [0.1, 0.3], ", "", "List every arm"),
        ("[0.1, 0.3]", "[0.1, 0.1]", "different numbers"),
        ("[0.1, 0.3]", "[-0.1]", "at least 0"),
        ("[0.1, 0.3]", "0.1", "a list"),
        ("{decay.policy: uniform}", "{decay.polcy: uniform}", "policy"),
        ("{decay.policy: uniform}", "{policy: uniform}", "section.key"),
        ("  decay: {gap: 2}", "  decay: {gap: 0}", "gap"),
        ("description: A test", "descripton: A test", "description"),
        ("    change: {train.optimizer: adam}", "    changes: {}", "change"),
    ],
)
def test_what_is_wrong_in_a_study_is_said(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(SpectraError, match=said):
        study.from_yaml(TEXT.replace(old, new), "test.yaml", "test")


def test_unknown_names_say_the_near_one() -> None:
    with pytest.raises(SpectraError, match="study_alphadecay_small"):
        study.load("study_alphadecay_smal")
    with pytest.raises(SpectraError, match="Did you mean 'adamw'"):
        study.only(small(), "adammw")
    with pytest.raises(SpectraError, match="No study file absent"):
        study.load("absent/study.yaml")


# --- planning --------------------------------------------------------------------------------------------------------


def test_tuning_first_then_seed_by_seed_with_every_arm() -> None:
    found = [(r["part"], r["phase"], r["seed"], r["arm"]) for r in played(small(), even)]
    assert len(found) == sum(study_plan.count(small()))
    adamw = [one[1:] for one in found if one[0] == "adamw"]
    assert [phase for phase, *_ in adamw] == ["tuning"] * 5 + ["fresh"] * 6
    assert [(seed, arm) for phase, seed, arm in adamw if phase == "fresh"] == [
        (seed, arm) for seed in (1, 2) for arm in ("none", "uniform", "alphadecay")
    ]


def test_the_best_base_is_chosen_and_a_failed_one_is_not() -> None:
    made = study.only(small(), "adamw")
    bases = {r["arm"]: r["base"] for r in played(made, even) if r["phase"] == "fresh"}
    assert bases == {"none": 0.0, "uniform": 0.1, "alphadecay": 0.1}
    without = played(made, lambda c: None if (c.base == 0.1 and c.arm == "uniform") else even(c))
    assert {r["base"] for r in without if r["phase"] == "fresh" and r["arm"] == "uniform"} == {0.3}
    dropped = played(made, lambda c: None if c.arm == "uniform" else even(c))
    assert not [r for r in dropped if r["phase"] == "fresh" and r["arm"] == "uniform"]
    assert len([r for r in dropped if r["phase"] == "fresh"]) == 4


def test_an_arm_waits_for_its_own_tuning_only() -> None:
    made = study.only(small(), "adamw")
    tuned = {c.key: even(c) for arm in made.arms for c in study_plan.tuning(made, "adamw", arm)}
    last = study_plan.tuning(made, "adamw", "alphadecay")[-1]
    del tuned[last.key]  # it is running
    following = [c for c in study_plan.pending(made, tuned, ()) if c.key != last.key]
    assert [c.arm for c in following] == ["none", "uniform", "none", "uniform"]


def test_keys_tell_runs_apart_and_hold_what_is_said_alone() -> None:
    made = small()
    key = study_plan.cell(made, "adamw", "uniform", 0.1, 1).key
    others = [
        ("adam", "uniform", 0.1, 1),
        ("adamw", "none", 0.1, 1),
        ("adamw", "uniform", 0.3, 1),
        ("adamw", "uniform", 0.1, 2),
    ]
    assert len({key, *(study_plan.cell(made, *other).key for other in others)}) == 5
    assert study_plan.cell(replace(made, name="other", description="other"), "adamw", "uniform", 0.1, 1).key == key


# --- results ---------------------------------------------------------------------------------------------------------


def test_results_pair_seeds_and_correct_for_the_family() -> None:
    from scipy import stats

    made = study.only(small(), "adamw")
    found = results(made, played(made, even))["parts"]["adamw"]
    assert (found["done"], found["planned"], found["failed"]) == (11, 11, [])
    assert found["complete_seeds"] == [1, 2]
    rows = {(r["arm"], r["against"]): r for r in found["comparisons"]["focus"]}
    assert set(rows) == {("alphadecay", "none"), ("alphadecay", "uniform")}
    losses = {arm: [one["loss"] for one in of["seeds"]] for arm, of in found["arms"].items()}
    expected = stats.ttest_rel(losses["alphadecay"], losses["uniform"])
    row = rows["alphadecay", "uniform"]
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["p_holm"] >= row["p"]
    assert row["difference"]["mean"] == pytest.approx(-0.01, abs=1e-3)
    assert found["tuning"]["alphadecay"] | {"bases": None} == {"bases": None, "chosen": 0.1, "edge": "lower"}
    assert found["tuning"]["none"]["edge"] is None


def test_incomplete_pairs_are_left_out_and_failures_named() -> None:
    made = study.only(small(), "adamw")
    cells = played(made, lambda c: None if (c.arm, c.seed) == ("uniform", 2) else even(c))
    found = results(made, cells)["parts"]["adamw"]
    assert found["complete_seeds"] == [1]
    assert found["failed"] == [{"arm": "uniform", "base": 0.1, "seed": 2, "reason": "the loss is nan"}]
    pair = next(r for r in found["comparisons"]["focus"] if r["against"] == "uniform")
    assert (pair["seeds"], pair["status"], pair["verdict"]) == ([1], "too_few_pairs", None)


def test_results_need_a_run() -> None:
    with pytest.raises(SpectraError, match="nothing to report"):
        results(small(), [])


def test_the_report_says_what_came_out_at_every_stage() -> None:
    made = small()
    cells = played(made, even)
    whole = markdown(results(made, cells))
    assert "11 of 11 runs done." in whole and "Not complete" not in whole
    assert "edge of its grid" in whole and "- Small." in whole and "plasticity study test --out DIR" in whole
    assert "| alphadecay - uniform | 2 | -0.01" in whole
    for n in range(1, len(cells)):
        text = markdown(results(made, cells[:n]))
        assert "Not complete" in text or "## Part adam\n\nNot run." in text


def test_verdicts_as_sentences() -> None:
    made = replace(study.only(small(), "adamw"), seeds=(1, 2, 3, 4, 5, 6))
    wobble = (0.0, 0.001, -0.001, 0.0005, -0.0005, 0.0003, 0.0)

    def loss(cell: study_plan.Cell) -> float:
        shift = {"none": 0.05, "uniform": 0.0, "alphadecay": -0.0005}[cell.arm]
        sign = {"none": 1.0, "uniform": 0.0, "alphadecay": -1.0}[cell.arm]
        return 1.0 + shift + sign * wobble[cell.seed]

    text = markdown(results(made, played(made, loss)))
    assert "- alphadecay: lower perplexity than none; no difference shown against uniform." in text
    assert "- Against uniform: higher perplexity by none; no difference shown: alphadecay." in text


# --- one run ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    made = small()
    seeds = [("adamw", "alphadecay", 0.1, seed) for seed in (1, 2)]
    cells = [study_plan.cell(made, *one) for one in [*seeds, ("adamw", "none", 0.0, 1), ("adam", "uniform", 1e-4, 1)]]
    return {cell.label: study_cell.run(cell, lambda _: None) for cell in cells}


def test_a_record_has_everything(ran: dict[str, dict[str, Any]]) -> None:
    found = ran["adamw alphadecay base 0.1 seed 1"]
    json.dumps(found, allow_nan=False)
    assert found["status"] == "done"
    assert found["eval"]["tokens"] == 8 * 31
    assert found["steps"] == 4 and found["tokens"] == 4 * 4 * 32
    assert found["alphas"]["hill"]["n"] == 14
    assert set(found["alphas"]["hill"]["roles"]) == {"q", "k", "v", "o", "gate", "up", "down"}
    assert found["alphas"]["hill"]["modules"] != found["alphas"]["hill_null_corrected"]["modules"]
    assert found["alphas"]["hill"]["mean"] == pytest.approx(found["alphas"]["hill_null_corrected"]["mean"])
    assert (found["decay"]["least"], found["decay"]["greatest"]) == (pytest.approx(0.1 * 2 / 3), pytest.approx(0.5))
    assert found["provenance"]["threads"] >= 1
    assert ran["adamw none base 0 seed 1"]["decay"]["greatest"] == 0.0
    assert ran["adam uniform base 0.0001 seed 1"]["recipe"]["train"]["optimizer"] == "adam"


def test_runs_share_the_data_and_differ_by_seed(ran: dict[str, dict[str, Any]]) -> None:
    one, two = (ran[f"adamw alphadecay base 0.1 seed {seed}"] for seed in (1, 2))
    assert one["provenance"]["data"] == two["provenance"]["data"]
    assert one["eval"]["loss"] != two["eval"]["loss"]


def test_a_run_repeats(ran: dict[str, dict[str, Any]]) -> None:
    again = study_cell.run(study_plan.cell(small(), "adamw", "alphadecay", 0.1, 1), lambda _: None)
    assert again["eval"] == ran["adamw alphadecay base 0.1 seed 1"]["eval"]


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_holds_one_study(tmp_path: Path) -> None:
    study_run.begin(tmp_path / "out", small())
    study_run.begin(tmp_path / "out", replace(small(), limits=("Other words.",)))
    assert study_run.study_of(tmp_path / "out").limits == ("Other words.",)
    with pytest.raises(SpectraError, match="another study"):
        study_run.begin(tmp_path / "out", replace(small(), seeds=(1, 2, 3)))
    with pytest.raises(SpectraError, match="holds no study"):
        study_run.study_of(tmp_path)


def test_damaged_cells_and_other_defaults_are_said(tmp_path: Path) -> None:
    made = small()
    study_run.begin(tmp_path, made)
    held = record(study_plan.cell(made, "adamw", "none", 0.0, 0), 1.0)
    held["recipe"]["train"]["beta2"] = 0.5
    with pytest.raises(SpectraError, match=r"train.beta2 = 0.5, and the default is 0.999 today"):
        study_run.losses(made, [held])
    (tmp_path / "cells" / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(SpectraError, match="Delete it"):
        study_run.records(tmp_path)
