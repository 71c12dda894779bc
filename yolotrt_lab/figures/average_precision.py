"""Overlap, precision and recall, and what can be read off them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure, series_colors
from yolotrt_lab.types import Array

__all__ = [
    "ap_by_class",
    "average_precision_curve",
    "label_noise_ceiling",
    "operating_points",
    "overlaps",
    "paired_gains",
]

_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
Box = tuple[float, float, float, float]


def overlaps(pairs: Sequence[tuple[Box, Box]]) -> Figure:
    """Draw pairs of boxes, what they share, and their intersection over union.

    Args:
        pairs: Of boxes, left, top, right, bottom.

    Raises:
        InputError: There is no pair.
    """
    if not pairs:
        raise InputError("There are no boxes to draw.", expected="at least one pair", got="none")
    figure = new_figure(width=2.4 * len(pairs), height=2.5)
    low = np.min([box[:2] for pair in pairs for box in pair])
    high = np.max([box[2:] for pair in pairs for box in pair])
    for axes, (first, second) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        left, top = max(first[0], second[0]), max(first[1], second[1])
        right, bottom = min(first[2], second[2]), min(first[3], second[3])
        shared = max(right - left, 0.0) * max(bottom - top, 0.0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
        for box, color in ((first, _BLUE), (second, _ORANGE)):
            axes.add_patch(_rectangle(box, edgecolor=color, facecolor=color, alpha=0.18, linewidth=0))
            axes.add_patch(_rectangle(box, edgecolor=color, fill=False, linewidth=2))
        if shared:
            axes.add_patch(_rectangle((left, top, right, bottom), facecolor=_GREEN, alpha=0.55, linewidth=0))
        axes.set_title(f"IoU {shared / (sum(areas) - shared):.2f}", fontsize=12, color=INK)
        axes.set_xlim(low - 0.5, high + 0.5)
        axes.set_ylim(high + 0.5, low - 0.5)
        axes.set_aspect("equal")
        axes.set_axis_off()
    return figure


def _rectangle(box: Box, **style: object) -> Rectangle:
    left, top, right, bottom = box
    return Rectangle((left, top), right - left, bottom - top, **style)  # type: ignore[arg-type]


def average_precision_curve(is_true: Sequence[bool] | Array, positives: int, *, title: str = "") -> Figure:
    """Draw the steps from judged detections to average precision: raw curve, envelope, 101 samples.

    Args:
        is_true: Whether each detection is right, the most confident first.
        positives: How many objects there are.
        title: Of the figure.

    Raises:
        InputError: There are no detections, or no objects.
    """
    flags = np.asarray(is_true, bool)
    if not len(flags) or positives < 1:
        raise InputError(
            "There is no curve to draw.",
            expected="at least one detection and one object",
            got=f"{len(flags)} detections, {positives} objects",
        )
    true = np.cumsum(flags)
    recall, precision = true / positives, true / np.arange(1, len(flags) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    samples = np.linspace(0, 1, 101)
    place = np.searchsorted(recall, samples, side="left")
    values = np.append(envelope, 0.0)[place]
    figure = new_figure(height=4.2)
    axes = figure.add_subplot()
    axes.fill_between(samples, values, step="pre", color=_GREEN, alpha=0.14, linewidth=0)
    axes.plot(recall, precision, color=GREY, linewidth=1.2, label="precision after each detection")
    axes.plot(recall, envelope, color=_BLUE, linewidth=2, label="best precision at this recall or more")
    axes.plot(samples, values, ".", color=_GREEN, markersize=5, label=f"101 samples, mean {values.mean():.3f} = AP")
    if recall[-1] < 1:
        axes.axvline(recall[-1], color=_RED, linewidth=1, linestyle=(0, (4, 3)))
        note = f"{positives - int(true[-1])} of {positives}\nare never found"
        axes.text(recall[-1] + 0.012, 0.05, note, fontsize=10, color=_RED, va="bottom")
    axes.set_xlim(0, 1.13 if recall[-1] > 0.9 else 1.02)
    axes.set_ylim(0, 1.04)
    finish_axes(axes, title=escaped(title), xlabel="Recall", ylabel="Precision", grid="both")
    axes.legend(fontsize=10, frameon=False, labelcolor=INK, loc="lower left")
    return figure


def label_noise_ceiling(noise_px: Sequence[float], values: Mapping[str, Sequence[float]]) -> Figure:
    """Draw what a perfect detector scores against labels that are off by some pixels.

    Args:
        noise_px: How far the edges of the labels are off.
        values: Name of a measure to its value at each noise.
    """
    figure = new_figure(height=3.9)
    axes = figure.add_subplot()
    colors = series_colors(list(values))
    for name, series in values.items():
        axes.plot(noise_px, series, marker="o", markersize=4, linewidth=2, color=colors[name])
        axes.annotate(
            escaped(name), (noise_px[-1], series[-1]), xytext=(8, 0), textcoords="offset points", fontsize=10,
            color=colors[name], va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(0, 1.05)
    axes.set_xlim(0, max(noise_px) * 1.14)
    finish_axes(
        axes,
        title="The best score anybody can get",
        xlabel="Standard deviation of each edge of the labels [pixels]",
        ylabel="Score of a perfect detector",
    )
    return figure


def paired_gains(
    gains: Mapping[str, Sequence[float]], intervals: Mapping[str, tuple[float, float]], *, measure: str = "mAP50-95"
) -> Figure:
    """Draw the gain of every seed over the baseline's run with the same seed, and the interval of their mean.

    Args:
        gains: Name of a change to its gains, one per seed.
        intervals: Lower and upper end of the interval of the mean, by the same names.
        measure: What is gained.

    Raises:
        InputError: The names differ, or there are none.
    """
    if not gains or set(gains) != set(intervals):
        raise InputError(
            "Gains and intervals do not fit together.", expected=", ".join(gains) or "a name", got=", ".join(intervals)
        )
    names = sorted(gains, key=lambda name: float(np.mean(gains[name])))
    figure = new_figure(height=1.2 + 0.5 * len(names))
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=1)
    for row, name in enumerate(names):
        low, high = intervals[name]
        color = _GREEN if low > 0 else _RED if high < 0 else GREY
        axes.plot([low, high], [row, row], color=color, linewidth=6, alpha=0.35, solid_capstyle="butt")
        axes.plot(gains[name], [row] * len(gains[name]), "o", markersize=5, color=color, alpha=0.75)
        axes.plot([np.mean(gains[name])], [row], "|", markersize=20, markeredgewidth=2.5, color=color)
    axes.set_yticks(range(len(names)), [escaped(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    finish_axes(
        axes,
        title="Gain per seed (dots), mean (line), 95 % interval of the mean (bar)",
        xlabel=f"{measure} minus the baseline's with the same seed",
        grid="x",
    )
    return figure


def operating_points(
    thresholds: Array,
    precision: Array,
    recall: Array,
    *,
    floors: Mapping[str, float],
    chosen: Mapping[str, float],
) -> Figure:
    """Draw precision and recall over the threshold, with floors and the thresholds chosen.

    Args:
        thresholds: (n,) confidences.
        precision: (n,) precision of what scores at least so much.
        recall: (n,) recall of it.
        floors: "precision" or "recall" to the least that is asked for.
        chosen: Use case to its threshold.
    """
    figure = new_figure(height=4.2)
    axes = figure.add_subplot()
    lines = {"precision": (precision, _BLUE), "recall": (recall, _ORANGE)}
    order = np.argsort(thresholds)
    for name, (values, color) in lines.items():
        axes.plot(np.asarray(thresholds)[order], np.asarray(values)[order], color=color, linewidth=2, label=name)
        if name in floors:
            axes.axhline(floors[name], color=color, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.annotate(
                f"{name} floor\n{floors[name]:g}", (1, floors[name]), xytext=(6, 0), textcoords="offset points",
                fontsize=10, color=color, va="center", annotation_clip=False,
            )  # fmt: skip
    for number, (name, threshold) in enumerate(chosen.items()):
        _mark_threshold(axes, name, threshold, level=number)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.16)
    axes.set_yticks(np.linspace(0, 1, 6))
    finish_axes(axes, xlabel="Confidence threshold", ylabel="Share", grid="both")
    axes.legend(fontsize=10, frameon=False, labelcolor=INK, loc="lower center", bbox_to_anchor=(0.4, 0.0))
    return figure


def _mark_threshold(axes: Axes, name: str, threshold: float, *, level: int) -> None:
    axes.axvline(threshold, color=INK, linewidth=1.2)
    axes.text(
        threshold, 1.14 - 0.055 * (level % 2), f" {escaped(name)}: {threshold:.2f}", fontsize=10, color=INK, va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5},
    )  # fmt: skip


def ap_by_class(before: Mapping[str, float], after: Mapping[str, float], *, names: tuple[str, str]) -> Figure:
    """Draw the average precision of every class before and after a change.

    Args:
        before: Class to average precision.
        after: The same, afterwards; classes of `before` that it lacks are left out.
        names: What before and after are called.

    Raises:
        InputError: There is no class in both.
    """
    shared = [name for name in before if name in after]
    if not shared:
        raise InputError("There is no class to compare.", expected=", ".join(before) or "a class", got=", ".join(after))
    shared.sort(key=lambda name: after[name])
    figure = new_figure(height=1.3 + 0.36 * len(shared))
    axes = figure.add_subplot()
    for row, name in enumerate(shared):
        axes.plot([before[name], after[name]], [row, row], color=GREY, linewidth=2, alpha=0.5, zorder=1)
    rows = range(len(shared))
    axes.scatter([before[name] for name in shared], rows, s=55, color=_ORANGE, label=escaped(names[0]), zorder=2)
    axes.scatter([after[name] for name in shared], rows, s=55, color=_BLUE, label=escaped(names[1]), zorder=3)
    axes.set_yticks(rows, [escaped(name) for name in shared])
    axes.set_xlim(0, 1)
    finish_axes(axes, xlabel="Average precision at IoU 0.5", grid="x")
    axes.legend(fontsize=10, frameon=False, labelcolor=INK, loc="lower right")
    return figure
