"""The best of several fine-tuning settings: against a slow reference, and what luck it takes off."""

from __future__ import annotations

import numpy as np
import pytest

from plasticity import stats, stats_best
from plasticity.stats_result import Floats

Table = dict[str, dict[str, dict[str, dict[int, Floats]]]]


def made(
    rng: np.random.Generator, chances: Floats, questions: int = 60, seeds: int = 2, tasks: tuple[str, ...] = ("t", "u")
) -> Table:
    """`chances`: (bases, settings)."""
    return {
        f"b{p}": {
            f"s{j}": {
                task: {s: (rng.random(questions + len(task)) < chance).astype(float) for s in range(seeds)}
                for task in tasks
            }
            for j, chance in enumerate(row)
        }
        for p, row in enumerate(chances)
    }  # fmt: skip


def slow(table: Table, halves: dict[str, Floats]) -> dict[str, float]:
    """Halving by halving, setting by setting."""
    found = {}
    for base, settings in table.items():
        total = []
        for number in range(stats_best.HALVINGS):
            sides = []
            for side in (0, 1):
                score = {}
                for setting, tasks in settings.items():
                    rows = [
                        np.mean([v[halves[task][number] == side].mean() for v in seeds.values()])
                        for task, seeds in tasks.items()
                    ]
                    score[setting] = float(np.mean(rows))
                sides.append(score)
            for by, scored in (sides, sides[::-1]):
                best = [s for s in by if by[s] >= max(by.values()) - 1e-12]
                total.append(np.mean([scored[s] for s in best]))
        found[base] = float(np.mean(total))
    return found


def test_equals_the_slow_reference() -> None:
    rng = np.random.default_rng(3)
    table = made(rng, rng.uniform(0.2, 0.6, (3, 4)))
    found = stats.best_settings(table, "b1", draws=200)
    sizes = {task: len(values[0]) for task, values in table["b0"]["s0"].items()}
    again = np.random.default_rng(0)
    expected = slow(table, {task: stats_best._halves(again, size) for task, size in sizes.items()})
    assert (found.n_settings, found.n_seeds, found.status) == (4, 2, "ok")
    for base, one in found.bases.items():
        means = {s: np.mean([np.mean(list(v.values())) for v in tasks.values()]) for s, tasks in table[base].items()}
        assert one.value == pytest.approx(max(means.values())) == pytest.approx(means[one.settings[0]])
        assert one.mean == pytest.approx(np.mean(list(means.values())))
        assert one.chosen.value == pytest.approx(expected[base], abs=1e-12)
        assert one.chosen.ci95 is not None and one.chosen.ci95[0] < one.chosen.value < one.chosen.ci95[1]
        if base == "b1":
            assert one.against is None
        else:
            assert one.against is not None and one.against.value == pytest.approx(expected[base] - expected["b1"])


def test_luck_is_taken_off_and_the_intervals_hold() -> None:
    rng = np.random.default_rng(0)
    chances = np.full((2, 12), 0.4)
    chances[1] += 0.1
    best, chosen, held = [], [], []
    for _ in range(60):
        found = stats.best_settings(made(rng, chances, questions=100, seeds=1, tasks=("t",)), "b0", draws=150)
        gain, own = found.bases["b1"].against, found.bases["b0"].chosen
        assert gain is not None and gain.ci95 is not None and own.ci95 is not None and own.value is not None
        best.append(found.bases["b0"].value)
        chosen.append(own.value)
        held += [gain.ci95[0] <= 0.1 <= gain.ci95[1], own.ci95[0] <= 0.4 <= own.ci95[1]]
    assert np.mean(best) > 0.46  # twelve settings that are all alike
    assert np.mean(chosen) == pytest.approx(0.4, abs=0.02)
    assert np.mean(held) > 0.93


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("luck", [0.02, 0.15])
def test_the_intervals_hold_where_seeds_matter(seeds: int, luck: float) -> None:
    """Each seed shifts all questions and settings of a base; bases and settings are otherwise alike."""
    rng, held = np.random.default_rng([seeds, int(100 * luck)]), []
    for _ in range(60):
        table = made(rng, np.full((2, 3), 0.5), questions=30, seeds=seeds, tasks=("t",))
        shift = rng.normal(0, luck, (2, seeds))
        moved = {
            base: {s: {"t": {n: v + shift[p, n] for n, v in of["t"].items()}} for s, of in settings.items()}
            for p, (base, settings) in enumerate(table.items())
        }
        found = stats.best_settings(moved, "b0", draws=125)
        gain, own = found.bases["b1"].against, found.bases["b0"].chosen
        assert gain is not None and gain.ci95 is not None and own.ci95 is not None
        held += [gain.ci95[0] <= 0 <= gain.ci95[1], own.ci95[0] <= 0.5 <= own.ci95[1]]
    assert np.mean(held) >= 0.94


def test_without_a_shared_seed_nothing_is_chosen() -> None:
    table = made(np.random.default_rng(2), np.full((2, 2), 0.5))
    table["b1"]["s1"] = {task: {7: rows[0]} for task, rows in table["b1"]["s1"].items()}
    found = stats.best_settings(table, "b0", draws=50)
    assert (found.status, dict(found.bases)) == ("no_shared_seeds", {})
    table["b1"]["s1"] = {task: {1: rows[7]} for task, rows in table["b1"]["s1"].items()}
    found = stats.best_settings(table, "b0", draws=50)
    assert (found.status, found.n_seeds) == ("left_out", 1) and "seeds that not all have: 0" in found.why
    assert "over questions alone, 1 seed" in found.bases["b0"].chosen.method


def test_what_cannot_be_given_is_said() -> None:
    rng = np.random.default_rng(1)
    table = made(rng, np.full((2, 3), 0.5))
    del table["b1"]["s2"]
    found = stats.best_settings(table, "b0", draws=50)
    assert (found.status, found.n_settings) == ("left_out", 2) and "s2" in found.why
    del table["b1"]["s1"]
    found = stats.best_settings(table, "b0", draws=50)
    assert (found.status, dict(found.bases)) == ("left_out", {}) and "two make a choice" in found.why
    few = stats.best_settings(made(rng, np.full((2, 2), 0.5), questions=10), "b0", draws=50).bases["b0"]
    assert (few.chosen.value, few.chosen.status) == (None, "too_few_questions") and 0 < few.value < 1
    alike = {base: {s: {"t": {1: np.ones(40)}} for s in ("x", "y")} for base in ("p", "q")}
    one = stats.best_settings(alike, "p", draws=50).bases["q"]
    assert one.settings == ("x", "y") and (one.chosen.value, one.chosen.ci95, one.chosen.status) == (
        1.0,
        None,
        "constant",
    )
