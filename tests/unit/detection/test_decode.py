from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.nms import non_max_suppression

from yolotrt_lab.detection.decode import OutputLayout, decode, detect_layout, fits_layout
from yolotrt_lab.detection.nms import class_aware_nms
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Detections

BASED, FREE, END = OutputLayout.ANCHOR_BASED, OutputLayout.ANCHOR_FREE, OutputLayout.END_TO_END


def anchor_free_output(seed: int, *, batch: int = 1, classes: int = 3, anchors: int = 210) -> np.ndarray:
    """Whole-pixel boxes, so that Ultralytics' per-class coordinate offset loses nothing."""
    rng = np.random.default_rng(seed)
    output = np.empty((batch, 4 + classes, anchors), np.float32)
    output[:, :2] = rng.integers(20, 100, (batch, 2, anchors))
    output[:, 2:4] = 2 * rng.integers(5, 40, (batch, 2, anchors))
    output[:, 4:] = rng.random((batch, classes, anchors)) ** 4
    return output


def anchor_based_output(seed: int, *, batch: int = 1, classes: int = 3, anchors: int = 210) -> np.ndarray:
    free = anchor_free_output(seed, batch=batch, classes=classes, anchors=anchors).transpose(0, 2, 1)
    objectness = np.random.default_rng(seed + 1).random((batch, anchors, 1), np.float32)
    return np.concatenate((free[..., :4], objectness, free[..., 4:] ** 0.25), axis=2)


def anchor_free_from_anchor_based(output: np.ndarray) -> np.ndarray:
    merged = np.concatenate((output[..., :4], output[..., 5:] * output[..., 4:5]), axis=2)
    return np.ascontiguousarray(merged.transpose(0, 2, 1))


def rows(found: Detections) -> np.ndarray:
    """All of a Detections as sorted rows, because equal scores may come in any order."""
    table = np.column_stack((found.xyxy, found.scores, found.class_ids))
    return table[np.lexsort(table.T)]


def ultralytics_rows(output: np.ndarray, **options) -> list[np.ndarray]:
    found = non_max_suppression(torch.from_numpy(output.copy()), **options)
    return [each.numpy()[np.lexsort(each.numpy().T)] for each in found]


@pytest.mark.parametrize(
    ("shape", "num_classes", "layout"),
    [
        ((1, 84, 8400), 80, FREE),
        ((None, 7, 8400), 3, FREE),
        ((1, 5, 8400), 1, FREE),
        ((4, 6, 8400), 2, FREE),
        ((1, 84, None), 80, FREE),
        ((1, 7, 21), 3, FREE),  # 32 x 32
        ((1, 25200, 85), 80, BASED),
        ((1, 25200, 8), 3, BASED),
        ((None, 25200, 6), 1, BASED),  # one class: the number of anchors decides
        ((1, 1008, 6), 1, BASED),  # 128 x 128
        ((1, 102000, 6), 1, BASED),  # 1280 x 1280 with a fourth stride
        ((1, 300, 6), 80, END),
        ((1, 300, 6), 3, END),
        ((1, 300, 6), 1, END),
        ((None, 100, 6), 1, END),
        ((1, 1000, 6), 1, END),
        ((1, 300, 6), 296, END),  # 4 + 296 = 300, but six anchors are no grid
    ],
)
def test_layout_is_read_off_the_shape(shape, num_classes, layout):
    assert detect_layout(shape, num_classes=num_classes) is layout
    assert fits_layout(shape, layout, num_classes=num_classes)


@pytest.mark.parametrize(
    ("shape", "num_classes", "message"),
    [
        ((1, 1000), 1000, "a classifier"),
        ((1, 512, 7, 7), 3, "a classifier"),
        ((1, 3, 80, 80, 85), 80, "undecoded feature maps"),
        ((1, 84, 8400), 3, "has 80 classes"),
        ((1, 116, 8400), 80, "112 classes (or extra channels for masks"),
        ((1, 25200, 85), 3, "has 80 classes"),
        ((1, 8400, 84), 80, "anchor-free with 80, its output is transposed"),
        ((1, 2, 3), 80, "Use a detection model"),
        ((), 3, "a classifier"),
        ((1, None, None), 3, "Use a detection model"),
    ],
)
def test_other_shapes_are_refused_with_the_likely_reason(shape, num_classes, message):
    with pytest.raises(InputError, match="is not that of a YOLO detector") as caught:
        detect_layout(shape, num_classes=num_classes)
    assert message in caught.value.fix
    assert str(shape) == caught.value.got
    for supported in ("(batch, anchors, 5 + classes)", "(batch, 4 + classes, anchors)", "(batch, kept, 6)"):
        assert supported in caught.value.expected


@pytest.mark.parametrize("shape", [(1, 63, 6), (1, 630, 6), (1, 5000, 6), (1, None, 6)])
def test_an_ambiguous_shape_is_refused_and_not_guessed(shape):
    with pytest.raises(InputError, match=r"ambiguous|is not that") as caught:
        detect_layout(shape, num_classes=1)
    assert str(shape) in caught.value.what


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("conf_threshold", [0.001, 0.25, 0.9])
@pytest.mark.parametrize("classes", [1, 2, 3, 80])
def test_anchor_free_with_nms_is_ultralytics(classes, conf_threshold, multi_label):
    output = anchor_free_output(classes, batch=2, classes=classes)
    expected = ultralytics_rows(
        output, conf_thres=conf_threshold, iou_thres=0.6, multi_label=multi_label, max_det=50_000, nc=classes
    )
    found = decode(output, layout=FREE, conf_threshold=conf_threshold, multi_label=multi_label)
    assert len(found) == 2
    for each, rows_expected in zip(found, expected, strict=True):
        np.testing.assert_array_equal(rows(class_aware_nms(each, iou_threshold=0.6)), rows_expected)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("conf_threshold", [0.001, 0.25, 0.9])
@pytest.mark.parametrize("classes", [1, 2, 3, 80])
def test_anchor_based_is_anchor_free_with_objectness_multiplied_in(classes, conf_threshold, multi_label):
    output = anchor_based_output(classes, batch=2, classes=classes)
    options = {"conf_threshold": conf_threshold, "multi_label": multi_label}
    found = decode(output, layout=BASED, **options)
    expected = decode(anchor_free_from_anchor_based(output), layout=FREE, **options)
    assert sum(map(len, expected)) > 0
    for each, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(rows(each), rows(other))


def test_end_to_end_is_ultralytics():
    rng = np.random.default_rng(0)
    top_left = rng.uniform(0, 500, (2, 300, 2))
    columns = (top_left, top_left + 50, rng.random((2, 300, 1)), rng.integers(0, 80, (2, 300, 1)))
    output = np.concatenate(columns, axis=2).astype(np.float32)
    expected = ultralytics_rows(output, conf_thres=0.25)
    for each, rows_expected in zip(decode(output, layout=END, conf_threshold=0.25), expected, strict=True):
        np.testing.assert_array_equal(rows(each), rows_expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(1, 5), conf_threshold=st.floats(0, 1))
def test_every_candidate_above_the_threshold_and_no_other(seed, classes, conf_threshold):
    output = anchor_free_output(seed, classes=classes, anchors=42)
    best = output[0, 4:].max(axis=0)
    found = decode(output, layout=FREE, conf_threshold=conf_threshold)[0]
    wanted = np.flatnonzero(best > np.float32(conf_threshold))
    np.testing.assert_array_equal(found.scores, best[wanted])
    np.testing.assert_array_equal(found.class_ids, output[0, 4:, wanted].argmax(axis=1))
    np.testing.assert_array_equal((found.xyxy[:, :2] + found.xyxy[:, 2:]) / 2, output[0, :2, wanted])


@pytest.mark.parametrize("layout", [FREE, BASED])
def test_a_score_at_the_threshold_is_not_above_it(layout):
    output = np.array([10, 20, 4, 6, 0.25, 1.0], np.float32)
    shaped = output[:5].reshape(1, 5, 1) if layout is FREE else output.reshape(1, 1, 6)
    assert len(decode(shaped, layout=layout, conf_threshold=0.25)[0]) == 0
    assert len(decode(shaped, layout=layout, conf_threshold=0.2499)[0]) == 1


def test_equal_classes_go_to_the_first_and_multi_label_to_both():
    output = np.array([10, 20, 4, 6, 0.1, 0.5, 0.5], np.float32).reshape(1, 7, 1)
    assert decode(output, layout=FREE, conf_threshold=0.25)[0].class_ids.tolist() == [1]
    assert decode(output, layout=FREE, conf_threshold=0.25, multi_label=True)[0].class_ids.tolist() == [1, 2]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(("layout", "make"), [(FREE, anchor_free_output), (BASED, anchor_based_output)])
def test_half_precision_decodes_like_the_same_numbers_in_single(layout, make, multi_label):
    half = make(5, classes=4, anchors=420).astype(np.float16)
    options = {"layout": layout, "conf_threshold": 0.3, "multi_label": multi_label}
    found, expected = decode(half, **options)[0], decode(half.astype(np.float32), **options)[0]
    assert len(expected) > 10
    np.testing.assert_array_equal(rows(found), rows(expected))
    assert found.xyxy.dtype == found.scores.dtype == np.float32
    assert found.class_ids.dtype == np.int64


@pytest.mark.parametrize(("layout", "make"), [(FREE, anchor_free_output), (BASED, anchor_based_output)])
def test_what_comes_back_shares_no_memory_with_the_output(layout, make):
    output = make(6)
    found = decode(output, layout=layout, conf_threshold=0.1)[0]
    before = found.xyxy.copy(), found.scores.copy()
    output[:] = 0  # a backend may reuse its output buffer
    np.testing.assert_array_equal(found.xyxy, before[0])
    np.testing.assert_array_equal(found.scores, before[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 3, 4, 6])
@pytest.mark.parametrize(("layout", "make"), [(FREE, anchor_free_output), (BASED, anchor_based_output)])
def test_nan_and_infinity_anywhere_are_reported(layout, make, channel, bad, dtype):
    output = make(7).astype(dtype)
    # Candidate 11 scores nothing, so only a full check sees it.
    if layout is FREE:
        output[0, 4:, 11], output[0, channel, 11] = 0, bad
    else:
        output[0, 11, 4:], output[0, 11, channel] = 0, bad
    with pytest.raises(InputError, match="holds 1 values that are NaN or infinite") as caught:
        decode(output, layout=layout, conf_threshold=0.25)
    assert ("1 NaN" if np.isnan(bad) else "1 infinite") in caught.value.got
    assert "FP32" in caught.value.fix


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shift", [0.0, -20.0])
def test_logits_are_not_taken_for_probabilities(shift, dtype):
    output = anchor_free_output(8)
    output[:, 4:] = 10 * output[:, 4:] - 2 + shift  # in one case all far below 0, as without an object
    with pytest.raises(InputError, match="not probabilities") as caught:
        decode(output.astype(dtype), layout=FREE, conf_threshold=0.25)
    assert "sigmoid" in caught.value.fix


def test_logits_in_anchor_based_columns_are_not_taken_for_probabilities():
    for column in (4, 5):
        output = anchor_based_output(8)
        output[..., column] = 10 * output[..., column] - 2
        with pytest.raises(InputError, match="not probabilities"):
            decode(output, layout=BASED, conf_threshold=0.25)


def test_an_overshoot_of_one_quantization_step_is_accepted():
    output = anchor_free_output(8)
    output[0, 4, 0] = 1.008
    assert decode(output, layout=FREE, conf_threshold=0.25)[0].scores.max() == np.float32(1.008)


@pytest.mark.parametrize(
    ("output", "layout"),
    [
        (np.zeros((7, 8400), np.float32), FREE),
        (np.zeros((1, 4, 8400), np.float32), FREE),
        (np.zeros((1, 25200, 5), np.float32), BASED),
        (np.zeros((1, 300, 7), np.float32), END),
        (np.zeros((1, 7, 8400), np.int32), FREE),
    ],
)
def test_a_shape_that_does_not_fit_the_layout_is_refused(output, layout):
    with pytest.raises(InputError, match=f"cannot be decoded as {layout}") as caught:
        decode(output, layout=layout, conf_threshold=0.25)
    assert str(output.shape) in caught.value.got


def test_one_class_with_objectness_read_as_end_to_end_is_noticed():
    output = anchor_based_output(3, classes=1)
    with pytest.raises(InputError, match="sixth column") as caught:
        decode(output, layout=END, conf_threshold=0.25)
    assert "anchor_based" in caught.value.fix


@pytest.mark.parametrize(
    ("layout", "shape"), [(FREE, (2, 7, 0)), (BASED, (2, 0, 8)), (END, (2, 0, 6)), (FREE, (0, 7, 21))]
)
def test_no_candidates_and_no_images(layout, shape):
    found = decode(np.zeros(shape, np.float32), layout=layout, conf_threshold=0.25)
    assert [len(each) for each in found] == [0] * shape[0]


def _no_objectness(output):
    return np.concatenate((output[..., :4], output[..., 5:]), axis=2).transpose(0, 2, 1)


def _objectness_only(output):
    scores = output[..., 4:5] * (output[..., 5:] == output[..., 5:].max(axis=2, keepdims=True))
    return np.concatenate((output[..., :4], scores), axis=2).transpose(0, 2, 1)


def _corner_instead_of_center(output):
    shifted = np.concatenate((output[..., :2] + output[..., 2:4] / 2, output[..., 2:4]), axis=2)
    return anchor_free_from_anchor_based(np.concatenate((shifted, output[..., 4:]), axis=2))


def _swapped_width_and_height(output):
    return anchor_free_from_anchor_based(output[..., [0, 1, 3, 2, *range(4, output.shape[2])]])


@pytest.mark.parametrize(
    "wrong", [_no_objectness, _objectness_only, _corner_instead_of_center, _swapped_width_and_height]
)
def test_the_inputs_tell_wrong_decoders_apart(wrong):
    output = anchor_based_output(3)
    right = rows(decode(output, layout=BASED, conf_threshold=0.25)[0])
    np.testing.assert_array_equal(
        right, rows(decode(anchor_free_from_anchor_based(output), layout=FREE, conf_threshold=0.25)[0])
    )
    assert not np.array_equal(right, rows(decode(wrong(output), layout=FREE, conf_threshold=0.25)[0]))
