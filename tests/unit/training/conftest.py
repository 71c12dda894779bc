"""A dataset and a network small enough to train in a second."""

from pathlib import Path

import cv2
import numpy as np
import pytest

CLASS_NAMES = ("square", "disc")

TINY_MODEL = """\
nc: 2
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [[2, 3, 4], 1, Detect, [nc]]
"""


def draw_dataset(root: Path, *, counts: dict[str, int], size: int = 64, seed: int = 0) -> Path:
    """Draw yellow squares and blue discs on noise, with labels, and return the data.yaml."""
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        images, labels = root / "images" / split, root / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            canvas = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
            side = int(rng.integers(size // 4, size // 2))
            x, y = (int(value) for value in rng.integers(side // 2, size - side // 2, 2))
            class_id = index % 2
            if class_id == 0:
                cv2.rectangle(
                    canvas, (x - side // 2, y - side // 2), (x + side // 2, y + side // 2), (30, 220, 220), -1
                )
            else:
                cv2.circle(canvas, (x, y), side // 2, (250, 120, 30), -1)
            cv2.imwrite(str(images / f"{split}{index:03}.png"), canvas)
            line = f"{class_id} {x / size:.6f} {y / size:.6f} {side / size:.6f} {side / size:.6f}\n"
            (labels / f"{split}{index:03}.txt").write_text(line)
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASS_NAMES))
    splits = "".join(f"{split}: images/{split}\n" for split in counts)
    data_yaml = root / "data.yaml"
    data_yaml.write_text(f"path: .\n{splits}names:\n{names}")
    return data_yaml


@pytest.fixture(scope="session")
def class_names() -> tuple[str, ...]:
    return CLASS_NAMES


@pytest.fixture
def shapes_yaml(tmp_path: Path) -> Path:
    """A dataset of its own for a test that changes it."""
    return draw_dataset(tmp_path / "shapes", counts={"train": 6, "val": 3})


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("shapes"), counts={"train": 8, "val": 4})


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.yaml"
    path.write_text(TINY_MODEL)
    return path
