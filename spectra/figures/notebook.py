"""What a notebook shows for an Analysis: a line a role, what stands out, and two small figures. Static, no script."""

from __future__ import annotations

import base64
import io
import math
from html import escape
from typing import TYPE_CHECKING

from spectra import summary
from spectra.figures import draw, style
from spectra.types import Analysis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    ("alpha_hill", "Hill alpha", ".2f"), ("alpha_gof", "GoF alpha", ".2f"), ("stable_rank", "stable rank", ".1f"),
    ("effective_rank", "effective rank", ".1f"), ("pseudo_rank", "pseudo-rank", ".3f"), ("spectral_norm", "spectral norm", ".3g"),
)  # fmt: skip
_ODD_SHOWN = 5


def html(analysis: Analysis) -> str:
    """An HTML fragment; every name from a file is escaped."""
    cover = summary.coverage_summary(analysis)
    parts = [
        f"<b>{escape(str(analysis.provenance.get('source')))}</b>: {len(analysis.matrices)} matrices, "
        f"{len(analysis.circuits)} circuits, {100 * cover.share:.2f}% of {cover.parameters:,} parameters",
        _table(analysis),
        "<small>medians over the role; in brackets, the median difference from random matrices of the same shape</small>",
    ]
    odd = summary.odd_matrices(analysis)
    if odd:
        lines = "".join(f"<li><code>{escape(o.name)}</code>: {escape(o.reasons[0])}</li>" for o in odd[:_ODD_SHOWN])
        more = f" ({len(odd) - _ODD_SHOWN} more in spectra.summary)" if len(odd) > _ODD_SHOWN else ""
        parts.append(f"odd among their role{more}:<ul>{lines}</ul>")
    failed = [f"{len(f.names)} x {f.what} {f.status}" for f in summary.failures(analysis)]
    if failed:
        parts.append(f"without a number: {escape('; '.join(failed))}")
    parts.append(_figures(analysis))
    return "<div>" + "<br>".join(part for part in parts if part) + "</div>"


def _table(analysis: Analysis) -> str:
    head = "".join(f"<th>{title}</th>" for title in ("role", "n", *(title for _, title, _ in _COLUMNS)))
    rows = []
    for line in summary.role_lines(analysis):
        cells = [f"<td>{escape(line.role)}</td><td>{line.count}</td>"]
        for column, _, form in _COLUMNS:
            value, excess = line.medians[column], line.excess[column]
            shown = "-" if math.isnan(value) else format(value, form)
            beside = "" if math.isnan(excess) else f" ({excess:+{form}})"
            cells.append(f"<td>{shown}{beside}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _figures(analysis: Analysis) -> str:
    import matplotlib

    images = []
    for make, words in ((draw.alpha_by_layer, "Hill alpha by layer"), (draw.circuits_by_layer, "circuits by layer")):
        with matplotlib.rc_context(style.RC):
            made = make(analysis)
            if made is not None:
                images.append(f'<img alt="{words}" width="400" src="data:image/png;base64,{_png(made)}">')
    return "".join(images)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
