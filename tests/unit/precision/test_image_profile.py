from pathlib import Path

import cv2
import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.image_profile import mean_luma, profile_images


@pytest.fixture
def images(tmp_path):
    """Three pictures 80 wide and 40 high, of grey 0, 51 and 102, with one, two and no objects."""
    labels = ["0 0.5 0.5 0.25 0.5\n", "0 0.5 0.5 0.5 0.5\n1 0.25 0.5 0.1 0.8\n", None]
    paths = []
    for index, text in enumerate(labels):
        path = tmp_path / "images" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((40, 80, 3), 51 * index, np.uint8))
        paths.append(path)
        if text is not None:
            (tmp_path / "labels").mkdir(exist_ok=True)
            (tmp_path / "labels" / f"{index}.txt").write_text(text)
    return paths


def test_what_is_measured(images):
    steps = []
    found = profile_images(images, input_hw=(160, 160), num_classes=3, on_progress=lambda *step: steps.append(step))
    assert found.image_count == 3
    assert found.object_counts.tolist() == [2, 1, 0]
    assert found.class_image_counts.tolist() == [2, 1, 0]
    np.testing.assert_allclose(found.brightness, [0.0, 0.2, 0.4], atol=1e-6)
    np.testing.assert_allclose(found.image_aspect, 2.0)
    # 160 / 80 pixels of the input for one of the picture: boxes of 20 x 20, 40 x 20 and 8 x 32 become twice as large.
    np.testing.assert_allclose(found.object_px, [40.0, np.sqrt(80 * 40), 32.0], rtol=1e-6)
    np.testing.assert_allclose(found.object_aspect, [1.0, 2.0, 0.25], rtol=1e-6)
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_without_labels(images):
    found = profile_images(images, input_hw=(160, 160), num_classes=None)
    assert len(found.object_counts) == len(found.object_px) == 0
    assert len(found.brightness) == len(found.image_aspect) == 3


def test_a_sample_is_enough_for_the_brightness(images):
    found = profile_images(images, input_hw=(160, 160), num_classes=3, brightness_limit=2)
    assert (len(found.brightness), len(found.image_aspect)) == (2, 3)


@pytest.mark.parametrize(("color", "luma"), [((255, 255, 255), 1.0), ((255, 0, 0), 0.114), ((0, 255, 0), 0.587)])
def test_luma_is_opencvs(color, luma):
    picture = np.full((16, 16, 3), color, np.uint8)
    assert mean_luma(picture) == pytest.approx(luma)
    assert mean_luma(picture) == pytest.approx(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).mean() / 255, abs=2e-3)


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="no images"):
        profile_images([], input_hw=(32, 32), num_classes=1)
    with pytest.raises(InputError, match=r"gone\.png"):
        profile_images([Path(tmp_path / "gone.png")], input_hw=(32, 32), num_classes=1)
