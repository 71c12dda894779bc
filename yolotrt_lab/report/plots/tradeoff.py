"""The figure of the whole course: what accuracy costs in time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report.plots.labels import place_labels
from yolotrt_lab.report.plots.style import (
    GREY,
    finish_axes,
    new_figure,
    readable,
    series_colors,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["TradeoffPoint", "pareto_front", "precision_speed"]


@dataclass(frozen=True)
class TradeoffPoint:
    """One engine or framework: how accurate and how fast.

    Attributes:
        map50_95: From 0 to 1.
        latency: Of one image.
        map50_95_interval: Its error bar, if known.
        remark: Added to the label ("BF16 ran").
    """

    map50_95: float
    latency: LatencyStats
    map50_95_interval: tuple[float, float] | None = None
    remark: str = ""


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of (latency, accuracy) points that no other beats in both, fastest first.

    Example:
        >>> pareto_front([(10.0, 0.6), (5.0, 0.5), (7.0, 0.4)])
        [1, 0]
    """
    front: list[int] = []
    best = float("-inf")
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[index][1] > best:
            front.append(index)
            best = points[index][1]
    return front


def _latency_bar(latency: LatencyStats) -> tuple[float, float]:
    low, high = np.quantile(latency.samples_ms, [0.1, 0.9])
    return float(low), float(high)


def _draw_front(axes: Axes, coordinates: Sequence[tuple[float, float]]) -> None:
    front = pareto_front(coordinates)
    if len(front) < 2:
        return
    x, y = zip(*(coordinates[index] for index in front), strict=True)
    axes.plot(x, y, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1, label="Pareto front")


def _set_limits(axes: Axes, bars_x: Sequence[tuple[float, float]], bars_y: Sequence[tuple[float, float]]) -> None:
    """Leave room for labels around the data; accuracy axes do not start at zero, so small losses are visible."""
    low_x, high_x = min(low for low, _ in bars_x), max(high for _, high in bars_x)
    low_y, high_y = min(low for low, _ in bars_y), max(high for _, high in bars_y)
    pad_x = 0.18 * max(high_x - low_x, 0.1 * high_x, 1e-6)
    pad_y = 0.25 * max(high_y - low_y, 0.02)
    axes.set_xlim(max(low_x - pad_x, 0), high_x + pad_x)
    axes.set_ylim(max(low_y - pad_y, 0), min(high_y + pad_y, 1.0 + 0.02))


def precision_speed(points: Mapping[str, TradeoffPoint], *, platform: PlatformInfo | None = None) -> Figure:
    """Draw accuracy over latency: up and to the left is better.

    Horizontal bars are the 10th to 90th latency percentile, vertical ones the interval of the accuracy.

    Args:
        points: Engine name to its point.
        platform: Where they ran.
    """
    figure = new_figure(height=5.4)
    axes = figure.add_subplot()
    colors = series_colors(list(points))
    coordinates = [(point.latency.p50_ms, point.map50_95) for point in points.values()]
    bars_x = [_latency_bar(point.latency) for point in points.values()]
    bars_y = [point.map50_95_interval or (point.map50_95, point.map50_95) for point in points.values()]
    _draw_front(axes, coordinates)
    for name, (x, y), (x0, x1), (y0, y1) in zip(points, coordinates, bars_x, bars_y, strict=True):
        axes.errorbar(
            x,
            y,
            xerr=[[max(x - x0, 0)], [max(x1 - x, 0)]],
            yerr=[[max(y - y0, 0)], [max(y1 - y, 0)]],
            fmt="o",
            markersize=9,
            color=colors[name],
            ecolor=colors[name],
            elinewidth=1.4,
            capsize=3,
            zorder=3,
        )
    if points:
        _set_limits(axes, bars_x, bars_y)
    finish_axes(
        axes,
        title="Accuracy against latency (better: up and left)",
        xlabel="Latency of one image, median (ms)",
        ylabel="mAP50-95",
        grid="both",
        legend=bool(axes.get_legend_handles_labels()[0]),
    )
    stamp_platform(figure, platform, note=_bars_note(points))
    labels = [_label(name, point) for name, point in points.items()]
    inks = [readable(colors[name]) for name in points]
    place_labels(axes, coordinates, labels, colors=inks, segments=_segments(coordinates, bars_x, bars_y))
    return figure


def _label(name: str, point: TradeoffPoint) -> str:
    remark = f" ({point.remark})" if point.remark else ""
    return f"{short_name(name)}{remark}\n{point.latency.p50_ms:.1f} ms, {point.map50_95:.3f}"


def _bars_note(points: Mapping[str, TradeoffPoint]) -> str:
    note = "bars: 10th to 90th percentile of latency"
    if any(point.map50_95_interval for point in points.values()):
        note += "; 95 % bootstrap interval of mAP over images"
    return note


def _segments(
    coordinates: Sequence[tuple[float, float]],
    bars_x: Sequence[tuple[float, float]],
    bars_y: Sequence[tuple[float, float]],
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return every drawn line: error bars and the Pareto front."""
    lines = [((x0, y), (x1, y)) for (_, y), (x0, x1) in zip(coordinates, bars_x, strict=True)]
    lines += [((x, y0), (x, y1)) for (x, _), (y0, y1) in zip(coordinates, bars_y, strict=True)]
    front = [coordinates[index] for index in pareto_front(coordinates)]
    return lines + list(itertools.pairwise(front))
