"""lab2.label_validator: find every broken line of a label file, and no sound one."""

import math

import numpy as np

from yolotrt_lab.detection.boxes import iou_matrix, xyxy_from_cxcywh
from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points, sibling

EXERCISE = Exercise(
    id="lab2.label_validator",
    title="A validator for label files",
    objective="Find the errors that label files really have, without crying wolf.",
    answer="find_label_problems",
    difficulty=3,
    minutes=30,
    cases=(
        "BloodImage_00338",
        "BloodImage_00343",
        "BloodImage_00100",
        "malformed",
        "outside",
        "doubles",
        "sound",
        "empty",
    ),
    hidden=("malformed", "outside", "doubles", "sound"),
    forbidden=("yolotrt_lab.data.labels.parse_labels", "yolotrt_lab.data.labels.read_labels"),
    reading="https://docs.ultralytics.com/datasets/detect/",
)

KINDS = ("fields", "class", "size", "outside", "double")
_NUM_CLASSES = 3
_OVERHANG, _DOUBLE_IOU = 0.002, 0.8


def inputs(case, rng):
    """The text of a label file: a real one of BCCD, or one with planted errors."""
    if case.startswith("BloodImage"):
        return {"text": sibling(__file__, "bccd_labels").yolo_text(case), "num_classes": _NUM_CLASSES}
    if case == "empty":
        return {"text": "\n", "num_classes": _NUM_CLASSES}
    lines = [_line(int(rng.integers(_NUM_CLASSES)), *box) for box in _grid(rng)]
    planted = {"malformed": _malformed, "outside": _outside, "doubles": _doubles, "sound": _delicate}[case]
    for text, after in planted(lines, rng):
        lines.insert(after, text)
    if case == "malformed":  # blank lines carry no object, but they count
        lines.insert(1, "")
        lines.insert(5, "   ")
    return {"text": "\n".join(lines) + "\n", "num_classes": _NUM_CLASSES}


def _line(class_id, cx, cy, width, height):
    return f"{class_id} {cx:.6f} {cy:.6f} {width:.6f} {height:.6f}"


def _grid(rng):
    """Eight boxes that do not touch each other, well inside."""
    for index in range(8):
        column, row = index % 4, index // 4
        center = 0.125 + 0.25 * column + rng.uniform(-0.02, 0.02), 0.25 + 0.5 * row + rng.uniform(-0.05, 0.05)
        yield *center, rng.uniform(0.08, 0.18), rng.uniform(0.1, 0.3)


def _malformed(lines, rng):
    """Lines that are no five numbers, and classes that do not exist."""
    box = f"{rng.uniform(0.3, 0.6):.6f} 0.500000 0.100000 0.100000"
    texts = [
        f"0 {box} 0.9",
        f"1 {box.rsplit(' ', 1)[0]}",
        f"bolt {box}",
        "2 0.5 0.5 nan 0.1",
        f"{_NUM_CLASSES} {box}",
        f"-1 {box}",
        f"0.5 {box}",
        f"1 {box.replace('.', ',')}",
    ]
    return [(text, int(place)) for text, place in zip(texts, rng.integers(0, len(lines), len(texts)), strict=True)]


def _outside(lines, rng):
    """Boxes that leave the image, and sizes that are none."""
    size = rng.uniform(0.1, 0.3)
    boxes = [
        (1 - size / 2 + rng.uniform(0.01, 0.05), 0.5, size, 0.2),
        (0.5, size / 2 - rng.uniform(0.01, 0.05), 0.2, size),
        (rng.uniform(100, 600), 240.0, 80.0, 60.0),  # pixels instead of shares
        (1.4, 0.5, 0.2, 0.2),
        (0.5, 0.5, -0.1, 0.2),
        (rng.uniform(0.3, 0.7), 0.5, 0.2, 0.0),
    ]
    places = rng.integers(0, len(lines), len(boxes))
    return [(_line(int(rng.integers(_NUM_CLASSES)), *box), int(at)) for box, at in zip(boxes, places, strict=True)]


def _doubles(lines, rng):
    """Objects annotated twice, exactly and nearly; and two things that only look so."""
    first = [lines[index].split() for index in rng.choice(8, 4, replace=False)]
    values = [[float(field) for field in fields[1:]] for fields in first]
    exact = " ".join(first[0])
    near = _line(int(first[1][0]), values[1][0] + 0.003, values[1][1] + 0.004, *values[1][2:])
    other_class = " ".join([str((int(first[2][0]) + 1) % _NUM_CLASSES), *first[2][1:]])
    half = _line(int(first[3][0]), values[3][0] + values[3][2] * 0.3, *values[3][1:])
    return [(text, len(lines)) for text in (exact, near, other_class, half)]


def _delicate(lines, rng):
    """Sound lines that a validator in a hurry refuses."""
    size = rng.uniform(0.1, 0.2)
    return [
        (_line(0, size / 2, 0.5, size, 0.2), 0),  # touches the border
        (_line(1, 1 - size / 2 + 0.0004, 0.5, size, 0.2), 3),  # overhangs by rounding
        (_line(2, 0.5, 0.5, 1.0, 1.0), 5),  # the whole image
        (_line(2, 0.9, 0.05, 0.000002, 0.000002), 6),  # tiny, and there
        ("1.0 0.62 0.5 1e-1 0.1", 7),  # numbers have more than one spelling
    ]


def reference(text, num_classes):
    """Return the problems of a label file."""
    problems, kept = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        kind, values = _kind_of(line.split(), num_classes)
        if kind is None:
            box = xyxy_from_cxcywh(np.array([values[1:]]))
            if any(other == values[0] and iou_matrix(box, seen)[0, 0] >= _DOUBLE_IOU for other, seen in kept):
                kind = "double"
            kept.append((values[0], box))
        if kind is not None:
            problems.append((number, kind))
    return problems


def _kind_of(fields, num_classes):
    """Return the first of the first four kinds that fits, and the numbers."""
    try:
        values = [float(field) for field in fields]
    except ValueError:
        return "fields", []
    if len(values) != 5 or not all(map(math.isfinite, values)):
        return "fields", []
    class_id, cx, cy, width, height = values
    if class_id != int(class_id) or not 0 <= class_id < num_classes:
        return "class", values
    if width <= 0 or height <= 0:
        return "size", values
    edges = (cx - width / 2, cy - height / 2, 1 - cx - width / 2, 1 - cy - height / 2)
    return ("outside" if min(edges) < -_OVERHANG else None), values


def _pairs(answer):
    """Return the answer as {(line, kind)}."""
    found = set()
    for entry in answer.list():
        entry = entry.tolist() if isinstance(entry, np.ndarray) else entry
        if not isinstance(entry, (tuple, list)) or len(entry) != 2:
            raise Mismatch(expected="a list of (line number, kind) pairs", seen=f"an entry {entry!r}"[:120])
        line, kind = entry
        if isinstance(line, (bool, np.bool_)) or not isinstance(line, (int, np.integer)) or not isinstance(kind, str):
            raise Mismatch(
                expected="pairs of a whole number and a text, such as (3, 'size')", seen=f"an entry {entry!r}"[:120]
            )
        found.add((int(line), str(kind)))
    return found


def _judge_kinds(answer, kinds, idea=""):
    """Raise unless exactly the lines of these kinds are reported under them."""
    given = answer.inputs
    wanted = {pair for pair in reference(**given) if pair[1] in kinds}
    found = _pairs(answer)
    missing = sorted(wanted - found)
    if not missing:
        return
    line, kind = missing[0]
    seen_kinds = [other for number, other in found if number == line]
    lines = given["text"].splitlines()
    seen = f"reported as {seen_kinds[0]!r}" if seen_kinds else "not reported"
    compact = "\n".join(text for text in lines if text.strip())
    if {(number - 1, other) for number, other in reference(**given)} <= found:
        idea = "Lines are numbered from 1, as editors do."
    elif len(compact.splitlines()) < len(lines) and set(reference(compact, given["num_classes"])) <= found:
        idea = "Blank lines hold no object, but they count: the number is the line's place in the file."
    elif seen_kinds:
        idea = "More than one thing is wrong with this line; the first kind in the docstring's list that fits counts."
    raise Mismatch(
        expected=f"line {line}, `{lines[line - 1].strip()[:60]}`, reported as {kind!r}",
        seen=f"{seen}; {len(missing)} of {len(wanted)} such lines are missed",
        misconception=idea,
    )


def picture(answer):
    """Show the labels of the file, and what was said of them; lines that are no boxes cannot be drawn."""
    from yolotrt_lab.figures.verdicts import FlaggedBox, flagged_boxes

    given, found, boxes = answer.inputs, {}, []
    for line, kind in sorted(_pairs(answer), reverse=True):
        found[line] = kind if kind in KINDS else "?"
    wanted = dict(reference(**given))
    for number, line in enumerate(given["text"].splitlines(), start=1):
        kind, values = _kind_of(line.split(), given["num_classes"])
        if len(values) == 5 and kind != "fields" and max(map(abs, values)) < 1e4:
            boxes.append(FlaggedBox(tuple(values[1:]), wanted.get(number, ""), found.get(number, ""), f"line {number}"))
    wrong = [box for box in boxes if box.expected != box.seen]
    if not wrong:
        return None
    named = ", ".join(f"{box.name} is {box.expected or 'sound'}, reported: {box.seen or 'no'}" for box in wrong[:5])
    return Drawing(
        flagged_boxes(boxes),
        caption=f"The boxes of “{answer.case.name}”; gray is the image. Named are the lines that were judged wrongly, "
        "with what is wrong with them.",
        alt=f"{len(wrong)} of {len(boxes)} boxes were judged wrongly: {named}.",
    )


@points(1)
def test_pairs_in_order(answer):
    """A list of (line, kind) pairs, in the order of the lines."""
    found = [entry[0] for entry in answer.list() if isinstance(entry, (tuple, list, np.ndarray)) and len(entry)]
    unknown = sorted({kind for _, kind in _pairs(answer)} - set(KINDS))
    expect(not unknown, expected=f"kinds {', '.join(KINDS)}", seen=f"{', '.join(unknown)}"[:120])
    expect(
        found == sorted(set(found)),
        expected="each line at most once, in ascending order",
        seen=f"lines {found}"[:120],
        misconception="A line is reported once, under the first kind that fits.",
    )


@points(2, cases=("BloodImage_00338", "BloodImage_00343"))
def test_boxes_without_area(answer):
    """BCCD's two boxes without area are found."""
    _judge_kinds(
        answer, {"size"}, "Its width and height are zero: a slip of the mouse. `width < 0` does not notice it."
    )


@points(3, cases=("BloodImage_00100", "doubles"))
def test_doubled_objects(answer):
    """Objects annotated twice are found, the second time they come."""
    idea = "The same object again, shifted by a pixel or two: comparing for equality finds only exact copies."
    found = {line for line, kind in _pairs(answer) if kind == "double"}
    wanted = {line for line, kind in reference(**answer.inputs) if kind == "double"}
    if found and not found & wanted:
        idea = "The first annotation of an object is sound; the second one is the double."
    _judge_kinds(answer, {"double"}, idea)


@points(2, cases=("outside",))
def test_boxes_that_leave_the_image(answer):
    """Boxes that leave the image, and negative sizes, are found."""
    _judge_kinds(
        answer,
        {"outside", "size"},
        "The centre lies in the image, or the size is below 1, but an edge is outside: compare all four edges.",
    )


@points(2, cases=("malformed",))
def test_lines_that_are_no_labels(answer):
    """Lines that are no five numbers, and classes that do not exist, are found."""
    _judge_kinds(
        answer,
        {"fields", "class"},
        "`float` takes 'nan', slicing takes lines that are too long, and ids end one below the number of classes.",
    )


@points(2)
def test_no_false_alarms(answer):
    """Sound lines are left in peace."""
    given = answer.inputs
    broken = {line for line, _ in reference(**given)}
    found = _pairs(answer)
    expect(
        not broken or {line for line, _ in found} & broken,
        expected="reports about broken lines, and about no others",
        seen="no broken line reported at all",
        misconception="A validator that keeps silent raises no false alarms; but it is no validator.",
    )
    alarms = sorted(pair for pair in found if pair[0] not in broken)
    if not alarms:
        return
    line, kind = alarms[0]
    lines = given["text"].splitlines()
    text = lines[line - 1].strip()[:60] if 1 <= line <= len(lines) else "no such line"
    ideas = {
        "double": "Two objects of different classes, or that merely overlap, are two objects.",
        "outside": "Labels are rounded; a box at the border may overhang by a hair, which the docstring allows.",
        "class": "Some tools write whole numbers as `1.0`.",
        "size": "Tiny is not zero.",
        "fields": "Blank lines are no objects, and numbers have more than one spelling.",
    }
    raise Mismatch(
        expected=f"no report about line {line}, `{text}`", seen=f"{kind!r}", misconception=ideas.get(kind, "")
    )
