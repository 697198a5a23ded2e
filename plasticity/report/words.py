"""What the page says in words: what was run, how the questions stand, what is not there, what the terms mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plasticity.report.frame import Frame, is_control
from plasticity.report.names import MEAN, amount, change, is_lower, is_share, task_name
from plasticity.report.values import bounds, estimate, labels, setting_label
from spectra.report.text import counted

Summary = Mapping[str, Any]
_PAIRS = 6  # of bases, in words; the table has all
STATUSES = ("holds", "does not hold", "yes", "no", "rises", "falls", "not settled", "not measured")
_WORDS = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "yes": ("is answered yes", "are answered yes"),
    "no": ("is answered no", "are answered no"),
    "rises": ("rises", "rise"),
    "falls": ("falls", "fall"),
    "not settled": ("is not settled", "are not settled"),
    "not measured": ("is not measured", "are not measured"),
}
_CLASSES = {
    "rises": "told",
    "falls": "told",
    "yes": "holds",
    "no": "fails",
    "holds": "holds",
    "does not hold": "fails",
    "not settled": "open",
    "not measured": "none",
}


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
    ("harmfulness", "Mean over prompts of how harmful a reward model finds the greedy response, 0 to 4. Lower is better."),
    ("acc", "Share of questions of which the right choice is the likeliest."),
    ("Before", "The base as it is, not fine-tuned, on the same questions."),
    ("From scratch", "The same fine-tuning from random weights: what pretraining adds is above that line."),
    ("95% interval", "It would cover the true value in 95 of 100 repetitions. How each is made stands under How."),
    ("Holm", "p-values raised so that over the tasks of one pair of bases, in one setting, a false alarm is no likelier than with "
     "one task. Several bases against the same one are not adjusted for each other: of many, expect the smallest by luck."),
    ("Leave-one-out range", "Least and greatest correlation with one point left out: how far a single point carries it."),
    ("Probe", "A linear classifier on the base's embeddings of a text's last token; accuracy on texts that it was not fitted to."),
    ("Best layer (test texts)", "The paper's number of probes (figure 25): the best layer by accuracy averaged over probe "
     "tasks. It is chosen on the texts that it is scored on, so it is too high by the luck of that choice."),
    ("Train-val gap", "Loss on held-out windows minus loss on windows that the base was trained on. Above zero: memorised."),
    ("Pseudo-rank", "Number of singular values that make up 95% of their sum, over d_head: W_QK and W_VP, mean over heads."),
    ("Upstream accuracy", "Accuracy on the cloze benchmarks after fine-tuning: mean over benchmarks and fine-tuned models."),
)  # fmt: skip


_MEASURED = {
    "gap": "Train-val gap of a base: documents resampled whole, on either side by itself; deviations stretched to the "
    "leave-one-document-out standard error and by Student's t (docs/gap.md).",
    "probes": "Probe accuracy: 95% percentile bootstrap over test texts of the mean over seeds of the probe; the layer by "
    "validation accuracy, but where “chosen on test texts” is said.",
}


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


def ahead(summary: Summary) -> list[Asked]:
    """Which base is better, where no finding can say it for want of an axis: of the mean over tasks, else of every task."""
    found = summary["statistics"].get("pairs", ())
    said = [one for one in summary["findings"] if one.get("claim") in ("plasticity", "loss")]
    if not found or any(one["status"] != "not measured" for one in said):
        return []
    first = [one for one in found if one.get("setting") == found[0].get("setting")]
    answers = [_ahead(summary, one) for one in ([one for one in first if one["task"] == MEAN] or first)[:_PAIRS]]
    return [
        Asked(
            question="Which base is better once fine-tuned? Each pair by itself, not all at once.",
            answers=tuple(answers),
        )
    ]


def _ahead(summary: Summary, one: Mapping[str, Any]) -> Answer:
    score, status = str(one["score"]), pair_status(one)
    low, high = bounds(one.get("ci95"))
    interval = "no interval"
    if low is not None:
        interval = (
            f"95% interval {change(summary, score, low, unit=False)} to {change(summary, score, high, unit=False)}"
        )
    values = [
        f"{one[f'name_{side}']} {amount(summary, score, one[f'value_{side}'])}" for side in ("b", "a")
    ]  # fmt: skip
    unsure = "" if one.get("remark") else " What another seed would change is not known."
    ends = {"settled": f"{one['ahead']} is ahead.", "one seed": f"{one['ahead']} is ahead on these questions.{unsure}"}
    said = (
        f"{values[0]}, {values[1]}: {change(summary, score, one['value'])} ({interval}; "
        f"{counted(int(one['n_questions']), 'question')}, {counted(int(one['n_seeds']), 'seed')}{_of(one)}).",
        ends.get(status, "Which is ahead is not settled."), one.get("remark"), one.get("said_of_seeds"),
    )  # fmt: skip
    return Answer(
        group=f"{task_name(summary, str(one['task']))}, {score}{', lower is better' if is_lower(score) else ''}",
        status=status, mark="holds" if one["status"] == "settled" else "open",
        sentence=" ".join(filter(None, said)) + _but(one), evidence=(str(one["method"]),),
    )  # fmt: skip


def _of(one: Mapping[str, Any]) -> str:
    """Of what the seeds are: pretraining or fine-tuning."""
    return f" of {one['seeds_of']}" if one.get("seeds_of") else ""


def _but(one: Mapping[str, Any]) -> str:
    return f" But: {one['warning']}" if one.get("warning") else ""


def pair_status(one: Mapping[str, Any]) -> str:
    """How sure it is which of two bases is ahead, in words."""
    return {"settled": "settled", "one seed": "one seed"}.get(str(one["status"]), "not settled")


def headline(summary: Summary) -> str:
    """How many answers of each kind there are: to the paper's claims, then to what is asked besides."""
    findings = summary["findings"]
    theirs = [one for one in findings if one.get("of_paper", True) is not False]
    others = [one for one in findings if one.get("of_paper", True) is False]
    if not findings:
        return "These results answer none of the questions that are asked of every experiment; the numbers are below."
    said = [
        f"{_claims(some, noun)} put to these data{_lines(some)}: {_counts(some)}."
        for some, noun in ((theirs, "claim"), (others, "question"))
        if some
    ]
    return " ".join(said)


def _claims(findings: Sequence[Mapping[str, Any]], noun: str) -> str:
    lines = len({one.get("group") for one in findings})
    count = counted(len(findings) // lines, noun)
    return f"{count} of the plasticity paper" if noun == "claim" else f"{count} besides the paper's"


def _lines(findings: Sequence[Mapping[str, Any]]) -> str:
    lines = len({one.get("group") for one in findings})
    return f", for each of {lines} lines of bases" if lines > 1 else ""


def _counts(findings: Sequence[Mapping[str, Any]]) -> str:
    statuses = [str(one["status"]) for one in findings]
    known = [status for status in dict.fromkeys((*STATUSES, *statuses)) if status in statuses]
    return _joined(
        [f"{(n := statuses.count(status))} {_WORDS.get(status, (status, status))[n > 1]}" for status in known]
    )


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
    whole = f"{counted(len(bases), 'base checkpoint')}{size}{along}: {', '.join(parts)}."
    made.append(whole if bases else "No base checkpoint is there yet.")
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
    return [_best(summary, one, frame, len(found) > 1) for one in found.values()]


def _chosen(one: Mapping[str, Any], frame: Frame) -> str:
    """What is chosen: a value of the axis, or over several lines a base."""
    return "base" if all(x is None for x in (*one["by_loss"], *one["by_score"])) else frame.title


def _best(summary: Summary, one: Mapping[str, Any], frame: Frame, named: bool) -> str:
    def side(by: str) -> str:
        names = labels(one[f"by_{by}"], one.get(f"name_by_{by}"))
        share = sum(one["shares"][f"by_{by}"].get(name, 0.0) for name in one.get(f"name_by_{by}") or ())
        return f"{' and '.join(names)} (best in {share:.0%} of draws)"

    what = f"{one['score']} ({task_name(summary, str(one['task']))})"
    text = f"{one['group']}: b" if named else "B"
    text += f"est {_chosen(one, frame)} by loss: {side('loss')}; by {what}: {side('score')}."
    if one.get("differ") is not None:
        text += f" The two differ in {one['differ']:.0%} of draws."
    return " ".join(filter(None, (text, _gained(summary, one), one.get("why")))) + _but(one)


def _gained(summary: Summary, one: Mapping[str, Any]) -> str:
    """What choosing by score is worth, in the score's own unit and direction; the difference is above zero where it is better."""
    score = str(one["score"])
    gain, low, high = estimate(one.get("difference"))
    if gain is None:
        return ""
    if is_lower(score):
        shown = [f"{value:.2f}" for value in (gain, low, high) if value is not None]
        said = f"lowers {score} by {shown[0]}"
    else:
        shown = [change(summary, score, value, unit=False) for value in (gain, low, high) if value is not None]
        said = f"gains {change(summary, score, gain)}" + ("" if is_share(summary, score) else f" of {score}")
    return f"Choosing by score {said}" + (f" (95% interval {shown[1]} to {shown[2]})." if len(shown) == 3 else ".")


def doubts(summary: Summary) -> list[str]:
    """Why losses and gaps are not comparable: within lines as the summary warns, else between lines of other tokenizers."""
    entries = (*summary["bases"], *summary["loss"])
    said = list(dict.fromkeys(str(one["warning"]) for one in entries if one.get("warning")))
    known = {base["tokenizer_sha256"] for base in summary["bases"] if base.get("tokenizer_sha256")}
    if not said and len(known) > 1:
        said.append("Between lines of bases tokenizers differ: losses and gaps are comparable within a line alone.")
    return [f"{one[0].upper()}{one[1:]}" for one in said]


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
    scores = {"greedy", "maj@k", "pass@k", "rm@k", "correct_ratio", "orm_score", "harmfulness", "acc"}
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
    found += [one.get("method") for one in summary["statistics"].get("pairs", ())]
    found += [
        f"Validation loss: mean over seeds of pretraining; {one['method']}."
        for one in summary["loss"]
        if one.get("method")
    ]
    found += [one.get("method") for one in summary["statistics"].get("tradeoffs", ())]
    found += [text for key, text in _MEASURED.items() if any(base.get(key) for base in summary["bases"])]
    return list(dict.fromkeys(str(method) for method in found if method))
