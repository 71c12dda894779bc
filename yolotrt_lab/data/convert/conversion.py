"""What all converters share: collecting sound boxes and problems, and writing the YOLO data set.

`supervision.DetectionDataset` reads VOC and COCO too, but it raises at the first broken file, passes boxes without area
or outside the image on silently, and decodes every image for its size. A course about proof needs the opposite, so the
parsing here is our own and supervision is the oracle in the tests.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolotrt_lab.data.datasets import Dataset, load_dataset, write_data_yaml
from yolotrt_lab.data.images import image_size
from yolotrt_lab.data.labels import LabeledImage, LabelProblem, ProblemKind, problem_summary, write_labels
from yolotrt_lab.errors import InputError, OutputError

__all__ = ["BoxCollector", "Conversion", "resolve_image", "write_yolo"]

_ROUNDING_PX = 1e-6
_LEAST_SHARE = 2e-6  # smaller would be written as 0 with six decimals


@dataclass(frozen=True)
class Conversion:
    """A data set read from another format.

    Attributes:
        images: Every readable image with its sound boxes; an image without boxes is a background image.
        class_names: Names in the order of the class ids.
        problems: Everything that was skipped or cut, and why.
    """

    images: tuple[LabeledImage, ...]
    class_names: tuple[str, ...]
    problems: tuple[LabelProblem, ...]

    @property
    def boxes(self) -> int:
        """How many sound boxes there are."""
        return sum(len(image.class_ids) for image in self.images)

    def by_kind(self) -> dict[str, int]:
        """Return the number of problems of each kind."""
        return problem_summary(self.problems)


class BoxCollector:
    """Takes the boxes of one image and keeps the sound ones.

    Args:
        path: The image.
        image_hw: Its height and width.
        problems: Where problems are added.
    """

    def __init__(self, path: Path, *, image_hw: tuple[int, int], problems: list[LabelProblem]) -> None:
        self._path = path
        self._image_hw = image_hw
        self._problems = problems
        self._rows: dict[tuple[int, tuple[float, ...]], str] = {}

    def add(
        self, class_id: int, xyxy: Sequence[float], *, source: Path, line: int | None = None, element: str | None = None
    ) -> None:
        """Keep a box, or report what is wrong with it and where it was stated.

        A box that leaves the image is cut at the border and reported; one that lies outside altogether is skipped.
        """

        def report(kind: ProblemKind, message: str) -> None:
            self._problems.append(LabelProblem(source, line, kind, message, element))

        if not all(math.isfinite(value) for value in xyxy):
            return report(ProblemKind.NOT_FINITE, f"the box {_text(xyxy)} is not finite; skipped")
        x0, y0, x1, y1 = (float(value) for value in xyxy)
        if x1 < x0 or y1 < y0:
            return report(ProblemKind.NEGATIVE_SIZE, f"the box {_text(xyxy)} ends before it begins; skipped")
        height, width = self._image_hw
        if (x1 - x0) / width < _LEAST_SHARE or (y1 - y0) / height < _LEAST_SHARE:
            return report(ProblemKind.ZERO_SIZE, f"the box {_text(xyxy)} covers nothing; skipped")
        cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
        size = f"the {width} x {height} image"
        # Less than a pixel left over is no object.
        if cut[2] - cut[0] < min(1.0, x1 - x0) or cut[3] - cut[1] < min(1.0, y1 - y0):
            return report(ProblemKind.OUT_OF_RANGE, f"the box {_text(xyxy)} is outside {size}; skipped")
        if max(abs(a - b) for a, b in zip(cut, (x0, y0, x1, y1), strict=True)) > _ROUNDING_PX:
            report(ProblemKind.OUT_OF_RANGE, f"the box {_text(xyxy)} leaves {size}; cut to {_text(cut)}")
        row = (class_id, cut)
        if row in self._rows:
            return report(ProblemKind.DUPLICATE, f"the same object as {self._rows[row]}; skipped")
        self._rows[row] = element or f"line {line}"
        return None

    def labeled_image(self) -> LabeledImage:
        """Return the image with the boxes kept."""
        boxes = np.asarray([box for _, box in self._rows], np.float64).reshape(-1, 4)
        ids = np.asarray([class_id for class_id, _ in self._rows], np.int64).reshape(-1)
        return LabeledImage(self._path, self._image_hw, ids, boxes)


def _text(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)


def resolve_image(
    name: str,
    *,
    folder: Path,
    stated_hw: tuple[int, int] | None,
    source: Path,
    line: int | None,
    element: str | None,
    problems: list[LabelProblem],
) -> tuple[Path, tuple[int, int]] | None:
    """Find the image an annotation names and measure it; report and return None if it cannot be used.

    Args:
        name: File name or path relative to `folder`; only its last part is used if the whole is not there, and it may
            not lead out of `folder`.
        folder: Where the images are.
        stated_hw: Height and width that the annotation states, or None.
        source: The annotation file.
        line: Line in it.
        element: Element in it.
        problems: Where problems are added.
    """

    def report(kind: ProblemKind, message: str) -> None:
        problems.append(LabelProblem(source, line, kind, message, element))

    plain = name.replace("\\", "/")
    candidates = [folder / plain, folder / plain.rsplit("/", 1)[-1]]
    inside = [path for path in candidates if _is_inside(path, folder) and path.is_file()]
    if not plain or not inside:
        report(ProblemKind.MISSING_IMAGE, f"image {name!r} is not in {folder}; skipped")
        return None
    try:
        image_hw = image_size(inside[0])
    except InputError as error:
        report(ProblemKind.UNREADABLE_IMAGE, f"{error.what.rstrip('.')} ({error.got}); skipped")
        return None
    if stated_hw is not None and stated_hw != image_hw:
        (height, width), (own_height, own_width) = stated_hw, image_hw
        report(
            ProblemKind.SIZE_MISMATCH,
            f"states {width} x {height}, but {inside[0].name} is {own_width} x {own_height}; skipped",
        )
        return None
    return inside[0], image_hw


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        return False


def _copy(source: Path, target: Path) -> None:
    """Link a file, or copy it where linking is impossible."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def write_yolo(
    images_by_split: Mapping[str, Sequence[LabeledImage]], root: Path | str, *, class_names: Sequence[str]
) -> Dataset:
    """Write a YOLO data set: `images/<split>`, `labels/<split>`, `data.yaml`; whole or not at all.

    Args:
        images_by_split: What goes where; split names are "train", "val" and "test".
        root: The new data set's folder; it must not exist or be empty.
        class_names: Names in the order of the class ids.

    Raises:
        InputError: `root` is in use, there are no images, or two images of one split have the same name.
        OutputError: `root` cannot be written.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(
            f"{root} is in use.", expected="no such folder, or an empty one", got="files", fix="Choose another."
        )
    filled = {split: images for split, images in images_by_split.items() if images}
    if not filled:
        raise InputError("There are no images to write.", expected="at least one image", got="none")
    partial = root.parent / f".{root.name}.{os.getpid()}.partial"
    try:
        for split, images in filled.items():
            _write_split(partial, split, images)
        write_data_yaml(partial, class_names=class_names, splits=list(filled))
        partial.replace(root)
    except OSError as error:
        raise OutputError(f"Cannot write {root}.", expected="a writable folder", got=error.strerror) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return load_dataset(root / "data.yaml")


def _write_split(root: Path, split: str, images: Sequence[LabeledImage]) -> None:
    images_folder, labels_folder = root / "images" / split, root / "labels" / split
    images_folder.mkdir(parents=True)
    stems: dict[str, Path] = {}
    for image in images:
        other = stems.setdefault(image.path.stem, image.path)
        if other != image.path:
            raise InputError(
                f"Two images of split {split} have the same name.",
                expected="names that differ before the suffix",
                got=f"{other} and {image.path}",
                fix="Rename one of them.",
            )
        _copy(image.path, images_folder / image.path.name)
        write_labels(labels_folder / f"{image.path.stem}.txt", image.yolo_labels())
