"""What a set of images shows, in the quantities that decide how large a detector's activations get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.data.images import image_size, read_image
from yolotrt_lab.data.labels import read_labeled_image
from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.calibration_images import pick_images
from yolotrt_lab.types import ImageArray, ProgressCallback

__all__ = ["BRIGHTNESS_LIMIT", "ImageProfile", "profile_images"]

BRIGHTNESS_LIMIT = 500
"""Images decoded for their brightness; the share of images darker than x is then known to 0.06 or better."""

_LUMA_BGR = np.array([0.114, 0.587, 0.299]) / 255.0  # ITU-R BT.601
_STEP = 4  # every fourth pixel of every fourth row


def _nothing() -> NDArray[np.float64]:
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class ImageProfile:
    """What a set of images shows. Without labels there are no classes and no objects.

    Attributes:
        image_count: Number of images.
        object_counts: (classes,) objects of each class.
        class_image_counts: (classes,) images that show each class.
        brightness: (m,) mean luma of the images, 0 to 1; of a random sample when there are many.
        image_aspect: (images,) width over height, which decides how much the letterbox pads.
        object_px: (objects,) √(width · height) in pixels of the network's input.
        object_aspect: (objects,) width over height.
    """

    image_count: int
    object_counts: NDArray[np.int64]
    class_image_counts: NDArray[np.int64]
    brightness: NDArray[np.float64]
    image_aspect: NDArray[np.float64]
    object_px: NDArray[np.float64] = field(default_factory=_nothing)
    object_aspect: NDArray[np.float64] = field(default_factory=_nothing)


def mean_luma(image_bgr: ImageArray) -> float:
    """Return the brightness of a picture, 0 for black to 1 for white.

    Example:
        >>> round(mean_luma(np.full((8, 8, 3), 51, np.uint8)), 3)
        0.2
    """
    return float(image_bgr[::_STEP, ::_STEP].reshape(-1, 3).mean(axis=0) @ _LUMA_BGR)


def profile_images(
    images: Sequence[Path],
    *,
    input_hw: tuple[int, int],
    num_classes: int | None,
    brightness_limit: int = BRIGHTNESS_LIMIT,
    on_progress: ProgressCallback | None = None,
) -> ImageProfile:
    """Measure images and their labels.

    Args:
        images: Image files.
        input_hw: Height and width of the network's input.
        num_classes: Of the labels; None when the images have no labels.
        brightness_limit: Decode at most so many, drawn at random.
        on_progress: Called with (images done, images in all).

    Raises:
        InputError: There are no images, or an image or its labels cannot be read.
    """
    if not images:
        raise InputError("There are no images to measure.", expected="at least one", got="0")
    decoded = frozenset(pick_images(images, count=brightness_limit))
    classes = num_classes or 0
    objects, showing = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    brightness, aspects, sizes = [], [], []
    for done, path in enumerate(images, start=1):
        if num_classes is None:
            height, width = image_size(path)
        else:
            labeled = read_labeled_image(path, num_classes=num_classes)
            height, width = labeled.image_hw
            own = np.bincount(labeled.class_ids, minlength=classes)
            objects += own
            showing += own > 0
            gain = min(input_hw[0] / height, input_hw[1] / width)
            sizes.append((labeled.xyxy[:, 2:] - labeled.xyxy[:, :2]) * gain)
        aspects.append(width / height)
        if path in decoded:
            brightness.append(mean_luma(read_image(path)))
        if on_progress is not None:
            on_progress(done, len(images))
    wh = np.maximum(np.concatenate(sizes) if sizes else np.zeros((0, 2)), 1e-6)
    return ImageProfile(
        len(images), objects, showing, np.array(brightness), np.array(aspects), np.sqrt(wh.prod(axis=1)),
        wh[:, 0] / wh[:, 1],
    )  # fmt: skip
