"""From a YOLO dataset to a fast, verified TensorRT engine.

Importing this package imports none of PyTorch, Ultralytics, TensorRT and OpenVINO; submodules load them when used.
"""

import sys as _sys

# OpenVINO reports every import to its maker, in a process of its own. Nobody who takes a course has agreed to that;
# without this package it does all the rest just the same.
_sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__version__ = "0.1.0"
