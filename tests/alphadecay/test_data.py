"""`prepare` from text to windows: split, seeds, provenance, errors, real text."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alphadecay import corpus, data, data_build
from alphadecay.data import Corpus, DataConfig, prepare
from spectra.errors import SpectraError

pytest.importorskip("transformers")

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """400 documents in a file, one of them blank and one null, ten of them twice."""
    documents: list[str | None] = list(itertools.islice(corpus.documents(5), 400))
    documents[7], documents[8] = " \n", None
    documents += documents[20:30]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in documents), encoding="utf-8")
    return path


def make(path: Path, cache: Path, **fields: object) -> Corpus:
    chosen: dict[str, object] = {"source": str(path), "window": 64, "validation": 0.1, "vocab_size": 400}
    return prepare(DataConfig(**(chosen | fields)), cache)  # type: ignore[arg-type]


def _bytes(found: Corpus) -> bytes:
    return (found.folder / "train.tokens").read_bytes()


def test_windows_decode_to_the_documents(texts: Path, tmp_path: Path) -> None:
    found = make(texts, tmp_path / "c")
    rows = [json.loads(line)["text"] for line in texts.read_text(encoding="utf-8").splitlines()]
    for split in (found.train, found.validation):
        ids = np.concatenate([split.tokens(i) for i in range(len(split))])
        decoded = found.tokenizer.decode(ids.tolist())
        joined = "".join(rows[i] + found.tokenizer.eos_token for i in split.source_documents.tolist())
        assert joined.startswith(decoded)
        assert len(joined) - len(decoded) <= 64 * 10


def test_split_is_a_partition_and_keeps_twins_together(texts: Path, tmp_path: Path) -> None:
    found = make(texts, tmp_path / "c")
    train, validation = found.train.source_documents.tolist(), found.validation.source_documents.tolist()
    assert sorted(train + validation) == [i for i in range(410) if i not in {7, 8}]
    assert 15 <= len(validation) <= 75
    rows = texts.read_text(encoding="utf-8").splitlines()
    assert not {rows[i] for i in train} & {rows[i] for i in validation}


def test_same_seed_same_bytes_other_seed_other_order(texts: Path, tmp_path: Path) -> None:
    first, again = make(texts, tmp_path / "a"), make(texts, tmp_path / "b")
    other = make(texts, tmp_path / "a", seed=43)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert _bytes(first) == _bytes(again) != _bytes(other)
    assert first.train.source_documents.tolist() != sorted(first.train.source_documents.tolist())


def test_batches_do_not_show(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields: dict[str, object] = {"max_tokens": 5000}
    first = make(texts, tmp_path / "a", **fields)
    monkeypatch.setattr(data_build, "_BATCH_DOCUMENTS", 7)
    monkeypatch.setattr(data_build, "_SHUFFLE_TOKENS", 100)
    again = make(texts, tmp_path / "b", **fields)
    assert first.facts() == again.facts()
    assert first.facts()["train"]["tokens"] + first.facts()["train"]["tail_tokens_left_out"] >= 5000
    assert first.facts()["documents"]["read"] < 200


def test_facts(texts: Path, tmp_path: Path) -> None:
    found = make(texts, tmp_path / "c")
    facts = found.facts()
    assert facts["documents"]["read"] == 410
    assert facts["documents"]["dropped"] == {"empty": 1, "null": 1}
    assert facts["documents"]["kept"] == 408 == facts["train"]["documents"] + facts["validation"]["documents"]
    assert facts["train"]["windows"] == len(found.train)
    assert facts["train"]["tokens"] == 64 * len(found.train)
    assert facts["train"]["padding_share"] == 0
    assert 1 < facts["characters_per_token"] < 4
    assert facts["fingerprint"] == found.fingerprint
    assert str(tmp_path) not in json.dumps(facts)
    assert found.vocab_size == 400
    assert json.loads((found.folder / "manifest.json").read_text(encoding="utf-8"))["split"]["rule"].startswith(
        "held out"
    )


def test_one_document_a_window(texts: Path, tmp_path: Path) -> None:
    found = make(texts, tmp_path / "c", packing="document")
    facts = found.facts()["train"]
    assert len(found.train) == facts["documents"]
    lengths = [int(found.train[i]["attention_mask"].sum()) for i in range(len(found.train))]
    assert facts["padding_share"] == pytest.approx(1 - sum(lengths) / (64 * len(lengths)))
    assert facts["truncated_tokens"] > 0
    short = next(i for i, n in enumerate(lengths) if n < 64)
    item = found.train[short]
    assert item["labels"][lengths[short] - 1] == found.tokenizer.eos_token_id
    assert set(item["labels"][lengths[short] :].tolist()) == {-100}
    assert set(item["input_ids"][lengths[short] :].tolist()) == {found.tokenizer.pad_token_id}


def test_a_renamed_source_is_the_same_source(texts: Path, tmp_path: Path) -> None:
    first = make(texts, tmp_path / "c")
    moved = texts.rename(texts.with_name("other.jsonl"))
    assert make(moved, tmp_path / "c").folder == first.folder
    moved.write_text(moved.read_text(encoding="utf-8") + '{"text": "One more."}\n', encoding="utf-8")
    assert make(moved, tmp_path / "c").folder != first.folder


def test_embedded_corpus(tmp_path: Path) -> None:
    found = prepare(DataConfig(max_tokens=60_000), tmp_path)
    assert found.facts()["train"]["tokens"] >= 60_000 - 128
    assert 0 < len(found.validation) < len(found.train) / 10
    assert found.vocab_size == 512
    text = found.tokenizer.decode(found.train.tokens(0))
    assert "<|endoftext|>" in text


def test_embedded_corpus_is_bounded_without_being_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "EMBEDDED_TOKENS", 30_000)
    assert prepare(DataConfig(), tmp_path).facts()["inputs"]["config"]["max_tokens"] == 30_000


def test_tokenizer_completes_a_checkpoint(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    found = prepare(DataConfig(max_tokens=30_000), tmp_path / "c")
    found.tokenizer.save_pretrained(tmp_path / "checkpoint")
    again = AutoTokenizer.from_pretrained(tmp_path / "checkpoint")
    assert again("Tom has 3 apples.")["input_ids"] == found.tokenizer("Tom has 3 apples.")["input_ids"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 1}, "data.window = 1: expected at least 2"),
        ({"validation": 0.0}, "data.validation = 0.0: expected a share between 0 and 1"),
        ({"validation": 1.0}, "data.validation = 1.0"),
        ({"packing": "both"}, "data.packing = 'both': expected one of pack, document"),
        ({"txt_document": "page"}, "data.txt_document = 'page': expected one of line, paragraph, file"),
        ({"max_tokens": 5}, "data.max_tokens = 5: expected at least one window"),
        ({"vocab_size": 200}, "data.vocab_size = 200: expected at least 258"),
        ({"seed": -1}, "data.seed = -1"),
        ({"source": ""}, "data.source = ''"),
        ({"validation_split": "train"}, "data.validation_split = 'train': expected another split"),
    ],
)
def test_config_is_checked(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpectraError, match=message):
        DataConfig(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "fields", "message"),
    [
        ([], {}, "has no training text: 0 documents read"),
        ([" ", ""], {}, "has no training text: 2 documents read"),
        ([" ", ""], {"tokenizer": "own"}, "has no training text: 2 documents read"),
        (["word " * 5] * 3, {"validation": 0.0001}, "gives [0-9]+ training tokens, but one window needs 64"),
        (
            ["word " * 200] * 3,
            {"validation": 0.0001},
            "validation split of .* has 0 tokens in 0 documents, but one window needs 64",
        ),
        (["fine", 7], {}, "Row 2 of .* the text field holds a int, expected text"),
    ],
)
def test_too_little_text(rows: list[object], fields: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in rows), encoding="utf-8")
    if "tokenizer" in fields:
        data.train_tokenizer(["some text"], 300).save_pretrained(tmp_path / "own")
        fields = {"tokenizer": str(tmp_path / "own")}
    with pytest.raises(SpectraError, match=message):
        make(path, tmp_path / "c", **fields)
    assert not list((tmp_path / "c").glob("corpus-*/"))


def test_fields_without_meaning_are_refused(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match=r"data.subset = 'en' has no meaning"):
        make(texts, tmp_path, subset="en")
    with pytest.raises(SpectraError, match=r"data.validation_split = 'test' has no meaning for the source 'embedded'"):
        prepare(DataConfig(validation_split="test"), tmp_path)


def test_lone_surrogates_are_replaced_and_counted(texts: Path, tmp_path: Path) -> None:
    with texts.open("a", encoding="utf-8") as f:
        f.write('{"text": "broken \\ud800 pair"}\n')
    assert make(texts, tmp_path / "c").facts()["documents"]["repaired"] == 1


def test_progress_is_told(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_build, "_MESSAGE_S", 0.0)
    monkeypatch.setattr(data_build, "_BATCH_DOCUMENTS", 100)
    said: list[str] = []
    prepare(
        DataConfig(source=str(texts), window=64, validation=0.1, vocab_size=400), tmp_path / "c", message=said.append
    )
    assert said[0] == "training a tokenizer of 400 tokens"
    assert len([s for s in said if "training tokens; " in s and s.endswith("documents read")]) == 5
    assert said[-1].startswith("tokenised ")


def test_a_source_that_changes_meanwhile_is_refused(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = data_build.Builder.close

    def close(self: data_build.Builder) -> None:
        real(self)
        with texts.open("a", encoding="utf-8") as f:
            f.write('{"text": "late"}\n')

    monkeypatch.setattr(data_build.Builder, "close", close)
    with pytest.raises(SpectraError, match="changed while it was read"):
        make(texts, tmp_path / "c")
    assert not list((tmp_path / "c").glob("corpus-*/"))


def test_import_is_light() -> None:
    code = "import sys, alphadecay.data; print([m for m in ('torch', 'transformers', 'datasets', 'pyarrow') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@needs_shared
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("c4_en_1000.jsonl", {"vocab_size": 2000}),
        ("c4_en_1000.jsonl", {"packing": "document", "window": 256}),
        ("tinystories_head.txt", {}),
        ("wikitext2_valid.txt", {"txt_document": "line"}),
    ],
)
def test_real_text(name: str, fields: dict[str, object], tmp_path: Path) -> None:
    stories = {} if "vocab_size" in fields else {"tokenizer": str(SHARED / "models" / "stories260k")}
    found = make(SHARED / "pretrain" / name, tmp_path, **(stories | fields))
    facts = found.facts()
    assert facts["train"]["windows"] == len(found.train) > len(found.validation) > 0
    assert found.vocab_size == facts["tokenizer"]["vocab_size"] == fields.get("vocab_size", 512)
    assert facts["documents"]["read"] == facts["documents"]["kept"] + sum(facts["documents"]["dropped"].values())
