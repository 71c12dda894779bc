"""lab5.decode: from the output of any of three heads to boxes, scores and classes.

Outputs are drawn, not computed by a network: a few real objects among many candidates that must not pass, some of
them only because objectness and class probability are multiplied.
"""

from __future__ import annotations

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points
from yolotrt_lab.types import Detections

_LAYOUTS = {
    "anchor-based": "anchor_based",
    "anchor-free": "anchor_free",
    "end-to-end": "end_to_end",
    "nothing there": "anchor_free",
    "half precision": "anchor_free",
}
_HEADS = ("anchor-based", "anchor-free", "end-to-end")

EXERCISE = Exercise(
    id="lab5.decode",
    title="Read three kinds of heads",
    objective="Turn the output of an anchor-based, anchor-free or end-to-end head into boxes, scores and classes.",
    answer="decode_head",
    difficulty=3,
    minutes=25,
    cases=tuple(_LAYOUTS),
    hidden=tuple(_LAYOUTS),
    forbidden=(
        "yolotrt_lab.detection.decode.decode",
        "yolotrt_lab.detection.decode._decode_anchor_free",
        "yolotrt_lab.detection.decode._decode_anchor_based",
        "yolotrt_lab.detection.decode._decode_end_to_end",
        "yolotrt_lab.detection.decode._candidates",
        "yolotrt_lab.detection.pipeline.Detector",
        "ultralytics.utils.nms.non_max_suppression",
        "ultralytics.utils.ops.non_max_suppression",
    ),
    seconds=10.0,
    reading="https://docs.ultralytics.com/reference/utils/nms/",
)

_THRESHOLD = 0.25
_MOST = 126


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    layout, classes = _LAYOUTS[case], int(rng.integers(4, 9))
    objects = 0 if case == "nothing there" else int(rng.integers(5, 9))
    make = {"anchor_based": _anchor_based, "anchor_free": _anchor_free, "end_to_end": _end_to_end}[layout]
    output = make(rng, classes, objects)
    return {
        "output": output.astype(np.float16 if case == "half precision" else np.float32),
        "layout": layout,
        "conf_threshold": _THRESHOLD,
    }


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (count, 4) center x, center y, width, height, far from the origin, where half precision is coarse."""
    centers, sizes = rng.uniform(260, 500, (count, 2)), rng.uniform(20, 110, (count, 2))
    return np.concatenate((centers, sizes), axis=1)


def _class_scores(rng: np.random.Generator, count: int, classes: int, *, best: np.ndarray) -> np.ndarray:
    """Return (count, classes) probabilities whose greatest, at a random class, is `best`."""
    scores = rng.uniform(0, 0.6, (count, classes)) * best[:, None]
    scores[np.arange(count), rng.integers(0, classes, count)] = best
    return scores


def _scores_above(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return different scores clearly above the threshold, in random order."""
    return rng.permutation(np.linspace(0.32, 0.93, count) + rng.uniform(-0.02, 0.02, count))


def _anchor_based(rng: np.random.Generator, classes: int, objects: int) -> np.ndarray:
    count = _MOST
    objectness = rng.uniform(0, 0.2, count)
    best = rng.uniform(0, 0.95, count)
    # High class probability where there is no object, and objects of no known class: both products are small.
    objectness[:8], best[:8] = rng.uniform(0.26, 0.4, 8), rng.uniform(0.3, 0.5, 8)
    objectness[8:16], best[8:16] = rng.uniform(0.6, 0.95, 8), rng.uniform(0.02, 0.2, 8)
    scores = _scores_above(rng, objects)
    best[16 : 16 + objects] = rng.uniform(scores, 0.97)
    objectness[16 : 16 + objects] = scores / best[16 : 16 + objects]
    order = rng.permutation(count)
    rows = np.concatenate(
        (_boxes(rng, count), objectness[:, None], _class_scores(rng, count, classes, best=best)), axis=1
    )
    return rows[order][None]


def _anchor_free(rng: np.random.Generator, classes: int, objects: int) -> np.ndarray:
    count = 84
    best = rng.uniform(0, 0.2, count)
    best[:objects] = _scores_above(rng, objects)
    rows = np.concatenate((_boxes(rng, count), _class_scores(rng, count, classes, best=best)), axis=1)
    return np.ascontiguousarray(rows[rng.permutation(count)].T)[None]


def _end_to_end(rng: np.random.Generator, classes: int, objects: int) -> np.ndarray:
    count = 30
    scores = np.sort(np.concatenate((_scores_above(rng, objects), rng.uniform(0, 0.2, count - objects))))[::-1]
    boxes = _boxes(rng, count)
    corners = np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), axis=1)
    return np.concatenate((corners, scores[:, None], rng.integers(0, classes, (count, 1))), axis=1)[None]


class _Truth:
    """The output taken apart, in float64, candidate by candidate, with what typical mistakes would read."""

    def __init__(self, output: np.ndarray, layout: str) -> None:
        self.layout = layout
        image = output[0].astype(np.float64)
        rows = image.T if layout == "anchor_free" else image
        self.raw = rows[:, :4]
        first_class = {"anchor_based": 5, "anchor_free": 4, "end_to_end": 4}[layout]
        self.objectness = rows[:, 4] if layout == "anchor_based" else None
        if layout == "end_to_end":
            self.class_scores, self.classes = rows[:, 4], rows[:, 5].astype(int)
        else:
            self.class_scores = rows[:, first_class:].max(axis=1)
            self.classes = rows[:, first_class:].argmax(axis=1)
        self.scores = self.class_scores if self.objectness is None else self.class_scores * self.objectness
        self.kept = np.flatnonzero(self.scores > _THRESHOLD)
        half = self.raw[:, 2:] / 2
        corners = np.concatenate((self.raw[:, :2] - half, self.raw[:, :2] + half), axis=1)
        self.corners = self.raw if layout == "end_to_end" else corners
        self.converted_again = corners

    def counts_by_mistake(self) -> dict[int, str]:
        """Return how many candidates typical mistakes keep, and the mistake's words; the likelier ones win."""
        sigmoid = 1 / (1 + np.exp(-self.scores))
        found = {
            int((sigmoid > _THRESHOLD).sum()): (
                "Every candidate passes: a sigmoid moves all scores above 0.5. The exported head has applied it."
            ),
            len(self.scores): "Every candidate passes. Is the threshold compared with the scores at all?",
        }
        if self.objectness is not None:
            found[int((self.objectness > _THRESHOLD).sum())] = (
                "As many as have a high objectness. That says that there is something, not that it is of a known class."
            )
            found[int((self.class_scores > _THRESHOLD).sum())] = (
                "As many as have a high class probability. That says of which class it would be, if anything is there."
            )
        if int((sigmoid > _THRESHOLD).sum()) == len(self.scores):
            found[len(self.scores)] = (
                "Every candidate passes: is a sigmoid applied to scores that are probabilities already, or the "
                "threshold not compared with them?"
            )
        found.pop(len(self.kept), None)
        return found


def _found(answer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return xyxy, scores and class ids of the answer, as float64 and integers.

    Raises:
        Mismatch: They are not detections.
    """
    error = answer.error()
    if answer.case.name == "anchor-free" and error is not None and error[0] in ("IndexError", "ValueError"):
        raise Mismatch(
            expected="detections",
            seen=": ".join(error),
            misconception="In this head a candidate is a column: (1, 4 + classes, candidates). Is it read by rows?",
        )
    found = answer.output
    if not isinstance(found, Detections):
        kind = type(found).__name__ if not hasattr(found, "type_name") else found.type_name
        raise Mismatch(
            expected="one Detections object with xyxy, scores and class_ids",
            seen="None" if found is None else f"a {kind}",
            misconception="Is there a `return`?" if found is None else "Wrap the three arrays: Detections(xyxy, ...).",
        )
    arrays = [np.asarray(found.xyxy), np.asarray(found.scores), np.asarray(found.class_ids)]
    if any(array.dtype.kind not in "fiu" for array in arrays):
        raise Mismatch(expected="arrays of numbers", seen=", ".join(str(array.dtype) for array in arrays))
    xyxy, scores, class_ids = arrays
    if len(xyxy) > _MOST:
        raise Mismatch(expected=f"fewer detections than candidates, of which there are at most {_MOST}", seen=len(xyxy))
    if not (np.isfinite(xyxy).all() and np.isfinite(scores).all() and np.isfinite(class_ids).all()):
        raise Mismatch(expected="finite numbers", seen="NaN or infinity")
    return xyxy.astype(np.float64), scores.astype(np.float64), class_ids.astype(np.float64)


def _nearest(xyxy: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the distance of each wanted box to the nearest found one, as the largest difference of an edge."""
    if not len(xyxy):
        return np.full(len(wanted), np.inf)
    return np.abs(wanted[:, None] - xyxy[None]).max(axis=2).min(axis=1)


def _are_among(values: np.ndarray, wanted: np.ndarray, *, atol: float) -> bool:
    return bool(len(values)) and bool((np.abs(wanted[:, None] - values[None]).min(axis=1) <= atol).all())


def picture(answer):
    """Show the boxes that were decoded among those that should be; scores and classes show in no picture."""
    from yolotrt_lab.figures.verdicts import kept_boxes

    xyxy, _, _ = _found(answer)
    truth = _Truth(answer.inputs["output"], answer.inputs["layout"])
    wanted = truth.corners[truth.kept]
    strange = xyxy[_nearest(wanted, xyxy) > 0.02]
    matched = np.flatnonzero(_nearest(xyxy, wanted) <= 0.02).tolist()
    if not len(wanted) or (not len(strange) and len(matched) == len(wanted)):
        return None
    seen = [*matched, *range(len(wanted), len(wanted) + len(strange))]
    return Drawing(
        kept_boxes(np.concatenate((wanted, strange)), expected=range(len(wanted)), seen=seen),
        caption=f"The objects of “{answer.case.name}” in the network's input, and the boxes that were decoded.",
        alt=f"{len(matched)} of {len(wanted)} objects have their box; {len(strange)} boxes lie where there is none.",
    )


@points(1)
def test_gives_detections(answer):
    """The result is one Detections object, also when nothing is there."""
    xyxy, _, _ = _found(answer)
    if answer.case.name == "nothing there":
        expect(len(xyxy) == 0, expected="no detections", seen=f"{len(xyxy)} detections")


@points(3, cases=_HEADS)
def test_finds_the_candidates(answer):
    """Exactly the candidates above the threshold are kept."""
    xyxy, _, _ = _found(answer)
    truth = _Truth(answer.inputs["output"], answer.inputs["layout"])
    if len(xyxy) == len(truth.kept):
        return
    raise Mismatch(
        expected=f"{len(truth.kept)} of {len(truth.scores)} candidates",
        seen=f"{len(xyxy)}",
        misconception=truth.counts_by_mistake().get(len(xyxy), _why_another_number(len(xyxy), truth)),
    )


def _why_another_number(count: int, truth: _Truth) -> str:
    if truth.layout == "anchor_free":
        return (
            "The head is (1, 4 + classes, candidates): a candidate is a column. Reading it by rows, or calling reshape "
            "where axes should change places, mixes numbers of different candidates."
        )
    if truth.layout == "end_to_end":
        return "Column 4 holds the score and column 5 the class id; nothing is to be multiplied or maximised here."
    return (
        "Columns: 0 to 3 the box, 4 objectness, from 5 on one probability per class."
        if count
        else ("Nothing passes: is the threshold meant for numbers of another range?")
    )


@points(3, cases=_HEADS)
def test_boxes_are_corners(answer):
    """Boxes are left, top, right, bottom."""
    xyxy, _, _ = _found(answer)
    truth = _Truth(answer.inputs["output"], answer.inputs["layout"])
    wanted = truth.corners[truth.kept]
    distance = _nearest(xyxy, wanted)
    if distance.max(initial=0.0) <= 0.02:
        return
    worst = int(distance.argmax())
    raise Mismatch(
        expected=f"a box {np.round(wanted[worst], 1).tolist()} and {len(wanted) - 1} others",
        seen=f"{(distance <= 0.02).sum()} of them among the {len(xyxy)} boxes found",
        misconception=_why_other_boxes(xyxy, truth),
    )


def _why_other_boxes(xyxy: np.ndarray, truth: _Truth) -> str:
    raw = truth.raw[truth.kept]
    if truth.layout == "end_to_end":
        if _nearest(xyxy, truth.converted_again[truth.kept]).max() <= 0.02:
            return "This head gives corners already; they were taken for centre and size, and converted once more."
        return "The rows of this head begin with left, top, right, bottom, in pixels of the input."
    ideas = (
        (raw, "These are centre x, centre y, width and height, as they came."),
        (
            np.concatenate((raw[:, :2], raw[:, :2] + raw[:, 2:]), axis=1),
            "The first two numbers were taken for the left top corner; they are the centre.",
        ),
        (
            np.concatenate((raw[:, :2] - raw[:, 2:], raw[:, :2] + raw[:, 2:]), axis=1),
            "The boxes are twice as large: only half of the width lies on each side of the centre.",
        ),
        (truth.corners[truth.kept][:, [1, 0, 3, 2]], "x and y are swapped."),
    )
    for boxes, words in ideas:
        if _nearest(xyxy, boxes).max() <= 0.02:
            return words
    return "Do the boxes belong to the candidates that were kept? Choose the same columns or rows of both."


@points(3, cases=_HEADS)
def test_scores(answer):
    """Scores are those of the kept candidates."""
    _, scores, _ = _found(answer)
    truth = _Truth(answer.inputs["output"], answer.inputs["layout"])
    wanted = truth.scores[truth.kept]
    if _are_among(scores, wanted, atol=1e-4):
        return
    worst = int(np.abs(wanted[:, None] - scores[None]).min(axis=1, initial=9.0).argmax())
    raise Mismatch(
        expected=f"a score of {wanted[worst]:.4f} and {len(wanted) - 1} others",
        seen=f"{len(scores)} scores" + (f" from {scores.min():.4f} to {scores.max():.4f}" if len(scores) else ""),
        misconception=_why_other_scores(scores, truth),
    )


def _why_other_scores(scores: np.ndarray, truth: _Truth) -> str:
    kept = truth.kept
    ideas = [
        (1 / (1 + np.exp(-truth.scores[kept])), "A sigmoid was applied to what are probabilities already."),
        (1 / (1 + np.exp(-truth.class_scores[kept])), "A sigmoid was applied to what are probabilities already."),
    ]
    if truth.objectness is not None:
        ideas += [
            (truth.class_scores[kept], "Class probability alone: it has to be multiplied by the objectness."),
            (truth.objectness[kept], "Objectness alone: it has to be multiplied by the class probability."),
            (np.sqrt(truth.scores[kept]), "The geometric mean; YOLO's score is the product itself."),
        ]
    for values, words in ideas:
        if _are_among(scores, values, atol=1e-4):
            return words
    return "A candidate's score is that of its best class" + (
        ", times its objectness." if truth.objectness is not None else "."
    )


@points(1, cases=_HEADS)
def test_classes(answer):
    """Each box has the class of its greatest probability."""
    xyxy, scores, class_ids = _found(answer)
    truth = _Truth(answer.inputs["output"], answer.inputs["layout"])
    wrong: list[tuple[int, float]] = []
    for candidate in truth.kept:
        # Found by its box or, where boxes are wrong, by its score: this test is about the class alone.
        by_box = np.abs(xyxy - truth.corners[candidate]).max(axis=1, initial=0.0) <= 0.02
        by_score = np.abs(scores - truth.scores[candidate]) <= 1e-4
        same = np.flatnonzero(by_box if by_box.any() else by_score)
        if not len(same):
            raise Mismatch(
                expected="the kept candidates, to see their classes",
                seen="boxes and scores of others",
                misconception="Get boxes or scores right first.",
            )
        if class_ids[same[0]] != truth.classes[candidate]:
            wrong.append((int(truth.classes[candidate]), float(class_ids[same[0]])))
    if not wrong:
        return
    shifts = {seen - right for right, seen in wrong}
    raise Mismatch(
        expected=f"class {wrong[0][0]} for one of the boxes",
        seen=f"class {wrong[0][1]:g}; {len(wrong)} of {len(truth.kept)} differ",
        misconception=(
            f"All are off by {shifts.pop():+g}: at which row or column do the classes begin?"
            if len(shifts) == 1
            else "Is the greatest probability searched among the classes only, and for each candidate by itself?"
        ),
    )


@points(1, cases=("half precision",))
def test_half_precision_output(answer):
    """Boxes of a float16 output are computed in float32."""
    xyxy, _, _ = _found(answer)
    truth = _Truth(answer.inputs["output"], answer.inputs["layout"])
    distance = _nearest(xyxy, truth.corners[truth.kept]).max(initial=0.0)
    expect(
        distance <= 0.01,
        expected="edges within 0.01 pixels of what the output says",
        seen=f"edges {distance:.2f} pixels off" if np.isfinite(distance) else "no boxes",
        misconception=(
            "Between 256 and 512, float16 knows quarters of a pixel only: convert before you compute."
            if distance < 1
            else "Boxes must be right in float32 first."
        ),
    )
