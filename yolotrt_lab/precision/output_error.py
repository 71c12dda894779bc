"""How far a quantized detector's output is from the FP32 one: a number to rank layers by, cheaper than mAP.

Mean average precision needs labels, hundreds of images, and moves in jumps. What quantization does to the output shows
on a few images and as a smooth number, in two parts:

    scores   ||s' - s|| / ||s||, the relative L2 error of all class scores
    boxes    sqrt(sum p e^2 / sum p), the shift e of a box's centre and sides in units of its size, weighted by the
             reference's best score p, since where no object is, boxes mean nothing

The error is the length of the vector of both. Errors of independent layers add up in squares, as those of independent
random variables do, so shares of damage are shares of squared errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from yolotrt_lab.detection.decode import OutputLayout, detect_layout
from yolotrt_lab.errors import InputError
from yolotrt_lab.export.divergence import make_session
from yolotrt_lab.export.graph import expose_tensors
from yolotrt_lab.export.metadata import metadata_from_model
from yolotrt_lab.precision.structure import find_head
from yolotrt_lab.types import Array, FloatArray

__all__ = ["OutputError", "OutputProbe"]


@dataclass(frozen=True)
class OutputError:
    """Distance of a detector's output from its reference, over all images.

    Attributes:
        scores: Relative L2 error of the scores.
        boxes: Root mean square shift of the boxes in units of their size.
    """

    scores: float
    boxes: float

    @property
    def total(self) -> float:
        """Both in one number."""
        return math.hypot(self.scores, self.boxes)


class OutputProbe:
    """Measures variants of one detector against its FP32 outputs, which are computed once and kept.

    End-to-end detectors (YOLOv10, 26) put out rows in no fixed order; for them the logits of the head are compared.

    Args:
        model: The FP32 detector.
        images: Preprocessed images, each (1, 3, H, W) float32; they are kept, 4.9 MB each at 640 x 640.
        threads: CPU threads for ONNX Runtime; by default all.

    Raises:
        InputError: There are no images, or the model is no detector.
    """

    def __init__(self, model: ModelProto, images: Sequence[FloatArray], *, threads: int | None = None) -> None:
        if not images:
            raise InputError(
                "There are no images to measure on.", expected="at least one, better 8", got="0", fix="Check --data."
            )
        self._images = tuple(images)
        self._threads = threads
        self._input = next(
            value.name for value in model.graph.input if value.name not in {t.name for t in model.graph.initializer}
        )
        classes = len(metadata_from_model(model).class_names)
        output = model.graph.output[0]
        shape = tuple(dim.dim_value or None for dim in output.type.tensor_type.shape.dim)
        if not classes and len(shape) == 3 and shape[1] is not None and shape[2] is not None:
            classes = shape[1] - 4 if shape[1] < shape[2] else shape[2] - 5
        self._layout = detect_layout(shape, num_classes=classes)
        self._names = sorted(find_head(model).final_convs) if self._layout is OutputLayout.END_TO_END else [output.name]
        self._reference = list(self._run(model))

    def __len__(self) -> int:
        return len(self._images)

    def _run(self, model: ModelProto) -> list[list[Array]]:
        session = make_session(expose_tensors(model, self._names), threads=self._threads)
        return [session.run(self._names, {self._input: image}) for image in self._images]

    def measure(self, model: ModelProto) -> OutputError:
        """Return how far a variant's outputs are from the reference's.

        Args:
            model: A detector with the same inputs and outputs.
        """
        sums = np.zeros(4)
        for actual, expected in zip(self._run(model), self._reference, strict=True):
            for ours, theirs in zip(actual, expected, strict=True):
                sums += self._squares(ours, theirs)
        scores, scores_norm, boxes, boxes_weight = sums
        return OutputError(
            scores=math.sqrt(scores / scores_norm) if scores_norm else 0.0,
            boxes=math.sqrt(boxes / boxes_weight) if boxes_weight else 0.0,
        )

    def _squares(self, actual: Array, expected: Array) -> Array:
        """Return (squared score error, squared scores, weighted squared box shift, weight) of one output."""
        if self._layout is OutputLayout.END_TO_END:
            return np.array([np.sum((actual - expected) ** 2, dtype=np.float64), _squared(expected), 0.0, 0.0])
        ours, theirs = (_boxes_and_scores(part, self._layout) for part in (actual, expected))
        weight = theirs[1].max(axis=-1)
        size = np.maximum(theirs[0][..., 2:4], 1.0)  # in pixels; nothing is smaller than one
        shift = (ours[0] - theirs[0]) / np.concatenate([size, size], axis=-1)
        squared_shift = np.minimum((shift**2).mean(axis=-1), 1.0)  # a box that is elsewhere is lost, however far
        return np.array(
            [
                _squared(ours[1] - theirs[1]),
                _squared(theirs[1]),
                float((weight * squared_shift).sum()),
                float(weight.sum()),
            ]
        )


def _squared(values: Array) -> float:
    return float(np.sum(values.astype(np.float64) ** 2))


def _boxes_and_scores(output: Array, layout: OutputLayout) -> tuple[Array, Array]:
    """Return (..., 4) boxes as centre and size, and (..., classes) scores."""
    if layout is OutputLayout.ANCHOR_FREE:
        rows = output.transpose(0, 2, 1)
        return rows[..., :4], rows[..., 4:]
    return output[..., :4], output[..., 4:5] * output[..., 5:]
