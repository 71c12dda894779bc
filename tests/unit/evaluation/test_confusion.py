from __future__ import annotations

import numpy as np
import pytest
import torch
from ultralytics.utils.metrics import ConfusionMatrix

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.average_precision import GroundTruth
from yolotrt_lab.evaluation.confusion import confusion_matrix
from yolotrt_lab.types import Detections

NAMES = ("bolt", "nut", "washer")


def grid_scene(seed: int) -> tuple[GroundTruth, Detections]:
    """Objects on a grid, so that no detection overlaps two of them: moved, confused, missed and invented ones."""
    rng = np.random.default_rng(seed)
    cells = np.stack(np.meshgrid(np.arange(6), np.arange(6)), axis=-1).reshape(-1, 2)[rng.permutation(36)] * 50.0
    boxes = np.concatenate((cells, cells + 30), axis=1).astype(np.float32)
    ids = rng.integers(0, 3, 36)
    found_ids = np.where(rng.random(36) < 0.3, rng.integers(0, 3, 36), ids)
    moved = boxes + rng.uniform(-3, 3, boxes.shape).astype(np.float32)
    scores = rng.random(36).astype(np.float32)
    return GroundTruth(boxes[:28], ids[:28], (300, 300)), Detections(moved[6:], scores[6:], found_ids[6:])


@pytest.mark.parametrize("conf_threshold", [0.1, 0.25, 0.6])
def test_equal_to_ultralytics_where_no_box_is_contested(conf_threshold):
    scenes = [grid_scene(seed) for seed in range(5)]
    theirs = ConfusionMatrix(names=dict(enumerate(NAMES)))
    for truth, found in scenes:
        theirs.process_batch(
            {
                "bboxes": torch.from_numpy(found.xyxy),
                "conf": torch.from_numpy(found.scores),
                "cls": torch.from_numpy(found.class_ids),
            },
            {"bboxes": torch.from_numpy(truth.xyxy), "cls": torch.from_numpy(truth.class_ids)},
            conf=conf_threshold,
            iou_thres=0.5,
        )
    truths, found = zip(*scenes, strict=True)
    ours = confusion_matrix(truths, found, class_names=NAMES, conf_threshold=conf_threshold)
    np.testing.assert_array_equal(ours, theirs.matrix)
    assert ours[:3, :3].sum() > np.trace(ours) > 0  # confusions are there
    assert ours[3].sum() > 0  # and missed objects
    assert ours[:, 3].sum() > 0  # and inventions


def test_rows_are_what_was_found_and_columns_what_is_there():
    truth, found = grid_scene(0)
    matrix = confusion_matrix([truth], [found], class_names=NAMES, conf_threshold=0)
    np.testing.assert_array_equal(matrix[:, :3].sum(axis=0), np.bincount(truth.class_ids, minlength=3))
    np.testing.assert_array_equal(matrix[:3].sum(axis=1), np.bincount(found.class_ids, minlength=3))
    assert matrix[3, 3] == 0


BOX = [10.0, 10.0, 30.0, 30.0]
LOWER_HALF = [10.0, 20.0, 30.0, 30.0]


def one_image(truth: list, found: list) -> tuple[list[GroundTruth], list[Detections]]:
    boxes = np.array([box for box, _ in truth], np.float32).reshape(-1, 4)
    return (
        [GroundTruth(boxes, np.array([class_id for _, class_id in truth], np.int64), (50, 50))],
        [
            Detections(
                np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
                np.array([score for _, score, _ in found], np.float32),
                np.array([class_id for _, _, class_id in found], np.int64),
            )
        ],
    )


@pytest.mark.parametrize(
    ("truth", "found", "cells"),
    [
        ([], [], {}),
        ([(BOX, 1)], [], {(3, 1): 1}),
        ([], [(BOX, 0.9, 2)], {(2, 3): 1}),
        ([(BOX, 1)], [(BOX, 0.9, 0)], {(0, 1): 1}),
        ([(BOX, 1)], [(BOX, 0.25, 1)], {(3, 1): 1}),  # a score at the threshold is not above it
        ([(BOX, 1)], [(LOWER_HALF, 0.9, 1)], {(1, 1): 1}),  # IoU exactly 0.5
        ([(BOX, 1)], [(BOX, 0.9, 1), (BOX, 0.8, 1)], {(1, 1): 1, (1, 3): 1}),  # a duplicate
        ([(BOX, 1)], [(BOX, 0.9, 0), (BOX, 0.8, 1)], {(1, 1): 1, (0, 3): 1}),  # equally close: the same class first
        ([(BOX, 1)], [(BOX, 0.3, 0), (LOWER_HALF, 0.9, 1)], {(0, 1): 1, (1, 3): 1}),  # else the closest
    ],
)
def test_by_hand(truth, found, cells):
    matrix = confusion_matrix(*one_image(truth, found), class_names=NAMES)
    expected = np.zeros((4, 4), np.int64)
    for cell, count in cells.items():
        expected[cell] = count
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize("option", ["conf_threshold", "iou_threshold"])
def test_thresholds_out_of_range_are_refused(option):
    with pytest.raises(InputError, match=f"{option} is out of range"):
        confusion_matrix(*one_image([], []), class_names=NAMES, **{option: 1.5})


def test_unknown_classes_are_refused():
    with pytest.raises(InputError, match="class id without a name"):
        confusion_matrix(*one_image([], [(BOX, 0.9, 3)]), class_names=NAMES)
