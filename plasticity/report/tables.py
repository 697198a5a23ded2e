"""The tables of the page: columns and rows as plain values; a script draws, sorts and saves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from plasticity.report import probes
from plasticity.report.frame import Frame, is_control
from plasticity.report.names import MEAN, MEAN_CLOZE, place_label, task_name, with_name
from plasticity.report.values import estimate, labels, setting_label

Kind = Literal["text", "number", "interval", "long", "method"]
Entry = Mapping[str, Any]
_BETTER = "better is"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading, and what stands under it: `interval` cells are [low, high], `long` ones may wrap, `method` is numbered."""

    title: str
    kind: Kind = "number"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table by its id on the page."""

    id: str
    columns: tuple[Column, ...]
    rows: list[list[Any]] = field(default_factory=list)


def tables(summary: Mapping[str, Any], frame: Frame) -> list[Table]:
    """All tables that have rows."""
    statistics = summary["statistics"]

    def of(name: str) -> list[Entry]:
        return _means_first(summary, statistics.get(name, ()))

    made = (
        _pairs(of("pairs")), _points(summary, frame), _comparisons(of("comparisons"), frame.title), _optimum(of("optimum")),
        _correlations(summary, of("correlations")), _best_settings(of("best_settings"), frame.title),
        _tradeoffs(of("tradeoffs"), frame), _bases(summary["bases"], frame), _runs(summary, frame), _failed(summary["failed"]),
    )  # fmt: skip
    return [_telling(table) for table in made if table.rows]


def _means_first(summary: Mapping[str, Any], found: Sequence[Entry]) -> list[Entry]:
    """What is over several tasks before what is of one, and the tasks by their names."""
    ordered = sorted(found, key=lambda one: one["task"] not in (MEAN, MEAN_CLOZE))
    return [{**one, "task": task_name(summary, str(one["task"]))} for one in ordered]


def _telling(table: Table) -> Table:
    """Without columns of settings of which there is one, of remarks of which there is none, and of what is better if all is."""
    kept = [
        at for at, column in enumerate(table.columns)
        if not (column.title == "setting" and len({row[at] for row in table.rows}) == 1)
        and not (column.kind == "long" and not any(row[at] for row in table.rows))
        and not (column.title == _BETTER and all(row[at] == "higher" for row in table.rows))
    ]  # fmt: skip
    rows = [[row[at] for at in kept] for row in table.rows]
    return Table(id=table.id, columns=tuple(table.columns[at] for at in kept), rows=rows)


def _text(title: str) -> Column:
    return Column(title=title, kind="text")


def _columns(*columns: Column | str) -> tuple[Column, ...]:
    return tuple(column if isinstance(column, Column) else Column(title=column) for column in columns)


def _interval(found: object) -> list[Any]:
    return list(found) if isinstance(found, Sequence) and len(found) == 2 else [None, None]


def _start(entry: Entry) -> str:
    return "from scratch" if is_control(entry) else "pretrained"


def _remarks(*said: object) -> str:
    """Sentences, each once."""
    return " ".join(dict.fromkeys(str(one) for one in said if one))


def _where(entry: Entry, frame: Frame) -> list[str]:
    at = frame.at(entry)
    return [" / ".join(frame.lines[line] for line in frame.on(entry)), "–" if at is None else frame.categories[at]]


def _points(summary: Mapping[str, Any], frame: Frame) -> Table:
    columns = _columns(
        _text("bases"), _text(frame.title), _text("task"), _text("score"), _text("start"), _text("setting"), "value",
        Column(title="95% interval", kind="interval"), "questions", "seeds", Column(title="method", kind="method"),
    )  # fmt: skip
    rows = [
        [*_where(one, frame), task_name(summary, str(one["task"])), one["score"], _start(one),
         setting_label(one.get("setting")), one["value"], _interval(one.get("ci95")), one.get("n_questions"), one.get("n_seeds"),
         one.get("method", "")]
        for one in summary["points"]
    ]  # fmt: skip
    return Table(id="points-table", columns=columns, rows=rows)


def _comparisons(found: Sequence[Entry], axis: str) -> Table:
    columns = _columns(
        _text("bases"), _text("task"), _text("score"), _text("setting"), _text(axis), _text("against"), "difference",
        Column(title="95% interval", kind="interval"), _text(_BETTER), "p (McNemar, questions)", "p (t, seeds)", "p (Holm)",
        "questions", "seeds", Column(title="method", kind="method"), Column(title="remarks", kind="long"),
    )  # fmt: skip
    rows = []
    for one in found:
        paired, mcnemar, seeds = (one.get(key) or {} for key in ("paired", "mcnemar", "over_seeds"))
        other = _other(one, "that of the smallest value, or the first")
        said = _remarks(other, paired.get("why"), mcnemar.get("why"), seeds.get("why"), one.get("warning"))
        names = [str(one.get("name_a")), str(one.get("name_b"))]
        places = names if one["x_a"] == one["x_b"] else labels([one["x_a"], one["x_b"]], names)
        rows.append(
            [str(one["group"]), one["task"], one["score"], setting_label(one.get("setting")), *places,
             paired.get("value"), _interval(paired.get("ci95")), one.get("better", "higher"), mcnemar.get("p"),
             seeds.get("p"), one.get("holm_p"), paired.get("n"), seeds.get("n"), paired.get("method", ""), said]
        )  # fmt: skip
    return Table(id="comparisons-table", columns=columns, rows=rows)


def _optimum(found: Sequence[Entry]) -> Table:
    columns = _columns(
        _text("bases"), _text("task"), _text("score"), _text("setting"), _text("best by loss"), _text("how often"),
        _text("best by score"), _text("how often"), "differ (share)", "gain (above 0: better)",
        Column(title="95% interval", kind="interval"), Column(title="remarks", kind="long"),
    )  # fmt: skip
    rows = []
    for one in found:
        gain, low, high = estimate(one["difference"])
        rows.append(
            [str(one["group"]), one["task"], one["score"], setting_label(one.get("setting")),
             ", ".join(labels(one["by_loss"], one.get("name_by_loss"))), _shares(one["shares"]["by_loss"]),
             ", ".join(labels(one["by_score"], one.get("name_by_score"))), _shares(one["shares"]["by_score"]),
             one.get("differ"), gain, [low, high], _remarks(one.get("why"), one.get("warning"))]
        )  # fmt: skip
    return Table(id="optimum-table", columns=columns, rows=rows)


def _best_settings(found: Sequence[Entry], axis: str) -> Table:
    interval = Column(title="95% interval", kind="interval")
    columns = _columns(
        _text("bases"), _text(axis), _text("task"), _text("score"), "mean over settings", "best setting",
        "chosen on other questions", interval, "gain (above 0: better)", interval, _text("against"), _text("best setting is"),
        "settings", "seeds", Column(title="remarks", kind="long"),
    )  # fmt: skip
    rows = []
    for one in found:
        chosen, low, high = estimate(one["chosen"])
        gain, least, most = estimate(one["gain"])
        said = _remarks(one["why"], *((one[key] or {}).get("why") for key in ("chosen", "gain")), one.get("warning"))
        at, against = labels([one["x"], one["x_b"]], [one["name"], one["name_b"]])
        which = " or ".join(setting_label(setting) for setting in one["settings"])
        rows.append(
            [str(one["group"]), at, one["task"], one["score"], one["mean"], one["value"], chosen, [low, high],
             gain, [least, most], "" if one["gain"] is None else against, which, one["n_settings"], one["n_seeds"], said]
        )  # fmt: skip
    return Table(id="best-settings-table", columns=columns, rows=rows)


def _shares(found: Mapping[str, float]) -> str:
    """In what share of draws each base is best: `0.1: 82%, 0.3: 18%`."""
    ranked = sorted(found.items(), key=lambda item: -(item[1] or 0))
    return ", ".join(f"{place_label(name)}: {share:.0%}" for name, share in ranked if share and share >= 0.005)


def _correlations(summary: Mapping[str, Any], found: Sequence[Entry]) -> Table:
    columns = _columns(
        _text("bases"), _text("number of the base"), _text("with"), _text("setting"), "Pearson r",
        Column(title="range, one left out", kind="interval"), "Spearman rho", Column(title="range, one left out", kind="interval"),
        "points", _text("moves r most if left out"), Column(title="remarks", kind="long"),
    )  # fmt: skip
    rows = []
    for one in found:
        pearson, spearman = one.get("pearson") or {}, one.get("spearman") or {}
        rows.append(
            [str(one["group"]), predictor(str(one["of"])), with_name(summary, str(one["with"])), setting_label(one.get("setting")),
             pearson.get("value"), _interval(pearson.get("loo_range")), spearman.get("value"), _interval(spearman.get("loo_range")),
             pearson.get("n"), ", ".join(place_label(name) for name in pearson.get("moved_most_by") or ()),
             _remarks(pearson.get("why"), one.get("remark"), one.get("said_of_seeds"), one.get("warning"))]
        )  # fmt: skip
    return Table(id="correlations-table", columns=columns, rows=rows)


def predictor(name: str) -> str:
    """A number of a base, in words."""
    if name.startswith("probe:"):
        return f"probe accuracy, {name.removeprefix('probe:')}"
    known = {
        "eval_loss": "validation loss", "gap": "train-val gap", "pseudo_rank_qk": "pseudo-rank of W_QK",
        "pseudo_rank_vp": "pseudo-rank of W_VP",
        "probe mean": "probe accuracy, mean over tasks",
        "alpha_sd": "spread of alpha", "alpha_mean": "mean alpha",
        probes.KEY: "probe, best layer (test texts)",
    }  # fmt: skip
    return known.get(name, name)


def _tradeoffs(found: Sequence[Entry], frame: Frame) -> Table:
    interval = Column(title="95% interval", kind="interval")
    columns = _columns(
        _text("bases"), _text(frame.title), _text("setting"), "stability", interval, "upstream accuracy", interval,
        _text("plasticity of"), _text("score"), "plasticity", interval, "fine-tuned models", Column(title="method", kind="method"),
        Column(title="remarks", kind="long"),
    )  # fmt: skip
    rows = []
    for one in found:
        parts = [estimate(one.get(key)) for key in ("stability", "upstream", "plasticity")]
        (stable, *of_stable), (up, *of_up), (plastic, *of_plastic) = parts
        rows.append(
            [*_where(one, frame), setting_label(one.get("setting")), stable, of_stable, up, of_up, one["task"], one["score"],
             plastic, of_plastic, one.get("n_models"), one.get("method", ""), _remarks(one.get("why"), one.get("warning"))]
        )  # fmt: skip
    return Table(id="tradeoffs-table", columns=columns, rows=rows)


_SURE = {"settled": "settled", "one seed": "over questions alone: one seed"}


def _other(one: Entry, which: str) -> str:
    """Why the base that others are compared with is not that of the smallest loss."""
    why = str(one.get("reference_why") or "")
    return f"{why[0].upper()}{why[1:]}: against {which}." if why else ""


def _pairs(found: Sequence[Entry]) -> Table:
    columns = _columns(
        _text("task"), _text("score"), _text("setting"), _text("base"), "value", _text("against"), "value", "difference",
        Column(title="95% interval", kind="interval"), _text(_BETTER), _text("ahead"), _text("how sure"), "questions", "seeds",
        Column(title="method", kind="method"), Column(title="remarks", kind="long"),
    )  # fmt: skip
    rows = [
        [one["task"], one["score"], setting_label(one.get("setting")), one["name_b"], one["value_b"], one["name_a"],
         one["value_a"], one["value"], _interval(one.get("ci95")), one["better"], one["ahead"] or "", _SURE.get(
             str(one["status"]), "not settled"), one["n_questions"], one["n_seeds"], one["method"],
         _remarks(_other(one, "the first base"), one.get("remark"), one.get("said_of_seeds"), one.get("warning"))]
        for one in found
    ]  # fmt: skip
    return Table(id="pairs-table", columns=columns, rows=rows)


def _bases(bases: Sequence[Entry], frame: Frame) -> Table:
    tasks = list(dict.fromkeys(task for base in bases for task in base.get("probes") or {}))
    columns = _columns(
        _text("base"), _text(frame.title), "seed", "parameters", "validation loss", "train-val gap",
        Column(title="95% interval", kind="interval"), "pseudo-rank W_QK", "pseudo-rank W_VP", "mean alpha", "spread of alpha",
        *(Column(title=f"probe {task}") for task in tasks), *(["probe, best layer (test texts)"] if tasks else []),
        _text("tokenizer"), Column(title="remarks", kind="long"),
    )  # fmt: skip
    rows = []
    for base in bases:
        gap, final = base.get("gap") or {}, (base.get("spectra") or {}).get("final") or {}
        found = base.get("probes") or {}
        rows.append(
            [base["label"], _where(base, frame)[1], base.get("seed"), base.get("parameters"), base.get("eval_loss"), gap.get("gap"),
             _interval(gap.get("ci95")),
             *(final.get(key) for key in ("pseudo_rank_qk", "pseudo_rank_vp", "alpha_mean", "alpha_sd")),
             *(((found.get(task) or {}).get("test_accuracy") or {}).get("mean") for task in tasks),
             *([base.get("probe_best_of_test")] if tasks else []), str(base.get("tokenizer_sha256") or "–")[:12],
             _remarks(base.get("warning"))]
        )  # fmt: skip
    return Table(id="bases-table", columns=columns, rows=rows)


def _runs(summary: Mapping[str, Any], frame: Frame) -> Table:
    names = list(dict.fromkeys(name for run in summary["runs"] for name in run["scores"]))
    columns = _columns(
        _text("base"), _text(frame.title), _text("task"), _text("setting"), "seed", _text("start"), "training loss",
        *(Column(title=name) for name in names), _text("cell"),
    )  # fmt: skip
    rows = [
        [run["base"], _where(run, frame)[1], run["task"], setting_label(run.get("setting")), run.get("seed"),
         _start(run), run.get("train_loss"),
         *((run["scores"].get(name) or {}).get("value") for name in names), run["id"]]
        for run in summary["runs"]
    ]  # fmt: skip
    return Table(id="runs-table", columns=columns, rows=rows)


def _failed(found: Sequence[Entry]) -> Table:
    columns = _columns(_text("cell"), _text("kind"), _text("what"), Column(title="reason", kind="long"))
    return Table(
        id="failed-table", columns=columns, rows=[[c["id"], c["kind"], c["label"], c["reason"]] for c in found]
    )
