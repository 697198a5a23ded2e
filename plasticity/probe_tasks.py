"""What probes are trained on: texts with a class each. sst2 and ag_news (the paper's), the embedded corpus, files of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from plasticity.probe_corpus import Labelled, kinds
from plasticity.tasks.base import Row, Source
from spectra.errors import SpectraError


@dataclass(frozen=True, kw_only=True)
class ProbeTask:
    """One set of labelled texts.

    Attributes:
        name, title: how it is called, and what the probe must recognise.
        version: raised whenever texts, labels or splits change.
        text, label: columns of its rows.
        train, test: sources on the hub; None: made by `generate`, or only given by `--data`.
        classes: label -> its name, where labels are numbers.
        hidden: a label that upstream puts where it keeps the true one to itself; such rows are left out and counted.
        generate: split (`train`, `test`) -> labelled texts, always the same.
        paper, licence: of the data.
        recipe: what is chosen here.
    """

    name: str
    title: str
    version: int = 1
    text: str = "text"
    label: str = "label"
    train: Source | None = None
    test: Source | None = None
    classes: Mapping[str, str] | None = None
    hidden: str | None = None
    generate: Callable[[str], Iterator[Labelled]] | None = None
    paper: str = ""
    licence: str = ""
    recipe: str = ""


def _hub(name: str, revision: str, fields: tuple[str, str], test: tuple[str, int], rows: int) -> tuple[Source, Source]:
    made = (("train", rows), test)
    train, held = (Source(hub=name, split=s, revision=revision, fields=fields, rows=n) for s, n in made)
    return train, held


_SST2 = _hub(
    "stanfordnlp/sst2", "8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb", ("sentence", "label"), ("validation", 872), 67_349
)
_AG_NEWS = _hub(
    "fancyzhx/ag_news", "eb185aade064a813bc0b7f42de02595523103ca4", ("text", "label"), ("test", 7_600), 120_000
)
TASKS: Mapping[str, ProbeTask] = {
    task.name: task
    for task in (
        ProbeTask(
            name="sst2", title="sentiment of a sentence from a film review", text="sentence", train=_SST2[0], test=_SST2[1],
            classes={"0": "negative", "1": "positive"}, hidden="-1", paper="Socher et al. 2013",
            licence="no licence stated upstream",
            recipe="Tested on upstream's validation split (872 sentences): the labels of its test split are hidden. Upstream's "
            "training rows are phrases as well as sentences.",
        ),
        ProbeTask(
            name="ag_news", title="topic of a news article", train=_AG_NEWS[0], test=_AG_NEWS[1],
            classes={"0": "World", "1": "Sports", "2": "Business", "3": "Sci/Tech"}, paper="Zhang et al. 2015",
            licence="non-commercial use", recipe="Title and description in one text, as upstream.",
        ),
        ProbeTask(
            name="corpus_kinds", title="what kind of document a few words of the embedded corpus are from", generate=kinds,
            paper="none: ours, for trying everything out without a network", licence="that of this package",
            recipe="Four to eight successive words of a new document; six kinds of equal share.",
        ),
    )
}  # fmt: skip
DEFAULT = ("sst2", "ag_news")


def get(name: str) -> ProbeTask:
    """The probe task of that name; raises `SpectraError` with the nearest where there is none."""
    from alphadecay.fields import nearest

    if name not in TASKS:
        raise SpectraError(
            f"Unknown probe task {name!r}. {nearest(name, TASKS)} Texts and labels of yours: --data FILE, without --task."
        )
    return TASKS[name]


def own(name: str) -> ProbeTask:
    """A task for files that no known task is named for."""
    return ProbeTask(name=name, title="texts and labels of --data", recipe="")


def fields(task: ProbeTask, text: str | None, label: str | None, row: Row, where: str) -> tuple[object, object]:
    """Text and label of a row.

    Raises:
        SpectraError: a column is not there; names those that are, and the option that names another.
    """
    columns = (text or task.text, label or task.label)
    for column, option in zip(columns, ("--text-field", "--label-field"), strict=True):
        if column not in row:
            raise SpectraError(
                f"{where} has no field {column!r}: it has {', '.join(map(str, row)) or 'none'}. Name the right one with {option}."
            )
    return row[columns[0]], row[columns[1]]
