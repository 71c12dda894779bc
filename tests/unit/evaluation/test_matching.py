from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.matching import match_best_first, match_detections, match_one_to_one, same_class
from yolotrt_lab.types import Detections

# Few levels, so that ties and exact thresholds are common.
iou_tables = st.tuples(st.integers(0, 7), st.integers(0, 6)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0.0, 0.3, 0.5, 0.55, 0.7, 0.75, 0.9, 1.0]))
)
THRESHOLDS = [0.5, 0.75, 1.0]


def coco_loop(iou: np.ndarray, threshold: float) -> list[bool]:
    """`COCOeval.evaluateImg`, written out."""
    taken = [False] * iou.shape[1]
    flags = []
    for row in iou:
        best, match = min(threshold, 1 - 1e-10), -1
        for column, value in enumerate(row):
            if not taken[column] and value >= best:
                best, match = value, column
        if match >= 0:
            taken[match] = True
        flags.append(match >= 0)
    return flags


@settings(max_examples=300)
@given(iou_tables)
def test_best_first_is_the_coco_loop(iou):
    flags = match_best_first(iou, iou_thresholds=THRESHOLDS)
    assert flags.shape == (len(iou), 3)
    for index, threshold in enumerate(THRESHOLDS):
        assert flags[:, index].tolist() == coco_loop(iou, threshold)


def test_best_first_is_greedy_in_the_order_of_the_rows():
    # The first row takes column 1, its best, and leaves the second row column 0, which is not close enough.
    iou = np.array([[0.6, 0.8], [0.2, 0.9]])
    assert match_best_first(iou, iou_thresholds=[0.5])[:, 0].tolist() == [True, False]
    assert match_best_first(iou[::-1], iou_thresholds=[0.5])[:, 0].tolist() == [True, True]


def test_of_equal_overlaps_the_last_is_taken():
    # As in pycocotools. The second row reaches only column 1, and finds it gone.
    iou = np.array([[0.6, 0.6], [0.0, 0.6]])
    assert match_best_first(iou, iou_thresholds=[0.5])[:, 0].tolist() == [True, False]


@pytest.mark.parametrize("thresholds", [[0.75, 0.5], [0.5, 0.5], [0.0], [1.1], [float("nan")], np.linspace(0.1, 1, 70)])
def test_thresholds_out_of_range_are_refused(thresholds):
    with pytest.raises(InputError, match="IoU thresholds are out of range"):
        match_best_first(np.zeros((1, 1)), iou_thresholds=thresholds)


@settings(max_examples=300)
@given(iou_tables)
def test_one_to_one_takes_the_closest_pair_left(iou):
    matches = match_one_to_one(iou, min_iou=0.5)
    rows, columns = list(range(iou.shape[0])), list(range(iou.shape[1]))
    expected = []
    while pairs := [pair for pair in itertools.product(rows, columns) if iou[pair] >= 0.5]:
        best = min(pairs, key=lambda pair: (-iou[pair], pair))
        expected.append(best)
        rows.remove(best[0])
        columns.remove(best[1])
    assert list(zip(matches.actual.tolist(), matches.expected.tolist(), strict=True)) == expected
    assert matches.iou.tolist() == [iou[pair] for pair in expected]
    assert len(matches) == len(expected)


@settings(max_examples=100)
@given(iou_tables)
def test_one_to_one_favors_neither_side(iou):
    forward, backward = match_one_to_one(iou, min_iou=0.5), match_one_to_one(iou.T, min_iou=0.5)
    assert len(forward) == len(backward)
    assert sorted(forward.iou) == sorted(backward.iou)


def test_one_to_one_obeys_what_is_allowed_and_what_goes_first():
    iou = np.array([[0.9, 0.8], [0.8, 0.0]])
    assert match_one_to_one(iou, min_iou=0.5).actual.tolist() == [0]
    not_the_best = match_one_to_one(iou, min_iou=0.5, allowed=np.array([[False, True], [True, True]]))
    assert sorted(zip(not_the_best.actual, not_the_best.expected, strict=True)) == [(0, 1), (1, 0)]
    other_first = match_one_to_one(iou, min_iou=0.5, priority=np.array([[0, 1], [0, 0]]))
    assert sorted(zip(other_first.actual, other_first.expected, strict=True)) == [(0, 1), (1, 0)]


def test_what_is_passed_in_stays_as_it_was():
    iou = np.array([[0.9, 0.1]])
    before = iou.copy()
    match_one_to_one(iou, min_iou=0.5, allowed=np.array([[True, True]]))
    match_best_first(iou, iou_thresholds=[0.5])
    np.testing.assert_array_equal(iou, before)


def detections(*rows: tuple[list[float], float, int]) -> Detections:
    return Detections(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[2] for row in rows], np.int64),
    )


BOX = [10.0, 10.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("options", "pairs"),
    [
        ({"min_iou": 0.9}, 1),
        ({"min_iou": 0.9, "class_aware": False}, 2),
        ({"min_iou": 0.4}, 2),
        ({"min_iou": 0.4, "max_score_delta": 0.05}, 1),
        ({"min_iou": 0.4, "max_score_delta": 0.05, "class_aware": False}, 2),
        ({"min_iou": 0.4, "max_score_delta": 0.5, "class_aware": False}, 3),
    ],
)
def test_detections_match_by_place_class_and_score(options, pairs):
    actual = detections((BOX, 0.8, 0), ([50, 50, 70, 60], 0.6, 0), ([80, 80, 90, 90], 0.7, 1))
    expected = detections((BOX, 0.8, 0), ([50, 50, 70, 70], 0.9, 0), ([80, 80, 90, 90], 0.7, 2))
    assert len(match_detections(actual, expected, **options)) == pairs


@pytest.mark.parametrize(("left", "right"), [(0, 0), (0, 2), (2, 0)])
def test_no_boxes_give_no_pairs(left, right):
    found = detections((BOX, 0.8, 0), (BOX, 0.7, 0))
    assert len(match_detections(found.select(np.arange(left)), found.select(np.arange(right)), min_iou=0.5)) == 0


def test_same_class_is_a_table():
    assert same_class(np.array([0, 1]), np.array([1, 1, 0])).tolist() == [[False, False, True], [True, True, False]]
