"""`plasticity gap` on runs of seconds: which windows count, losses against a slow reference, what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from alphadecay import recipes
from alphadecay.config import Recipe
from alphadecay.data import prepare
from alphadecay.train import train
from plasticity import gap_data, gap_losses, gap_run, gap_stats
from plasticity.gap import GapConfig, GapResult, default_out, gap
from plasticity.gap_paired import paired
from plasticity.gap_result import read_gap
from spectra.errors import SpectraError

from ..alphadecay.recipes_of_tests import small

WINDOWS = 10**6  # all there are

pytestmark = pytest.mark.xdist_group("gap")  # their runs are made once


@pytest.fixture(scope="module", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Corpora of these tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHADECAY_CACHE_DIR", str(tmp_path_factory.mktemp("corpora")))
        patch.setenv("SPECTRA_CACHE_DIR", str(tmp_path_factory.mktemp("null-cache")))
        yield


def run_of(recipe: Recipe, out: Path) -> Path:
    """Train, and leave what `plasticity pretrain` leaves."""
    out.mkdir(parents=True)
    (out / "recipe.yaml").write_text(recipes.to_yaml(recipe))
    train(recipe, out)
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 33 epochs over 63 windows: it knows them by heart. Checkpoints at steps 50 and 100; all validation evaluated."""
    recipe = small(
        {"steps": 100, "batch_size": 16, "save_every": 50, "eval_every": 0, "eval_windows": 9999, "lr": 0.02},
        {"policy": "none", "base": 0.0},
        max_tokens=2000,
        validation=0.4,
    )
    return run_of(recipe, tmp_path_factory.mktemp("runs") / "a")


@pytest.fixture(scope="module")
def found(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[GapResult, Path]:
    """The gap of its last checkpoint, on every window."""
    out = tmp_path_factory.mktemp("gap")
    return gap(GapConfig(model=str(run), windows=WINDOWS), out), out


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Documents that no run here has read, by turns into two files."""
    from alphadecay.corpus import documents

    folder = tmp_path_factory.mktemp("other")
    unread = list(dict.fromkeys(itertools.islice(documents(), 3000, 3600)))
    for name, rows in (("f.jsonl", unread[::2]), ("g.jsonl", unread[1::2])):
        (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    return folder / "f.jsonl", folder / "g.jsonl"


def test_positive_for_a_model_that_knows_its_training_data_by_heart(found: tuple[GapResult, Path]) -> None:
    result, out = found
    assert result.ci95 is not None and result.ci95[0] > 0.5
    assert result.gap == result.val_loss - result.train_loss and result.source == "run" and result.step == 100
    assert result.seen is not None and result.seen["epochs"] == pytest.approx(100 / 3)
    assert sum(int(often) * count for often, count in result.seen["times"].items()) == 100 * 16
    assert result.checkpoint["source"].endswith("checkpoint-100") and len(result.checkpoint["weights_sha256"]) == 64
    assert read_gap(out) == read_gap(out / "gap.json") == result


def test_validation_loss_is_that_of_the_run(run: Path, found: tuple[GapResult, Path]) -> None:
    """Two codes, one number: the run's own evaluation of its last weights on all validation windows."""
    evaluated = json.loads((run / "result.json").read_text())
    assert found[0].val_loss == pytest.approx(evaluated["eval_loss"], abs=1e-6)
    assert found[0].val.tokens == evaluated["eval_metrics"]["eval_tokens"]


def test_nothing_of_other_data(run: Path, other: tuple[Path, Path], tmp_path: Path) -> None:
    """Two files that the model saw nothing of: zero within the interval; and so in 95% of random divisions of the documents."""
    train_file, val_file = other
    config = GapConfig(model=str(run / "checkpoint-100"), train=str(train_file), val=str(val_file), windows=WINDOWS)
    result = gap(config, tmp_path)
    assert result.ci95 is not None and result.ci95[0] < 0.0 < result.ci95[1]
    assert result.source == "files" and result.bins == () and result.step is None and result.seen is None
    assert result.data["window"] == 32 and result.data["packing"] == "pack"  # as the run
    assert any("is not recorded" in remark for remark in result.remarks)
    sides = gap_losses.load(tmp_path / "losses.npz")
    docs = [gap_stats.by_unit(side.document, side.loss, side.tokens) for side in sides.values()]
    loss, tokens = (np.concatenate([getattr(side, name) for side in docs]) for name in ("loss", "tokens"))
    hits, rng = 0, np.random.default_rng(0)
    for i in range(200):
        order = rng.permutation(len(loss))
        a, b = (gap_stats.Sums(loss=loss[half], tokens=tokens[half]) for half in np.array_split(order, 2))
        drawn = gap_stats.Draws(a, (i, 0), 200), gap_stats.Draws(b, (i, 1), 200)
        ci95 = gap_stats.difference(*drawn, a.mean - b.mean).ci95
        assert ci95 is not None
        hits += ci95[0] <= 0 <= ci95[1]
    assert abs(hits / 200 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 200), hits


def test_losses_equal_a_slow_computation_token_by_token(run: Path, tmp_path: Path) -> None:
    """Each token from the logits of what stands before it alone; documents told apart by the EOS that ends them."""
    from transformers import AutoModelForCausalLM

    result = gap(GapConfig(model=str(run), windows=3, seed=5), tmp_path)
    sides = gap_losses.load(tmp_path / "losses.npz")
    corpus = prepare(recipes.from_yaml((run / "recipe.yaml").read_text(), "", "").data)
    model = AutoModelForCausalLM.from_pretrained(run / "checkpoint-100").eval()
    for name, windows, mean in (
        ("train", corpus.train, result.train_loss),
        ("val", corpus.validation, result.val_loss),
    ):
        pieces, total, count = sides[name], 0.0, 0
        for i in np.unique(pieces.window).tolist():
            ids, by_document = windows.tokens(i), dict.fromkeys(range(len(windows.documents(i))), 0.0)
            document = 0
            for at in range(1, len(ids)):
                document += ids[at - 1] == corpus.tokenizer.eos_token_id
                with torch.no_grad():
                    logits = model(torch.from_numpy(ids[:at])[None]).logits[0, -1].double()
                lost = float(torch.logsumexp(logits, 0) - logits[ids[at]])
                by_document[document] += lost
                total, count = total + lost, count + 1
            mine = pieces.only(pieces.window == i)
            for source, loss in zip(windows.documents(i), by_document.values(), strict=True):
                assert mine.loss[mine.document == source].sum() == pytest.approx(loss, abs=1e-4)
        assert mean == pytest.approx(total / count, abs=1e-6) and pieces.tokens.sum() == count


@pytest.mark.parametrize("packing", ["pack", "document"])
def test_batches_change_nothing(run: Path, other: tuple[Path, Path], tmp_path: Path, packing: str) -> None:
    config = GapConfig(
        model=str(run), train=str(other[0]), val=str(other[1]), windows=40, window=24, packing=packing, batch_size=1
    )
    one, many = gap(config, tmp_path / "1"), gap(dataclasses.replace(config, batch_size=16), tmp_path / "16")
    for name in ("train_loss", "val_loss", "gap", "se"):
        assert getattr(one, name) == pytest.approx(getattr(many, name), abs=1e-6)
    a, b = (gap_losses.load(tmp_path / size / "losses.npz") for size in ("1", "16"))
    for side in ("train", "val"):
        assert np.array_equal(a[side].document, b[side].document) and np.array_equal(a[side].tokens, b[side].tokens)
        assert np.allclose(a[side].loss, b[side].loss, atol=2e-5)


def test_seen_windows_are_those_that_training_consumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reached the model, through an interruption, a resume and a second epoch, against what each checkpoint is said to
    have seen: which, how often, and when last."""
    from alphadecay import loop

    train_config = {"steps": 11, "eval_every": 0, "eval_windows": 0, "save_every": 2, "keep": 99}
    recipe = small(train_config, {"policy": "none", "base": 0.0})
    shown: list[torch.Tensor] = []
    stopped: list[bool] = []
    real = loop.LoopTrainer.training_step

    def spy(self: Any, model: Any, inputs: Any, count: Any = None) -> Any:
        if len(shown) == 4 * 7 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        shown.extend(inputs["input_ids"])
        return real(self, model, inputs, count)

    monkeypatch.setattr(loop.LoopTrainer, "training_step", spy)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path)
    del shown[4 * 6 :]  # the step after the checkpoint of step 6 is done again
    train(recipe, tmp_path, resume=True)
    assert recipe.data is not None
    corpus = prepare(recipe.data)
    index = {tuple(corpus.train.tokens(i).tolist()): i for i in range(len(corpus.train))}
    assert len(index) == len(corpus.train) < 4 * 11  # told apart by their tokens; more than one epoch
    consumed = [index[tuple(ids.tolist())] for ids in shown]
    for step in (2, 4, 6, 8, 10, 11):
        checkpoint, run = gap_run.locate(str(tmp_path / f"checkpoint-{step}"), print)
        assert gap_run.step_of(checkpoint) == step
        seen = run.seen(run.corpus(print), step)
        so_far = consumed[: 4 * step]
        last = {window: place for place, window in enumerate(so_far)}
        assert seen.windows.tolist() == sorted(last, key=lambda window: last[window])
        assert seen.last.tolist() == sorted(last.values())
        assert seen.times.tolist() == [so_far.count(window) for window in seen.windows]
    assert max(consumed.count(window) for window in consumed) > 1


def test_an_early_checkpoint_is_measured_on_what_it_had_seen(tmp_path: Path) -> None:
    run = run_of(small({"steps": 4, "save_every": 2, "eval_every": 0}, max_tokens=2000, validation=0.4), tmp_path / "r")
    early = gap(GapConfig(model=str(run / "checkpoint-2"), windows=WINDOWS, bins=4), tmp_path / "2")
    late = gap(GapConfig(model=str(run), windows=WINDOWS, bins=4), tmp_path / "4")
    assert (early.train.windows, late.train.windows) == (8, 16)
    assert early.seen == {"steps": 2, "epochs": pytest.approx(2 / 15), "windows": 8, "times": {"1": 8}}
    assert [(b.first_step, b.last_step, b.windows) for b in late.bins] == [(i, i, 4) for i in (1, 2, 3, 4)]
    sides = gap_losses.load(tmp_path / "4" / "losses.npz")
    for number, one in enumerate(late.bins):
        inside = sides["train"].only(sides["train"].last // 4 == number)
        assert one.tokens == inside.tokens.sum() and one.gap is not None
        assert one.train_loss == pytest.approx(inside.loss.sum() / inside.tokens.sum())
        assert one.gap == pytest.approx(late.val_loss - one.train_loss)
    halves = [sides["train"].only(sides["train"].last // 8 == half) for half in (0, 1)]
    older, newer = (half.loss.sum() / half.tokens.sum() for half in halves)
    assert late.recency is not None and late.recency.difference == pytest.approx(older - newer)


def test_two_checkpoints_compared_on_the_same_windows(
    run: Path, found: tuple[GapResult, Path], other: tuple[Path, Path], tmp_path: Path
) -> None:
    late, late_folder = found
    early = gap(GapConfig(model=str(run / "checkpoint-50"), windows=WINDOWS), tmp_path / "50", against=late_folder)
    assert early.against is not None and early.against["difference"] == pytest.approx(early.gap - late.gap, abs=1e-12)
    assert early.against["folder"] == str(late_folder) and len(early.against["ci95"]) == 2
    compared = paired(tmp_path / "50", late_folder)
    assert compared.difference == pytest.approx(late.gap - early.gap, abs=1e-12)  # all windows are common
    assert compared.se is not None and early.se is not None and late.se is not None
    assert compared.se < np.hypot(early.se, late.se)
    gap(GapConfig(model=str(run), train=str(other[0]), val=str(other[1]), windows=9), tmp_path / "files")
    with pytest.raises(SpectraError, match="gaps on other windows"):
        paired(late_folder, tmp_path / "files")


def test_draws_are_by_seed_and_nested_over_checkpoints(run: Path, tmp_path: Path) -> None:
    def drawn(seed: int) -> dict[str, Any]:
        base = gap_data.open_data(GapConfig(model=str(run), seed=seed), tmp_path, print)
        from plasticity.base_model import load_base

        return base.read(load_base(str(base.checkpoint))).draw(20, seed)

    first, again, otherwise = drawn(0), drawn(0), drawn(1)
    assert first["train"].tolist() == again["train"].tolist() != otherwise["train"].tolist()
    assert first["val"].tolist() == again["val"].tolist() != otherwise["val"].tolist()
    assert len(set(first["train"].tolist())) == 20


def test_the_command(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spectra_cli import gap_command

    app = typer.Typer()
    app.command()(gap_command.gap)
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["--model", str(run), "--windows", "12", "--bins", "2", "--quiet"])
    assert shown.exit_code == 0, shown.output
    folder = tmp_path / default_out(GapConfig(model=str(run)), str(run / "checkpoint-100"))
    made = json.loads((folder / "gap.json").read_text())
    assert (made["format"], made["schema_version"]) == ("plasticity.gap", 1)
    assert {"train_loss", "val_loss", "gap", "ci95", "n_documents", "bins", "resampled"} <= set(made)
    assert made["gap"] == pytest.approx(made["val_loss"] - made["train_loss"])
    assert made["train"]["windows"] == 12 and len(made["bins"]) == 2
    assert {"device", "precision", "seconds", "libraries"} <= set(made["provenance"])
    assert f"gap {made['gap']:+.4f}" in shown.output and str(folder.name) in shown.output
    words = ["--model", str(run / "checkpoint-50"), "--windows", "12", "--quiet", "--out"]
    compared = CliRunner().invoke(app, [*words, "early", "--against", str(folder)])
    assert compared.exit_code == 0 and f"gap minus that of {folder}, paired on 12" in " ".join(compared.output.split())
    none = CliRunner().invoke(app, [*words, "none", "--against", "nothing"])
    assert none.exit_code == 2 and not Path("none").exists()
    wrong = CliRunner().invoke(app, ["--model", str(tmp_path / "nowhere"), "--quiet"])
    assert wrong.exit_code == 2


def refused(match: str, **config: Any) -> None:
    with pytest.raises(SpectraError, match=match):
        gap(GapConfig(**config))


def test_what_cannot_be_asked(run: Path) -> None:
    model = str(run)
    refused("--windows 0: expected at least 1", model=model, windows=0)
    refused("--train and --val go together", model=model, train="a.txt")
    refused("--window is for --train and --val", model=model, window=16)
    refused("--text-field is for --train and --val", model=model, text_field="body")
    refused("--precision 'int8'", model=model, precision="int8")
    refused("--bins is for a run", model=model, train="a.txt", val="b.txt", bins=3)


def test_folders_that_are_no_run(run: Path, tmp_path: Path) -> None:
    refused("no such folder, so there is no run", model=str(tmp_path / "no"))
    refused("no run and no checkpoint in one", model=str(tmp_path))
    shutil.copy(run / "data.json", tmp_path / "data.json")
    refused("no whole checkpoint yet", model=str(tmp_path))
    (tmp_path / "data.json").write_text('{"task": {}, "order": {}}')
    refused("is a fine-tuning run: .* give --train and --val", model=str(tmp_path))
    (tmp_path / "data.json").write_text("{")
    refused("cannot be read", model=str(tmp_path))


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def test_a_checkpoint_of_another_run(run: Path, tmp_path: Path) -> None:
    copy = copied(run, tmp_path / "a")
    facts = json.loads((copy / "data.json").read_text())
    facts["order"]["steps"] = 90
    (copy / "data.json").write_text(json.dumps(facts))
    refused("is of step 100, but .* records a run of 90 steps", model=str(copy))


def test_a_tokenizer_that_does_not_fit(run: Path, other: tuple[Path, Path], tmp_path: Path) -> None:
    from alphadecay.corpus import documents
    from alphadecay.data_tokenizer import train_tokenizer

    copy = copied(run, tmp_path / "a") / "checkpoint-100"
    train_tokenizer(itertools.islice(documents(), 50), 290).save_pretrained(copy)
    refused("its tokenizer .* is not the one that the run's windows were made with", model=str(copy))
    train_tokenizer(itertools.islice(documents(), 50), 400).save_pretrained(copy)
    refused("They are not of one model", model=str(copy), train=str(other[0]), val=str(other[1]))


def test_files_that_cannot_be_used(run: Path, other: tuple[Path, Path], tmp_path: Path) -> None:
    model, (f, g) = str(run), map(str, other)
    short, empty = tmp_path / "short.txt", tmp_path / "empty.txt"
    short.write_text("Two words.")
    empty.write_text("\n\n")
    refused(r"short.txt has \d+ tokens in 1 documents, but one window needs 32", model=model, train=f, val=str(short))
    refused("empty.txt has no text", model=model, train=str(empty), val=g)
    refused("--val .*: no such file", model=model, train=f, val=str(tmp_path / "no.txt"))
    refused("--train .*: a folder", model=model, train=str(tmp_path), val=g)
    refused("are the same file", model=model, train=f, val=f)
    refused("has no field 'body'; found text", model=model, train=f, val=g, text_field="body")
    refused("was made for 32 positions", model=model, train=f, val=g, window=64)


def test_shared_documents_are_counted_and_named(run: Path, other: tuple[Path, Path], tmp_path: Path) -> None:
    lines = [path.read_text().splitlines(keepends=True) for path in other]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join([*lines[1][:50], *lines[0][:3], lines[0][0]]))
    told: list[str] = []
    config = GapConfig(model=str(run), train=str(other[0]), val=str(mixed), windows=8)
    result = gap(config, tmp_path / "out", message=told.append)
    assert result.data["shared_documents"] == {"train": 3, "val": 4}
    assert any("4 validation documents also stand among the training documents" in remark for remark in result.remarks)
    assert any(sentence.startswith("warning: 4 validation documents") for sentence in told)


def test_a_validation_split_that_shares_documents(other: tuple[Path, Path], tmp_path: Path) -> None:
    """A share held out by a hash of the text cannot overlap; a split of its own can, and is looked through."""
    lines = [path.read_text().splitlines(keepends=True) for path in other]
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(lines[0]))
    (folder / "val.jsonl").write_text("".join([*lines[1], *lines[0][:2]]))
    data = {"source": str(folder), "validation_split": "val", "max_tokens": None}
    run = run_of(small({"steps": 2, "eval_every": 0, "eval_windows": 0}, **data), tmp_path / "r")
    result = gap(GapConfig(model=str(run), windows=8), tmp_path / "out")
    assert result.data["shared_documents"] == {"train": 2, "val": 2}
    assert any("2 validation documents also stand" in remark for remark in result.remarks)


def test_a_run_that_began_from_a_checkpoint_says_so(run: Path) -> None:
    _, found = gap_run.locate(str(run), print)
    assert found.recipe is not None and gap_data._started_from(found) == []
    model = dataclasses.replace(found.recipe.model, init_from="org/base", settings={})
    continued = dataclasses.replace(found, recipe=dataclasses.replace(found.recipe, model=model))
    assert "The run began from org/base" in gap_data._started_from(continued)[0]


def test_weights_that_are_not_sound(run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = copied(run, tmp_path / "a") / "checkpoint-100" / "model.safetensors"
    state = load_file(copy)
    state["model.norm.weight"][0] = float("nan")
    save_file(state, copy, {"format": "pt"})
    refused(r"The loss of window \d+ is not finite", model=str(copy.parent), windows=4)


def test_an_earlier_gap_is_replaced_only_where_that_is_asked_for(run: Path, tmp_path: Path) -> None:
    gap(GapConfig(model=str(run), windows=2), tmp_path)
    with pytest.raises(SpectraError, match=r"already holds a gap\.json\. Name another folder with --out, or delete it"):
        gap(GapConfig(model=str(run), windows=3), tmp_path)
    assert read_gap(tmp_path).train.windows == 2
    assert gap(GapConfig(model=str(run), windows=3), tmp_path, replace=True).train.windows == 3


def test_few_documents_are_said_to_be_few(run: Path, tmp_path: Path) -> None:
    result = gap(GapConfig(model=str(run), windows=2), tmp_path)
    assert result.se is None and result.ci95 is None and result.se_windows is None
    assert any(remark.startswith("No interval: either side needs 8 documents") for remark in result.remarks)


def test_data_that_are_gone_or_changed(
    other: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cached windows do; without them the source must give the same ones."""
    source = tmp_path / "source.jsonl"
    text = other[0].read_text()
    source.write_text(text)
    monkeypatch.setenv("ALPHADECAY_CACHE_DIR", str(tmp_path / "cache"))
    recipe = small({"steps": 2, "eval_every": 0, "eval_windows": 0}, source=str(source), validation=0.3)
    folder = run_of(recipe, tmp_path / "r")
    _, run = gap_run.locate(str(folder), print)
    expected = run.corpus(print).fingerprint
    source.write_text("elsewhere by now")
    assert run.corpus(print).fingerprint == expected  # from the cache
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(SpectraError, match=r"data of this run have changed: .*its source is"):
        run.corpus(print)
    source.unlink()
    with pytest.raises(SpectraError, match=r"data of this run are gone: .*No data source"):
        run.corpus(print)
    with pytest.raises(SpectraError, match=r"no recipe\.yaml that names their source"):
        dataclasses.replace(run, recipe=None).corpus(print)
    source.write_text(text)
    assert run.corpus(print).fingerprint == expected  # made again
    facts = {**run.facts, "fingerprint": "0" * 64}
    with pytest.raises(SpectraError, match=r"data of this run have changed: .*its fingerprint"):
        dataclasses.replace(run, facts=facts).corpus(print)
