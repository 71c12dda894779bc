from pathlib import Path

import cv2
import numpy as np
import pytest

from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.calibration_images import ImageBatches, pick_images

PATHS = [Path(f"{index:03}.jpg") for index in range(50)]


def test_the_draw_is_random_but_repeatable():
    chosen = pick_images(PATHS, count=10)
    assert len(set(chosen)) == 10
    assert chosen == pick_images(reversed(PATHS), count=10)
    assert chosen != pick_images(PATHS, count=10, seed=1)
    assert chosen != tuple(PATHS[:10])


@pytest.mark.parametrize("count", [50, 500])
def test_few_images_are_all_taken(count):
    assert pick_images(PATHS, count=count) == tuple(PATHS)


def test_nothing_to_draw():
    with pytest.raises(InputError, match="no calibration images"):
        pick_images([], count=5)
    with pytest.raises(InputError, match="at least 1"):
        pick_images(PATHS, count=0)


def test_images_come_as_at_inference(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (20 + index, 40, 3), dtype=np.uint8) for index in range(3)]
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path, picture in zip(paths, pictures, strict=True):
        cv2.imwrite(str(path), picture)
    batches = ImageBatches(paths, input_hw=(32, 64))
    assert len(batches) == 3
    for _ in range(2):  # can be walked through again
        for batch, picture in zip(batches, pictures, strict=True):
            np.testing.assert_array_equal(batch, preprocess(picture, input_hw=(32, 64))[0])


def test_unreadable_images_are_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        list(ImageBatches([tmp_path / "broken.jpg"], input_hw=(32, 32)))
