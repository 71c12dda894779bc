"""The way from a training framework to the hardware as a map, and which versions can stand beside each other on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure, short_name

__all__ = ["STAGES", "Presence", "Station", "driver_support", "opset_support", "piece_counts", "toolchain_map"]

STAGES = ("Training framework", "Exchange format", "Inference engine", "Hardware")

Presence = Literal["here", "emulated", "absent"]

_FILL = {"here": "#d7ebf7", "emulated": "#fdebc8", "absent": "#f4f4f4"}
_EDGE = {"here": "#0072B2", "emulated": "#E69F00", "absent": "#b0b0b0"}
_LEGEND = {"here": "on this machine", "emulated": "emulated on this machine", "absent": "not here"}
_BOX_WIDTH, _BOX_HEIGHT = 0.76, 0.66


@dataclass(frozen=True)
class Station:
    """One stop on the way from training to hardware.

    Attributes:
        name: What it is called.
        stage: One of `STAGES`.
        detail: Second line, such as its version.
        presence: Whether it is on this machine.
    """

    name: str
    stage: str
    detail: str = ""
    presence: Presence = "here"


def toolchain_map(stations: Sequence[Station], routes: Sequence[tuple[str, str]]) -> Figure:
    """Draw the stations in four columns, and the routes between them as arrows.

    Args:
        stations: At least one; names must differ.
        routes: Pairs of names. An arrow is drawn in full where both ends are there, and pale where one is not.

    Raises:
        InputError: Names that are not unique, an unknown stage, or a route from or to nowhere.
    """
    _check_map(stations, routes)
    columns = {stage: [station for station in stations if station.stage == stage] for stage in STAGES}
    rows = max(len(column) for column in columns.values())
    figure = new_figure(height=1.1 + 0.95 * rows)
    axes = figure.add_subplot()
    axes.set_xlim(-0.5, len(STAGES) - 0.5)
    axes.set_ylim(rows - 0.1, -0.8)
    axes.axis("off")
    places: dict[str, tuple[float, float]] = {}
    for column, stage in enumerate(STAGES):
        axes.text(column, -0.62, stage, ha="center", va="center", fontsize=12, color=INK, weight="bold")
        offset = (rows - len(columns[stage])) / 2
        for row, station in enumerate(columns[stage]):
            places[station.name] = (column, row + offset)
            _draw_station(axes, station, *places[station.name])
    presence = {station.name: station.presence for station in stations}
    for start, end in routes:
        _draw_route(axes, places[start], places[end], pale="absent" in (presence[start], presence[end]))
    _draw_legend(figure, {station.presence for station in stations})
    return figure


def _check_map(stations: Sequence[Station], routes: Sequence[tuple[str, str]]) -> None:
    names = [station.name for station in stations]
    unknown = [station.stage for station in stations if station.stage not in STAGES]
    lost = [name for route in routes for name in route if name not in names]
    if not names or len(set(names)) < len(names) or unknown or lost:
        raise InputError(
            "The stations do not make a map.",
            expected=f"different names, stages out of {', '.join(STAGES)}, routes between stations",
            got=f"{len(names)} stations; unknown stages {unknown}; routes to unknown {lost}",
        )


def _draw_station(axes: Axes, station: Station, x: float, y: float) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2),
            _BOX_WIDTH,
            _BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=_FILL[station.presence],
            edgecolor=_EDGE[station.presence],
            linewidth=1.4,
            linestyle="--" if station.presence == "absent" else "-",
        )
    )
    name_y = y - 0.12 if station.detail else y
    axes.text(x, name_y, short_name(station.name, length=22), ha="center", va="center", fontsize=11.5, color=INK)
    if station.detail:
        text = short_name(station.detail, length=23)
        axes.text(x, y + 0.16, text, ha="center", va="center", fontsize=9.5, color="#444444")


def _draw_route(axes: Axes, start: tuple[float, float], end: tuple[float, float], *, pale: bool) -> None:
    axes.add_patch(
        FancyArrowPatch(
            (start[0] + _BOX_WIDTH / 2, start[1]),
            (end[0] - _BOX_WIDTH / 2, end[1]),
            arrowstyle="-|>",
            mutation_scale=11,
            color="#c4c4c4" if pale else GREY,
            linewidth=1.0 if pale else 1.5,
            shrinkA=2,
            shrinkB=2,
            zorder=0,
        )
    )


def _draw_legend(figure: Figure, present: set[Presence]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=_FILL[key], edgecolor=_EDGE[key], label=label, linewidth=1.2)
        for key, label in _LEGEND.items()
        if key in present
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=10, frameon=False, labelcolor=INK)


def driver_support(oldest_driver: Mapping[int, int], drivers: Mapping[str, str]) -> Figure:
    """Draw which drivers run which CUDA: from the first one on, and never ending.

    Args:
        oldest_driver: CUDA major version to the first driver branch that runs it.
        drivers: Name of a machine to its driver's version, such as {"yours": "580.65.06"}.
    """
    branches = {name: int(re.findall(r"\d+", version)[0]) for name, version in drivers.items()}
    marks = [(branches[name], f"{name}\n{drivers[name]}") for name in drivers]
    right = max([*oldest_driver.values(), *branches.values()]) + 75
    bars = [
        (f"built for CUDA {major}.x", oldest_driver[major], right, f"driver {oldest_driver[major]} or newer")
        for major in sorted(oldest_driver)
    ]
    left = min([*oldest_driver.values(), *branches.values()]) - 20
    return _ranges(bars, marks, limits=(left, right), xlabel="NVIDIA driver branch (circle: runs it, cross: does not)")


def opset_support(newest: Mapping[str, int], *, models: Mapping[str, int], oldest: int = 7) -> Figure:
    """Draw which ONNX operator sets each program reads, against those that models are written with.

    Args:
        newest: Name of a reader to the newest operator set it reads.
        models: Name of a model or writer to its operator set.
        oldest: The oldest operator set that readers still read.
    """
    bars = [(name, oldest, newest[name], f"up to {newest[name]}") for name in newest]
    marks = [(opset, f"{name}\n{opset}") for name, opset in models.items()]
    limits = (oldest - 0.5, max([*newest.values(), *models.values()]) + 2)
    return _ranges(
        bars, marks, limits=limits, xlabel="ONNX operator set (circle: read, cross: refused)", text_left=True
    )


def _ranges(
    bars: Sequence[tuple[str, float, float, str]],
    marks: Sequence[tuple[float, str]],
    *,
    limits: tuple[float, float],
    xlabel: str,
    text_left: bool = False,
) -> Figure:
    """Draw bars from one number to another, and for each mark which bars hold it.

    Args:
        bars: (name, from, to, text inside).
        marks: (place, label).
        limits: Of the axis.
        xlabel: Of the axis.
        text_left: Whether the text stands at the bar's left end; otherwise at its right one.
    """
    levels = _label_levels([place for place, _ in marks], gap=0.14 * (limits[1] - limits[0]))
    top = 0.62 + 0.85 * (max(levels, default=-1) + 1)
    figure = new_figure(height=1.0 + 0.6 * len(bars) + 0.55 * top)
    axes = figure.add_subplot()
    for row, (_, start, end, text) in enumerate(bars):
        axes.barh(row, end - start, left=start, height=0.5, color="#d7ebf7", edgecolor="none", zorder=1)
        axes.annotate(
            text, (start if text_left else end, row), xytext=(8 if text_left else -8, 0), textcoords="offset points",
            ha="left" if text_left else "right", va="center", fontsize=10, color=INK,
        )  # fmt: skip
        for place, _ in marks:
            inside = start <= place <= end
            axes.plot(
                place, row, marker="o" if inside else "X", markersize=10, color="#009E73" if inside else "#D55E00",
                markeredgecolor="white", zorder=4,
            )  # fmt: skip
    for (place, label), level in zip(marks, levels, strict=True):
        height = -0.5 - 0.85 * level
        axes.plot([place, place], [len(bars) - 0.5, height], color=GREY, linewidth=1, linestyle=":", zorder=2)
        axes.text(place, height - 0.05, escaped(label), ha="center", va="bottom", fontsize=10, color=INK)
    axes.set_xlim(*limits)
    axes.set_ylim(len(bars) - 0.4, -top)
    finish_axes(axes, xlabel=xlabel, grid=None)
    axes.set_yticks(range(len(bars)), [short_name(name) for name, *_ in bars], fontsize=11)
    return figure


def _label_levels(places: Sequence[float], *, gap: float) -> list[int]:
    """Return for each label how high it must stand to keep clear of the others."""
    levels: dict[int, int] = {}
    for index in sorted(range(len(places)), key=lambda number: places[number]):
        taken = {level for other, level in levels.items() if abs(places[other] - places[index]) < gap}
        levels[index] = next(level for level in range(len(places)) if level not in taken)
    return [levels[index] for index in range(len(places))]


def piece_counts(counts: Mapping[str, int]) -> Figure:
    """Draw how many pieces of work one inference consists of in each form of a network.

    Args:
        counts: Form ("PyTorch modules") to number, in the order of the conversion.
    """
    names = list(counts)
    figure = new_figure(height=1.3 + 0.55 * max(len(names), 1))
    axes = figure.add_subplot()
    colors = ("#8C6D31", "#E69F00", "#0072B2", "#009E73")
    for row, name in enumerate(names):
        axes.barh(row, counts[name], height=0.6, color=colors[row % len(colors)], alpha=0.9)
        axes.annotate(
            str(counts[name]), (counts[name], row), xytext=(6, 0), textcoords="offset points", va="center",
            fontsize=11, color=INK,
        )  # fmt: skip
    axes.set_xlim(0, 1.12 * max(counts.values(), default=1))
    finish_axes(axes, title="The same network in pieces", xlabel="Pieces executed one after the other", grid="x")
    axes.set_yticks(range(len(names)), [short_name(name, length=32) for name in names], fontsize=11)
    axes.invert_yaxis()
    return figure
