"""Models from recipes: sizes of the papers, the same weights for the same seed, and what cannot be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alphadecay import models, recipes
from alphadecay.budget import budget
from alphadecay.config import ModelConfig
from spectra.errors import SpectraError

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2,
         "num_hidden_layers": 2, "max_position_embeddings": 64}  # fmt: skip

# Parameters of every shipped model: counted here, by hand of the architecture's formula below for the Llamas; the paper's name.
SIZES = {
    "tiny": (492_384, 0.49e6),
    "llama_60m": (58_073_600, 60e6),
    "llama_135m": (134_105_856, 135e6),
    "llama_350m": (367_969_280, 350e6),
    "llama_1b": (1_339_082_752, 1.3e9),  # ReLoRA's and GaLore's "1B", which the authors took over, has 1.3B
    "vit_tiny": (5_717_416, 5.7e6),
    "llama2_0.5b_20x": (500_921_856, 0.5e9),
    "llama2_1b_20x": (1_000_564_736, 1e9),
    "llama2_4b_20x": (4_000_288_768, 4e9),
    "olmo2_1b_20x": (1_484_613_632, 1.5e9),
    "olmo2_1b_140x": (1_484_613_632, 1.5e9),
}


@pytest.mark.parametrize("name", SIZES)
def test_every_preset_has_the_size_of_its_name(name: str) -> None:
    exact, nominal = SIZES[name]
    count = budget(recipes.load(name))
    assert count.parameters == exact
    assert count.parameters == pytest.approx(nominal, rel=0.06)
    assert 0 < count.non_embedding_parameters < count.parameters


@pytest.mark.parametrize("name", [name for name in SIZES if name.startswith("llama")])
def test_counts_agree_with_the_formula_of_a_llama(name: str) -> None:
    s: Any = recipes.load(name).model.settings
    d, layers, heads = s["hidden_size"], s["num_hidden_layers"], s["num_attention_heads"]
    kv = d // heads * s["num_key_value_heads"]
    inner = layers * (2 * d * d + 2 * d * kv + 3 * d * s["intermediate_size"] + 2 * d) + d
    assert models.count_parameters(recipes.load(name).model).total == inner + 2 * s["vocab_size"] * d


def test_a_tied_matrix_counts_once() -> None:
    tied, untied = (
        models.count_parameters(ModelConfig(settings=SMALL | {"tie_word_embeddings": tie}), 100)
        for tie in (True, False)
    )
    assert untied.total - tied.total == 100 * 32
    assert tied.non_embedding == untied.non_embedding == tied.total - 100 * 32
    assert tied.vocabulary == 100


@pytest.mark.parametrize("family", ["llama", "olmo2", "gpt2"])
def test_built_models_have_the_counted_size_and_depend_on_the_seed(family: str) -> None:
    import torch

    settings = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64} if family == "gpt2" else SMALL
    config = ModelConfig(family=family, settings=settings)
    before = torch.get_rng_state()
    first, again, other = (models.build(config, vocab_size=100, window=64, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert sum(p.numel() for p in first.parameters()) == models.count_parameters(config, 100).total
    assert {p.dtype for p in first.parameters()} == {torch.float32}
    assert first.config.pad_token_id is None and first.config.vocab_size == 100
    embedding: Any = first.get_input_embeddings()
    assert embedding.padding_idx is None
    loss = first(input_ids=torch.zeros((1, 8), dtype=torch.long), labels=torch.zeros((1, 8), dtype=torch.long)).loss
    assert bool(torch.isfinite(loss))


def test_an_image_classifier() -> None:
    import torch

    settings = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2,
                "image_size": 16, "patch_size": 8, "num_labels": 3}  # fmt: skip
    config = ModelConfig(family="vit", settings=settings)
    model = models.build(config, seed=0)
    assert model(pixel_values=torch.zeros((2, 3, 16, 16))).logits.shape == (2, 3)
    assert models.count_parameters(config).vocabulary is None
    models.check(config, image_size=16)
    with pytest.raises(SpectraError, match=r"images.size = 32, but model.settings.image_size = 16: make them equal"):
        models.check(config, image_size=32)
    with pytest.raises(SpectraError, match="'vit' with data: it needs the section images"):
        models.check(config, window=32)
    with pytest.raises(SpectraError, match="'llama' with images: it needs the section data"):
        models.check(ModelConfig(settings=SMALL), image_size=16)


@pytest.mark.parametrize(
    ("family", "change", "given", "words"),
    [
        (
            "llama",
            {"vocab_size": 50},
            {"vocab_size": 100},
            "ids up to 99, the embedding has 50 rows, expected at least 100",
        ),
        ("llama", {}, {"window": 128}, "data.window = 128, but the model has 64 positions"),
        ("llama", {"hidden_size": 30}, {}, "hidden_size = 30: expected a multiple of the 4 attention heads"),
        ("llama", {"num_key_value_heads": 3}, {}, "num_key_value_heads = 3: expected a divisor of the 4"),
        (
            "llama",
            {"hidden_sise": 30},
            {},
            "Unknown key 'hidden_sise' in model.settings (llama). Did you mean 'hidden_size'?",
        ),
        ("llama", {"num_hidden_layers": "two"}, {}, "num_hidden_layers"),
        ("llama", {"dtype": "bfloat16"}, {}, "Unknown key 'dtype' in model.settings"),
        ("lama", {}, {}, "model.family = 'lama': Did you mean 'llama'?"),
        ("bert_score", {}, {}, "Expected a transformers model type that is a causal language model"),
    ],
)
def test_what_cannot_be_built_is_refused(
    family: str, change: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpectraError) as error:
        models.check(ModelConfig(family=family, settings=SMALL | change), **given)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_going_on_from_a_checkpoint(tmp_path: Path) -> None:
    import torch

    made = models.build(ModelConfig(settings=SMALL), vocab_size=100, seed=3)
    made.save_pretrained(tmp_path / "ckpt")
    from_disk = ModelConfig(init_from=str(tmp_path / "ckpt"))
    back = models.build(from_disk, vocab_size=100, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), back.parameters(), strict=True))
    assert models.count_parameters(from_disk).vocabulary == 100
    for config, words in (
        (ModelConfig(family="olmo2", init_from=str(tmp_path / "ckpt")), "holds a llama model, model.family says olmo2"),
        (ModelConfig(settings={"hidden_size": 64}, init_from=str(tmp_path / "ckpt")), "has 32: a checkpoint's shape"),
        (ModelConfig(init_from=str(tmp_path)), "cannot be loaded"),
    ):
        with pytest.raises(SpectraError) as error:
            models.build(config, vocab_size=100)
        assert words in str(error.value)
    with pytest.raises(SpectraError, match="the embedding has 100 rows"):
        models.build(from_disk, vocab_size=200)


def test_marks_that_text_never_gives_need_no_rows() -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "</s>": 1, "a": 2, "b": 3}
    made = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="a")), eos_token="</s>", pad_token="<pad>"
    )
    assert models.emitted_ids(made) == 4
    made.add_special_tokens({"additional_special_tokens": ["<extra_0>", "<extra_1>"]})
    assert len(made) == 6 and models.emitted_ids(made) == 4
    made.add_tokens(["c"])
    assert models.emitted_ids(made) == 7
