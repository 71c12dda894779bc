"""What ONNX Runtime is given to run."""

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import TensorProto

from yolotrt_lab.emulation.gpu.graphs import prepared_graph
from yolotrt_lab.emulation.tensorrt.target import CompileOrder


@pytest.fixture
def order(model):
    def give(hint="f32", *, strongly_typed=False, io_types=(), **variant):
        path = model(**variant)
        return CompileOrder(
            path.read_bytes(), ["images", "output0"], {}, dict(io_types), hint=hint, strongly_typed=strongly_typed
        )

    return give


def weight_types(graph):
    used = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    return {tensor.data_type for tensor in graph.initializer if tensor.name in used}


@pytest.mark.parametrize(
    ("hint", "strongly_typed", "dtype", "expected"),
    [
        ("f32", False, "float32", TensorProto.FLOAT),
        ("f16", False, "float32", TensorProto.FLOAT16),
        ("f16", False, "float16", TensorProto.FLOAT16),
        ("f16", True, "float32", TensorProto.FLOAT),  # the graph's types decide
        ("bf16", False, "float32", TensorProto.FLOAT),  # allowed, not demanded
    ],
)
def test_arithmetic(order, hint, strongly_typed, dtype, expected):
    model = prepared_graph(order(hint, strongly_typed=strongly_typed, dtype=dtype))
    onnx.checker.check_model(model, full_check=True)
    assert weight_types(model.graph) == {expected}
    outside = TensorProto.FLOAT16 if dtype == "float16" else TensorProto.FLOAT
    assert {value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output]} == {outside}


@pytest.mark.parametrize(("detector", "last"), [(True, "Reshape"), (False, "Identity")])
def test_what_follows_the_last_convolutions_stays_in_fp32(order, detector, last):
    model = prepared_graph(order("f16", detector=detector))
    (node,) = [node for node in model.graph.node if "output0" in node.output]
    assert node.op_type == last


@pytest.mark.parametrize("name", ["images", "output0"])
def test_types_of_inputs_and_outputs(order, name, images, distance):
    model = prepared_graph(order(io_types={name: "HALF"}))
    onnx.checker.check_model(model, full_check=True)
    (changed,) = [value for value in [*model.graph.input, *model.graph.output] if value.name == name]
    assert changed.type.tensor_type.elem_type == TensorProto.FLOAT16
    feeds = {"images": images().astype(np.float16 if name == "images" else np.float32)}
    found = onnx.reference.ReferenceEvaluator(model).run(None, feeds)[0]
    expected = onnx.reference.ReferenceEvaluator(prepared_graph(order())).run(None, {"images": images()})[0]
    assert found.dtype == (np.float16 if name == "output0" else np.float32)
    assert 0 < distance(found, expected) < 1e-2


def test_nodes_have_names_of_their_own(order):
    plain = order()
    model = onnx.load_model_from_string(plain.onnx_bytes)
    for node in model.graph.node[:3]:
        node.name = ""
    model.graph.node[3].name = model.graph.node[4].name = "same"
    given = CompileOrder(model.SerializeToString(), plain.names, {}, {}, hint="f32")
    names = [node.name for node in prepared_graph(given).graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
