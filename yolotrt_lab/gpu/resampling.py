"""OpenCV's bilinear resampling of 8-bit images, as tables of places and weights.

`cv2.resize(..., INTER_LINEAR)` computes in fixed point: weights of 11 bits, a horizontal sum of 19 bits, of which the
vertical one takes the upper 15. Whoever repeats these steps gets OpenCV's picture to the bit, on any device:

    row      = left * weight_left + right * weight_right                      (weights add up to about 2048)
    pixel    = ((weight_above * (row_above >> 4) >> 16) + (weight_below * (row_below >> 4) >> 16) + 2) >> 2

Source: OpenCV, modules/imgproc/src/resize.cpp (`HResizeLinear`, `VResizeLinear`, `FixedPtCast`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.detection.letterbox import LetterboxTransform
from yolotrt_lab.types import ImageArray

__all__ = ["WEIGHT_ONE", "axis_table", "letterbox_tables", "resize_by_tables"]

WEIGHT_ONE = 2048
"""A weight of 1 in fixed point."""


def axis_table(size: int, resized: int, *, horizontal: bool) -> NDArray[np.int32]:
    """Return where the pixels of a resized axis come from.

    Args:
        size: Pixels before.
        resized: Pixels after.
        horizontal: Beyond the first and last pixel OpenCV gives the border pixel a weight of 1 horizontally, and
            takes it twice, with two weights that are rounded apart, vertically.

    Returns:
        (4, resized): first and second source pixel, and their weights of together about `WEIGHT_ONE`.

    Example:
        >>> axis_table(2, 4, horizontal=True).tolist()
        [[0, 0, 0, 1], [1, 1, 1, 1], [2048, 1536, 512, 2048], [0, 512, 1536, 0]]
    """
    scale = 1 / (resized / size)  # OpenCV rounds the inverse too
    place = ((np.arange(resized) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int32)
    fraction = place - first.astype(np.float32)
    if horizontal:
        fraction[(first < 0) | (first >= size - 1)] = 0
        first = first.clip(0, size - 1)
    weights = np.rint(np.stack((np.float32(1) - fraction, fraction)) * np.float32(WEIGHT_ONE))
    places = np.stack((first, first + 1)).clip(0, size - 1)
    return np.concatenate((places, weights)).astype(np.int32)


def letterbox_tables(transform: LetterboxTransform) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the tables of the columns and rows that the image has inside the network's input.

    Example:
        >>> columns, rows = letterbox_tables(LetterboxTransform.fit((2, 4), input_hw=(8, 8)))
        >>> columns.shape, rows.shape
        ((4, 8), (4, 4))
    """
    (height, width), (resized_height, resized_width) = transform.image_hw, transform.resized_hw
    return (
        axis_table(width, resized_width, horizontal=True),
        axis_table(height, resized_height, horizontal=False),
    )


def resize_by_tables(image: ImageArray, transform: LetterboxTransform) -> ImageArray:
    """Return the resized image, computed from the tables as the GPU does it: the reference for both.

    Example:
        >>> image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        >>> resize_by_tables(image, LetterboxTransform.fit((2, 2), input_hw=(4, 4)))[0, :, 0].tolist()
        [0, 1, 2, 3]
    """
    columns, rows = letterbox_tables(transform)
    pixels = image.astype(np.int32)
    across = pixels[:, columns[0]] * columns[2, :, None] + pixels[:, columns[1]] * columns[3, :, None]
    above, below = (rows[2 + side, :, None, None] * (across[rows[side]] >> 4) >> 16 for side in (0, 1))
    resized: ImageArray = (above + below + 2 >> 2).astype(np.uint8)
    return resized
