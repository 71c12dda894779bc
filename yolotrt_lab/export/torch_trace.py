"""Running a checkpoint in PyTorch and keeping every tensor on the way, to hold an exported graph against."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.export.onnx_export import load_detector
from yolotrt_lab.types import Array, FloatArray

__all__ = ["TorchReference"]


class TorchReference:
    """A detector checkpoint, batch norms fused, in evaluation mode, FP32 on the CPU.

    Args:
        weights: A `.pt` file. It is a pickle: open only those you trust.

    Raises:
        InputError: Not a detection checkpoint of Ultralytics.
    """

    def __init__(self, weights: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            yolo = load_detector(weights, folder=Path(folder))
        self.class_names: tuple[str, ...] = tuple(str(yolo.names[class_id]) for class_id in sorted(yolo.names))
        self._model: Any = yolo.model.float().eval().fuse(verbose=False)
        self._model.requires_grad_(False)
        self._model.model[-1].export = True  # the decoded predictions alone, as in the ONNX graph

    def predict(self, images: FloatArray) -> Array:
        """Return the predictions, (N, 4 + classes, anchors), for (N, 3, H, W) RGB in [0, 1]."""
        import torch

        with torch.no_grad():
            output: Array = self._model(torch.from_numpy(images)).numpy()
        return output

    def trace(self, images: FloatArray) -> list[Array]:
        """Return every float tensor that the forward pass computes, in order of computation.

        Operators that ONNX writes as two nodes contribute the tensor in between as well: SiLU is x · sigmoid(x).
        """
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode

        recorded: list[Array] = []

        def keep(value: Any) -> None:
            if isinstance(value, torch.Tensor):
                if value.is_floating_point():
                    recorded.append(np.array(value.detach().numpy()))  # a copy: later operators may write in place
            elif isinstance(value, (list, tuple)):
                for item in value:
                    keep(item)

        class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in PyTorch
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                name = func.overloadpacket.__name__
                if name in ("silu", "silu_"):
                    keep(torch.sigmoid(args[0]))
                result = func(*args, **(kwargs or {}))
                keep(result)
                return result

        with torch.no_grad(), Recorder():  # type: ignore[no-untyped-call]
            self._model(torch.from_numpy(images))
        return recorded
