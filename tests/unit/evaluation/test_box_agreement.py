from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.box_agreement import compare_boxes
from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_detections
from yolotrt_lab.types import Detections, Precision

RULES = {"match_iou": 0.8, "score_delta": 0.1, "conf_threshold": 0.25}


def grid(count: int = 10, *, score: float = 0.8) -> Detections:
    """Boxes side by side, 20 pixels wide, of three classes in turn."""
    left = np.arange(count, dtype=np.float32) * 50
    xyxy = np.stack((left, left * 0, left + 20, left * 0 + 20), axis=1)
    return Detections(xyxy, np.full(count, score, np.float32), np.arange(count) % 3)


def changed(found: Detections, index: int, **changes) -> Detections:
    xyxy, scores, ids = found.xyxy.copy(), found.scores.copy(), found.class_ids.copy()
    xyxy[index] += np.float32(changes.get("move", 0))
    scores[index] = changes.get("score", scores[index])
    ids[index] = changes.get("class_id", ids[index])
    return Detections(xyxy, scores, ids)


def test_equal_detections_match_wholly():
    agreement = compare_boxes([grid()], [grid()], **RULES)
    assert (agreement.matched_fraction, agreement.compared) == (1, 20)
    assert (agreement.missing, agreement.extra, agreement.excluded) == (0, 0, 0)
    assert (agreement.mean_iou, agreement.max_score_delta) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "fraction"),
    [
        ({"move": 1}, 1.0),  # IoU 361 / 439 = 0.82
        ({"move": 2}, 0.9),  # IoU 324 / 476 = 0.68
        ({"score": 0.71}, 1.0),
        ({"score": 0.69}, 0.9),
        ({"class_id": 2}, 0.9),
    ],
)
def test_a_box_matches_by_place_score_and_class(changes, fraction):
    agreement = compare_boxes([changed(grid(), 3, **changes)], [grid()], **RULES)
    assert agreement.matched_fraction == pytest.approx(fraction)
    assert (agreement.missing, agreement.extra) == ((0, 0) if fraction == 1 else (1, 1))


def test_missing_and_extra_boxes_count_alike():
    lost = compare_boxes([grid().select(np.arange(8))], [grid()], **RULES)
    added = compare_boxes([grid()], [grid().select(np.arange(8))], **RULES)
    assert lost.matched_fraction == added.matched_fraction == pytest.approx(16 / 18)
    assert (lost.missing, lost.extra) == (2, 0)
    assert (added.missing, added.extra) == (0, 2)


def test_a_duplicate_is_an_extra_box():
    twice = grid().select(np.array([*range(10), 4]))
    agreement = compare_boxes([twice], [grid()], **RULES)
    assert (agreement.missing, agreement.extra) == (0, 1)


def test_boxes_near_the_threshold_do_not_count_on_either_side():
    # 0.34 and 0.26 lie within 0.1 of the threshold, so the other side need not show them at all.
    expected = changed(changed(grid(), 0, score=0.34), 1, score=0.26)
    agreement = compare_boxes([grid().select(np.arange(2, 10))], [expected], **RULES)
    assert agreement.matched_fraction == 1
    assert (agreement.compared, agreement.excluded) == (16, 2)
    mirrored = compare_boxes([expected], [grid().select(np.arange(2, 10))], **RULES)
    assert (mirrored.matched_fraction, mirrored.excluded) == (1, 2)


def test_a_counted_box_may_match_one_near_the_threshold():
    # 0.36 counts and 0.33 does not; excluding the latter from matching, too, would call the former missing.
    expected, actual = changed(grid(), 0, score=0.36), changed(grid(), 0, score=0.33)
    agreement = compare_boxes([actual], [expected], **RULES)
    assert (agreement.matched_fraction, agreement.missing) == (1, 0)
    assert (agreement.compared, agreement.excluded) == (19, 1)


def test_a_clear_box_that_is_gone_is_not_excused():
    agreement = compare_boxes([grid().select(np.arange(1, 10))], [changed(grid(), 0, score=0.36)], **RULES)
    assert agreement.missing == 1


def test_a_counted_box_goes_before_one_that_does_not_count():
    # Both boxes of the engine overlap the only one of the reference; the weak one is closer but does not count.
    expected = Detections(np.array([[0, 0, 100, 100]], np.float32), np.array([0.4], np.float32), np.array([0]))
    actual = Detections(
        np.array([[0, 0, 100, 100], [0, 0, 100, 90]], np.float32),
        np.array([0.34, 0.36], np.float32),
        np.array([0, 0]),
    )
    agreement = compare_boxes([actual], [expected], **RULES)
    assert (agreement.matched_fraction, agreement.extra) == (1, 0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), delta=st.floats(0, 0.099))
def test_score_noise_within_the_tolerance_never_fails(seed, delta):
    """The promise of the exclusion: whatever crosses the threshold by less than the tolerance costs nothing."""
    rng = np.random.default_rng(seed)
    everything = Detections(grid(30).xyxy, rng.random(30, np.float32), grid(30).class_ids)
    moved = np.clip(everything.scores + rng.uniform(-delta, delta, 30), 0, 1).astype(np.float32)
    other = Detections(everything.xyxy, moved, everything.class_ids)
    expected, actual = (each.select(each.scores > 0.25) for each in (everything, other))
    agreement = compare_boxes([actual], [expected], **RULES)
    assert agreement.missing == agreement.extra == 0
    assert agreement.compared == 0 or agreement.matched_fraction == 1


def test_images_are_not_mixed():
    first, second = grid(4), Detections(grid(4).xyxy + 500, grid(4).scores, grid(4).class_ids)
    assert compare_boxes([first, second], [first, second], **RULES).matched_fraction == 1
    assert compare_boxes([second, first], [first, second], **RULES).matched_fraction == 0


def test_nothing_to_compare_is_not_agreement():
    agreement = compare_boxes([Detections.empty()], [grid(3, score=0.3)], **RULES)
    assert agreement.compared == 0
    assert agreement.excluded == 3
    assert math.isnan(agreement.matched_fraction)
    assert math.isnan(agreement.mean_iou)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: Detections(d.xyxy, d.scores, (d.class_ids + 1) % 3), "matched_ignoring_class"),
        (lambda d: Detections(d.xyxy, d.scores - np.float32(0.3), d.class_ids), "matched_ignoring_scores"),
        (lambda d: Detections(d.xyxy + np.float32(4), d.scores, d.class_ids), "matched_ignoring_place"),
    ],
)
def test_the_condition_that_fails_can_be_told(change, field):
    agreement = compare_boxes([change(grid())], [grid()], **RULES)
    assert agreement.matched_fraction == 0
    fields = ("matched_ignoring_class", "matched_ignoring_scores", "matched_ignoring_place")
    assert [name for name in fields if getattr(agreement, name) == 1] == [field]


def test_compare_detections_takes_the_tolerance_and_one_image_or_many():
    tolerance = TOLERANCES[Precision.INT8]
    one = compare_detections(grid(), grid(), tolerance=tolerance, conf_threshold=0.25)
    many = compare_detections([grid()] * 3, [grid()] * 3, tolerance=tolerance, conf_threshold=0.25)
    assert (one.compared, many.compared) == (20, 60)
    moved = changed(grid(), 0, move=1)
    strict = compare_detections(moved, grid(), tolerance=TOLERANCES[Precision.FP32], conf_threshold=0.25)
    loose = compare_detections(moved, grid(), tolerance=tolerance, conf_threshold=0.25)
    assert strict.matched_fraction < loose.matched_fraction == 1


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        ([grid()], [], "detections for every image"),
        ([grid(score=0.2)], [grid()], "engine's detections are not those of confidence threshold 0.25"),
        ([grid()], [grid(score=0.1)], "reference's detections are not those"),
        ([changed(grid(), 0, score=np.nan)], [grid()], "engine's detections are not those"),
        ([changed(grid(), 0, move=np.nan)], [grid()], "engine's detections are not those"),
    ],
)
def test_bad_input_is_refused(actual, expected, message):
    with pytest.raises(InputError, match=message):
        compare_boxes(actual, expected, **RULES)
