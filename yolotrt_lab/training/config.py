"""What to train, on what, and how: checked before anything heavy is loaded."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.system import usable_cores
from yolotrt_lab.training.presets import PRESETS, Preset

__all__ = ["TrainConfig"]

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?|\d+")
_STRIDE = 32  # the coarsest grid of every YOLO detection head


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the outcome of a training run.

    `None` takes the preset's value.

    Attributes:
        data_yaml: The dataset's `data.yaml`.
        weights: Where to start: "base", a checkpoint's path, a model's YAML name such as "yolov5n.yaml" for random
            weights, or the name of weights that Ultralytics publishes.
        preset: A name in `PRESETS`.
        epochs: Passes over the training images.
        image_size: Side of the square network input in pixels, a multiple of 32.
        batch: Images per step.
        learning_rate: Initial learning rate; with None, the preset's.
        max_minutes: Stop the epochs after so long, with the learning rate's decay fitted to it; the number of epochs
            is then only a first guess. Such a run depends on the machine's speed and cannot be repeated exactly.
        max_train_images: Use at most so many training images, drawn by the seed.
        max_val_images: The same for validation.
        seed: Decides the initial weights, the order of images and every augmentation.
        device: "auto" (the first GPU if there is one), "cpu", "mps", "cuda", "cuda:1" or "1".
        output: The run's folder. It is replaced if it holds an earlier run.
        workers: Processes that load images for a GPU, None for as many as pay off; for a CPU there are none.
        threads: CPU threads for the arithmetic; None for all cores this process may use.

    Raises:
        InputError: A value is out of range.

    Example:
        >>> config = TrainConfig(data_yaml=Path("datasets/parts/data.yaml"), preset="demo", epochs=2)
        >>> config.hyperparameters()["epochs"], config.hyperparameters()["imgsz"]
        (2, 640)
    """

    data_yaml: Path
    weights: str | Path = "base"
    preset: str = "augmented"
    epochs: int | None = None
    image_size: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    max_minutes: float | None = None
    max_train_images: int | None = None
    max_val_images: int | None = None
    seed: int = 0
    device: str = "auto"
    output: Path = Path("runs/train")
    workers: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"Unknown preset {self.preset!r}.", expected=f"one of {', '.join(PRESETS)}")
        for name in ("epochs", "batch", "max_train_images", "max_val_images", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be positive.", expected="1 or more", got=value)
        for name in ("seed", "workers"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f"{name} cannot be negative.", expected="0 or more", got=value)
        if self.image_size is not None and (self.image_size < _STRIDE or self.image_size % _STRIDE):
            raise InputError(
                "The image size does not fit the network's grid.",
                expected=f"a multiple of {_STRIDE} pixels",
                got=self.image_size,
                fix=f"Use {max(_STRIDE, round(self.image_size / _STRIDE) * _STRIDE)}.",
            )
        if self.max_minutes is not None and not 0 < self.max_minutes < math.inf:
            raise InputError("max_minutes must be positive.", expected="more than 0 minutes", got=self.max_minutes)
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and 0 < rate <= 1):
            raise InputError("The learning rate is out of range.", expected="above 0, at most 1", got=rate)
        if not _DEVICE.fullmatch(self.device):
            raise InputError(
                f"Unknown device {self.device!r}.", expected='"auto", "cpu", "mps", "cuda", "cuda:0" or "0"'
            )

    @property
    def recipe(self) -> Preset:
        """The preset by its name."""
        return PRESETS[self.preset]

    def limit(self, split: str) -> int | None:
        """Return how many images of "train" or "val" may be used at most, or None for all."""
        own = self.max_train_images if split == "train" else self.max_val_images
        recipe = self.recipe
        return own or (recipe.max_train_images if split == "train" else recipe.max_val_images)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the settings for Ultralytics, by its names: the preset's, overridden by this configuration's."""
        recipe = self.recipe
        settings: dict[str, Any] = {
            **recipe.hyperparameters,
            "epochs": self.epochs or recipe.epochs,
            "imgsz": self.image_size or recipe.image_size,
            "batch": self.batch or recipe.batch,
            "seed": self.seed,
            "workers": min(8, max(1, usable_cores() - 1)) if self.workers is None else self.workers,
        }
        if self.max_minutes is not None:
            settings["time"] = self.max_minutes / 60
        if self.learning_rate is not None:
            settings["lr0"] = self.learning_rate
            if settings["optimizer"] == "auto":  # which would ignore the rate
                settings["optimizer"] = "AdamW"
        return settings
