"""Pictures for choosing an engine: how far it may differ from the reference, and what accuracy costs in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yolotrt_lab.report.plots.labels import place_labels
from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    color_for,
    display_name,
    finish_axes,
    new_figure,
    readable,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["Rung", "accuracy_latency", "tolerance_ladder"]

_ALLOWED = "#e8f3ec"
_BEYOND = "#9a3412"


@dataclass(frozen=True)
class Rung:
    """One engine on the ladder: the precision that ran, its error, and the most that this precision allows."""

    name: str
    executed: str
    relative_l2: float
    limit: float


def tolerance_ladder(rungs: Sequence[Rung], *, least: float = 1e-8) -> Figure:
    """Draw each engine's relative L2 error beside its limit, on a logarithmic axis.

    Args:
        rungs: From the strictest to the most tolerant.
        least: Where the axis begins; smaller errors are drawn there.
    """
    figure = new_figure(height=1.7 + 0.62 * max(len(rungs), 1))
    axes = figure.add_subplot()
    most = max((max(rung.limit, _shown(rung.relative_l2, least)) for rung in rungs), default=1.0)
    for row, rung in enumerate(rungs):
        axes.barh(row, rung.limit - least, left=least, height=0.56, color=_ALLOWED, edgecolor="none")
        axes.plot([rung.limit] * 2, [row - 0.28, row + 0.28], color="#2e7d4f", linewidth=2)
        kept = rung.relative_l2 <= rung.limit
        color = color_for(rung.executed) or GREY
        value = _shown(rung.relative_l2, least)
        axes.plot(value, row, marker="o" if kept else "X", markersize=10, color=color if kept else _BEYOND)
        axes.annotate(
            f"{rung.relative_l2:.1e}" + ("" if kept else " beyond its limit"),
            (value, row),
            xytext=(0, 10),
            textcoords="offset points",
            ha="center",
            fontsize=10,
            color=readable(color) if kept else _BEYOND,
        )
        axes.annotate(
            f"limit {rung.limit:g}",
            (1.0, row),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-4, -4),
            textcoords="offset points",
            ha="right",
            fontsize=10,
            color=GREY,
        )
    axes.set_xscale("log")
    axes.set_xlim(least, most * 300)
    finish_axes(
        axes,
        title="Distance from ONNX Runtime, and what each precision allows",
        xlabel="Relative L2 error (the worse of boxes and scores)",
        grid="x",
    )
    labels = [f"{short_name(rung.name)}\nruns {display_name(rung.executed)}" for rung in rungs]
    axes.set_yticks(range(len(rungs)), labels, fontsize=10)
    axes.set_ylim(len(rungs) - 0.4, -0.7)
    axes.tick_params(axis="y", length=0)
    return figure


def _shown(value: float, least: float) -> float:
    return max(float(value), least) if np.isfinite(value) else 1.0


def accuracy_latency(
    rows: Sequence[Mapping[str, Any]],
    *,
    budget_ms: float | None = None,
    floor: float | None = None,
    platform: PlatformInfo | None = None,
) -> Figure:
    """Draw accuracy over latency, with the part of the plane that a product can use.

    Args:
        rows: Of the engine table: name, executed, map50_95, median_ms, p99_ms. Rows with gaps are left out and named.
        budget_ms: The longest latency the product allows.
        floor: The least mAP50-95 the product needs.
        platform: Where the engines ran.
    """
    figure = new_figure(height=5.0)
    axes = figure.add_subplot()
    whole = [row for row in rows if None not in (row["map50_95"], row["median_ms"], row["p99_ms"])]
    points = [(float(row["median_ms"]), float(row["map50_95"])) for row in whole]
    colors = [color_for(str(row["executed"])) or GREY for row in whole]
    for (x, y), row, color in zip(points, whole, colors, strict=True):
        tail = max(float(row["p99_ms"]) - x, 0.0)
        marker = "s" if "onnx runtime" in str(row["name"]).lower() else "o"
        axes.errorbar(
            x, y, xerr=[[0.0], [tail]], fmt=marker, markersize=9, color=color, elinewidth=1.6, capsize=4, zorder=3
        )
    _set_limits(axes, whole, budget_ms=budget_ms, floor=floor)
    _shade(axes, budget_ms=budget_ms, floor=floor)
    finish_axes(
        axes,
        title="Accuracy against latency (better: up and left)",
        xlabel="Latency of one image: median, whisker to the 99th percentile (ms)",
        ylabel="mAP50-95",
        grid="both",
    )
    missing = [short_name(str(row["name"])) for row in rows if row not in whole]
    stamp_platform(figure, platform, note=f"not measured: {', '.join(missing)}" if missing else "")
    labels = [
        f"{short_name(str(row['name']))}, runs {display_name(str(row['executed']))}\n{x:.1f} ms, {y:.3f}"
        for row, (x, y) in zip(whole, points, strict=True)
    ]
    whiskers = [((x, y), (float(row["p99_ms"]), y)) for row, (x, y) in zip(whole, points, strict=True)]
    place_labels(
        axes,
        points,
        labels,
        colors=[readable(color) for color in colors],
        segments=[*whiskers, *_demand_lines(axes, budget_ms=budget_ms, floor=floor)],
    )
    return figure


def _demand_lines(
    axes: Axes, *, budget_ms: float | None, floor: float | None
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    lines = [] if budget_ms is None else [((budget_ms, bottom), (budget_ms, top))]
    return lines if floor is None else [*lines, ((left, floor), (right, floor))]


def _set_limits(axes: Axes, rows: Sequence[Mapping[str, Any]], *, budget_ms: float | None, floor: float | None) -> None:
    """Leave room for labels and for the lines of the product's demands."""
    times = [float(row[key]) for row in rows for key in ("median_ms", "p99_ms")] + ([budget_ms] if budget_ms else [])
    scores = [float(row["map50_95"]) for row in rows] + ([floor] if floor else [])
    if not times or not scores:
        return
    pad_x = 0.22 * max(max(times) - min(times), 0.1 * max(times))
    pad_y = 0.35 * max(max(scores) - min(scores), 0.01)
    axes.set_xlim(max(min(times) - pad_x, 0), max(times) + pad_x)
    axes.set_ylim(max(min(scores) - pad_y, 0), min(max(scores) + pad_y, 1.02))


def _shade(axes: Axes, *, budget_ms: float | None, floor: float | None) -> None:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if budget_ms is None and floor is None:
        return
    edge, base = (right if budget_ms is None else budget_ms), (bottom if floor is None else floor)
    axes.add_patch(Rectangle((left, base), edge - left, top - base, color=_ALLOWED, zorder=0, linewidth=0))
    if budget_ms is not None:
        axes.axvline(budget_ms, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"budget {budget_ms:g} ms", (budget_ms, top), xytext=(-4, -4), textcoords="offset points",
            rotation=90, ha="right", va="top", fontsize=10, color=INK,
        )  # fmt: skip
    if floor is not None:
        axes.axhline(floor, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"at least {floor:g}", (right, floor), xytext=(-4, 4), textcoords="offset points", ha="right",
            fontsize=10, color=INK,
        )  # fmt: skip
