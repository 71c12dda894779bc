"""Calibration images: which to take, and how to hand them to the model without holding them all."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import FloatArray

__all__ = ["ImageBatches", "pick_images"]


def pick_images(images: Sequence[Path], *, count: int, seed: int = 0) -> tuple[Path, ...]:
    """Return `count` images drawn at random, the same for the same seed; all of them when there are fewer.

    Random, because the first files of a folder tend to show the same scene.

    Raises:
        InputError: There are no images, or `count` is not positive.
    """
    if count < 1:
        raise InputError("The number of calibration images is out of range.", expected="at least 1", got=count)
    if not images:
        raise InputError("There are no calibration images.", expected="at least one, better 128", got="0")
    ordered = sorted(images)
    if len(ordered) <= count:
        return tuple(ordered)
    return tuple(sorted(random.Random(seed).sample(ordered, count)))


class ImageBatches:
    """Images preprocessed one by one, exactly as at inference; to be passed to `calibrate`.

    Args:
        images: Image files.
        input_hw: Height and width of the network input.

    Raises:
        InputError: While iterating, when an image cannot be read.
    """

    def __init__(self, images: Sequence[Path], *, input_hw: tuple[int, int]) -> None:
        self._images = tuple(images)
        self._input_hw = input_hw

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[FloatArray]:
        for path in self._images:
            batch, _ = preprocess(read_image(path), input_hw=self._input_hw)
            yield batch
