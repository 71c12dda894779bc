"""From a YOLO dataset to a fast, verified TensorRT engine.

Importing this package imports none of PyTorch, Ultralytics, TensorRT and OpenVINO; submodules load them when used.
"""

__version__ = "0.1.0"
