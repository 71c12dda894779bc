"""Example images with the boxes two engines found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yolotrt_lab.errors import InputError
from yolotrt_lab.report.plots.style import INK, escaped, new_figure, series_colors, short_name
from yolotrt_lab.types import Detections, ImageArray

__all__ = ["ExampleImage", "example_grid"]

_MOST_LABELS = 12


@dataclass(frozen=True, eq=False)
class ExampleImage:
    """One image and what was found in it.

    Attributes:
        title: Shown above, such as the file's name.
        image_bgr: (height, width, 3) uint8.
        detections: Detections in its pixels, as (engine, detections) pairs, drawn side by side.
    """

    title: str
    image_bgr: ImageArray
    detections: Sequence[tuple[str, Detections]]


def _draw(axes: Axes, image: ImageArray, found: Detections, *, class_names: Sequence[str], title: str) -> None:
    axes.imshow(image[:, :, ::-1])
    axes.set_axis_off()
    axes.set_title(title, fontsize=11, color=INK, loc="left", pad=4)
    colors = series_colors([str(name) for name in class_names])
    order = sorted(range(len(found)), key=lambda index: -float(found.scores[index]))
    for rank, index in enumerate(order):
        left, top, right, bottom = (float(value) for value in found.xyxy[index])
        class_id = int(found.class_ids[index])
        name = class_names[class_id] if class_id < len(class_names) else f"class {class_id}"
        color = colors.get(name, "#D55E00")
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=2))
        if rank < _MOST_LABELS:
            axes.text(
                left,
                max(top, 0.06 * image.shape[0]),
                f"{escaped(name)} {found.scores[index]:.2f}",
                fontsize=9,
                color="white",
                va="bottom",
                clip_on=True,
                bbox={"facecolor": color, "edgecolor": "none", "pad": 1.2, "alpha": 0.9},
            )


def example_grid(examples: Sequence[ExampleImage], *, class_names: Sequence[str]) -> Figure:
    """Draw images in rows, with one column per engine; at most four rows are drawn.

    Args:
        examples: Images, all with the same engines.
        class_names: Name of each class id.

    Raises:
        InputError: No images, or images with different engines.
    """
    engines = {tuple(name for name, _ in example.detections) for example in examples}
    if len(engines) != 1 or not next(iter(engines)):
        raise InputError(
            "The example images do not fit one grid.",
            expected="at least one image, each with detections of the same engines",
            got=f"{len(examples)} images with engines {sorted(map(list, engines))}",
        )
    names = next(iter(engines))
    rows = examples[:4]
    heights = [example.image_bgr.shape[0] / example.image_bgr.shape[1] for example in rows]
    panel_width = 9.0 / len(names)
    figure = new_figure(height=sum(height * panel_width + 0.35 for height in heights))
    panels = figure.subplots(len(rows), len(names), squeeze=False, height_ratios=heights)
    for row, example in enumerate(rows):
        for column, (name, found) in enumerate(example.detections):
            title = f"{short_name(name)}: {len(found)} objects  ({short_name(example.title)})"
            _draw(panels[row, column], example.image_bgr, found, class_names=class_names, title=title)
    return figure
