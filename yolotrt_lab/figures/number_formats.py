"""Pictures of floating-point formats: how finely each counts, and how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from yolotrt_lab.report.plots.style import GREY, INK, color_for, display_name, finish_axes, new_figure, readable
from yolotrt_lab.types import Array

__all__ = ["FORMATS", "number_formats", "rounding_step"]

FORMATS: Mapping[str, tuple[int, int, float]] = {
    "fp32": (23, -126, float(np.finfo(np.float32).max)),
    "fp16": (10, -14, float(np.finfo(np.float16).max)),
    "bf16": (7, -126, float.fromhex("0x1.fep127")),
}
"""Stored bits of the mantissa, least exponent of normal numbers, greatest number."""


def rounding_step(values: Array, number_format: str) -> Array:
    r"""Return the distance between neighbouring numbers around given values: $2^{\lfloor\log_2|x|\rfloor - m}$.

    Args:
        values: Positive numbers.
        number_format: A key of `FORMATS`.

    Returns:
        Steps of the values' shape; infinite beyond the greatest number.

    Example:
        >>> rounding_step(np.array([1.0, 640.0, 70000.0]), "fp16").tolist()
        [0.0009765625, 0.5, inf]
    """
    mantissa_bits, least_exponent, greatest = FORMATS[number_format]
    magnitude = np.asarray(values, np.float64)
    exponent = np.maximum(np.floor(np.log2(magnitude)), least_exponent)
    return np.where(magnitude > greatest, np.inf, 2.0 ** (exponent - mantissa_bits))


def number_formats(marks: Mapping[str, float], *, names: Sequence[str] = ("fp32", "bf16", "fp16")) -> Figure:
    """Draw the rounding step of each format over the size of the number.

    Args:
        marks: Label to a value that matters, such as the greatest pixel coordinate.
        names: Formats to draw, keys of `FORMATS`.
    """
    figure = new_figure(height=4.8)
    axes = figure.add_subplot()
    values = np.logspace(-9, 6, 3000)
    for name in names:
        steps = rounding_step(values, name)
        color = color_for(name) or GREY
        shown = np.isfinite(steps)
        axes.plot(values[shown], steps[shown], color=color, linewidth=2, label=display_name(name))
        if not shown.all():
            end = FORMATS[name][2]
            axes.plot(end, steps[shown][-1], marker="X", markersize=9, color=color)
            axes.annotate(
                f"{display_name(name)} ends at {end:g}",
                (end, steps[shown][-1]),
                xytext=(8, 4),
                textcoords="offset points",
                fontsize=10,
                color=readable(color),
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1e-9, 3e7)
    bottom, top = axes.get_ylim()
    for label, value in marks.items():
        axes.axvline(value, color=GREY, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
        axes.annotate(
            label,
            (value, bottom),
            xytext=(-3, 4),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="bottom",
            fontsize=10,
            color=INK,
        )
    axes.set_ylim(bottom, top)
    finish_axes(
        axes,
        title="How finely each format counts (lower: finer)",
        xlabel="Size of the number",
        ylabel="Step to the next number",
        grid="both",
    )
    axes.legend(loc="upper left", fontsize=10, frameon=False, labelcolor=INK)
    return figure
