from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolotrt_lab.detection.decode import OutputLayout
from yolotrt_lab.errors import InputError
from yolotrt_lab.evaluation.tensor_agreement import compare_tensors, compare_yolo_outputs


def yolo_output(seed: int = 0, *, batch: int = 1, classes: int = 4, anchors: int = 210) -> np.ndarray:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 640, (batch, 4, anchors))
    return np.concatenate((boxes, rng.random((batch, classes, anchors)) ** 6), axis=1).astype(np.float32)


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), size=st.integers(1, 50), noise=st.floats(1e-6, 10))
def test_measures_are_those_of_the_formulas(seed, size, noise):
    rng = np.random.default_rng(seed)
    expected = rng.standard_normal(size)
    actual = expected + noise * rng.standard_normal(size)
    agreement = compare_tensors(actual, expected)
    assert agreement.max_abs == np.abs(actual - expected).max()
    assert agreement.relative_l2 == pytest.approx(np.sqrt(((actual - expected) ** 2).sum() / (expected**2).sum()))
    cosine = (actual * expected).sum() / np.sqrt((actual**2).sum() * (expected**2).sum())
    assert agreement.cosine == pytest.approx(cosine, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_equal_tensors_agree_wholly(dtype):
    tensor = yolo_output().astype(dtype)
    agreement = compare_tensors(tensor, tensor)
    assert (agreement.shape_ok, agreement.dtype_ok, agreement.finite) == (True, True, True)
    assert (agreement.max_abs, agreement.relative_l2) == (0, 0)
    assert agreement.cosine == pytest.approx(1, abs=1e-12)
    assert agreement.causes == ()


def test_half_precision_is_measured_without_overflow():
    # In float16 the squared norm of these would be infinite.
    tensor = np.full((1000,), 600, np.float16)
    tensor[0] = 601
    assert compare_tensors(tensor, np.full((1000,), 600, np.float16)).max_abs == 1


def test_a_scaled_tensor_passes_the_cosine_and_not_the_norm():
    expected = yolo_output()
    agreement = compare_tensors(1.5 * expected, expected, dtype="float32")
    assert agreement.cosine > 0.99999
    assert agreement.relative_l2 == pytest.approx(0.5, rel=1e-6)
    assert "1.5 times" in agreement.causes[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_single_bad_value_is_counted_and_not_averaged_away(bad):
    expected, actual = yolo_output(), yolo_output()
    actual[0, 2, 7] = bad
    agreement = compare_tensors(actual, expected)
    assert not agreement.finite
    assert agreement.nonfinite_count == 1
    assert math.isnan(agreement.relative_l2)
    assert math.isnan(agreement.cosine)


def test_other_shapes_are_not_broadcast():
    agreement = compare_tensors(np.ones((1, 4)), np.ones((3, 4)))
    assert not agreement.shape_ok
    assert math.isnan(agreement.relative_l2)
    assert agreement.causes == ("the batch holds 1 instead of 3 images",)


def test_dtype_is_that_of_the_reference_or_the_one_asked_for():
    tensor = yolo_output()
    half = tensor.astype(np.float16)
    assert not compare_tensors(half, tensor).dtype_ok
    assert compare_tensors(half, tensor, dtype="float16").dtype_ok
    assert not compare_tensors(np.array(["a"]), np.ones(1)).finite


@pytest.mark.parametrize(
    ("actual", "expected", "relative_l2", "cosine"),
    [([0, 0], [0, 0], 0, 1), ([1, 0], [0, 0], math.inf, 0), ([0, 0], [1, 0], 1, 0), ([], [], 0, 1)],
)
def test_zero_and_empty_tensors(actual, expected, relative_l2, cosine):
    agreement = compare_tensors(np.array(actual, float), np.array(expected, float))
    assert (agreement.relative_l2, agreement.cosine) == (relative_l2, cosine)


@pytest.mark.parametrize("reference", [np.array([1.0, np.nan]), np.array(["a", "b"])])
def test_a_broken_reference_is_refused(reference):
    with pytest.raises(InputError, match="reference output is unusable"):
        compare_tensors(np.ones(2), reference)


def test_scores_are_not_hidden_by_boxes():
    expected, actual = yolo_output(), yolo_output()
    actual[:, 4:] = 0
    assert compare_tensors(actual, expected).relative_l2 < 1e-2  # together they look fine
    apart = compare_yolo_outputs(actual, expected, num_classes=4)
    assert apart.boxes.relative_l2 == 0
    assert apart.scores.relative_l2 == 1
    assert "every value is 0" in apart.scores.causes[0]
    assert list(apart.as_tensors("engine")) == ["engine boxes", "engine scores"]


@pytest.mark.parametrize("layout", [OutputLayout.ANCHOR_FREE, OutputLayout.ANCHOR_BASED])
def test_boxes_and_scores_are_found_in_either_layout(layout):
    expected = yolo_output(classes=5)  # for four classes and objectness, if anchor-based
    if layout is OutputLayout.ANCHOR_BASED:
        expected = np.ascontiguousarray(expected.transpose(0, 2, 1))
    classes = 4 if layout is OutputLayout.ANCHOR_BASED else 5
    channels = -1 if layout is OutputLayout.ANCHOR_BASED else 1
    for channel in range(9):
        actual = expected.copy()
        np.moveaxis(actual, channels, 0)[channel] += 0.5
        apart = compare_yolo_outputs(actual, expected, num_classes=classes, layout=layout)
        assert (apart.boxes.max_abs > 0, apart.scores.max_abs > 0) == (channel < 4, channel >= 4)


@pytest.mark.parametrize(
    ("mistake", "part", "cause"),
    [
        (lambda o: o[:, [0, 1, 3, 2, 4, 5, 6, 7]], "boxes", "width and height are swapped"),
        (lambda o: o[:, [0, 1, 2, 3, 7, 6, 5, 4]], "scores", "the classes are in another order"),
        (lambda o: np.concatenate((o[:, :4] / 640, o[:, 4:]), axis=1), "boxes", "0.001563 times"),
        (lambda o: o.transpose(0, 2, 1).reshape(o.shape), "boxes", "transposed layout"),
        (lambda o: o[::-1], "boxes", "wrong image"),
    ],
)
def test_mistakes_are_named_where_they_show(mistake, part, cause):
    expected = yolo_output(batch=3)
    agreement = compare_yolo_outputs(mistake(expected), expected, num_classes=4)
    assert any(cause in each for each in getattr(agreement, part).causes)


def test_other_shapes_and_nan_are_reported_for_both_parts():
    expected = yolo_output()
    nan = expected.copy()
    nan[0, 0, 0] = np.nan
    for actual, flag in ((expected.transpose(0, 2, 1), "shape_ok"), (nan, "finite")):
        agreement = compare_yolo_outputs(actual, expected, num_classes=4)
        assert not getattr(agreement.boxes, flag)
        assert not getattr(agreement.scores, flag)


def end_to_end_output(seed: int = 0) -> np.ndarray:
    """Twenty clear rows and a tail of noise below 0.05."""
    rng = np.random.default_rng(seed)
    corner = np.stack(np.meshgrid(np.arange(5), np.arange(4)), axis=-1).reshape(-1, 2) * 100.0
    clear = np.column_stack((corner, corner + 60, np.linspace(0.95, 0.2, 20), np.arange(20) % 3))
    tail_corner = rng.uniform(0, 500, (280, 2))
    tail = np.column_stack((tail_corner, tail_corner + 60, rng.uniform(0, 0.04, 280), rng.integers(0, 3, 280)))
    return np.concatenate((clear, tail))[None].astype(np.float32)


def test_end_to_end_rows_are_compared_whatever_their_order_and_tail():
    expected = end_to_end_output()
    actual = expected.copy()
    actual[0, :20] = actual[0, 19::-1]
    actual[0, 20:] = end_to_end_output(1)[0, 20:]
    agreement = compare_yolo_outputs(actual, expected, num_classes=3)
    assert (agreement.boxes.max_abs, agreement.scores.max_abs) == (0, 0)
    assert agreement.boxes.actual_shape == (20, 4)


@pytest.mark.parametrize(
    ("row", "part"), [((0, 0, 60, 60, 0.5, 0), "scores"), ((9, 0, 60, 60, 0.95, 0), "boxes"), ((0,) * 6, "scores")]
)
def test_end_to_end_differences_are_seen(row, part):
    expected = end_to_end_output()
    actual = expected.copy()
    actual[0, 0] = row
    agreement = compare_yolo_outputs(actual, expected, num_classes=3)
    assert getattr(agreement, part).relative_l2 > 0.003
    extra = compare_yolo_outputs(expected, actual, num_classes=3)
    assert getattr(extra, part).relative_l2 > 0.003


def test_an_end_to_end_row_of_another_class_is_no_partner():
    expected = end_to_end_output()
    actual = expected.copy()
    actual[0, 0, 5] = 2
    assert compare_yolo_outputs(actual, expected, num_classes=3).scores.relative_l2 > 0.1


def test_an_output_of_unknown_layout_is_refused():
    with pytest.raises(InputError, match="not that of a YOLO detector"):
        compare_yolo_outputs(yolo_output(), yolo_output(), num_classes=9)
