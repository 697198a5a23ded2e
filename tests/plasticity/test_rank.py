"""Which base to fine-tune: rankings of made-up signals against hand-made numbers; agreement with an experiment; one run in full."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from spectra_cli import rank_command, rank_terminal
from typer.testing import CliRunner

from plasticity import experiment_data, finetune, rank_folder, rank_signals
from plasticity import rank as rank_module
from plasticity.finetune_options import configure
from plasticity.rank import agreements, measured_in_full
from plasticity.rank import rank as measure
from plasticity.rank_result import SHORT, RankResult, combine, draw, shorten, signal, write
from plasticity.rank_signals import RankConfig, shortened
from spectra.errors import SpectraError
from tests.alphadecay.conftest import own_caches, tiny_llama  # noqa: F401 -- a fixture for every test here

from . import experiment_folder
from .test_experiment_results import TEXT, flags, measured


def test_a_signal_ranks_by_what_is_better_with_mid_ranks() -> None:
    assert signal("probe", {"a": 0.5, "b": 0.9, "c": 0.5}).ranks == {"a": 2.5, "b": 1.0, "c": 2.5}
    low = signal("gap", {"a": 0.5, "b": 0.9, "c": None})
    assert low.ranks == {"a": 1.0, "b": 2.0, "c": None}
    assert not low.used and low.remark == "not known of c"
    assert not signal("loss", {"a": 1.0, "b": 2.0}, doubt="other text").used


def test_the_combined_ranking_is_the_mean_rank_and_its_certainty_is_drawn() -> None:
    flags_of = {"a": np.array([1.0] * 60 + [0.0] * 40), "b": np.array([1.0] * 50 + [0.0] * 50)}
    drawn = draw(flags_of, draws=4000, seed=1)
    short = shorten("greedy", flags_of, 1, {"a": 3, "b": 3}, drawn)
    # a is right where b is and on ten more: in a draw it is first unless none of the ten comes up (0.9^100).
    assert short.first["a"] > 0.999 and short.values == {"a": 0.6, "b": 0.5}
    assert short.ci95["a"] == pytest.approx((0.5, 0.7), abs=0.025)
    score = signal(SHORT, short.values)
    made = combine([signal("probe", {"a": 0.9, "b": 0.8}), signal("gap", {"a": 0.1, "b": None}), score], drawn)
    assert made.order == ("a", "b") and made.mean_rank == {"a": 1.0, "b": 2.0}
    assert made.signals == ("probe", SHORT) and made.settled and made.first is not None and made.first["a"] > 0.999
    against = combine([signal("probe", {"a": 0.7, "b": 0.8}), score], drawn)
    assert against.mean_rank == {"a": 1.5, "b": 1.5} and not against.settled
    assert against.first == {
        "a": pytest.approx(0.5, abs=0.001),
        "b": pytest.approx(0.5, abs=0.001),
    }  # ties are shared out


def test_small_differences_of_other_signals_settle_nothing() -> None:
    equal = {"a": np.array([1.0, 0.0] * 50), "b": np.array([0.0, 1.0] * 50)}
    signals = [signal(name, {"a": 0.5, "b": 0.500001}) for name in ("gap", "alpha_sd", "loss")]
    made = combine([*signals, signal(SHORT, {"a": 0.5, "b": 0.5})], draw(equal, draws=500))
    assert made.order[0] == "a" and made.first is None and not made.settled and SHORT not in made.told
    assert "all scores equal" in made.method


def test_without_a_short_finetuning_there_is_no_certainty() -> None:
    made = combine([signal("probe", {"a": 0.9, "b": 0.8})], None)
    assert made.first is None and not made.settled and made.order == ("a", "b")
    with pytest.raises(SpectraError, match="gap: not known of b"):
        combine([signal("gap", {"a": 0.9, "b": None})], None)


def test_lower_is_better_for_harm() -> None:
    gains = {"a": -np.array([1.0, 3.0]), "b": -np.array([2.0, 3.0])}
    short = shorten("harmfulness", gains, -1, {"a": 1, "b": 1}, draw(gains, draws=100))
    assert short.values == {"a": 2.0, "b": 2.5} and signal(SHORT, short.values, sign=-1).ranks["a"] == 1.0
    limits = short.ci95["a"]
    assert limits is not None and limits[0] <= 2.0 <= limits[1]
    none = {"a": np.zeros(50), "b": np.zeros(50)}
    equal = shorten("greedy", none, 1, {"a": 1, "b": 1}, draw(none, draws=100))
    assert equal.ci95["a"] == (0.0, pytest.approx(1 - 0.025 ** (1 / 50))) and equal.first == {"a": 0.5, "b": 0.5}


def test_a_share_of_steps_or_epochs() -> None:
    given = {"task": "toy_arithmetic", "model": "x"}
    assert shortened(configure(given, ["train.steps=400"]), 0.05).train.steps == 20
    assert shortened(configure(given, ["train.steps=4"]), 0.05).train.steps == 1
    whole = configure(given, ["train.epochs=3"])
    assert shortened(whole, 0.1).train.epochs == pytest.approx(0.3) and whole.train.epochs == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"models": ("a",)}, "at least two"),
        ({"models": ("a", "a")}, "all different"),
        ({"budget": 1.5}, "share of the fine-tuning steps"),
        ({"budget": 0.0, "changes": ("lr=1",)}, "--budget 0 asks for none"),
        ({"limit": 1}, "--limit 1"),
    ],
)
def test_what_makes_no_sense_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(SpectraError, match=said):
        RankConfig(**{"models": ("a", "b"), "task": "toy_arithmetic", **changed})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    experiment_folder.write(out, TEXT, flags=flags, measured=measured)
    return out


def test_agreement_with_an_experiment(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = measured_in_full(experiment_data.read(folder), "toy_arithmetic")
    assert len(full.scores) == 9
    turned = {label: -float(np.mean(tasks["toy_arithmetic"][42])) for label, tasks in full.scores.items()}
    found = agreements(full, {"combined": turned}, draws=200)
    assert set(found) == {"probe", "pseudo_rank_qk", "alpha_sd", "gap", "loss", "combined"}
    assert found["combined"].kendall.value == -1.0  # a ranking turned round
    assert found["combined"].regret.value == pytest.approx((126 - 40) / 200)
    assert found["probe"].regret.value == 0.0  # probes of this folder rise with decay and seed, as scores do
    assert (
        found["gap"].regret.value is not None and found["gap"].regret.value > 0.3
    )  # the gap rises too, and less is called better
    assert found["alpha_sd"].kendall.status == "constant"
    made = combine([signal("probe", {"a": 0.9, "b": 0.8})], None)
    result = RankResult(
        task="toy_arithmetic", candidates={}, signals=(signal("probe", {"a": 0.9, "b": 0.8}),), short=None, combined=made,
        agreement=found, experiment="there", remarks=("a remark",),
    )  # fmt: skip
    write(result, tmp_path / "rank.json")
    rank_terminal.print_rank(result, tmp_path)
    printed = capsys.readouterr().out
    assert "A comes first; how sure that is cannot be said" in printed and "a remark" in printed
    assert "0.9 (1)" in printed and "-1.00" in printed and "agreement with there in full" in printed
    assert json.loads((tmp_path / "rank.json").read_text())["agreement"]["combined"]["kendall"]["value"] == -1.0
    with pytest.raises(SpectraError, match="has 0 bases fine-tuned on piqa"):
        measured_in_full(experiment_data.read(folder), "piqa")


def test_candidates_that_tie_are_said_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signals = (signal("probe", {"a": 0.9, "b": 0.8}), signal("alpha_sd", {"a": 0.9, "b": 0.8}))
    made = RankResult(task="t", candidates={}, signals=signals, short=None, combined=combine(signals, None))
    rank_terminal.print_rank(made, tmp_path)
    assert "A, B come first alike: not settled" in capsys.readouterr().out


def llamas(folder: Path) -> list[str]:
    """Two tiny models of different weights with one tokenizer."""
    import torch

    from alphadecay.config import DataConfig
    from alphadecay.data import prepare

    tokenizer = prepare(DataConfig(vocab_size=400, window=32, max_tokens=2000)).tokenizer
    made = []
    for number in (1, 2):
        torch.manual_seed(number)
        where = folder / f"base-{number}"
        tiny_llama(vocab_size=400, max_position_embeddings=256).save_pretrained(where)
        tokenizer.save_pretrained(where)
        made.append(str(where))
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_command_measures_ranks_and_writes(tmp_path: Path) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(rank_command.rank)
    first, second = llamas(tmp_path)
    out = tmp_path / "out"
    words = [
        first,
        second,
        "--task",
        "toy_arithmetic",
        "--budget",
        "0.5",
        "--limit",
        "8",
        "--max-tokens",
        "6",
        "--probe-limit",
        "60",
    ]
    words += [
        "--set",
        "train.steps=4",
        "--set",
        "train.batch_size=4",
        "--set",
        "train.precision=fp32",
        "--out",
        str(out),
        "--quiet",
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    made = json.loads((out / "rank.json").read_text())
    known = {one["name"]: one for one in made["signals"]}
    assert known["probe"]["used"] and known["pseudo_rank_qk"]["used"] and known[SHORT]["used"]
    assert not known["gap"]["used"] and "run" in known["gap"]["why"][first]  # no run of ours around them
    assert made["short"]["steps"] == {first: 2, second: 2} and made["short"]["n_questions"] == 8
    first_in = made["combined"]["first"]  # None where no score tells them apart
    assert first_in is None or sum(first_in.values()) == pytest.approx(1.0)
    assert (first_in is None) == (SHORT not in made["combined"]["told"])
    assert not (out / "candidate-1" / "tuned").exists() and (out / "candidate-1" / "scores" / "result.json").exists()
    with pytest.raises(SpectraError, match=r"already holds a rank\.json"):
        measure(RankConfig(models=(first, second), task="toy_arithmetic"), out)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_interrupted_ranking_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from plasticity import evaluate, finetune

    models = tuple(llamas(tmp_path))
    asked = RankConfig(
        models=models, task="toy_arithmetic", budget=0.5, limit=8, max_tokens=6, probe_limit=60,
        changes=("train.steps=4", "train.batch_size=4", "train.precision=fp32"),
    )  # fmt: skip
    straight = measure(asked, tmp_path / "straight")
    real, calls = evaluate.evaluate, []

    def killed(config: Any, *args: Any, **more: Any) -> Any:
        calls.append(config.model)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(config, *args, **more)

    monkeypatch.setattr(evaluate, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        measure(asked, tmp_path / "out")
    tuned = []
    real_tune = finetune.finetune
    monkeypatch.setattr(
        finetune, "finetune", lambda c, out, **m: (tuned.append(m["resume"]), real_tune(c, out, **m))[1]
    )
    said: list[str] = []
    again = measure(asked, tmp_path / "out", message=said.append)
    assert tuned == [True] and len(calls) == 3  # the first candidate is done, the second's fine-tuning too
    assert any("going on with" in line for line in said)
    assert again.signals == straight.signals and again.short == straight.short and again.combined == straight.combined
    assert not list((tmp_path / "out").glob("candidate-*/tuned"))


def test_a_folder_is_of_one_ranking_and_of_unchanged_candidates(tmp_path: Path) -> None:
    out, said = tmp_path / "out", []
    asked = {"task": "t", "limit": 8}
    rank_folder.begin(asked, out, said.append)
    rank_folder.begin(asked, out, said.append)
    assert said == [f"going on with the ranking in {out}"]
    with pytest.raises(SpectraError, match="other settings: limit was 8, is 9"):
        rank_folder.begin(asked | {"limit": 9}, out, said.append)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    where = rank_folder.claim(out / "candidate-1", str(model))
    assert rank_folder.claim(where, str(model)) == where and rank_folder.measured(where) is None
    rank_folder.finish(where, {"values": {"probe": 0.5}})
    assert rank_folder.measured(where) == {"values": {"probe": 0.5}}
    (model / "model.safetensors").write_bytes(b"others")
    with pytest.raises(SpectraError, match="has changed since"):
        rank_folder.claim(where, str(model))
    (where / rank_folder.MEASURED).write_text("[")
    with pytest.raises(SpectraError, match="cannot be read"):
        rank_folder.measured(where)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(SpectraError, match="is not empty"):
        rank_folder.begin(asked, tmp_path / "other", said.append)


def test_safety_takes_a_reward_model_and_others_do_not(tmp_path: Path) -> None:
    for task, judge, said in (
        ("safety", None, "name one with --reward-model"),
        ("toy_arithmetic", "m", "Leave it out"),
    ):
        with pytest.raises(SpectraError, match=said):
            measure(RankConfig(models=("a", "b"), task=task, reward_model=judge), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_share_of_less_than_a_step_is_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = configure({"task": "toy_arithmetic", "model": "x"}, ["train.epochs=3", "train.batch_size=64"])
    assert finetune._steps(shortened(whole, 0.05).train, 400, 1) == 1
    with pytest.raises(SpectraError, match="less than one batch"):
        finetune._steps(shortened(whole, 0.05).train, 400)
    asked: dict[str, Any] = {}

    def stop(*_: Any, **given: Any) -> None:
        asked.update(given)
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "finetune", stop)
    config = RankConfig(models=("a", "b"), task="toy_arithmetic")
    with pytest.raises(KeyboardInterrupt):
        rank_signals._short("a", config, tmp_path, rank_signals.Measured(), lambda _: None)
    assert asked["least"] == 1


def test_gaps_of_other_texts_or_windows_are_not_ranked_by() -> None:
    values = {"gap": 0.1, "loss": 1.0, "probe": 0.5}
    found = {
        name: rank_signals.Measured(values=dict(values), validation=["corpus", window]) for name, window in (("a", 64), ("b", 128))
    }  # fmt: skip
    config = RankConfig(models=("a", "b"), task="toy_arithmetic", budget=0)
    used = {one.name: one.used for one in rank_module._signals(found, 1, config)}
    assert used["probe"] and not used["gap"] and not used["loss"]
    assert not rank_module._remarks(found, compared=False)
    assert "test split" in rank_module._remarks(found, compared=True)[0]
