import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.openvino_qdq import fuse_quantize_dequantize
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.types import Precision

openvino = pytest.importorskip("openvino")


@pytest.mark.parametrize("base", [Precision.FP32, Precision.FP16])
def test_every_pair_becomes_one_operation(detector, images, tmp_path, base):
    table = calibrate(detector, [images], threads=1)
    report = quantize_onnx(detector, tmp_path / "int8.onnx", table=table, base=base)
    pairs = [node.op_type for node in onnx.load(report.path).graph.node].count("QuantizeLinear")
    model = openvino.Core().read_model(str(report.path))
    assert fuse_quantize_dequantize(model) == pairs == 16
    kinds = [node.get_type_name() for node in model.get_ordered_ops()]
    assert kinds.count("FakeQuantize") == pairs
    assert fuse_quantize_dequantize(model) == 0


def test_graphs_without_pairs_are_left_alone(detector):
    model = openvino.Core().read_model(str(detector))
    before = [node.get_friendly_name() for node in model.get_ordered_ops()]
    assert fuse_quantize_dequantize(model) == 0
    assert [node.get_friendly_name() for node in model.get_ordered_ops()] == before


@pytest.mark.parametrize(
    ("scale", "zero_point"), [(0.01, np.int8(0)), (0.05, np.int8(0)), (0.02, np.int8(-100)), (0.02, np.uint8(20))]
)
def test_a_pair_behind_a_concat_keeps_its_scale(tmp_path, run_openvino, scale, zero_point):
    """The case OpenVINO gets wrong by itself: there, values come out as whole numbers."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, 6, 1, 1)).astype(np.float32)
    constants = {
        "s": np.float32(scale),
        "z": zero_point,
        "w": weights,
        "ws": np.full(8, 0.02, np.float32),
        "wz": np.zeros(8, np.int8),
    }
    nodes = [
        helper.make_node("Relu", ["images"], ["a"]),
        helper.make_node("Sigmoid", ["images"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["joined"], axis=1),
        helper.make_node("QuantizeLinear", ["joined", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]),
        helper.make_node("QuantizeLinear", ["w", "ws", "wz"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wdq"], axis=0),
        helper.make_node("Conv", ["dq", "wdq"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, c, 8, 8]) for name, c in (("images", 3), ("y", 8))
    ]
    graph = helper.make_graph(
        nodes, "g", values[:1], values[1:], [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "concat.onnx")
    x = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    joined = np.concatenate([np.maximum(x, 0), 1 / (1 + np.exp(-x))], axis=1)
    limits, offset = np.iinfo(zero_point.dtype), int(zero_point)
    rounded = (np.clip(np.rint(joined / scale) + offset, limits.min, limits.max) - offset) * scale
    rounded_weights = np.clip(np.rint(weights / 0.02), -128, 127) * 0.02
    expected = np.einsum("oi,nihw->nohw", rounded_weights[:, :, 0, 0], rounded)
    actual, _ = run_openvino(tmp_path / "concat.onnx", x)
    assert np.linalg.norm(actual - expected) / np.linalg.norm(expected) < 1e-3
