"""Latency as a distribution, batches as a trade-off, and what a faster engine brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    escaped,
    finish_axes,
    ink_on,
    new_figure,
    readable,
    series_colors,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["BatchPoint", "amdahl", "batch_tradeoff", "latency_tail", "share_bars"]

_MARKS = (("median", "#0072B2", "-"), ("mean", "#D55E00", "--"), ("p90", "#009E73", "-."), ("p99", "#CC79A7", ":"))
_STAGE_COLORS = {
    "preprocess": "#009E73",
    "copy_in": "#56B4E9",
    "inference": "#0072B2",
    "copy_out": "#E69F00",
    "postprocess": "#CC79A7",
}


@dataclass(frozen=True)
class BatchPoint:
    """One batch size of a sweep.

    Attributes:
        batch: Images in a batch.
        latency_ms: What a batch takes, in the sense the figure is about (its p99, say).
        images_per_s: What a long run of such batches gets done.
    """

    batch: int
    latency_ms: float
    images_per_s: float


def latency_tail(samples_ms: Sequence[float], *, platform: PlatformInfo | None = None) -> Figure:
    """Draw latencies in the order in which they were measured, and their distribution with four summaries.

    Args:
        samples_ms: Every measured call, at least one.
        platform: Where they ran.
    """
    stats = LatencyStats.from_samples(samples_ms)
    values = {"median": stats.p50_ms, "mean": stats.mean_ms, "p90": stats.p90_ms, "p99": stats.p99_ms}
    figure = new_figure(height=4.2)
    calls, counts = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    calls.plot(range(len(samples_ms)), samples_ms, ".", markersize=4, color=INK, alpha=0.55)
    highest = min(max(samples_ms), 1.6 * stats.p99_ms)
    lowest = max(stats.min_ms - 0.1 * (highest - stats.min_ms), 0)
    bins = np.linspace(lowest, highest, 50)
    counts.hist(np.minimum(samples_ms, highest), bins=bins, orientation="horizontal", color="#b9b9b9")
    for name, color, style in _MARKS:
        for axes in (calls, counts):
            axes.axhline(values[name], color=color, linestyle=style, linewidth=1.6)
        calls.plot([], [], color=color, linestyle=style, linewidth=1.6, label=f"{name} {values[name]:.2f} ms")
    beyond = int(np.sum(np.asarray(samples_ms) > highest))
    calls.set_ylim(lowest, highest * 1.02)
    finish_axes(calls, title="Every call", xlabel="Call", ylabel="Latency (ms)")
    finish_axes(counts, title="How often", xlabel="Calls")
    figure.legend(fontsize=10, frameon=False, loc="outside upper right", ncols=4, labelcolor=INK)
    stamp_platform(figure, platform, note=f"{len(samples_ms)} calls; {beyond} are above the picture")
    return figure


def batch_tradeoff(
    sweeps: Mapping[str, Sequence[BatchPoint]],
    *,
    latency: str,
    budget_ms: float | None = None,
    note: str = "",
    platform: PlatformInfo | None = None,
) -> Figure:
    """Draw throughput over latency, batch sizes as labels; what lies left of the budget is allowed.

    Args:
        sweeps: Name to its points.
        latency: What the latency is, for the axis ("p99 of the whole batch").
        budget_ms: The longest latency allowed.
        note: Shown below.
        platform: Where they ran.
    """
    figure = new_figure(height=4.6)
    axes = figure.add_subplot()
    colors = series_colors(list(sweeps))
    for number, (name, points) in enumerate(sweeps.items()):
        ordered = sorted(points, key=lambda point: point.batch)
        x, y = [point.latency_ms for point in ordered], [point.images_per_s for point in ordered]
        axes.plot(x, y, marker="o", linewidth=2, color=colors[name], label=escaped(name))
        for point in ordered:
            axes.annotate(
                str(point.batch), (point.latency_ms, point.images_per_s), textcoords="offset points",
                xytext=(0, -16) if number % 2 else (0, 8), ha="center", fontsize=10, color=readable(colors[name]),
            )  # fmt: skip
    every = [point.latency_ms for points in sweeps.values() for point in points]
    if every and max(every) > 12 * min(every):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
        axes.tick_params(which="minor", labelsize=9, labelcolor=INK)
    if budget_ms is not None:
        axes.axvline(budget_ms, color="#D55E00", linewidth=1.6, linestyle="--")
        axes.annotate(
            f"budget {budget_ms:g} ms", (budget_ms, 0.03), xycoords=("data", "axes fraction"), xytext=(5, 0),
            textcoords="offset points", fontsize=10, color=readable("#D55E00"),
        )  # fmt: skip
    axes.set_ylim(bottom=0, top=1.12 * max((p.images_per_s for points in sweeps.values() for p in points), default=1))
    title = "What a batch brings and costs (numbers: images in a batch)"
    finish_axes(
        axes, title=title, xlabel=f"Latency: {latency} (ms)", ylabel="Images per second", legend=len(sweeps) > 1
    )
    stamp_platform(figure, platform, note=note)
    return figure


def share_bars(
    stages_ms: Mapping[str, Mapping[str, float]], *, note: str = "", platform: PlatformInfo | None = None
) -> Figure:
    """Draw the stages' shares of a frame, one bar per program, with their milliseconds inside.

    Args:
        stages_ms: Program to stage to milliseconds.
        note: Shown below.
        platform: Where they ran.
    """
    figure = new_figure(height=1.5 + 0.62 * max(len(stages_ms), 2))
    axes = figure.add_subplot()
    totals = {name: sum(stages.values()) or 1.0 for name, stages in stages_ms.items()}
    _stacked(axes, stages_ms, scales={name: 100 / total for name, total in totals.items()})
    title = "Where a frame's time goes (numbers: median ms)"
    finish_axes(axes, title=title, xlabel="Share of the frame (%)", grid="x")
    _stage_legend(figure, axes, stages_ms)
    stamp_platform(figure, platform, note=note)
    return figure


def _stacked(
    axes: Axes, stages_ms: Mapping[str, Mapping[str, float]], *, scales: Mapping[str, float] | None = None
) -> None:
    """Draw stages one after the other; with scales, as wide as their milliseconds times the program's scale."""
    scales = scales or dict.fromkeys(stages_ms, 1.0)
    longest = max((scales[name] * sum(stages.values()) for name, stages in stages_ms.items()), default=1.0) or 1.0
    for position, (name, stages) in enumerate(stages_ms.items()):
        left = 0.0
        for stage, time_ms in stages.items():
            width = time_ms * scales[name]
            color = _STAGE_COLORS.get(stage, GREY)
            axes.barh(position, width, left=left, height=0.62, color=color, edgecolor="white", linewidth=0.8)
            if width > 0.06 * longest:
                axes.text(left + width / 2, position, f"{time_ms:.3g}", ha="center", va="center", fontsize=10,
                          color=ink_on(color))  # fmt: skip
            left += width
        total = f"{sum(stages.values()):.3g} ms"
        axes.annotate(
            total, (left, position), xytext=(6, 0), textcoords="offset points", va="center", fontsize=10, color=INK
        )
    axes.set_xlim(0, 1.14 * longest)
    axes.set_yticks(range(len(stages_ms)), [escaped(name) for name in stages_ms], fontsize=11)
    axes.set_ylim(len(stages_ms) - 0.5, -0.5)


def _stage_legend(figure: Figure, axes: Axes, stages_ms: Mapping[str, Mapping[str, float]]) -> None:
    names = dict.fromkeys(stage for stages in stages_ms.values() for stage in stages)
    handles = [axes.barh(0, 0, color=_STAGE_COLORS.get(name, GREY), label=name.replace("_", " ")) for name in names]
    if handles:
        figure.legend(handles=handles, fontsize=10, frameon=False, loc="outside upper right", ncols=len(handles),
                      labelcolor=INK)  # fmt: skip


def amdahl(
    median_ms: Mapping[str, float], *, part: str = "inference", factors: Sequence[float] = (1, 2, 4, 10),
    note: str = "",
    platform: PlatformInfo | None = None,
) -> Figure:  # fmt: skip
    """Draw a frame with a faster and faster engine: the stages that remain, and the speed-up that levels off.

    Args:
        median_ms: Stage to milliseconds.
        part: The stage that becomes faster.
        factors: How much faster, for the bars.
        note: Shown below.
        platform: Where they ran.
    """
    figure = new_figure(height=4.2)
    bars, curve = figure.subplots(1, 2, width_ratios=(1.25, 1))
    rows = {
        f"engine \u00d7 {factor:g}": {
            stage: value / factor if stage == part else value for stage, value in median_ms.items()
        }
        for factor in factors
    }
    rows["no time at all"] = {stage: value for stage, value in median_ms.items() if stage != part}
    _stacked(bars, rows)
    finish_axes(bars, title="The same frame, faster engines", xlabel="Time (ms)", grid="x")
    total, share = sum(median_ms.values()), median_ms[part] / sum(median_ms.values())
    speeds = np.geomspace(1, 100, 200)
    curve.plot(speeds, 1 / (1 - share + share / speeds), color="#0072B2", linewidth=2)
    bound = total / (total - median_ms[part])
    curve.axhline(bound, color="#D55E00", linestyle="--", linewidth=1.6)
    curve.annotate(f"bound {bound:.2f}", (1, bound), xytext=(2, 5), textcoords="offset points", fontsize=10,
                   color=readable("#D55E00"))  # fmt: skip
    curve.plot(speeds, np.minimum(speeds, 1.25 * bound), color=GREY, linewidth=1, linestyle=":")
    curve.set_xscale("log")
    curve.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    curve.set_ylim(1, 1 + 1.25 * (bound - 1))
    title = f"{part.capitalize()} is {share:.0%} of the frame"
    finish_axes(curve, title=title, xlabel="Engine's speed-up", ylabel="Frame's speed-up", grid="both")
    _stage_legend(figure, bars, rows)
    stamp_platform(figure, platform, note=note)
    return figure
