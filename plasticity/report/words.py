"""What the page says in words: what was run, how the questions stand, what is not there, what the terms mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plasticity.report.frame import Frame, is_control
from plasticity.report.values import estimate, labels, setting_label
from spectra.report.text import counted

Summary = Mapping[str, Any]
STATUSES = ("holds", "does not hold", "not settled", "not measured")
_WORDS = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "not settled": ("is not settled", "are not settled"),
    "not measured": ("is not measured", "are not measured"),
}
_CLASSES = {"holds": "holds", "does not hold": "fails", "not settled": "open", "not measured": "none"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer to a question, for one line of bases: its status, a sentence, what it rests on."""

    group: str
    status: str
    mark: str
    sentence: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with its answers, one a group."""

    question: str
    answers: tuple[Answer, ...]


NOT_SAID: tuple[str, ...] = (
    "“Not settled” means that these data cannot tell, not that there is no difference.",
    "Seeds tell how much a result changes when training is repeated. With one seed nothing is known of that: the interval is then "
    "over questions alone, and too narrow.",
    "A correlation over a few bases moves with every one of them; read its leave-one-out range, not its value. Bases that differ "
    "in weight decay differ in much else.",
    "Fine-tuning settings are those of the recipe. A base that is behind here may be ahead with other settings.",
    "Scores of models of one size, trained on one corpus, say little of other sizes.",
)

_TERMS: tuple[tuple[str, str], ...] = (
    ("Plasticity", "How well a base checkpoint learns: the score on a task after fine-tuning on it."),
    ("Stability", "Accuracy on the cloze benchmarks after fine-tuning minus before. Below zero: something was forgotten."),
    ("greedy", "Share of questions whose most likely response is right."),
    ("maj@k", "Share of questions whose most frequent answer among k sampled responses is right."),
    ("pass@k", "Share of questions with at least one right answer among k sampled responses."),
    ("correct_ratio", "Of the questions with a right answer at all, the mean share of samples that are right."),
    ("rm@k", "Share of questions whose sample of the highest reward is right."),
    ("orm_score", "Mean reward of all samples; no share, and not bounded."),
    ("Before", "The base as it is, not fine-tuned, on the same questions."),
    ("From scratch", "The same fine-tuning from random weights: what pretraining adds is above that line."),
    ("95% interval", "It would cover the true value in 95 of 100 repetitions. How each is made stands under How."),
    ("Holm", "p-values raised so that over all tasks together a false alarm is no likelier than with one."),
    ("Leave-one-out range", "Least and greatest correlation with one point left out: how far a single point carries it."),
    ("Probe", "A linear classifier on the base's embeddings of a text's last token; accuracy on texts that it was not fitted to."),
    ("Train-val gap", "Loss on held-out windows minus loss on windows that the base was trained on. Above zero: memorised."),
    ("Pseudo-rank", "Number of singular values that make up 95% of their sum, over d_head: W_QK and W_VP, mean over heads."),
)  # fmt: skip


def asked(summary: Summary) -> list[Asked]:
    """Findings by question, in the order of the summary."""
    several = len({one.get("group") for one in summary["findings"]}) > 1
    found: dict[str, list[Answer]] = {}
    for one in summary["findings"]:
        status = str(one["status"])
        found.setdefault(str(one["question"]), []).append(
            Answer(
                group=str(one.get("group", "")) if several else "",
                status=status,
                mark=_CLASSES.get(status, "none"),
                sentence=str(one["answer"]),
                evidence=tuple(str(item) for item in one.get("evidence") or ()),
            )
        )
    return [Asked(question=question, answers=tuple(answers)) for question, answers in found.items()]


def headline(summary: Summary) -> str:
    """How many answers of each kind there are."""
    statuses = [str(one["status"]) for one in summary["findings"]]
    if not statuses:
        return "These results answer none of the questions that are asked of every experiment; the numbers are below."
    counts = [
        (statuses.count(status), status) for status in dict.fromkeys((*STATUSES, *statuses)) if status in statuses
    ]
    lines = len({one.get("group") for one in summary["findings"]})
    claims, each = (
        counted(len(statuses) // lines, "claim"),
        f", for each of {lines} lines of bases" if lines > 1 else "",
    )
    said = _joined([f"{count} {_WORDS.get(status, (status, status))[count > 1]}" for count, status in counts])
    return f"{claims} of the plasticity paper put to these data{each}: {said}."


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def what_was_run(summary: Summary, frame: Frame) -> list[str]:
    """Bases, fine-tuning, cells: a few sentences."""
    made, bases, experiment = [], summary["bases"], summary["experiment"]
    seeds: dict[str, set[Any]] = {}
    for base in bases:
        seeds.setdefault(str(base["group"]), set()).add(base.get("seed"))
    parts = [f"{group} ({counted(len(found), 'seed')})" for group, found in seeds.items()]
    sizes = sorted({base["parameters"] for base in bases if base.get("parameters")})
    size = (
        ""
        if not sizes
        else f" of {_size(sizes[0])}" + (f" to {_size(sizes[-1])}" if len(sizes) > 1 else "") + " parameters"
    )
    along = f" over {frame.title} {', '.join(frame.categories)}" if len(frame.categories) > 1 else ""
    made.append(f"{counted(len(bases), 'base checkpoint')}{size}{along}: {', '.join(parts)}.")
    tuned = [run for run in summary["runs"] if not is_control(run)]
    scratch = len(summary["runs"]) - len(tuned)
    if summary["runs"]:
        names = ", ".join(experiment.get("tasks") or dict.fromkeys(str(run["task"]) for run in summary["runs"]))
        found = {setting_label(run.get("setting")) for run in summary["runs"]}
        how = f", with {len(found)} settings" if len(found) > 1 else ""
        made.append(
            f"{counted(len(tuned), 'fine-tuning run')} on {names}{how}"
            + (f"; {counted(scratch, 'control')} fine-tuned from random weights" if scratch else "")
            + (f"; {experiment['samples']} samples a question" if experiment.get("samples") else "")
            + (f", {experiment['limit']} questions a task" if experiment.get("limit") else "")
            + "."
        )
    made.append(standing(summary))
    return made


def _size(parameters: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if parameters >= size:
            return f"{parameters / size:.3g}{unit}"
    return str(parameters)


def standing(summary: Summary) -> str:
    """`78 of 80 cells are done; 1 failed, 1 not begun.`"""
    counts = summary["counts"]
    words = {"failed": "failed", "blocked": "blocked by a base that failed", "pending": "not begun"}
    rest = [f"{counts[key]} {word}" for key, word in words.items() if counts.get(key)]
    done = f"{counts['done']} of {counts['cells']} cells are done"
    return f"{done}; {', '.join(rest)}." if rest else f"All {counts['cells']} cells are done."


def best(summary: Summary, frame: Frame) -> list[str]:
    """The optimum by loss beside that by score, a sentence a line of bases: over all tasks, where there are several."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in summary["statistics"].get("optimum", ()):
        known = found.setdefault(str(one["group"]), one)
        if one["task"] == "mean" and known["task"] != "mean" and known["setting"] == one["setting"]:
            found[str(one["group"])] = one
    return [_best(one, frame, len(found) > 1) for one in found.values()]


def _best(one: Mapping[str, Any], frame: Frame, named: bool) -> str:
    def side(by: str) -> str:
        names = labels(one[f"by_{by}"], one.get(f"name_by_{by}"))
        share = sum(one["shares"][f"by_{by}"].get(name, 0.0) for name in one.get(f"name_by_{by}") or ())
        return f"{' and '.join(names)} (best in {share:.0%} of draws)"

    gain, low, high = estimate(one.get("difference"))
    what = f"{one['score']} {'over all tasks' if one['task'] == 'mean' else 'on ' + str(one['task'])}"
    text = f"{one['group']}: b" if named else "B"
    text += f"est {frame.title} by loss: {side('loss')}; by {what}: {side('score')}."
    if one.get("differ") is not None:
        text += f" The two differ in {one['differ']:.0%} of draws."
    if gain is not None:
        text += f" Choosing by score gains {_points(gain)}" + (
            f" (95% interval {_points(low, '')} to {_points(high, '')})." if low is not None else "."
        )
    return " ".join(filter(None, (text, one.get("why"), one.get("warning"))))


def _points(value: float | None, unit: str = " points") -> str:
    return "–" if value is None else f"{100 * value:+.1f}{unit}"


def absent(summary: Summary, has: Mapping[str, bool], *, unread: int = 0) -> list[str]:
    """What a reader may look for and does not find, a sentence each."""
    whole = summary["counts"]["done"] == summary["counts"]["cells"]
    missing = "were asked for" if whole else "are there yet, or none were asked for"
    names = {
        "scores": "fine-tuning scores",
        "probes": "probes",
        "gap": "train-val gaps",
        "final": "spectra of the bases",
        "training": "spectra over training",
        "tradeoffs": "stability scores (so no trade-off)",
        "responses": "responses",
    }
    made = [
        f"No {name} {missing}." for key, name in names.items() if not has[key] and not (key == "responses" and unread)
    ]
    return [*made, f"Responses of {counted(unread, 'run')} cannot be read: see Cells."] if unread else made


def glossary(summary: Summary) -> list[tuple[str, str]]:
    """Terms with their meaning, those of scores only where there are such scores."""
    present = {str(point["score"]).split("@")[0] for point in summary["points"]}
    scores = {"greedy", "maj@k", "pass@k", "rm@k", "correct_ratio", "orm_score"}
    return [(term, text) for term, text in _TERMS if term not in scores or term.split("@")[0] in present]


def methods(summary: Summary) -> list[str]:
    """How intervals and tests were made, each once."""
    found = [point.get("method") for point in summary["points"]]
    for one in summary["statistics"].get("comparisons", ()):
        found += [(one.get(key) or {}).get("method") for key in ("paired", "mcnemar", "over_seeds")]
    for one in summary["statistics"].get("correlations", ()):
        found += [(one.get(key) or {}).get("method") for key in ("pearson", "spearman")]
    for one in summary["statistics"].get("best_settings", ()):
        found += [(one.get(key) or {}).get("method") for key in ("chosen", "gain")]
    for one in summary["statistics"].get("optimum", ()):
        found += [one.get("method"), (one.get("difference") or {}).get("method")]
    return list(dict.fromkeys(str(method) for method in found if method))
