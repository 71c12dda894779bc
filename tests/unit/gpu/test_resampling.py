"""The tables against OpenCV itself, over sizes that shrink, grow, halve and do neither."""

import cv2
import numpy as np
import pytest

from yolotrt_lab.detection.letterbox import LetterboxTransform
from yolotrt_lab.gpu.resampling import WEIGHT_ONE, axis_table, letterbox_tables, resize_by_tables

SIZES = [(480, 640), (1080, 1920), (37, 53), (5, 7), (1, 1), (1, 300), (320, 320), (160, 160), (333, 500), (719, 1279)]


@pytest.mark.parametrize("image_hw", SIZES)
@pytest.mark.parametrize("input_hw", [(160, 160), (96, 224)])
def test_the_picture_is_opencvs_to_the_bit(image_hw, input_hw):
    image = np.random.default_rng(image_hw[0]).integers(0, 256, (*image_hw, 3), dtype=np.uint8)
    transform = LetterboxTransform.fit(image_hw, input_hw=input_hw)
    expected = cv2.resize(image, transform.resized_hw[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize_by_tables(image, transform), expected)


@pytest.mark.parametrize("horizontal", [True, False])
@pytest.mark.parametrize(("size", "resized"), [(640, 427), (7, 90), (1, 5), (5, 1), (64, 64)])
def test_places_lie_in_the_image_and_weights_add_up(size, resized, horizontal):
    first, second, one, other = axis_table(size, resized, horizontal=horizontal)
    assert first.min() >= 0
    assert second.max() < size
    assert set(second - first) <= {0, 1}
    assert np.abs(one + other - WEIGHT_ONE).max() <= 1


def test_tables_have_the_size_of_the_picture_in_the_input():
    transform = LetterboxTransform.fit((30, 50), input_hw=(64, 80))
    columns, rows = letterbox_tables(transform)
    assert (rows.shape[1], columns.shape[1]) == transform.resized_hw == (48, 80)
