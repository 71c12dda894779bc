"""Ready-made training recipes.

Each preset carries Ultralytics hyperparameters (https://docs.ultralytics.com/usage/cfg) and the number of epochs, the
image size and the batch that suit it; a `TrainConfig` may override the latter three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """A training recipe.

    Attributes:
        name: What `--preset` takes.
        summary: One line for the help text.
        epochs: Passes over the training images.
        image_size: Side of the square network input in pixels, a multiple of 32.
        batch: Images per step.
        max_train_images: Use at most so many training images, drawn by the seed; None for all.
        max_val_images: The same for validation.
        keep_statistics: Do not re-estimate the batch normalisation of the starting weights. A few small batches
            estimate it worse than the long training before, and mAP drops until they catch up.
        hyperparameters: Ultralytics settings by their Ultralytics names.
    """

    name: str
    summary: str
    epochs: int
    image_size: int
    batch: int
    max_train_images: int | None = None
    max_val_images: int | None = None
    keep_statistics: bool = False
    hyperparameters: Mapping[str, float | int | str | bool] = field(default_factory=dict)


_AUGMENTED = Preset(
    name="augmented",
    summary="Mosaic, MixUp, CutMix, colour and affine augmentation: for training from scratch and small datasets.",
    epochs=100,
    image_size=640,
    batch=16,
    hyperparameters=MappingProxyType(
        {
            "optimizer": "auto",
            "cos_lr": True,
            "close_mosaic": 10,  # the last epochs see whole images, as the deployed detector will
            "mosaic": 1.0,
            "mixup": 0.1,
            "cutmix": 0.1,  # pastes objects across images; Ultralytics' copy-paste needs masks, boxes have none
            "hsv_h": 0.02,
            "hsv_s": 0.6,
            "hsv_v": 0.4,
            # No rotation and no shear: the box around a turned box is larger than the object in it. Ten degrees taught
            # the network boxes two pixels too large on every side, which cost 0.1 mAP50-95.
            "degrees": 0.0,
            "translate": 0.1,
            "scale": 0.5,
            "shear": 0.0,
            "fliplr": 0.5,
            "flipud": 0.5,  # parts on a table and cells under a microscope have no up
        }
    ),
)

_PLAIN = Preset(
    name="plain",
    summary="Flips and slight shifts only: shows what augmentation is worth, and trains fastest.",
    epochs=50,
    image_size=640,
    batch=16,
    hyperparameters=MappingProxyType(
        {
            "optimizer": "auto",
            "cos_lr": True,
            "close_mosaic": 0,
            "mosaic": 0.0,
            "mixup": 0.0,
            "cutmix": 0.0,
            "hsv_h": 0.0,
            "hsv_s": 0.0,
            "hsv_v": 0.0,
            "degrees": 0.0,
            "translate": 0.05,
            "scale": 0.1,
            "shear": 0.0,
            "fliplr": 0.5,
            "flipud": 0.0,
        }
    ),
)

# What a few minutes on two CPU cores allow: the backbone stays as it is, which also spares half of the arithmetic, and
# whole images only are seen, since there is no time to learn from pasted ones.
_SHORT: Mapping[str, float | int | str | bool] = MappingProxyType(
    {
        "freeze": 10,
        "lrf": 0.1,
        "cos_lr": True,
        "warmup_epochs": 0.5,
        "warmup_bias_lr": 0.0,
        "close_mosaic": 0,
        "mosaic": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
        "hsv_h": 0.01,
        "hsv_s": 0.3,
        "hsv_v": 0.2,
        "degrees": 0.0,
        "translate": 0.05,
        "scale": 0.2,
        "shear": 0.0,
        "fliplr": 0.5,
        "flipud": 0.0,
    }
)

_DEMO = Preset(
    name="demo",
    summary="Fine-tunes a checkpoint that knows the classes in a minute or two of two CPU cores; mAP stays or rises.",
    epochs=3,
    image_size=640,
    batch=8,
    max_train_images=64,
    max_val_images=32,
    keep_statistics=True,
    # Plain SGD at a low rate, because the checkpoint is already good: Adam's first steps are as large for noise as
    # for signal.
    hyperparameters=MappingProxyType({**_SHORT, "optimizer": "SGD", "lr0": 5e-4}),
)

_TRANSFER = Preset(
    name="transfer",
    summary="Teaches a trained checkpoint new classes in a few minutes of two CPU cores: frozen backbone, new head.",
    epochs=6,
    image_size=640,
    batch=8,
    max_train_images=96,
    max_val_images=24,
    # The head starts from random weights and the images look different, so the rate is high and the batch statistics
    # of neck and head are estimated anew.
    hyperparameters=MappingProxyType({**_SHORT, "optimizer": "AdamW", "lr0": 1.5e-3, "flipud": 0.5}),
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {preset.name: preset for preset in (_AUGMENTED, _PLAIN, _TRANSFER, _DEMO)}
)
"""The presets by name."""
