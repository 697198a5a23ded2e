"""Probes: against plain transformers and scikit-learn, whatever the batch, the cache and the padding; bad input."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from alphadecay.data import DataConfig, prepare
from plasticity import base_model, probe_embed
from plasticity.base_model import load_base
from plasticity.probe import best_layer, probe, summary
from plasticity.probe_config import ProbeConfig
from plasticity.probe_corpus import kinds
from plasticity.probe_data import load, split_files
from plasticity.probe_encode import encode, specials
from plasticity.probe_extract import Extractor
from plasticity.probe_fit import NOT_CONVERGED, OK, Fit, Labelled, fit
from plasticity.probe_result import ProbeResult, read_result
from plasticity.probe_split import held_texts, quotas, split
from plasticity.probe_store import Store
from plasticity.probe_tasks import TASKS, get, own
from spectra.errors import SpectraError
from tests.alphadecay.conftest import SHARED, own_caches, tiny_llama  # noqa: F401 -- a fixture for every test here

WORDS = ("red", "boat", "Mia", "lives", "in", "a", "town", "and", "has", "7", "apples", "the", "sad", "song")
SMOLLM2 = Path(__file__).resolve().parents[2] / "demo" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaMA with the tokenizer of the embedded corpus."""
    return save(tiny_llama(vocab_size=400, max_position_embeddings=40), tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2: positions are learned, one an index."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=400, n_positions=40, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
    )
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(50)  # a position off by one would show
    return save(model, tmp_path_factory.mktemp("gpt2"))


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    prepare(DataConfig(vocab_size=400, window=32, max_tokens=2000)).tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of 1 to 30 words; class b is that of texts with 'sad', two in three."""
    dice = random.Random(3)
    folder = tmp_path_factory.mktemp("labelled")
    for name, count in (("train", 90), ("test", 30)):
        rows = []
        while len(rows) < count:
            words = [dice.choice(WORDS) for _ in range(dice.randint(1, 30))]
            wanted = "b" if len(rows) % 3 else "a"
            if ("sad" in words) == (wanted == "b"):
                rows.append({"text": f"{name} {len(rows)} {' '.join(words)}", "label": wanted})
        write(folder / f"{name}.jsonl", rows)
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config(base: Path, data: Path, cache: Path, **given: Any) -> ProbeConfig:
    settings = {
        "model": str(base), "data": str(data), "cache": str(cache), "seeds": (0, 1), "limit": None, "c_grid": (0.01, 1.0),
        "precision": "fp32", "device": "cpu",
    }  # fmt: skip
    return ProbeConfig(**(settings | given))


def alone(model: Any, ids: tuple[int, ...]) -> np.ndarray:
    """Embeddings of one text as transformers gives them: no padding, no mask, (L + 1, D)."""
    with torch.inference_mode():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    return torch.stack([state[0, -1] for state in states]).numpy()


def store_of(result: ProbeResult, cache: Path) -> Store:
    about = json.loads((cache / result.settings["embeddings"] / "about.json").read_text())
    return Store(cache, about["address"])


def test_equal_to_a_plain_script(base: Path, labelled: Path, tmp_path: Path) -> None:
    """Embeddings as transformers gives them, accuracies as scikit-learn does, written out here."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    result = probe(config(base, labelled, tmp_path / "cache"), tmp_path / "out")
    task, loaded, model = result.tasks[0], load(own("labelled"), labelled), load_base(str(base))
    store = store_of(result, tmp_path / "cache")
    texts = {name: encode(getattr(loaded, name).texts, model.tokenizer, 40) for name in ("train", "test")}
    y = {name: np.array(getattr(loaded, name).labels) for name in texts}
    plain = {name: np.stack([alone(model.model, text.ids) for text in texts[name]], axis=1) for name in texts}
    assert task.n_train + task.n_validation == 90 and task.n_test == 30 and len(task.layers) == 3
    for layer in task.layers:
        x = {name: store.layer(layer.layer, [text.key for text in texts[name]]) for name in texts}
        for name in texts:
            np.testing.assert_allclose(x[name], plain[name][layer.layer], atol=1e-5)
        for seed, found in zip((0, 1), layer.seeds, strict=True):
            part = split(y["train"].tolist(), seed, limit=None, validation=0.2)
            scaler = StandardScaler().fit(x["train"][part.train].astype(float))
            scores = []
            for c in (0.01, 1.0):
                model_c = LogisticRegression(C=c, max_iter=1000)
                model_c.fit(scaler.transform(x["train"][part.train].astype(float)), y["train"][part.train])
                inside = scaler.transform(x["train"][part.validation].astype(float))
                scores.append((model_c.score(inside, y["train"][part.validation]), -c, model_c))
            validation, c, chosen = max(scores, key=lambda score: score[:2])
            outside, trained = (scaler.transform(rows.astype(float)) for rows in (x["test"], x["train"][part.train]))
            assert found.c == -c
            assert found.validation_accuracy == pytest.approx(validation, abs=1e-9)
            assert found.test_accuracy == pytest.approx(chosen.score(outside, y["test"]), abs=1e-9)
            assert found.train_accuracy == pytest.approx(chosen.score(trained, y["train"][part.train]), abs=1e-9)
    assert any(layer.test_accuracy != task.layers[0].test_accuracy for layer in task.layers)  # layers are not mixed up


@pytest.mark.parametrize("kind", ["base", "gpt2"])
def test_batches_and_padding_change_nothing(kind: str, labelled: Path, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    loaded = load_base(str(folder))
    texts = load(own("x"), labelled).train.texts[:40]
    found = {}
    for size in (1, 64):
        for side in ("left", "right"):
            loaded.tokenizer.padding_side = side
            ids = [text.ids for text in encode(texts, loaded.tokenizer, 40)]
            extractor = Extractor(loaded.model, size)
            assert extractor.try_padding(ids)
            rows = np.empty((3, len(ids), 32), dtype=np.float32)
            sizes = []
            for batch in extractor.batches([len(i) for i in ids]):
                sizes.append(len(batch))
                rows[:, batch] = extractor.rows([ids[i] for i in batch])
            assert max(sizes) == min(size, len(ids)) and extractor.last_layer_is_final
            found[size, side] = rows
    plain = np.stack([alone(loaded.model, row) for row in ids], axis=1)
    assert len({len(row) for row in ids}) > 10
    for rows in found.values():
        np.testing.assert_allclose(rows, plain, atol=1e-5 * np.abs(plain).max())


class Leaky(torch.nn.Module):
    """A model in which every token sees all others, padding too."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(50, 8)
        self.config = type("Config", (), {"is_encoder_decoder": False})()

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.words

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool) -> Any:
        first = self.words(input_ids)
        return type("Out", (), {"hidden_states": (first, first + first.mean(dim=1, keepdim=True))})()


def test_a_model_that_padding_changes_gets_equal_lengths() -> None:
    extractor = Extractor(Leaky(), 4)
    texts = [tuple(range(1, 2 + n % 3)) for n in range(9)]
    assert not extractor.try_padding(texts)
    batches = list(extractor.batches([len(text) for text in texts]))
    assert sorted(i for batch in batches for i in batch) == list(range(9))
    assert all(len({len(texts[i]) for i in batch}) == 1 for batch in batches)


def test_the_end_of_a_long_text_is_kept_and_special_tokens_with_it(base: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = load_base(str(base)).tokenizer
    plain = encode(["red boat sad song"], tokenizer, None)[0].ids
    backend = tokenizer.backend_tokenizer
    name = tokenizer.eos_token
    backend.post_processor = TemplateProcessing(single=f"{name} $A", special_tokens=[(name, tokenizer.eos_token_id)])
    assert specials(tokenizer).before == (tokenizer.eos_token_id,) and not specials(tokenizer).after
    whole, short = encode(["red boat sad song", "red"], tokenizer, 4)
    assert whole.ids == (tokenizer.eos_token_id, *plain[-3:]) and whole.cut and not short.cut
    with pytest.raises(SpectraError, match="no room"):
        encode(["red"], tokenizer, 1)


def test_what_is_cached_is_not_extracted_again(
    base: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = probe(config(base, labelled, tmp_path / "cache"), tmp_path / "a")
    assert (first.provenance["extracted"], first.provenance["cached"]) == (120, 0)
    with pytest.raises(SpectraError, match="already holds"):
        probe(config(base, labelled, tmp_path / "cache"), tmp_path / "a")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    with monkeypatch.context() as patch:
        patch.setattr(base_model, "load_base", refuse)
        again = probe(config(base, labelled, tmp_path / "cache"), tmp_path / "b")
        other = probe(config(base, labelled, tmp_path / "cache", seeds=(7, 8), c_grid=(0.1,), limit=40), tmp_path / "c")
        with pytest.raises(AssertionError):  # random weights are another checkpoint
            probe(config(base, labelled, tmp_path / "cache", from_scratch=True), tmp_path / "d")
    assert again.tasks == first.tasks and again.checkpoint == first.checkpoint and again.settings == first.settings
    assert other.provenance["extracted"] == 0 and other.provenance["cached"] < 120
    assert other.tasks[0].n_train + other.tasks[0].n_validation == other.tasks[0].n_test + 10 == 40
    changed = shutil.copytree(base, tmp_path / "changed")
    tiny_llama(1, vocab_size=400, max_position_embeddings=40).save_pretrained(changed)
    moved = probe(config(changed, labelled, tmp_path / "cache"), tmp_path / "e")
    assert moved.provenance["extracted"] == 120 and moved.settings["embeddings"] != first.settings["embeddings"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_adapter_is_another_checkpoint_with_the_window_of_its_base(
    base: Path, labelled: Path, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(load_base(str(base)).model, peft.LoraConfig(r=2, target_modules=["v_proj"]))
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weights)
    model.save_pretrained(tmp_path / "lora")
    load_base(str(base)).tokenizer.save_pretrained(tmp_path / "lora")
    adapter = tmp_path / "lora" / "adapter_config.json"
    adapter.write_text(json.dumps(json.loads(adapter.read_text()) | {"base_model_name_or_path": str(base)}))
    plain, tuned = (
        probe(config(place, labelled, tmp_path / "cache"), tmp_path / f"out{number}")
        for number, place in enumerate((base, tmp_path / "lora"))
    )
    assert tuned.settings["window"] == plain.settings["window"] == 40
    assert tuned.provenance["extracted"] == 120
    text = encode(load(own("x"), labelled).test.texts, load_base(str(base)).tokenizer, 40)[0]
    ours = store_of(tuned, tmp_path / "cache").layer(2, [text.key])[0]
    with torch.inference_mode():
        whole = model(torch.tensor([text.ids]), output_hidden_states=True).hidden_states[2][0, -1].numpy()
    np.testing.assert_allclose(ours, whole, atol=1e-5)
    assert np.abs(ours - store_of(plain, tmp_path / "cache").layer(2, [text.key])[0]).max() > 1e-3


def test_interrupted_it_goes_on_where_it_was(
    base: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = probe(config(base, labelled, tmp_path / "one"), tmp_path / "a")
    monkeypatch.setattr(probe_embed, "_SHARD_TEXTS", 16)
    put, done = Store.put, []

    def interrupted(self: Store, keys: Any, embeddings: Any) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(put(self, keys, embeddings))

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            probe(config(base, labelled, tmp_path / "two", batch_size=16), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    shard = max((tmp_path / "two").rglob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-4])  # and a disk that lost the end of a file
    resumed = probe(config(base, labelled, tmp_path / "two", batch_size=16), tmp_path / "b")
    assert (resumed.provenance["cached"], resumed.provenance["extracted"]) == (32, 88)
    assert resumed.tasks == straight.tasks


def blobs(count: int, seed: int = 0) -> Labelled:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    return Labelled(x=rng.normal(size=(count, 5)) + 1.5 * np.eye(5)[y], y=y)


def test_nothing_of_validation_and_test_reaches_the_probe() -> None:
    train, validation, test = blobs(60), blobs(30, 1), blobs(40, 2)
    usual = fit(train, validation, test, (0.1,), 500)
    wild = [
        Labelled(x=np.vstack([part.x, np.full((20, 5), 1e6)]), y=np.append(part.y, [0] * 20))
        for part in (validation, test)
    ]
    found = fit(train, wild[0], wild[1], (0.1,), 500)
    assert (found.right[:40] == usual.right).all() and found.train_accuracy == usual.train_accuracy
    assert 0.5 < usual.test_accuracy < 1


def test_the_smallest_of_equally_good_strengths_is_chosen_and_a_solver_that_stops_is_told() -> None:
    train, validation, test = blobs(60), blobs(30, 1), blobs(40, 2)
    far = Labelled(x=10 * np.eye(5)[validation.y], y=validation.y)
    assert fit(train, far, test, (10.0, 0.1, 1.0), 500).c == 0.1
    stopped = fit(train, validation, test, (0.1, 100.0), 1)
    assert stopped.status == NOT_CONVERGED and stopped.not_converged == 2 and stopped.iterations == 1
    assert fit(train, validation, test, (0.1,), 500).status == OK


def test_the_best_layer_is_that_of_validation() -> None:
    def layer(number: int, validation: tuple[float, float], test: float) -> Any:
        right = np.arange(10) < 10 * test
        fits = [
            Fit(c=1.0, train_accuracy=1.0, validation_accuracy=v, test_accuracy=test, status=OK, iterations=3, not_converged=0,
                right=right)
            for v in validation
        ]  # fmt: skip
        return summary(number, (0, 1), fits)

    layers = [
        layer(0, (0.5, 0.6), 0.9),
        layer(1, (0.8, 0.6), 0.5),
        layer(2, (0.7, 0.7), 0.8),
        layer(3, (0.6, 0.7), 1.0),
    ]
    best = best_layer(layers)
    assert (best.layer, best.test_accuracy) == (1, 0.5)
    assert layers[1].validation_accuracy_sd == pytest.approx(0.2 / 2**0.5) and layers[1].test_accuracy_sd == 0
    low, high = best.test_accuracy_ci95
    assert 0.1 <= low < 0.5 < high <= 0.9


@pytest.mark.parametrize("limit", [None, 10, 57])
def test_splits(limit: int | None) -> None:
    labels = [0] * 40 + [1] * 20 + [2] * 2
    one, same, other = (split(labels, seed, limit=limit, validation=0.2) for seed in (0, 0, 1))
    both = np.concatenate([one.train, one.validation])
    assert len(set(both.tolist())) == len(both) == (limit or 62)
    assert {labels[i] for i in one.train} == {labels[i] for i in one.validation} == {0, 1, 2}
    assert (one.train == same.train).all() and not np.array_equal(np.sort(one.validation), np.sort(other.validation))
    assert len(one.validation) == pytest.approx(0.2 * len(both), abs=2)
    held = held_texts(labels, limit)
    assert (np.diff(held) > 0).all() and len(held) == (limit or 62) and len({labels[i] for i in held}) == 3


def test_quotas_are_shares() -> None:
    assert quotas([50, 30, 20], 10, 1) == [5, 3, 2]
    assert quotas([98, 1, 1], 10, 1) == [8, 1, 1]
    assert sum(quotas([7, 11, 13, 1], 9, 2)) == 9
    with pytest.raises(SpectraError, match="Allow 4 or more"):
        quotas([5, 5], 3, 2)


def test_the_embedded_task_is_balanced_and_its_splits_apart() -> None:
    data = load(get("corpus_kinds"))
    assert set(data.about["classes"].values()) == {500} and len(data.classes) == 6
    assert np.bincount(data.test.labels).tolist() == [100] * 6
    assert not set(data.train.texts) & set(data.test.texts)
    assert data.about["train"]["dropped"] == {} and list(kinds("test")) == list(kinds("test"))


def test_majority_and_two_tasks(base: Path, labelled: Path, tmp_path: Path) -> None:
    for name, column in (("sst2", "sentence"), ("ag_news", "text")):
        for part in ("train", "test"):
            rows = [json.loads(line) for line in (labelled / f"{part}.jsonl").read_text().splitlines()]
            rows = [{column: row["text"], "label": int(row["label"] == "b") + (name == "ag_news")} for row in rows]
            if name == "sst2":
                rows.append({"sentence": "nobody knows", "label": -1})
            write(tmp_path / "data" / name / f"{'dev' if part == 'test' else part}.jsonl", rows)
    result = probe(config(base, tmp_path / "data", tmp_path / "cache", tasks=("sst2", "ag_news")), tmp_path / "out")
    sentiment, topic = result.tasks
    assert (sentiment.majority, sentiment.majority_class) == (pytest.approx(2 / 3), "positive")
    assert (topic.majority_class, topic.classes) == ("Business", ("Sports", "Business"))
    assert sentiment.data["test"]["dropped"] == {"label is hidden upstream": 1}
    means = [(a.test_accuracy + b.test_accuracy) / 2 for a, b in zip(sentiment.layers, topic.layers, strict=True)]
    assert result.profiles["paper"]["value"] == pytest.approx(max(means))
    assert result.profiles["paper"]["layer"] == means.index(max(means))
    best = [task.best_layer.test_accuracy for task in result.tasks]
    assert result.profiles["default"]["value"] == pytest.approx(sum(best) / 2)
    made = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert made["format"] == "plasticity.probe" and made["schema_version"] == 1
    assert read_result(tmp_path / "out") == result and result.checkpoint["weights_sha256"]


def test_files_of_a_folder(tmp_path: Path) -> None:
    row = [{"text": "red boat", "label": 0}]
    for name in ("train_from_test_6.jsonl", "train_head.jsonl", "test_2.jsonl", "dev.jsonl"):
        write(tmp_path / "one" / name, row)
    found = split_files(tmp_path / "one")
    assert [path.name for path in found["train"]] == ["train_from_test_6.jsonl", "train_head.jsonl"]
    assert [path.name for path in found["test"]] == ["test_2.jsonl"]
    write(tmp_path / "two" / "validation" / "a.jsonl", row)
    write(tmp_path / "two" / "b.jsonl", row)
    assert [path.name for path in split_files(tmp_path / "two")["test"]] == ["a.jsonl"]


def test_repeats_and_texts_of_the_test_split_are_left_out(tmp_path: Path) -> None:
    pair = [{"text": f"{word} {i}", "label": i % 2} for i, word in enumerate(WORDS)]
    rows = [*pair, {"text": "RED  0", "label": 0}, {"text": " held OUT", "label": 1}]
    write(tmp_path / "train.jsonl", rows)
    write(tmp_path / "test.jsonl", [{"text": "held out", "label": 1}, {"text": "held out", "label": 1}])
    data = load(own("x"), tmp_path)
    assert data.about["train"]["dropped"] == {"text is in the test split": 1, "the same text again": 1}
    assert data.train.texts == tuple(row["text"] for row in pair) and len(data.test.texts) == 2
    alone = load(own("x"), write(tmp_path / "big.jsonl", [{"text": f"text {i}", "label": i % 2} for i in range(200)]))
    assert len(alone.train.texts) + len(alone.test.texts) == 200 and 20 < len(alone.test.texts) < 70
    assert any("one text in five" in remark for remark in alone.about["remarks"])


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match=r"The file is empty: .*none\.jsonl"):
        load(own("x"), write(tmp_path / "none.jsonl", []))
    hidden = [{"text": f"held {i}", "label": -1} for i in range(3)]
    task = dataclasses.replace(own("x"), hidden="-1")
    with pytest.raises(
        SpectraError, match=r"no training texts: 3 rows read, dropped: label is hidden upstream \(3\)\."
    ):
        load(task, write(tmp_path / "hidden.jsonl", hidden))


GOOD = [{"text": f"text {i}", "label": i % 2} for i in range(8)]
BAD: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], str]] = {
    "one class": ([row | {"label": 0} for row in GOOD], [], "one class only"),
    "strange label": (GOOD, [{"text": "x", "label": 5}], "test labels that training has not: '5'"),
    "empty text": ([*GOOD, {"text": " ", "label": 0}], [], "Row 9 of .* has no text"),
    "no label": (GOOD, [{"text": "x", "label": None}], "Row 1 of .*test.jsonl has the label 'None'"),
    "no column": (GOOD, [{"text": "x"}], "has no field 'label': it has text. .*--label-field"),
    "few": ([*GOOD, {"text": "y", "label": 2}], [], "class '2' has 1 training text"),
    "no test": (GOOD, [{"text": "TEXT 1", "label": 1} | row for row in GOOD], "has no training texts"),
    "fraction": ([{"text": "x", "label": 0.5}], [], "whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data(case: str, tmp_path: Path) -> None:
    train, test, message = BAD[case]
    write(tmp_path / "train.jsonl", train)
    write(tmp_path / "test.jsonl", test or [{"text": "held", "label": 0}])
    with pytest.raises(SpectraError, match=message):
        load(own("x"), tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tasks": ("sst",)}, "Did you mean 'sst2'"),
        ({"tasks": ("sst2", "ag_news"), "data": "labelled"}, "no folder sst2"),
        ({"text_field": "x"}, "give --data"),
        ({"limit": 3, "data": "labelled"}, "at least 4"),
        ({"data": "nowhere"}, "no such file"),
        ({"seeds": (1, 1)}, "different seeds"),
        ({"c_grid": (1.0, 0.1)}, "ascending"),
        ({"data": "labelled", "window": 41}, "made for 40 tokens"),
    ],
)
def test_bad_options(given: dict[str, Any], message: str, base: Path, labelled: Path, tmp_path: Path) -> None:
    data = {"data": str(labelled)} if given.get("data") == "labelled" else {}
    with pytest.raises(SpectraError, match=message):
        probe(ProbeConfig(model=str(base), **(given | data)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_refused_and_not_kept(base: Path, labelled: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(base, tmp_path / "broken")
    model = tiny_llama(vocab_size=400, max_position_embeddings=40)
    model.model.layers[1].mlp.up_proj.weight.data[:] = float("nan")
    model.save_pretrained(broken)
    with pytest.raises(SpectraError, match="not finite at layer 2"):
        probe(config(broken, labelled, tmp_path / "cache"), tmp_path / "out")
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    from spectra_cli.probe_command import probe as command

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    yield lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_what_is_printed_is_in_the_file(run: Callable[..., Any], base: Path, labelled: Path, tmp_path: Path) -> None:
    asked = (
        "--model",
        base,
        "--data",
        labelled,
        "--cache",
        tmp_path / "cache",
        "--c-grid",
        "0.1,1",
        "--out",
        tmp_path / "out",
    )
    found = run(*asked, "--seeds", "4,5", "--limit", 0)
    assert found.exit_code == 0, found.output
    made = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert made["seeds"] == [4, 5] and made["settings"]["limit"] is None
    lines = found.stdout.splitlines()
    for layer in made["tasks"][0]["layers"]:
        row = next(line for line in lines if line.split()[:1] == [str(layer["layer"])])
        for name in ("train_accuracy", "validation_accuracy", "test_accuracy", "test_accuracy_sd"):
            assert f"{layer[name]:.4f}" in row
    assert f"always b: {made['tasks'][0]['majority']:.4f}" in found.stdout
    assert "extracting 120 texts" in found.stderr and "extracting" not in found.stdout
    again = run(*asked)
    assert again.exit_code == 2 and "already holds" in again.stderr
    for words, message in (
        (("--seeds", "x"), "expected whole numbers"),
        (("--c-grid", "a"), "expected numbers"),
        (("--init-seed", 1), "--from-scratch"),
    ):
        refused = run(*asked, *words)
        assert refused.exit_code == 2 and message in refused.stderr


def test_the_command_line_has_the_defaults_of_the_library(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from plasticity import probe as probing

    asked: list[ProbeConfig] = []

    def stop(given: ProbeConfig, out: Path, *, message: object) -> None:
        asked.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr(probing, "probe", stop)
    monkeypatch.setattr("spectra_cli.common._leave", sys.exit)
    found = run("--out", tmp_path / "out")
    assert found.exit_code == 130 and "the same command goes on" in found.stderr
    run("--task", "sst2, ag_news", "--from-scratch", "--init-seed", 4, "--seeds", "5,")
    assert asked[0] == ProbeConfig()
    assert asked[1] == ProbeConfig(tasks=("sst2", "ag_news"), from_scratch=True, init_seed=4, seeds=(5,))


@pytest.mark.slow
def test_pretraining_shows(tmp_path: Path) -> None:
    """On the embedded task a model that was pretrained for half a minute beats its random weights and the majority."""
    from alphadecay import recipes
    from alphadecay.train import train

    train(recipes.load("tiny"), tmp_path / "run")
    model = str(tmp_path / "run" / "checkpoint-250")
    asked = {"model": model, "tasks": ("corpus_kinds",), "limit": 1500}
    learned, control = (
        probe(ProbeConfig(from_scratch=scratch, **asked), tmp_path / f"out{scratch}").tasks[0]
        for scratch in (False, True)
    )
    assert learned.best_layer.test_accuracy_ci95[0] > control.best_layer.test_accuracy_ci95[1] > learned.majority


@pytest.mark.slow
@pytest.mark.skipif(
    not (SMOLLM2.exists() and SHARED.exists()), reason="no ../shared, or make demo has not fetched the model"
)
def test_smollm2_on_the_papers_tasks(tmp_path: Path) -> None:
    """Issue 6, Shows 3: accuracy by layer far above the majority."""
    asked = ProbeConfig(model=str(SMOLLM2), tasks=("sst2", "ag_news"), data=str(SHARED), limit=400, batch_size=32)
    result = probe(asked, tmp_path / "out", message=print)
    for task, least, first in zip(result.tasks, (0.15, 0.45), (15, 5), strict=True):
        assert len(task.layers) == 31 and task.n_test == 400
        assert task.best_layer.test_accuracy > task.majority + least
        assert all(layer.test_accuracy_ci95[0] > task.majority for layer in task.layers[first:])
    assert set(TASKS) == {"sst2", "ag_news", "corpus_kinds"}


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.exists(), reason="make demo has not fetched the model")
def test_batches_change_nothing_for_smollm2() -> None:
    """Issue 6, Shows 3: a model of 30 layers, some of whose numbers are in the thousands."""
    base = load_base(str(SMOLLM2))
    data = load(get("corpus_kinds"))
    ids = [
        text.ids
        for text in encode([" ".join(data.test.texts[i : i + 1 + i % 4]) for i in range(12)], base.tokenizer, None)
    ]
    one, many = Extractor(base.model, 1), Extractor(base.model, 64)
    assert many.try_padding(ids)
    together = many.rows(ids)
    single = np.stack([one.rows([row])[:, 0] for row in ids], axis=1)
    off = np.abs(together - single).max(axis=(1, 2)) / np.abs(single).max(axis=(1, 2))
    assert len({len(row) for row in ids}) > 5 and together.shape == (31, 12, 576) and off.max() < 1e-5
