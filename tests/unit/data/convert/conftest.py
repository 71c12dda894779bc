"""Images to convert labels for."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def images(tmp_path):
    """Folder with a.png (60 high, 80 wide), b.png (the same) and c.png (40 x 40)."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index, (name, (height, width)) in enumerate({"a": (60, 80), "b": (60, 80), "c": (40, 40)}.items()):
        pixels = np.random.default_rng(index).integers(0, 255, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    return folder
