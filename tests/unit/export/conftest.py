"""A small detector with every block a YOLO has: trained by nobody, but with numbers that matter."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.training.environment import import_ultralytics

IMAGE_SIZE = 64

TINY_YAML = """
nc: 3
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C3, [16]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, SPPF, [32, 5]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 3], 1, Concat, [1]]
  - [-1, 1, C3, [16, False]]
  - [[8, 5], 1, Detect, [nc]]
"""


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A checkpoint whose batch norms, biases and scores are far from their neutral values."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(TINY_YAML)
    ultralytics = import_ultralytics(purpose="test")
    import torch

    torch.manual_seed(0)
    yolo = ultralytics.YOLO(str(folder / "tiny.yaml"), task="detect", verbose=False)
    yolo.model.names = {0: "bolt", 1: "nut", 2: "gear"}
    norms = [module for module in yolo.model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # keep the statistics of the last batch, so that no layer flattens what it is given
        norm.weight.data.uniform_(0.7, 1.5)
        norm.bias.data.normal_(0, 0.3)
    with torch.no_grad():
        yolo.model.train()(torch.rand(8, 3, IMAGE_SIZE, IMAGE_SIZE))
    for norm in norms:
        norm.momentum = 0.03
    yolo.model.eval()
    head = yolo.model.model[-1]
    for branch in (*head.cv2, *head.cv3):
        branch[-1].weight.data.normal_(0, 0.7)
    for branch in head.cv3:
        branch[-1].bias.data.zero_()
    yolo.save(folder / "tiny.pt")
    return folder / "tiny.pt"


@pytest.fixture(scope="session")
def exported(tiny_checkpoint):
    """What `export_onnx` says of the tiny checkpoint; the file is at `.path`."""
    return export_onnx(tiny_checkpoint, tiny_checkpoint.with_suffix(".onnx"), image_size=IMAGE_SIZE)


@pytest.fixture
def model(exported):
    """The exported graph, to be changed at will."""
    return onnx.load(exported.path)


@pytest.fixture
def save(tmp_path):
    """Return a function that writes a model and returns the path."""

    def write(model, name="changed.onnx"):
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def images():
    """Five different images."""
    return np.random.default_rng(0).random((5, 3, IMAGE_SIZE, IMAGE_SIZE)).astype(np.float32)
