"""The folder of a fine-tuning run: whether it may begin or go on there, and its record, written once it may.

`finetune.json` is the configuration, `train_questions.npy` hashes of what it trains on. A refused call changes neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphadecay import runs, saves
from plasticity import adapters, trained_questions
from plasticity.finetune_config import NO_EFFECT, FinetuneConfig
from plasticity.task_result import make_folder
from spectra.atomic import write_text
from spectra.errors import OtherWorkError, SpectraError

if TYPE_CHECKING:
    from plasticity.tasks.base import Example

CONFIG = "finetune.json"
PLACES = ("model", "data", "tasks_dir")


def check(config: FinetuneConfig, out: Path, *, resume: bool, say: Callable[[str], None]) -> None:
    """Make the folder, and refuse to write over a run or to go on with another: before model and data are loaded.

    Raises:
        SpectraError: the folder cannot be made; it holds a run and `resume` is not asked for; that run is none of
            `plasticity finetune`, or is past the number of steps.
        OtherWorkError: that run was of another configuration.
    """
    make_folder(out)
    path = out / CONFIG
    if not runs.holds_run(out):
        if path.is_file():
            say(f"the run that was begun in {out} saved no checkpoint: it begins anew")
        return
    if not resume:
        raise SpectraError(f"{out} already holds a run: go on with it (--resume), or name another folder.")
    if not path.is_file():
        raise SpectraError(
            f"--resume: {out} holds no run of plasticity finetune (no {CONFIG}). Name its folder, or begin one in another."
        )
    try:
        was = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpectraError(f"--resume: {path} cannot be read ({error}). Begin a new run in another folder.") from error
    changed = differences(_deciding(was), _deciding(json.loads(json.dumps(asdict(config)))))
    if changed:
        raise OtherWorkError(
            f"--resume: {out} began with another configuration: {'; '.join(changed)}. Leave it as it was, or begin a new run in "
            "another folder."
        )
    if config.train.steps is not None:
        from alphadecay.train import check_steps

        check_steps(out, config.train.steps)


def begin(config: FinetuneConfig, examples: Iterable[Example], out: Path) -> None:
    """Write the record of a run that begins; that of one with checkpoints stays as it is.

    Raises:
        SpectraError: the folder cannot be written to.
    """
    if runs.holds_run(out):
        return
    trained_questions.write(examples, out)
    write_text(out / CONFIG, json.dumps(asdict(config), indent=1) + "\n")


def moved(config: FinetuneConfig, out: Path) -> None:
    """Note in a run's record, and in its adapters, where model, data and tasks are now.

    For whoever knows that they are the same ones, at another place: else `check` refuses to go on with them.

    Raises:
        SpectraError: the folder cannot be written to.
    """
    path = out / CONFIG
    try:
        was = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # `check` says what is wrong with it
        return
    now = {name: getattr(config, name) for name in PLACES}
    if not isinstance(was, dict) or all(was.get(name) == place for name, place in now.items()):
        return
    for checkpoint in saves.checkpoints(out):
        if (checkpoint / adapters.CONFIG).is_file():
            text = adapters.named_anew(checkpoint / adapters.CONFIG, adapters.whole_name(config.model))
            saves.rewrite(checkpoint, adapters.CONFIG, text)
    write_text(path, json.dumps(was | now, indent=1) + "\n")


def _deciding(values: Any) -> Any:
    """A configuration without what changes no weight: how often a run is saved may be another when it goes on."""
    train = values.get("train") if isinstance(values, Mapping) else None
    if not isinstance(train, Mapping):
        return values
    return {**values, "train": {key: value for key, value in train.items() if key not in NO_EFFECT}}


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs of two configurations, `train.lr was 0.002, is 0.001`, one entry a key."""
    before, after = _flat(was), _flat(now)
    absent = object()

    def shown(value: object) -> str:
        return "absent" if value is absent else "none" if value is None else str(value)

    return [
        f"{key} was {shown(before.get(key, absent))}, is {shown(after.get(key, absent))}"
        for key in {**before, **after}
        if before.get(key, absent) != after.get(key, absent)
    ]


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in values.items():
        made |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return made
