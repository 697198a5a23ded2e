"""What text a model is trained on and how it becomes windows of tokens; data only, every field checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from spectra.errors import SpectraError

EMBEDDED = "embedded"
EMBEDDED_TOKENS = 900_000
TXT_DOCUMENTS = ("line", "paragraph", "file")
PACKINGS = ("pack", "document")
SMALLEST_VOCABULARY = 258  # 256 bytes, end of text, padding


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Source, split, tokenizer and windows of a pretraining corpus.

    Raises:
        SpectraError: a field out of its range.
    """

    source: str = EMBEDDED
    """`embedded` (alphadecay.corpus); a local file or folder (.txt .jsonl .json .parquet .arrow, text also .gz .zst); a hub id."""
    subset: str | None = None
    """Hub only: the data set's configuration, such as `en` of allenai/c4."""
    revision: str | None = None
    """Hub only: branch, tag or commit. A full commit makes a prepared corpus usable without network."""
    split: str = "train"
    """Hub: the split. Local folder: the subfolder or the files of that name (`train/`, `train-000.parquet`); else all files."""
    validation_split: str | None = None
    """A split of its own for validation, found like `split`; None: cut `validation` from the documents."""
    validation: float = 0.02
    """Share of documents held out, by seeded hash of their text, so that equal documents stand on one side. With
    `validation_split` and `max_tokens`: that share of `max_tokens` is read from the validation split."""
    text_field: str = "text"
    """The column with the text, in all formats but .txt."""
    txt_document: str = "paragraph"
    """What one document of a .txt file is: a `line`, a `paragraph` (up to a blank line) or the whole `file`."""
    streaming: bool = True
    """Hub only: read over the network as needed; False downloads (and caches) the whole data set first."""
    max_tokens: int | None = None
    """Stop reading after the document that reaches this many training tokens. None: all of it (embedded: 900,000)."""
    tokenizer: str | None = None
    """Folder or hub id; None: byte-level BPE with digits split one by one, trained on the training documents."""
    vocab_size: int = 512
    """Size of the trained tokenizer's vocabulary, its two special tokens included."""
    window: int = 128
    """Tokens a window."""
    packing: str = "pack"
    """`pack`: documents, each ended by EOS, joined and cut into windows. `document`: one document a window, truncated,
    padded and masked; a truncated one has no EOS, since it does not end there (the AlphaDecay authors' tokenizer puts one)."""
    seed: int = 42
    """Of the split and of the order in which training documents are packed."""

    def __post_init__(self) -> None:
        """Check every field."""
        if self.packing not in PACKINGS:
            _refuse("packing", self.packing, f"one of {', '.join(PACKINGS)}")
        if self.txt_document not in TXT_DOCUMENTS:
            _refuse("txt_document", self.txt_document, f"one of {', '.join(TXT_DOCUMENTS)}")
        if not 0 < self.validation < 1:
            _refuse("validation", self.validation, "a share between 0 and 1, such as 0.02")
        if self.window < 2:
            _refuse("window", self.window, "at least 2 tokens, since each predicts the next")
        if self.max_tokens is not None and self.max_tokens < self.window:
            _refuse("max_tokens", self.max_tokens, f"at least one window, {self.window}, or null")
        if self.tokenizer is None and self.vocab_size < SMALLEST_VOCABULARY:
            _refuse("vocab_size", self.vocab_size, f"at least {SMALLEST_VOCABULARY}: 256 bytes and two special tokens")
        if self.seed < 0:
            _refuse("seed", self.seed, "0 or more")
        for name in ("source", "split", "text_field"):
            if not getattr(self, name):
                _refuse(name, getattr(self, name), "a name that is not empty")
        if self.validation_split is not None and self.validation_split == self.split:
            _refuse(
                "validation_split", self.validation_split, "another split than `split`, or null to cut a share of it"
            )


def _refuse(name: str, value: object, expected: str) -> None:
    raise SpectraError(f"data.{name} = {value!r}: expected {expected}.")
