"""Which images a run sees: chosen by the seed, listed for Ultralytics, and fingerprinted for the provenance."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from yolotrt_lab.data.datasets import Dataset, load_dataset
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import sha256_of, write_text
from yolotrt_lab.training.config import TrainConfig

__all__ = ["TrainingData", "select_data"]

_CACHE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class TrainingData:
    """The images of one run.

    Attributes:
        dataset: The dataset they come from.
        train: Training images.
        val: Validation images.
    """

    dataset: Dataset
    train: tuple[Path, ...]
    val: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.dataset.name

    def write_yaml(self, folder: Path) -> Path:
        """Write image lists and a `data.yaml` for Ultralytics into `folder`, and return the latter.

        The lists say exactly what is used; and a `data.yaml` of our own has no `download:` entry, which Ultralytics
        would run as a program.
        """
        for split, images in (("train", self.train), ("val", self.val)):
            write_text(folder / f"{split}.txt", "".join(f"{image.absolute()}\n" for image in images))
        names = dict(enumerate(self.dataset.class_names))
        content = {"path": str(folder.absolute()), "train": "train.txt", "val": "val.txt", "names": names}
        write_text(folder / "data.yaml", yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
        return folder / "data.yaml"

    def fits_in_memory(self, *, image_size: int) -> bool:
        """Return whether the decoded images may be kept in memory, which saves decoding them every epoch."""
        return (len(self.train) + len(self.val)) * image_size * image_size * 3 < _CACHE_BYTES

    def digest(self) -> str:
        """Return a SHA-256 over the names and bytes of every image and label used, in order."""
        digest = hashlib.sha256()
        for image in (*self.train, *self.val):
            for path in (image, self.dataset.labels_path(image)):
                digest.update(path.name.encode())
                digest.update(sha256_of(path).encode() if path.is_file() and path.stat().st_size else b"none")
        return digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Return what the provenance says about the data."""
        return {
            "name": self.name,
            "class_names": list(self.dataset.class_names),
            "train_images": len(self.train),
            "val_images": len(self.val),
            "sha256": self.digest(),
        }


def select_data(config: TrainConfig) -> TrainingData:
    """Load the dataset and choose the images of a run.

    Raises:
        InputError: The dataset is missing or broken, a split is empty, or no training image has a label.
    """
    dataset = load_dataset(config.data_yaml)
    chosen = {split: _choose(dataset, split=split, config=config) for split in ("train", "val")}
    if not any(_has_objects(dataset.labels_path(image)) for image in chosen["train"]):
        raise InputError(
            f"No training image of {dataset.name} has a labelled object.",
            expected="labels/<split>/<image>.txt beside images/<split>",
            got=f"{len(chosen['train'])} images without boxes",
            fix=f"Run `yolotrt data validate {config.data_yaml}`.",
        )
    return TrainingData(dataset=dataset, train=chosen["train"], val=chosen["val"])


def _choose(dataset: Dataset, *, split: str, config: TrainConfig) -> tuple[Path, ...]:
    images = tuple(dataset.splits.get(split, ()))
    if not images:
        raise InputError(
            f"{dataset.name} has no images to {'train' if split == 'train' else 'validate'} with.",
            expected=f"images in the split {split!r}",
            got=f"splits {', '.join(f'{name} ({len(paths)})' for name, paths in dataset.splits.items()) or 'none'}",
            fix=f"Check `{split}:` in {config.data_yaml}.",
        )
    limit = config.limit(split)
    if limit is None or limit >= len(images):
        return images
    return tuple(sorted(random.Random(config.seed).sample(images, limit)))


def _has_objects(labels: Path) -> bool:
    return labels.is_file() and bool(labels.read_bytes().strip())
