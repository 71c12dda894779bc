"""From a YOLO network's raw output to boxes, scores and class ids in pixels of its input, before NMS.

Three families of exported detectors differ in how they arrange the same facts:

    anchor_based  (batch, anchors, 5 + classes)  YOLOv3, v5, v7: cx cy w h objectness class...; score = both multiplied
    anchor_free   (batch, 4 + classes, anchors)  YOLOv8, v9, 11, 12, v5u: cx cy w h class...; one column per candidate
    end_to_end    (batch, kept, 6)               YOLOv10, 26: x1 y1 x2 y2 score class; duplicates already removed

Only candidates above the threshold are converted: of 8400 columns a picture keeps a few dozen.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from yolotrt_lab.detection.boxes import xyxy_from_cxcywh
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, Detections

__all__ = ["OutputLayout", "decode", "detect_layout", "fits_layout"]

_SUPPORTED = "(batch, anchors, 5 + classes), (batch, 4 + classes, anchors) or (batch, kept, 6)"
# One, three or no anchors at each place of the feature maps with strides 8-16-32, or these and a fourth (4 or 64).
_PLACES_PER_CELL = (21, 85)
# End-to-end heads keep a few hundred boxes (300 by default); three anchors per place at 128x128 are 1008 already.
_MOST_END_TO_END_ROWS = 1000
# Sigmoid outputs lie in [0, 1]; a quantized one may overshoot by a step or two.
_SCORE_SLACK = 0.05


class OutputLayout(StrEnum):
    """How a detector arranges its output; see the module's table."""

    ANCHOR_BASED = "anchor_based"
    ANCHOR_FREE = "anchor_free"
    END_TO_END = "end_to_end"


def detect_layout(shape: tuple[int | None, ...], *, num_classes: int) -> OutputLayout:
    """Return the layout that an output shape stands for.

    A shape decides alone in every case but one: with a single class, (batch, n, 6) is both anchor-based and
    end-to-end. Then n decides: anchor-based heads have 63 or 255 anchors per cell of the coarsest grid, end-to-end
    heads keep at most 1000 rows. Where that does not decide either, an error is raised rather than a guess made.

    Args:
        shape: The output's shape; the batch axis may be None.
        num_classes: How many classes the model was trained on.

    Raises:
        InputError: Not the output of a supported YOLO detector, or of one with another number of classes.

    Example:
        >>> detect_layout((1, 84, 8400), num_classes=80)
        <OutputLayout.ANCHOR_FREE: 'anchor_free'>
    """
    fitting = [layout for layout in OutputLayout if fits_layout(shape, layout, num_classes=num_classes)]
    if len(fitting) > 1:
        fitting = [layout for layout in fitting if _is_plausible(shape, layout)]
    if len(fitting) == 1:
        return fitting[0]
    raise InputError(
        f"Output shape {shape} is ambiguous for {num_classes} classes."
        if fitting
        else f"Output shape {shape} is not that of a YOLO detector with {num_classes} classes.",
        expected=f"{_SUPPORTED}; one of {_examples(num_classes)} at 640x640",
        got=str(shape),
        fix=f"Set DetectorConfig.layout to one of {', '.join(fitting)}." if fitting else _layout_hint(shape),
    )


def fits_layout(shape: tuple[int | None, ...], layout: OutputLayout, *, num_classes: int) -> bool:
    """Return whether an output of this shape can be arranged so, regardless of the number of candidates."""
    if len(shape) != 3:
        return False
    if layout is OutputLayout.ANCHOR_FREE:
        return shape[1] == 4 + num_classes
    return shape[2] == (6 if layout is OutputLayout.END_TO_END else 5 + num_classes)


def _is_plausible(shape: tuple[int | None, ...], layout: OutputLayout) -> bool:
    """Return whether the number of candidates is one that this layout's heads produce."""
    candidates = shape[2 if layout is OutputLayout.ANCHOR_FREE else 1]
    if candidates is None:
        return True
    if layout is OutputLayout.END_TO_END:
        return candidates <= _MOST_END_TO_END_ROWS
    anchors_per_place = 3 if layout is OutputLayout.ANCHOR_BASED else 1
    return any(candidates % (anchors_per_place * places) == 0 for places in _PLACES_PER_CELL)


def _examples(num_classes: int) -> str:
    return f"(1, 25200, {5 + num_classes}), (1, {4 + num_classes}, 8400), (1, 300, 6)"


def _layout_hint(shape: tuple[int | None, ...]) -> str:
    """Return what most likely happened for a shape that fits no layout."""
    if len(shape) == 5:
        return "These are undecoded feature maps: export with Ultralytics' `export`, which decodes the boxes."
    if len(shape) != 3:
        return "Use a detection model; a classifier or a feature extractor has no boxes."
    _, second, third = shape
    if second is not None and third is not None and 4 < second < third:
        return (
            f"If this is an anchor-free detector it has {second - 4} classes (or extra channels for masks or "
            "keypoints): pass as many class names as it has classes, and use a detection model."
        )
    if second is not None and third is not None and 5 < third < second:
        return (
            f"If this is an anchor-based detector it has {third - 5} classes: pass that many class names. If it is "
            f"anchor-free with {third - 4}, its output is transposed: export it without a transpose at the end."
        )
    return "Use a detection model and pass as many class names as it has classes."


def decode(
    output: Array, *, layout: OutputLayout, conf_threshold: float, multi_label: bool = False
) -> list[Detections]:
    """Return the candidates of each image whose score exceeds the threshold, in the order of the output.

    Args:
        output: The network's output, float32 or float16, arranged as `layout` says.
        layout: How the output is arranged.
        conf_threshold: A candidate is kept if its score is greater than this.
        multi_label: Give a candidate once for every class above the threshold, as Ultralytics does when it computes
            mAP; otherwise once, for its best class (the first of equals). Without effect on end-to-end outputs,
            which hold one class per row.

    Returns:
        For every image of the batch, detections in pixels of the network's input, overlaps not yet removed.

    Raises:
        InputError: NaN or infinity in the output, scores outside [0, 1], or a shape that does not fit the layout.

    Example:
        >>> output = np.array([[[10.0], [20.0], [4.0], [6.0], [0.1], [0.8]]], np.float32)
        >>> found = decode(output, layout=OutputLayout.ANCHOR_FREE, conf_threshold=0.25)[0]
        >>> found.xyxy.tolist(), found.class_ids.tolist()
        ([[8.0, 17.0, 12.0, 23.0]], [1])
    """
    _require_output(output, layout)
    decode_image = {
        OutputLayout.ANCHOR_BASED: _decode_anchor_based,
        OutputLayout.ANCHOR_FREE: _decode_anchor_free,
        OutputLayout.END_TO_END: _decode_end_to_end,
    }[layout]
    return [decode_image(image_output, conf_threshold, multi_label) for image_output in output]


def _require_output(output: Array, layout: OutputLayout) -> None:
    least = {OutputLayout.ANCHOR_BASED: (0, 6), OutputLayout.ANCHOR_FREE: (5, 0), OutputLayout.END_TO_END: (0, 6)}
    rows, columns = least[layout]
    fits = output.ndim == 3 and output.shape[1] >= rows and output.shape[2] >= columns
    if layout is OutputLayout.END_TO_END:
        fits = fits and output.shape[2] == 6
    if not fits or output.dtype.kind != "f":
        raise InputError(
            f"The output cannot be decoded as {layout}.",
            expected=f"a float array of shape {_SUPPORTED}",
            got=f"shape {output.shape}, dtype {output.dtype}",
        )
    if not _all_finite(output):
        raise InputError(
            f"The network's output holds {np.count_nonzero(~np.isfinite(output))} values that are NaN or infinite.",
            expected=f"{output.size} finite numbers",
            got=f"{np.count_nonzero(np.isnan(output))} NaN, {np.count_nonzero(np.isinf(output))} infinite",
            fix="The model is broken or overflows (usual in FP16 with large weights): check the FP32 ONNX model first.",
        )


def _all_finite(output: Array) -> bool:
    if output.dtype != np.float16:
        return bool(np.isfinite(output).all())
    # All ones in a half's five exponent bits mean NaN or infinity; integers compare 15 times faster than halves.
    exponent_bits = np.uint16(0x7C00)
    return not ((output.view(np.uint16) & exponent_bits) == exponent_bits).any()


def _require_scores(lowest: float, highest: float) -> None:
    if lowest < -_SCORE_SLACK or highest > 1 + _SCORE_SLACK:
        raise InputError(
            "The network's scores are not probabilities.",
            expected="scores in [0, 1]",
            got=f"best scores per candidate from {lowest:.4g} to {highest:.4g}",
            fix="The last sigmoid is missing, or this output holds something else: export the decoded output.",
        )


def _best_of_rows(scores: Array) -> Array:
    """Return the (anchors,) maximum over (classes, anchors) as float32."""
    if scores.dtype == np.float16:
        # The bits of non-negative halves, read as integers, have the same order. Negative ones come out negative,
        # in whatever order, and no threshold lets them pass.
        best: Array = scores.view(np.int16).max(axis=0).view(np.float16)
    else:
        best = scores.max(axis=0)
    return best.astype(np.float32, copy=False)


def _decode_anchor_free(output: Array, conf_threshold: float, multi_label: bool) -> Detections:
    scores = output[4:]
    best = _best_of_rows(scores)
    if not best.size:
        return Detections.empty()
    _require_scores(float(best.min()), float(best.max()))
    candidates = np.flatnonzero(best > np.float32(conf_threshold))
    return _candidates(
        cxcywh=output[:4, candidates].T.astype(np.float32),
        scores=scores[:, candidates].T.astype(np.float32),
        conf_threshold=conf_threshold,
        multi_label=multi_label,
    )


def _decode_anchor_based(output: Array, conf_threshold: float, multi_label: bool) -> Detections:
    objectness = output[:, 4].astype(np.float32)
    if not objectness.size:
        return Detections.empty()
    _require_scores(float(objectness.min()), float(objectness.max()))
    # The product cannot exceed its first factor by more than the slack, so most rows need no multiplication.
    rows = output[objectness * np.float32(1 + _SCORE_SLACK) > np.float32(conf_threshold)].astype(np.float32)
    class_scores = rows[:, 5:]
    if class_scores.size:
        _require_scores(float(class_scores.min()), float(class_scores.max()))
    return _candidates(
        cxcywh=rows[:, :4],
        scores=class_scores * rows[:, 4:5],
        conf_threshold=conf_threshold,
        multi_label=multi_label,
    )


def _candidates(*, cxcywh: Array, scores: Array, conf_threshold: float, multi_label: bool) -> Detections:
    """Return detections from (n, 4) boxes and (n, classes) scores."""
    if multi_label:
        rows, class_ids = np.nonzero(scores > np.float32(conf_threshold))
    else:
        class_ids = scores.argmax(axis=1)
        rows = np.arange(len(scores))
        above = scores[rows, class_ids] > np.float32(conf_threshold)
        rows, class_ids = rows[above], class_ids[above]
    return Detections(
        xyxy=xyxy_from_cxcywh(cxcywh[rows]), scores=scores[rows, class_ids], class_ids=class_ids.astype(np.int64)
    )


def _decode_end_to_end(output: Array, conf_threshold: float, _multi_label: bool) -> Detections:
    scores = output[:, 4].astype(np.float32)
    if not scores.size:
        return Detections.empty()
    _require_scores(float(scores.min()), float(scores.max()))
    rows = output[scores > np.float32(conf_threshold)].astype(np.float32)
    class_ids = np.rint(rows[:, 5]).astype(np.int64)
    if (np.abs(rows[:, 5] - class_ids) > _SCORE_SLACK).any() or (class_ids < 0).any():
        raise InputError(
            "The sixth column of an end-to-end output must hold class ids.",
            expected="whole numbers from 0",
            got=f"{rows[:, 5].min():.4g} to {rows[:, 5].max():.4g}",
            fix="If this model has one class and objectness, set DetectorConfig.layout to anchor_based.",
        )
    return Detections(xyxy=rows[:, :4].copy(), scores=rows[:, 4].copy(), class_ids=class_ids)
