"""One interface over PyTorch, ONNX Runtime, OpenVINO and TensorRT (real or emulated).

`open_runtime` gives the raw tensors-in, tensors-out runtime, `open_detector` puts the detection pipeline on top, and
`stream_detections` runs that pipeline's stages side by side. The frameworks are imported only when a runtime of that
kind is opened.
"""

from __future__ import annotations

from yolotrt_lab.runtimes.base import LayerTime, Runtime
from yolotrt_lab.runtimes.detector import detector_from_runtime, open_detector
from yolotrt_lab.runtimes.open import BACKENDS, open_runtime
from yolotrt_lab.runtimes.streaming import StreamedFrame, stream_detections

__all__ = [
    "BACKENDS",
    "LayerTime",
    "Runtime",
    "StreamedFrame",
    "detector_from_runtime",
    "open_detector",
    "open_runtime",
    "stream_detections",
]
