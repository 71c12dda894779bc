"""Ultralytics checkpoints run by PyTorch: the reference the exported model is held against."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.onnx_export import load_detector
from yolotrt_lab.export.properties import class_names_from_metadata, input_hw_from_metadata
from yolotrt_lab.files import require_file
from yolotrt_lab.optional import require
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.types import Array, Precision, TensorSpec

__all__ = ["PyTorchRuntime"]

_DEFAULT_HW = (640, 640)


def _device_from_name(torch: Any, name: str) -> Any:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"PyTorch cannot use device {name!r}.",
            expected="auto, cpu, or a CUDA device that is there",
            got=str(error).splitlines()[0],
            fix='Use device="cpu".',
        ) from error
    return device


class PyTorchRuntime(Runtime):
    """An Ultralytics detector, batch norms fused, in evaluation mode, FP32.

    Args:
        path: A .pt checkpoint. It is a pickle: open only files you trust.
        input_hw: Height and width to run at; by default the size it was trained with.
        device: "auto" (CUDA when there), "cpu", "cuda" or "cuda:1".
        threads: CPU threads; None leaves PyTorch's setting. It is PyTorch's global setting; `close` puts it back.

    Raises:
        InputError: No such file, not a detection checkpoint, or no such device.
    """

    def __init__(
        self,
        path: Path,
        *,
        input_hw: tuple[int, int] | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        require_file(path, kind="PyTorch checkpoint (.pt)")
        self._torch: Any = require("torch", purpose="run a .pt checkpoint")
        self._device = _device_from_name(self._torch, device)
        with tempfile.TemporaryDirectory() as folder:
            yolo = load_detector(path, folder=Path(folder))
        hw = input_hw or input_hw_from_metadata(yolo.overrides) or _DEFAULT_HW
        stride = int(yolo.model.stride.max())
        if hw[0] % stride or hw[1] % stride:
            raise InputError(
                "The input size does not fit the model.", expected=f"multiples of its stride {stride}", got=hw
            )
        self._model: Any = yolo.model.float().eval().fuse(verbose=False).to(self._device)
        self._model.requires_grad_(False)
        self._previous_threads = self._torch.get_num_threads()
        if threads is not None:
            self._torch.set_num_threads(threads)
        super().__init__(
            name=f"PyTorch {self._torch.__version__}, {self._device_text()}",
            backend="pytorch",
            platform=self._device.type,
            inputs=(TensorSpec("images", "float32", (None, 3, *hw)),),
            outputs=(TensorSpec("output0", "float32", (None, *self._output_shape(hw))),),
            executed_precision=Precision.FP32,
            class_names=class_names_from_metadata({"names": yolo.names}),
            input_hw=hw,
        )

    def _device_text(self) -> str:
        if self._device.type != "cuda":
            return str(self._device.type).upper()
        return str(self._torch.cuda.get_device_name(self._device))

    def _output_shape(self, hw: tuple[int, int]) -> tuple[int, ...]:
        return self._run(np.zeros((1, 3, *hw), np.float32)).shape[1:]

    def _run(self, images: Array) -> Array:
        with self._torch.inference_mode():
            output = self._model(self._torch.from_numpy(images).to(self._device))
            first = output[0] if isinstance(output, (list, tuple)) else output
            result: Array = first.float().cpu().numpy()
        return result

    def _infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return {"output0": self._run(feeds["images"])}
        except RuntimeError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> LabError:
        failure = super()._failed(error)
        if "out of memory" in str(error):
            return LabError(failure.what, got=failure.got, fix="Use a smaller batch, or close other programs.")
        return failure

    def _close(self) -> None:
        self._model = None
        self._torch.set_num_threads(self._previous_threads)
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()
