"""What holds layers back: the roofline, and the few layers that take most of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    escaped,
    finish_axes,
    new_figure,
    readable,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["LayerPoint", "Machine", "hot_layer_bars", "roofline_plot"]

_MEMORY, _COMPUTE, _HOT = "#E69F00", "#0072B2", "#D55E00"


@dataclass(frozen=True)
class Machine:
    """What a machine can do at most, in 10^9 operations and 10^9 bytes a second."""

    name: str
    peak_gflops: float
    bandwidth_gb_s: float

    @property
    def ridge(self) -> float:
        """The intensity from which on arithmetic, not memory, is the limit."""
        return self.peak_gflops / self.bandwidth_gb_s


@dataclass(frozen=True)
class LayerPoint:
    """One layer: operations per byte, and the rate at which it ran; without a rate only its roof is shown."""

    name: str
    intensity: float
    gflops: float | None = None
    weight: float = 1.0


def roofline_plot(
    machine: Machine, layers: Sequence[LayerPoint], *, labelled: int = 5, note: str = "",
    platform: PlatformInfo | None = None,
) -> Figure:  # fmt: skip
    """Draw a machine's roofline and layers under it, larger where they take more time.

    Args:
        machine: The limits.
        layers: What to place; `weight` is the share of time.
        labelled: How many of the heaviest get their name.
        note: Shown below.
        platform: Where the layers ran.
    """
    figure = new_figure(height=5.0)
    axes = figure.add_subplot()
    intensities = [layer.intensity for layer in layers] or [machine.ridge]
    low = min(min(intensities), machine.ridge) / 3
    high = max(max(intensities), machine.ridge) * 4
    x = np.geomspace(low, high, 200)
    roof = np.minimum(machine.peak_gflops, x * machine.bandwidth_gb_s)
    axes.plot(x, roof, color=INK, linewidth=2.2)
    axes.axvline(machine.ridge, color=GREY, linewidth=1, linestyle=":")
    axes.fill_between(x, roof, where=x <= machine.ridge, color=_MEMORY, alpha=0.10, linewidth=0)
    axes.fill_between(x, roof, where=x >= machine.ridge, color=_COMPUTE, alpha=0.08, linewidth=0)
    heaviest = max((layer.weight for layer in layers), default=1.0) or 1.0
    bottoms = []
    for layer in sorted(layers, key=lambda layer: -layer.weight):  # small ones on top
        y = layer.gflops if layer.gflops is not None else _roof(machine, layer.intensity)
        color = _MEMORY if layer.intensity < machine.ridge else _COMPUTE
        size = 30 + 260 * layer.weight / heaviest
        axes.scatter(layer.intensity, y, s=size, color=color, alpha=0.8, edgecolor="white", linewidth=0.8, zorder=3)
        bottoms.append(y)
    _label_heaviest(axes, machine, layers, labelled)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    # Small caches, or a roof measured at a busy moment, can put layers above it.
    top = 1.6 * max([machine.peak_gflops, *bottoms])
    axes.set_ylim(min([*bottoms, roof[0]]) / (4 if labelled and layers else 2), 2 * top)
    axes.text(machine.ridge / 1.08, top, "memory bound", ha="right", fontsize=11,
              color=readable(_MEMORY))  # fmt: skip
    axes.text(machine.ridge * 1.08, top, "compute bound", ha="left", fontsize=11,
              color=readable(_COMPUTE))  # fmt: skip
    finish_axes(axes, title=escaped(machine.name), xlabel="Intensity (operations per byte)", ylabel="GFLOP/s",
                grid="both")  # fmt: skip
    limits = f"roof: {machine.peak_gflops:.0f} GFLOP/s and {machine.bandwidth_gb_s:.0f} GB/s"
    stamp_platform(figure, platform, note="; ".join(part for part in (limits, note) if part))
    return figure


def _label_heaviest(axes: Axes, machine: Machine, layers: Sequence[LayerPoint], count: int) -> None:
    """Number the heaviest layers in the picture, and list their names beside it."""
    lines = []
    for rank, layer in enumerate(sorted(layers, key=lambda layer: -layer.weight)[:count], start=1):
        y = layer.gflops if layer.gflops is not None else _roof(machine, layer.intensity)
        axes.text(layer.intensity, y, str(rank), fontsize=9, color="white", ha="center", va="center", zorder=4)
        lines.append(f"{rank}  {short_name(layer.name, length=32)}")
    axes.text(0.985, 0.03, "\n".join(lines), transform=axes.transAxes, fontsize=9, color=INK, ha="right", va="bottom",
              multialignment="left", linespacing=1.5, zorder=5)  # fmt: skip


def _roof(machine: Machine, intensity: float) -> float:
    return min(machine.peak_gflops, intensity * machine.bandwidth_gb_s)


def hot_layer_bars(
    layer_ms: Mapping[str, float], hot: Sequence[str], *, share: float, shown: int = 18,
    platform: PlatformInfo | None = None,
) -> Figure:  # fmt: skip
    """Draw layers from slow to fast, how much of the time they take together, and which are hot.

    Args:
        layer_ms: Layer name to milliseconds.
        hot: Names of the hot layers.
        share: The share of time that they cover.
        shown: Bars drawn; the other layers become one.
        platform: Where they ran.
    """
    ordered = sorted(layer_ms, key=lambda name: -layer_ms[name])
    total = sum(layer_ms.values()) or 1.0
    names, rest = ordered[:shown], ordered[shown:]
    values = [layer_ms[name] for name in names] + ([sum(layer_ms[name] for name in rest)] if rest else [])
    labels = [short_name(name, length=44) for name in names] + ([f"the other {len(rest)} layers"] if rest else [])
    colors = [_HOT if name in set(hot) else "#9e9e9e" for name in names] + (["#d5d5d5"] if rest else [])
    figure = new_figure(height=1.5 + 0.27 * max(len(values), 3))
    axes = figure.add_subplot()
    axes.barh(range(len(values)), values, color=colors, height=0.72)
    covered = np.cumsum(values) / total
    for position, value in enumerate(values):
        axes.annotate(f"{value:.3f} ms, together {covered[position]:.0%}", (value, position), xytext=(5, 0),
                      textcoords="offset points", va="center", fontsize=9, color=INK)  # fmt: skip
    axes.set_xlim(0, 1.42 * max([*values, 1e-9]))
    text = f"{len(hot)} of {len(layer_ms)} layers take {share:.0%} of the layers' time"
    finish_axes(axes, title=text, xlabel="Median time (ms)", grid="x")
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    stamp_platform(figure, platform, note="orange: the hot ones; profiled one by one, so the sum is not the latency")
    return figure
