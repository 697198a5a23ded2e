"""Experiment -> page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plasticity.report import names, summary_file, words
from plasticity.report.data import payload
from plasticity.report.frame import frame
from plasticity.report.leader import leader
from plasticity.report.probes import tasks_of_all as probe_tasks_of_all
from plasticity.report.probes import with_best_of_test
from plasticity.report.responses import side_by_side
from spectra import __version__
from spectra.report.facts import flat
from spectra.report.layout import assemble, static, template

OPEN = 12  # rows of a table that is not folded
PACKAGE = "plasticity.report"
SHARED = ("core.js", "colours.js", "plots.js", "csv.js")
_FIGURES = (
    "scores",
    "loss",
    "probes",
    "ranks",
    "gap",
    "norms",
    "tradeoffs",
    "responses",
)  # sections, for the link that skips to them
OWN = ("axis.js", "scores.js", "bases.js", "training.js", "tables.js", "responses.js")


def render_html(folder: Path) -> str:
    """The page of the experiment in `folder`, from its summary. The same files give the same text.

    Raises:
        SpectraError: there is no summary, or it cannot be read.
    """
    summary = with_best_of_test(summary_file.read(folder))
    placed = frame(str(summary["experiment"]["axis"]), summary["bases"], (*summary["points"], *summary["loss"]))
    drawn = payload(summary, placed, side_by_side(summary, placed, folder))
    drawn["methods"] = words.methods(summary)
    context = _context(summary, drawn) | {
        "ran": words.what_was_run(summary, placed),
        "best": words.best(summary, placed),
    }
    style = f"{static('report.css')}\n{static('experiment.css', PACKAGE)}"
    scripts = [*(static(name) for name in SHARED), *(static(name, PACKAGE) for name in OWN), static("page.js")]
    scripts.append(static("main.js", PACKAGE))
    return assemble(template("experiment.html.j2", PACKAGE), drawn, context, style=style, script="\n".join(scripts))


def write_html(folder: Path, path: Path) -> None:
    """Write the page of `folder` to `path`, whole.

    Raises:
        SpectraError: there is no summary, it cannot be read, or the file cannot be written.
    """
    from spectra.atomic import write_text

    write_text(path, render_html(folder))


def _probe_tasks(bases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tasks of probes, first their mean where there are several."""
    found = list(dict.fromkeys(task for base in bases for task in base["probes"]))
    shared = probe_tasks_of_all(bases)
    return [f"Mean over {len(shared)} probe tasks: {', '.join(shared)}", *found] if len(shared) > 1 else found


def _context(summary: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
    experiment, bases = summary["experiment"], drawn["bases"]
    has = {
        "scores": any(point["v"] is not None for point in drawn["points"]),
        "loss": any(one["v"] is not None for one in drawn["loss"]),
        "probes": any(base["probes"] for base in bases),
        "gap": any(base["gap"]["v"] is not None for base in bases),
        "final": any(base["final"]["pseudo_rank_qk"] is not None for base in bases),
        "training": any(len(base["steps"]) > 1 and base["ranks"] for base in bases),
        "norms": any(len(base["steps"]) > 1 and base["norms"] for base in bases),
        "tradeoffs": bool(summary["statistics"].get("tradeoffs")),
        "stability": any(one["stability"]["v"] is not None for one in drawn["tradeoffs"]),
        "upstream": any(one["upstream"]["v"] is not None for one in drawn["tradeoffs"]),
        "tradeoff_settings": len({one["s"] for one in drawn["tradeoffs"]}) > 1,
        "settings": len(drawn["settings"]) > 1,
        "responses": bool(drawn["responses"]["tasks"]),
        "scratch": any(point["o"] for point in drawn["points"]),
        "before": bool(drawn["before"]),
    }
    has["ranks"] = has["final"] or has["training"]
    return {
        "title": str(experiment["name"]),
        "version": __version__,
        "experiment": experiment,
        "has": has,
        "tables": {table["id"] for table in drawn["tables"]},
        "small_best": len(summary["statistics"].get("best_settings", ())) <= OPEN,
        "small_optimum": len(summary["statistics"].get("optimum", ())) <= OPEN,
        "panels": [
            {"id": f"score-{i}", "name": name[0].upper() + name[1:] if name != task else name}
            for i, (task, name) in enumerate(zip(drawn["tasks"], drawn["names"], strict=True))
        ],
        "means": names.means_told(summary, drawn["tasks"]),
        "probe_tasks": _probe_tasks(bases),
        "doubts": words.doubts(summary),
        "open_pairs": bool(words.ahead(summary)),
        "first": next((name for name in _FIGURES if has[name]), "verdict"),
        "axis": drawn["axis"]["title"],
        "leader": leader(summary, drawn["axis"]["title"]),
        "headline": words.headline(summary),
        "asked": [*words.ahead(summary), *words.asked(summary)],
        "warnings": [str(warning) for warning in summary["warnings"]],
        "standing": words.standing(summary),
        "pending": [str(label) for label in summary.get("pending", ())],
        "absent": words.absent(summary, has, unread=len(drawn["responses"]["why"])),
        "not_said": words.NOT_SAID,
        "glossary": words.glossary(summary),
        "methods": drawn["methods"],
        "provenance": [line for key, value in summary["provenance"].items() for line in flat(value, str(key))],
        "unread": drawn["responses"]["why"],
    }
