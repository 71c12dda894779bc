"""A detector whose answers are known, so that the commands around it can be tested exactly."""

from pathlib import Path

import numpy as np
import onnx
import pytest


@pytest.fixture(scope="session")
def fixed_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX detector for 64x64 images and the classes bolt and nut.

    It reports a bolt in the middle, 20 wide and 10 high, with the picture's mean brightness as its score, and a nut of
    8x8 pixels at (12, 12) with score 0.8.
    """
    boxes = np.zeros((1, 6, 84), np.float32)
    boxes[0, :4, 0] = 32, 32, 20, 10
    boxes[0, :4, 1] = 12, 12, 8, 8
    boxes[0, 5, 1] = 0.8
    where = np.zeros((1, 6, 84), np.float32)
    where[0, 4, 0] = 1
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            node("ReduceMean", ["images"], ["mean4"], axes=[1, 2, 3], keepdims=1),
            node("Reshape", ["mean4", "shape"], ["mean"]),
            node("Mul", ["mean", "where"], ["bolt"]),
            node("Add", ["bolt", "boxes"], ["output0"]),
        ],
        "fixed",
        [value("images", onnx.TensorProto.FLOAT, ["batch", 3, 64, 64])],
        [value("output0", onnx.TensorProto.FLOAT, ["batch", 6, 84])],
        [
            onnx.numpy_helper.from_array(boxes, "boxes"),
            onnx.numpy_helper.from_array(where, "where"),
            onnx.numpy_helper.from_array(np.array([-1, 1, 1]), "shape"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.helper.set_model_props(model, {"names": "{0: 'bolt', 1: 'nut'}", "imgsz": "[64, 64]", "task": "detect"})
    path = tmp_path_factory.mktemp("fixed") / "fixed.onnx"
    onnx.save(model, path)
    return path
