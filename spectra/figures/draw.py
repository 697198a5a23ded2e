"""The figures of an analysis and of a track, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spectra.atomic import make_folder, write_whole
from spectra.errors import SpectraError
from spectra.figures import style
from spectra.track import Track
from spectra.types import ROLES, Analysis, MatrixRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
_FITS = (("alpha_hill", "Hill"), ("alpha_gof", "goodness-of-fit"), ("alpha_fix_finger", "fix-finger"))
_LABELS = {"qk": r"$W_{QK}$", "vp": r"$W_{VP}$"}


def draw_analysis(analysis: Analysis, folder: Path, formats: str, matrices: Sequence[str] = ()) -> list[Path]:
    """Every figure that the analysis has data for: `alpha`, `heatmap`, `circuits`, `norms`, and an `esd-...` per matrix named.

    Raises:
        SpectraError: an unknown format or matrix name, or the folder cannot be written.
    """
    by_name = {row.ref.name: row for row in analysis.matrices}
    for name in matrices:
        if name not in by_name:
            raise SpectraError(f"No matrix {name!r} in this analysis. The first is {next(iter(by_name), '(none)')}.")
    chosen = [by_name[name] for name in matrices] or _typical(analysis)
    made: dict[str, Callable[[], Figure | None]] = {
        "alpha": lambda: alpha_by_layer(analysis),
        "heatmap": lambda: heatmap(analysis),
        "circuits": lambda: circuits_by_layer(analysis),
        "norms": lambda: norms_by_layer(analysis),
    }
    for row in chosen:
        made[f"esd-{_file_name(row.ref.name)}"] = lambda row=row: esd(row)  # type: ignore[misc]
    return _write(made, folder, formats)


def draw_track(track: Track, folder: Path, formats: str) -> list[Path]:
    """`trajectories` by role, `circuits` by layer and `norms` over training steps.

    Raises:
        SpectraError: an unknown format, or the folder cannot be written.
    """
    return _write(
        {
            "trajectories": lambda: trajectories(track),
            "circuits": lambda: circuits_over_training(track),
            "norms": lambda: norms_over_training(track),
        },
        folder,
        formats,
    )


def _write(made: dict[str, Callable[[], Figure | None]], folder: Path, formats: str) -> list[Path]:
    import matplotlib

    if formats not in FORMATS:
        raise SpectraError(f"Unknown format {formats!r}. Available: {', '.join(FORMATS)}.")
    make_folder(folder)
    written = []
    # No dates in the files: the same analysis gives the same bytes.
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[formats]
    for name, draw in made.items():
        with matplotlib.rc_context(style.RC):
            figure = draw()
            if figure is None:
                continue
            target = folder / f"{name}.{formats}"
            write_whole(target, lambda staged, figure=figure: figure.savefig(staged, format=formats, metadata=metadata))  # type: ignore[misc]
        written.append(target)
    if not written:
        raise SpectraError("There is nothing to draw: no matrix has a spectrum.")
    return written


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def _typical(analysis: Analysis) -> list[MatrixRow]:
    """The middle layer's matrix of each role, where no matrix is named."""
    rows = []
    for role in ROLES:
        found = [
            row for row in analysis.matrices if row.ref.role == role and row.status == "ok" and row.esd is not None
        ]
        if found:
            rows.append(found[len(found) // 2])
    return rows


def _value(row: MatrixRow, column: str) -> float | None:
    value = row.values.get(column)
    return float(value) if isinstance(value, (int, float)) else None


def esd(row: MatrixRow) -> Figure | None:
    """Density of log10 eigenvalues on log axes, the fits as lines from their xmin, bulk edge and Tracy-Widom threshold."""
    if row.esd is None:
        return None
    figure, (axis,) = style.figure()
    edges, counts = np.array(row.esd.edges), np.array(row.esd.counts, dtype=float)
    total = counts.sum() + row.esd.zeros
    widths = np.diff(10.0**edges)
    axis.stairs(counts / total / widths, 10.0**edges, fill=True, color="0.8", label="ESD")
    top = 10.0 ** edges[-1]
    for index, (column, label) in enumerate(_FITS):
        alpha, xmin, tail = (_value(row, f"{column}{part}") for part in ("", "_xmin", "_tail_size"))
        if alpha is None or xmin is None or tail is None or alpha > 50:
            continue
        x = np.geomspace(xmin, top, 50)
        density = tail / total * (alpha - 1) / xmin * (x / xmin) ** -alpha
        axis.plot(x, density, color=style.look(index)["color"], label=rf"{label}: $\alpha$ = {alpha:.2f}")
    for column, label, dash in (("mp_bulk_edge", "bulk edge", ":"), ("tw_threshold", "TW 99%", "--")):
        at = _value(row, column)
        if at is not None and at < top:
            axis.axvline(at, color="0.3", linestyle=dash, linewidth=0.8, label=label)
    positive = counts[counts > 0] / total / widths[counts > 0]
    axis.set(xscale="log", yscale="log", xlabel=r"eigenvalue $\lambda = s^2$", ylabel="density")
    axis.set_ylim(positive.min() / 3, positive.max() * 3)
    axis.set_title(style.plain(row.ref.name), fontsize=6.5)
    axis.legend(loc="lower left", frameon=True, framealpha=0.85, edgecolor="none")
    return figure


def alpha_by_layer(analysis: Analysis) -> Figure | None:
    """Hill alpha by layer, a line a role; dashed, the null of its shape."""
    lines = _by_role(analysis, "alpha_hill")
    if not lines:
        return None
    figure, (axis,) = style.figure()
    for index, (role, layers, values, nulls) in enumerate(lines):
        axis.plot(layers, values, **style.look(index), label=role)
        axis.plot(layers, nulls, color=style.look(index)["color"], linestyle=":", linewidth=0.7)
    axis.set(xlabel="layer", ylabel=r"Hill $\alpha$ (dotted: random matrix)")
    axis.legend(ncols=4)
    return figure


def norms_by_layer(analysis: Analysis) -> Figure | None:
    """Frobenius and spectral norm by layer, a line a role."""
    figure, axes = style.figure(style.WIDE, 2.3, 1, 2)
    drawn = False
    for axis, column, label in zip(
        axes, ("frobenius_norm", "spectral_norm"), (r"$\|W\|_F$", r"$\|W\|_2$"), strict=True
    ):
        for index, (role, layers, values, _) in enumerate(_by_role(analysis, column)):
            axis.plot(layers, values, **style.look(index), label=role)
            drawn = True
        axis.set(xlabel="layer", ylabel=label)
    if not drawn:
        return None
    axes[0].legend(ncols=4)
    return figure


def _by_role(analysis: Analysis, column: str) -> list[tuple[str, list[int], list[float], list[float]]]:
    """(role, layers, medians over the layer's matrices, medians of their nulls) of roles that have layers."""
    lines: list[tuple[str, list[int], list[float], list[float]]] = []
    for role in ROLES:
        layers: dict[int, list[MatrixRow]] = {}
        for row in analysis.matrices:
            if (
                row.ref.role == role
                and row.ref.layer is not None
                and not row.ref.stack
                and _value(row, column) is not None
            ):
                layers.setdefault(row.ref.layer, []).append(row)
        if len(layers) > 1:
            order = sorted(layers)
            values = [float(np.median([_value(row, column) or np.nan for row in layers[i]])) for i in order]
            nulls = [_null(layers[i], column) for i in order]
            lines.append((role, order, values, nulls))
    return lines


def _null(rows: Sequence[MatrixRow], column: str) -> float:
    means = [null.mean for row in rows if (null := row.null.get(column)) is not None and null.mean is not None]
    return float(np.median(means)) if means else float("nan")


def heatmap(analysis: Analysis) -> Figure | None:
    """Layer x role: Hill alpha less its null (without nulls, Hill alpha)."""
    lines = _by_role(analysis, "alpha_hill")
    if not lines:
        return None
    depth = max(max(layers) for _, layers, _, _ in lines) + 1
    grid = np.full((len(lines), depth), np.nan)
    against_null = all(np.isfinite(nulls).any() for _, _, _, nulls in lines)
    for i, (_, layers, values, nulls) in enumerate(lines):
        grid[i, layers] = np.array(values) - (np.array(nulls) if against_null else 0.0)
    figure, (axis,) = style.figure(style.WIDE, 0.25 * len(lines) + 1.0)
    bound = float(np.nanmax(np.abs(grid)))
    limits = {"cmap": "RdBu", "vmin": -bound, "vmax": bound} if against_null else {"cmap": "viridis"}
    image = axis.imshow(grid, aspect="auto", interpolation="nearest", **limits)
    axis.set_yticks(range(len(lines)), [role for role, *_ in lines])
    axis.set(xlabel="layer")
    figure.colorbar(image, ax=axis, label=r"Hill $\alpha$ - null" if against_null else r"Hill $\alpha$")
    return figure


def circuits_by_layer(analysis: Analysis) -> Figure | None:
    """Pseudo-rank of W_QK and W_VP by layer: mean over heads, band from lowest to highest head, dotted the null."""
    figure, (axis,) = style.figure()
    drawn = False
    for index, (kind, label) in enumerate(_LABELS.items()):
        layers: dict[int, list[tuple[float, float | None]]] = {}
        for row in analysis.circuits:
            value = row.values.get("pseudo_rank")
            if (
                row.kind == kind
                and row.head is not None
                and row.layer is not None
                and value is not None
                and not row.stack
            ):
                null = row.null.get("pseudo_rank")
                layers.setdefault(row.layer, []).append((float(value), null.mean if null else None))
        if not layers:
            continue
        order = sorted(layers)
        values = [[value for value, _ in layers[i]] for i in order]
        axis.plot(order, [np.mean(v) for v in values], **style.look(index), label=label)
        axis.fill_between(
            order, [min(v) for v in values], [max(v) for v in values], alpha=0.2, color=style.look(index)["color"]
        )
        nulls = style.finite([layers[i][0][1] for i in order])
        axis.plot(order, nulls, color="0.4", linestyle=":", linewidth=0.8, label=None if drawn else "random")
        drawn = True
    if not drawn:
        return None
    axis.set(xlabel="layer", ylabel=r"pseudo-rank, $k / d_\mathrm{head}$")
    axis.legend()
    return figure


def trajectories(track: Track) -> Figure | None:
    """Hill alpha, goodness-of-fit alpha, stable rank and pseudo-rank over training, a line a role (medians)."""
    figure, axes = style.figure(style.WIDE, 4.0, 2, 2)
    columns = (("alpha_hill", r"Hill $\alpha$"), ("alpha_gof", r"goodness-of-fit $\alpha$"), ("stable_rank", "stable rank"),
               ("pseudo_rank", "pseudo-rank"))  # fmt: skip
    for axis, (column, label) in zip(axes, columns, strict=True):
        for index, (role, series) in enumerate(track.roles.items()):
            axis.plot(track.steps, style.finite(series[column]), **style.look(index), label=role)
        axis.set(xlabel="training step", ylabel=label)
    axes[0].legend(ncols=4)
    return figure


def circuits_over_training(track: Track) -> Figure | None:
    """Pseudo-rank of W_QK and W_VP over training, first, middle and last attention layer (plasticity paper, fig. 5, 26-28)."""
    modules = list(track.circuits)
    if not modules:
        return None
    figure, axes = style.figure(style.WIDE, 2.3, 1, 2)
    chosen = sorted({0, len(modules) // 2, len(modules) - 1})
    for axis, (kind, label) in zip(axes, _LABELS.items(), strict=True):
        for index, i in enumerate(chosen):
            values = style.finite(track.circuits[modules[i]][kind])
            axis.plot(track.steps, values, **style.look(index), label=style.plain(modules[i]))
        axis.set(xlabel="training step", ylabel=f"pseudo-rank of {label}")
    axes[0].legend()
    return figure


def norms_over_training(track: Track) -> Figure | None:
    """||group|| / ||all|| over training: embedding, layers, lm_head (plasticity paper, fig. 29 and 30)."""
    if not track.norms:
        return None
    figure, (axis,) = style.figure()
    layers = [group for group in track.norms if "layer" in group]
    others = [group for group in track.norms if group not in layers]
    for index, group in enumerate(others):
        axis.plot(track.steps, style.finite(track.norms[group]), **style.look(index), label=group)
    _shaded(axis, track, layers)
    axis.set(xlabel="training step", ylabel="share of the weights' norm")
    axis.legend(ncols=2)
    return figure


def _shaded(axis: Axes, track: Track, layers: Sequence[str]) -> None:
    """One line a layer, from dark (first) to light (last); only the ends are named."""
    import matplotlib

    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, max(len(layers), 1)))
    for i, group in enumerate(layers):
        label = group if i in (0, len(layers) - 1) else None
        axis.plot(track.steps, style.finite(track.norms[group]), color=shades[i], linewidth=0.7, label=label)
