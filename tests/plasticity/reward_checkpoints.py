"""Tiny random reward models with byte-level tokenizers, written to disk for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

LLAMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}{{ eos_token }}{% endfor %}"
)
DATED_CHAT = (
    "\n{% if strftime_now is defined %}{% set day = strftime_now('%d %b %Y') %}{% endif %}{{ day }}" + LLAMA_CHAT
)
MARKS = ("<pad>", "<s>", "</s>", "[CLS]", "[SEP]")
PAD, BOS, EOS, CLS, SEP = range(5)


def write_tokenizer(
    folder: Path, *, kind: str = "llama", pad: str | None = "<pad>", chat: str | None = LLAMA_CHAT
) -> None:
    """`llama` puts a BOS before each text; `bert` [CLS] and [SEP] around it; `bare` nothing."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*MARKS, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if kind == "llama":
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    if kind == "bert":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
        )
    ends = {"bos_token": "[CLS]", "eos_token": "[SEP]"} if kind == "bert" else {"bos_token": "<s>", "eos_token": "</s>"}
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, **ends)
    made.chat_template = chat
    made.save_pretrained(folder)


def tiny(kind: str = "llama", *, labels: int = 1, pad: int | None = PAD, **settings: Any) -> Any:
    """A model with weights large enough that its logits differ."""
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        BertConfig,
        DebertaV2Config,
        LlamaConfig,
        XLNetConfig,
    )

    torch.manual_seed(7)
    sizes: dict[str, Any] = {"vocab_size": 261, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_labels": labels, "pad_token_id": pad, "initializer_range": 0.3}
    if kind in ("llama", "causal"):
        config: Any = LlamaConfig(
            **sizes,
            intermediate_size=48,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=BOS,
            eos_token_id=EOS,
        )
    elif kind == "bert":
        config = BertConfig(**sizes, intermediate_size=48, max_position_embeddings=160)
    elif kind == "deberta":
        config = DebertaV2Config(
            **sizes, intermediate_size=48, max_position_embeddings=512, relative_attention=True, position_buckets=16,
            pos_att_type=["p2c", "c2p"], position_biased_input=False, norm_rel_ebd="layer_norm", share_att_key=True,
        )  # fmt: skip
    else:
        config = XLNetConfig(
            vocab_size=261,
            d_model=32,
            n_layer=2,
            n_head=4,
            d_inner=48,
            num_labels=labels,
            initializer_range=0.3,
            pad_token_id=pad,
        )
    for name, value in settings.items():
        setattr(config, name, value)
    made = AutoModelForCausalLM if kind == "causal" else AutoModelForSequenceClassification
    return made.from_config(config).eval()


def write(folder: Path, model: Any, **tokenizer: Any) -> Path:
    """A checkpoint with its tokenizer."""
    model.save_pretrained(folder)
    write_tokenizer(folder, **tokenizer)
    return folder
