"""What host, copy engines and streams of a modelled GPU do when: recorded programs one below the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, ink_on, new_figure

__all__ = ["TimelineLike", "modelled_timelines"]

_KINDS = {
    "program": ("#009E73", "your program"),
    "call": ("", "calls"),
    "staging": ("#CC79A7", "stage pageable memory"),
    "wait": ("", "wait"),
    "copy": ("#E69F00", "copy"),
    "memset": ("#8C6D31", "fill"),
    "inference": ("#0072B2", "inference"),
    "host function": ("#56B4E9", "host function"),
}
_LATE = "#D55E00"
_BAR = 0.66


class SpanLike(Protocol):
    """What is drawn of `emulation.timeline.Span`."""

    @property
    def kind(self) -> str:
        """What it is."""

    @property
    def lane(self) -> str:
        """Where it happens."""

    @property
    def start_us(self) -> float:
        """When it begins."""

    @property
    def duration_us(self) -> float:
        """How long it takes."""

    @property
    def record(self) -> int:
        """Number of its record."""

    @property
    def stream(self) -> int | None:
        """The stream's handle; None for the host."""


class TimelineLike(Protocol):
    """What is drawn of `emulation.timeline.ModelledTimeline`; figures do not import the emulation."""

    @property
    def spans(self) -> Sequence[SpanLike]:
        """Everything to draw."""

    @property
    def lanes(self) -> Sequence[str]:
        """The lanes from top to bottom."""

    @property
    def unawaited(self) -> frozenset[int]:
        """Numbers of the records that nobody waits for."""

    @property
    def makespan_us(self) -> float:
        """When everything is done."""

    @property
    def label(self) -> str:
        """What says that it is modelled."""

    def overlap_us(self) -> float:
        """Return how long copies and inferences go on at the same time."""


@dataclass(frozen=True)
class _Paper:
    """What is written on."""

    color: str
    ink: str
    faint: str
    grid: str
    calls: str
    wait: str
    warning: str


_LIGHT = _Paper("white", INK, GREY, "#e3e3e3", calls="#4D4D4D", wait="#e3e3e3", warning="#9a3412")
_DARK = _Paper("#16181d", "#e8e8e8", "#a8a8a8", "#34373e", calls="#c9c9c9", wait="#3d424c", warning="#fdba74")


def modelled_timelines(timelines: Mapping[str, TimelineLike], *, note: str = "", dark: bool = False) -> Figure:
    """Draw modelled timelines on a common time axis, one panel each, with a lane for the host and for every engine.

    Numbers in the bars are streams. Work that the program never waited for is hatched.

    Args:
        timelines: Title to what `emulation.timeline.modelled_timeline` made of its recording.
        note: What else to say below, such as which engine ran.
        dark: Draw on dark paper.
    """
    paper = _DARK if dark else _LIGHT
    rows = [max(len(timeline.lanes), 1) for timeline in timelines.values()] or [1]
    figure = new_figure(height=1.0 + sum(0.62 + 0.34 * row for row in rows))
    figure.set_facecolor(paper.color)
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": rows})[:, 0]
    last_ms = max((timeline.makespan_us for timeline in timelines.values()), default=0.0) / 1e3 or 1.0
    for axes, (title, timeline) in zip(panels, timelines.items(), strict=False):
        _draw(axes, timeline, last_ms, paper)
        total_ms, both_ms = timeline.makespan_us / 1e3, timeline.overlap_us() / 1e3
        overlap = f"copies and inference overlap for {both_ms:.2f} ms" if both_ms > 0 else "nothing overlaps"
        _finish(axes, f"{title}: {total_ms:.2f} ms, {overlap}", timeline.lanes, paper)
    for axes in panels[len(timelines) :]:
        _finish(axes, "Nothing recorded", (), paper)
    for axes in panels:
        axes.set_xlim(0, 1.005 * last_ms)
    panels[-1].set_xlabel("Modelled time (ms); numbers are streams", fontsize=11, color=paper.ink)
    _legend(figure, timelines.values(), paper)
    labels = dict.fromkeys(timeline.label for timeline in timelines.values())
    text = ". ".join([*labels, *([note] if note else [])])
    if text:
        figure.supxlabel(escaped(text) + ".", fontsize=10, color=paper.warning, x=0.01, ha="left", wrap=True)
    return figure


def _color(kind: str, paper: _Paper) -> str:
    return {"call": paper.calls, "wait": paper.wait}.get(kind) or _KINDS[kind][0]


def _draw(axes: Axes, timeline: TimelineLike, last_ms: float, paper: _Paper) -> None:
    streams: dict[int, int] = {}
    for span in timeline.spans:
        start_ms, width_ms = span.start_us / 1e3, span.duration_us / 1e3
        color, row = _color(span.kind, paper), timeline.lanes.index(span.lane)
        is_late = span.stream is not None and span.record in timeline.unawaited
        sliver = width_ms < 0.004 * last_ms  # an edge would swallow it
        edge = color if sliver else _LATE if is_late else paper.faint if span.kind == "wait" else paper.color
        axes.barh(
            row, width_ms, left=start_ms, height=_BAR, color=color, edgecolor=edge,
            linewidth=1.4 if is_late and not sliver else 0.6, hatch="////" if is_late else None,
        )  # fmt: skip
        if span.stream is not None:
            number = streams.setdefault(span.stream, len(streams) + 1)
            if width_ms > 0.016 * last_ms and not is_late:
                place = (start_ms + width_ms / 2, row)
                axes.text(*place, str(number), ha="center", va="center", fontsize=10, color=ink_on(color))


def _finish(axes: Axes, title: str, lanes: Sequence[str], paper: _Paper) -> None:
    finish_axes(axes, title=escaped(title), grid="x")
    axes.set_facecolor(paper.color)
    axes.title.set_color(paper.ink)
    axes.set_title(escaped(title), fontsize=12, color=paper.ink, loc="left", pad=6)
    axes.set_yticks(range(len(lanes)), [lane[:1].upper() + lane[1:] for lane in lanes], fontsize=10)
    axes.tick_params(axis="both", colors=paper.ink, labelcolor=paper.ink)
    axes.set_ylim(max(len(lanes), 1) - 0.5, -0.5)
    axes.grid(True, axis="x", color=paper.grid, linewidth=0.8)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(paper.faint)


def _legend(figure: Figure, timelines: Iterable[TimelineLike], paper: _Paper) -> None:
    found = list(timelines)
    kinds = {span.kind for timeline in found for span in timeline.spans}
    handles = [
        Patch(facecolor=_color(kind, paper), label=words) for kind, (_, words) in _KINDS.items() if kind in kinds
    ]
    if any(timeline.unawaited for timeline in found):
        handles.append(Patch(facecolor=paper.color, edgecolor=_LATE, hatch="////", label="nobody waits for it"))
    if handles:
        figure.legend(
            handles=handles, fontsize=10, frameon=False, loc="outside upper right", ncols=len(handles),
            labelcolor=paper.ink,
        )  # fmt: skip
