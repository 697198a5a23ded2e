"""An Analysis as text for the terminal. Reads results; computes nothing but what `spectra.summary` offers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spectra import summary
from spectra.types import Analysis

_NAMES_SHOWN = 3


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown + (f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else "")


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"


def print_summary(analysis: Analysis, console: Console) -> None:
    """What was analysed, one line a role, circuits, what stands out, what failed, coverage, time."""
    made = analysis.provenance
    console.print(Text(f"{made['source']}  ({made['format']}, {len(analysis.matrices)} matrices)", style="bold"))
    _print_roles(analysis, console)
    _print_circuits(analysis, console)
    _print_findings(analysis, console)
    _print_coverage(analysis, console)


def _print_roles(analysis: Analysis, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("role", "n", "shape"):
        table.add_column(name, justify="left" if name != "n" else "right")
    for name in (
        "Hill",
        "-null",
        "GoF",
        "fixf",
        "stable rk",
        "/null",
        "pseudo",
        "-null",
        "spec norm",
        "spikes",
        "failed",
    ):
        table.add_column(name, justify="right")
    for line in summary.role_lines(analysis):
        mean, excess = line.means, line.excess
        null_rank = mean["stable_rank"] - excess["stable_rank"]
        table.add_row(
            line.role,
            str(line.count),
            _shape(line.shapes[0]) + (f" +{len(line.shapes) - 1}" if len(line.shapes) > 1 else ""),
            _number(mean["alpha_hill"]),
            _number(excess["alpha_hill"], "+.2f"),
            _number(mean["alpha_gof"]),
            _number(mean["alpha_fix_finger"]),
            _number(mean["stable_rank"], ".1f"),
            _number(mean["stable_rank"] / null_rank if null_rank else None),
            _number(mean["pseudo_rank"], ".3f"),
            _number(excess["pseudo_rank"], "+.3f"),
            _number(mean["spectral_norm"], ".3g"),
            _number(mean["n_spikes"], ".1f"),
            str(line.failed) if line.failed else "",
        )
    console.print(table)
    console.print(
        Text(
            "means over the role; Hill, GoF, fixf: power-law alpha; null: a random matrix of the same shape and norm",
            style="dim",
        )
    )


def _print_circuits(analysis: Analysis, console: Console) -> None:
    labels = {"qk": "W_QK", "vp": "W_VP"}
    for kind, mean in summary.circuit_means(analysis):
        console.print(
            f"{labels[kind]} per head ({mean['count']:.0f}): pseudo-rank {_number(mean['pseudo_rank'], '.3f')} of d_head "
            f"(random {_number(mean['null_pseudo_rank'], '.3f')}, lowest {_number(mean['min_pseudo_rank'], '.3f')}), "
            f"effective rank {_number(mean['effective_rank'], '.1f')}, spectral norm {_number(mean['spectral_norm'], '.3g')}",
            markup=False,
            highlight=False,
        )


def _print_findings(analysis: Analysis, console: Console) -> None:
    odd = summary.odd_matrices(analysis)
    if odd:
        console.print(Text(f"\nodd among their role ({len(odd)})", style="bold"))
        for found in odd[: summary.MAX_ODD]:
            console.print(
                f"  {found.name}: {'; '.join(found.reasons[:2])}", markup=False, highlight=False, soft_wrap=True
            )
        if len(odd) > summary.MAX_ODD:
            console.print(Text(f"  and {len(odd) - summary.MAX_ODD} more", style="dim"))
    random = summary.like_random(analysis)
    if random:
        _say(console, f"not told from a random matrix of their shape ({len(random)}): {_names(random)}")
    for failure in summary.failures(analysis):
        what = "no spectrum" if failure.what == "matrix" else f"no {failure.what}"
        _say(console, f"{what}, {failure.status} ({len(failure.names)}): {_names(failure.names)}")
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
    for reason, count in sorted(found.skipped.items(), key=lambda item: -item[1])[:5]:
        _say(console, f"  skipped {count}: {reason}")
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
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("matrix", overflow="fold")
    for name in ("shape", *(label for _, label, _ in _FULL), "Hill z", "status"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in analysis.matrices:
        cells = []
        for column, _, form in _FULL:
            value = row.values.get(column)
            cells.append(format(value, form) if isinstance(value, (int, float)) else "-")
        hill = row.null.get("alpha_hill")
        cells.append(_number(hill.z if hill else None, "+.1f"))
        states = [row.status] if row.status != "ok" else [row.values.get(f"{name}_status") for name in _ALPHAS]
        bad = dict.fromkeys(str(state) for state in states if state not in ("ok", "not_requested"))
        status_text = ", ".join(bad) or "ok"
        table.add_row(Text(row.ref.name), _shape((row.ref.rows, row.ref.cols)), *cells, status_text)
    console.print(table)
