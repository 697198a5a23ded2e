"""Results of a study as Markdown. Reads the plain data of `study_results`, computes nothing and adds no number to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]
_NONE = "-"
_KINDS = {"hill": "Hill", "hill_null_corrected": "Hill, null-corrected"}


def markdown(results: Data) -> str:
    """The report, sections in the order: what came out, setup, tuning, results, comparisons, alphas, limits, how to repeat it."""
    study = results["study"]
    lines = [f"# {study['name']}", "", f"{study['description']}.", ""]
    for name, part in results["parts"].items():
        lines += [f"## Part {name}", "", _progress(part), ""]
        lines += [*_section("What came out", _came_out(study, part)), *_section("Setup", [_setup(study, part)])]
        lines += _section("Base decays", _tuning(part))
        lines += _section("Validation perplexity", _perplexity(part))
        for family, title in (
            ("reference", f"Every arm against {study['reference']}"),
            ("focus", f"{study['focus']} against every arm"),
        ):
            lines += _section(title, _comparisons(part["comparisons"][family]))
        lines += _section("Alphas over modules", _alphas(part))
    for name in results["not_begun"]:
        lines += [f"## Part {name}", "", "Not run.", ""]
    lines += ["## How to read the comparisons", "", *_reading(), ""]
    lines += ["## What this study does not say", "", *_limits(study), ""]
    lines += ["## Repeat it", "", *_repeat(study, results["provenance"]), ""]
    lines += ["## Provenance", "", *_provenance(results["provenance"])]
    return "\n".join(lines) + "\n"


def _section(title: str, body: Iterable[str]) -> list[str]:
    return [f"### {title}", "", *body, ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    made = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *made]


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _range(low: float | None, high: float | None, form: str) -> str:
    return _NONE if low is None or high is None else f"{low:{form}} to {high:{form}}"


def _progress(part: Data) -> str:
    told = f"{part['done']} of {part['planned']} runs done."
    if part["done"] < part["planned"]:
        told += " **Not complete: what follows may change.**"
    for one in part["failed"]:
        told += f" Failed: {one['arm']}, base {one['base']:g}, seed {one['seed']} ({one['reason']})."
    return told


def _came_out(study: Data, part: Data) -> list[str]:
    """The comparisons as sentences."""
    said = []
    if part["arms"]:
        best = min(part["arms"], key=lambda arm: float(part["arms"][arm]["loss"]["mean"]))
        said.append(f"- Least mean loss: {best} ({part['arms'][best]['loss']['mean']:.4f}).")
    focus, reference = part["comparisons"]["focus"], part["comparisons"]["reference"]
    said.append(f"- {study['focus']}: {_verdicts(focus, 'against')}.")
    said.append(f"- Against {study['reference']}: {_verdicts(reference, 'arm')}.")
    edges = [f"{arm} ({found['edge']} end)" for arm, found in part["tuning"].items() if found["edge"]]
    if edges:
        said.append(
            f"- The chosen base stands at the edge of its grid, and the best may lie beyond: {', '.join(edges)}."
        )
    return said


def _verdicts(rows: Sequence[Data], other: str) -> str:
    words = {
        "lower": "lower perplexity",
        "higher": "higher perplexity",
        "undecided": "no difference shown",
        None: "no test yet",
    }
    joint = "than" if other == "against" else "by"
    told = []
    for verdict, word in words.items():
        of = [str(row[other]) for row in rows if row["verdict"] == verdict]
        if of:
            between = f" {joint} " if verdict in ("lower", "higher") else (" against " if other == "against" else ": ")
            told.append(f"{word}{between}{', '.join(of)}")
    return "; ".join(told)


def _setup(study: Data, part: Data) -> str:
    of = part["setup"]
    if not of:
        return "No run has ended yet."
    low, high = of["ratio"]
    return (
        f"{of['family']}, {of['parameters']:,} parameters, vocabulary {of['vocabulary']}, corpus {of['source']}; {of['steps']:,} "
        f"steps of {of['batch_size']} x {of['window']} tokens ({of['tokens']:,} in all), {of['optimizer']}, lr {of['lr']:g}, "
        f"betas {of['beta1']:g} and {of['beta2']:g}, {of['schedule']} to {of['floor']:g} of it, warmup {of['warmup']:g}, clip "
        f"{of['clip']:g}, {of['precision']}. AlphaDecay: multiples {low:g} to {high:g} of the base, a gap of {of['gap']} steps; "
        f"AWD: {of['awd_factor']:g} times the base. Validation: {of['evaluated_tokens']:,} predicted tokens, the same in every "
        f"run. Base decays are chosen on seed {study['tuning_seed']}, arms compared on seeds "
        f"{', '.join(str(seed) for seed in study['seeds'])}; a seed decides initial weights and the order of the data."
    )


def _tuning(part: Data) -> list[str]:
    rows = []
    for arm, found in part["tuning"].items():
        cells = []
        for one in found["bases"]:
            shown = _number(one["perplexity"], ".4f") if one["status"] == "done" else one["status"]
            text = f"{one['base']:g}: {shown}"
            cells.append(f"**{text}**" if found["chosen"] == one["base"] else text)
        edge = f"{found['edge']} end of the grid" if found["edge"] else ""
        rows.append([arm, "; ".join(cells), _number(found["chosen"], "g"), edge])
    return _table(["arm", "base: perplexity on the tuning seed", "chosen", "note"], rows)


def _perplexity(part: Data) -> list[str]:
    if not part["arms"]:
        return ["No run on a fresh seed has ended yet."]
    rows = []
    for arm, found in part["arms"].items():
        loss, perplexity, decay = found["loss"], found["perplexity"], found["decay"]
        rows.append([
            arm, f"{found['base']:g}", str(loss["n"]), f"{loss['mean']:.4f}", _number(loss["sd"], ".4f"),
            _range(loss["low"], loss["high"], ".4f"), f"{perplexity['mean']:.4f}", _number(perplexity["sd"], ".4f"),
            _range(perplexity["low"], perplexity["high"], ".4f"), _range(decay["least"], decay["greatest"], ".3g"),
        ])  # fmt: skip
    head = ["arm", "base", "seeds", "loss", "sd", "95% interval", "perplexity", "sd", "95% interval", "decays applied"]
    seeds = ", ".join(str(seed) for seed in part["complete_seeds"]) or "none yet"
    return [
        *_table(head, rows),
        "",
        f"Seeds with every arm: {seeds}. Intervals of single arms do not decide between arms: pairs do.",
    ]


def _comparisons(rows: Sequence[Data]) -> list[str]:
    made = []
    for row in rows:
        label = f"{row['arm']} - {row['against']}"
        if row["difference"] is None:
            made.append([label, "0", *[_NONE] * 6, "no pairs yet"])
            continue
        gap, change = row["difference"], row["perplexity_change"]
        made.append([
            label, str(gap["n"]), f"{gap['mean']:+.5f}", _range(gap["low"], gap["high"], "+.5f"),
            f"{change['mean']:+.3%}", _number(row["p"], ".3g"), _number(row["p_holm"], ".3g"),
            _effect(row),
            _verdict(row),
        ])  # fmt: skip
    head = [
        "pair",
        "seeds",
        "loss difference",
        "95% interval",
        "perplexity",
        "p",
        "p (Holm)",
        "d_z (95% interval)",
        "perplexity of the first",
    ]
    return _table(head, made)


def _effect(row: Data) -> str:
    if row["effect"] is None:
        return _NONE
    return f"{row['effect']:+.2f} ({_range(row['effect_low'], row['effect_high'], '+.2f')})"


def _verdict(row: Data) -> str:
    words = {"undecided": "no difference shown", "lower": "lower", "higher": "higher"}
    return words.get(str(row["verdict"]), str(row["status"]).replace("_", " "))


def _alphas(part: Data) -> list[str]:
    lines: list[str] = []
    for kind in dict.fromkeys(kind for arm in part["arms"].values() for kind in arm["alphas"]):
        found = {arm: of["alphas"][kind] for arm, of in part["arms"].items()}
        roles = list(dict.fromkeys(role for of in found.values() for role in of["roles"]))
        rows = [
            [
                arm,
                str(of["modules"]),
                _number(of["mean"], ".3f"),
                _number(of["sd"], ".3f"),
                _range(of["min"], of["max"], ".2f"),
            ]
            + [_number(of["roles"].get(role), ".2f") for role in roles]
            for arm, of in found.items()
        ]
        head = ["arm", "modules", "mean", "sd over modules", "least to greatest", *roles]
        lines += [f"{_KINDS.get(kind, kind)}, final weights:", "", *_table(head, rows), ""]
    return lines[:-1] or ["No run on a fresh seed has ended yet."]


def _reading() -> list[str]:
    return [
        "Loss is the mean cross entropy in nats a token, the logarithm of perplexity. A difference is taken seed by seed (same",
        "initial weights, same order of the data, same validation windows); negative: the first arm is better. p is that of the",
        "dependent t-test, two-sided; Holm's correction is over the rows of one table, and the last column goes by it at 0.05.",
        "d_z is the mean difference over the standard deviation of the differences; its interval inverts the noncentral t",
        "distribution and is not corrected for few pairs. *No difference shown* is not *no difference*: read the interval.",
    ]


def _limits(study: Data) -> list[str]:
    """What holds for every study, then what its file says of itself."""
    seeds = len(study["seeds"])
    said = [
        f"{seeds} {'pair shows' if seeds == 1 else 'pairs show'} only differences that are large beside their spread over seeds.",
        "The base decay was chosen among few values on one seed, with that seed's noise (compare the tuning table with the sd over "
        "seeds); nothing else was chosen an arm. Equal bases are not equal decays: "
        "AlphaDecay, AWD and AdaDecay multiply theirs, so arms are compared at their chosen bases only.",
        "Seeds vary initial weights and data order. Corpus, tokenizer and validation windows are the same throughout: nothing is "
        "said about others.",
        *study["limits"],
    ]
    return [f"- {line}" for line in said]


def _repeat(study: Data, provenance: Data) -> list[str]:
    parts = " or ".join(f"`--part {part}`" for part in study["parts"])
    return [
        "```",
        f"plasticity study {study['name']} --out DIR --workers 2",
        "plasticity study --report DIR",
        "```",
        "",
        f"{parts} runs one part. Stopped at any time, the first command goes on where it was. The {provenance['runs']} runs "
        f"reported here took {provenance['run_hours']:g} hours of workers of {provenance['threads']} thread, on a machine of "
        f"{provenance['cpu_count']} cores; divide by the number of workers.",
    ]


def _provenance(of: Data) -> list[str]:
    libraries = ", ".join(f"{name} {version}" for name, version in of["libraries"].items())
    lines = [
        f"- Runs ended between {of['began']} and {of['ended']}.",
        f"- {', '.join(of['platform'])}; {', '.join(of['device'])}; {libraries}.",
        f"- Commit {', '.join(of['commit'])}; SHA-256 of the sources {', '.join(of['sources'])}.",
        f"- Data {', '.join(of['data'])}.",
    ]
    if len(of["sources"]) > 1:
        lines.append("- The runs were not all made with the same sources.")
    return lines
