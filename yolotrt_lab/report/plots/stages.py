"""Where a frame's time goes, summed up and as it happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yolotrt_lab.profiling.stages import STAGES, StageBreakdown
from yolotrt_lab.profiling.timeline import TimelineEvent
from yolotrt_lab.report.plots.style import INK, finish_axes, new_figure, series_colors, short_name, stamp_platform
from yolotrt_lab.report.schema import PlatformInfo

__all__ = ["pipeline_timeline", "stage_bars"]

_LEAST_LABELLED_SHARE = 0.07


def stage_bars(stages: Mapping[str, StageBreakdown], *, platform: PlatformInfo | None = None) -> Figure:
    """Draw the median time per image of preprocessing, inference and postprocessing, stacked.

    Args:
        stages: Engine name to its breakdown.
        platform: Where they ran.
    """
    figure = new_figure(height=1.9 + 0.62 * max(len(stages), 2))
    axes = figure.add_subplot()
    colors = series_colors(STAGES)
    longest = max((breakdown.total_ms for breakdown in stages.values()), default=1.0)
    for position, breakdown in enumerate(stages.values()):
        left = 0.0
        for stage in STAGES:
            width = breakdown.stage(stage).p50_ms
            label = stage.capitalize() if position == 0 else None
            axes.barh(position, width, left=left, height=0.6, color=colors[stage], label=label, edgecolor="white")
            if width >= _LEAST_LABELLED_SHARE * longest:
                ink = "white" if stage == "inference" else INK
                axes.text(left + width / 2, position, f"{width:.1f}", ha="center", va="center", fontsize=10, color=ink)
            left += width
        axes.annotate(
            f"{left:.1f} ms  ({1000 / left:.3g} images/s)" if left else "",
            (left, position),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=INK,
        )
    axes.set_xlim(0, 1.32 * longest)
    finish_axes(axes, title="Time per image by stage", xlabel="Median time (ms)", grid="x")
    axes.set_yticks(range(len(stages)), [short_name(name) for name in stages], fontsize=11)
    axes.set_ylim(max(len(stages), 1) - 0.5, -0.5)
    if stages:
        figure.legend(fontsize=10, frameon=False, loc="outside upper right", ncols=len(STAGES), labelcolor=INK)
    stamp_platform(figure, platform)
    return figure


def _draw_events(axes: Axes, events: Sequence[TimelineEvent], *, lanes: Sequence[str], last_ms: float) -> None:
    colors = series_colors(list(dict.fromkeys(event.name for event in events)))
    for event in events:
        start_ms, width_ms = event.start_us / 1000, event.duration_us / 1000
        lane, color = lanes.index(event.lane), colors[event.name]
        is_sliver = width_ms < 0.01 * last_ms  # a white edge would swallow it
        axes.barh(
            lane, width_ms, left=start_ms, height=0.66, color=color, edgecolor=color if is_sliver else "white",
            linewidth=0.8, alpha=1.0 if is_sliver or event.frame % 2 == 0 else 0.72,
        )  # fmt: skip
        if width_ms > 0.018 * last_ms:
            middle_ms, ink = start_ms + width_ms / 2, "white" if event.name == "inference" else INK
            axes.text(middle_ms, lane, str(event.frame), ha="center", va="center", fontsize=10, color=ink)


def pipeline_timeline(
    timelines: Mapping[str, Sequence[TimelineEvent]], *, platform: PlatformInfo | None = None
) -> Figure:
    """Draw what ran when: one panel per timeline, one lane per worker, one colour per stage, frame numbers inside.

    Args:
        timelines: Title to its events.
        platform: Where they ran.
    """
    titles = list(timelines)
    figure = new_figure(height=1.3 + 1.9 * max(len(titles), 1))
    panels = figure.subplots(max(len(titles), 1), 1, sharex=True, squeeze=False)[:, 0]
    last_ms = max((event.start_us + event.duration_us for events in timelines.values() for event in events), default=1)
    last_ms /= 1000
    for axes, title in zip(panels, titles, strict=False):
        events = timelines[title]
        lanes = list(dict.fromkeys(event.lane for event in events))
        _draw_events(axes, events, lanes=lanes, last_ms=last_ms)
        frames = len({event.frame for event in events})
        end_ms = max((event.start_us + event.duration_us for event in events), default=0) / 1000
        rate = f", {1000 * frames / end_ms:.1f} frames/s" if end_ms else ""
        finish_axes(axes, title=f"{title}: {frames} frames in {end_ms:.0f} ms{rate}", grid="x")
        axes.set_yticks(range(len(lanes)), [lane.capitalize() for lane in lanes], fontsize=11)
        axes.set_ylim(len(lanes) - 0.4, -0.6)
        axes.set_xlim(0, 1.01 * last_ms)
    panels[-1].set_xlabel("Time (ms); numbers are frames", fontsize=11, color=INK)
    stamp_platform(figure, platform)
    return figure
