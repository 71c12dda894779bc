"""Put labels beside points so that they cover neither each other nor what is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

__all__ = ["place_labels"]

# Preferred first: above right, above left, below right, below left, then straight, then farther out.
_ANGLES_DEG = (40, 140, -40, -140, 90, -90, 0, 180)
_RADII_POINTS = (12, 22, 36, 54, 76)


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0) * max(height, 0))


def _outside(box: Bbox, frame: Bbox) -> float:
    return float(box.width * box.height) - _overlap(box, frame)


def _around(axes: Axes, point: tuple[float, float], *, half_px: float) -> Bbox:
    x, y = axes.transData.transform(point)
    return Bbox.from_bounds(x - half_px, y - half_px, 2 * half_px, 2 * half_px)


def _along(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> list[Bbox]:
    """Return small boxes that cover a line."""
    first, last = axes.transData.transform([start, end])
    steps = max(int(math.dist(first, last) / 5), 1)
    points = [first + (last - first) * step / steps for step in range(steps + 1)]
    return [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in points]


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    labels: Sequence[str],
    *,
    colors: Sequence[str],
    segments: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
    fontsize: float = 10,
) -> list[Annotation]:
    """Annotate points, choosing for each label the free place nearest to its point.

    Args:
        axes: Where; its limits must be final.
        points: (x, y) in data coordinates.
        labels: One per point.
        colors: One per label.
        segments: Lines from (x, y) to (x, y) in data coordinates that labels should not cover, such as error bars.
        fontsize: In points.

    Returns:
        The annotations, in order.
    """
    figure = axes.get_figure()
    if not isinstance(figure, Figure) or not points:
        return []
    canvas: Any = FigureCanvasAgg(figure)
    for _ in range(2):  # the first drawing finds the layout, the second one settles wrapped text
        canvas.draw()
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    pixels_per_point = figure.dpi / 72
    taken = [_around(axes, point, half_px=6) for point in points]
    taken += [box for start, end in segments for box in _along(axes, start, end)]
    placed: list[Annotation] = []
    for (x, y), label, color in zip(points, labels, colors, strict=True):
        note = axes.annotate(
            label, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=fontsize, color=color, zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )  # fmt: skip
        note.set_in_layout(False)  # or the label would move the axes it was placed in
        best: tuple[float, tuple[float, float]] | None = None
        for radius in _RADII_POINTS:
            for angle in _ANGLES_DEG:
                offset = _offset(note, renderer, radius, angle, pixels_per_point)
                note.set_position(offset)
                box = note.get_window_extent(renderer).padded(2)
                cost = sum(_overlap(box, other) for other in taken) + 4 * _outside(box, frame)
                if best is None or cost < best[0] - 1e-6:
                    best = (cost, offset)
            if best is not None and best[0] == 0:
                break
        if best is not None:
            note.set_position(best[1])
        taken.append(note.get_window_extent(renderer).padded(2))
        placed.append(note)
    return placed


def _offset(
    note: Annotation, renderer: Any, radius: float, angle_deg: float, pixels_per_point: float
) -> tuple[float, float]:
    """Return the offset in points of the text's lower left corner that puts its near edge `radius` from the point."""
    note.set_position((0, 0))
    box = note.get_window_extent(renderer)
    width, height = box.width / pixels_per_point, box.height / pixels_per_point
    dx, dy = radius * math.cos(math.radians(angle_deg)), radius * math.sin(math.radians(angle_deg))
    across = 0.0 if dx > 1 else (-width if dx < -1 else -width / 2)
    up = 0.0 if dy > 1 else (-height if dy < -1 else -height / 2)
    return dx + across, dy + up
