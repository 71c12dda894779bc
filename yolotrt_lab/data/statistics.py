"""What a data set looks like in numbers: classes, box sizes and places, objects per image; and a figure of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.data.colours import class_colours
from yolotrt_lab.data.datasets import Dataset, load_dataset
from yolotrt_lab.data.labels import LabeledImage, read_labeled_image
from yolotrt_lab.types import FloatArray, ProgressCallback

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["DatasetStatistics", "dataset_statistics", "plot_statistics"]

_SMALL_PX2, _LARGE_PX2 = 32**2, 96**2  # COCO's limits of small and large objects
_MOST_HEAT_CELLS = 40


@dataclass(frozen=True, eq=False)
class DatasetStatistics:
    """Numbers about a data set.

    Attributes:
        class_names: Names in the order of the class ids.
        images: Number of images by split.
        background_images: Number of images without objects by split.
        class_counts: (classes,) objects by split.
        box_wh: (n, 2) width and height of every box in pixels.
        box_centres: (n, 2) centre of every box in shares of the image.
        class_ids: (n,) class of every box.
        objects_per_image: (images,) number of objects of every image.
    """

    class_names: tuple[str, ...]
    images: Mapping[str, int]
    background_images: Mapping[str, int]
    class_counts: Mapping[str, NDArray[np.int64]]
    box_wh: FloatArray
    box_centres: FloatArray
    class_ids: NDArray[np.int64]
    objects_per_image: NDArray[np.int64]

    @property
    def boxes(self) -> int:
        """Number of objects."""
        return len(self.class_ids)

    def size_counts(self) -> dict[str, int]:
        """Return how many objects are small, medium and large by COCO's limits (32² and 96² pixels)."""
        area = self.box_wh.prod(axis=1)
        small, large = int((area < _SMALL_PX2).sum()), int((area > _LARGE_PX2).sum())
        return {"small": small, "medium": self.boxes - small - large, "large": large}

    def summary(self) -> dict[str, Any]:
        """Return the numbers that fit on a page, ready for JSON."""
        total = sum(self.class_counts.values(), np.zeros(len(self.class_names), np.int64))
        sides = np.sqrt(self.box_wh.prod(axis=1))
        percentiles = np.percentile(sides, [5, 50, 95]).round(1).tolist() if self.boxes else [None] * 3
        return {
            "images": dict(self.images),
            "background_images": dict(self.background_images),
            "boxes": self.boxes,
            "boxes_per_class": dict(zip(self.class_names, total.tolist(), strict=True)),
            "objects_per_image_mean": float(self.objects_per_image.mean()),
            "objects_per_image_max": int(self.objects_per_image.max()),
            "box_side_px": dict(zip(("p5", "median", "p95"), percentiles, strict=True)),
            "box_sizes": self.size_counts(),
        }


def dataset_statistics(
    dataset: Dataset | Path | str, *, on_progress: ProgressCallback | None = None
) -> DatasetStatistics:
    """Read all labels of a data set and count.

    Args:
        dataset: A data set, its `data.yaml`, or its folder.
        on_progress: Called with (images done, images in all).

    Raises:
        InputError: The data set is broken; `validate_dataset` lists everything that is.
    """
    if not isinstance(dataset, Dataset):
        dataset = load_dataset(dataset)
    classes = len(dataset.class_names)
    entries: list[LabeledImage] = []
    total = sum(len(paths) for paths in dataset.splits.values())
    counts: dict[str, NDArray[np.int64]] = {}
    background: dict[str, int] = {}
    for split, paths in dataset.splits.items():
        read = []
        for path in paths:
            read.append(read_labeled_image(path, num_classes=classes))
            if on_progress:
                on_progress(len(entries) + len(read), total)
        ids = np.concatenate([item.class_ids for item in read]) if read else np.zeros(0, np.int64)
        counts[split] = np.bincount(ids, minlength=classes).astype(np.int64)
        background[split] = sum(not len(item.class_ids) for item in read)
        entries += read
    xyxy = np.concatenate([item.xyxy for item in entries])
    sizes = np.concatenate([np.tile(item.image_hw[::-1], (len(item.class_ids), 1)) for item in entries])
    return DatasetStatistics(
        dataset.class_names,
        {split: len(paths) for split, paths in dataset.splits.items()},
        background,
        counts,
        (xyxy[:, 2:] - xyxy[:, :2]).astype(np.float32),
        ((xyxy[:, 2:] + xyxy[:, :2]) / 2 / sizes.reshape(-1, 2)).astype(np.float32),
        np.concatenate([item.class_ids for item in entries]),
        np.asarray([len(item.class_ids) for item in entries], np.int64),
    )


def plot_statistics(statistics: DatasetStatistics, *, title: str = "") -> Figure:
    """Return a figure of six panels: classes, objects per image, places, sizes, shapes, sides by class."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    figure.suptitle(title or f"{sum(statistics.images.values())} images, {statistics.boxes} objects", fontsize=14)
    _plot_classes(axes[0, 0], statistics)
    _plot_counts(axes[0, 1], statistics)
    _plot_places(axes[0, 2], statistics)
    _plot_sizes(axes[1, 0], statistics)
    _plot_shapes(axes[1, 1], statistics)
    _plot_sides(axes[1, 2], statistics)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _plot_classes(axis: Axes, statistics: DatasetStatistics) -> None:
    places = np.arange(len(statistics.class_names))
    left = np.zeros(len(places))
    for (split, counts), colour in zip(
        statistics.class_counts.items(), ("#30638e", "#edae49", "#d1495b"), strict=False
    ):
        axis.barh(places, counts, left=left, label=split, color=colour)
        left = left + counts
    axis.set_yticks(places, statistics.class_names)
    axis.invert_yaxis()
    axis.legend(frameon=False, loc="lower right")
    # Room for the legend beside the bars.
    axis.set(title="Objects per class", xlabel="objects", xlim=(0, max(left.max(initial=1), 1) * 1.4))


def _plot_counts(axis: Axes, statistics: DatasetStatistics) -> None:
    most = int(statistics.objects_per_image.max(initial=0))
    edges = np.linspace(-0.5, most + 0.5, min(most + 2, 60))
    axis.hist(statistics.objects_per_image, bins=edges.tolist(), color="#30638e")
    axis.set(title="Objects per image", xlabel="objects", ylabel="images")


def _plot_places(axis: Axes, statistics: DatasetStatistics) -> None:
    x, y = statistics.box_centres.T
    cells = int(np.clip(np.sqrt(statistics.boxes) / 2, 6, _MOST_HEAT_CELLS))  # about four objects per cell
    heat, _, _ = np.histogram2d(y, x, bins=cells, range=((0, 1), (0, 1)))
    shown = axis.imshow(heat, extent=(0, 1, 1, 0), cmap="magma", interpolation="bilinear")
    axis.figure.colorbar(shown, ax=axis, label="objects", shrink=0.8)
    axis.set(title="Box centres", xlabel="share of the width", ylabel="share of the height")


def _powers_of_two(axis: Axis) -> None:
    """Put plain ticks at powers of two on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    axis.set_major_locator(LogLocator(base=2, numticks=16))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(ScalarFormatter())


def _rgb(index: int, statistics: DatasetStatistics) -> tuple[float, float, float]:
    """Return a class's colour as matplotlib wants it, a little darker for white paper."""
    red, green, blue = class_colours(len(statistics.class_names))[index]
    return red / 300, green / 300, blue / 300


def _plot_sizes(axis: Axes, statistics: DatasetStatistics) -> None:
    alpha = float(np.clip(60 / np.sqrt(max(statistics.boxes, 1)), 0.25, 0.9))
    for index, name in enumerate(statistics.class_names):
        own = statistics.box_wh[statistics.class_ids == index]
        colour = _rgb(index, statistics)
        axis.scatter(own[:, 0], own[:, 1], s=7, alpha=alpha, label=name, linewidths=0, color=colour)
    axis.set(title="Box sizes", xlabel="width [px]", ylabel="height [px]", xscale="log", yscale="log")
    _powers_of_two(axis.xaxis)
    _powers_of_two(axis.yaxis)
    legend = axis.legend(frameon=False, fontsize=8, markerscale=3, ncols=2)
    for handle in filter(None, legend.legend_handles):
        handle.set_alpha(1)


def _plot_shapes(axis: Axes, statistics: DatasetStatistics) -> None:
    if statistics.boxes:
        ratio = np.log2(statistics.box_wh[:, 0] / np.maximum(statistics.box_wh[:, 1], 1e-6))
        axis.hist(ratio, bins=50, color="#00798c")
    axis.set_xticks(range(-3, 4), ["1:8", "1:4", "1:2", "1:1", "2:1", "4:1", "8:1"])
    axis.set(title="Box shapes", xlabel="width : height", ylabel="objects", xlim=(-3.3, 3.3))


def _plot_sides(axis: Axes, statistics: DatasetStatistics) -> None:
    sides = np.sqrt(statistics.box_wh.prod(axis=1))
    groups = [sides[statistics.class_ids == index] for index in range(len(statistics.class_names))]
    drawn = axis.boxplot(
        groups, orientation="horizontal", showfliers=False, patch_artist=True, medianprops={"color": "black"}
    )
    for index, patch in enumerate(drawn["boxes"]):
        patch.set_facecolor(_rgb(index, statistics))
    axis.set_yticks(np.arange(len(groups)) + 1, statistics.class_names)
    axis.invert_yaxis()
    axis.set(title="Box side by class", xlabel="√(width · height) [px]", xscale="log")
    _powers_of_two(axis.xaxis)
