"""How every figure looks: one column wide (3.3 in), 8 pt text, colour-blind-safe colours, no global matplotlib state.

Roles keep their colour from figure to figure (Okabe and Ito's palette); quantities use viridis, differences from the null a
diverging map centred at 0. Lines differ in marker too, so that a grey print can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN = 3.3  # inches: one column of a two-column paper
WIDE = 6.8

_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
_MARKERS = "osD^vP*X"

RC: Any = {  # matplotlib types the keys as a literal of 300 names
    "font.size": 8, "axes.labelsize": 8, "axes.titlesize": 8, "legend.fontsize": 6.5, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "axes.linewidth": 0.6, "lines.linewidth": 1.0, "lines.markersize": 2.5, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "savefig.dpi": 300, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "spectra",
}  # fmt: skip


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the index-th line."""
    return {"color": _PALETTE[index % len(_PALETTE)], "marker": _MARKERS[index % len(_MARKERS)]}


def figure(width: float = COLUMN, height: float = 2.3, rows: int = 1, cols: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` x `cols` axes that no window manager knows of."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(RC):
        made = Figure(figsize=(width, height), layout="constrained")
        axes = made.subplots(rows, cols, squeeze=False)
    return made, [axis for row in axes for axis in row]


def plain(name: str) -> str:
    """A name as text: matplotlib reads dollar signs as formulas."""
    return "".join(c if c.isprintable() else "?" for c in name).replace("$", r"\$")


def finite(values: Sequence[float | None]) -> list[float]:
    """None as NaN, which matplotlib leaves out."""
    return [float("nan") if value is None else value for value in values]
