"""What a train-val gap is measured with; data only, every field checked when made."""

from __future__ import annotations

from dataclasses import dataclass

from spectra.errors import SpectraError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
LEAST_FORWARD = 2  # tokens of a window: one predicts the other
_BINS = 10


@dataclass(frozen=True, kw_only=True)
class GapConfig:
    """Checkpoint, windows and device.

    Raises:
        SpectraError: a field out of its range, or fields that do not go together.
    """

    model: str
    """A checkpoint, or a run's folder (its newest whole checkpoint)."""
    train: str | None = None
    """A file that the model was trained on; with `val`. None: the run's recorded windows."""
    val: str | None = None
    """A file that it was not trained on."""
    windows: int = 1024
    """Windows drawn from either side, or all where there are fewer."""
    bins: int = _BINS
    """Of the training order, which only a run records."""
    seed: int = 0
    """Of the windows drawn and of the resampling."""
    window: int | None = None
    """Files only: tokens a window. None: the run's that the checkpoint is of, else 1,024 or what the model was made for."""
    packing: str | None = None
    """Files only: `pack` or `document`. None: the run's, else `pack`."""
    text_field: str = "text"
    """Files only: the column with the text."""
    txt_document: str = "paragraph"
    """Files only: what one document of a .txt file is."""
    batch_size: int | None = None
    """Windows at once; None: as many as fit into 512 MB of logits, at most 64."""
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        """Check every field."""
        for name, least in (("windows", 1), ("bins", 1), ("seed", 0), ("window", LEAST_FORWARD), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SpectraError(f"--{name.replace('_', '-')} {value}: expected at least {least}.")
        if self.precision not in PRECISIONS:
            raise SpectraError(f"--precision {self.precision!r}: expected one of {', '.join(PRECISIONS)}.")
        if (self.train is None) != (self.val is None):
            raise SpectraError(
                "--train and --val go together: name both files, or neither for the data that a run recorded."
            )
        if self.train is None:
            for name, usual in (
                ("window", None),
                ("packing", None),
                ("text_field", "text"),
                ("txt_document", "paragraph"),
            ):
                if getattr(self, name) != usual:
                    raise SpectraError(
                        f"--{name.replace('_', '-')} is for --train and --val; a run's recorded windows are taken as they are. "
                        "Leave it out."
                    )
        elif self.bins != _BINS:
            raise SpectraError(
                "--bins is for a run, which records when a window was seen; two files do not. Leave it out."
            )
