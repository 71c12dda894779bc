"""Letterbox: fit an image into the network's input without distorting it, and bring boxes back.

The geometry is Ultralytics' `LetterBox(auto=False, center=True)`, rounding included: the same pixel at every place.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np

from yolotrt_lab.detection.boxes import as_boxes, clip_boxes
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, ImageArray

__all__ = [
    "PAD_VALUE",
    "LetterboxTransform",
    "image_xyxy_from_input_xyxy",
    "input_xyxy_from_image_xyxy",
    "letterbox",
    "preprocess",
    "require_bgr",
]

PAD_VALUE = 114
"""The gray, of 255, that YOLO models see around an image in training."""

_FULL = np.float32(255)
_FLOAT_TYPES = ("float32", "float16")
# NumPy converts to half precision one number at a time; all 256 quotients, as bits, are looked up 5 times faster.
_HALF_QUOTIENT_BITS = (np.arange(256, dtype=np.float32) / _FULL).astype(np.float16).view(np.uint16)
_scratch = threading.local()


@dataclass(frozen=True)
class LetterboxTransform:
    """Where an image lies inside the network's input.

    Attributes:
        scale: Input pixels per image pixel before rounding to whole pixels.
        pad_xy: Empty pixels left of and above the image.
        image_hw: Height and width of the image.
        input_hw: Height and width of the network's input.
    """

    scale: float
    pad_xy: tuple[int, int]
    image_hw: tuple[int, int]
    input_hw: tuple[int, int]

    @classmethod
    def fit(cls, image_hw: tuple[int, int], *, input_hw: tuple[int, int]) -> LetterboxTransform:
        """Return the transform that centers an image of `image_hw` in `input_hw`.

        Raises:
            InputError: A side is zero or negative.

        Example:
            >>> LetterboxTransform.fit((480, 640), input_hw=(640, 640)).pad_xy
            (0, 80)
        """
        if min(*image_hw, *input_hw) < 1:
            raise InputError(
                "An image or network input without pixels cannot be letterboxed.",
                expected="height and width of at least 1",
                got=f"image {image_hw}, input {input_hw}",
            )
        scale = min(input_hw[0] / image_hw[0], input_hw[1] / image_hw[1])
        height, width = _resized_hw(image_hw, scale)
        # An odd pixel goes right or below: Ultralytics rounds the half it puts first with a bias of -0.1.
        pad_xy = (round((input_hw[1] - width) / 2 - 0.1), round((input_hw[0] - height) / 2 - 0.1))
        return cls(scale=scale, pad_xy=pad_xy, image_hw=image_hw, input_hw=input_hw)

    @property
    def resized_hw(self) -> tuple[int, int]:
        """Height and width of the image inside the input, in whole pixels, at least 1."""
        return _resized_hw(self.image_hw, self.scale)

    @property
    def scale_xy(self) -> tuple[float, float]:
        """The scale after rounding to whole pixels, which differs between the axes by less than one pixel."""
        height, width = self.resized_hw
        return width / self.image_hw[1], height / self.image_hw[0]


def _resized_hw(image_hw: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(round(image_hw[0] * scale), 1), max(round(image_hw[1] * scale), 1)


def require_bgr(image_bgr: object) -> ImageArray:
    """Return `image_bgr` if it is what OpenCV reads: uint8, (height, width, 3), contiguous, not empty.

    Raises:
        InputError: Anything else, saying what came and how to convert it.
    """
    if not isinstance(image_bgr, np.ndarray):
        got, fix = type(image_bgr).__name__, "Pass the array that cv2.imread returns; None means it could not read."
    elif problem := _image_problem(image_bgr):
        got, fix = problem
    else:
        return image_bgr
    raise InputError(
        "The image is not what the detector takes.",
        expected="a contiguous uint8 array of shape (height, width, 3) in BGR order",
        got=got,
        fix=fix,
    )


def _image_problem(image: Array) -> tuple[str, str] | None:
    """Return what is wrong with an image and how to fix it, or None."""
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        return f"grayscale, shape {image.shape}", "cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"
    if image.ndim == 3 and image.shape[2] == 4:
        return f"four channels, shape {image.shape}", "cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)"
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        return f"channels first, shape {image.shape}", "np.ascontiguousarray(image.transpose(1, 2, 0))"
    if image.ndim != 3 or image.shape[2] != 3:
        return f"shape {image.shape}", "Pass one image at a time; detect_batch takes a list of images."
    if image.dtype != np.uint8:
        return f"dtype {image.dtype}", "Scale to 0..255 and convert with astype(np.uint8)."
    if image.size == 0:
        return f"no pixels, shape {image.shape}", "Check the crop or the file this image comes from."
    if not image.flags.c_contiguous:
        return f"a strided view, strides {image.strides}", "np.ascontiguousarray(image)"
    return None


def _resized(image_bgr: ImageArray, transform: LetterboxTransform) -> ImageArray:
    if transform.resized_hw == transform.image_hw:
        return image_bgr
    height, width = transform.resized_hw
    return np.asarray(cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def letterbox(
    image_bgr: ImageArray, *, input_hw: tuple[int, int], pad_value: int = PAD_VALUE
) -> tuple[ImageArray, LetterboxTransform]:
    """Return the image resized and centered on a gray canvas, and the transform that was used.

    Args:
        image_bgr: (height, width, 3) uint8.
        input_hw: Height and width of the canvas.
        pad_value: Gray of the border, 0 to 255.

    Returns:
        The canvas, (input height, input width, 3) uint8 in the same channel order, and the transform.

    Raises:
        InputError: The image is not a contiguous uint8 BGR image.

    Example:
        >>> canvas, transform = letterbox(np.zeros((2, 4, 3), np.uint8), input_hw=(4, 4))
        >>> canvas[:, 0, 0].tolist(), transform.pad_xy
        ([114, 0, 0, 114], (0, 1))
    """
    image = require_bgr(image_bgr)
    transform = LetterboxTransform.fit((image.shape[0], image.shape[1]), input_hw=input_hw)
    canvas = np.full((*input_hw, 3), pad_value, dtype=np.uint8)
    (left, top), (height, width) = transform.pad_xy, transform.resized_hw
    canvas[top : top + height, left : left + width] = _resized(image, transform)
    return canvas, transform


def preprocess(
    image_bgr: ImageArray, *, input_hw: tuple[int, int], out: Array | None = None
) -> tuple[Array, LetterboxTransform]:
    """Return the network's input for one image: letterboxed, RGB, divided by 255, channels first.

    Equal to `letterbox(...)[0][..., ::-1].transpose(2, 0, 1) / 255`, without the canvas and the copies between.

    Args:
        image_bgr: (height, width, 3) uint8.
        input_hw: Height and width of the network's input.
        out: (1, 3, input height, input width) float32 or float16 array to write into, such as a row of a batch
            buffer; a new float32 array if None.

    Returns:
        `out`, every element written, and the transform.

    Raises:
        InputError: The image or `out` has the wrong shape or dtype.

    Example:
        >>> batch, _ = preprocess(np.full((4, 4, 3), (255, 0, 51), np.uint8), input_hw=(4, 4))
        >>> batch[0, :, 0, 0].round(2).tolist()  # red, green, blue
        [0.20000000298023224, 0.0, 1.0]
    """
    image = require_bgr(image_bgr)
    transform = LetterboxTransform.fit((image.shape[0], image.shape[1]), input_hw=input_hw)
    shape = (1, 3, *input_hw)
    if out is None:
        out = np.empty(shape, np.float32)
    if out.shape != shape or out.dtype.name not in _FLOAT_TYPES or not out.flags.c_contiguous:
        raise InputError(
            "The output array does not fit the network's input.",
            expected=f"shape {shape}, dtype float32 or float16, contiguous",
            got=f"shape {out.shape}, dtype {out.dtype}, {'contiguous' if out.flags.c_contiguous else 'strided'}",
        )
    planes: Array = out[0]
    (left, top), (height, width) = transform.pad_xy, transform.resized_hw
    # The buffer may hold the previous image, which lay elsewhere, so the whole border is written.
    planes[:, :top] = planes[:, top + height :] = PAD_VALUE / 255
    inside = planes[:, top : top + height]
    inside[:, :, :left] = inside[:, :, left + width :] = PAD_VALUE / 255
    _write_rgb_quotients(_resized(image, transform), inside[:, :, left : left + width])
    return out, transform


def _write_rgb_quotients(image_bgr: ImageArray, planes: Array) -> None:
    """Write red, green and blue, each divided by 255, into three float planes."""
    # blobFromImage would do the same but takes ten times as long, mostly for fresh memory.
    channels = _scratch_planes(image_bgr.shape[0], image_bgr.shape[1])
    cv2.split(image_bgr, channels)
    for plane, channel in zip(planes, reversed(channels), strict=True):
        if plane.dtype == np.float16:
            cv2.LUT(channel, _HALF_QUOTIENT_BITS, plane.view(np.uint16))
        else:
            np.divide(channel, _FULL, out=plane, dtype=np.float32)


def _scratch_planes(height: int, width: int) -> list[ImageArray]:
    """Return three uint8 planes of this thread's own memory, which grows to the largest size asked for."""
    size = height * width
    memory: ImageArray | None = getattr(_scratch, "memory", None)
    if memory is None or len(memory) < 3 * size:
        memory = _scratch.memory = np.empty(3 * size, np.uint8)
    return list(memory[: 3 * size].reshape(3, height, width))


def image_xyxy_from_input_xyxy(xyxy: Array, transform: LetterboxTransform) -> Array:
    """Return boxes in image pixels, clipped to the image, from boxes in network-input pixels.

    Equal to Ultralytics' `scale_boxes`: subtract the padding, then divide by the scale that each axis really got.

    Args:
        xyxy: (n, 4) boxes in pixels of the network's input.
        transform: The transform that made the input.

    Example:
        >>> transform = LetterboxTransform.fit((480, 640), input_hw=(320, 320))
        >>> image_xyxy_from_input_xyxy(np.array([[10.0, 40.0, 60.0, 400.0]]), transform).tolist()
        [[20.0, 0.0, 120.0, 480.0]]
    """
    pad, scale = _pad_and_scale(transform)
    boxes = as_boxes(xyxy, name="xyxy")
    return clip_boxes((boxes - pad.astype(boxes.dtype)) / scale.astype(boxes.dtype), transform.image_hw)


def input_xyxy_from_image_xyxy(xyxy: Array, transform: LetterboxTransform) -> Array:
    """Return boxes in network-input pixels from boxes in image pixels; not clipped.

    Example:
        >>> transform = LetterboxTransform.fit((480, 640), input_hw=(320, 320))
        >>> input_xyxy_from_image_xyxy(np.array([[20.0, 0.0, 120.0, 480.0]]), transform).tolist()
        [[10.0, 40.0, 60.0, 280.0]]
    """
    pad, scale = _pad_and_scale(transform)
    boxes = as_boxes(xyxy, name="xyxy")
    result: Array = boxes * scale.astype(boxes.dtype) + pad.astype(boxes.dtype)
    return result


def _pad_and_scale(transform: LetterboxTransform) -> tuple[Array, Array]:
    return np.array(transform.pad_xy * 2, np.float64), np.array(transform.scale_xy * 2, np.float64)
