"""Letterbox on the device: uint8 images in device memory become the network's input, in one kernel."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yolotrt_lab.detection.letterbox import PAD_VALUE, LetterboxTransform
from yolotrt_lab.errors import InputError
from yolotrt_lab.gpu.resampling import letterbox_tables
from yolotrt_lab.optional import require

if TYPE_CHECKING:
    import torch

__all__ = ["GpuLetterbox", "LetterboxPlan"]

_BLOCK = 256
_MOST_SIZES = 32  # tables of this many image sizes are kept; each is some 20 KB


@dataclass(frozen=True, eq=False)
class LetterboxPlan:
    """What the kernel needs for one image size. A CUDA graph that uses it must keep it: it owns the tables' memory.

    Attributes:
        transform: Where the image lies in the input.
        columns: (4, resized width) int32 on the device, see `resampling.axis_table`.
        rows: (4, resized height) int32 on the device.
    """

    transform: LetterboxTransform
    columns: torch.Tensor
    rows: torch.Tensor


class GpuLetterbox:
    """Resize, center, BGR to RGB, divide by 255 and put channels first, equal to `detection.letterbox.preprocess`.

    The picture is OpenCV's to the bit: the weights come from the tables in `gpu.resampling`.

    Args:
        input_hw: Height and width of the network's input.
        device: Where images and inputs are.
    """

    def __init__(self, *, input_hw: tuple[int, int], device: torch.device | str = "cuda") -> None:
        self._torch: Any = require("torch", purpose="letterbox on a GPU")
        require("triton", purpose="letterbox on a GPU")
        self._kernel: Any = importlib.import_module("yolotrt_lab.gpu.letterbox_kernels").letterbox_kernel
        self.input_hw = input_hw
        self._device = self._torch.device(device)
        self._plans: OrderedDict[tuple[int, int], LetterboxPlan] = OrderedDict()

    def plan(self, image_hw: tuple[int, int]) -> LetterboxPlan:
        """Return the tables for an image size, on the device; kept for the next image of that size."""
        if image_hw not in self._plans:
            transform = LetterboxTransform.fit(image_hw, input_hw=self.input_hw)
            columns, rows = (self._torch.from_numpy(table).to(self._device) for table in letterbox_tables(transform))
            self._plans[image_hw] = LetterboxPlan(transform, columns, rows)
            if len(self._plans) > _MOST_SIZES:
                self._plans.popitem(last=False)
        self._plans.move_to_end(image_hw)
        return self._plans[image_hw]

    def __call__(
        self, images: torch.Tensor, out: torch.Tensor, *, plan: LetterboxPlan | None = None
    ) -> LetterboxTransform:
        """Enqueue the kernel on the current stream.

        Args:
            images: (batch, height, width, 3) uint8, BGR, contiguous.
            out: (batch, 3, input height, input width) float32 or float16; contiguous or channels last.
            plan: What `plan` returned for this image size; looked up, and if need be made, when None.

        Returns:
            The transform of every image of the batch.

        Raises:
            InputError: A tensor has the wrong shape or type.
        """
        self._require(images, out)
        batch, height, width = (int(size) for size in images.shape[:3])
        plan = self.plan((height, width)) if plan is None else plan
        transform = plan.transform
        (left, top), (resized_height, resized_width) = transform.pad_xy, transform.resized_hw
        grid = (-(-self.input_hw[1] // _BLOCK), self.input_hw[0], batch)
        self._kernel[grid](
            images, plan.columns, plan.rows, out,
            height, width, left, top, resized_height, resized_width, self.input_hw[1],
            *out.stride(), PAD_VALUE,
            BLOCK=_BLOCK, num_warps=4,
        )  # fmt: skip
        return transform

    def _require(self, images: torch.Tensor, out: torch.Tensor) -> None:
        shape = (len(images), 3, *self.input_hw)
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != self._torch.uint8 or not images.is_contiguous():
            raise InputError(
                "The images are not what the letterbox kernel takes.",
                expected="a contiguous uint8 tensor of shape (batch, height, width, 3)",
                got=f"shape {tuple(images.shape)}, {images.dtype}",
            )
        if tuple(out.shape) != shape or out.dtype not in (self._torch.float32, self._torch.float16):
            raise InputError(
                "The output tensor does not fit the network's input.",
                expected=f"shape {shape}, float32 or float16",
                got=f"shape {tuple(out.shape)}, {out.dtype}",
            )
