from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.data.augment import LetterBox
from ultralytics.utils.ops import scale_boxes

from yolotrt_lab.detection.letterbox import (
    LetterboxTransform,
    image_xyxy_from_input_xyxy,
    input_xyxy_from_image_xyxy,
    letterbox,
    preprocess,
)
from yolotrt_lab.errors import InputError

SIZES = [
    (1, 1),
    (1, 2),
    (1, 3000),
    (3000, 1),
    (2, 3),
    (7, 5),
    (31, 33),
    (99, 100),
    (100, 99),
    (375, 500),
    (333, 500),
    (427, 640),
    (480, 640),
    (640, 480),
    (640, 640),
    (639, 640),
    (641, 640),
    (639, 641),
    (720, 1280),
    (1080, 1921),
    (1001, 77),
]
INPUTS = [(640, 640), (320, 320), (32, 32), (384, 640), (640, 352), (33, 65)]


def random_image(image_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*image_hw, 3), np.uint8)


def ultralytics_letterbox(image: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    return LetterBox(new_shape=input_hw, auto=False, center=True)(image=image)


@pytest.mark.parametrize("input_hw", INPUTS)
@pytest.mark.parametrize("image_hw", SIZES)
def test_canvas_is_ultralytics_pixel_for_pixel(image_hw, input_hw):
    image = random_image(image_hw)
    canvas, transform = letterbox(image, input_hw=input_hw)
    assert canvas.shape == (*input_hw, 3)
    np.testing.assert_array_equal(canvas, ultralytics_letterbox(image, input_hw))
    assert (transform.image_hw, transform.input_hw) == (image_hw, input_hw)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 200), st.integers(1, 200))
def test_any_size_is_ultralytics_pixel_for_pixel(height, width, input_height, input_width):
    image = random_image((height, width))
    canvas, _ = letterbox(image, input_hw=(input_height, input_width))
    np.testing.assert_array_equal(canvas, ultralytics_letterbox(image, (input_height, input_width)))


@pytest.mark.parametrize("input_hw", INPUTS)
@pytest.mark.parametrize("image_hw", SIZES)
def test_way_back_is_ultralytics_scale_boxes(image_hw, input_hw):
    rng = np.random.default_rng(1)
    corners = np.sort(rng.uniform(-50, max(input_hw) + 50, (40, 2, 2)), axis=1)
    xyxy = corners.reshape(40, 4).astype(np.float32)
    transform = LetterboxTransform.fit(image_hw, input_hw=input_hw)
    expected = scale_boxes(input_hw, torch.from_numpy(xyxy.copy()), image_hw).numpy()
    actual = image_xyxy_from_input_xyxy(xyxy, transform)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=2e-7, atol=1e-4)


def _no_pad_subtraction(xyxy, transform):
    return xyxy / np.tile(transform.scale_xy, 2)


def _one_scale_for_both_axes(xyxy, transform):
    return (xyxy - np.tile(transform.pad_xy, 2)) / transform.scale


def _swapped_pad(xyxy, transform):
    return (xyxy - np.tile(transform.pad_xy[::-1], 2)) / np.tile(transform.scale_xy, 2)


def _unrounded_pad(xyxy, transform):
    pad_x = (transform.input_hw[1] - transform.resized_hw[1]) / 2
    pad_y = (transform.input_hw[0] - transform.resized_hw[0]) / 2
    return (xyxy - np.tile((pad_x, pad_y), 2)) / np.tile(transform.scale_xy, 2)


@pytest.mark.parametrize("wrong", [_no_pad_subtraction, _one_scale_for_both_axes, _swapped_pad, _unrounded_pad])
def test_the_sizes_above_tell_wrong_ways_back_apart(wrong):
    xyxy = np.array([[100.0, 120.0, 200.0, 300.0]])

    def largest_error(convert):
        errors = []
        for image_hw in SIZES:
            transform = LetterboxTransform.fit(image_hw, input_hw=(640, 640))
            expected = scale_boxes((640, 640), torch.from_numpy(xyxy.copy()), image_hw, xywh=False).numpy()
            limits = np.array([image_hw[1], image_hw[0]] * 2)
            errors.append(np.abs(np.clip(convert(xyxy, transform), 0, limits) - expected).max())
        return max(errors)

    assert largest_error(image_xyxy_from_input_xyxy) < 1e-9
    assert largest_error(wrong) > 0.1


@settings(max_examples=60)
@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(INPUTS), st.integers(0, 2**31))
def test_boxes_return_from_the_input_where_they_came_from(height, width, input_hw, seed):
    transform = LetterboxTransform.fit((height, width), input_hw=input_hw)
    corners = np.sort(np.random.default_rng(seed).random((5, 2, 2)), axis=1).reshape(5, 4)
    xyxy = corners * [width, height, width, height]
    inside = input_xyxy_from_image_xyxy(xyxy, transform)
    assert (inside >= -1e-9).all()
    assert (inside <= np.array([input_hw[1], input_hw[0]] * 2) + 1e-9).all()
    np.testing.assert_allclose(image_xyxy_from_input_xyxy(inside, transform), xyxy, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("image_hw", SIZES)
def test_preprocess_is_the_canvas_in_rgb_over_255(image_hw, dtype):
    image = random_image(image_hw)
    canvas, expected_transform = letterbox(image, input_hw=(320, 416))
    # Ultralytics' predictor: BGR to RGB, HWC to CHW, float, / 255.
    rgb = torch.from_numpy(np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1))[None])
    expected = (rgb.float() / 255).numpy().astype(dtype)
    out = np.full((1, 3, 320, 416), np.nan, dtype)
    actual, transform = preprocess(image, input_hw=(320, 416), out=out)
    assert actual is out
    assert transform == expected_transform
    np.testing.assert_array_equal(actual, expected)


def test_preprocess_overwrites_what_another_image_left_and_never_the_image():
    wide, tall = random_image((50, 200), 1), random_image((200, 50), 2)
    before = wide.copy()
    out = np.empty((1, 3, 96, 96), np.float32)
    for image in (wide, tall, wide, random_image((96, 96)), tall):
        preprocess(image, input_hw=(96, 96), out=out)
        fresh, _ = preprocess(image, input_hw=(96, 96))
        np.testing.assert_array_equal(out, fresh)
    np.testing.assert_array_equal(wide, before)


def test_channel_order_matters():
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[..., 0] = 255
    batch, _ = preprocess(blue, input_hw=(8, 8))
    assert [float(batch[0, channel].mean()) for channel in range(3)] == [0.0, 0.0, 1.0]


def test_pad_value_can_be_chosen():
    canvas, _ = letterbox(np.zeros((2, 4, 3), np.uint8), input_hw=(4, 4), pad_value=7)
    assert canvas[0, 0].tolist() == [7, 7, 7]


def test_zero_boxes_stay_zero_boxes():
    transform = LetterboxTransform.fit((10, 20), input_hw=(64, 64))
    assert image_xyxy_from_input_xyxy(np.zeros((0, 4), np.float32), transform).shape == (0, 4)
    assert input_xyxy_from_image_xyxy(np.zeros((0, 4), np.float32), transform).shape == (0, 4)


COLOR = np.zeros((6, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "got", "fix"),
    [
        (None, "NoneType", "None means it could not read"),
        ("a.jpg", "str", "cv2.imread"),
        (COLOR[..., 0].copy(), "grayscale", "COLOR_GRAY2BGR"),
        (COLOR[..., :1].copy(), "grayscale", "COLOR_GRAY2BGR"),
        (np.zeros((6, 8, 4), np.uint8), "four channels", "COLOR_BGRA2BGR"),
        (np.zeros((3, 6, 8), np.uint8), "channels first", "transpose(1, 2, 0)"),
        (np.zeros((2, 6, 8, 3), np.uint8), "(2, 6, 8, 3)", "one image at a time"),
        (np.zeros((6, 8, 2), np.uint8), "(6, 8, 2)", "one image at a time"),
        (COLOR.astype(np.float32), "float32", "astype(np.uint8)"),
        (COLOR.astype(np.uint16), "uint16", "astype(np.uint8)"),
        (COLOR[:0], "no pixels", "Check the crop"),
        (COLOR[:, :0], "no pixels", "Check the crop"),
        (COLOR[:, 2:5], "strided", "np.ascontiguousarray(image)"),
        (COLOR[:, :, ::-1], "strided", "np.ascontiguousarray(image)"),
    ],
)
def test_what_is_no_bgr_image_is_refused(image, got, fix):
    for function in (letterbox, preprocess):
        with pytest.raises(InputError) as caught:
            function(image, input_hw=(32, 32))
        assert got in caught.value.got
        assert fix in caught.value.fix
        assert "(height, width, 3)" in caught.value.expected


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 32, 32), np.float32),
        np.zeros((1, 3, 32, 64), np.float32),
        np.zeros((1, 3, 32, 32), np.float64),
        np.zeros((1, 3, 32, 64), np.float32)[..., ::2],
    ],
)
def test_an_output_array_that_does_not_fit_is_refused(out):
    with pytest.raises(InputError, match="does not fit") as caught:
        preprocess(COLOR, input_hw=(32, 32), out=out)
    assert "(1, 3, 32, 32)" in caught.value.expected


@pytest.mark.parametrize(("image_hw", "input_hw"), [((0, 5), (32, 32)), ((5, 5), (0, 32)), ((5, 5), (32, -1))])
def test_a_transform_without_pixels_is_refused(image_hw, input_hw):
    with pytest.raises(InputError, match="without pixels"):
        LetterboxTransform.fit(image_hw, input_hw=input_hw)
