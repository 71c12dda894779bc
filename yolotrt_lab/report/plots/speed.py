"""Latency distributions, throughput over batch sizes, and frameworks side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from yolotrt_lab.profiling.throughput import ThroughputPoint
from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report.plots.style import (
    GREY,
    INK,
    finish_axes,
    new_figure,
    series_colors,
    short_name,
    stamp_platform,
)
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["framework_bars", "latency_distribution", "throughput_by_batch"]

_PERCENTILES = ((50, "-"), (90, "--"), (99, ":"))


def _visible_limit(latency: Mapping[str, LatencyStats]) -> float:
    """Return where the latency axis ends: past every p99, but not at one stray sample."""
    highest = max(max(stats.samples_ms) for stats in latency.values())
    return min(highest * 1.03, 1.35 * max(stats.p99_ms for stats in latency.values()))


def latency_distribution(latency: Mapping[str, LatencyStats], *, platform: PlatformInfo | None = None) -> Figure:
    """Draw the cumulative distribution of each latency beside its box with p50, p90 and p99.

    Args:
        latency: Engine or framework name to its latency, one at least.
        platform: Where they ran.
    """
    names = list(latency)
    colors = series_colors(names)
    figure = new_figure(height=max(4.8, 2.0 + 0.75 * len(names)))
    left, right = figure.subplots(1, 2, width_ratios=(1.05, 1))
    for name in names:
        samples = np.sort(latency[name].samples_ms)
        share = np.arange(1, len(samples) + 1) / len(samples)
        left.step(samples, share, where="post", color=colors[name], linewidth=2, label=short_name(name))
    for percent, style in _PERCENTILES:
        left.axhline(percent / 100, color=GREY, linewidth=0.8, linestyle=style)
        left.annotate(
            f"p{percent}", (1.0, percent / 100), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=10, color=GREY,
        )  # fmt: skip
    left.set_ylim(0, 1.04)
    finish_axes(left, title="Share of calls finished by then", xlabel="Latency (ms)", ylabel="Share of calls")
    if names:
        figure.legend(fontsize=10, frameon=False, loc="outside upper right", ncols=min(len(names), 6), labelcolor=INK)
    _draw_boxes(right, latency, colors)
    if names:
        limit = _visible_limit(latency)
        lowest = min(stats.min_ms for stats in latency.values())
        for axes in (left, right):
            axes.set_xlim(max(lowest - 0.08 * (limit - lowest), 0), limit)
    stamp_platform(
        figure, platform, note=f"box: quartiles; whiskers: p10 and p90; stroke: p99; calls timed: {_counts(latency)}"
    )
    return figure


def _counts(latency: Mapping[str, LatencyStats]) -> str:
    counts = sorted({len(stats.samples_ms) for stats in latency.values()})
    return str(counts[0]) if len(counts) == 1 else ", ".join(map(str, counts))


def _draw_boxes(axes: Axes, latency: Mapping[str, LatencyStats], colors: Mapping[str, str]) -> None:
    names = list(latency)[::-1]
    if not names:
        return
    boxes = axes.boxplot(
        [latency[name].samples_ms for name in names],
        orientation="horizontal",
        widths=0.45,
        showfliers=False,
        whis=(10, 90),
        patch_artist=True,
        medianprops={"color": INK, "linewidth": 1.6},
    )
    for patch, name in zip(boxes["boxes"], names, strict=True):
        patch.set_facecolor(colors[name])
        patch.set_alpha(0.55)
        patch.set_edgecolor(colors[name])
    for position, name in enumerate(names, start=1):
        stats = latency[name]
        axes.plot(stats.p99_ms, position, marker="|", markersize=14, markeredgewidth=2, color=colors[name])
        axes.annotate(
            f"p50 {stats.p50_ms:.2f}   p90 {stats.p90_ms:.2f}   p99 {stats.p99_ms:.2f} ms",
            (0.02, position + 0.36),
            xycoords=("axes fraction", "data"),
            fontsize=10,
            color=INK,
            va="center",
        )
    axes.set_ylim(0.5, len(names) + 0.7)
    finish_axes(axes, title="Percentiles", xlabel="Latency (ms)", grid="x")
    axes.set_yticks(range(1, len(names) + 1), [short_name(name) for name in names], fontsize=11)


def throughput_by_batch(
    sweeps: Mapping[str, Sequence[ThroughputPoint]], *, platform: PlatformInfo | None = None
) -> Figure:
    """Draw images per second, and latency per batch, over batch sizes.

    Args:
        sweeps: Engine name to its points.
        platform: Where they ran.
    """
    figure = new_figure()
    left, right = figure.subplots(1, 2)
    colors = series_colors(list(sweeps))
    batches = sorted({point.batch for points in sweeps.values() for point in points})
    for name, points in sweeps.items():
        ordered = sorted(points, key=lambda point: point.batch)
        x = [point.batch for point in ordered]
        rate = np.array([point.images_per_s for point in ordered])
        low, high = np.array([point.images_per_s_interval for point in ordered]).T
        left.plot(x, rate, marker="o", linewidth=2, color=colors[name], label=short_name(name))
        left.fill_between(x, np.minimum(low, rate), np.maximum(high, rate), color=colors[name], alpha=0.15, linewidth=0)
        p50 = [point.latency.p50_ms for point in ordered]
        right.plot(x, p50, marker="o", linewidth=2, color=colors[name], label=short_name(name))
    for axes in (left, right):
        _batch_axis(axes, batches)
        axes.set_ylim(bottom=0)
    finish_axes(left, title="Throughput", xlabel="Batch size", ylabel="Images per second", legend=bool(sweeps))
    finish_axes(right, title="Latency of the whole batch", xlabel="Batch size", ylabel="Latency, median (ms)")
    stamp_platform(figure, platform, note="band: 10th to 90th percentile")
    return figure


def _batch_axis(axes: Axes, batches: Sequence[int]) -> None:
    if len(batches) > 1:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(batches)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))


def framework_bars(
    latency: Mapping[str, LatencyStats], *, platform: PlatformInfo | None = None, baseline: str | None = None
) -> Figure:
    """Draw the median latency of frameworks with p10 to p90 bars and how much faster each is than the baseline.

    Args:
        latency: Framework name to its latency, timed in turns in one run.
        platform: Where they ran.
        baseline: The name others are compared with; the slowest when None.
    """
    names = sorted(latency, key=lambda name: latency[name].p50_ms, reverse=True)
    colors = series_colors(list(latency))
    figure = new_figure(height=1.6 + 0.62 * max(len(names), 2))
    axes = figure.add_subplot()
    reference = latency[baseline or names[0]].p50_ms if names else 1.0
    ends: list[float] = []
    for position, name in enumerate(names):
        stats = latency[name]
        p10, p90 = (float(value) for value in np.quantile(stats.samples_ms, [0.1, 0.9]))
        axes.barh(position, stats.p50_ms, height=0.6, color=colors[name], alpha=0.9)
        axes.errorbar(
            stats.p50_ms, position, xerr=[[stats.p50_ms - p10], [p90 - stats.p50_ms]], color=INK, capsize=3,
            elinewidth=1.2,
        )  # fmt: skip
        ends.append(p90)
        text = f"{stats.p50_ms:.1f} ms   ({reference / stats.p50_ms:.2f}\u00d7)"
        axes.annotate(
            text, (p90, position), xytext=(8, 0), textcoords="offset points", va="center", fontsize=10, color=INK
        )
    axes.set_xlim(0, 1.32 * max(ends, default=1.0))
    finish_axes(axes, title="One model, several frameworks", xlabel="Latency of one image, median (ms)", grid="x")
    axes.set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=11)
    axes.invert_yaxis()
    compared = f"in brackets: times as fast as {short_name(baseline or names[0])}; " if names else ""
    stamp_platform(figure, platform, note=f"{compared}bars p10-p90; timed in turns")
    return figure
