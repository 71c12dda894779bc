"""One small detector as checkpoint, ONNX, OpenVINO IR and engine, made once for all tests of runtimes."""

from pathlib import Path

import numpy as np
import pytest

INPUT_HW = (64, 64)
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


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, with batch-norm statistics that are not the identity, so that fusing them matters."""
    import torch

    from yolotrt_lab.training.environment import import_ultralytics

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.yaml").write_text(TINY_MODEL)
    ultralytics = import_ultralytics(purpose="test")
    torch.manual_seed(0)
    yolo = ultralytics.YOLO(str(folder / "tiny.yaml"), task="detect", verbose=False)
    for module in yolo.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    yolo.model.names = dict(enumerate(CLASS_NAMES))
    yolo.save(folder / "tiny.pt")
    return folder / "tiny.pt"


@pytest.fixture(scope="session")
def onnx_model(checkpoint: Path) -> Path:
    from yolotrt_lab.export.onnx_export import export_onnx

    path = checkpoint.with_name("tiny.onnx")
    export_onnx(checkpoint, path, image_size=INPUT_HW)
    return path


@pytest.fixture(scope="session")
def ir_model(onnx_model: Path) -> Path:
    import openvino

    path = onnx_model.with_name("tiny_ir.xml")
    openvino.save_model(openvino.Core().read_model(str(onnx_model)), str(path), compress_to_fp16=False)
    return path


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((2, 3, *INPUT_HW), dtype=np.float32)


@pytest.fixture(scope="session")
def reference(onnx_model: Path, images: np.ndarray) -> np.ndarray:
    """What a bare ONNX Runtime session answers: the judge that shares no code with the runtimes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_model), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


@pytest.fixture(scope="session")
def engine(onnx_model: Path) -> Path:
    """An engine for batches of one to four."""
    from yolotrt_lab.engines.build import build_engine
    from yolotrt_lab.engines.options import EngineOptions

    path = onnx_model.with_name("tiny.engine")
    build_engine(onnx_model, path, options=EngineOptions(opt_batch=2, max_batch=4))
    return path
