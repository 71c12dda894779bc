"""The layers of an engine under the machine's roof."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from yolotrt_lab.profiling.roofline import MachineRoof, PlacedLayer
from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    color_for,
    display_name,
    escaped,
    finish_axes,
    new_figure,
    readable,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["layer_roofline"]

_UNKNOWN = "#9e9e9e"


def layer_roofline(
    placed: Sequence[PlacedLayer],
    roof: MachineRoof,
    *,
    title: str = "Layers under the roof",
    labelled: int = 5,
    platform: PlatformInfo | None = None,
) -> Figure:
    """Draw one roof for each precision that ran, and every layer at its intensity and the rate it reached.

    Args:
        placed: From `profiling.roofline.place_layers`; layers without arithmetic are left out.
        roof: The machine's limits.
        title: Of the figure.
        labelled: How many of the slowest get a number and their name.
        platform: Where the layers ran.
    """
    points = [layer for layer in placed if layer.cost and layer.cost.flops > 0 and layer.time_ms > 0]
    points = sorted((layer for layer in points if np.isfinite(layer.cost.intensity if layer.cost else np.inf)),
                    key=lambda layer: -layer.time_ms)  # fmt: skip
    figure = new_figure(height=5.6)
    axes = figure.add_subplot()
    precisions = list(dict.fromkeys(layer.precision for layer in points)) or ["fp32"]
    low, high = _x_range(points, roof, precisions)
    for precision in precisions:
        _draw_roof(axes, roof, precision, low, high)
    longest = max((layer.share for layer in points), default=1.0)
    for layer in points:  # the small ones last, on top
        size = 26 + 300 * layer.share / longest
        color = color_for(layer.precision) or _UNKNOWN
        axes.scatter(
            _x(layer), layer.gflops, s=size, color=color, alpha=0.78, edgecolor="white", linewidth=0.8, zorder=3
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    highest = max([roof.peak(name) for name in precisions] + [layer.gflops for layer in points])
    lowest = min((layer.gflops for layer in points), default=highest / 100)
    axes.set_ylim(lowest / 8, highest * 2.2)
    _name_slowest(axes, points[:labelled])
    finish_axes(axes, title=escaped(title), xlabel="Intensity (operations per byte)", ylabel="GFLOP/s", grid="both")
    handles = [
        Line2D([], [], color=color_for(name) or _UNKNOWN, marker="o", linewidth=2, label=_roof_text(roof, name))
        for name in precisions
    ]
    axes.legend(handles=handles, fontsize=9, frameon=False, loc="upper left", labelcolor=INK)
    note = f"larger circles take more time; {roof.bandwidth_gb_s:.3g} GB/s"
    stamp_platform(figure, platform, note=note)
    return figure


def _x(layer: PlacedLayer) -> float:
    return layer.cost.intensity if layer.cost else 1.0


def _x_range(points: Sequence[PlacedLayer], roof: MachineRoof, precisions: Sequence[str]) -> tuple[float, float]:
    values = [_x(layer) for layer in points] + [roof.ridge(name) for name in precisions]
    return min(values) / 2.5, max(values) * 3


def _roof_text(roof: MachineRoof, precision: str) -> str:
    return f"{display_name(precision)}: {roof.peak(precision):,.0f} GFLOP/s, ridge at {roof.ridge(precision):.3g}"


def _draw_roof(axes: Axes, roof: MachineRoof, precision: str, low: float, high: float) -> None:
    color = color_for(precision) or _UNKNOWN
    x = np.geomspace(low, high, 200)
    axes.plot(x, np.minimum(roof.peak(precision), x * roof.bandwidth_gb_s), color=color, linewidth=2.0, zorder=2)
    axes.axvline(roof.ridge(precision), color=color, linewidth=0.9, linestyle=":", zorder=1)


def _name_slowest(axes: Axes, slowest: Sequence[PlacedLayer]) -> None:
    """Number the slowest layers, beside their circles where several lie on one spot, and list their names."""
    lines, taken = [], [_points(axes, layer) for layer in slowest]
    for rank, layer in enumerate(slowest, start=1):
        here = taken[rank - 1]
        others = taken[: rank - 1] + taken[rank:]
        offset = next(
            (shift for shift in _OFFSETS if all(math.dist(_moved(here, shift), other) > 17 for other in others)), (0, 0)
        )
        taken.append(_moved(here, offset))
        aside = offset != (0, 0)
        axes.annotate(
            str(rank), (_x(layer), layer.gflops), xytext=offset, textcoords="offset points", fontsize=9,
            color=INK if aside else "white", ha="center", va="center", zorder=4, weight="bold",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7} if aside else None,
        )  # fmt: skip
        lines.append(
            f"{rank}  {short_name(layer.name, length=38)}  {layer.time_ms:.3g} ms, {layer.roof_share:.0%} of its roof"
        )
    axes.text(0.99, 0.02, "\n".join(lines), transform=axes.transAxes, fontsize=9, color=readable(GREY), ha="right",
              va="bottom", multialignment="left", linespacing=1.4, zorder=5)  # fmt: skip


_OFFSETS = ((0, 0), (28, -12), (28, 14), (-28, 14), (-28, -12), (0, 30), (0, -30), (50, 0), (-50, 0), (48, -30))
_AXES_POINTS = (560.0, 310.0)


def _points(axes: Axes, layer: PlacedLayer) -> tuple[float, float]:
    """Return a circle's place in points, as the finished figure will have it to within a few."""
    place = []
    for value, (low, high), size in zip(
        (_x(layer), layer.gflops), (axes.get_xlim(), axes.get_ylim()), _AXES_POINTS, strict=True
    ):
        place.append(size * math.log(value / low) / math.log(high / low))
    return place[0], place[1]


def _moved(place: tuple[float, float], offset: tuple[int, int]) -> tuple[float, float]:
    return place[0] + offset[0], place[1] + offset[1]
