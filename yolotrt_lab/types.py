"""Values that travel between modules. All are frozen; arrays inside are not copied, so treat them as read-only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.errors import InputError

__all__ = ["Array", "Detections", "FloatArray", "ImageArray", "Precision", "ProgressCallback", "TensorSpec"]

Array = NDArray[Any]
FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]

ProgressCallback = Callable[[int, int], None]
"""Called with (steps done, steps in all) by anything that takes longer than about two seconds."""


class Precision(StrEnum):
    """The arithmetic an engine is asked for, or is found to run in."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"


@dataclass(frozen=True)
class TensorSpec:
    """Name, NumPy dtype name and shape of a model input or output; `None` marks a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return whether a concrete shape fits this one."""
        return len(shape) == len(self.shape) and all(
            mine is None or mine == theirs for mine, theirs in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True, eq=False)
class Detections:
    """Detected objects of one image, best first or in any stated order.

    Attributes:
        xyxy: (n, 4) float32, left, top, right, bottom in pixels of the image they belong to.
        scores: (n,) float32 in [0, 1].
        class_ids: (n,) int64.
    """

    xyxy: FloatArray
    scores: FloatArray
    class_ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.xyxy.shape != (count, 4) or self.scores.shape != (count,) or self.class_ids.shape != (count,):
            raise InputError(
                "Detections need one box, one score and one class id per object.",
                expected="xyxy (n, 4), scores (n,), class_ids (n,)",
                got=f"xyxy {self.xyxy.shape}, scores {self.scores.shape}, class_ids {self.class_ids.shape}",
            )

    @classmethod
    def empty(cls) -> Detections:
        """Return no detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, keep: Array) -> Detections:
        """Return the detections at the given indices or boolean mask, in that order."""
        return Detections(self.xyxy[keep], self.scores[keep], self.class_ids[keep])
