"""Decode, filter and suppress on the device: from the network's output to at most so many boxes of each image."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yolotrt_lab.detection.decode import OutputLayout, fits_layout
from yolotrt_lab.detection.letterbox import LetterboxTransform
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.optional import require
from yolotrt_lab.types import Array, Detections

if TYPE_CHECKING:
    import torch

__all__ = ["GpuPostprocess", "PostprocessConfig", "detections_from_result"]

_SCORE_SLACK = 0.05  # as `detection.decode` allows
_NO_SUPPRESSION = 2.0  # no IoU is greater
_FAULTS = (
    (1, "values that are NaN or infinite", "finite numbers", "Check the FP32 model; FP16 overflows at 65504."),
    (2, "scores that are no probabilities", "scores in [0, 1]", "The last sigmoid is missing: export decoded output."),
    (4, "class ids it does not know", "whole numbers below the number of classes", "Pass the model's own class names."),
)


@dataclass(frozen=True)
class PostprocessConfig:
    """What stays.

    Attributes:
        conf_threshold: Keep candidates with a score greater than this.
        iou_threshold: Of two boxes of a class with a greater IoU than this, keep the better.
        max_detections: Keep at most this many per image.
        max_candidates: Of more candidates than this above the threshold, only the best enter NMS: a power of two,
            32 to 1024. The result is that of NMS over all as long as `max_detections` are kept, or no more came;
            otherwise a warning says so.
    """

    conf_threshold: float = 0.25
    iou_threshold: float = 0.7
    max_detections: int = 300
    max_candidates: int = 1024

    def __post_init__(self) -> None:
        for name in ("conf_threshold", "iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is out of range.", expected="0 to 1", got=getattr(self, name))
        most = self.max_candidates
        if not 32 <= most <= 1024 or most & (most - 1):
            raise InputError("max_candidates is out of range.", expected="a power of two from 32 to 1024", got=most)
        if not 1 <= self.max_detections <= most:
            raise InputError(
                "max_detections is out of range.", expected=f"1 to max_candidates, {most}", got=self.max_detections
            )


def _not_above(value: float) -> float:
    """Return the largest float32 that is not above `value`, as `detection.nms` compares."""
    rounded = np.float32(value)
    return float(np.nextafter(rounded, np.float32(0)) if float(rounded) > value else rounded)


class GpuPostprocess:
    """Four kernels over buffers made once; the same boxes, scores, classes and order as `Detector.postprocess`.

    Args:
        output_shape: Of the network's output, all axes fixed.
        layout: How the output is arranged.
        num_classes: How many classes the network knows.
        config: What stays.
        device: Where the output is.

    Attributes:
        result: (batch, 1 + max_detections, 6) float32 on the device; see `detections_from_result`.

    Raises:
        InputError: The shape does not fit the layout.
    """

    result: torch.Tensor

    def __init__(
        self,
        output_shape: tuple[int, ...],
        *,
        layout: OutputLayout,
        num_classes: int,
        config: PostprocessConfig,
        device: torch.device | str = "cuda",
    ) -> None:
        torch: Any = require("torch", purpose="suppress boxes on a GPU")
        require("triton", purpose="suppress boxes on a GPU")
        self._kernels: Any = importlib.import_module("yolotrt_lab.gpu.nms_kernels")
        if not fits_layout(output_shape, layout, num_classes=num_classes):
            raise InputError(
                f"Output shape {output_shape} is not {layout} with {num_classes} classes.",
                expected="the shape of this network's output, and its number of classes",
                got=str(output_shape),
            )
        self._shape, self._layout, self._num_classes, self.config = tuple(output_shape), layout, num_classes, config
        batch = output_shape[0]
        self._rows = output_shape[2 if layout is OutputLayout.ANCHOR_FREE else 1]
        most = config.max_candidates

        def empty(*shape: int, dtype: Any = torch.float32) -> Any:
            return torch.zeros(shape, dtype=dtype, device=device)

        self._counters = empty(batch, 2, dtype=torch.int32)
        self._found = (  # scores, places, classes, boxes: in the order in which programs came
            empty(batch, self._rows),
            empty(batch, self._rows, dtype=torch.int32),
            empty(batch, self._rows, dtype=torch.int32),
            empty(batch, self._rows, 4),
        )
        self._sorted = (empty(batch, most), empty(batch, most, dtype=torch.int32), empty(batch, most, 4))
        self._suppressors = empty(batch, most, most // 32, dtype=torch.int32)
        self.result = empty(batch, 1 + config.max_detections, 6)

    def __call__(self, output: torch.Tensor, transform: LetterboxTransform) -> torch.Tensor:
        """Enqueue the kernels on the current stream and return `result`, which they fill.

        Args:
            output: The network's, float32 or float16, on the device.
            transform: What the letterbox returned.

        Raises:
            InputError: The output has another shape than announced.
        """
        if tuple(output.shape) != self._shape:
            raise InputError("The network's output changed its shape.", expected=self._shape, got=tuple(output.shape))
        batch, most, rows = self._shape[0], self.config.max_candidates, self._rows
        exact = {"enable_fp_fusion": False}  # a fused multiply-add rounds once where the CPU rounds twice
        self._decode(output, exact)
        self._kernels.rank_kernel[(-(-rows // 64), batch)](
            self._counters, *self._found, *self._sorted, rows, MOST=most, BLOCK=64, OTHERS=128, num_warps=4, **exact
        )
        ends = self._layout is OutputLayout.END_TO_END
        threshold = _NO_SUPPRESSION if ends else _not_above(self.config.iou_threshold)
        self._kernels.overlap_kernel[(most // 32, most // 32, batch)](
            self._counters, *self._sorted[1:], self._suppressors, threshold, MOST=most, num_warps=1, **exact
        )
        (pad_x, pad_y), (scale_x, scale_y), (height, width) = transform.pad_xy, transform.scale_xy, transform.image_hw
        self._kernels.select_kernel[(batch,)](
            self._counters, *self._sorted, self._suppressors, self.result, self.config.max_detections,
            float(pad_x), float(pad_y), scale_x, scale_y, float(width), float(height),
            MOST=most, num_warps=max(1, most // 64), **exact,
        )  # fmt: skip
        return self.result

    def _decode(self, output: torch.Tensor, exact: dict[str, bool]) -> None:
        by_row = self._layout is not OutputLayout.ANCHOR_FREE
        stride_batch, *strides = output.stride()
        stride_row, stride_channel = strides if by_row else reversed(strides)
        self._kernels.decode_kernel[(-(-self._rows // 64), self._shape[0])](
            output, self._counters, *self._found, self._rows, self._num_classes,
            stride_batch, stride_row, stride_channel,
            float(np.float32(self.config.conf_threshold)), _SCORE_SLACK,
            OBJECTNESS=self._layout is OutputLayout.ANCHOR_BASED,
            END_TO_END=self._layout is OutputLayout.END_TO_END,
            CLASSES=16, BLOCK=64, num_warps=4, **exact,
        )  # fmt: skip


def detections_from_result(result: Array, *, max_candidates: int) -> list[Detections]:
    """Return the detections of each image of the batch, best first, in pixels of the image.

    Args:
        result: `GpuPostprocess.result` on the host. Row 0 holds how many were kept, how many candidates there were,
            and faults; the other rows left, top, right, bottom, score, class.
        max_candidates: Of the configuration.

    Warns:
        LabWarning: More candidates came than enter NMS, and fewer boxes stayed than may: some may be missing.

    Raises:
        InputError: The network's output was unusable: NaN, infinity, scores that are no probabilities, unknown classes.

    Example:
        >>> result = np.zeros((1, 3, 6), np.float32)
        >>> result[0, 0, 0], result[0, 1] = 1, (10, 20, 30, 40, 0.9, 2)
        >>> found = detections_from_result(result, max_candidates=32)[0]
        >>> found.xyxy.tolist(), found.class_ids.tolist()
        ([[10.0, 20.0, 30.0, 40.0]], [2])
    """
    faults = int(np.bitwise_or.reduce(result[:, 0, 2].astype(np.int64)))
    for bit, got, expected, fix in _FAULTS:
        if faults & bit:
            raise InputError(f"The network's output holds {got}.", expected=expected, got=got, fix=fix)
    found = []
    for image in result:
        if image[0, 1] > max_candidates and image[0, 0] < len(image) - 1:
            warnings.warn(
                f"{int(image[0, 1])} candidates passed the threshold, of which only the best {max_candidates} entered "
                "NMS; boxes may be missing. Raise conf_threshold or max_candidates.",
                LabWarning,
                stacklevel=2,
            )
        rows = image[1 : 1 + int(image[0, 0])]
        found.append(Detections(rows[:, :4].copy(), rows[:, 4].copy(), rows[:, 5].astype(np.int64)))
    return found
