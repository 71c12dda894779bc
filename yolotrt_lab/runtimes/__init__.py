"""One interface over PyTorch, ONNX Runtime, OpenVINO and TensorRT (real or emulated).

`open_runtime` gives the raw tensors-in, tensors-out runtime, `open_detector` puts the detection pipeline on top. The
frameworks are imported only when a runtime of that kind is opened.
"""

from __future__ import annotations

from yolotrt_lab.runtimes.base import LayerTime, Runtime
from yolotrt_lab.runtimes.detector import detector_from_runtime, open_detector
from yolotrt_lab.runtimes.open import BACKENDS, open_runtime

__all__ = ["BACKENDS", "LayerTime", "Runtime", "detector_from_runtime", "open_detector", "open_runtime"]
