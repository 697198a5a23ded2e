"""An Analysis as text for the terminal. Reads results; computes nothing but what `spectra.summary` offers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectra import metrics, summary
from spectra.compare import Comparison, Pair, verdict
from spectra.errors import SpectraError
from spectra.track import Track
from spectra.types import ROLES, Analysis

_NAMES_SHOWN = 3
_REASONS_SHOWN = 5


class Output(Console):
    """A console that lets the caller decide what a closed pipe means (rich would exit with 1)."""

    def on_broken_pipe(self) -> None:
        """Raise it again."""
        raise BrokenPipeError


def report_width(width: int) -> Output:
    """Standard output: as wide as the terminal, or `width` where it goes to a file or a pipe."""
    console = Output()
    return console if console.is_terminal else Output(width=width)


def print_written(paths: Iterable[Path]) -> None:
    """Name the files that were written, unwrapped, so that they can be copied."""
    console = Output()
    for path in paths:
        _say(console, f"wrote {path}")


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(_clean(name) for name in names[:_NAMES_SHOWN])
    return shown + (f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else "")


def _clean(name: str) -> str:
    """A name from a file, with what could steer the terminal made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"


def print_summary(analysis: Analysis, console: Console) -> None:
    """What was analysed, one line a role, circuits, what stands out, what failed, coverage, time."""
    made = analysis.provenance
    console.print(
        Text(f"{_clean(str(made['source']))}  ({made['format']}, {len(analysis.matrices)} matrices)", style="bold")
    )
    _print_roles(analysis, console)
    _print_circuits(analysis, console)
    _print_findings(analysis, console)
    _print_coverage(analysis, console)


# Columns of the role table that give way on a narrow terminal, the first one first.
_LESSER = ("spikes", "spec norm", "fixf", "/null", "stable rk", "shape")


def _print_roles(analysis: Analysis, console: Console) -> None:
    rows = []
    for line in summary.role_lines(analysis):
        mean, excess = line.medians, line.excess
        null_rank = mean["stable_rank"] - excess["stable_rank"]
        rows.append(
            {
                "role": line.role,
                "n": str(line.count),
                "shape": _shape(line.shapes[0]) + (f" +{len(line.shapes) - 1}" if len(line.shapes) > 1 else ""),
                "Hill": _number(mean["alpha_hill"]),
                "-null": _number(excess["alpha_hill"], "+.2f"),
                "GoF": _number(mean["alpha_gof"]),
                "fixf": _number(mean["alpha_fix_finger"]),
                "stable rk": _number(mean["stable_rank"], ".1f"),
                "/null": _number(mean["stable_rank"] / null_rank if null_rank else None),
                "pseudo": _number(mean["pseudo_rank"], ".3f"),
                "-null ": _number(excess["pseudo_rank"], "+.3f"),
                "spec norm": _number(mean["spectral_norm"], ".3g"),
                "spikes": _number(mean["n_spikes"], ".1f"),
                "failed": str(line.failed) if line.failed else "",
            }
        )
    if not any(row["failed"] for row in rows):
        rows = [{name: cell for name, cell in row.items() if name != "failed"} for row in rows]
    _print_table(rows, ("role", "shape"), _LESSER, console)
    caption = (
        "medians over the role; Hill, GoF, fixf: power-law alpha; null: a random matrix of the same shape and norm"
    )
    console.print(Text(caption, style="dim"))


def _print_table(
    rows: Sequence[Mapping[str, str]], left: Sequence[str], lesser: Sequence[str], console: Console
) -> None:
    """Rows as a table; the `lesser` columns are left out, in that order, until it fits the width of the console."""
    names = list(rows[0]) if rows else []
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    for name in lesser:
        if sum(widths[n] + 2 for n in names) - 2 <= console.width:
            break
        if name in names:
            names.remove(name)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.strip(), justify="left" if name in left else "right", no_wrap=name not in left)
    for row in rows:
        table.add_row(*(Text(row[name]) for name in names))
    console.print(table)


_LABELS = {"qk": "W_QK", "vp": "W_VP"}


def _print_circuits(analysis: Analysis, console: Console) -> None:
    for line in summary.circuit_lines(analysis):
        low, mean = line.lowest, line.means
        module, share = line.lowest_layer
        parts = [
            f"pseudo-rank {_number(mean['pseudo_rank'], '.3f')} of d_head (random {_number(line.null_pseudo_rank, '.3f')})",
            f"lowest layer {_clean(module)} {share:.3f}",
            f"lowest head {low.head} of {_clean(low.module)} {_number(summary.number(low, 'pseudo_rank'), '.3f')}",
            f"effective rank {_number(mean['effective_rank'], '.1f')}",
            f"spectral norm {_number(mean['spectral_norm'], '.3g')}",
        ]
        if math.isfinite(line.summed):
            parts.append(f"all heads summed {line.summed:.3f} of d_model")
        _say(console, f"{_LABELS[line.kind]}, mean of {line.count} heads: {'; '.join(parts)}")


def print_circuits(analysis: Analysis, console: Console) -> None:
    """Pseudo-rank of the circuits of every attention module: mean and least over its heads."""
    layers = {
        kind: summary.circuit_layers(c for c in analysis.circuits if c.kind == kind and c.status == "ok")
        for kind in _LABELS
    }
    rows = []
    for module in dict.fromkeys(c.module for c in analysis.circuits):
        made = {"attention": _clean(module)}
        for kind, label in _LABELS.items():
            mean, least = layers[kind].get(module, (None, None))
            made |= {f"{label} mean": _number(mean, ".3f"), f"{label} lowest": _number(least, ".3f")}
        rows.append(made)
    if rows:
        _print_table(rows, ("attention",), (), console)


def _print_findings(analysis: Analysis, console: Console) -> None:
    for failure in summary.failures(analysis):
        bad = failure.status == "non_finite"
        what = "NaN or infinite entries" if bad else f"no {'spectrum' if failure.what == 'matrix' else failure.what}"
        names = _names(failure.names)
        text = Text(f"{what}, {failure.status} ({len(failure.names)}): {names}", style="bold red" if bad else "")
        console.print(text, soft_wrap=True)
    odd = summary.odd_matrices(analysis)
    if odd:
        console.print(Text(f"\nodd among their role ({len(odd)})", style="bold"))
        for found in odd[: summary.MAX_ODD]:
            _say(console, f"  {_clean(found.name)}: {'; '.join(found.reasons[:2])}")
        if len(odd) > summary.MAX_ODD:
            console.print(Text(f"  and {len(odd) - summary.MAX_ODD} more", style="dim"))
    alone = summary.uncompared(analysis)
    if alone:
        _say(console, f"not compared among their role: {alone} (fewer than {summary.MIN_PEERS} of that role and shape)")
    random = summary.like_random(analysis)
    if random:
        _say(console, f"not told from a random matrix of their shape ({len(random)}): {_names(random)}")
    for line in summary.doubts(analysis):
        _say(console, line)
    short = summary.small_tails(analysis)
    if short:
        _say(
            console,
            f"goodness-of-fit tail under 50 eigenvalues: {short} of {len(analysis.matrices)} (alpha is uncertain there)",
        )


def _print_coverage(analysis: Analysis, console: Console) -> None:
    found = summary.coverage_summary(analysis)
    parts = [f"{found.counts[d]} {d}" for d in ("analysed", "split", "tied", "skipped") if d in found.counts]
    _say(console, f"\ncoverage: {len(analysis.coverage)} tensors: {', '.join(parts)}; {100 * found.share:.2f}% of "
                  f"{found.parameters:,} parameters")  # fmt: skip
    reasons = sorted(found.skipped.items(), key=lambda item: -item[1])
    for reason, count in reasons[:_REASONS_SHOWN]:
        _say(console, f"  skipped {count}: {reason}")
    if len(reasons) > _REASONS_SHOWN:
        _say(
            console,
            f"  and {sum(count for _, count in reasons[_REASONS_SHOWN:])} for other reasons (see the ledger in --out)",
        )
    for note in analysis.notes:
        _say(console, f"note: {note}")
    made = analysis.provenance
    _say(console, f"{made['seconds']:.1f} s on {made['device']}, {made['workers']} workers, {made['precision']}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


_FULL = (
    ("alpha_hill", "Hill", ".3f"), ("alpha_gof", "GoF", ".3f"), ("alpha_gof_stderr", "+-", ".3f"),
    ("alpha_gof_tail_size", "tail", "d"), ("alpha_fix_finger", "fixf", ".3f"), ("spectral_norm", "spec", ".4g"),
    ("frobenius_norm", "frob", ".4g"), ("stable_rank", "stable", ".1f"), ("effective_rank", "eff", ".1f"),
    ("numerical_rank", "rank", "d"), ("pseudo_rank", "pseudo", ".3f"), ("n_spikes", "spikes", "d"),
)  # fmt: skip

_ALPHAS = ("alpha_hill", "alpha_gof", "alpha_fix_finger")


def print_full(analysis: Analysis, console: Console) -> None:
    """One line a matrix."""
    rows = []
    for row in analysis.matrices:
        made = {"matrix": _clean(row.ref.name), "role": row.ref.role, "shape": _shape((row.ref.rows, row.ref.cols))}
        for column, label, form in _FULL:
            value = row.values.get(column)
            made[label] = format(value, form) if isinstance(value, (int, float)) else "-"
        hill = row.null.get("alpha_hill")
        made["Hill z"] = _number(hill.z if hill else None, "+.1f")
        states = [row.status] if row.status != "ok" else [row.values.get(f"{name}_status") for name in _ALPHAS]
        bad = dict.fromkeys(str(state) for state in states if state not in ("ok", "not_requested"))
        made["status"] = ", ".join(bad) or "ok"
        rows.append(made)
    _print_table(
        rows,
        ("matrix",),
        ("eff", "frob", "fixf", "spikes", "rank", "+-", "tail", "role", "shape", "stable", "spec"),
        console,
    )


def print_metrics(name: str | None, console: Console) -> None:
    """What one metric is; without a name, a line each."""
    if name is None:
        groups = (
            ("matrices", metrics.MATRIX_METRICS), ("--uncertainty", metrics.UNCERTAINTY_METRICS),
            ("attention circuits", metrics.CIRCUIT_METRICS), ("updates, spectra compare", metrics.UPDATE_METRICS),
        )  # fmt: skip
        for title, group in groups:
            console.print(Text(title, style="bold"))
            rows = [{"column": f"  {m.name}", "meaning": m.title, "unit": m.unit, "range": m.range} for m in group]
            _print_table(rows, ("column", "meaning"), ("range", "unit"), console)
        return
    for metric in metrics.lookup(name):
        special = {"attention circuits": metrics.CIRCUIT_METRICS, "updates": metrics.UPDATE_METRICS}
        of = next((what for what, group in special.items() if metric in group), "matrices")
        console.print(Text(f"{metric.name} ({of}): {metric.title}", style="bold"))
        lines = {
            "formula": metric.formula, "unit": metric.unit, "range": metric.range, "source": metric.source,
            "beside a random matrix": "yes" if metric.null else "no", "careful": metric.caution,
        }  # fmt: skip
        for label, text in lines.items():
            if text:
                _say(console, f"  {label}: {text}")


def print_comparison(found: Comparison, console: Console, *, full: bool) -> None:
    """The verdict, one line a role, what has no counterpart; with `full`, one line a matrix."""
    source = found.provenance
    _say(console, f"A {_clean(str(source['a']['source']))}\nB {_clean(str(source['b']['source']))}")
    if full:
        _print_table(
            [_pair(pair) for pair in found.pairs], ("matrix",), ("d stable", "d pseudo", "d spec", "overlap"), console
        )
    by_role: dict[str, list[Pair]] = {}
    for pair in found.pairs:
        by_role.setdefault(pair.a.role, []).append(pair)
    rows = [_role_of_pairs(role, by_role[role]) for role in ROLES if role in by_role]
    _print_table(rows, ("role",), ("d stable", "d pseudo", "d spec"), console)
    caption = "medians over the role; d: B - A; rank, size: of the update, and its norm over that of A"
    console.print(Text(caption, style="dim"))
    for line in verdict(found):
        _say(console, line)
    for label, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            _say(console, f"only in {label} ({len(names)}): {_names(names)}")


_DIFFERENCES = (("alpha_hill", "d Hill", "+.3f"), ("alpha_gof", "d GoF", "+.3f"), ("stable_rank", "d stable", "+.2f"),
                ("pseudo_rank", "d pseudo", "+.3f"), ("spectral_norm", "d spec", "+.3g"))  # fmt: skip


def _pair(pair: Pair) -> dict[str, str]:
    made = {"matrix": _clean(pair.a.name)} | {
        label: _number(pair.differences[name], form) for name, label, form in _DIFFERENCES
    }
    if pair.update is not None:
        made |= _update(pair.update.rank, pair.update.relative_norm, pair.update.overlap)
    return made


def _update(rank: float | None, size: float | None, overlap: float | None) -> dict[str, str]:
    return {"rank": _number(rank, ".0f"), "size": _number(size, ".3g"), "overlap": _number(overlap, ".3f")}


def _role_of_pairs(role: str, pairs: Sequence[Pair]) -> dict[str, str]:
    made = {"role": role, "n": str(len(pairs))}
    for name, label, form in _DIFFERENCES:
        made[label] = _number(_middle([pair.differences[name] for pair in pairs]), form)
    updates = [pair.update for pair in pairs if pair.update is not None]
    if updates:
        made["changed"] = str(sum(u.status != "unchanged" for u in updates))
        made |= _update(
            _middle([u.rank for u in updates]),
            _middle([u.relative_norm for u in updates]),
            _middle([u.overlap for u in updates]),
        )
    return made


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


_BLOCKS = "▁▂▃▄▅▆▇█"
_TRACKED = (("alpha_hill", "Hill alpha", ".2f"), ("alpha_gof", "GoF alpha", ".2f"), ("stable_rank", "stable rank", ".1f"),
            ("pseudo_rank", "pseudo-rank", ".3f"), ("spectral_norm", "spectral norm", ".3g"),
            ("frobenius_norm", "Frobenius norm", ".3g"))  # fmt: skip


def sparkline(series: Sequence[float | None]) -> str:
    """One character a value, lowest to highest of the series; a dot where there is none."""
    known = [v for v in series if v is not None]
    if not known:
        return "." * len(series)
    low, span = min(known), max(known) - min(known)
    if span <= 1e-9 * max(abs(v) for v in known):
        return "".join("." if v is None else _BLOCKS[3] for v in series)
    return "".join("." if v is None else _BLOCKS[round((v - low) / span * (len(_BLOCKS) - 1))] for v in series)


def _trajectory(label: str, series: Sequence[float | None], form: str) -> dict[str, str]:
    return {
        "": label, "over training": sparkline(series), "first": _number(series[0], form), "last": _number(series[-1], form)
    }  # fmt: skip


def print_track(found: Track, layers: Sequence[int] | None, console: Console) -> None:
    """Sparklines: medians by role, circuits of some layers, shares of the norm."""
    _say(console, f"{len(found.steps)} checkpoints, step {found.steps[0]} to {found.steps[-1]}")
    for column, title, form in _TRACKED:
        console.print(Text(f"\n{title} (median of the role)", style="bold"))
        rows = [_trajectory(role, columns[column], form) for role, columns in found.roles.items()]
        _print_table(rows, ("", "over training"), (), console)
    modules = list(found.circuits)
    chosen = layers if layers is not None else sorted({0, len(modules) // 2, len(modules) - 1}) if modules else []
    missing = [i for i in chosen if not 0 <= i < len(modules)]
    if missing:
        raise SpectraError(f"--layers {missing[0]}: the run has attention layers 0 to {len(modules) - 1}.")
    if chosen:
        console.print(Text("\npseudo-rank of the circuits, mean over heads (k / d_head)", style="bold"))
        rows = [
            _trajectory(f"{_LABELS[kind]} {_clean(modules[i])}", found.circuits[modules[i]][kind], ".3f")
            for i in chosen
            for kind in _LABELS
        ]
        _print_table(rows, ("", "over training"), (), console)
    console.print(Text("\nshare of the norm of all weight matrices, ||group|| / ||all||", style="bold"))
    groups = [_trajectory(group, series, ".3f") for group, series in found.norms.items()]
    _print_table(groups[:_GROUPS_SHOWN], ("", "over training"), (), console)
    if len(groups) > _GROUPS_SHOWN:
        _say(console, f"and {len(groups) - _GROUPS_SHOWN} more (see --out)")


_GROUPS_SHOWN = 12
