"""YOLO label files: one object per line, `class cx cy width height`, the box in shares of the image's size.

An empty file, or none, means that the image shows no object. Everything else that is not exactly right is a
`LabelProblem`: `parse_labels` collects them all, `read_labels` refuses a file that has any.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.data.datasets import labels_path
from yolotrt_lab.data.images import image_size
from yolotrt_lab.detection.boxes import cxcywh_from_xyxy, xyxy_from_cxcywh
from yolotrt_lab.errors import InputError
from yolotrt_lab.files import write_text

__all__ = [
    "LabelProblem",
    "LabeledImage",
    "ProblemKind",
    "YoloLabels",
    "parse_labels",
    "problem_summary",
    "read_labeled_image",
    "read_labels",
    "write_labels",
]

Float64Array = NDArray[np.float64]

_EDGE_TOLERANCE = 2e-3  # labels rounded to three decimals may overhang by this share of the image
_SHOWN_PROBLEMS = 3


class ProblemKind(StrEnum):
    """What can be wrong with an image or its labels."""

    MALFORMED = "malformed"
    """Not numbers, not XML, not JSON, or a required field is absent."""
    FIELD_COUNT = "field-count"
    NOT_FINITE = "not-finite"
    CLASS_ID = "class-id"
    """Not a whole number, or not the number or name of a class."""
    OUT_OF_RANGE = "out-of-range"
    """A box that leaves the image."""
    NEGATIVE_SIZE = "negative-size"
    ZERO_SIZE = "zero-size"
    DUPLICATE = "duplicate"
    ENCODING = "encoding"
    UNREADABLE_LABELS = "unreadable-labels"
    UNREADABLE_IMAGE = "unreadable-image"
    MISSING_IMAGE = "missing-image"
    MISSING_LABELS = "missing-labels"
    SIZE_MISMATCH = "size-mismatch"
    """The annotation states another image size than the image has."""
    UNSUPPORTED_SHAPE = "unsupported-shape"
    """A polygon, a rotated box, a crowd: nothing an upright box can say."""
    LEAKAGE = "leakage"
    """The same picture in two splits."""


@dataclass(frozen=True)
class LabelProblem:
    """One thing that is wrong, and where.

    Attributes:
        path: The file it is in.
        line: Its line, from 1, if the file has lines.
        kind: What kind of problem it is.
        message: What is wrong, in one sentence with the offending value.
        element: Where in a JSON or XML file, such as `annotations[12]`.
    """

    path: Path
    line: int | None
    kind: ProblemKind
    message: str
    element: str | None = None

    def __str__(self) -> str:
        place = os.fsencode(self.path).decode("utf-8", "backslashreplace")
        if self.line is not None:
            place += f":{self.line}"
        if self.element:
            place += f": {self.element}"
        return f"{place}: {self.kind}: {self.message}"


@dataclass(frozen=True, eq=False)
class YoloLabels:
    """The objects of one label file.

    Attributes:
        class_ids: (n,) int64.
        cxcywh: (n, 4) float64 centre and size in shares of the image's width and height.
    """

    class_ids: NDArray[np.int64]
    cxcywh: Float64Array

    @classmethod
    def from_rows(cls, class_ids: Iterable[int], cxcywh: Iterable[Iterable[float]]) -> YoloLabels:
        """Return labels from plain rows; none is fine."""
        boxes = np.asarray([list(row) for row in cxcywh], np.float64).reshape(-1, 4)
        return cls(np.asarray(list(class_ids), np.int64).reshape(-1), boxes)

    def __len__(self) -> int:
        return len(self.class_ids)

    def xyxy(self, image_hw: tuple[int, int]) -> Float64Array:
        """Return (n, 4) boxes in pixels of an image of that height and width."""
        height, width = image_hw
        scale = np.array([width, height, width, height], np.float64)
        return np.asarray(xyxy_from_cxcywh(self.cxcywh) * scale, np.float64)


@dataclass(frozen=True, eq=False)
class LabeledImage:
    """An image file with its objects in pixels.

    Attributes:
        path: The image file.
        image_hw: Its height and width.
        class_ids: (n,) int64.
        xyxy: (n, 4) float64 boxes in pixels.
    """

    path: Path
    image_hw: tuple[int, int]
    class_ids: NDArray[np.int64]
    xyxy: Float64Array

    def yolo_labels(self) -> YoloLabels:
        """Return the objects as YOLO labels."""
        height, width = self.image_hw
        scale = np.array([width, height, width, height], np.float64)
        return YoloLabels(self.class_ids, np.asarray(cxcywh_from_xyxy(self.xyxy / scale), np.float64))


def problem_summary(problems: Iterable[LabelProblem]) -> dict[str, int]:
    """Return how many problems there are of each kind, most frequent first."""
    counts: dict[str, int] = {}
    for problem in problems:
        counts[str(problem.kind)] = counts.get(str(problem.kind), 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True)
class _Row:
    class_id: int
    cxcywh: tuple[float, float, float, float]


def _class_id(text: str, *, num_classes: int) -> tuple[int | None, str]:
    """Return the class id, or None and what is wrong with it."""
    try:
        # Some tools write whole numbers as floats; "1.0" is accepted, "1.5" is not.
        value = float(text)
    except ValueError:
        return None, f"class id {text!r} is not a number"
    if not math.isfinite(value) or value != int(value):
        return None, f"class id {text!r} is not a whole number"
    if not 0 <= value < num_classes:
        return None, f"class id {int(value)} is not one of 0 to {num_classes - 1}"
    return int(value), ""


def _box_problem(cx: float, cy: float, width: float, height: float) -> tuple[ProblemKind, str] | None:
    if not all(map(math.isfinite, (cx, cy, width, height))):
        return ProblemKind.NOT_FINITE, f"the box {cx} {cy} {width} {height} is not finite"
    if width < 0 or height < 0:
        return ProblemKind.NEGATIVE_SIZE, f"width {width:g} or height {height:g} is negative"
    if width == 0 or height == 0:
        return ProblemKind.ZERO_SIZE, f"width {width:g} x height {height:g} covers nothing"
    edges = (cx - width / 2, cy - height / 2, 1 - cx - width / 2, 1 - cy - height / 2)
    if min(edges) < -_EDGE_TOLERANCE:
        hint = "; pixels instead of shares?" if max(cx, cy, width, height) > 2 else ""
        return ProblemKind.OUT_OF_RANGE, f"the box {cx:g} {cy:g} {width:g} {height:g} leaves the image{hint}"
    return None


def _parse_row(text: str, *, num_classes: int) -> _Row | tuple[ProblemKind, str]:
    """Return the row, or the kind and message of the first thing that is wrong."""
    fields = text.split()
    if len(fields) != 5:
        hint = "; a polygon?" if len(fields) >= 7 and len(fields) % 2 == 1 else ""
        return ProblemKind.FIELD_COUNT, f"expected 5 fields (class cx cy width height), got {len(fields)}{hint}"
    class_id, message = _class_id(fields[0], num_classes=num_classes)
    if class_id is None:
        return ProblemKind.CLASS_ID, message
    try:
        cx, cy, width, height = (float(field) for field in fields[1:])
    except ValueError:
        return ProblemKind.MALFORMED, f"{' '.join(fields[1:])!r} are not four numbers"
    return _box_problem(cx, cy, width, height) or _Row(class_id, (cx, cy, width, height))


def parse_labels(path: Path, *, num_classes: int) -> tuple[YoloLabels, list[LabelProblem]]:
    """Return the sound rows of a label file, and every problem in it.

    A duplicate row is a problem, and is left out of the labels.

    Args:
        path: The label file.
        num_classes: Class ids must be below it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        kind = ProblemKind.MISSING_LABELS if isinstance(error, FileNotFoundError) else ProblemKind.UNREADABLE_LABELS
        reason = "there is no label file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        return YoloLabels.from_rows([], []), [LabelProblem(path, None, kind, reason)]
    problems: list[LabelProblem] = []
    rows: dict[_Row, int] = {}
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            text = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
            problems.append(LabelProblem(path, number, ProblemKind.ENCODING, message))
            continue
        if not text:
            continue
        row = _parse_row(text, num_classes=num_classes)
        if not isinstance(row, _Row):
            problems.append(LabelProblem(path, number, *row))
        elif row in rows:
            message = f"the same object as in line {rows[row]}"
            problems.append(LabelProblem(path, number, ProblemKind.DUPLICATE, message))
        else:
            rows[row] = number
    return YoloLabels.from_rows([row.class_id for row in rows], [row.cxcywh for row in rows]), problems


def read_labels(path: Path | str, *, num_classes: int) -> YoloLabels:
    """Return the objects in a label file; an empty or absent file has none.

    Args:
        path: The label file.
        num_classes: Class ids must be below it.

    Raises:
        InputError: Anything is wrong in it; the message lists the first problems.

    Example:
        >>> import tempfile; path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> write_labels(path, YoloLabels.from_rows([2], [(0.5, 0.5, 0.25, 0.125)]))
        >>> read_labels(path, num_classes=3).xyxy((80, 160)).tolist()
        [[60.0, 35.0, 100.0, 45.0]]
    """
    path = Path(path)
    labels, problems = parse_labels(path, num_classes=num_classes)
    serious = [problem for problem in problems if problem.kind is not ProblemKind.MISSING_LABELS]
    if serious:
        shown = "; ".join(str(problem) for problem in serious[:_SHOWN_PROBLEMS])
        more = f"; and {len(serious) - _SHOWN_PROBLEMS} more" if len(serious) > _SHOWN_PROBLEMS else ""
        raise InputError(
            f"{len(serious)} problem(s) in the labels {path}.",
            expected=f"lines `class cx cy width height`, classes 0 to {num_classes - 1}, box in shares of the image",
            got=shown + more,
            fix="List all problems with `yolotrt data validate`, and correct or delete these lines.",
        )
    return labels


def read_labeled_image(image: Path, *, num_classes: int) -> LabeledImage:
    """Return an image of a data set with its objects in pixels, without decoding it.

    Args:
        image: The image file; its labels are where `labels_path` says.
        num_classes: Class ids must be below it.

    Raises:
        InputError: The image's header or its labels cannot be read.
    """
    image_hw = image_size(image)
    labels = read_labels(labels_path(image), num_classes=num_classes)
    return LabeledImage(image, image_hw, labels.class_ids, labels.xyxy(image_hw))


def write_labels(path: Path | str, labels: YoloLabels) -> None:
    """Write a label file, whole or not at all; no objects make an empty file.

    Six decimals keep a box within a thousandth of a pixel in an image of 1000 pixels.

    Raises:
        InputError: A box is not finite, has no size, or leaves the image, so that nobody could read it back.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    lines: list[str] = []
    for class_id, box in zip(labels.class_ids.tolist(), labels.cxcywh.tolist(), strict=True):
        rounded = [round(value, 6) for value in box]
        problem = _box_problem(*rounded)
        if problem or class_id < 0:
            raise InputError(
                f"Cannot write {path}: object {len(lines)} is broken.",
                expected="a class of 0 or more and a box inside the image",
                got=problem[1] if problem else f"class {class_id}",
            )
        lines.append(f"{class_id} " + " ".join(f"{value:.6f}" for value in rounded) + "\n")
    write_text(path, "".join(lines))
