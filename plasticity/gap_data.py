"""The windows of either side of a gap: a run's recorded ones, or two files'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alphadecay.data_windows import Seen, Windows, permutation
from plasticity import gap_run
from plasticity.gap_config import GapConfig
from spectra.errors import SpectraError

if TYPE_CHECKING:
    from plasticity.base_model import BaseModel

Say = Callable[[str], None]
Ints = npt.NDArray[np.int64]
_WINDOW = 1024  # of files, where nothing says otherwise
_DRAW = 3  # first number of the key of what is drawn; 1 and 2 are the orders of epochs and documents


@dataclass(frozen=True, kw_only=True)
class Data:
    """Windows of either side.

    Attributes:
        source: `run` or `files`.
        train, val: all windows of the split or file.
        seen: which of `train` the checkpoint had consumed, and when; None of files: all count.
        step, batch_size: of the checkpoint and the run; None of files.
        facts: window, packing, shared documents, hashes of what was read.
        remarks: what a reader must know.
    """

    source: str
    train: Windows
    val: Windows
    seen: Seen | None
    step: int | None
    batch_size: int | None
    facts: dict[str, Any]
    remarks: list[str] = field(default_factory=list)

    @property
    def n_train(self) -> int:
        """Training windows that may be drawn."""
        return len(self.train) if self.seen is None else len(self.seen.windows)

    def draw(self, count: int, seed: int) -> dict[str, Ints]:
        """Windows of either side, `count` or all there are, without replacement: by side, sorted.

        One order by seed over a whole split: another checkpoint of the run draws the same windows as far as it has seen them.
        """
        training = permutation(len(self.train), _DRAW, seed, 0)
        if self.seen is not None:
            training = training[np.isin(training, self.seen.windows)]
        validation = permutation(len(self.val), _DRAW, seed, 1)
        return {"train": np.sort(training[:count]), "val": np.sort(validation[:count])}

    def last(self, windows: Ints) -> Ints:
        """The place in the run at which each training window was last seen, in windows from 0; -1: not known."""
        if self.seen is None:
            return np.full(len(windows), -1)
        found = np.full(len(self.train), -1)
        found[self.seen.windows] = self.seen.last
        return found[windows]

    def step_at(self, place: int) -> int:
        """The optimizer step, counted from 1, in which the window of that rank was last seen."""
        assert self.seen is not None and self.batch_size is not None
        return int(self.seen.last[place]) // self.batch_size + 1

    def seen_facts(self) -> dict[str, Any] | None:
        """How much the checkpoint had seen, and how often."""
        if self.seen is None or self.step is None or self.batch_size is None:
            return None
        times = Counter(self.seen.times.tolist())
        return {
            "steps": self.step,
            "epochs": self.step / (len(self.train) // self.batch_size),
            "windows": len(self.seen.windows),
            "times": {str(often): times[often] for often in sorted(times)},
        }


@dataclass(frozen=True, kw_only=True)
class Found:
    """The checkpoint (folder, hub id or file), and how its windows are read once it is loaded."""

    checkpoint: str | Path
    read: Callable[[BaseModel], Data]


def open_data(config: GapConfig, scratch: Path, say: Say) -> Found:
    """Find run or files, and refuse what can be refused before the model is loaded; `scratch`: an empty folder.

    Raises:
        SpectraError: no run, its data gone or changed, no such files.
    """
    if config.train is not None and config.val is not None:
        return _files(config, Path(config.train).expanduser(), Path(config.val).expanduser(), scratch, say)
    checkpoint, run = gap_run.locate(config.model, say)
    step = gap_run.step_of(checkpoint)
    corpus = run.corpus(say)
    seen = run.seen(corpus, step)
    if len(seen.windows) == 0:
        raise SpectraError(f"{checkpoint} is of step {step}: it has seen nothing yet. Name a later checkpoint.")

    def read(base: BaseModel) -> Data:
        _check_tokenizer(base, run)
        window, packing = run.layout
        separate = run.facts["inputs"]["config"]["validation_split"] is not None
        shared = _shared(corpus.train, corpus.validation) if separate else (0, 0)  # else split by a hash of the text
        kept = ("fingerprint", "inputs", "split", "order", "tokenizer")
        return Data(
            source="run", train=corpus.train, val=corpus.validation, seen=seen, step=step, batch_size=run.batch_size,
            facts={
                "window": window, "packing": packing, "shared_documents": {"train": shared[0], "val": shared[1]},
                **{name: run.facts[name] for name in kept},
            },
            remarks=_shared_remark(shared, say) + _started_from(run),
        )  # fmt: skip

    return Found(checkpoint=checkpoint, read=read)


def _started_from(run: gap_run.Run) -> list[str]:
    model = None if run.recipe is None else run.recipe.model
    if model is None or model.init_from is None:
        return []
    return [
        f"The run began from {model.init_from}: what that model had seen before, and whether the validation windows were "
        "among it, is not known."
    ]


def _check_tokenizer(base: BaseModel, run: gap_run.Run) -> None:
    from alphadecay.data_tokenizer import tokenizer_hash

    tokenizer: Any = base.tokenizer
    _check_fast(base)
    recorded, found = str(run.facts["tokenizer"]["sha256"]), tokenizer_hash(tokenizer)
    if recorded != found:
        raise SpectraError(
            f"{base.source}: its tokenizer ({found[:12]}...) is not the one that the run's windows were made with "
            f"({recorded[:12]}...). Put back the tokenizer files that the run saved."
        )


def _check_fast(base: BaseModel) -> None:
    from transformers import PreTrainedTokenizerFast

    if not isinstance(base.tokenizer, PreTrainedTokenizerFast):
        raise SpectraError(
            f"{base.source}: its tokenizer is a {type(base.tokenizer).__name__}, which has no tokenizer.json. Convert it."
        )


def _files(config: GapConfig, train: Path, val: Path, scratch: Path, say: Say) -> Found:
    for option, path in (("--train", train), ("--val", val)):
        if not path.is_file():
            raise SpectraError(
                f"{option} {path}: {'a folder' if path.is_dir() else 'no such file'}. Name one file of text."
            )
    if train.samefile(val):
        raise SpectraError(f"--train and --val are the same file, {train}: their gap is zero. Name two.")
    checkpoint, run = _checkpoint(config.model, say)

    def read(base: BaseModel) -> Data:
        from alphadecay.data_config import DataConfig
        from alphadecay.data_pair import pair

        _check_fast(base)
        window, packing = run.layout if run is not None else (min(_WINDOW, base.window or _WINDOW), "pack")
        window, packing = config.window or window, config.packing or packing
        if base.window is not None and window > base.window:
            raise SpectraError(
                f"--window {window}: {base.source} was made for {base.window} positions. Use {base.window} or less."
            )
        layout = DataConfig(
            window=window, packing=packing, text_field=config.text_field, txt_document=config.txt_document
        )
        tokenizer: Any = base.tokenizer
        made = pair(train, val, tokenizer, layout, scratch, message=say)
        shared = _shared(made.train, made.validation)
        return Data(
            source="files", train=made.train, val=made.validation, seen=None, step=None, batch_size=None,
            facts={
                "window": window, "packing": packing, "shared_documents": {"train": shared[0], "val": shared[1]},
                **made.facts,
            },
            remarks=[
                *_shared_remark(shared, say),
                "Whether and when the model saw the training file is not recorded: no gap by position in the training order.",
            ],
        )  # fmt: skip

    return Found(checkpoint=checkpoint, read=read)


def _checkpoint(model: str, say: Say) -> tuple[str | Path, gap_run.Run | None]:
    """What is loaded, and the pretraining run it is of, where it is of one."""
    path = Path(model).expanduser()
    if not path.is_dir():
        return model, None
    if (path / gap_run.DATA).is_file() and not (path / "config.json").is_file():
        from alphadecay import saves

        newest = saves.newest(path, say)
        if newest is None:
            raise SpectraError(f"{path} has no whole checkpoint. Name a checkpoint.")
        path = newest
    try:
        return path, gap_run.run_of(path)
    except SpectraError:  # a run of another kind: its record is not needed here
        return path, None


def _shared(train: Windows, val: Windows) -> tuple[int, int]:
    """Documents of either side that stand on the other one too, token by token."""
    ours, theirs = train.document_hashes(), val.document_hashes()
    return int(np.isin(ours, theirs).sum()), int(np.isin(theirs, ours).sum())


def _shared_remark(shared: tuple[int, int], say: Say) -> list[str]:
    if shared == (0, 0):
        return []
    text = (
        f"{shared[1]:,} validation documents also stand among the training documents ({shared[0]:,} of those): the gap is "
        "smaller than between documents seen and not seen."
    )
    say(f"warning: {text}")
    return [text]
