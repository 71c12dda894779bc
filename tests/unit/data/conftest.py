"""Tiny data sets that tests may break."""

from pathlib import Path

import cv2
import numpy as np
import pytest


def draw_image(path: Path, *, seed: int = 0, image_hw: tuple[int, int] = (48, 64)) -> Path:
    """Write a blotchy picture that differs clearly between seeds."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = cv2.resize(cells, image_hw[::-1], interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def draw():
    return draw_image


@pytest.fixture
def dataset_root(tmp_path):
    """Four training and two validation images with sound labels for two classes."""
    root = tmp_path / "set"
    seed = 0
    for split, count in (("train", 4), ("val", 2)):
        for index in range(count):
            draw_image(root / "images" / split / f"{split}{index}.png", seed=(seed := seed + 1))
            labels = root / "labels" / split / f"{split}{index}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text(f"{index % 2} 0.5 0.5 0.25 0.5\n1 0.25 0.25 0.125 0.125\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [nut, bolt]\n")
    return root
