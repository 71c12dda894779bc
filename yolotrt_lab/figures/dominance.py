"""Which engine beats which, given that both latency and accuracy were measured with error."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.labels import place_labels
from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    finish_axes,
    new_figure,
    readable,
    series_colors,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["Draws", "difference_cloud", "verdict_plot"]

Draws = Mapping[str, NDArray[np.float64]]
"""Engine name to (draws,) values of one statistic; draw i of all engines rests on the same resampled measurements."""

_VERDICT_COLORS = {"front": "#009E73", "undecided": "#E69F00", "dominated": "#D55E00"}
_VERDICT_MARKS = {"front": "o", "undecided": "s", "dominated": "X"}


def _interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return float(low), float(middle), float(high)


def difference_cloud(
    latency_ms: Draws, map50_95: Draws, *, one: str, other: str, platform: PlatformInfo | None = None
) -> Figure:
    """Draw two engines' draws, and beside them the differences draw by draw.

    On the right, `one` beats `other` where a point lies in the green quarter: faster and more accurate.

    Args:
        latency_ms: Draws of the median latency.
        map50_95: Draws of the accuracy.
        one: The engine that might be better.
        other: The engine it is compared with.
        platform: Where they ran.
    """
    figure = new_figure(height=4.6)
    separate, paired = figure.subplots(1, 2)
    colors = series_colors([one, other])
    for name in (one, other):
        separate.scatter(latency_ms[name], map50_95[name], s=9, alpha=0.35, color=colors[name], linewidths=0)
        _cross(separate, latency_ms[name], map50_95[name], color=readable(colors[name]))
    finish_axes(separate, title="Each by itself", xlabel="Latency (ms)", ylabel="mAP50-95", grid="both")
    separate.legend(
        handles=[_dot(readable(colors[name]), "o", short_name(name)) for name in (one, other)],
        fontsize=10,
        frameon=False,
        labelcolor=INK,
    )
    faster, better = latency_ms[one] - latency_ms[other], map50_95[one] - map50_95[other]
    paired.scatter(faster, better, s=9, alpha=0.4, color=GREY, linewidths=0)
    _cross(paired, faster, better, color=INK)
    _shade_better(paired, faster, better)
    finish_axes(
        paired,
        title=f"{short_name(one)} minus {short_name(other)}",
        xlabel="Difference of latency (ms)",
        ylabel="Difference of mAP50-95",
        grid="both",
    )
    stamp_platform(figure, platform, note="bars: 95 % of the draws")
    return figure


def _dot(color: str, mark: str, label: str) -> Line2D:
    return Line2D([], [], marker=mark, linestyle="", markersize=8, color=color, label=label)


def _cross(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], *, color: str) -> None:
    (x0, x1, x2), (y0, y1, y2) = _interval(x), _interval(y)
    axes.errorbar(
        x1,
        y1,
        xerr=[[x1 - x0], [x2 - x1]],
        yerr=[[y1 - y0], [y2 - y1]],
        fmt="o",
        markersize=6,
        color=color,
        capsize=4,
        elinewidth=2,
        zorder=4,
    )


def _shade_better(axes: Axes, faster: NDArray[np.float64], better: NDArray[np.float64]) -> None:
    """Colour the quarter in which the first engine is faster and more accurate; keep zero in the picture."""
    for values, set_limits in ((faster, axes.set_xlim), (better, axes.set_ylim)):
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        pad = 0.12 * max(high - low, 1e-6)
        set_limits(low - pad, high + pad)
    (left, _), (_, top) = axes.get_xlim(), axes.get_ylim()
    axes.add_patch(Rectangle((left, 0), -left, top, facecolor="#d5efe3", edgecolor="none", zorder=0))
    axes.text(left, top, " faster and more accurate", fontsize=10, color=readable("#009E73"), va="top", ha="left")
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.axvline(0, color=INK, linewidth=0.9)


def verdict_plot(
    latency_ms: Draws, map50_95: Draws, verdicts: Mapping[str, str], *, platform: PlatformInfo | None = None
) -> Figure:
    """Draw accuracy over latency with 95 % bars, each engine in the colour of its verdict.

    Args:
        latency_ms: Draws of the median latency.
        map50_95: Draws of the accuracy.
        verdicts: Engine to "front", "undecided" or "dominated".
        platform: Where they ran.

    Raises:
        InputError: An engine has no such verdict.
    """
    for name in latency_ms:
        if verdicts.get(name) not in _VERDICT_COLORS:
            raise InputError(
                f"Engine {name!r} has no verdict.", expected=", ".join(_VERDICT_COLORS), got=verdicts.get(name)
            )
    figure = new_figure(height=5.4)
    axes = figure.add_subplot()
    points, segments = [], []
    for name in latency_ms:
        (x0, x1, x2), (y0, y1, y2) = _interval(latency_ms[name]), _interval(map50_95[name])
        color, mark = _VERDICT_COLORS[verdicts[name]], _VERDICT_MARKS[verdicts[name]]
        axes.errorbar(
            x1, y1, xerr=[[x1 - x0], [x2 - x1]], yerr=[[y1 - y0], [y2 - y1]],
            fmt=mark, markersize=9, color=color, capsize=3, elinewidth=1.5, zorder=3,
        )  # fmt: skip
        points.append((x1, y1))
        segments += [((x0, y1), (x2, y1)), ((x1, y0), (x1, y2))]
    axes.margins(0.16, 0.14)
    axes.set_xlim(left=max(axes.get_xlim()[0], 0))
    finish_axes(
        axes,
        title="Which engines are really beaten? (better: up and left)",
        xlabel="Latency of one image, median (ms)",
        ylabel="mAP50-95",
        grid="both",
    )
    axes.legend(
        handles=[
            _dot(color, _VERDICT_MARKS[verdict], verdict)
            for verdict, color in _VERDICT_COLORS.items()
            if verdict in verdicts.values()
        ],
        fontsize=10, frameon=False, labelcolor=INK, loc="lower right",
    )  # fmt: skip
    stamp_platform(figure, platform, note="bars: 95 % of the draws")
    inks = [readable(_VERDICT_COLORS[verdicts[name]]) for name in latency_ms]
    place_labels(axes, points, [short_name(name) for name in latency_ms], colors=inks, segments=segments)
    return figure
