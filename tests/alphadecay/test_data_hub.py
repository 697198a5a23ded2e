"""Hub data sets: real `datasets` on local folders, the network boundary alone replaced."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from alphadecay import corpus, data_hub
from alphadecay.data import DataConfig, prepare
from spectra.errors import SpectraError

pytest.importorskip("datasets")

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub whose data set `owner/texts` is a folder here: 400 training and 100 validation documents, at commit SHA."""
    folder = tmp_path / "hub"
    (folder / "data").mkdir(parents=True)
    texts = itertools.islice(corpus.documents(3), 500)
    for name, n in (("train", 400), ("validation", 100)):
        rows = [json.dumps({"text": t, "n": i}) for i, t in enumerate(itertools.islice(texts, n))]
        (folder / "data" / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    real = data_hub._load

    def load(source: str, subset: str | None, split: str, revision: str | None, streaming: bool) -> Any:
        assert (source, revision) == ("owner/texts", SHA)
        return real(str(folder), subset, split, None, streaming)

    monkeypatch.setattr(data_hub, "_load", load)
    monkeypatch.setattr(data_hub, "_ask_commit", lambda source, revision: SHA)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))
    return folder


def test_streamed_and_downloaded_give_the_same_windows(hub: Path, tmp_path: Path) -> None:
    config = DataConfig(source="owner/texts", validation_split="validation", window=32)
    streamed = prepare(config, tmp_path / "a")
    whole = prepare(DataConfig(**{**vars(config), "streaming": False}), tmp_path / "b")
    assert streamed.fingerprint == whole.fingerprint
    facts = streamed.facts()
    assert facts["documents"]["read"] == 400
    assert facts["validation_documents"]["read"] == 100
    assert facts["inputs"]["source"] == {"hub": "owner/texts", "subset": None, "commit": SHA}


def test_validation_split_is_read_as_far_as_its_share(hub: Path, tmp_path: Path) -> None:
    config = DataConfig(
        source="owner/texts", validation_split="validation", validation=0.1, max_tokens=4000, window=32, tokenizer=None
    )
    found = prepare(config, tmp_path / "a").facts()
    assert 4000 <= found["train"]["tokens"] + found["train"]["tail_tokens_left_out"] < 4500
    assert 400 <= found["validation"]["tokens"] + found["validation"]["tail_tokens_left_out"] < 800


def test_a_prepared_corpus_outlives_the_network(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(source="owner/texts", validation=0.1, window=32)
    first = prepare(config, tmp_path / "a")

    def fail(*_: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(data_hub, "_ask_commit", fail)
    monkeypatch.setattr(data_hub, "_load", fail)
    said: list[str] = []
    again = prepare(config, tmp_path / "a", message=said.append)
    assert again.fingerprint == first.fingerprint
    assert "the hub does not answer" in said[0]
    pinned = DataConfig(**{**vars(config), "revision": SHA})
    assert data_hub.commit(pinned, tmp_path / "none") == (SHA, None)


def test_missing_field_and_split(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match="Row 1 of owner/texts has no field 'body'; found text, n"):
        prepare(DataConfig(source="owner/texts", text_field="body"), tmp_path / "a")
    with pytest.raises(SpectraError, match=r"Cannot read owner/texts: .*Set data.subset and data.split"):
        prepare(DataConfig(source="owner/texts", split="nothing"), tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "OfflineModeIsEnabled",
            "offline mode is on. Unset HF_HUB_OFFLINE, or download it elsewhere and set data.source",
        ),
        ("GatedRepoError", "is gated. Accept its terms"),
        ("RepositoryNotFoundError", "No data set owner/texts on the hub that you may read"),
        ("http", "The hub cannot be reached for owner/texts: no name"),
        ("ConnectionError", "The hub cannot be reached for owner/texts: no name"),
    ],
)
def test_hub_errors_say_what_to_do(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    kind: type[Exception] = ConnectionError
    if name == "http":
        kind = next(base for base in errors.HfHubHTTPError.__bases__ if base is not OSError)
    elif hasattr(errors, name):
        kind = getattr(errors, name)
    error = type(name, (kind,), {"__init__": lambda self: None, "__str__": lambda self: "no name"})()

    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr(data_hub, "_ask_commit", fail)
    with pytest.raises(SpectraError, match=message):
        prepare(DataConfig(source="owner/texts"), tmp_path / "a")


@pytest.mark.parametrize(
    "source", ["nothing here", "corpus", "some/where/else", "./owner/name", "owner/texts.jsonl", "texts.txt"]
)
def test_neither_file_nor_hub_id(source: str, tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match="not a file or folder here, nor a hub id such as allenai/c4"):
        prepare(DataConfig(source=source), tmp_path)


@pytest.mark.network
def test_real_hub(tmp_path: Path) -> None:
    config = DataConfig(source="allenai/c4", subset="en", max_tokens=20_000, validation=0.1)
    assert len(prepare(config, tmp_path).train) > 100
