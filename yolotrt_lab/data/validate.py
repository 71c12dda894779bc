"""Look at every image and label file of a data set and report all that is wrong, never only the first thing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yolotrt_lab.data.datasets import Dataset, load_dataset
from yolotrt_lab.data.images import decode_image, read_image_bytes
from yolotrt_lab.data.labels import LabelProblem, ProblemKind, parse_labels, problem_summary
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import ProgressCallback

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


def _image_problem(image: Path, seen: dict[bytes, tuple[str, Path]], *, split: str) -> Iterator[LabelProblem]:
    """Decode one image and compare it with those of the other splits."""
    try:
        data = read_image_bytes(image)
        decode_image(data, name=image.name)
    except InputError as error:
        missing = not image.exists()
        kind = ProblemKind.MISSING_IMAGE if missing else ProblemKind.UNREADABLE_IMAGE
        detail = f" ({error.got})" if error.got else ""
        yield LabelProblem(image, None, kind, f"{error.what.rstrip('.')}{detail}")
        return
    first_split, first = seen.setdefault(hashlib.sha256(data).digest(), (split, image))
    if (first_split, first) != (split, image):
        kind = ProblemKind.DUPLICATE if first_split == split else ProblemKind.LEAKAGE
        yield LabelProblem(image, None, kind, f"the same picture as {first} (split {first_split})")


def _orphan_labels(known: set[Path]) -> Iterator[LabelProblem]:
    """Find label files without an image, in the folders where this data set keeps its labels."""
    for folder in sorted({path.parent for path in known}):
        for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
            if path not in known and path.name != "classes.txt":
                yield LabelProblem(path, None, ProblemKind.MISSING_IMAGE, "no image belongs to this label file")


def validate_dataset(dataset: Dataset | Path | str, *, on_progress: ProgressCallback | None = None) -> ValidationReport:
    """Check every image and every label of a data set.

    Args:
        dataset: A data set, its `data.yaml`, or its folder.
        on_progress: Called with (images done, images in all).

    Raises:
        InputError: The `data.yaml` itself is missing or broken.
    """
    if not isinstance(dataset, Dataset):
        dataset = load_dataset(dataset)
    problems: list[LabelProblem] = []
    seen: dict[bytes, tuple[str, Path]] = {}
    label_files: dict[Path, Path] = {}
    boxes = background = done = 0
    total = sum(len(images) for images in dataset.splits.values())
    for split, images in dataset.splits.items():
        for image in images:
            problems += _image_problem(image, seen, split=split)
            path = dataset.labels_path(image)
            owner = label_files.setdefault(path, image)
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
    problems += _orphan_labels(set(label_files))
    return ValidationReport(tuple(problems), total, boxes, background)
