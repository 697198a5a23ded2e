"""The tokenizer of a corpus: given (a folder or hub id), or trained on the corpus; its hash; texts to ids in batches.

Special tokens of a trained one: `<|endoftext|>` ends a document, and as BOS starts what is generated after nothing; `<|pad|>`
is a token of its own, so that no collator that masks padding masks an end of text. Neither is added by the tokenizer itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.errors import SpectraError

from .data_hub import network_errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END, PAD = "<|endoftext|>", "<|pad|>"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train byte-level BPE in which every digit is a token of its own; the same texts give the same tokenizer.

    Every text can be written with it and comes back unchanged. The vocabulary is smaller than `vocab_size` where the
    texts have too few pairs to merge.

    Raises:
        SpectraError: vocab_size under 258, or no text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < 258:
        raise SpectraError(f"vocab_size = {vocab_size}: expected at least 258, for 256 bytes and two special tokens.")
    read = 0

    def counted() -> Iterable[str]:
        nonlocal read
        for text in texts:
            read += len(text)
            yield text

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(counted(), trainer)
    if read == 0:
        raise SpectraError("A tokenizer cannot be trained without text: got no characters. Check data.source.")
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(source: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder or hub id. Without a padding token, `unk` (else EOS) is named as one; nothing is added.

    Raises:
        SpectraError: not a tokenizer, not one of the `tokenizers` library, or without an end-of-text token.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    path = Path(source).expanduser()
    if not path.is_dir() and (path.exists() or source.startswith((".", "/", "~")) or source.count("/") > 1):
        raise SpectraError(f"{source} is not a tokenizer: expected a folder with tokenizer.json, or a hub id.")
    if path.is_dir() and not any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise SpectraError(f"The folder {source} has no tokenizer: expected tokenizer.json and tokenizer_config.json.")
    failures: tuple[type[Exception], ...] = (*network_errors(), KeyError, ImportError)
    try:
        found = AutoTokenizer.from_pretrained(str(path) if path.is_dir() else source)
    except failures as error:
        reason = " ".join(str(error).split())[:300]
        raise SpectraError(
            f"Cannot load a tokenizer from {source}: {reason} Name a folder with tokenizer.json."
        ) from error
    if not isinstance(found, PreTrainedTokenizerFast):
        raise SpectraError(
            f"The tokenizer {source} is a {type(found).__name__}, which has no tokenizer.json. Convert it."
        )
    if found.eos_token_id is None:
        raise SpectraError(
            f"The tokenizer {source} has no end-of-text token, which ends every document. "
            "Set eos_token in its tokenizer_config.json, or leave data.tokenizer out to train one."
        )
    if found.pad_token_id is None:
        found.pad_token = found.unk_token if found.unk_token is not None else found.eos_token
    return found


def vocabulary_size(tokenizer: PreTrainedTokenizerFast) -> int:
    """Rows that an embedding needs: the largest id, added tokens included, plus one."""
    return max(len(tokenizer), max(tokenizer.get_vocab().values()) + 1)


def tokenizer_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """SHA-256 of what decides ids: the tokenizer file without truncation and padding, and the special ids."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content.update(truncation=None, padding=None)
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
    return hashlib.sha256(json.dumps([content, special], sort_keys=True).encode()).hexdigest()


class Encoder:
    """Batches of texts to ids: nothing truncated, no special token added, and those that occur in a text read as text."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Works on a copy; `tokenizer` is left as it is."""
        from tokenizers import Tokenizer

        self._backend: Any = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True

    def __call__(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text."""
        return [found.ids for found in self._backend.encode_batch_fast(texts, add_special_tokens=False)]
