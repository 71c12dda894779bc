"""How two computations of the same output agree: error distributions, blind measures, errors along the depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure, readable, series_colors
from yolotrt_lab.types import Array

__all__ = ["blind_measures", "error_along_depth", "error_histograms"]

_PASS, _FAIL = "#d5efe3", "#f8d7c9"
_FLOOR = 1e-9
_RED = "#D55E00"


def error_histograms(panels: Mapping[str, Mapping[str, Array]], *, limits: Mapping[str, float] | None = None) -> Figure:
    """Draw how large the absolute errors of single values are, on a logarithmic scale.

    Args:
        panels: Panel ("boxes (pixels)") to input ("random picture") to errors of any shape and sign.
        limits: Panel to an error that would matter, drawn as a line.

    Raises:
        InputError: There is no panel.
    """
    if not panels:
        raise InputError("There are no errors to draw.", expected="at least one panel", got="none")
    figure = new_figure(height=3.9)
    rows = figure.subplots(1, len(panels), squeeze=False)[0]
    names = list(dict.fromkeys(name for errors in panels.values() for name in errors))
    colors = series_colors(names)
    for axes, (panel, errors) in zip(rows, panels.items(), strict=True):
        sizes = {name: np.abs(np.asarray(value, np.float64)).ravel() for name, value in errors.items()}
        largest = max([float(size.max(initial=0)) for size in sizes.values()] + [_FLOOR * 10])
        limit = (limits or {}).get(panel)
        edges = np.geomspace(_FLOOR, max(largest, limit or 0) * 3, 60)
        for name, size in sizes.items():
            shares = np.histogram(np.maximum(size, _FLOOR), edges)[0] / max(size.size, 1)
            exact = np.mean(size == 0) if size.size else 0.0
            note = f"{name}: largest {size.max(initial=0):.1e}, {100 * exact:.0f} % exact"
            axes.stairs(100 * shares, edges, color=colors[name], linewidth=1.8, label=escaped(note))
        if limit:
            axes.axvline(limit, color=_RED, linestyle="--", linewidth=1.5, label=f"would matter: {limit:g}")
        axes.set_xscale("log")
        finish_axes(
            axes, title=escaped(panel), xlabel="|error|", ylabel="Share of values (%)" if axes is rows[0] else ""
        )
        axes.set_ylim(0, axes.get_ylim()[1] * 1.55)
        axes.legend(fontsize=9, frameon=False, labelcolor=INK, loc="upper left")
    return figure


def blind_measures(rows: Mapping[str, Mapping[str, float]], *, limits: Mapping[str, float]) -> Figure:
    """Draw which measure notices which error: one row per kind of error, one column per measure.

    Args:
        rows: Kind of error to measure ("max_abs", "relative_l2", "cosine") to value.
        limits: Measure to its limit; a least value for the cosine, a greatest for the others.
    """
    measures = list(limits)
    figure = new_figure(height=0.9 + 0.42 * (len(rows) + 1))
    axes = figure.add_subplot()
    axes.axis("off")
    header = ["Error", *(f"{_title(name)} {'≥' if name == 'cosine' else '≤'} {limits[name]:g}" for name in measures)]
    cells = [[escaped(kind), *(f"{values[name]:.5g}" for name in measures)] for kind, values in rows.items()]
    axes.set_title("Which measure notices what", loc="left", fontsize=13, color=INK)
    if not cells:
        return figure
    table = axes.table(cellText=cells, colLabels=header, cellLoc="center", bbox=Bbox.unit(),
                       colWidths=[0.34] + [0.22] * len(measures))  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(10)
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("#d0d0d0")
        if row == 0:
            cell.set_facecolor("#f1f1f1")
            cell.set_text_props(weight="bold")
        elif column > 0:
            kept = keeps_limit(measures[column - 1], list(rows.values())[row - 1][measures[column - 1]], limits)
            cell.set_facecolor(_PASS if kept else _FAIL)
            cell.get_text().set_text(f"{cells[row - 1][column]}  {'passes' if kept else 'noticed'}")
        else:
            cell.set_text_props(ha="left")
    return figure


def keeps_limit(measure: str, value: float, limits: Mapping[str, float]) -> bool:
    """Return whether a measure keeps its limit: the cosine from below, the others from above.

    Example:
        >>> keeps_limit("cosine", 0.9, {"cosine": 0.999}), keeps_limit("max_abs", 0.001, {"max_abs": 0.01})
        (False, True)
    """
    return value >= limits[measure] if measure == "cosine" else value <= limits[measure]


def _title(measure: str) -> str:
    return {"max_abs": "max |a - e|", "relative_l2": "relative L2", "cosine": "cosine"}.get(measure, measure)


def error_along_depth(
    names: Sequence[str],
    errors: Mapping[str, Sequence[float]],
    *,
    tolerance: float,
    looks: Sequence[str] = (),
    first: str | None = None,
) -> Figure:
    """Draw the relative error of each tensor along the depth of a network.

    Args:
        names: The tensors, in order of computation.
        errors: Comparison ("sound export") to relative errors, one per tensor; NaN leaves a gap.
        tolerance: Above it a tensor counts as different.
        looks: The tensors that a search looked at, in its order; numbered in the figure.
        first: The first tensor that differs, if one was found.

    Raises:
        InputError: Names and errors do not fit together.
    """
    wrong = {len(values) for values in errors.values()} - {len(names)}
    unknown = [name for name in (*looks, *([first] if first else [])) if name not in names]
    if wrong or unknown:
        raise InputError(
            "Names and errors do not fit together.",
            expected=f"{len(names)} errors in each comparison, and looks at these tensors",
            got=f"{sorted(wrong)} errors" if wrong else f"unknown {unknown}",
        )
    figure = new_figure(height=4.4)
    axes = figure.add_subplot()
    places = np.arange(len(names))
    colors = series_colors(list(errors))
    for name, values in errors.items():
        shown = np.maximum(np.asarray(values, np.float64), _FLOOR)
        axes.plot(places, shown, color=colors[name], linewidth=1.8, marker="o", markersize=4, label=escaped(name))
    axes.axhline(tolerance, color=GREY, linestyle="--", linewidth=1.2, label=f"tolerance {tolerance:g}")
    if first is not None:
        axes.axvline(list(names).index(first), color=_RED, linewidth=8, alpha=0.22, label=f"first: {escaped(first)}")
    axes.set_yscale("log")
    for number, name in enumerate(looks, start=1):
        axes.annotate(
            str(number), (list(names).index(name), 0.02), xycoords=("data", "axes fraction"), ha="center", fontsize=10,
            color="white", bbox={"boxstyle": "circle,pad=0.2", "facecolor": readable(_RED), "edgecolor": "none"},
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(nbins=13, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(names, value)))
    xlabel = "Tensor, in order of computation" + (" (circles: looks of the search)" if looks else "")
    finish_axes(axes, title="Error along the depth", xlabel=xlabel, ylabel="Relative L2 error", grid="both")
    figure.legend(loc="outside upper right", fontsize=10, frameon=False, ncols=4, labelcolor=INK)
    return figure


def _tick(names: Sequence[str], value: float) -> str:
    place = round(value)
    return escaped(names[place]) if place == value and 0 <= place < len(names) else ""
