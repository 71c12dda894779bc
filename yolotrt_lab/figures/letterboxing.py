"""How an image gets into a network's input, and how boxes get back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.style import GREY, INK, escaped, new_figure, readable
from yolotrt_lab.types import Array, ImageArray

__all__ = ["input_planes", "letterbox_panels", "ways_back"]

_MARK = "#D55E00"
_RIGHT = "#009E73"
_WRONG = ("#D55E00", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442")


def letterbox_panels(
    image_bgr: ImageArray, canvas_bgr: ImageArray, *, content_xyxy: tuple[float, float, float, float]
) -> Figure:
    """Draw an image beside its letterboxed form, with every length that matters.

    Args:
        image_bgr: (height, width, 3) uint8.
        canvas_bgr: (input height, input width, 3) uint8.
        content_xyxy: Where the image lies on the canvas.
    """
    ratios = [image_bgr.shape[1] / image_bgr.shape[0], canvas_bgr.shape[1] / canvas_bgr.shape[0]]
    figure = new_figure(height=min(8.2 / sum(ratios) + 0.9, 7))
    before, after = figure.subplots(1, 2, width_ratios=ratios)
    _show(before, image_bgr, title=f"Image: {image_bgr.shape[1]} x {image_bgr.shape[0]}")
    _show(after, canvas_bgr, title=f"Network input: {canvas_bgr.shape[1]} x {canvas_bgr.shape[0]}")
    left, top, right, bottom = content_xyxy
    after.add_patch(
        Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=_MARK, linewidth=1.8)
    )
    scale = (right - left) / image_bgr.shape[1]
    figure.supxlabel(
        f"Scale {scale:.3g}: the image takes {right - left:g} x {bottom - top:g} pixels of the input; "
        f"{left:g} columns are free on its left, {top:g} rows above it.",
        fontsize=10,
        color=INK,
        x=0.01,
        ha="left",
    )
    _measure(after, (0, top / 2 if top else bottom / 2), left, vertical=False)
    _measure(after, (left / 2 if left else right / 2, 0), top, vertical=True)
    return figure


def _show(axes: Axes, image_bgr: ImageArray, *, title: str) -> None:
    axes.imshow(image_bgr[:, :, ::-1])
    axes.set_title(title, fontsize=11, color=INK, loc="left", pad=6)
    axes.tick_params(labelsize=9, colors=GREY, length=2)
    for spine in axes.spines.values():
        spine.set_color(GREY)


def _measure(axes: Axes, start: tuple[float, float], length: float, *, vertical: bool) -> None:
    """Draw an arrow over free pixels, with their number; none over no pixels."""
    if length < 1:
        return
    x, y = start
    end = (x, y + length) if vertical else (x + length, y)
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "<->", "color": _MARK, "linewidth": 1.5})
    axes.annotate(
        f"{length:g}",
        xy=((x + end[0]) / 2, (y + end[1]) / 2),
        xytext=(7, 0) if vertical else (0, 7),
        textcoords="offset points",
        fontsize=10,
        color=INK,
        ha="left" if vertical else "center",
        va="center" if vertical else "bottom",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
    )


def ways_back(image_bgr: ImageArray, boxes: Mapping[str, Array]) -> Figure:
    """Draw one box as several formulas bring it back.

    Args:
        image_bgr: The image.
        boxes: Formula in words to left, top, right, bottom in the image's pixels; the first is the right one.

    Raises:
        InputError: There is no box.
    """
    if not boxes:
        raise InputError("There are no boxes to draw.", expected="at least one", got="none")
    figure = new_figure(height=5.2)
    axes = figure.add_subplot()
    axes.imshow(image_bgr[:, :, ::-1])
    axes.set_axis_off()
    names = list(boxes)
    colors = {names[0]: _RIGHT} | {name: _WRONG[place % len(_WRONG)] for place, name in enumerate(names[1:])}
    for number, name in enumerate(names):
        left, top, right, bottom = (float(value) for value in np.asarray(boxes[name]).reshape(4))
        axes.add_patch(
            Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor=colors[name],
                linewidth=3 if number == 0 else 2,
                linestyle="-" if number == 0 else "--",
                label=escaped(name),
            )
        )
    axes.set_title("One box, brought back in different ways", fontsize=13, color=INK, loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=10, frameon=False, labelcolor=INK, borderaxespad=0)
    return figure


def input_planes(batch: Array) -> Figure:
    """Draw what the network is given: the three planes of one image, with their smallest and greatest number.

    Args:
        batch: (1, 3, height, width), red, green, blue.

    Raises:
        InputError: Another shape.
    """
    if batch.ndim != 4 or batch.shape[:2] != (1, 3):
        raise InputError("This is not the input of one image.", expected="shape (1, 3, h, w)", got=batch.shape)
    figure = new_figure(height=3.5)
    names = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2"}
    for axes, plane, (name, color) in zip(figure.subplots(1, 3), batch[0], names.items(), strict=True):
        axes.imshow(plane.astype(np.float32), cmap="gray", vmin=0, vmax=1)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(
            f"{name}: {plane.min():.2f} to {plane.max():.2f}", fontsize=11, color=readable(color), loc="left"
        )
    figure.supxlabel(
        f"{batch.dtype}, shape {tuple(batch.shape)}, {batch.nbytes / 1e6:.1f} MB",
        fontsize=10,
        color=GREY,
        x=0.01,
        ha="left",
    )
    return figure
