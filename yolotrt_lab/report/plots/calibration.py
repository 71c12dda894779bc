"""The calibration report as a picture: what the images show, what is clipped, where the methods put the threshold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from yolotrt_lab.precision.histogram import StreamingHistogram
from yolotrt_lab.precision.representativeness import RepresentativenessReport
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure, short_name

__all__ = ["calibration_report"]

_OURS, _THEIRS = "#E69F00", "#0072B2"
_METHODS = {
    "minmax": ("min-max", "#4D4D4D", (0, (1, 1))),
    "mse": ("MSE", "#009E73", "-"),
    "percentile": ("percentile 99.99", "#E69F00", (0, (5, 2))),
    "entropy": ("entropy", "#D55E00", "-"),
    "entropy-one-sided": ("entropy, one side", "#CC79A7", (0, (5, 2, 1, 2))),
}  # label, colour, and a line style that keeps equal thresholds visible
_MOST_CLASSES = 12
_MOST_TENSORS = 8
_LEAST_BRIGHTNESS_SPAN = 0.2


def calibration_report(
    report: RepresentativenessReport,
    *,
    tensor: str,
    histogram: StreamingHistogram,
    thresholds: Mapping[str, float],
    calibration_name: str = "calibration",
    reference_name: str = "reference",
) -> Figure:
    """Draw the calibration images against what they should stand for, and what calibration made of them.

    Args:
        report: What was found.
        tensor: The tensor of the last panel.
        histogram: Its magnitudes.
        thresholds: Method to the magnitude it maps to 127 there.
        calibration_name: What the calibration images are, for the legend.
        reference_name: What they should stand for.
    """
    labeled = bool(report.classes)
    figure = new_figure(width=9.0, height=10.2)
    grid = figure.add_gridspec(3, 2, height_ratios=(1.0, 1.0, 0.95))
    names = (
        f"{calibration_name} ({report.calibration.image_count} images)",
        f"{reference_name} ({report.reference.image_count} images)",
    )
    classes, sizes = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    brightness, saturated = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    if labeled:
        _draw_classes(classes, report)
    else:
        _draw_aspects(classes, report)
    _draw_brightness(brightness, report)
    _draw_sizes(sizes, report)
    _draw_saturation(saturated, report)
    _draw_thresholds(figure.add_subplot(grid[2, :]), tensor, histogram, thresholds)
    handles, _ = brightness.get_legend_handles_labels()
    figure.legend(
        handles, [escaped(name) for name in names], loc="outside upper left", ncols=2, fontsize=11, frameon=False,
        labelcolor=INK,
    )  # fmt: skip
    return figure


def _draw_classes(axes: Axes, report: RepresentativenessReport) -> None:
    """Draw the share of each class; those that are missing or rare first, when not all fit."""
    order = sorted(report.classes, key=lambda item: (item.verdict == "shown", -item.reference_objects))[:_MOST_CLASSES]
    ours, theirs = (max(int(part.object_counts.sum()), 1) for part in (report.calibration, report.reference))
    places = np.arange(len(order))
    shares = np.array([item.calibration_objects / ours for item in order])
    others = np.array([item.reference_objects / theirs for item in order])
    axes.barh(places - 0.2, 100 * shares, height=0.38, color=_OURS)
    axes.barh(places + 0.2, 100 * others, height=0.38, color=_THEIRS)
    for place, item, share in zip(places, order, shares, strict=True):
        remark = "" if item.verdict == "shown" else f"  {item.verdict}"
        axes.annotate(
            f"{item.calibration_objects}{remark}", (100 * share, place - 0.2), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=10, color="#9a3412" if remark else INK,
        )  # fmt: skip
    more = len(report.classes) - len(order)
    finish_axes(axes, title="Classes", xlabel=f"% of the objects{f' ({more} more classes)' if more else ''}", grid="x")
    axes.set_yticks(places, [short_name(item.name, length=16) for item in order])
    axes.set_xlim(0, 118 * max(float(shares.max(initial=0)), float(others.max(initial=0)), 0.01))
    axes.invert_yaxis()


def _draw_pair(axes: Axes, ours: NDArray[np.float64], theirs: NDArray[np.float64], edges: NDArray[np.float64]) -> None:
    for values, color, style in ((ours, _OURS, "stepfilled"), (theirs, _THEIRS, "step")):
        weights = np.full(len(values), 100.0 / max(len(values), 1))
        axes.hist(
            values, bins=edges.tolist(), weights=weights, histtype=style, color=color, linewidth=2,  # type: ignore[arg-type]
            alpha=0.75 if style == "stepfilled" else 1.0, label="x",
        )  # fmt: skip


def _draw_brightness(axes: Axes, report: RepresentativenessReport) -> None:
    ours, theirs = report.calibration.brightness, report.reference.brightness
    _draw_pair(axes, ours, theirs, _edges(ours, theirs, least_span=_LEAST_BRIGHTNESS_SPAN))
    finish_axes(axes, title="Brightness", xlabel="mean luma (0 black, 1 white)", ylabel="% of the images")


def _draw_aspects(axes: Axes, report: RepresentativenessReport) -> None:
    ours, theirs = report.calibration.image_aspect, report.reference.image_aspect
    _draw_pair(axes, ours, theirs, _edges(ours, theirs))
    finish_axes(axes, title="Image format (no labels)", xlabel="width / height", ylabel="% of the images")


def _draw_sizes(axes: Axes, report: RepresentativenessReport) -> None:
    ours, theirs = report.calibration.object_px, report.reference.object_px
    if not len(ours) or not len(theirs):
        _say(axes, "No labels: the sizes of the objects are unknown.", title="Object size")
        return
    low, high = (float(value) for value in (min(ours.min(), theirs.min()), max(ours.max(), theirs.max())))
    _draw_pair(axes, ours, theirs, np.geomspace(low * 0.99, high * 1.01, _bin_count(ours) + 1))
    axes.set_xscale("log")
    ticks = [2.0**power for power in range(0, 14) if low * 0.99 <= 2.0**power <= high * 1.01]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    finish_axes(axes, title="Object size", xlabel="√(width · height), pixels of the input", ylabel="% of the objects")


def _bin_count(values: NDArray[np.float64]) -> int:
    return int(np.clip(2 * np.sqrt(len(values)), 6, 30))


def _edges(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, least_span: float = 0.1) -> NDArray[np.float64]:
    low, high = float(min(ours.min(), theirs.min())), float(max(ours.max(), theirs.max()))
    margin = max(0.01 * (high - low), (least_span - (high - low)) / 2)
    return np.linspace(low - margin, high + margin, _bin_count(ours) + 1)


def _tensor_name(name: str, *, length: int) -> str:
    """Return a tensor's name without what all of a YOLO's names have in common."""
    for ending in ("_output_0", "_output", "/Mul", "/act"):
        name = name.removesuffix(ending)
    return short_name(name.strip("/") or name, length=length)


def _draw_saturation(axes: Axes, report: RepresentativenessReport) -> None:
    worst = sorted(report.saturation, key=lambda name: -report.saturation[name])[:_MOST_TENSORS]
    worst = [name for name in worst if report.saturation[name] > 0]
    label, color, _ = _METHODS.get(report.method, (report.method, GREY, "-"))
    title = f"Clipped by {label}"
    if not worst:
        _say(axes, "No tensor is clipped.", title=title)
        return
    shares = np.array([100 * report.saturation[name] for name in worst])
    axes.barh(np.arange(len(worst)), shares, height=0.62, color=color)
    for place, share in enumerate(shares):
        axes.annotate(
            f"{share:.2g}", (share, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=10,
            color=INK,
        )  # fmt: skip
    finish_axes(axes, title=title, xlabel="% of the tensor's values", grid="x")
    axes.set_yticks(np.arange(len(worst)), [_tensor_name(name, length=22) for name in worst], fontsize=9)
    axes.set_xlim(0, 1.18 * float(shares.max()))
    axes.invert_yaxis()


def _draw_thresholds(axes: Axes, tensor: str, histogram: StreamingHistogram, thresholds: Mapping[str, float]) -> None:
    counts, width = histogram.counts, histogram.bin_width
    used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 1
    axes.set_yscale("log")
    axes.set_ylim(0.7, 1.5 * max(float(counts.max()), 1.0))
    axes.fill_between(
        np.arange(used + 1) * width, np.append(counts[:used], 0), step="post", color="#9ec5e8", linewidth=0
    )
    axes.set_xlim(0, max(used * width, histogram.amax) * 1.02 or 1.0)
    for method, threshold in thresholds.items():
        label, color, style = _METHODS.get(method, (method, "#0072B2", "-"))
        axes.axvline(threshold, color=color, linestyle=style, linewidth=2.2, label=f"{label}: {threshold:.3g}")
    finish_axes(
        axes, title=f"Thresholds for {_tensor_name(tensor, length=60)}", xlabel="magnitude", ylabel="values", grid=None
    )
    if thresholds:
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=10, frameon=False, labelcolor=INK
        )  # below the lines, which would run through it


def _say(axes: Axes, text: str, *, title: str) -> None:
    axes.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=11, color=GREY)
    finish_axes(axes, title=title, grid=None)
    axes.set_xticks([])
    axes.set_yticks([])
