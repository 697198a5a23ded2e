"""Labelled texts, ready for probing: read, checked, kept apart from the test split, counted."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticity.probe_tasks import ProbeTask, fields
from plasticity.tasks.base import Row
from plasticity.tasks.rows import READ, from_hub, is_data, read
from spectra.errors import SpectraError

LEAST = 2  # training texts of a class: one to train on, one to validate on
_SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "val": "validation",
           "dev": "validation"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts and the number of each one's class."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ProbeData:
    """Both splits of a task.

    Attributes:
        classes: names of the classes, in the order of their labels (numbers by value).
        about: `source`, `rows_read`, `dropped` (reason -> rows), `kept`, by split; `classes`; `fingerprint`; `remarks`.
    """

    task: ProbeTask
    train: Texts
    test: Texts
    classes: tuple[str, ...]
    about: Mapping[str, Any]


@dataclass
class _Split:
    """What has been read of a split."""

    source: list[str]
    pairs: list[tuple[str, str]]
    read: int
    dropped: Counter[str]

    def keep(self, pairs: list[tuple[str, str]], reason: str) -> None:
        if len(pairs) < len(self.pairs):
            self.dropped[reason] += len(self.pairs) - len(pairs)
        self.pairs = pairs

    def report(self) -> dict[str, Any]:
        return {
            "source": self.source, "rows_read": self.read, "kept": len(self.pairs), "dropped": dict(self.dropped),
        }  # fmt: skip


def load(
    task: ProbeTask, data: Path | None = None, text_field: str | None = None, label_field: str | None = None
) -> ProbeData:
    """The texts of a task: of the local files `data`, else from the hub or the task's generator.

    A training text that is also in the test split is left out, and of equal training texts the first is kept (equal but for
    case and spacing); both are counted. Local files without a test split: one text in five is tested on, by a hash of the text.

    Raises:
        SpectraError: no data, a field that is missing, an empty text, a row without a label, one class only, a test label
            that training has not, too few texts.
    """
    remarks: list[str] = []
    columns = (text_field, label_field)
    if data is None:
        train, test = (
            _split(task, _upstream(task, split), _named(task, split), columns) for split in ("train", "test")
        )
    else:
        files = split_files(data.expanduser())
        train = _split(task, _local(files["train"]), [str(path) for path in files["train"]], columns)
        if files["test"]:
            test = _split(task, _local(files["test"]), [str(path) for path in files["test"]], columns)
        else:
            test = _cut(train)
            remarks.append(
                "no test split in --data: one text in five, by a hash of the text, is tested on and not trained on"
            )
    held = {_same(text) for text, _ in test.pairs}
    train.keep([pair for pair in train.pairs if _same(pair[0]) not in held], "text is in the test split")
    first = {_same(text): pair for text, pair in ((pair[0], pair) for pair in reversed(train.pairs))}
    once = {id(pair) for pair in first.values()}
    train.keep([pair for pair in train.pairs if id(pair) in once], "the same text again")
    return _numbered(task, train, test, remarks)


def _numbered(task: ProbeTask, train: _Split, test: _Split, remarks: list[str]) -> ProbeData:
    """Labels as numbers, once both splits are good."""
    labels = sorted({label for _, label in train.pairs}, key=_order)
    counts = Counter(label for _, label in train.pairs)
    for name, split in (("training", train), ("test", test)):
        if not split.read:
            raise SpectraError(
                f"The file is empty: {', '.join(split.source)} ({task.name}, {name} texts). Name one with --data."
            )
        if not split.pairs:
            reasons = ", ".join(f"{reason} ({count})" for reason, count in split.dropped.items()) or "none"
            raise SpectraError(f"{task.name} has no {name} texts: {split.read} rows read, dropped: {reasons}.")
    if len(labels) < 2:
        raise SpectraError(f"{task.name} has one class only ({labels[0]!r}); a probe needs two. Check --label-field.")
    strange = Counter(label for _, label in test.pairs if label not in counts)
    if strange:
        raise SpectraError(
            f"{task.name}: test labels that training has not: "
            f"{', '.join(f'{label!r} ({n} rows)' for label, n in strange.most_common(5))}; training has "
            f"{', '.join(map(repr, labels[:10]))}. Both splits must be labelled alike."
        )
    few = [label for label in labels if counts[label] < LEAST]
    if few:
        raise SpectraError(
            f"{task.name}: class {few[0]!r} has {counts[few[0]]} training text; each needs {LEAST}, one to train and one to "
            f"validate on. Add texts, or leave {'them' if len(few) > 1 else 'it'} out ({len(few)} of {len(labels)} classes). "
            "Check --label-field."
        )
    number = {label: index for index, label in enumerate(labels)}
    names = tuple((task.classes or {}).get(label, label) for label in labels)
    made = [
        Texts(texts=tuple(t for t, _ in split.pairs), labels=tuple(number[label] for _, label in split.pairs))
        for split in (train, test)
    ]
    about = {
        "train": train.report(), "test": test.report(), "classes": dict(zip(names, (counts[x] for x in labels), strict=True)),
        "fingerprint": _fingerprint(train.pairs, test.pairs), "remarks": remarks,
    }  # fmt: skip
    return ProbeData(task=task, train=made[0], test=made[1], classes=names, about=about)


def split_files(data: Path) -> dict[str, list[Path]]:
    """The files of `train` and of `test`: a file is all training data; in a folder names decide, by the first word of the file's
    name that is a split's (`train_from_test` is training data), else of its folders'.

    A validation split is tested on where there is no test split, and else not read: the probe cuts its own from the
    training texts. Files without any split's name are training data if no file is named for training.

    Raises:
        SpectraError: nothing there that is read, or no training data.
    """
    if data.is_file():
        if not is_data(data):
            raise SpectraError(f"Cannot read --data {data}: its suffix is {data.suffix!r}, expected {READ}.")
        return {"train": [data], "test": []}
    if not data.is_dir():
        raise SpectraError(f"--data {data}: no such file or folder. Name one with {READ}.")
    found: dict[str, list[Path]] = {"train": [], "test": [], "validation": [], "": []}
    for path in sorted(data.rglob("*")):
        inside = path.relative_to(data)
        if path.is_file() and is_data(path) and not any(part.startswith(".") for part in inside.parts):
            found[_named_for(inside)].append(path)
    train, test = found["train"] or found[""], found["test"] or found["validation"]
    if not train:
        here = ", ".join(str(path.relative_to(data)) for path in test[:5]) or "no file that is read"
        raise SpectraError(f"--data {data} has no training texts: found {here}; expected train.jsonl ({READ}), say.")
    return {"train": train, "test": test}


def _named_for(path: Path) -> str:
    """The split that a name says, empty for none."""
    for part in reversed(path.parts):
        words = [_SPLITS[word] for word in re.split(r"[^a-z]+", part.lower()) if word in _SPLITS]
        if words:
            return words[0]
    return ""


def _local(files: Iterable[Path]) -> Iterator[tuple[str, Row]]:
    for path in files:
        for number, row in enumerate(read(path), 1):
            yield f"Row {number} of {path}", row


def _upstream(task: ProbeTask, split: str) -> Iterator[tuple[str, Row]]:
    source = task.train if split == "train" else task.test
    if task.generate is not None:
        rows: Iterable[Row] = task.generate(split)
    elif source is not None:
        rows = from_hub(source, streaming=False)
    else:
        raise SpectraError(f"{task.name} has no data of its own: name a file or folder with --data.")
    for number, row in enumerate(rows, 1):
        yield f"Row {number} of {task.name} ({split})", row


def _named(task: ProbeTask, split: str) -> list[str]:
    source = task.train if split == "train" else task.test
    return ["generated"] if source is None else [f"{source.hub}@{source.revision} {source.split}"]


def _split(
    task: ProbeTask, rows: Iterator[tuple[str, Row]], source: list[str], columns: tuple[str | None, str | None]
) -> _Split:
    """Rows -> texts and labels; every row is checked."""
    made = _Split(source=source, pairs=[], read=0, dropped=Counter())
    for where, row in rows:
        made.read += 1
        text, label = fields(task, *columns, row, where)
        known = _label(label, where)
        if known == task.hidden:
            made.dropped["label is hidden upstream"] += 1
            continue
        if not isinstance(text, str) or not text.strip():
            raise SpectraError(f"{where} has no text: {str(text)[:40]!r}. Leave the row out, or see --text-field.")
        made.pairs.append((text.strip(), known))
    return made


def _label(value: object, where: str) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(value) if isinstance(value, bool) else str(int(value))
    raise SpectraError(
        f"{where} has the label {str(value)[:40]!r}; expected a word or a whole number in every row, of the test split too. "
        "See --label-field."
    )


def _cut(train: _Split) -> _Split:
    """A test split out of the training texts; these lose it, and count it."""
    chosen = [pair for pair in train.pairs if hashlib.sha256(_same(pair[0]).encode()).digest()[0] % 5 == 0]
    test = _Split(source=list(train.source), pairs=chosen, read=train.read, dropped=Counter())
    test.dropped["trained on"] = len(train.pairs) - len(chosen)
    held = {id(pair) for pair in chosen}
    train.keep([pair for pair in train.pairs if id(pair) not in held], "tested on")
    return test


def _same(text: str) -> str:
    return " ".join(text.casefold().split())


def _order(label: str) -> tuple[int, int, str]:
    return (0, int(label), "") if re.fullmatch(r"-?\d+", label) else (1, 0, label)


def _fingerprint(*splits: list[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for pairs in splits:
        for text, label in pairs:
            digest.update(f"{text}\x1f{label}\x1e".encode("utf-8", "surrogatepass"))
        digest.update(b"\x1d")
    return digest.hexdigest()
