"""Labels and what they are drawn on: notations, policies, augmentations, splits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yolotrt_lab.data.colours import class_colours
from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure, series_colors
from yolotrt_lab.types import Array, ImageArray

__all__ = ["Outline", "Panel", "box_notations", "class_color", "class_shares", "labelled_panels", "outlines"]

_MARK = "#D55E00"
_MOST_NAMES = 16


@dataclass(frozen=True)
class Outline:
    """One box in a picture.

    Attributes:
        xyxy: Left, top, right, bottom in the picture's pixels.
        name: Written above it; empty for nothing.
        color: Of its line, as Matplotlib takes it.
        dashed: Whether its line is dashed.
    """

    xyxy: tuple[float, float, float, float]
    name: str = ""
    color: str = _MARK
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a figure.

    Attributes:
        title: Shown above it.
        image_bgr: (height, width, 3) uint8.
        outlines: Its boxes.
    """

    title: str
    image_bgr: ImageArray
    outlines: Sequence[Outline] = field(default=())


def class_color(class_id: int, num_classes: int) -> str:
    """Return the colour that a class has in all of the course's pictures.

    Example:
        >>> class_color(0, 8)
        '#44aaff'
    """
    red, green, blue = class_colours(num_classes)[class_id]
    return f"#{red:02x}{green:02x}{blue:02x}"


def outlines(
    xyxy: Array, class_ids: Array, *, class_names: Sequence[str], names: bool = True, dashed: bool = False
) -> tuple[Outline, ...]:
    """Return boxes in the colours of their classes.

    Args:
        xyxy: (n, 4) boxes in pixels.
        class_ids: (n,) their classes.
        class_names: Names in the order of the ids.
        names: Whether to write the classes' names.
        dashed: Whether their lines are dashed.
    """
    found = []
    for (left, top, right, bottom), class_id in zip(np.asarray(xyxy).tolist(), class_ids, strict=True):
        color = class_color(int(class_id), len(class_names))
        name = class_names[int(class_id)] if names else ""
        found.append(Outline((left, top, right, bottom), name, color, dashed))
    return tuple(found)


def labelled_panels(panels: Sequence[Panel], *, columns: int = 3, width: float = 10.0) -> Figure:
    """Draw pictures in rows, each with its boxes and a title.

    Args:
        panels: The pictures.
        columns: How many stand in a row.
        width: Of the figure in inches.

    Raises:
        InputError: There is no picture, or no column.
    """
    if not panels or columns < 1:
        raise InputError(
            "There is nothing to draw.", expected="one panel and one column at least", got=f"{len(panels)}, {columns}"
        )
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    tallest = max(panel.image_bgr.shape[0] / panel.image_bgr.shape[1] for panel in panels)
    figure = new_figure(width=width, height=rows * (width / columns * tallest + 0.35))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, panel)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    height, width = panel.image_bgr.shape[:2]
    axes.imshow(panel.image_bgr[:, :, ::-1], extent=(0, width, height, 0), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(escaped(panel.title), fontsize=11, color=INK, loc="left", pad=4)
    for outline in panel.outlines:
        left, top, right, bottom = outline.xyxy
        line = "--" if outline.dashed else "-"
        axes.add_patch(
            Rectangle(
                (left, top), right - left, bottom - top, fill=False, edgecolor=outline.color, linewidth=1.8,
                linestyle=line,
            )
        )  # fmt: skip
    named = [outline for outline in panel.outlines if outline.name]
    for outline in named if len(named) <= _MOST_NAMES else ():
        left, top, *_ = outline.xyxy
        axes.text(
            max(left, 0.0), max(top, 0.055 * height), escaped(outline.name), fontsize=8, color=INK, va="bottom",
            clip_on=True, bbox={"facecolor": outline.color, "edgecolor": "none", "pad": 0.8, "alpha": 0.9},
        )  # fmt: skip
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def box_notations(image_bgr: ImageArray, xyxy: tuple[float, float, float, float]) -> Figure:
    """Draw one box three times: as YOLO, VOC and COCO describe it, with the numbers each of them writes.

    Args:
        image_bgr: The picture.
        xyxy: Left, top, right, bottom in its pixels.
    """
    height, width = image_bgr.shape[:2]
    left, top, right, bottom = xyxy
    box_width, box_height = right - left, bottom - top
    center = (left + right) / 2, (top + bottom) / 2
    shares = center[0] / width, center[1] / height, box_width / width, box_height / height
    figure = new_figure(width=10, height=10 / 3 * height / width + 0.9)
    titles = (
        ("YOLO: centre and size, in shares", " ".join(f"{value:.4f}" for value in shares)),
        ("VOC: two corners, in pixels", _pixels(left, top, right, bottom)),
        ("COCO: corner and size, in pixels", _pixels(left, top, box_width, box_height)),
    )
    all_axes = list(figure.subplots(1, 3))
    for axes, (title, numbers) in zip(all_axes, titles, strict=True):
        _draw_panel(axes, Panel(title, image_bgr, (Outline(xyxy, color=_MARK),)))
        axes.text(0, -0.04, numbers, transform=axes.transAxes, fontsize=11, family="monospace", color=INK, va="top")
    _points(all_axes[0], [center])
    _points(all_axes[1], [(left, top), (right, bottom)])
    _points(all_axes[2], [(left, top)])
    _lengths(all_axes[0], xyxy, at=center)
    _lengths(all_axes[2], xyxy, at=(left, top))
    return figure


def _pixels(*values: float) -> str:
    """Return numbers with one decimal where they have one: labels rounded to six digits are off by a thousandth."""
    return " ".join(f"{round(value, 1):g}" for value in values)


def _points(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    x, y = zip(*points, strict=True)
    axes.plot(x, y, "o", markersize=8, color=_MARK, markeredgecolor="white", markeredgewidth=1.5, clip_on=False)


def _lengths(axes: Axes, xyxy: tuple[float, float, float, float], *, at: tuple[float, float]) -> None:
    """Draw the width and the height of a box as arrows that cross at a point."""
    left, top, right, bottom = xyxy
    style = {"arrowstyle": "<->", "color": "white", "linewidth": 2.0}
    axes.annotate("", xy=(right, at[1]), xytext=(left, at[1]), arrowprops=style)
    axes.annotate("", xy=(at[0], bottom), xytext=(at[0], top), arrowprops=style)


def class_shares(
    counts: Mapping[str, Sequence[int]], *, class_names: Sequence[str], fractions: Mapping[str, float]
) -> Figure:
    """Draw which share of each class's objects every split got, and the share it should have.

    Args:
        counts: Objects per class, by split.
        class_names: Names in the order of the counts.
        fractions: Share that each split should have.

    Raises:
        InputError: A split has no fraction, or counts of other classes.
    """
    if set(counts) - set(fractions) or any(len(values) != len(class_names) for values in counts.values()):
        raise InputError(
            "The counts do not fit the splits and classes.",
            expected=f"splits among {', '.join(fractions)}, {len(class_names)} classes each",
            got={name: len(values) for name, values in counts.items()},
        )
    totals = np.maximum(np.sum(list(counts.values()), axis=0), 1)
    figure = new_figure(height=3.6)
    axes = figure.add_subplot()
    colors, places = series_colors(list(counts)), np.arange(len(class_names))
    thick = 0.8 / max(len(counts), 1)
    for number, (name, values) in enumerate(counts.items()):
        offset = (number - (len(counts) - 1) / 2) * thick
        axes.bar(places + offset, np.asarray(values) / totals, width=thick * 0.92, color=colors[name], label=name)
        axes.axhline(fractions[name], color=colors[name], linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(places, [escaped(f"{name}\n({total})") for name, total in zip(class_names, totals, strict=True)])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    finish_axes(
        axes, title="Who got what (dashed: the fair share; in brackets: objects)", ylabel="Share of the class's objects"
    )
    axes.legend(fontsize=10, frameon=False, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.tick_params(axis="x", colors=GREY, labelcolor=INK)
    return figure
