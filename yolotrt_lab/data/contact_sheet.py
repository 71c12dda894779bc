"""Many labelled images on one page: the quickest way to see that labels are wrong.

The boxes are drawn here rather than by `supervision`, which puts the names of boxes at the border outside the picture.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import cv2
import numpy as np

from yolotrt_lab.data.colours import class_colours
from yolotrt_lab.data.datasets import Dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import LabeledImage, read_labeled_image
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, ImageArray

__all__ = ["annotate_image", "contact_sheet", "dataset_sheet"]

_CAPTION_PX = 24
_GAP_PX = 8
_PAPER = (30, 28, 27)
_INK = (20, 20, 20)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.38


def _draw_name(canvas: ImageArray, text: str, *, corner_xy: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Write a name on a patch of colour above a box, or inside it where the picture ends."""
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    width, height = text_width + 4, text_height + baseline + 2
    left = max(0, min(corner_xy[0], canvas.shape[1] - width))
    top = corner_xy[1] - height if corner_xy[1] >= height else corner_xy[1]
    top = max(0, min(top, canvas.shape[0] - height))
    cv2.rectangle(canvas, (left, top), (left + width - 1, top + height - 1), colour, cv2.FILLED)
    cv2.putText(canvas, text, (left + 2, top + text_height + 1), _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)


def annotate_image(
    image_bgr: ImageArray, *, xyxy: Array, class_ids: Array, class_names: Sequence[str], scale: float = 1.0
) -> ImageArray:
    """Return a copy of an image, scaled, with its boxes and their class names.

    The image is scaled before drawing, so that lines and letters stay legible at any size.

    Args:
        image_bgr: (h, w, 3) uint8.
        xyxy: (n, 4) boxes in pixels of `image_bgr`.
        class_ids: (n,) class ids.
        class_names: Names in the order of the ids.
        scale: Size of the result as a multiple of the image's.
    """
    height, width = image_bgr.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = image_bgr.copy() if scale == 1 else np.asarray(cv2.resize(image_bgr, size, interpolation=method), np.uint8)
    colours = [rgb[::-1] for rgb in class_colours(len(class_names))]
    objects = list(zip(np.round(np.asarray(xyxy).reshape(-1, 4) * scale).astype(int).tolist(), class_ids, strict=True))
    thickness = 1 if max(size) < 900 else 2
    for (x0, y0, x1, y1), class_id in objects:
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colours[class_id], thickness)
    # Names come last, so that no box crosses them out.
    for (x0, y0, _, _), class_id in objects:
        _draw_name(canvas, _ascii(class_names[class_id]), corner_xy=(x0, y0), colour=colours[class_id])
    return canvas


def _ascii(text: str) -> str:
    """Return text that OpenCV's built-in font can draw."""
    return os.fsencode(text).decode("ascii", "replace").replace("\ufffd", "?")


def _cell(item: LabeledImage, *, class_names: Sequence[str], cell_wh: tuple[int, int], scale: float) -> ImageArray:
    """Return one image, centred above its file name."""
    drawn = annotate_image(
        read_image(item.path), xyxy=item.xyxy, class_ids=item.class_ids, class_names=class_names, scale=scale
    )
    height, width = min(drawn.shape[0], cell_wh[1]), min(drawn.shape[1], cell_wh[0])
    cell = np.full((cell_wh[1] + _CAPTION_PX, cell_wh[0], 3), _PAPER, np.uint8)
    top, left = (cell_wh[1] - height) // 2, (cell_wh[0] - width) // 2
    cell[top : top + height, left : left + width] = drawn[:height, :width]
    noun = "object" if len(item.class_ids) == 1 else "objects"
    text = f"{_ascii(item.path.name)}  {len(item.class_ids)} {noun}"
    cv2.putText(cell, text, (2, cell_wh[1] + 16), _FONT, 0.42, (215, 215, 215), 1, cv2.LINE_AA)
    return cell


def contact_sheet(
    items: Sequence[LabeledImage], *, class_names: Sequence[str], columns: int = 4, cell_px: int = 400
) -> ImageArray:
    """Return a grid of images with boxes, class colours, names and captions.

    Args:
        items: The images with their objects; rows are filled from the left.
        class_names: Names in the order of the class ids.
        columns: Images per row.
        cell_px: Longest side of each image on the sheet.

    Raises:
        InputError: No images, an impossible grid, or an unreadable image.
    """
    if not items or columns < 1 or not 40 <= cell_px <= 4000:
        raise InputError(
            "Cannot make a contact sheet.",
            expected="at least one image, 1 or more columns, cells of 40 to 4000 pixels",
            got=f"{len(items)} images, {columns} columns, cells of {cell_px} pixels",
        )
    scales = [cell_px / max(item.image_hw) for item in items]
    cell_wh = (
        round(max(item.image_hw[1] * scale for item, scale in zip(items, scales, strict=True))),
        round(max(item.image_hw[0] * scale for item, scale in zip(items, scales, strict=True))),
    )
    columns = min(columns, len(items))
    rows = -(-len(items) // columns)
    step_x, step_y = cell_wh[0] + _GAP_PX, cell_wh[1] + _CAPTION_PX + _GAP_PX
    sheet = np.full((rows * step_y + _GAP_PX, columns * step_x + _GAP_PX, 3), _PAPER, np.uint8)
    for index, (item, scale) in enumerate(zip(items, scales, strict=True)):
        cell = _cell(item, class_names=class_names, cell_wh=cell_wh, scale=scale)
        top, left = index // columns * step_y + _GAP_PX, index % columns * step_x + _GAP_PX
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def dataset_sheet(
    dataset: Dataset, *, split: str = "train", count: int = 12, seed: int = 0, columns: int = 4, cell_px: int = 400
) -> ImageArray:
    """Return a contact sheet of images drawn at random from a split.

    Raises:
        InputError: There is no such split, or an image or its labels cannot be read.
    """
    paths = dataset.images(split)
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.choice(len(paths), size=min(count, len(paths)), replace=False)) if count > 0 else []
    items = [read_labeled_image(paths[index], num_classes=len(dataset.class_names)) for index in chosen]
    return contact_sheet(items, class_names=dataset.class_names, columns=columns, cell_px=cell_px)
