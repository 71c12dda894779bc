import itertools

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.fp16_check import NodeByNode, check_fp16


def chain_of_products(count):
    """x times a weight, again and again, in FP16: the result depends on rounding in between."""
    weight = np.float16([[[[1.7 / 3]]]])
    names = ["x", *(f"t{place}" for place in range(count))]
    nodes = [helper.make_node("Conv", [before, "w"], [after]) for before, after in itertools.pairwise(names)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "chain",
        [value("x", TensorProto.FLOAT16, [1, 1, 16, 16])], [value(names[-1], TensorProto.FLOAT16, [1, 1, 16, 16])],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), weight.item()


def test_every_node_rounds():
    """Against rounding done by hand; ONNX Runtime itself rounds once, at the end."""
    model, weight = chain_of_products(3)
    x = np.random.default_rng(0).random((1, 1, 16, 16)).astype(np.float16)
    expected = x
    for _ in range(3):
        expected = (expected.astype(np.float32) * np.float32(weight)).astype(np.float16)
    results = {name: value for _, outputs in NodeByNode(model).run({"x": x}) for name, value in outputs.items()}
    np.testing.assert_array_equal(results["t2"], expected)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert not np.array_equal(session.run(None, {"x": x})[0], expected)


def test_a_sound_conversion_passes(detector, tmp_path, images):
    for keep_io in (True, False):
        half = convert_to_fp16(detector, tmp_path / "half.onnx", keep_io=keep_io).path
        check = check_fp16(detector, half, [images[:2]])
        assert check.passed
        assert check.first is None
        assert 1e-6 < check.output_error < 1e-2
        assert check.worst.relative_l2 >= check.output_error
        assert check.image_count == 2


def test_the_first_wrong_layer_is_named(detector, tmp_path, images):
    """One weight of the converted graph is changed; everything after it is wrong, but it is the first."""
    half = onnx.load(convert_to_fp16(detector, tmp_path / "half.onnx").path)
    weights = next(tensor for tensor in half.graph.initializer if tensor.name == "p4.weight_fp16")
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float16(1.2), weights.name))
    check = check_fp16(detector, half, [images[:1]])
    assert check.first.node == "/p4/Conv"
    assert check.first.input_error < 1e-2 < check.first.relative_l2
    assert check.first.non_finite == 0
