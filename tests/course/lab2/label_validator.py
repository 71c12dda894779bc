"""Wrong and right answers to lab2.label_validator."""

import math

from tests_course_api import right, wrong


def _iou(a, b):
    width = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    height = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def _validate(
    text,
    num_classes,
    *,
    start=1,
    skip_blank=False,
    has_size=lambda w, h: w > 0 and h > 0,
    slack=0.002,
    centre_only=False,
    is_double=lambda a, b: a[0] == b[0] and _iou(a[1:], b[1:]) >= 0.8,
    top_class=0,
    strict_id=False,
    take_five=False,
    finite=True,
):
    """The frame that the wrong answers share."""
    problems, kept = [], []
    lines = [line for line in text.splitlines() if line.strip()] if skip_blank else text.splitlines()
    for number, line in enumerate(lines, start=start):
        fields = line.split()[:5] if take_five else line.split()
        if not fields:
            continue
        try:
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        if len(values) != 5 or (finite and not all(map(math.isfinite, values))):
            problems.append((number, "fields"))
            continue
        class_id, cx, cy, width, height = values
        low, high = (0.0, 0.0) if centre_only else (width / 2, height / 2)
        if class_id % 1 or not 0 <= class_id < num_classes + top_class or (strict_id and not fields[0].isdigit()):
            problems.append((number, "class"))
        elif not has_size(width, height):
            problems.append((number, "size"))
        elif min(cx - low, cy - high, 1 - cx - low, 1 - cy - high) < -slack:
            problems.append((number, "outside"))
        else:
            if any(is_double(values, other) for other in kept):
                problems.append((number, "double"))
            kept.append(values)
    return problems


@wrong(caught_by="test_boxes_without_area", says="does not notice it")
def only_negative_sizes(text, num_classes):
    """Thinks only of swapped corners."""
    return _validate(text, num_classes, has_size=lambda w, h: w >= 0 and h >= 0, is_double=lambda a, b: a == b)


@wrong(caught_by="test_doubled_objects", says="only exact copies")
def exact_copies(text, num_classes):
    """Compares the lines' numbers for equality."""
    return _validate(text, num_classes, is_double=lambda a, b: a == b)


@wrong(caught_by="test_no_false_alarms", says="two objects of different classes")
def overlap_of_any_class(text, num_classes):
    """A nut on a bolt is not the same object twice."""
    return _validate(text, num_classes, is_double=lambda a, b: _iou(a[1:], b[1:]) >= 0.8)


@wrong(caught_by="test_no_false_alarms", says="merely overlap")
def any_overlap(text, num_classes):
    """Takes neighbours for doubles."""
    return _validate(text, num_classes, is_double=lambda a, b: a[0] == b[0] and _iou(a[1:], b[1:]) > 0.3)


@wrong(caught_by="test_no_false_alarms", says="overhang by a hair")
def no_tolerance(text, num_classes):
    """Refuses every rounding at the border."""
    return _validate(text, num_classes, slack=0.0)


@wrong(caught_by="test_boxes_that_leave_the_image", says="compare all four edges")
def looks_at_the_centre(text, num_classes):
    """Believes that a box is inside if its centre is."""
    return _validate(text, num_classes, centre_only=True)


@wrong(caught_by="test_boxes_without_area", says="numbered from 1")
def counts_from_zero(text, num_classes):
    """Numbers lines as Python does."""
    return _validate(text, num_classes, start=0)


@wrong(caught_by="test_lines_that_are_no_labels", says="they count")
def skips_blank_lines(text, num_classes):
    """Filters first and numbers afterwards."""
    return _validate(text, num_classes, skip_blank=True)


@wrong(caught_by="test_lines_that_are_no_labels", says="one below the number of classes")
def one_class_too_many(text, num_classes):
    """Lets `num_classes` itself pass."""
    return _validate(text, num_classes, top_class=1)


@wrong(caught_by="test_no_false_alarms", says="`1.0`")
def ids_of_digits_only(text, num_classes):
    """Wants the class spelled without a point."""
    return _validate(text, num_classes, strict_id=True)


@wrong(caught_by="test_lines_that_are_no_labels", says="too long")
def reads_the_first_five(text, num_classes):
    """Ignores what follows, such as a score."""
    return _validate(text, num_classes, take_five=True)


@wrong(caught_by="test_no_false_alarms", says="keeps silent")
def silent(text, num_classes):
    """Finds nothing, ever."""
    return []


@right
def with_regular_expressions(text, num_classes):
    """Numbers by pattern, edges by tuple, lists for pairs."""
    import re

    number_pattern = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
    problems, sound = [], []
    for place, line in enumerate(text.split("\n")):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 5 or not all(number_pattern.fullmatch(part) for part in parts):
            problems.append([place + 1, "fields"])
            continue
        label, x, y, w, h = map(float, parts)
        if label not in range(num_classes):
            problems.append([place + 1, "class"])
        elif min(w, h) <= 0:
            problems.append([place + 1, "size"])
        elif x - w / 2 < -0.002 or x + w / 2 > 1.002 or y - h / 2 < -0.002 or y + h / 2 > 1.002:
            problems.append([place + 1, "outside"])
        else:
            if any(label == other[0] and _iou((x, y, w, h), other[1:]) >= 0.8 for other in sound):
                problems.append([place + 1, "double"])
            sound.append((label, x, y, w, h))
    return problems


@right
def with_numpy(text, num_classes):
    """Doubles by one IoU matrix at the end; a tuple of pairs."""
    import numpy as np

    from yolotrt_lab.detection.boxes import iou_matrix, xyxy_from_cxcywh

    found, places, rows = {}, [], []
    for place, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = np.array(line.split(), dtype=np.float64)
        except ValueError:
            row = np.full(5, np.nan)
        if row.shape != (5,) or not np.isfinite(row).all():
            found[place] = "fields"
        elif row[0] != np.floor(row[0]) or row[0] < 0 or row[0] >= num_classes:
            found[place] = "class"
        elif (row[3:] <= 0).any():
            found[place] = "size"
        elif (np.abs(row[1:3] - 0.5) + row[3:] / 2 > 0.502).any():
            found[place] = "outside"
        else:
            places.append(place)
            rows.append(row)
    if rows:
        table = np.stack(rows)
        boxes = xyxy_from_cxcywh(table[:, 1:])
        same = (iou_matrix(boxes, boxes) >= 0.8) & (table[:, None, 0] == table[None, :, 0])
        for index in np.flatnonzero(np.tril(same, -1).any(axis=1)):
            found[places[index]] = "double"
    return tuple(sorted(found.items()))
