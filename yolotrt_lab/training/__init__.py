"""Training: a thin, reproducible layer over Ultralytics.

`train(TrainConfig(...))` trains or fine-tunes a YOLO and leaves one folder with the best and last checkpoints, the
curves, TensorBoard events, the log and `training.json`, which says how the weights came to be.
"""

from yolotrt_lab.training.config import TrainConfig
from yolotrt_lab.training.plots import plot_history, plot_training, read_history
from yolotrt_lab.training.presets import PRESETS, Preset
from yolotrt_lab.training.run import TrainResult, train
from yolotrt_lab.training.weights import base_checkpoint, resolve_weights

__all__ = [
    "PRESETS",
    "Preset",
    "TrainConfig",
    "TrainResult",
    "base_checkpoint",
    "plot_history",
    "plot_training",
    "read_history",
    "resolve_weights",
    "train",
]
