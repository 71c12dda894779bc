"""What was expected beside what an answer gave: boxes, thresholds, curves, samples.

One colour each through all of them: blue for what is right, vermilion for what the answer gave and should not have.
Numbers of an answer may be anything that an array can hold; what cannot be drawn is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure
from yolotrt_lab.types import Array, ImageArray

__all__ = [
    "FlaggedBox",
    "flagged_boxes",
    "kept_boxes",
    "operating_choices",
    "paired_boxes",
    "precision_recall_curves",
    "roofline_points",
    "samples_over_calls",
    "threshold_choice",
]

_RIGHT, _WRONG, _MISSED, _PALE = "#0072B2", "#D55E00", "#E69F00", "#c4c4c4"
_Style = Literal["-", "--", ":"]
_MOST_BOXES = 150
_FARTHEST = 1e7  # of a coordinate: beyond, a box is not drawn


def kept_boxes(xyxy: Array, *, expected: Sequence[int], seen: Sequence[int]) -> Figure:
    """Draw candidates twice: which should be kept, and which were.

    Args:
        xyxy: (n, 4) candidates; at most 150 are drawn.
        expected: Indices that should be kept.
        seen: Indices that were kept; others than those of a candidate are left out.
    """
    right, found = set(expected), set(seen) & set(range(len(xyxy)))
    shown = _nearest_to_first(xyxy, sorted(right ^ found))
    figure = new_figure(width=9.0, height=4.6)
    panels: tuple[tuple[str, set[int], set[int]], ...] = (
        (f"Expected: {len(right)} of {len(xyxy)} boxes", right, set()),
        (f"Yours: {len(found)} boxes", found & right, found - right),
    )
    for axes, (title, good, extra) in zip(figure.subplots(1, 2), panels, strict=True):
        for index in shown:
            if index not in good | extra:
                missing = extra is panels[1][2] and index in right
                _outline(axes, xyxy[index], _MISSED if missing else _PALE, width=2.2 if missing else 0.8,
                         style="--" if missing else "-")  # fmt: skip
        for index in shown:
            if index in good | extra:
                _outline(axes, xyxy[index], _RIGHT if index in good else _WRONG, width=2.4)
        _show_space(axes, xyxy[shown], title)
    _name(figure, {"kept, rightly": (_RIGHT, "-"), "kept, should go": (_WRONG, "-"),
                   "gone, should stay": (_MISSED, "--"), "gone, rightly": (_PALE, "-")})  # fmt: skip
    return figure


def _nearest_to_first(xyxy: Array, differing: Sequence[int]) -> list[int]:
    """Return the indices of the boxes to draw: all, or of very many those around the first that differs."""
    if len(xyxy) <= _MOST_BOXES or not differing:
        return list(range(min(len(xyxy), _MOST_BOXES)))
    centers = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    distance = np.abs(centers - centers[differing[0]]).max(axis=1)
    return sorted(np.argsort(distance, kind="stable")[:_MOST_BOXES].tolist())


def paired_boxes(
    expected_xyxy: Array, seen_xyxy: Array, *, image_hw: tuple[int, int], image_bgr: ImageArray | None = None
) -> Figure:
    """Draw where each box should be and where it was put, with an arrow from one to the other where they differ.

    Args:
        expected_xyxy: (n, 4) boxes in pixels.
        seen_xyxy: (n, 4) boxes of the answer, in the same order.
        image_hw: Height and width of the image, whose border is drawn.
        image_bgr: The image itself, if there is one.
    """
    height, width = image_hw
    room = 0.06 * max(image_hw)
    away = 1.2 * max(image_hw)
    inside = np.array([bool(np.all((box > -away) & (box < away + max(image_hw)))) for box in seen_xyxy], bool)
    all_edges = np.concatenate((expected_xyxy, seen_xyxy[inside], [[0, 0, width, height]]))
    left, top = all_edges[:, (0, 2)].min() - room, all_edges[:, (1, 3)].min() - room
    right, bottom = all_edges[:, (0, 2)].max() + room, all_edges[:, (1, 3)].max() + room
    figure = new_figure(width=8.0, height=min(max(8.0 * (bottom - top) / (right - left), 3.0), 7.0) + 0.6)
    axes = figure.add_subplot()
    if image_bgr is not None:
        axes.imshow(image_bgr[:, :, ::-1], extent=(0, width, height, 0), alpha=0.55, interpolation="nearest")
    axes.add_patch(Rectangle((0, 0), width, height, fill=False, edgecolor=GREY, linewidth=1.2))
    for number, box in enumerate(expected_xyxy[:_MOST_BOXES]):
        _outline(axes, box, _RIGHT, width=2.4)
        _pair(axes, number, box, seen_xyxy[number] if inside[number] else None)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.set_axis_off()
    lost = int((~inside[:_MOST_BOXES]).sum())
    note = f" ({lost} of yours lie far outside)" if lost else ""
    _name(figure, {"expected": (_RIGHT, "-"), f"yours{note}": (_WRONG, "--"), "edge of the image": (GREY, "-")})
    return figure


def _pair(axes: Axes, number: int, expected: Array, seen: Array | None) -> None:
    """Draw the answer's box of a pair, and number both where they are apart."""
    left, top, right, bottom = expected
    center = (left + right) / 2, (top + bottom) / 2
    if seen is None or not np.allclose(seen, expected, atol=0.5):
        axes.text(*center, str(number), fontsize=10, color=_RIGHT, ha="center", va="center", weight="bold",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}, zorder=4)  # fmt: skip
    if seen is None:
        return
    _outline(axes, seen, _WRONG, width=1.8, style="--")
    if not np.allclose(seen, expected, atol=0.5):
        other = (seen[0] + seen[2]) / 2, (seen[1] + seen[3]) / 2
        axes.annotate("", xy=other, xytext=center, arrowprops={"arrowstyle": "->", "color": _WRONG, "linewidth": 1})


@dataclass(frozen=True)
class FlaggedBox:
    """One box of a label file, with what should have been said of it and what was.

    Attributes:
        cxcywh: Centre and size, in shares of the image.
        expected: The problem it has; empty if it is sound.
        seen: The problem that was reported; empty if none was.
        name: Where it is written, such as "line 3".
    """

    cxcywh: tuple[float, float, float, float]
    expected: str
    seen: str
    name: str


def flagged_boxes(boxes: Sequence[FlaggedBox]) -> Figure:
    """Draw labels on their image's area, those that were judged wrongly with their names.

    Args:
        boxes: At most 150 are drawn.
    """
    figure = new_figure(width=8.0, height=5.4)
    axes = figure.add_subplot()
    axes.add_patch(Rectangle((0, 0), 1, 1, facecolor="#f4f4f4", edgecolor=GREY, linewidth=1.2))
    for box in sorted(boxes[:_MOST_BOXES], key=lambda item: item.expected != item.seen):
        cx, cy, width, height = (float(np.clip(value, -1.0, 2.0)) for value in box.cxcywh)
        color, style = _PALE, "-"
        if box.expected or box.seen:
            color = _RIGHT if box.expected == box.seen else _MISSED if not box.seen else _WRONG
            style = "--" if color == _MISSED else "-"
        corners = np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2])
        _outline(axes, corners, color, width=0.9 if color == _PALE else 2.2, style=style)
        if min(abs(width), abs(height)) < 0.01:
            axes.plot(cx, cy, "s", color=color, markersize=6, zorder=4)
        if box.expected != box.seen:
            words = f"{box.name}: {box.expected}" if box.expected else f"{box.name} is sound"
            axes.annotate(escaped(words), (min(corners[0], corners[2]), min(corners[1], corners[3])), xytext=(0, 3),
                          textcoords="offset points", fontsize=10, color=INK, va="bottom",
                          bbox={"facecolor": "white", "edgecolor": color, "pad": 1.5})  # fmt: skip
    edges = [side for box in boxes for side in (box.cxcywh[0] - box.cxcywh[2] / 2, box.cxcywh[0] + box.cxcywh[2] / 2)]
    axes.set_xlim(max(min([0.0, *edges]), -0.4) - 0.02, min(max([1.0, *edges]), 1.4) + 0.12)
    edges = [side for box in boxes for side in (box.cxcywh[1] - box.cxcywh[3] / 2, box.cxcywh[1] + box.cxcywh[3] / 2)]
    axes.set_ylim(min(max([1.0, *edges]), 1.4) + 0.02, max(min([0.0, *edges]), -0.4) - 0.06)
    axes.set_axis_off()
    _name(figure, {"reported, rightly": (_RIGHT, "-"), "missed": (_MISSED, "--"),
                   "reported wrongly": (_WRONG, "-"), "sound": (_PALE, "-")})  # fmt: skip
    return figure


def threshold_choice(
    counts: Array, edges: Array, *, expected: float, seen: float, cost: tuple[Array, Array, str] | None = None
) -> Figure:
    """Draw a histogram of magnitudes with the threshold that was expected and the one that was chosen.

    Args:
        counts: (b,) values per bin.
        edges: (b + 1,) edges of the bins.
        expected: The right threshold.
        seen: The answer's.
        cost: Thresholds, what each of them costs, and the name of the cost: drawn below.
    """
    figure = new_figure(width=8.5, height=5.2 if cost else 3.6)
    panels = list(figure.subplots(2 if cost else 1, 1, sharex=True, squeeze=False)[:, 0])
    top = panels[0]
    top.set_yscale("log")
    filled = np.maximum(np.asarray(counts, np.float64), 0)
    top.fill_between(np.asarray(edges)[:-1], filled, step="post", color="#9ec5e8", linewidth=0)
    top.set_ylim(0.7, 2.0 * max(float(filled.max(initial=1)), 1.0))
    finish_axes(top, title="The histogram, and where it is cut", ylabel="values", grid=None)
    if cost:
        thresholds, values, name = cost
        finite = np.where(np.isfinite(values), values, np.nan)
        panels[1].plot(thresholds, finite, ".-", color=GREY, linewidth=1.4, markersize=4)
        panels[1].set_yscale("log")
        finish_axes(panels[1], ylabel=name, grid="y")
    within = float(edges[0]) <= seen <= float(edges[-1])
    left, right = _around(expected, seen, edges)
    for axes in panels:
        axes.axvline(expected, color=_RIGHT, linewidth=2.6)
        if within:
            axes.axvline(seen, color=_WRONG, linewidth=2.2, linestyle="--")
        axes.set_xlim(left, right)
    panels[-1].set_xlabel("magnitude", fontsize=11, color=INK)
    note = "" if within else ", outside of the histogram"
    _name(figure, {f"expected: {expected:.5g}": (_RIGHT, "-"), f"yours: {seen:.5g}{note}": (_WRONG, "--")})
    return figure


def _around(expected: float, seen: float, edges: Array) -> tuple[float, float]:
    """Return what part of a histogram to show: all of it, or the bins around two thresholds that are near."""
    low, high, width = float(edges[0]), float(edges[-1]), float(edges[1] - edges[0])
    if abs(expected - seen) > 0.04 * (high - low):
        return low, high + 0.02 * (high - low)
    room = max(3 * abs(expected - seen), 8 * width)
    return max(min(expected, seen) - room, low), max(expected, seen) + room


def operating_choices(
    thresholds: Array, rates: Mapping[str, Array], *, floor: tuple[str, float], expected: float, seen: float
) -> Figure:
    """Draw rates over the confidence threshold, with the floor that one of them must keep and two choices.

    Args:
        thresholds: (n,) in any order.
        rates: Name to (n,) rates.
        floor: The rate that has a floor, and the floor.
        expected: The right threshold.
        seen: The answer's.
    """
    order = np.argsort(thresholds)
    figure = new_figure(width=8.5, height=4.2)
    axes = figure.add_subplot()
    colors = ("#009E73", "#CC79A7")
    for values, color in zip(rates.values(), colors, strict=False):
        axes.step(np.asarray(thresholds)[order], np.asarray(values)[order], where="pre", color=color, linewidth=2)
    axes.axhline(floor[1], color=colors[list(rates).index(floor[0])], linewidth=1.2, linestyle=":")
    axes.axvline(expected, color=_RIGHT, linewidth=2.6)
    shown = float(np.clip(seen, -0.02, 1.02))
    axes.axvline(shown, color=_WRONG, linewidth=2.2, linestyle="--")
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(0, 1.05)
    finish_axes(axes, xlabel="confidence threshold", ylabel="rate", grid="y")
    curves: dict[str, tuple[str, _Style]] = {name: (color, "-") for name, color in zip(rates, colors, strict=False)}
    curves[f"floor of {floor[0]}: {floor[1]:g}"] = (colors[list(rates).index(floor[0])], ":")
    _name(figure, {f"expected: {expected:.4g}": (_RIGHT, "-"), f"yours: {seen:.4g}": (_WRONG, "--"), **curves})
    return figure


def precision_recall_curves(
    curves: Mapping[str, tuple[Array, Array]], samples: Mapping[str, tuple[Array, Array]] | None = None
) -> Figure:
    """Draw precision over recall, as it should be and as it was.

    Args:
        curves: "expected" and "yours" to (recall, precision).
        samples: The same names to further points.
    """
    figure = new_figure(width=7.5, height=4.2)
    axes = figure.add_subplot()
    looks: dict[str, tuple[str, _Style]] = {"expected": (_RIGHT, "-"), "yours": (_WRONG, "--")}
    for name, (recall, precision) in curves.items():
        color, style = looks[name]
        axes.step(recall, precision, where="pre", color=color, linestyle=style, linewidth=2.2)
    for name, (recall, precision) in (samples or {}).items():
        axes.plot(recall, precision, ".", color=looks[name][0], markersize=4)
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.05)
    finish_axes(axes, xlabel="recall", ylabel="precision", grid="both")
    _name(figure, {name: looks[name] for name in curves})
    return figure


def roofline_points(
    peak_gflops: float, bandwidth_gb_s: float, *, expected: tuple[float, float], seen: tuple[float, float]
) -> Figure:
    """Draw a machine's roofline with a layer where it belongs and where it was placed.

    Args:
        peak_gflops: Of the machine.
        bandwidth_gb_s: Of its memory.
        expected: Operations per byte, and the attainable GFLOP/s.
        seen: The answer's, both more than 0.
    """
    ridge = peak_gflops / bandwidth_gb_s
    low, high = min(ridge, expected[0], seen[0]) / 4, max(ridge, expected[0], seen[0]) * 4
    figure = new_figure(width=7.5, height=4.2)
    axes = figure.add_subplot()
    x = np.geomspace(low, high, 200)
    axes.plot(x, np.minimum(peak_gflops, x * bandwidth_gb_s), color=INK, linewidth=2)
    axes.axvline(ridge, color=GREY, linewidth=1, linestyle=":")
    axes.plot(*expected, "o", color=_RIGHT, markersize=13, zorder=3)
    axes.plot(*seen, "X", color=_WRONG, markersize=11, markeredgecolor="white", zorder=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    finish_axes(axes, xlabel="intensity (operations per byte)", ylabel="attainable GFLOP/s", grid="both")
    _plain_logarithms(axes.xaxis, axes.yaxis)
    points = (("expected", expected, _RIGHT), ("yours", seen, _WRONG))
    _name(figure, {f"{name}: {x:.4g} op/B, {y:.4g} GFLOP/s": (color, "-") for name, (x, y), color in points})
    return figure


def samples_over_calls(expected: Array, seen: Array, *, unit: str) -> Figure:
    """Draw what each call really took and what was measured.

    Args:
        expected: (n,) the truth.
        seen: (m,) the answer's samples; those that are not positive are left out.
        unit: Of both.
    """
    figure = new_figure(width=8.5, height=3.8)
    axes = figure.add_subplot()
    for values, color, style, width in ((expected, _RIGHT, "-", 2.4), (seen, _WRONG, "--", 1.4)):
        usable = np.where(np.isfinite(values) & (np.asarray(values) > 0), values, np.nan)[:5000]
        axes.plot(np.arange(len(usable)), usable, color=color, linestyle=style, linewidth=width)
    finish_axes(axes, xlabel="measured call", ylabel=unit, grid="y")
    low, high = axes.get_ylim()
    if low <= 0 or high / low > 5:
        axes.set_yscale("log")
        _plain_logarithms(axes.yaxis)
    medians = [float(np.nanmedian(values)) if len(values) else float("nan") for values in (expected, seen)]
    _name(figure, {f"what the calls took, median {medians[0]:.4g} {unit}": (_RIGHT, "-"),
                   f"your samples, median {medians[1]:.4g} {unit}": (_WRONG, "--")})  # fmt: skip
    return figure


def _outline(axes: Axes, xyxy: Array, color: str, *, width: float, style: str = "-") -> None:
    left, top, right, bottom = (float(value) for value in xyxy)
    if not np.isfinite([left, top, right, bottom]).all() or max(map(abs, (left, top, right, bottom))) > _FARTHEST:
        return
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=width,
                  linestyle=style)
    )  # fmt: skip


def _show_space(axes: Axes, xyxy: Array, title: str) -> None:
    """Fit axes to boxes, with y growing downwards as in images."""
    room = 0.05 * max(float(np.ptp(xyxy)), 1.0) if len(xyxy) else 1.0
    low, high = (xyxy[:, :2].min(axis=0), xyxy[:, 2:].max(axis=0)) if len(xyxy) else (np.zeros(2), np.ones(2))
    axes.set_xlim(float(low[0]) - room, float(high[0]) + room)
    axes.set_ylim(float(high[1]) + room, float(low[1]) - room)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(title, fontsize=12, color=INK, loc="left")


def _plain_logarithms(*axes: Axis) -> None:
    """Label logarithmic axes with plain numbers, few enough to be read."""
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=8))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value < 1e5 else f"{value:.0e}"))
        axis.set_minor_formatter(NullFormatter())


def _name(figure: Figure, looks: Mapping[str, tuple[str, _Style]]) -> None:
    """Say below the figure what the lines are."""
    handles = [Line2D([], [], color=color, linestyle=style, linewidth=2.4) for color, style in looks.values()]
    fits = sum(len(name) + 7 for name in looks) <= 11 * figure.get_size_inches()[0]
    columns = len(looks) if fits else (len(looks) + 1) // 2
    figure.legend(handles, [escaped(name) for name in looks], loc="outside lower center", ncols=columns,
                  fontsize=11, frameon=False, labelcolor=INK)  # fmt: skip
