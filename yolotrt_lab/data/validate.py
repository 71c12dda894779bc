"""Look at every image and label file of a data set and report all that is wrong, never only the first thing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolotrt_lab.data.datasets import Dataset, load_dataset
from yolotrt_lab.data.images import decode_image, read_image_bytes
from yolotrt_lab.data.labels import LabelProblem, ProblemKind, parse_labels, problem_summary
from yolotrt_lab.data.split import DEFAULT_MIN_SIMILARITY, fingerprint
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import FloatArray, ProgressCallback

__all__ = ["ValidationReport", "validate_dataset"]


@dataclass(frozen=True)
class ValidationReport:
    """What a validation found.

    Attributes:
        problems: Every problem, in the order of the files.
        images: How many images were looked at.
        boxes: How many sound boxes they have.
        background_images: How many images have no object on purpose (an empty label file).
    """

    problems: tuple[LabelProblem, ...]
    images: int
    boxes: int
    background_images: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def by_kind(self) -> dict[str, int]:
        """Return the number of problems of each kind."""
        return problem_summary(self.problems)


class _Pictures:
    """Remembers the pictures seen, to find those that appear twice."""

    def __init__(self, *, near_duplicates: bool) -> None:
        self._near = near_duplicates
        self._by_digest: dict[bytes, tuple[str, Path]] = {}
        self._places: list[tuple[str, Path]] = []
        self._prints: list[FloatArray] = []

    def problems_of(self, image: Path, *, split: str) -> Iterator[LabelProblem]:
        """Decode one image and compare it with all before it."""
        try:
            data = read_image_bytes(image)
            pixels = decode_image(data, name=image.name)
        except InputError as error:
            kind = ProblemKind.UNREADABLE_IMAGE if image.exists() else ProblemKind.MISSING_IMAGE
            detail = f" ({error.got})" if error.got else ""
            yield LabelProblem(image, None, kind, f"{error.what.rstrip('.')}{detail}")
            return
        first_split, first = self._by_digest.setdefault(hashlib.sha256(data).digest(), (split, image))
        if (first_split, first) != (split, image):
            kind = ProblemKind.DUPLICATE if first_split == split else ProblemKind.LEAKAGE
            yield LabelProblem(image, None, kind, f"the same picture as {first} (split {first_split})")
        elif self._near:
            yield from self._compare(image, fingerprint(pixels), split=split)

    def _compare(self, image: Path, own: FloatArray, *, split: str) -> Iterator[LabelProblem]:
        if self._prints:
            similarity = np.stack(self._prints) @ own
            for index in np.flatnonzero(similarity >= DEFAULT_MIN_SIMILARITY):
                other_split, other = self._places[index]
                if other_split != split:
                    message = f"nearly the same picture as {other} (split {other_split})"
                    yield LabelProblem(image, None, ProblemKind.LEAKAGE, message)
        self._places.append((split, image))
        self._prints.append(own)


def _orphan_labels(known: set[Path]) -> Iterator[LabelProblem]:
    """Find label files without an image, in the folders where this data set keeps its labels."""
    for folder in sorted({path.parent for path in known}):
        for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
            if path not in known and path.name != "classes.txt":
                yield LabelProblem(path, None, ProblemKind.MISSING_IMAGE, "no image belongs to this label file")


def validate_dataset(
    dataset: Dataset | Path | str, *, near_duplicates: bool = False, on_progress: ProgressCallback | None = None
) -> ValidationReport:
    """Check every image and every label of a data set.

    Args:
        dataset: A data set, its `data.yaml`, or its folder.
        near_duplicates: Also report pictures of the same scene in two splits; equal files are always reported.
        on_progress: Called with (images done, images in all).

    Raises:
        InputError: The `data.yaml` itself is missing or broken.
    """
    if not isinstance(dataset, Dataset):
        dataset = load_dataset(dataset)
    problems: list[LabelProblem] = []
    pictures = _Pictures(near_duplicates=near_duplicates)
    owners: dict[Path, Path] = {}
    boxes = background = done = 0
    total = sum(len(images) for images in dataset.splits.values())
    for split, images in dataset.splits.items():
        for image in images:
            problems += pictures.problems_of(image, split=split)
            path = dataset.labels_path(image)
            owner = owners.setdefault(path, image)
            if owner != image:
                message = f"belongs to {owner.name} and to {image.name}"
                problems.append(LabelProblem(path, None, ProblemKind.DUPLICATE, message))
            labels, found = parse_labels(path, num_classes=len(dataset.class_names))
            problems += found
            boxes += len(labels)
            background += not found and not len(labels)
            done += 1
            if on_progress:
                on_progress(done, total)
    problems += _orphan_labels(set(owners))
    return ValidationReport(tuple(problems), total, boxes, background)
