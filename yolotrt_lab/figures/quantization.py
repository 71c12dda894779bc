"""Pictures of what eight bits do to numbers, channels and layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.figure import Figure

from yolotrt_lab.report.plots.style import INK, color_for, escaped, finish_axes, new_figure
from yolotrt_lab.types import Array

__all__ = ["channel_steps", "clipping_tradeoff", "layer_sensitivity", "level_grids"]

_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"


def level_grids(values: Array, *, bits: int = 4) -> Figure:
    """Show which numbers are left after quantization: symmetric and affine, few bits so that one can see them.

    Args:
        values: What is quantized, of any shape.
        bits: Bits per number.

    Returns:
        Two histograms of the values over the lines of the numbers that remain.
    """
    flat = np.asarray(values, np.float64).ravel()
    low, high = float(flat.min()), float(flat.max())
    half = 2 ** (bits - 1)
    amax = max(abs(low), abs(high))
    symmetric = np.arange(-half, half) * amax / (half - 1)
    step = (high - low) / (2**bits - 1)
    affine = (np.arange(2**bits) + np.round(low / step)) * step
    figure = new_figure(width=9.5, height=4.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, levels, name in ((upper, symmetric, "Symmetric"), (lower, affine, "Affine")):
        axes.hist(flat, bins=160, color="#9ec5e8", log=True)
        axes.vlines(levels, 0, 1, transform=axes.get_xaxis_transform(), color=_RED, linewidth=1)
        used = int(((levels >= low - step) & (levels <= high + step)).sum())
        title = f"{name}: {used} of {len(levels)} levels lie where there are values"
        finish_axes(axes, title=title, ylabel="values", grid=None)
    lower.set_xlabel(f"value, with the {2**bits} levels of {bits} bits in red", fontsize=11, color=INK)
    return figure


def clipping_tradeoff(thresholds: Array, rounding: Array, clipping: Array) -> Figure:
    """Show that a threshold trades rounding errors against clipping errors.

    Args:
        thresholds: (n,) magnitudes that map to 127.
        rounding: (n,) squared errors of the values within, summed.
        clipping: (n,) squared errors of the values beyond, summed.
    """
    total = np.asarray(rounding) + np.asarray(clipping)
    best = int(np.argmin(total))
    figure = new_figure(height=4.4)
    axes = figure.subplots()
    for errors, name, color in ((rounding, "rounding", _BLUE), (clipping, "clipping", _ORANGE), (total, "both", INK)):
        shown = np.where(np.asarray(errors) > 0, errors, np.nan)
        axes.plot(thresholds, shown, color=color, linewidth=2.5 if name == "both" else 1.8, label=name)
    axes.axvline(float(thresholds[best]), color=_RED, linestyle="--", linewidth=1.5)
    axes.annotate(
        f"least: {thresholds[best]:.3g}",
        (float(thresholds[best]), float(total.max())),
        xytext=(6, 0),
        textcoords="offset points",
        color=_RED,
        fontsize=10,
        va="top",
    )
    axes.set_yscale("log")
    finish_axes(
        axes,
        title="A smaller step rounds less and clips more",
        xlabel="threshold (what maps to 127)",
        ylabel="sum of squared errors",
        grid="both",
        legend=True,
    )
    return figure


def channel_steps(amax: Array, per_tensor_db: Array, per_channel_db: Array) -> Figure:
    """Show what one step for all channels does to the quiet ones.

    Args:
        amax: (channels,) largest magnitude of each output channel's weights.
        per_tensor_db: (channels,) signal-to-noise ratio of each channel with one step for all.
        per_channel_db: (channels,) likewise with a step for each.
    """
    order = np.argsort(np.asarray(amax))
    channels = np.arange(len(order))
    figure = new_figure(width=9.5, height=5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    upper.bar(channels, np.asarray(amax)[order], color="#9ec5e8", width=0.85)
    upper.axhline(float(np.max(amax)), color=_ORANGE, linewidth=1.8)
    finish_axes(upper, title="Largest weight of each output channel, and of the tensor", ylabel="magnitude")
    lower.plot(channels, np.asarray(per_channel_db)[order], "o", color=_GREEN, markersize=5, label="a step per channel")
    lower.plot(channels, np.asarray(per_tensor_db)[order], "o", color=_ORANGE, markersize=5, label="one step for all")
    finish_axes(
        lower,
        title="Signal-to-noise ratio of the quantized weights",
        xlabel="output channels, from quiet to loud",
        ylabel="dB",
        grid="both",
        legend=True,
    )
    return figure


def layer_sensitivity(
    damage: Mapping[str, float], *, kept: Collection[str] = (), all_int8: float | None = None
) -> Figure:
    """Show the damage that each layer's quantization does, the worst on top.

    Args:
        damage: Layer to the error of the output with that layer alone in INT8.
        kept: Layers to mark as kept in high precision.
        all_int8: The error with all of them in INT8, as a line.
    """
    names = sorted(damage, key=lambda name: damage[name])
    figure = new_figure(width=9.0, height=1.6 + 0.26 * len(names))
    axes = figure.subplots()
    colors = [_ORANGE if name in kept else color_for("int8") or _GREEN for name in names]
    axes.barh(range(len(names)), [damage[name] for name in names], color=colors, height=0.75)
    axes.set_yticks(range(len(names)), [escaped(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    if all_int8 is not None:
        axes.axvline(all_int8, color=INK, linestyle="--", linewidth=1.5)
        label = f"all of them: {all_int8:.3f}"
        axes.annotate(label, (all_int8, -0.3), xytext=(-5, 0), textcoords="offset points", fontsize=10, ha="right")
    title = "Damage of each layer alone in INT8" + ("; orange stays in high precision" if kept else "")
    finish_axes(axes, title=title, xlabel="relative L2 error of the output", grid="x")
    return figure
