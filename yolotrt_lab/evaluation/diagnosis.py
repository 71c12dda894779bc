"""What probably went wrong when two tensors differ.

Each mistake that people make is undone in turn; the one whose undoing makes the tensors agree is the likely cause.
So a cause is named only on evidence, and several may be named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from yolotrt_lab.detection.boxes import cxcywh_from_xyxy, xyxy_from_cxcywh, xyxy_from_xywh
from yolotrt_lab.types import Array

__all__ = ["class_order_causes", "likely_box_causes", "likely_causes", "shape_causes"]

# A hypothesis explains a difference if undoing it leaves at most this share of the error ...
_LEFT_OF_ERROR = 0.1
# ... and at most this share of the reference's own spread: beside an error of 255 times, everything is small.
_LEFT_OF_SPREAD = 0.3
# Logits beyond this are certainties; clipping keeps the logarithm finite.
_SURE = 1e-7


def shape_causes(actual: tuple[int, ...], expected: tuple[int, ...]) -> tuple[str, ...]:
    """Return why a shape may differ from the one expected.

    Example:
        >>> shape_causes((1, 8400, 7), (1, 7, 8400))
        ('the axes are transposed',)
    """
    if len(actual) == len(expected) and sorted(actual) == sorted(expected):
        return ("the axes are transposed",)
    if len(actual) == len(expected) and actual[1:] == expected[1:]:
        return (f"the batch holds {actual[0]} instead of {expected[0]} images",)
    if len(actual) < len(expected) and math.prod(actual) == math.prod(expected):
        return ("the buffer was not reshaped to the output's shape",)
    if len(actual) == len(expected):
        return ("the model was exported for another image size, batch or number of classes",)
    return ("this is another output of the network",)


def likely_causes(actual: Array, expected: Array) -> tuple[str, ...]:
    """Return the mistakes that would explain why `actual` differs from `expected`.

    Args:
        actual: Finite values.
        expected: Finite values of the same shape.

    Example:
        >>> expected = np.array([1.0, 5.0, 2.0])
        >>> likely_causes(4 * expected, expected)
        ('the values are 4 times the expected ones: a scale is applied twice, or not at all',)
    """
    a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if a.size < 2 or (a == e).all():
        return ()
    if (a == a.flat[0]).all() and not (e == e.flat[0]).all():
        return (f"every value is {a.flat[0]:g}: the output was not copied back, or read before the work was done",)
    return _explaining((*_hypotheses(a, e), *_partial_copy(a, e)), a, e)


def _explaining(hypotheses: Iterable[tuple[str, Array]], a: Array, e: Array) -> tuple[str, ...]:
    """Return the mistakes whose undoing makes `a` agree with `e`."""
    limit = min(_LEFT_OF_ERROR * np.linalg.norm(a - e), _LEFT_OF_SPREAD * np.linalg.norm(e - e.mean()))
    return tuple(cause for cause, undone in hypotheses if np.linalg.norm(undone - e) <= limit)


def likely_box_causes(actual: Array, expected: Array) -> tuple[str, ...]:
    """Return the mistakes in box coordinates that would explain the difference.

    Args:
        actual: (..., 4) boxes, finite.
        expected: (..., 4) boxes, center and size.

    Example:
        >>> expected = np.array([[10.0, 20.0, 4.0, 6.0], [50.0, 30.0, 8.0, 2.0]])
        >>> likely_box_causes(expected[:, [0, 1, 3, 2]], expected)
        ('width and height are swapped',)
    """
    a, e = np.asarray(actual, np.float64).reshape(-1, 4), np.asarray(expected, np.float64).reshape(-1, 4)
    if (a == e).all():
        return ()
    hypotheses = (
        ("width and height are swapped", a[:, [0, 1, 3, 2]]),
        ("x and y are swapped", a[:, [1, 0, 3, 2]]),
        ("boxes are corners (xyxy) where center and size (cxcywh) belong", cxcywh_from_xyxy(a)),
        ("center and size (cxcywh) are converted to corners twice", xyxy_from_cxcywh(a)),
        ("boxes start at their corner (xywh) instead of their center (cxcywh)", cxcywh_from_xyxy(xyxy_from_xywh(a))),
    )
    return _explaining(hypotheses, a, e)


def class_order_causes(actual: Array, expected: Array) -> tuple[str, ...]:
    """Return whether (classes, n) scores agree once their classes are put in another order.

    Example:
        >>> expected = np.array([[0.9, 0.1], [0.2, 0.8]])
        >>> class_order_causes(expected[::-1], expected)
        ('the classes are in another order',)
    """
    a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    order = _nearest_rows(a, e)
    if len(set(order)) < len(order) or order == list(range(len(order))):
        return ()
    return _explaining([("the classes are in another order", a[order])], a, e)


def _nearest_rows(a: Array, e: Array) -> list[int]:
    """Return for each row of `e` the nearest row of `a`."""
    # |a - e|^2 without |e|^2, which is the same for every candidate.
    nearest: list[int] = ((a * a).sum(axis=1)[None, :] - 2 * (e @ a.T)).argmin(axis=1).tolist()
    return nearest


def _hypotheses(a: Array, e: Array) -> Iterator[tuple[str, Array]]:
    """Yield each mistake with what `a` would be without it."""
    scale = float((a * e).sum() / max(float((e * e).sum()), 1e-300))
    if abs(scale) > 1e-12 and abs(scale - 1) > 1e-3:
        yield f"the values are {scale:.4g} times the expected ones: a scale is applied twice, or not at all", a / scale
    shift = float((a - e).mean())
    if shift != 0:
        yield (
            f"the values are shifted by {shift:.4g}: an offset such as the padding is missing or added twice",
            a - shift,
        )
    yield from _sigmoid_hypotheses(a, e)
    yield from _order_hypotheses(a, e)


def _sigmoid_hypotheses(a: Array, e: Array) -> Iterator[tuple[str, Array]]:
    if e.min() < 0 or e.max() > 1:
        return
    if a.min() < 0 or a.max() > 1:
        yield "the values leave [0, 1] and their sigmoid fits: the last sigmoid is missing", 0.5 * (1 + np.tanh(a / 2))
    elif a.min() >= 0.5 - 1e-3:
        p = np.clip(a, _SURE, 1 - _SURE)
        yield "no value is below 0.5 and their logit fits: the sigmoid is applied twice", np.log(p / (1 - p))


def _order_hypotheses(a: Array, e: Array) -> Iterator[tuple[str, Array]]:
    for axis in (1, 3):
        if a.ndim == 4 and a.shape[axis] == 3:
            yield f"axis {axis} is in reverse order: blue and red are swapped (BGR for RGB)", np.flip(a, axis)
    if a.ndim > 1 and len(a) > 1:
        sample = np.s_[:, :: max(1, a[0].size // 4096)]
        order = _nearest_rows(a.reshape(len(a), -1)[sample], e.reshape(len(e), -1)[sample])
        if order != list(range(len(order))):
            yield "the images of the batch are in another order: results go with the wrong image", a[order]
    if a.ndim == 3 and a.shape[1] != a.shape[2]:
        swapped = a.reshape(a.shape[0], a.shape[2], a.shape[1]).transpose(0, 2, 1)
        yield "rows and columns are mixed up: the buffer was read in the transposed layout", swapped


def _partial_copy(a: Array, e: Array) -> Iterator[tuple[str, Array]]:
    written = np.flatnonzero(a.ravel())
    end = int(written[-1]) + 1 if len(written) else 0
    if 0 < end < 0.99 * a.size:
        undone = a.ravel().copy()
        undone[end:] = e.ravel()[end:]
        share = 1 - end / a.size
        yield (
            f"the last {share:.0%} of the values are 0: only part was copied (elements counted where bytes belong)",
            undone.reshape(a.shape),
        )
