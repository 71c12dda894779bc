from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation import average_precision, matching
from yolotrt_lab.evaluation.average_precision import GroundTruth, evaluate_detections
from yolotrt_lab.evaluation.curves import RECALL_POINTS
from yolotrt_lab.types import Detections

NAMES = ("bolt", "nut", "washer", "gear")
EXACT = 1e-12


def coco_evaluation(ground_truth, detections, *, class_count: int, max_detections: int = 100) -> COCOeval:
    """Run pycocotools on the same boxes; category and annotation ids start at 1 (an id of 0 means "unmatched")."""

    def xywh(box):
        left, top, right, bottom = (float(value) for value in box)
        return [left, top, right - left, bottom - top]

    annotations = [
        {"image_id": image, "category_id": int(class_id) + 1, "bbox": xywh(box), "area": xywh(box)[2] * xywh(box)[3]}
        for image, truth in enumerate(ground_truth)
        for box, class_id in zip(truth.xyxy, truth.class_ids, strict=True)
    ]
    results = [
        {"image_id": image, "category_id": int(class_id) + 1, "bbox": xywh(box), "score": float(score)}
        for image, found in enumerate(detections)
        for box, score, class_id in zip(found.xyxy, found.scores, found.class_ids, strict=True)
    ]
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(ground_truth))],
        "categories": [{"id": index + 1} for index in range(class_count)],
        "annotations": [{**each, "id": index + 1, "iscrowd": 0} for index, each in enumerate(annotations)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        found = coco.loadRes(results) if results else COCO()
        if not results:
            found.dataset = {**coco.dataset, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(coco, found, "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def coco_average_precision(*arguments, **options) -> np.ndarray:
    """Return (thresholds, classes), NaN for a class without objects."""
    precision = coco_evaluation(*arguments, **options).eval["precision"][:, :, :, 0, 0]
    return np.where(precision[:, 0] < 0, np.nan, precision.mean(axis=1))


def random_scene(
    seed: int,
    *,
    images: int = 6,
    classes: int = 3,
    score_levels: int | None = None,
    objects: int = 6,
    noise: int = 8,
    jitter: float = 4.0,
    whole: bool = False,
):
    """Objects, detections near most of them (some twice, some of the wrong class), and false ones anywhere."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(images):
        count = int(rng.integers(0, objects + 1))
        top_left = rng.uniform(0, 200, (count, 2))
        xyxy = np.concatenate((top_left, top_left + rng.uniform(10, 60, (count, 2))), axis=1)
        ids = rng.integers(0, classes, count)
        copies = rng.integers(0, 4, count)
        near = np.repeat(xyxy, copies, axis=0) + rng.normal(0, jitter, (int(copies.sum()), 4))
        near_ids = np.repeat(ids, copies)
        wrong = rng.random(len(near_ids)) < 0.15
        near_ids = np.where(wrong, rng.integers(0, classes, len(near_ids)), near_ids)
        corner = rng.uniform(0, 200, (noise, 2))
        far = np.concatenate((corner, corner + rng.uniform(10, 60, (noise, 2))), axis=1)
        boxes = np.concatenate((near, far))
        boxes = np.concatenate((np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])), axis=1)
        scores = rng.random(len(boxes))
        if score_levels:
            scores = np.ceil(scores * score_levels) / score_levels
        if whole:
            xyxy, boxes = xyxy.round(), boxes.round()
        truths.append(GroundTruth(xyxy.astype(np.float32), ids, (300, 300)))
        all_ids = np.concatenate((near_ids, rng.integers(0, classes, noise)))
        found.append(Detections(boxes.astype(np.float32), scores.astype(np.float32), all_ids))
    return truths, found


def assert_equal_to_coco(truths, found, *, class_count: int, max_detections: int = 100) -> None:
    names = NAMES[:class_count]
    metrics = evaluate_detections(truths, found, class_names=names, max_detections=max_detections)
    expected = coco_average_precision(truths, found, class_count=class_count, max_detections=max_detections)
    present = ~np.isnan(expected[0])
    assert list(metrics.per_class_ap50) == [name for name, there in zip(names, present, strict=True) if there]
    np.testing.assert_allclose(list(metrics.per_class_ap50.values()), expected[0, present], atol=EXACT)
    np.testing.assert_allclose(
        list(metrics.per_class_ap50_95.values()), expected[:, present].mean(axis=0), rtol=0, atol=EXACT
    )
    assert metrics.map50 == pytest.approx(np.nanmean(expected[0]), abs=EXACT)
    assert metrics.map75 == pytest.approx(np.nanmean(expected[5]), abs=EXACT)
    assert metrics.map50_95 == pytest.approx(np.nanmean(expected), abs=EXACT)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    images=st.integers(1, 6),
    classes=st.integers(1, 4),
    score_levels=st.sampled_from([None, 1, 2, 5, 20]),
    objects=st.integers(1, 8),
    noise=st.integers(0, 15),
    jitter=st.sampled_from([0.0, 1.0, 4.0, 10.0]),
    whole=st.booleans(),
)
def test_equal_to_pycocotools(seed, images, classes, score_levels, objects, noise, jitter, whole):
    truths, found = random_scene(
        seed,
        images=images,
        classes=classes,
        score_levels=score_levels,
        objects=objects,
        noise=noise,
        jitter=jitter,
        whole=whole,
    )
    if sum(map(len, truths)):
        assert_equal_to_coco(truths, found, class_count=4)


@pytest.mark.parametrize("max_detections", [1, 2, 5, 100])
def test_equal_to_pycocotools_when_detections_are_cut(max_detections):
    truths, found = random_scene(5, noise=30, score_levels=10)
    assert_equal_to_coco(truths, found, class_count=3, max_detections=max_detections)


def test_equal_to_pycocotools_on_a_crowded_set():
    truths, found = random_scene(11, images=20, classes=2, objects=40, noise=150, score_levels=50)
    assert max(np.bincount(each.class_ids).max() for each in found) > 100  # the default limit cuts
    assert_equal_to_coco(truths, found, class_count=2)


BOX = [10.0, 10.0, 30.0, 30.0]


def scene(truth: list, found: list) -> tuple[list[GroundTruth], list[Detections]]:
    """One image from [(box, class)] and [(box, score, class)]."""
    boxes = np.array([box for box, _ in truth], np.float32).reshape(-1, 4)
    truths = GroundTruth(boxes, np.array([class_id for _, class_id in truth], np.int64), (100, 100))
    detected = Detections(
        np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([class_id for _, _, class_id in found], np.int64),
    )
    return [truths], [detected]


@pytest.mark.parametrize(
    ("truth", "found", "map50"),
    [
        ([(BOX, 0)], [(BOX, 0.9, 0)], 1.0),
        ([(BOX, 0)], [], 0.0),
        ([(BOX, 0)], [(BOX, 0.9, 1)], 0.0),  # wrong class
        ([(BOX, 0)], [([60, 60, 80, 80], 0.9, 0)], 0.0),  # wrong place
        ([(BOX, 0)], [(BOX, 0.9, 0), (BOX, 0.8, 0)], 1.0),  # a duplicate after the object is found costs nothing
        ([(BOX, 0)], [([60, 60, 80, 80], 0.9, 0), (BOX, 0.8, 0)], 0.5),  # a false one before it halves precision
        ([(BOX, 0), ([60, 60, 80, 80], 0)], [(BOX, 0.9, 0)], 51 / 101),  # 51 of the 101 recalls are reached
        ([(BOX, 0), (BOX, 1)], [(BOX, 0.9, 0)], 0.5),
        ([(BOX, 0), (BOX, 0)], [(BOX, 0.9, 0), (BOX, 0.8, 0)], 1.0),  # two objects in one place
        ([(BOX, 0)], [([10, 10, 30, 20], 0.9, 0)], 1.0),  # IoU exactly 0.5
        ([(BOX, 0)], [(BOX, 0.9, 0), ([60, 60, 80, 80], 0.9, 3)], 1.0),  # class 3 has no object: not in the mean
    ],
)
def test_by_hand_and_by_pycocotools(truth, found, map50):
    truths, detected = scene(truth, found)
    assert evaluate_detections(truths, detected, class_names=NAMES).map50 == pytest.approx(map50, abs=1e-9)
    assert_equal_to_coco(truths, detected, class_count=4)


def test_images_without_objects_still_count_their_false_detections():
    empty, _ = scene([], [])
    truths, found = scene([(BOX, 0)], [(BOX, 0.8, 0)])
    _, false = scene([], [(BOX, 0.9, 0)])
    metrics = evaluate_detections([*empty, *truths], [*false, *found], class_names=NAMES)
    assert metrics.map50 == pytest.approx(0.5, abs=1e-9)
    assert (metrics.image_count, metrics.object_count) == (2, 1)


@pytest.mark.parametrize("reverse", [False, True])
def test_equal_scores_keep_the_order_of_the_images(reverse):
    truths, right = scene([(BOX, 0)], [(BOX, 0.5, 0)])
    _, false = scene([], [([60, 60, 80, 80], 0.5, 0)])
    empty, _ = scene([], [])
    both = list(zip([*truths, *empty], [*right, *false], strict=True))
    ordered = both[::-1] if reverse else both
    truths, found = [pair[0] for pair in ordered], [pair[1] for pair in ordered]
    assert evaluate_detections(truths, found, class_names=NAMES).map50 == pytest.approx(0.5 if reverse else 1.0)
    assert_equal_to_coco(truths, found, class_count=1)


def test_moving_the_same_image_elsewhere_changes_nothing_without_ties():
    truths, found = random_scene(3)
    order = np.random.default_rng(0).permutation(len(truths))
    first = evaluate_detections(truths, found, class_names=NAMES)
    second = evaluate_detections([truths[i] for i in order], [found[i] for i in order], class_names=NAMES)
    assert first.map50_95 == pytest.approx(second.map50_95, abs=EXACT)


def _eleven_points(monkeypatch):
    monkeypatch.setattr("yolotrt_lab.evaluation.curves.RECALL_POINTS", np.linspace(0, 1, 11))


def _class_blind(monkeypatch):
    def any_class(actual, expected):
        return np.ones((len(actual), len(expected)), bool)

    monkeypatch.setattr(average_precision, "same_class", any_class)


def _swapped_width_and_height(monkeypatch):
    def wrong(a, b):
        swapped = np.column_stack((a[:, 0], a[:, 1], a[:, 0] + a[:, 3] - a[:, 1], a[:, 1] + a[:, 2] - a[:, 0]))
        return iou_matrix(swapped, b)

    monkeypatch.setattr(average_precision, "iou_matrix", wrong)


def _objects_found_twice(monkeypatch):
    def reused(iou, *, iou_thresholds):
        return iou.max(axis=1, initial=0)[:, None] >= np.asarray(iou_thresholds)[None, :]

    monkeypatch.setattr(average_precision, "match_best_first", reused)


def _closest_pairs_first(monkeypatch):
    def wrong(iou, *, iou_thresholds):
        flags = np.zeros((len(iou), len(iou_thresholds)), bool)
        for index, threshold in enumerate(iou_thresholds):
            flags[matching.match_one_to_one(iou, min_iou=threshold).actual, index] = True
        return flags

    monkeypatch.setattr(average_precision, "match_best_first", wrong)


def _thresholds_from_arange(monkeypatch):
    monkeypatch.setattr(average_precision, "IOU_THRESHOLDS", np.arange(0.55, 1.0, 0.05)[:9])


def _limit_over_all_classes(monkeypatch):
    def limited(found, limit):
        return np.argsort(-found.scores, kind="stable")[:limit]

    monkeypatch.setattr(average_precision, "_most_confident", limited)


def _reversed_ties(monkeypatch):
    original = average_precision._scored_classes

    def wrong(truths, found, names, limit):
        return original(truths[::-1], found[::-1], names, limit)

    monkeypatch.setattr(average_precision, "_scored_classes", wrong)


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        _eleven_points,
        _class_blind,
        _swapped_width_and_height,
        _objects_found_twice,
        _closest_pairs_first,
        _thresholds_from_arange,
        _limit_over_all_classes,
        _reversed_ties,
    ],
)
def test_the_scenes_tell_wrong_metrics_apart(monkeypatch, mistake):
    if mistake:
        mistake(monkeypatch)
    errors = []
    for seed in range(8):
        truths, found = random_scene(seed, images=8, score_levels=10, noise=12)
        metrics = evaluate_detections(truths, found, class_names=NAMES, max_detections=8)
        expected = coco_average_precision(truths, found, class_count=3, max_detections=8)
        errors.append(abs(metrics.map50_95 - np.nanmean(expected)))
    assert (max(errors) < EXACT) == (mistake is None)
    assert mistake is None or max(errors) > 1e-3


def test_curves_describe_every_class_with_objects():
    truths, found = random_scene(2)
    metrics = evaluate_detections(truths, found, class_names=NAMES)
    assert metrics.curves.class_names == NAMES[:3]
    assert metrics.curves.precision_at_recall.shape == (3, 101)
    np.testing.assert_allclose(
        metrics.curves.precision_at_recall.mean(axis=1), list(metrics.per_class_ap50.values()), atol=EXACT
    )
    coco = coco_evaluation(truths, found, class_count=3).eval["precision"][0, :, :, 0, 0]
    np.testing.assert_allclose(metrics.curves.precision_at_recall, coco.T, atol=EXACT)
    np.testing.assert_array_equal(metrics.curves.recall_points, RECALL_POINTS)


def bad_scene(**changes):
    truths, found = scene([(BOX, 0)], [(BOX, 0.9, 0)])
    fields = {"xyxy": found[0].xyxy, "scores": found[0].scores, "class_ids": found[0].class_ids} | changes
    return truths, [Detections(**fields)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: (scene([(BOX, 0)], [])[0], []), "ground truth and its detections"),
        (lambda: bad_scene(class_ids=np.array([4])), "detections of image 0 has a class id|class id without a name"),
        (lambda: bad_scene(class_ids=np.array([-1])), "class id without a name"),
        (lambda: scene([(BOX, 9)], []), "ground truth of image 0"),
        (lambda: bad_scene(scores=np.array([np.nan], np.float32)), "NaN or infinite"),
        (lambda: bad_scene(xyxy=np.full((1, 4), np.inf, np.float32)), "NaN or infinite"),
        (lambda: scene([], [(BOX, 0.9, 0)]), "no object in 1 images"),
        (lambda: ([], []), "no object in 0 images"),
    ],
)
def test_bad_input_is_refused(make, message):
    truths, found = make()
    with pytest.raises(InputError, match=message):
        evaluate_detections(truths, found, class_names=NAMES)


def test_repeated_class_names_and_limits_out_of_range_are_refused():
    truths, found = scene([(BOX, 0)], [])
    with pytest.raises(InputError, match="Class names repeat"):
        evaluate_detections(truths, found, class_names=("a", "a"))
    with pytest.raises(InputError, match="max_detections"):
        evaluate_detections(truths, found, class_names=NAMES, max_detections=0)


def test_ground_truth_of_unequal_lengths_is_refused():
    with pytest.raises(InputError, match="one box and one class id per object"):
        GroundTruth(np.zeros((2, 4), np.float32), np.zeros(1, np.int64), (10, 10))
