"""The tokenizer that is trained, and the ones that are given."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphadecay import corpus
from alphadecay.data_tokenizer import Encoder, load_tokenizer, tokenizer_hash, train_tokenizer, vocabulary_size
from spectra.errors import SpectraError

transformers = pytest.importorskip("transformers")

STORIES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "models" / "stories260k"
needs_stories = pytest.mark.skipif(not STORIES.is_dir(), reason="needs ../shared/data")
TRAINED = train_tokenizer(itertools.islice(corpus.documents(), 1000), 400)


def test_special_tokens_and_size() -> None:
    assert len(TRAINED) == vocabulary_size(TRAINED) == 400
    assert TRAINED.eos_token == TRAINED.bos_token == "<|endoftext|>"
    assert TRAINED.pad_token_id not in {TRAINED.eos_token_id, None}
    assert TRAINED("Tom")["input_ids"] == TRAINED("Tom", add_special_tokens=False)["input_ids"]  # no BOS of its own


def test_digits_are_tokens_of_their_own() -> None:
    pieces = TRAINED.convert_ids_to_tokens(Encoder(TRAINED)(["12 + 305 = 317, a1b22"])[0])
    assert [p for p in pieces if any(c.isdigit() for c in p)] == list("12305317122")


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_every_text_comes_back(text: str) -> None:
    assert TRAINED.decode(Encoder(TRAINED)([text])[0]) == text


def test_special_tokens_in_a_text_are_text() -> None:
    ids = Encoder(TRAINED)(["a<|endoftext|>b<|pad|>"])[0]
    assert not {TRAINED.eos_token_id, TRAINED.pad_token_id} & set(ids)
    assert TRAINED.decode(ids) == "a<|endoftext|>b<|pad|>"


def test_training_is_deterministic_over_processes() -> None:
    code = (
        "import itertools\n"
        "from alphadecay import corpus\n"
        "from alphadecay.data_tokenizer import tokenizer_hash, train_tokenizer\n"
        "print(tokenizer_hash(train_tokenizer(itertools.islice(corpus.documents(), 1000), 400)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == tokenizer_hash(TRAINED)


def test_a_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    TRAINED.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert tokenizer_hash(again) == tokenizer_hash(TRAINED)
    assert (again.eos_token, again.bos_token, again.pad_token) == (
        TRAINED.eos_token,
        TRAINED.bos_token,
        TRAINED.pad_token,
    )


def test_stored_truncation_cuts_nothing() -> None:
    copy = transformers.PreTrainedTokenizerFast(tokenizer_object=TRAINED.backend_tokenizer, eos_token="<|endoftext|>")
    copy.backend_tokenizer.enable_truncation(4)
    copy.backend_tokenizer.enable_padding(length=8)
    text = "Tom has 3 apples. He buys 4 more."
    assert Encoder(copy)([text, "a"]) == Encoder(TRAINED)([text, "a"])


@needs_stories
def test_given_tokenizer() -> None:
    found = load_tokenizer(str(STORIES))
    assert vocabulary_size(found) == 512
    assert found.eos_token == "</s>"


def test_not_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(SpectraError, match=r"has no tokenizer: expected tokenizer.json"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(SpectraError, match="is not a tokenizer: expected a folder"):
        load_tokenizer(str(tmp_path / "absent"))
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SpectraError, match="Cannot load a tokenizer from"):
        load_tokenizer(str(tmp_path))


def test_a_tokenizer_without_end_of_text(tmp_path: Path) -> None:
    TRAINED.save_pretrained(tmp_path / "t")
    config = tmp_path / "t" / "tokenizer_config.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({k: v for k, v in content.items() if not k.endswith("_token")}), encoding="utf-8")
    with pytest.raises(SpectraError, match=r"no end-of-text token.* Set eos_token in its tokenizer_config.json"):
        load_tokenizer(str(tmp_path / "t"))


def test_padding_is_named_where_there_is_none(tmp_path: Path) -> None:
    TRAINED.save_pretrained(tmp_path / "t")
    config = tmp_path / "t" / "tokenizer_config.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    del content["pad_token"]
    config.write_text(json.dumps(content), encoding="utf-8")
    found = load_tokenizer(str(tmp_path / "t"))
    assert found.pad_token == found.eos_token
    assert len(found) == len(TRAINED)
    shutil.rmtree(tmp_path / "t")


def test_nothing_to_train_on() -> None:
    with pytest.raises(SpectraError, match="at least 258"):
        train_tokenizer(["text"], 100)
    with pytest.raises(SpectraError, match="without text"):
        train_tokenizer([], 300)
