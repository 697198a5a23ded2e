"""Token ids of tasks: the loss mask, EOS, prompts of training and evaluation alike, the window."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from alphadecay import corpus, data_tokenizer
from plasticity.tasks import registry
from plasticity.tasks.base import Example
from plasticity.tasks.encoding import encode, encode_all, prompt_ids
from plasticity.tasks.loading import load
from spectra.errors import SpectraError


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return data_tokenizer.train_tokenizer(itertools.islice(corpus.documents(0), 300), 512)


def test_prompt_and_response_are_tokenised_apart(tokenizer: Any) -> None:
    task = registry.get("toy_arithmetic")
    example = Example(id="0", question="What is 3 + 4?", response=" 7. ")
    found = encode(task, example, tokenizer)
    assert tokenizer.decode(found.prompt_ids) == "Human: What is 3 + 4?\nAssistant:"
    assert tokenizer.decode(found.response_ids[:-1]) == " 7." and found.response_ids[-1] == tokenizer.eos_token_id
    assert tokenizer.bos_token_id not in found.prompt_ids
    assert found.prompt_ids == prompt_ids(task, example.question, tokenizer)
    assert len(found) == len(found.prompt_ids) + len(found.response_ids)


def test_an_end_of_text_in_the_data_is_text(tokenizer: Any) -> None:
    example = Example(id="0", question="What is <|endoftext|>?", response="It is <|endoftext|> here.")
    found = encode(registry.get("toy_arithmetic"), example, tokenizer)
    assert tokenizer.eos_token_id not in (*found.prompt_ids, *found.response_ids[:-1])
    assert tokenizer.decode(found.response_ids[:-1]) == " It is <|endoftext|> here."


def test_ids_are_those_of_the_tokenizer_itself(tokenizer: Any) -> None:
    """The contract: tokenizer(text, add_special_tokens=False), for prompt and for completion."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data" / "models" / "stories260k"
    tokenizers = [tokenizer, *([data_tokenizer.load_tokenizer(str(folder))] if folder.is_dir() else [])]
    for name, made in itertools.product(registry.tasks(), tokenizers):
        task = registry.get(name)
        assert task.sample is not None
        example = task.example(task.sample, 0)
        found = encode(task, example, made)
        assert list(found.prompt_ids) == made(task.prompt(example.question), add_special_tokens=False)["input_ids"]
        response = made(task.completion(example.response), add_special_tokens=False)["input_ids"]
        assert list(found.response_ids) == [*response, made.eos_token_id]


def test_toy_problems_are_short_for_the_tiny_model(tokenizer: Any) -> None:
    """The tiny preset has 128 positions; none of the first thousand is left out."""
    task = registry.get("toy_arithmetic")
    items = load(task, "train", limit=1000).items
    kept, encoded, too_long = encode_all(task, items, tokenizer, 128)
    assert (tuple(kept), len(encoded), too_long) == (items, 1000, 0)
    kept, encoded, too_long = encode_all(task, items, tokenizer, 60)
    assert 0 < too_long < 1000 and len(kept) == len(encoded) == 1000 - too_long
    assert [encode(task, example, tokenizer) for example in kept] == encoded


def test_what_cannot_be_trained_on_is_refused(tokenizer: Any) -> None:
    task = registry.get("toy_arithmetic")
    with pytest.raises(SpectraError, match="Example 5 of toy_arithmetic has no target tokens"):
        encode(task, Example(id="5", question="q", response=" "), tokenizer)
    with pytest.raises(SpectraError, match="None of 1 examples of toy_arithmetic fits into 3 tokens"):
        encode_all(task, [Example(id="5", question="q", response="r")], tokenizer, 3)
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.eos_token = None
    with pytest.raises(SpectraError, match="has no EOS token"):
        encode(task, Example(id="5", question="q", response="r"), bare)
