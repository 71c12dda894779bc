"""lab5.nms: class-aware non-maximum suppression, right as torchvision's and without a Python loop over pairs.

Torchvision itself takes seconds to import, so the judge uses the few lines of `greedy` below; a test of the course
holds these against torchvision. No pair of boxes has an IoU near the threshold, so rounding decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points

_OBJECTS = ("crowd", "small boxes", "large crowd")

EXERCISE = Exercise(
    id="lab5.nms",
    title="Class-aware non-maximum suppression",
    objective="Keep one box per object, class by class, with array operations instead of a loop over pairs.",
    answer="nms",
    difficulty=4,
    minutes=35,
    cases=("crowd", "small boxes", "touching classes", "chain", "no boxes", "large crowd"),
    hidden=("crowd", "small boxes", "touching classes", "chain", "large crowd"),
    forbidden=(
        "yolotrt_lab.detection.nms.nms",
        "yolotrt_lab.detection.nms.class_aware_nms",
        "yolotrt_lab.detection.nms._suppress",
        "torchvision.ops.nms",
        "torchvision.ops.boxes.nms",
        "torchvision.ops.batched_nms",
        "torchvision.ops.boxes.batched_nms",
        "cv2.dnn.NMSBoxes",
        "cv2.dnn.NMSBoxesBatched",
        "cv2.dnn.softNMSBoxes",
        "supervision.box_non_max_suppression",
        "supervision.detection.utils.iou_and_nms.box_non_max_suppression",
        "ultralytics.utils.nms.non_max_suppression",
        "ultralytics.utils.nms.TorchNMS",
    ),
    seconds=15.0,
    reading="https://docs.pytorch.org/vision/stable/generated/torchvision.ops.batched_nms.html",
)

_THRESHOLD = 0.5
_MARGIN = 0.02  # no IoU is nearer to the threshold than this
_SMALL, _LARGE = 150, 600
_MOST_LINES = 1_000_000  # where counting stops; no loop over single boxes comes near


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    make: dict[str, Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]]] = {
        "crowd": _crowd,
        "small boxes": _small_boxes,
        "touching classes": _touching_classes,
        "chain": _chain,
        "no boxes": lambda _: (np.zeros((0, 4)), np.zeros(0), np.zeros(0)),
        "large crowd": _large_crowd,
    }
    xyxy, scores, class_ids = make[case](rng)
    return {
        "xyxy": xyxy.astype(np.float32),
        "scores": scores.astype(np.float32),
        "class_ids": class_ids.astype(np.int64),
        "iou_threshold": _THRESHOLD,
    }


def run(answer, *, xyxy, scores, class_ids, iou_threshold):
    kept = answer(xyxy, scores, class_ids, iou_threshold=iou_threshold)
    if len(xyxy) < _LARGE:
        return {"kept": kept}
    lines = [
        count_python_lines(lambda n=n: answer(xyxy[:n], scores[:n], class_ids[:n], iou_threshold=iou_threshold))
        for n in (_SMALL, _LARGE)
    ]
    return {"kept": kept, "lines": lines}


def count_python_lines(call: Callable[[], object]) -> int:
    """Return how many lines of Python a call executes, in its own and in other functions.

    Every turn of a loop executes one at least, wherever it is written, while one array operation is one line however
    long the array. The number does not depend on the machine.
    """
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event in ("line", "call")
        if count > _MOST_LINES:
            sys.settrace(None)
            return None
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(previous)
    return count


def iou_with(box: np.ndarray, others: np.ndarray, *, plus: float = 0.0) -> np.ndarray:
    """Return the IoU of one box with others; `plus` is added to every length."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.maximum(high - low + plus, 0).prod(axis=1)
    union = (box[2:] - box[:2] + plus).prod() + (others[:, 2:] - others[:, :2] + plus).prod(axis=1) - common
    return common / union


def greedy(
    xyxy: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    *,
    threshold: float = _THRESHOLD,
    plus: float = 0.0,
    dead_may_kill: bool = False,
    by_class: bool = True,
) -> list[int]:
    """Return the indices that survive, best first; the last three arguments are what people get wrong."""
    boxes = xyxy.astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    dead = np.zeros(len(order), bool)
    kept = []
    for place, index in enumerate(order):
        if not dead[index]:
            kept.append(int(index))
        elif not dead_may_kill:
            continue
        later = order[place + 1 :]
        hit = iou_with(boxes[index], boxes[later], plus=plus) > threshold
        if by_class:
            hit &= class_ids[later] == class_ids[index]
        dead[later[hit]] = True
    return kept


def _is_clear(xyxy: np.ndarray, *, plus: float = 0.0) -> np.ndarray:
    """Return (n, n) whether two boxes overlap by clearly more or less than the threshold."""
    overlaps = np.array([iou_with(box, xyxy, plus=plus) for box in xyxy]).reshape(len(xyxy), len(xyxy))
    return np.abs(overlaps - _THRESHOLD) > _MARGIN


def _thinned(xyxy: np.ndarray) -> np.ndarray:
    """Return which boxes to leave in, so that no pair of them is near the threshold."""
    clear = _is_clear(xyxy)
    chosen: list[int] = []
    for index in range(len(xyxy)):
        if clear[index, chosen].all():
            chosen.append(index)
    return np.array(chosen, int)


def _scattered(rng: np.random.Generator, objects: np.ndarray, each: int, spread: float) -> np.ndarray:
    """Return boxes around objects given as center x, center y, width, height."""
    copies = np.repeat(objects, each, axis=0)
    size = copies[:, 2:] * rng.uniform(1 - spread, 1 + spread, (len(copies), 2))
    center = copies[:, :2] + copies[:, 2:] * rng.uniform(-spread, spread, (len(copies), 2))
    return np.concatenate((center - size / 2, center + size / 2), axis=1)


def _different_scores(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.permutation(np.linspace(0.26, 0.97, count))


def _crowd(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    while True:
        objects = np.concatenate((rng.uniform(60, 260, (7, 2)), rng.uniform(40, 90, (7, 2))), axis=1)
        xyxy = _scattered(rng, objects, 9, 0.3)
        xyxy = xyxy[rng.permutation(_thinned(xyxy))]
        if len(xyxy) > 30:
            return xyxy, _different_scores(rng, len(xyxy)), np.zeros(len(xyxy), int)


def _small_boxes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    while True:
        objects = np.concatenate((rng.uniform(20, 120, (9, 2)), rng.uniform(5, 9, (9, 2))), axis=1)
        xyxy = _scattered(rng, objects, 4, 0.35)
        xyxy = xyxy[rng.permutation(_thinned(xyxy))]
        scores, classes = _different_scores(rng, len(xyxy)), np.zeros(len(xyxy), int)
        ideas = [set(greedy(xyxy, scores, classes, plus=plus)) for plus in (0.0, 1.0)]
        if len(xyxy) > 15 and ideas[0] != ideas[1]:
            return xyxy, scores, classes


def _touching_classes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    while True:
        objects = np.concatenate((rng.uniform(60, 260, (5, 2)), rng.uniform(40, 90, (5, 2))), axis=1)
        # A bolt with its nut: two objects of two classes in nearly the same place.
        xyxy = _scattered(rng, np.repeat(objects, 2, axis=0), 4, 0.12)
        classes = np.repeat(np.tile(rng.choice(8, 2, replace=False), 5), 4)
        keep = rng.permutation(_thinned(xyxy))
        xyxy, classes = xyxy[keep], classes[keep]
        scores = _different_scores(rng, len(xyxy))
        if len(greedy(xyxy, scores, classes)) > len(greedy(xyxy, scores, classes, by_class=False)) + 1:
            return xyxy, scores, classes


def _chain(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows of boxes, each overlapping its neighbours only, ever less sure from one end to the other."""
    rows, length = 3, 5
    step = rng.uniform(0.22, 0.28, rows)  # of the width: IoU 0.56 to 0.64 with the next, below 0.39 with the one after
    size, corner = rng.uniform(40, 60, rows), rng.uniform(5, 40, rows)
    xyxy, scores = [], []
    for row in range(rows):
        for link in range(length):
            left, top = corner[row] + link * step[row] * size[row], 90.0 * row
            xyxy.append([left, top, left + size[row], top + size[row]])
            scores.append(0.95 - 0.13 * link - 0.03 * row)
    order = rng.permutation(rows * length)
    return np.array(xyxy)[order], np.array(scores)[order], np.zeros(rows * length, int)


def _large_crowd(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes on a grid, so that kept ones grow in number as candidates do: the first 150 like all 600."""
    cells = _LARGE // 3
    grid = np.stack(np.divmod(np.arange(cells), 15), axis=1) * 100.0 + 50
    objects = np.concatenate((grid, rng.uniform(40, 70, (cells, 2))), axis=1)
    copies = np.repeat(objects, 3, axis=0)
    # Near copies have an IoU of 0.7 and more, and objects do not touch: nothing comes near the threshold.
    center = copies[:, :2] + copies[:, 2:] * rng.uniform(-0.04, 0.04, (_LARGE, 2))
    xyxy = np.concatenate((center - copies[:, 2:] / 2, center + copies[:, 2:] / 2), axis=1)
    return xyxy, _different_scores(rng, _LARGE), np.repeat(rng.integers(0, 4, cells), 3)


def _kept(answer) -> list[int]:
    """Return the indices of the answer.

    Raises:
        Mismatch: They are none.
    """
    count = len(answer.inputs["xyxy"])
    found = answer.item("kept").array(ndim=1)
    if found.dtype.kind == "b":
        raise Mismatch(
            expected="indices of the kept boxes, such as 4, 0, 7",
            seen=f"{len(found)} truth values",
            misconception="A mask cannot say which box is the best; np.flatnonzero gives indices, in their order.",
        )
    if len(found) and found.dtype.kind == "f":
        raise Mismatch(expected="whole numbers", seen=f"an array of {found.dtype}")
    kept = found.astype(np.int64).tolist()
    if any(not 0 <= index < count for index in kept):
        raise Mismatch(expected=f"indices from 0 to {count - 1}", seen=f"{min(kept)} to {max(kept)}")
    if len(set(kept)) < len(kept):
        raise Mismatch(
            expected="every index once", seen=f"{len(kept) - len(set(kept))} of {len(kept)} indices repeated"
        )
    return kept


def _require_same(kept: list[int], answer) -> None:
    """Raise `Mismatch` unless the right boxes are kept, in whatever order."""
    boxes = {name: answer.inputs[name] for name in ("xyxy", "scores", "class_ids")}
    right = greedy(**boxes)
    if set(kept) == set(right):
        return
    raise Mismatch(
        expected=f"{len(right)} of {len(boxes['xyxy'])} boxes",
        seen=f"{len(kept)} boxes: {len(set(kept) - set(right))} too many, {len(set(right) - set(kept))} missing",
        misconception=_idea_behind(kept, right, boxes),
    )


def _idea_behind(kept: list[int], right: list[int], boxes: dict[str, np.ndarray]) -> str:
    worst_first = {**boxes, "scores": -boxes["scores"]}
    ideas = (
        (
            greedy(**boxes, by_class=False),
            "Boxes of different classes removed each other: a nut on a bolt is no second bolt.",
        ),
        (
            greedy(**boxes, plus=1.0),
            "The IoU counts pixels: a `+ 1` in widths and heights belongs to whole pixel indices. Here the edges are "
            "coordinates, and small boxes seem to overlap more than they do.",
        ),
        (
            greedy(**boxes, dead_may_kill=True),
            "Boxes that were removed went on removing others. Only a box that is kept may remove.",
        ),
        (
            greedy(**boxes, dead_may_kill=True, by_class=False),
            "Boxes that were removed went on removing others, of every class. Only a kept box may, in its own class.",
        ),
        (
            greedy(**worst_first),
            "The worst box of each object was kept: sorting goes from low to high scores by default.",
        ),
        (list(range(len(boxes["xyxy"]))), "Nothing was removed."),
        (right[:1], "Only the best box of all was kept; the search has to go on among those that are left."),
    )
    for idea, words in ideas:
        if set(kept) == set(idea):
            return words
    if set(kept) < set(right):
        return "Only boxes that overlap a kept one by more than the threshold go; some went that do not."
    return "Best first: keep it, remove what overlaps it too much, go on with the best of those that are left."


def picture(answer):
    """Show which candidates were kept; their order and the speed show in no picture."""
    from yolotrt_lab.figures.verdicts import kept_boxes

    kept, boxes = _kept(answer), {name: answer.inputs[name] for name in ("xyxy", "scores", "class_ids")}
    right = greedy(**boxes)
    extra, lost = len(set(kept) - set(right)), len(set(right) - set(kept))
    if not extra + lost:
        return None
    return Drawing(
        kept_boxes(boxes["xyxy"], expected=right, seen=kept),
        caption=f"The boxes of “{answer.case.name}”: which should stay, and which stayed.",
        alt=f"Boxes to keep: {len(right)}. The answer keeps {len(kept)}; of these, {extra} should go, and {lost} that "
        "should stay are gone.",
    )


@points(1)
def test_gives_indices(answer):
    """The result are indices into the boxes, each once; none for no boxes."""
    kept = _kept(answer)
    if len(answer.inputs["xyxy"]):
        expect(kept, expected="at least one box: the best is always kept", seen="none")


@points(3, cases=_OBJECTS)
def test_one_box_for_each_object(answer):
    """Of boxes on the same object the best is kept, and nothing else is lost."""
    _require_same(_kept(answer), answer)


@points(2, cases=("touching classes",))
def test_classes_do_not_remove_each_other(answer):
    """Boxes of different classes leave each other alone."""
    _require_same(_kept(answer), answer)


@points(1, cases=("chain",))
def test_removed_boxes_remove_nothing(answer):
    """In a chain of overlaps, a removed box does not take its neighbour along."""
    _require_same(_kept(answer), answer)


@points(1, cases=("crowd", "touching classes"))
def test_best_first(answer):
    """Kept boxes come in the order of their scores."""
    kept = _kept(answer)
    scores = answer.inputs["scores"][kept]
    falling = (np.diff(scores) <= 0).all()
    expect(
        len(kept) > 1 and falling,
        expected="falling scores over all classes",
        seen=f"scores {', '.join(f'{score:.2f}' for score in scores[:5])}{' ...' if len(kept) > 5 else ''}",
        misconception=(
            "They come class by class, or in the order of the input. Whoever takes the first ten wants the best ten."
            if len(kept) > 1
            else "There are too few boxes to be in any order."
        ),
    )


@points(2, cases=("large crowd",))
def test_no_loop_over_pairs(answer):
    """Four times the boxes take about four times the Python code, not sixteen times."""
    kept = _kept(answer)
    if set(kept) != set(greedy(**{name: answer.inputs[name] for name in ("xyxy", "scores", "class_ids")})):
        raise Mismatch(
            expected="the right boxes, to see how they are found",
            seen="others",
            misconception="First right, then fast: the work of a wrong answer says nothing.",
        )
    small, large = (answer.item("lines").item(place).integer() for place in (0, 1))
    growth, limit = large / max(small, 1), 2 * _LARGE / _SMALL
    expect(
        growth <= limit and large <= _MOST_LINES,
        expected=f"at most {limit:.0f} times the lines of Python for {_LARGE} boxes as for {_SMALL}",
        seen=f"{growth:.1f} times: {small:,} and {large:,} lines executed"
        + (" before counting stopped" if large > _MOST_LINES else ""),
        misconception=(
            "Pairs of boxes are compared one by one in Python; np.vectorize and comprehensions are such loops too. "
            "Compare one box with all that are left in a single array operation."
        ),
    )
