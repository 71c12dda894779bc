"""What the demo runs on and how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Precision

__all__ = ["DATASETS", "ENGINE_PRECISIONS", "MAP50_95_FLOOR", "DemoConfig"]

DATASETS = ("parts", "bccd")

ENGINE_PRECISIONS = (Precision.FP32, Precision.FP16, Precision.INT8)
"""The engines the demo compares, in the order they are shown."""

MAP50_95_FLOOR: Mapping[str, float] = MappingProxyType({"parts": 0.65, "bccd": 0.45})
"""Least mAP50-95 of the fine-tuned detector on the test images. `parts` starts from a checkpoint trained on other
drawings of the same parts; `bccd` starts from the same checkpoint and has never seen a blood cell."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Sizes of a run; the defaults fit ten minutes on two CPU cores.

    Attributes:
        dataset: "parts" (drawn here, offline), "bccd" (real images, downloaded once), or the path of a data.yaml.
        weights: A checkpoint to take as it is; None fine-tunes the base checkpoint.
        output: Folder of the run: results.json, report.html and everything they rest on.
        data_root: Where data sets are kept between runs.
        seed: Decides the drawn images, the order of training and the calibration images.
        image_size: Side of the network input in pixels.
        parts_counts: Images to draw per split of `parts`.
        train_preset: Training recipe; None for the one that suits the data: "demo" for `parts`, whose classes the base
            checkpoint knows, else "transfer".
        train_epochs: Passes over the training images; None for the recipe's.
        max_train_images: Training images used; None for the recipe's.
        calibration_images: Training images the INT8 ranges are measured on.
        max_test_images: Test images used; None for all.
        rounds: Turns every engine gets when latencies are compared.
        batches: Batch sizes of the throughput sweep; the largest is what engines are built for.

    Raises:
        InputError: A value is out of range.
    """

    dataset: str = "parts"
    weights: Path | None = None
    output: Path = Path("runs/demo")
    data_root: Path = Path("datasets")
    seed: int = 1
    image_size: int = 640
    parts_counts: Mapping[str, int] = field(default_factory=lambda: {"train": 120, "val": 40, "test": 100})
    train_preset: str | None = None
    train_epochs: int | None = None
    max_train_images: int | None = None
    calibration_images: int = 64
    max_test_images: int | None = None
    rounds: int = 40
    batches: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS and not self.dataset.endswith((".yaml", ".yml")):
            raise InputError(
                f"Unknown data set {self.dataset!r}.",
                expected=f"one of {', '.join(DATASETS)}, or a data.yaml",
                got=self.dataset,
            )
        for name in ("calibration_images", "rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be positive.", expected="1 or more", got=getattr(self, name))
        if not self.batches or min(self.batches) < 1:
            raise InputError("The batch sizes are not usable.", expected="whole numbers of 1 or more", got=self.batches)

    @property
    def floor(self) -> float | None:
        """Least mAP50-95 to reach; none is known for weights or data of the caller's."""
        return MAP50_95_FLOOR.get(self.dataset) if self.weights is None else None

    @property
    def preset(self) -> str:
        """The training recipe to use."""
        return self.train_preset or ("demo" if self.dataset == "parts" else "transfer")
