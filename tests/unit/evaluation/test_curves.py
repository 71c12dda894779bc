from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.average_precision import GroundTruth, evaluate_detections
from yolotrt_lab.evaluation.curves import Curves, ScoredClass
from yolotrt_lab.types import Detections


def scored(
    true: list[int], *, scores: list[float] | None = None, positives: int = 4, name: str = "part"
) -> ScoredClass:
    """One class from a list of 1 for a true and 0 for a false detection, most confident first."""
    values = scores if scores is not None else np.linspace(0.9, 0.1, len(true)).tolist()
    flags = np.array(true, bool).reshape(-1, 1)
    return ScoredClass(name, np.array(values, np.float32), flags, positives)


def brute_force(classes: tuple[ScoredClass, ...], confidence: float) -> tuple[float, float, float]:
    """Mean precision, recall and F1, by counting."""
    rates = []
    for each in classes:
        kept = [bool(flag) for flag, score in zip(each.is_true[:, 0], each.scores, strict=True) if score > confidence]
        true, false, missed = sum(kept), len(kept) - sum(kept), each.positives - sum(kept)
        precision = true / len(kept) if kept else 0.0
        rates.append((precision, true / each.positives, 2 * true / (2 * true + false + missed)))
    return tuple(float(np.mean(column)) for column in zip(*rates, strict=True))


classes_strategy = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 99)), max_size=12), min_size=1, max_size=3
).map(
    lambda classes: tuple(
        scored(
            [true for true, _ in sorted(each, key=lambda pair: -pair[1])],
            scores=sorted((level / 100 for _, level in each), reverse=True),
            positives=max(1, sum(true for true, _ in each)) + index,
            name=f"class {index}",
        )
        for index, each in enumerate(classes)
    )
)


@settings(max_examples=100)
@given(classes=classes_strategy, level=st.integers(0, 200))
def test_rates_are_what_counting_gives(classes, level):
    confidence = float(np.float32(level / 200))
    point = Curves.from_classes(classes).at(confidence)
    np.testing.assert_allclose(
        (point.precision, point.recall, point.f1), brute_force(classes, np.float32(confidence)), atol=1e-12
    )


@settings(max_examples=100)
@given(classes=classes_strategy)
def test_best_is_the_best_of_all_points(classes):
    curves = Curves.from_classes(classes)
    best = curves.best()
    candidates = [0.0, *(float(score) for each in classes for score in each.scores)]
    assert best.f1 >= max(brute_force(classes, candidate)[2] for candidate in candidates) - 1e-12
    assert 0 <= best.confidence <= 1


def test_curves_by_hand():
    curves = Curves.from_classes((scored([1, 1, 0, 1], scores=[0.8, 0.6, 0.4, 0.2]),))
    for confidence, precision, recall in (
        (0.9, 0, 0),
        (0.7, 1, 0.25),
        (0.5, 1, 0.5),
        (0.3, 2 / 3, 0.5),
        (0, 0.75, 0.75),
    ):
        point = curves.at(confidence)
        assert (point.precision, point.recall) == pytest.approx((precision, recall))
    assert curves.confidence[[0, -1]].tolist() == [0, 1]
    index = 300  # confidence 0.3
    assert curves.precision[0, index] == pytest.approx(2 / 3)
    assert curves.f1[0, index] == pytest.approx(2 * 2 / (3 + 4))


def test_a_score_at_the_threshold_is_not_kept_as_in_the_detector():
    curves = Curves.from_classes((scored([1], scores=[0.9], positives=1),))
    assert curves.at(0.9).recall == 0
    assert curves.at(0.8999).recall == 1


def test_best_confidence_has_room_on_either_side():
    # One true detection at 0.8 and one false at 0.4: every threshold between them is right.
    best = Curves.from_classes((scored([1, 0], scores=[0.8, 0.4], positives=1),)).best()
    assert best.f1 == 1
    assert best.confidence == pytest.approx(0.6, abs=0.002)


def test_a_class_without_detections_pulls_the_mean_down():
    curves = Curves.from_classes((scored([1], scores=[0.9], positives=1), scored([], positives=3, name="other")))
    assert curves.at(0.5).recall == 0.5
    assert curves.precision_at_recall[1].tolist() == [0.0] * 101


def test_precision_at_recall_never_rises():
    curves = Curves.from_classes((scored([0, 1, 0, 1, 1, 0, 1]),))
    assert (np.diff(curves.precision_at_recall[0]) <= 0).all()
    assert curves.precision_at_recall[0, 0] == pytest.approx(3 / 5)  # reached at the fifth


def test_filtering_before_or_after_evaluating_is_the_same():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 80, (30, 2))
    xyxy = np.concatenate((corner, corner + 20), axis=1).astype(np.float32)
    truth = GroundTruth(xyxy[:10], rng.integers(0, 2, 10), (100, 100))
    found = Detections(
        xyxy + rng.normal(0, 2, (30, 4)).astype(np.float32), rng.random(30, np.float32), np.arange(30) % 2
    )
    curves = evaluate_detections([truth], [found], class_names=("a", "b")).curves
    for confidence in (0.2, 0.5, 0.8):
        kept = found.select(found.scores > confidence)
        filtered = evaluate_detections([truth], [kept], class_names=("a", "b")).curves.at(0)
        point = curves.at(confidence)
        assert (point.precision, point.recall, point.f1) == (filtered.precision, filtered.recall, filtered.f1)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_a_confidence_out_of_range_is_refused(confidence):
    with pytest.raises(InputError, match="confidence threshold is out of range"):
        Curves.from_classes((scored([1]),)).at(confidence)
