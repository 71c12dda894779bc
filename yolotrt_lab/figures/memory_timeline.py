"""Where memory lies, what copies cost, and what happens when on the way through the GPU."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from yolotrt_lab.profiling.reference_gpu import CopyTime
from yolotrt_lab.profiling.replay import LANES, Replay
from yolotrt_lab.profiling.timeline import TimelineEvent
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, ink_on, new_figure, readable
from yolotrt_lab.types import ImageArray

__all__ = ["copy_times", "device_timelines", "memory_paths", "outcomes"]

_COLORS = {
    "copy in": "#56B4E9",
    "inference": "#0072B2",
    "compute": "#0072B2",
    "copy out": "#E69F00",
    "wait": "#ececec",
    "prepare": "#009E73",
    "allocate": "#D55E00",
    "queue": "#4D4D4D",
}
_WORDS = {
    "prepare": "your program",
    "allocate": "allocate",
    "queue": "queue work",
    "wait": "wait",
    "copy in": "copy in",
    "inference": "inference",
    "copy out": "copy out",
}
_PINNED, _PAGEABLE = "#0072B2", "#D55E00"


def device_timelines(replays: Mapping[str, Replay], *, note: str = "", frames: int | None = None) -> Figure:
    """Draw what host, copy engines and compute engine do: one panel per program, frame numbers inside.

    Args:
        replays: Title to what `profiling.replay.replay` made of its calls.
        note: Where the durations come from; shown below.
        frames: Draw the first ones only; None draws all.
    """
    figure = new_figure(height=1.4 + 1.75 * max(len(replays), 1))
    panels = figure.subplots(max(len(replays), 1), 1, sharex=True, squeeze=False)[:, 0]
    shown = {title: _first(replay.events, frames) for title, replay in replays.items()}
    last_ms = max((_end_ms(events) for events in shown.values()), default=1.0) or 1.0
    for axes, (title, replay) in zip(panels, replays.items(), strict=False):
        _draw_lanes(axes, shown[title], last_ms)
        per_frame = replay.total_us / max(replay.frames, 1) / 1e3
        busy = replay.busy_us.get("compute", 0.0) / replay.total_us if replay.total_us else 0.0
        text = f"{title}: {per_frame:.2f} ms per frame, the engine busy {busy:.0%} of the time"
        finish_axes(axes, title=escaped(text), grid="x")
        axes.set_yticks(range(len(LANES)), [lane.capitalize() for lane in LANES], fontsize=11)
        axes.set_ylim(len(LANES) - 0.45, -0.55)
        axes.set_xlim(0, 1.01 * last_ms)
    panels[-1].set_xlabel("Time (ms); numbers are frames", fontsize=11, color=INK)
    names = {event.name for events in shown.values() for event in events}
    handles = [panels[0].barh(0, 0, color=_COLORS[name], label=_WORDS[name]) for name in _WORDS if name in names]
    if handles:
        figure.legend(
            handles=handles, fontsize=10, frameon=False, loc="outside upper right", ncols=len(handles), labelcolor=INK
        )
    _note(figure, note)
    return figure


def _first(events: Sequence[TimelineEvent], frames: int | None) -> list[TimelineEvent]:
    return [event for event in events if frames is None or event.frame < frames]


def _end_ms(events: Sequence[TimelineEvent]) -> float:
    return max((event.start_us + event.duration_us for event in events), default=0.0) / 1e3


def _draw_lanes(axes: Axes, events: Sequence[TimelineEvent], last_ms: float) -> None:
    for event in events:
        start_ms, width_ms = event.start_us / 1e3, event.duration_us / 1e3
        color, waits = _COLORS[event.name], event.name == "wait"
        is_sliver = width_ms < 0.006 * last_ms  # a white edge would swallow it
        axes.barh(
            LANES.index(event.lane), width_ms, left=start_ms, height=0.66, color=color,
            edgecolor=color if is_sliver else "#bdbdbd" if waits else "white", linewidth=0.8,
            alpha=1.0 if is_sliver or waits or event.frame % 2 == 0 else 0.72,
        )  # fmt: skip
        if width_ms > 0.018 * last_ms and event.lane != "host":
            middle = (start_ms + width_ms / 2, LANES.index(event.lane))
            axes.text(*middle, str(event.frame), ha="center", va="center", fontsize=10, color=ink_on(color))


def _note(figure: Figure, note: str) -> None:
    if note:
        figure.supxlabel(escaped(note), fontsize=10, color=GREY, x=0.01, ha="left", wrap=True)


def copy_times(copies: Sequence[CopyTime], *, sizes: Mapping[str, int], note: str = "") -> Figure:
    """Draw what copies to the device cost by size, from pageable and from page-locked memory.

    Args:
        copies: Measured copies, by ascending size.
        sizes: Sizes to mark, in bytes, by what has that size ("one frame").
        note: Where the numbers come from; shown below.
    """
    figure = new_figure(height=4.4)
    times, rates = figure.subplots(1, 2)
    mib = [row.nbytes / 2**20 for row in copies]
    for label, color, values in (
        ("pinned", _PINNED, [row.pinned_h2d_us for row in copies]),
        ("pageable", _PAGEABLE, [row.pageable_h2d_us for row in copies]),
    ):
        times.plot(mib, values, marker="o", markersize=4, linewidth=2, color=color, label=label)
        gb_s = [row.nbytes / value / 1e3 for row, value in zip(copies, values, strict=True)]
        rates.plot(mib, gb_s, marker="o", markersize=4, linewidth=2, color=color, label=label)
        if copies:
            rates.annotate(
                f"{gb_s[-1]:.0f} GB/s", (mib[-1], gb_s[-1]), xytext=(0, 7), textcoords="offset points", ha="right",
                fontsize=10, color=readable(color),
            )  # fmt: skip
    for axes in (times, rates):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value >= 1 else f"1/{1 / value:.0f}")
        for name, size in sizes.items():
            axes.axvline(size / 2**20, color=GREY, linewidth=1, linestyle=":")
            axes.annotate(
                escaped(name), (size / 2**20, 0.02), xycoords=("data", "axes fraction"), xytext=(-3, 0),
                textcoords="offset points", rotation=90, fontsize=10, color=GREY, ha="right", va="bottom",
            )  # fmt: skip
    times.set_yscale("log")
    finish_axes(times, title="Time of one copy", xlabel="Size (MiB)", ylabel="Time (µs)", legend=True)
    finish_axes(rates, title="Rate of one copy", xlabel="Size (MiB)", ylabel="Rate (GB/s)")
    rates.set_ylim(bottom=0)
    _note(figure, note)
    return figure


@dataclass(frozen=True)
class _Path:
    """One way to the GPU: boxes of (left, width, text) in inches or so, and what happens on the way."""

    name: str
    color: str
    boxes: tuple[tuple[float, float, str], ...]
    how: str


_PATHS = (
    _Path(
        "pageable",
        _PAGEABLE,
        ((2.2, 1.25, "your array"), (3.85, 1.35, "CUDA's\npinned buffer"), (5.6, 1.45, "device memory")),
        "the processor copies first, then DMA;\nyour program waits",
    ),
    _Path(
        "pinned",
        _PINNED,
        ((2.2, 1.25, "your pinned\narray"), (5.6, 1.45, "device memory")),
        "DMA alone moves the bytes;\nyour program goes on",
    ),
    _Path(
        "unified",
        "#8C6D31",
        ((2.2, 4.85, "one address; pages move when either side touches them"),),
        "no copies to write,\nand none to see",
    ),
)


def memory_paths(rates_gb_s: Mapping[str, float], *, note: str = "") -> Figure:
    """Draw the three ways from a program's memory to the GPU.

    Args:
        rates_gb_s: "pageable" and "pinned" to their rates; what is missing gets no number.
        note: Where the numbers come from; shown below.
    """
    figure = new_figure(height=3.6)
    axes = figure.add_subplot()
    for row, path in enumerate(_PATHS):
        y = -1.15 * row
        rate = f"  {rates_gb_s[path.name]:.0f} GB/s" if path.name in rates_gb_s else ""
        axes.text(0.0, y, path.name + rate, fontsize=11, color=readable(path.color), va="center", weight="bold")
        axes.text(7.35, y, path.how, fontsize=10, color=INK, va="center")
        _draw_path(axes, path, y)
    axes.set_xlim(-0.1, 10.6)
    axes.set_ylim(-2.85, 0.55)
    axes.axis("off")
    axes.set_title("Three ways from your program's memory to the GPU", fontsize=13, color=INK, loc="left", pad=6)
    _note(figure, note)
    return figure


def _draw_path(axes: Axes, path: _Path, y: float) -> None:
    for left, width, text in path.boxes:
        box = FancyBboxPatch(
            (left, y - 0.36), width, 0.72, boxstyle="round,pad=0.02", facecolor="white", edgecolor=path.color
        )
        box.set_linewidth(1.8)
        axes.add_patch(box)
        axes.text(left + width / 2, y, text, ha="center", va="center", fontsize=10, color=INK)
    for (left, width, _), (following, _, _) in itertools.pairwise(path.boxes):
        style = {"arrowstyle": "-|>", "color": path.color, "linewidth": 2}
        axes.annotate("", (following - 0.05, y), (left + width + 0.05, y), arrowprops=style)


def outcomes(images_bgr: Mapping[str, ImageArray], *, columns: int = 4) -> Figure:
    """Draw what several programs made of one image, side by side.

    Args:
        images_bgr: Title to annotated image.
        columns: Images in a row.
    """
    count = max(len(images_bgr), 1)
    rows = -(-count // columns)
    figure = new_figure(height=0.35 + 2.55 * rows)
    panels = figure.subplots(rows, min(columns, count), squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, (title, image) in zip(panels, images_bgr.items(), strict=False):
        axes.imshow(image[:, :, ::-1])
        axes.set_title(escaped(title), fontsize=10, color=INK, loc="left", pad=4, wrap=True)
    return figure
