"""From a network's candidates to one box per object, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.style import GREY, INK, escaped, finish_axes, new_figure
from yolotrt_lab.types import Array, Detections, ImageArray

__all__ = ["SuppressionStep", "candidates_by_score", "overlap_table", "score_maps", "suppression_steps"]

_KEPT, _BEST, _REMOVED, _WAITING = "#009E73", "#0072B2", "#D55E00", "#ffffff"
_MOST_STEPS = 8


@dataclass(frozen=True)
class SuppressionStep:
    """One round of greedy suppression.

    Attributes:
        best: Index of the box that is kept in this round.
        removed: Indices of the boxes it removes.
        waiting: Indices of the boxes that are left for later rounds.
        kept: Indices of the boxes kept in earlier rounds.
    """

    best: int
    removed: tuple[int, ...]
    waiting: tuple[int, ...]
    kept: tuple[int, ...]


def score_maps(image_bgr: ImageArray, scores: Array, *, strides: Sequence[int] = (8, 16, 32)) -> Figure:
    """Draw each candidate's best score at its place: one map per grid of an anchor-free head.

    Args:
        image_bgr: The network's input as an image, (height, width, 3).
        scores: (candidates,) best class score, the grids one after the other, each row by row.
        strides: Input pixels per cell of each grid.

    Raises:
        InputError: The grids have another number of cells than there are scores.
    """
    height, width = image_bgr.shape[:2]
    shapes = [(height // stride, width // stride) for stride in strides]
    cells = sum(rows * columns for rows, columns in shapes)
    if scores.shape != (cells,):
        raise InputError("The scores do not fit the grids.", expected=f"shape ({cells},)", got=scores.shape)
    figure = new_figure(height=3.9)
    panels = figure.subplots(1, len(strides), squeeze=False)[0]
    start = 0
    for axes, stride, (rows, columns) in zip(panels, strides, shapes, strict=True):
        grid = scores[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
        axes.imshow(image_bgr.mean(axis=2), cmap="gray", extent=(0, width, height, 0), vmin=0, vmax=320)
        axes.imshow(
            grid, cmap="inferno", vmin=0, vmax=1, extent=(0, width, height, 0), alpha=np.clip(grid * 2, 0, 0.85)
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"stride {stride}: {rows} x {columns} cells", fontsize=11, color=INK, loc="left")
        axes.set_xlabel(f"{(grid > 0.25).sum()} candidates above 0.25", fontsize=10, color=GREY, loc="left")
    _add_score_bar(figure, panels, "inferno")
    return figure


def _add_score_bar(figure: Figure, panels: Sequence[Axes], colors: str) -> None:
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), colors), ax=list(panels), shrink=0.8, pad=0.015)
    bar.set_label("best class score", fontsize=10, color=INK)
    bar.ax.tick_params(labelsize=9, colors=INK)


def candidates_by_score(
    image_bgr: ImageArray, candidates: Detections, *, all_scores: Array, conf_threshold: float
) -> Figure:
    """Draw how scores are distributed, and the candidates above the threshold in the colour of their score.

    Args:
        image_bgr: The image that the boxes belong to.
        candidates: Those above the threshold.
        all_scores: (n,) best score of every candidate.
        conf_threshold: The threshold.
    """
    figure = new_figure(height=4.2)
    counts, picture = figure.subplots(1, 2, width_ratios=[1.1, 1])
    edges = np.linspace(0, 1, 41)
    numbers = np.histogram(np.clip(all_scores, 0, 1), edges)[0]
    counts.bar(edges[:-1], numbers, width=edges[1], align="edge", color=GREY)
    counts.set_yscale("symlog", linthresh=1)
    counts.axvline(conf_threshold, color=_REMOVED, linewidth=1.8, linestyle="--")
    counts.annotate(
        f"threshold {conf_threshold:g}\n{len(candidates)} of {len(all_scores)} pass",
        xy=(conf_threshold, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(6, 0),
        textcoords="offset points",
        fontsize=10,
        color=INK,
        va="top",
    )
    finish_axes(counts, title="Scores of all candidates", xlabel="best class score", ylabel="candidates (log)")
    colors = colormaps["inferno"]
    picture.imshow(image_bgr[:, :, ::-1])
    picture.set_axis_off()
    picture.set_title(f"The {len(candidates)} that pass", fontsize=13, color=INK, loc="left", pad=10)
    for index in np.argsort(candidates.scores):
        _add_box(picture, candidates.xyxy[index], colors(float(candidates.scores[index])), width=1.4)
    _add_score_bar(figure, [picture], "inferno")
    return figure


def _add_box(axes: Axes, xyxy: Array, color: object, *, width: float = 2.0, dashed: bool = False) -> None:
    left, top, right, bottom = (float(value) for value in xyxy)
    axes.add_patch(
        Rectangle(
            (left, top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=color,
            linewidth=width,
            linestyle="--" if dashed else "-",
        )
    )


def suppression_steps(
    image_bgr: ImageArray, candidates: Detections, steps: Sequence[SuppressionStep], *, class_names: Sequence[str]
) -> Figure:
    """Draw the first rounds of suppression, one panel each, up to eight.

    Blue is the best that is left, orange what it removes, white what waits, green what was kept before.

    Args:
        image_bgr: The image.
        candidates: What the indices in `steps` refer to.
        steps: The rounds.
        class_names: Name of each class id.

    Raises:
        InputError: There are no rounds.
    """
    if not steps:
        raise InputError("There are no rounds to draw.", expected="at least one", got="none")
    shown = list(steps[:_MOST_STEPS])
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    left, top, right, bottom = _view(candidates, image_bgr.shape[:2])
    panel = 9.0 / columns
    figure = new_figure(height=rows * (panel * (bottom - top) / (right - left) + 0.3) + 0.1)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for number, (axes, step) in enumerate(zip(panels, shown, strict=False), start=1):
        # Darkened, so that white boxes show on a bright bench.
        axes.imshow((image_bgr[:, :, ::-1] * 0.6).astype(np.uint8))
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, top)
        for indices, color, width in (
            (step.waiting, _WAITING, 0.8),
            (step.kept, _KEPT, 1.6),
            (step.removed, _REMOVED, 1.4),
        ):
            for index in indices:
                _add_box(axes, candidates.xyxy[index], color, width=width, dashed=color == _REMOVED)
        _add_box(axes, candidates.xyxy[step.best], _BEST, width=2.8)
        class_id = int(candidates.class_ids[step.best])
        name = class_names[class_id] if class_id < len(class_names) else f"class {class_id}"
        title = f"{number}. {escaped(name)} {candidates.scores[step.best]:.2f} removes {len(step.removed)}"
        axes.set_title(title, fontsize=10, color=INK, loc="left", pad=3)
    return figure


def _view(
    candidates: Detections, image_hw: tuple[int, ...], *, margin: float = 15
) -> tuple[float, float, float, float]:
    """Return the part of the image that holds all candidates."""
    if not len(candidates):
        return 0, 0, image_hw[1], image_hw[0]
    left, top = np.maximum(candidates.xyxy[:, :2].min(axis=0) - margin, 0)
    right, bottom = np.minimum(candidates.xyxy[:, 2:].max(axis=0) + margin, [image_hw[1], image_hw[0]])
    return float(left), float(top), float(right), float(bottom)


def _by_class_and_object(candidates: Detections, together: Array) -> Array:
    """Return an order that puts each class's best candidate first, with what overlaps it, and so on."""
    order: list[int] = []
    for class_id in np.unique(candidates.class_ids):
        rest = np.flatnonzero(candidates.class_ids == class_id)
        rest = rest[np.argsort(-candidates.scores[rest], kind="stable")]
        while len(rest):
            block = together[rest[0], rest]
            block[0] = True  # a box without area does not even overlap itself
            order += rest[block].tolist()
            rest = rest[~block]
    return np.array(order, np.int64)


def overlap_table(
    candidates: Detections, overlaps: Array, *, class_names: Sequence[str], iou_threshold: float
) -> Figure:
    """Draw the IoU of every candidate with every other, by class, and what overlaps together: objects are blocks.

    Args:
        candidates: The candidates.
        overlaps: (n, n) IoU in their order.
        class_names: Name of each class id.
        iou_threshold: Marked on the scale; candidates that overlap more are put side by side.

    Raises:
        InputError: The table does not fit the candidates.
    """
    count = len(candidates)
    if overlaps.shape != (count, count):
        raise InputError("The table does not fit the candidates.", expected=(count, count), got=overlaps.shape)
    order = _by_class_and_object(candidates, overlaps > iou_threshold)
    figure = new_figure(width=6.4, height=5.2)
    axes = figure.add_subplot()
    picture = axes.imshow(overlaps[np.ix_(order, order)], cmap="magma", vmin=0, vmax=1, interpolation="nearest")
    classes = candidates.class_ids[order]
    starts = np.flatnonzero(np.diff(classes, prepend=-1))
    for start in starts[1:]:
        axes.axhline(start - 0.5, color="white", linewidth=0.8)
        axes.axvline(start - 0.5, color="white", linewidth=0.8)
    middles = (starts + np.append(starts[1:], count) - 1) / 2
    names = [class_names[int(c)] if int(c) < len(class_names) else f"class {c}" for c in classes[starts]]
    axes.set_yticks(middles, [escaped(name) for name in names], fontsize=10, color=INK)
    axes.set_xticks([])
    axes.set_title("IoU of candidates, by class and object", fontsize=13, color=INK, loc="left", pad=10)
    bar = figure.colorbar(picture, ax=axes, shrink=0.85)
    bar.ax.axhline(iou_threshold, color=_BEST, linewidth=2.5)
    bar.set_label(f"IoU (line: threshold {iou_threshold:g})", fontsize=10, color=INK)
    return figure
