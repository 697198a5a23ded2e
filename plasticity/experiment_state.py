"""How the cells of an experiment stand, on disk and in a run: which can begin, how long the rest takes, `manifest.jsonl`."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphadecay import locks
from plasticity import experiment_cell
from plasticity.experiment_plan import Cell
from spectra.atomic import write_text
from spectra.errors import SpectraError

MANIFEST = "manifest.jsonl"
_LOCK = ".lock"


@dataclass(kw_only=True)
class State:
    """How every cell stands, by key.

    Attributes:
        done: its record says so.
        failed: in this call; why.
        failed_before: its record says so; why. It is tried again, last.
        deaths: workers that it cost.
        elsewhere: another process is at it; when (of `time.monotonic`) to look again.
        seconds: that done cells took.
        hours: of GPU, as estimated: what cells cost beside each other. Empty, or without some: not known.
    """

    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    failed_before: dict[str, str] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    elsewhere: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    hours: Mapping[str, float] = field(default_factory=dict)

    def take_done(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Note that a cell is done."""
        self.elsewhere.pop(cell.key, None)
        if cell.key not in self.done:
            self.done.add(cell.key)
            self.seconds[cell.key] = float(record["seconds"])


def state_of(out: Path, cells: Sequence[Cell], hours: Mapping[str, float] | None = None) -> State:
    """How the cells stand on disk; those that failed count as not begun. `hours`: as of `State`."""
    state = State(hours=hours or {})
    for cell in cells:
        record = experiment_cell.record_of(out, cell)
        if record is None:
            continue
        if record["status"] == "done":
            state.take_done(cell, record)
        else:
            state.failed_before[cell.key] = str(record.get("reason"))
    return state


def ready(cells: Sequence[Cell], state: State, busy: Collection[str]) -> Iterator[Cell]:
    """Cells that can be begun now, in order; last those that have failed before: they may kill the process that tries."""
    now = time.monotonic()
    for cell in sorted(cells, key=lambda cell: cell.key in state.failed_before or cell.key in state.deaths):
        if cell.key in state.done or cell.key in state.failed or cell.key in busy:
            continue
        if state.elsewhere.get(cell.key, now) <= now and (not cell.needs or cell.needs in state.done):
            yield cell


def standing_of(cell: Cell, state: State) -> tuple[str, str]:
    """`done`, `failed`, `blocked` (its base failed) or `pending`, and why."""
    if cell.key in state.done:
        return "done", ""
    if cell.key in state.failed:
        return "failed", state.failed[cell.key]
    if cell.needs in state.failed:
        return "blocked", f"its base failed: {state.failed[cell.needs]}"
    return "pending", ""


def write_manifest(out: Path, cells: Sequence[Cell], state: State) -> None:
    """One line a cell: id, key, what it is, how it stands, why."""
    lines = []
    for number, cell in enumerate(cells):
        standing, reason = standing_of(cell, state)
        line = {
            "index": number,
            "id": cell.id,
            "key": cell.key,
            "kind": cell.kind,
            "label": cell.label,
            "state": standing,
        }
        lines.append(json.dumps(line | ({"reason": reason} if reason else {})))
    with folder_held(out):
        write_text(out / MANIFEST, "".join(f"{line}\n" for line in lines))


def manifest_of_disk(out: Path, cells: Sequence[Cell]) -> None:
    """Write the manifest by what the records say, those of failed cells too: of a process that runs one cell of many."""
    state = state_of(out, cells)
    state.failed = {key: why for key, why in state.failed_before.items() if key not in state.done}
    write_manifest(out, cells, state)


def not_kept(out: Path, cells: Sequence[Cell]) -> int:
    """Fine-tuning cells that are done and kept no checkpoint."""
    records = [experiment_cell.record_of(out, cell) for cell in cells if cell.kind == "tune"]
    return sum(one is not None and one["status"] == "done" and one["result"].get("kept") is None for one in records)


def listed(out: Path) -> set[str] | None:
    """Keys of the cells that the folder's last run had; None where that is not known."""
    try:
        lines = (out / MANIFEST).read_text(encoding="utf-8").splitlines()
        return {str(json.loads(line)["key"]) for line in lines}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def dropped(out: Path, cells: Sequence[Cell]) -> list[str]:
    """Labels of done cells that the folder's last run had and the experiment of these `cells` has not."""
    last, planned = listed(out), {cell.key for cell in cells}
    done = [record for record in _done_records(out) if last is None or record["key"] in last]
    return [str(record["label"]) for record in done if record["key"] not in planned]


def _done_records(out: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((out / "cells").glob(f"*/{experiment_cell.RECORD}")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and record.get("status") == "done" and {"key", "label"} <= set(record):
            yield record


@contextlib.contextmanager
def folder_held(out: Path) -> Iterator[None]:
    """One process at a time writes the files of the folder itself."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.flocked(out / _LOCK, lambda: None))
        except OSError as error:
            raise SpectraError(
                f"Cannot write {out}: {error.strerror or error}. Name a folder that you can write to."
            ) from error
        yield


def sentence(record: Mapping[str, Any], cells: Sequence[Cell], state: State, workers: int) -> str:
    """How a cell ended, how many are done, and how long the rest takes."""
    if record["status"] == experiment_cell.ELSEWHERE:
        return f"elsewhere: {record['label']}: {record['reason']} is at it"
    if record["status"] != "done":
        again = "" if record["key"] in state.failed else "; it is tried once more, last"
        return f"failed: {record['label']}: {record['reason']}{again}"
    count = f"{len(state.done)} of {len(cells)} cells"
    return f"done: {record['label']}, {record['seconds']:.0f} s; {count}{_left(cells, state, workers)}"


def _left(cells: Sequence[Cell], state: State, workers: int) -> str:
    """A cell takes as long as those of its kind, more where it costs more; of a kind not seen yet, as its cost says.

    Cells of which neither is known are not counted, and named.
    """
    kinds = {cell.kind: [one for one in cells if one.kind == cell.kind and one.key in state.seconds] for cell in cells}
    seen = [cell for done in kinds.values() for cell in done]
    if not seen:
        return ""
    rates = {kind: _seconds_per_hour(done, state) for kind, done in kinds.items()}
    usual = _seconds_per_hour([cell for cell in seen if state.hours.get(cell.key)], state)
    seconds, unknown = 0.0, set()
    for cell in cells:
        if standing_of(cell, state)[0] != "pending":
            continue
        rate, hours = rates[cell.kind] or (None if kinds[cell.kind] else usual), state.hours.get(cell.key)
        if rate is not None and hours:
            seconds += rate * hours
        elif kinds[cell.kind]:
            seconds += statistics.fmean(state.seconds[one.key] for one in kinds[cell.kind])
        else:
            unknown.add(cell.kind)
    seconds /= max(1, workers)
    more = f" without {', '.join(sorted(unknown))}" if unknown else ""
    return f", about {seconds / 60:.0f} min left{more}" if seconds >= 60 else f", about {seconds:.0f} s left{more}"


def _seconds_per_hour(done: Sequence[Cell], state: State) -> float | None:
    """Seconds here that an estimated hour of GPU took; None: of some cell no cost is known, or there is none."""
    hours = [state.hours.get(cell.key, 0.0) for cell in done]
    return sum(state.seconds[cell.key] for cell in done) / sum(hours) if done and all(hours) else None
