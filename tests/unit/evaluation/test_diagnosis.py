from __future__ import annotations

import numpy as np
import pytest

from yolotrt_lab.evaluation.diagnosis import class_order_causes, likely_box_causes, likely_causes, shape_causes


def probabilities(shape: tuple[int, ...] = (2, 5, 40), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) ** 2


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _poor_copy(e: np.ndarray) -> np.ndarray:
    copied = np.zeros(e.size)
    copied[: e.size // 4] = e.ravel()[: e.size // 4]
    return copied.reshape(e.shape)


def _other_layout(e: np.ndarray) -> np.ndarray:
    return e.transpose(0, 2, 1).reshape(e.shape)


@pytest.mark.parametrize(
    ("mistake", "cause"),
    [
        (lambda e: 255 * e, "255 times the expected"),
        (lambda e: e / 255, "0.0039"),
        (lambda e: e + 80, "shifted by 80"),
        (logit, "the last sigmoid is missing"),
        (sigmoid, "the sigmoid is applied twice"),
        (np.zeros_like, "every value is 0: the output was not copied back"),
        (lambda e: np.full_like(e, -7.5), "every value is -7.5"),
        (lambda e: e[::-1], "results go with the wrong image"),
        (_poor_copy, "the last 75% of the values are 0"),
        (_other_layout, "rows and columns are mixed up"),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_each_mistake_is_named_and_no_other(mistake, cause, noise):
    expected = probabilities().clip(0.01, 0.99)
    # As another precision would have computed it, before the mistake.
    blurred = (expected + noise * np.random.default_rng(1).standard_normal(expected.shape)).clip(0.005, 0.995)
    actual = mistake(blurred)
    causes = likely_causes(actual, expected)
    assert len(causes) == 1
    assert cause in causes[0]


def test_swapped_colors_are_seen_in_an_input():
    image = np.random.default_rng(0).random((2, 3, 8, 9))
    for axis, tensor in ((1, image), (3, np.moveaxis(image, 1, 3))):
        assert likely_causes(np.flip(tensor, axis), tensor) == (
            f"axis {axis} is in reverse order: blue and red are swapped (BGR for RGB)",
        )


def test_three_classes_are_not_taken_for_three_colors():
    scores = probabilities((1, 3, 50))
    assert not any("BGR" in cause for cause in likely_causes(scores[:, ::-1], scores))


@pytest.mark.parametrize("size", [1e-6, 0.01, 0.3])
def test_noise_has_no_single_cause(size):
    expected = probabilities()
    actual = expected + size * np.random.default_rng(2).standard_normal(expected.shape)
    assert likely_causes(actual, expected) == ()


def test_no_difference_has_no_cause():
    expected = probabilities()
    assert likely_causes(expected, expected) == ()
    assert likely_causes(np.array([5.0]), np.array([1.0])) == ()  # one number fits any story


BOXES = np.random.default_rng(3).uniform(20, 600, (50, 4))


@pytest.mark.parametrize(
    ("mistake", "cause"),
    [
        (lambda b: b[:, [0, 1, 3, 2]], "width and height are swapped"),
        (lambda b: b[:, [1, 0, 3, 2]], "x and y are swapped"),
        (lambda b: np.hstack((b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)), "boxes are corners (xyxy)"),
        (lambda b: np.hstack((b[:, :2] - b[:, 2:] / 2, b[:, 2:])), "boxes start at their corner (xywh)"),
        (lambda b: np.hstack(((b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2])), "converted to corners twice"),
    ],
)
def test_each_box_mistake_is_named_and_no_other(mistake, cause):
    causes = likely_box_causes(mistake(BOXES), BOXES)
    assert len(causes) == 1
    assert cause in causes[0]


def test_moved_boxes_have_none_of_these_causes():
    assert likely_box_causes(BOXES + 3, BOXES) == ()
    assert likely_box_causes(BOXES, BOXES) == ()


def test_another_order_of_classes():
    scores = probabilities((80, 300))
    order = np.random.default_rng(0).permutation(80)
    assert class_order_causes(scores[order], scores) == ("the classes are in another order",)
    assert class_order_causes(scores, scores) == ()
    assert class_order_causes(2 * scores, scores) == ()


@pytest.mark.parametrize(
    ("actual", "expected", "cause"),
    [
        ((1, 8400, 7), (1, 7, 8400), "the axes are transposed"),
        ((1, 7, 8400), (4, 7, 8400), "the batch holds 1 instead of 4 images"),
        ((58800,), (1, 7, 8400), "not reshaped"),
        ((1, 7, 2100), (1, 7, 8400), "another image size"),
        ((1, 3), (1, 7, 8400), "another output"),
    ],
)
def test_shapes_say_what_happened(actual, expected, cause):
    causes = shape_causes(actual, expected)
    assert len(causes) == 1
    assert cause in causes[0]
