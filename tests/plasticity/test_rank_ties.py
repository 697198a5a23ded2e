"""What a ranking tells apart, and what it says: ties against hand-made numbers, words both ways, checks first, tables at widths."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats
from spectra_cli import rank_terminal, terminal

from plasticity import gap_losses, rank_check, rank_folder, rank_ties
from plasticity import rank as rank_module
from plasticity.gap_losses import Pieces
from plasticity.gap_paired import paired_loss
from plasticity.gap_result import LOSSES, GapResult, Side, write_gap
from plasticity.gap_result import NAME as GAP_JSON
from plasticity.probe_result import NAME as PROBE_JSON
from plasticity.probe_result import BestLayer, ProbeResult, TaskProbe
from plasticity.probe_result import write_result as write_probe
from plasticity.rank_result import SHORT, RankResult, combine, draw, shorten, signal
from plasticity.rank_signals import RankConfig
from plasticity.rank_words import experience, lacking
from plasticity.stats_ranking import agreement
from spectra.errors import SpectraError
from tests.alphadecay.conftest import own_caches  # noqa: F401 -- a fixture for every test here

from .test_rank import llamas

DOCUMENTS = 60


def gap_folder(out: Path, val: float, train: float, seed: int, *, window: int = 8) -> Path:
    """A folder of `plasticity gap` with a document a window of 7 tokens; documents are as hard for all, plus a noise."""
    out.mkdir(parents=True)
    hard, own = np.random.default_rng(0), np.random.default_rng(seed)
    sides = {}
    for side, mean in (("train", train), ("val", val)):
        losses = mean + hard.normal(0.0, 0.5, DOCUMENTS) + own.normal(0.0, 0.02, DOCUMENTS)
        at = np.arange(DOCUMENTS)
        tokens = np.full(DOCUMENTS, 7)
        sides[side] = Pieces(window=at, document=at, loss=7 * losses, tokens=tokens, last=at)
    gap_losses.save(out / LOSSES, sides)
    made = Side(loss=val, windows=DOCUMENTS, windows_available=DOCUMENTS, tokens=7 * DOCUMENTS, documents=DOCUMENTS)
    write_gap(
        GapResult(
            checkpoint={}, source="run", step=1, train_loss=train, val_loss=val, gap=val - train, se=0.1, ci95=(-1.0, 1.0),
            n_documents=2 * DOCUMENTS, resampled="documents", draws=2000, se_windows=None, train=made, val=made,
            data={"fingerprint": "corpus", "window": window, "packing": "pack"},
        ),
        out / GAP_JSON,
    )  # fmt: skip
    return out


def probe_folder(out: Path, accuracy: float) -> Path:
    out.mkdir(parents=True)
    best = BestLayer(
        layer=1, validation_accuracy=accuracy, test_accuracy=accuracy, test_accuracy_sd=0.02,
        test_accuracy_ci95=(accuracy - 0.05, accuracy + 0.05),
    )  # fmt: skip
    task = TaskProbe(
        task="t", task_version=1, classes=("x", "y"), majority=0.5, majority_class="x", n_train=9, n_validation=9, n_test=200,
        best_layer=best, layers=(), counts={}, data={},
    )  # fmt: skip
    write_probe(ProbeResult(checkpoint={}, seeds=(1, 2, 3), tasks=(task,), profiles={}), out / PROBE_JSON)
    return out


def test_ranks_share_what_is_not_told_apart() -> None:
    values = np.random.default_rng(1).integers(0, 5, (50, 6)).astype(float)
    assert (rank_ties.ranks(values, 1) == scipy_stats.rankdata(-values, axis=1)).all()
    labels = ["a", "b", "c"]
    numbers = np.array([[0.1, 0.2, 0.3]])
    chain = rank_ties.matrix(labels, (("a", "b"), ("b", "c")))  # a is better than c, and b than neither
    assert rank_ties.ranks(numbers, -1, chain).tolist() == [[1.5, 2.0, 2.5]]
    assert rank_ties.ranks(numbers, -1, ~np.eye(3, dtype=bool)).tolist() == [[2.0, 2.0, 2.0]]


def test_gaps_and_losses_tie_within_their_paired_intervals(tmp_path: Path) -> None:
    folders = {
        "a": gap_folder(tmp_path / "a" / "gap", 1.00, 0.90, 1), "b": gap_folder(tmp_path / "b" / "gap", 1.03, 0.93, 2),
        "c": gap_folder(tmp_path / "c" / "gap", 1.03, 0.83, 3), "d": gap_folder(tmp_path / "d" / "gap", 1.5, 0.9, 4, window=16),
    }  # fmt: skip
    found = paired_loss(folders["a"], folders["b"])
    lost = [gap_losses.load(folders[name] / LOSSES)["val"].loss / 7 for name in "ab"]
    expected = scipy_stats.ttest_rel(lost[1], lost[0]).confidence_interval()
    assert found.value == pytest.approx(float(np.mean(lost[1] - lost[0])))
    assert found.ci95 == pytest.approx((expected.low, expected.high), abs=0.001)
    where = {name: folder.parent for name, folder in folders.items()}
    gap, loss = rank_ties.measured("gap", where), rank_ties.measured("loss", where)
    assert gap is not None and loss is not None and rank_ties.measured("alpha_sd", where) is None
    assert not gap("a", "b") and gap("a", "c") and loss("a", "b") and not loss("b", "c")
    assert not gap("a", "d") and not loss("a", "d")  # other windows: not compared
    made = signal("gap", {"a": 0.1, "b": 0.1001, "c": 0.2}, apart=gap)
    assert made.ranks == {"a": 1.5, "b": 1.5, "c": 3.0} and made.tied == (("a", "b"),) and made.tells
    assert not signal("gap", {"a": 0.1, "b": 0.1001}, apart=gap).tells and "leaves out 0" in made.ties


def test_probes_tie_within_seeds_and_test_texts(tmp_path: Path) -> None:
    folders = {name: probe_folder(tmp_path / name, share) for name, share in (("a", 0.80), ("b", 0.85), ("c", 0.95))}
    assert not rank_ties.probes(folders["a"], folders["b"])  # standard error 0.040: 0.05 is not shown
    assert rank_ties.probes(folders["a"], folders["c"])


def test_answers_tie_unless_questions_tell_them_apart() -> None:
    none = np.zeros(20)
    five, six = (np.array([1.0] * many + [0.0] * (20 - many)) for many in (5, 6))
    assert not rank_ties.answered(none, none) and not rank_ties.answered(five, none)  # 2 / 2^5 = 0.06
    assert rank_ties.answered(six, none)  # 2 / 2^6 = 0.03
    graded = np.random.default_rng(0).normal(0.0, 1.0, 40)
    assert rank_ties.answered(graded + 0.2 + 0.01 * graded[::-1], graded) and not rank_ties.answered(graded, graded)
    assert not rank_ties.answered(graded[::-1], graded)


def test_a_short_finetuning_that_tells_nothing_settles_nothing() -> None:
    gains = {"a": np.array([1.0] * 5 + [0.0] * 95), "b": np.zeros(100)}  # first in 99% of draws, and not shown
    drawn = draw(gains)
    short = signal(SHORT, {"a": 0.05, "b": 0.0}, apart=rank_ties.answers(gains))
    assert short.ranks == {"a": 1.5, "b": 1.5} and not short.tells
    made = combine([signal("alpha_sd", {"a": 0.1, "b": 0.2}), short], drawn)
    assert made.first is None and not made.settled and made.told == ("alpha_sd",)
    assert "no two candidates are shown to differ" in made.method
    assert shorten("greedy", gains, 1, {"a": 1, "b": 1}, drawn, tells=False).first is None


def test_who_ties_in_the_short_finetuning_ties_in_every_draw() -> None:
    right = np.array([1.0] * 40 + [0.0] * 60)
    gains = {"a": right, "b": np.roll(right, 1), "c": np.zeros(100)}
    short = signal(SHORT, {"a": 0.4, "b": 0.4, "c": 0.0}, apart=rank_ties.answers(gains))
    assert short.ranks == {"a": 1.5, "b": 1.5, "c": 3.0}
    made = combine([signal("alpha_sd", {"a": 0.1, "b": 0.2, "c": 0.3}), short], draw(gains))
    assert made.first == {"a": 1.0, "b": 0.0, "c": 0.0} and not made.settled


def test_why_a_signal_is_not_known() -> None:
    assert lacking({"a": None, "b": None}, {"a": "not asked for", "b": "not asked for"}) == "not asked for"
    assert lacking({"a": 1.0, "b": None}, {"b": "no run"}, {"b": "B"}) == "not known of B (no run)"
    assert lacking({"a": None, "b": None}, {"a": "x", "b": "y"}) == "not known of a (x); not known of b (y)"
    assert lacking({"a": 1.0}, {}) == ""


def scored(*shares: float) -> dict[str, Any]:
    tables = zip("abcd", shares, strict=False)
    return {name: {"t": {1: (np.arange(200) < 200 * share).astype(float)}} for name, share in tables}


@pytest.mark.parametrize(
    ("cheap", "shares", "said"),
    [
        ({"a": 1.0, "b": 2.0, "c": 3.0}, (0.9, 0.6, 0.3), "no better than a choice at random: its first choice, c, is best in 0%"),
        ({"a": 3.0, "b": 2.0, "c": 1.0}, (0.9, 0.6, 0.3), "better than a choice at random: its first choice, a, is best in 100%"),
        ({"a": 3.0, "b": 2.0, "c": 1.0}, (0.51, 0.505, 0.5), "did better than a choice at random, though that is not sure"),
        ({"a": 9.0, "b": 1.0, "c": 2.0, "d": 3.0}, (0.9, 0.8, 0.7, 0.6), "but put the bases in no better order"),
        ({"a": 1.0, "b": 3.0, "c": 2.5, "d": 2.0}, (0.9, 0.85, 0.1, 0.8), "chose better than a choice at random would, but put"),
        ({"a": 1.0, "b": 1.0}, (0.9, 0.1), "did no better than a choice at random: it does not tell the bases apart"),
        ({"a": 2.0, "b": 1.0}, (0.5, 0.5), "all 2 bases score alike"),
    ],
)  # fmt: skip
def test_an_experiment_speaks_for_the_ranking_or_against_it(
    cheap: dict[str, float | None], shares: tuple[float, ...], said: str
) -> None:
    assert said in experience(agreement(cheap, scored(*shares), draws=200))
    assert experience(agreement({}, scored(*shares), draws=50)) == ""


def test_all_is_looked_at_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_module, "measure", lambda *_: pytest.fail("measured"))
    good = llamas(tmp_path)
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "notes.yaml").write_text("no: model\n")
    for changed, said in (
        ({"models": (good[0], str(tmp_path / "rec"))}, "rec"),
        ({"changes": ("lr=fast",)}, "'fast': expected a number"),
        ({"probes": ("corpus_kind",)}, "Unknown probe task"),
        ({"data": str(tmp_path / "none.jsonl")}, "no such file or folder"),
    ):
        config = RankConfig(**{"models": tuple(good), "task": "toy_arithmetic", **changed})
        with pytest.raises(SpectraError, match=said):
            rank_module.rank(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    rank_check.check(RankConfig(models=tuple(good), task="toy_arithmetic"), good)
    (Path(good[1]) / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(SpectraError, match="safetensors"):
        rank_check.check(RankConfig(models=tuple(good), task="toy_arithmetic", budget=0, probes=()), good)


def test_every_ranking_has_a_folder_of_its_own() -> None:
    configs = [
        RankConfig(models=(first, "b"), task="t", limit=limit) for first, limit in (("a", 8), ("c", 8), ("a", 9))
    ]
    asked = [dataclasses.asdict(one) for one in configs]
    places = [rank_folder.default_out("t", one) for one in asked]
    assert len(set(places)) == 3 and places[0] == rank_folder.default_out("t", dict(reversed(asked[0].items())))
    assert places[0].parts[0] == "evaluations" and places[0].name.startswith("rank-t-")


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_and_keep_their_headings(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "report_width", lambda _: terminal.Output(width=width))
    models = [f"runs/a-rather-long-name-of-a-base-{number}/checkpoint-5000" for number in range(9)]
    gains = {label: np.zeros(20) for label in models}
    values: dict[str, float | None] = {label: 0.0074437 + 0.001 * n for n, label in enumerate(models)}
    signals = [
        signal("probe", dict.fromkeys(models), why=dict.fromkeys(models, "not asked for")),
        signal("pseudo_rank_qk", values), signal("gap", values, apart=lambda *_: False), signal("loss", values),
        signal(SHORT, dict.fromkeys(models, 0.0), apart=rank_ties.answers(gains)),
    ]  # fmt: skip
    drawn = draw(gains, draws=50)
    scores = {f"base {n}": {"t": {1: (np.arange(40) < 3 * n).astype(float)}} for n in range(4)}
    cheap = {f"base {n}": float(-n) for n in range(4)}
    agreed = {name: agreement(cheap, scores, draws=50) for name in ("pseudo_rank_qk", "combined")}
    result = RankResult(
        task="t", candidates={label: {"base": f"base {n}"} for n, label in enumerate(models[:2])}, signals=tuple(signals),
        short=shorten("greedy", gains, 1, dict.fromkeys(models, 4), drawn, tells=False), combined=combine(signals, drawn),
        agreement=agreed, experiment="runs/mine", experience=experience(agreed["combined"]),
    )  # fmt: skip
    rank_terminal.print_rank(result, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    printed = " ".join(" ".join(lines).split())
    assert max(len(line) for line in lines if not line.startswith("wrote")) <= width
    assert all(any(model in line for line in lines) for model in models)
    headings = [line.split() for line in lines if line.startswith("signal ")]
    assert [word for line in headings for word in line if len(word) == 1] == list("ABCDEFGHI")
    assert "ranking by tau leave one out first best lost 95%" in printed
    assert "A  runs/a-rather-long-name-of-a-base-0/checkpoint-5000  (base 0)" in lines
    assert (
        "A comes first; how sure that is cannot be said: the short fine-tuning told nothing (all scores equal)."
        in printed
    )
    assert "In your own experiment this way of ranking did no better than a choice at random" in printed
    assert "probe is not ranked by: not asked for" in printed and "not known of" not in printed
    assert "no two candidates are shown to differ by gap, short_finetune" in printed
    assert "any difference counts in pseudo_rank_qk" in printed
    shares = [word for line in lines if line.startswith("first in draws") for word in line.split()[4:]]
    assert shares == ["-"] * 9
