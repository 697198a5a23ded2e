"""The run that a checkpoint is of: which step it is, which windows it had seen by then, which were held out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphadecay import recipes, runs, saves
from alphadecay.config import Recipe
from alphadecay.data import Corpus, Seen, last_seen, recorded
from spectra.errors import SpectraError

Say = Callable[[str], None]
DATA = "data.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_NEEDED = ("inputs", "order", "fingerprint", "tokenizer", "split")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run's folder and what it recorded: `facts` is its data.json, `recipe` its recipe.yaml where it has one."""

    folder: Path
    facts: dict[str, Any]
    recipe: Recipe | None

    @property
    def batch_size(self) -> int:
        """Windows an optimizer step."""
        return int(self.facts["order"]["batch_size"])

    @property
    def layout(self) -> tuple[int, str]:
        """Tokens a window, and packing."""
        config = self.facts["inputs"]["config"]
        return int(config["window"]), str(config["packing"])

    def corpus(self, say: Say) -> Corpus:
        """The windows that it was trained and evaluated on; raises as `alphadecay.data.recorded`."""
        return recorded(self.facts, None if self.recipe is None else self.recipe.data, message=say)

    def seen(self, corpus: Corpus, step: int) -> Seen:
        """What it had consumed by a step.

        Raises:
            SpectraError: the run is shorter than that.
        """
        order = self.facts["order"]
        if step > order["steps"]:
            raise SpectraError(
                f"The checkpoint is of step {step}, but {self.folder / DATA} records a run of {order['steps']} steps. It is not "
                "of this run: put it into its own folder."
            )
        return last_seen(corpus.train, order["seed"], self.batch_size, step)


def locate(model: str, say: Say) -> tuple[Path, Run]:
    """A checkpoint and its run, from the checkpoint's folder or the run's.

    Raises:
        SpectraError: not a folder of a pretraining run, or without a whole checkpoint.
    """
    path = Path(model).expanduser()
    if not path.is_dir():
        raise SpectraError(
            f"--model {model}: no such folder, so there is no run that recorded its training windows. Name a run of plasticity "
            "pretrain or one of its checkpoints, or give --train and --val."
        )
    if (path / DATA).is_file():
        run = _read(path)
        checkpoint = saves.newest(path, say)
        if checkpoint is None:
            raise SpectraError(
                f"{path} has no whole checkpoint yet. Let the run write one, or name a checkpoint in it."
            )
        return checkpoint, run
    found = run_of(path)
    if found is None:
        raise SpectraError(
            f"{path} is no run and no checkpoint in one: there is no {DATA} in it or beside it, so which windows the model saw "
            "is not known. Name a run of plasticity pretrain or one of its checkpoints, or give --train and --val."
        )
    return path, found


def run_of(checkpoint: Path) -> Run | None:
    """The run that a checkpoint's folder lies in; None where it lies in none.

    Raises:
        SpectraError: what lies around it is not the record of a pretraining run.
    """
    folder = checkpoint.resolve().parent
    return _read(folder) if (folder / DATA).is_file() else None


def step_of(checkpoint: Path) -> int:
    """Optimizer steps that a checkpoint has behind it, from what was saved with it, else from its name.

    Raises:
        SpectraError: neither says.
    """
    for name, key in ((saves.MARKER, "step"), ("trainer_state.json", "global_step")):
        try:
            return int(json.loads((checkpoint / name).read_text(encoding="utf-8"))[key])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    match = _NAME.fullmatch(checkpoint.resolve().name)
    if match is None:
        raise SpectraError(
            f"{checkpoint} does not say after how many steps it was saved: it has neither {saves.MARKER} nor trainer_state.json, "
            "and its name is not checkpoint-N. Name a checkpoint as the run wrote it."
        )
    return int(match[1])


def _read(folder: Path) -> Run:
    path = folder / DATA
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpectraError(f"{path} cannot be read ({error}). Give --train and --val instead.") from error
    missing = [name for name in _NEEDED if not isinstance(facts, dict) or name not in facts]
    if missing:
        kind = (
            "a fine-tuning run"
            if isinstance(facts, dict) and "task" in facts
            else "not one of plasticity pretrain on text"
        )
        raise SpectraError(
            f"{folder} is {kind}: its {DATA} does not say which windows were trained on (no {missing[0]!r}). Name a pretraining "
            "run, or give --train and --val."
        )
    recipe = folder / runs.RECIPE
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else None
    return Run(
        folder=folder, facts=facts, recipe=None if text is None else recipes.from_yaml(text, str(recipe), folder.name)
    )
