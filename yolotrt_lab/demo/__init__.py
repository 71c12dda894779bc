"""The main job from end to end: images, training, ONNX, three engines, accuracy, speed, report."""

from yolotrt_lab.demo.config import DemoConfig
from yolotrt_lab.demo.run import DemoResult, run_demo

__all__ = ["DemoConfig", "DemoResult", "run_demo"]
