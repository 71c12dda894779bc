from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms
from torchvision.ops import nms as torchvision_nms
from torchvision.ops.boxes import _batched_nms_vanilla

from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.detection.nms import MAX_CANDIDATES, class_aware_nms, nms
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Detections


def random_detections(
    seed: int, count: int, *, classes: int = 3, extent: int = 60, score_levels: int | None = None
) -> Detections:
    """Integer boxes, so that every oracle's arithmetic is exact; few score levels make ties."""
    rng = np.random.default_rng(seed)
    top_left = rng.integers(0, extent, (count, 2))
    xyxy = np.concatenate((top_left, top_left + rng.integers(1, 20, (count, 2))), axis=1).astype(np.float32)
    scores = rng.random(count) if score_levels is None else rng.integers(1, score_levels + 1, count) / score_levels
    return Detections(xyxy, scores.astype(np.float32), rng.integers(0, classes, count))


def reference_batched_nms(found: Detections, iou_threshold: float) -> list[int]:
    """Return torchvision's kept indices, equal scores in input order (batched_nms leaves their order open)."""
    kept = batched_nms(
        torch.from_numpy(found.xyxy), torch.from_numpy(found.scores), torch.from_numpy(found.class_ids), iou_threshold
    ).numpy()
    return sorted(kept.tolist(), key=lambda index: (-found.scores[index], index))


def kept_indices(function, found: Detections, iou_threshold: float) -> list[int]:
    numbered = Detections(found.xyxy, found.scores, found.class_ids)
    kept = function(numbered, iou_threshold=iou_threshold)
    return kept.tolist() if isinstance(kept, np.ndarray) else _positions(kept, found)


def _positions(kept: Detections, found: Detections) -> list[int]:
    """Return which rows of `found` the kept ones are; equal rows are taken in order."""
    rows = np.column_stack((found.xyxy, found.scores, found.class_ids))
    free = np.ones(len(rows), bool)
    positions = []
    for row in np.column_stack((kept.xyxy, kept.scores, kept.class_ids)):
        position = int(np.flatnonzero((rows == row).all(axis=1) & free)[0])
        free[position] = False
        positions.append(position)
    return positions


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 60),
    classes=st.integers(1, 4),
    levels=st.sampled_from([1, 2, 5, None]),
    iou_threshold=st.sampled_from([0.0, 0.1, 0.3, 0.45, 0.5, 0.6, 0.7, 0.9, 1.0]),
)
def test_equal_to_torchvision_with_and_without_ties(seed, count, classes, levels, iou_threshold):
    found = random_detections(seed, count, classes=classes, extent=25, score_levels=levels)
    assert kept_indices(class_aware_nms, found, iou_threshold) == reference_batched_nms(found, iou_threshold)
    blind = torchvision_nms(torch.from_numpy(found.xyxy), torch.from_numpy(found.scores), iou_threshold)
    assert nms(found.xyxy, found.scores, iou_threshold=iou_threshold).tolist() == blind.tolist()


@pytest.mark.parametrize("count", [127, 128, 129, 256, 300, 1500])
@pytest.mark.parametrize("levels", [1, 7, None])
def test_equal_to_torchvision_across_block_borders(count, levels):
    found = random_detections(count, count, extent=120, score_levels=levels)
    assert kept_indices(class_aware_nms, found, 0.4) == reference_batched_nms(found, 0.4)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_torchvision_on_fractional_boxes(seed):
    rng = np.random.default_rng(seed)
    top_left = rng.uniform(0, 300, (2000, 2))
    xyxy = np.concatenate((top_left, top_left + rng.uniform(5, 120, (2000, 2))), axis=1).astype(np.float32)
    found = Detections(xyxy, rng.random(2000).astype(np.float32), rng.integers(0, 80, 2000))
    # Per class, without the coordinate offset, whose rounding would move an IoU across the threshold.
    expected = _batched_nms_vanilla(
        torch.from_numpy(xyxy), torch.from_numpy(found.scores), torch.from_numpy(found.class_ids), 0.5
    )
    assert kept_indices(class_aware_nms, found, 0.5) == expected.tolist()


def _class_blind(found, *, iou_threshold):
    return nms(found.xyxy, found.scores, iou_threshold=iou_threshold)


def _unsorted(found, *, iou_threshold):
    kept: list[int] = []
    for index in range(len(found)):
        overlap = iou_matrix(found.xyxy[kept], found.xyxy[index : index + 1])[:, 0] if kept else np.zeros(0)
        if not ((overlap > iou_threshold) & (found.class_ids[kept] == found.class_ids[index])).any():
            kept.append(index)
    return np.array(kept)


def _dropped_boxes_suppress_too(found, *, iou_threshold):
    order = np.argsort(-found.scores, kind="stable")
    iou = iou_matrix(found.xyxy[order], found.xyxy[order]) > iou_threshold
    same = found.class_ids[order][:, None] == found.class_ids[order]
    return order[~np.triu(iou & same, 1).any(axis=0)]


def _at_threshold_is_dropped(found, *, iou_threshold):
    return class_aware_nms(found, iou_threshold=float(np.nextafter(np.float32(iou_threshold), np.float32(0))))


def _swapped_width_and_height(found, *, iou_threshold):
    left, top, right, bottom = found.xyxy.T
    swapped = np.stack((left, top, left + bottom - top, top + right - left), axis=1)
    order = class_aware_nms(Detections(swapped, found.scores, found.class_ids), iou_threshold=iou_threshold)
    return np.array(_positions(order, Detections(swapped, found.scores, found.class_ids)))


@pytest.mark.parametrize(
    "wrong",
    [_class_blind, _unsorted, _dropped_boxes_suppress_too, _at_threshold_is_dropped, _swapped_width_and_height],
)
def test_the_inputs_tell_wrong_implementations_apart(wrong):
    cases = [(random_detections(seed, 40, extent=25, score_levels=5), 0.5) for seed in range(30)]

    def agreeing(function):
        return sum(kept_indices(function, found, iou) == reference_batched_nms(found, iou) for found, iou in cases)

    assert agreeing(class_aware_nms) == len(cases)
    assert agreeing(wrong) < len(cases)


@pytest.mark.parametrize(
    ("xyxy", "scores", "kept"),
    [
        ([], [], []),
        ([[0, 0, 10, 10]], [0.5], [0]),
        ([[0, 0, 10, 10]] * 3, [0.5, 0.5, 0.5], [0]),  # ties: the first stays
        ([[0, 0, 10, 10], [0, 0, 10, 9]], [0.5, 0.6], [1]),
        ([[0, 0, 10, 10], [0, 0, 10, 5]], [0.6, 0.5], [0, 1]),  # IoU exactly at the threshold stays
        ([[-50, -50, -40, -40], [900, 900, 910, 910]], [0.1, 0.2], [1, 0]),  # off-image
        ([[5, 5, 5, 5]] * 2, [0.5, 0.5], [0, 1]),  # no area, no overlap
    ],
)
def test_by_hand(xyxy, scores, kept):
    boxes = np.array(xyxy, np.float32).reshape(-1, 4)
    assert nms(boxes, np.array(scores, np.float32), iou_threshold=0.5).tolist() == kept


def test_single_precision_does_not_move_the_threshold():
    # IoU is 3 / 10; in float32 that is above the double 0.3, and torchvision drops the box.
    boxes = np.array([[0, 0, 10, 1], [0, 0, 3, 1]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    expected = torchvision_nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.3).tolist()
    assert nms(boxes, scores, iou_threshold=0.3).tolist() == expected == [0]


@pytest.mark.parametrize("limit", [1, 2, 128, 129, 500])
def test_max_detections_keeps_the_best(limit):
    found = random_detections(3, 600, extent=400)
    everything = class_aware_nms(found, iou_threshold=0.5)
    limited = class_aware_nms(found, iou_threshold=0.5, max_detections=limit)
    assert len(limited) == min(limit, len(everything))
    np.testing.assert_array_equal(limited.scores, everything.scores[:limit])
    np.testing.assert_array_equal(limited.xyxy, everything.xyxy[:limit])


def test_more_candidates_than_the_bound_keep_the_best():
    count = MAX_CANDIDATES + 10
    scores = np.linspace(0.1, 0.9, count).astype(np.float32)
    left = np.arange(count, dtype=np.float32) * 20
    boxes = np.stack((left, left * 0, left + 10, left * 0 + 10), axis=1)
    kept = nms(boxes, scores, iou_threshold=0.5, max_detections=5)
    assert kept.tolist() == [count - 1 - index for index in range(5)]


def test_shuffling_without_ties_changes_nothing():
    found = random_detections(9, 200)
    shuffled = found.select(np.random.default_rng(0).permutation(200))
    first, second = (class_aware_nms(each, iou_threshold=0.5) for each in (found, shuffled))
    np.testing.assert_array_equal(first.xyxy, second.xyxy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": np.ones(3)}, "one score per box"),
        ({"iou_threshold": 1.5}, "IoU threshold is out of range"),
        ({"iou_threshold": -0.1}, "IoU threshold is out of range"),
        ({"max_detections": 0}, "max_detections is out of range"),
        ({"scores": np.array([0.5, np.nan])}, "NaN"),
        ({"xyxy": np.full((2, 4), np.nan)}, "NaN"),
        ({"xyxy": np.zeros((2, 3))}, "does not hold boxes"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    complete = {"xyxy": np.zeros((2, 4)), "scores": np.ones(2), "iou_threshold": 0.5} | arguments
    with pytest.raises(InputError, match=message):
        nms(complete.pop("xyxy"), complete.pop("scores"), **complete)
