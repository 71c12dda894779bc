import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import (
    GraphIndex,
    all_tensors,
    expose_tensors,
    float_tensors,
    infer_tensor_types,
    node_label,
    op_histogram,
    opset_version,
    replace_nodes,
    tensor_specs,
    topological_order,
)
from yolotrt_lab.types import TensorSpec


def graph_of(nodes, outputs=("y",)):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", *outputs)]
    return helper.make_graph(nodes, "g", values[:1], values[1:])


def model_of(nodes, outputs=("y",)):
    return helper.make_model(graph_of(nodes, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def chain(length):
    names = ["x", *(f"t{i}" for i in range(1, length)), "y"]
    return [helper.make_node("Relu", [a], [b], name=f"n{i}") for i, (a, b) in enumerate(itertools.pairwise(names))]


def test_index_finds_makers_readers_and_constants():
    weight = numpy_helper.from_array(np.float32([1, 2, 3]), "w")
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32(7)))
    add = helper.make_node("Add", ["x", "w"], ["t"])
    twice = helper.make_node("Mul", ["t", "t"], ["y"])
    graph = graph_of([constant, add, twice])
    graph.initializer.append(weight)
    index = GraphIndex(graph)
    assert index.producer("t").op_type == "Add"
    assert index.producer("x") is None
    assert [(node.op_type, slot) for node, slot in index.consumers("t")] == [("Mul", 0), ("Mul", 1)]
    assert list(index.consumers("y")) == []
    np.testing.assert_array_equal(index.constant("w"), [1, 2, 3])
    assert index.constant("c") == 7
    assert index.constant("t") is None
    assert (index.is_constant("w"), index.is_constant("c"), index.is_constant("t")) == (True, True, False)
    assert index.output_names == {"y"}
    assert node_label(add) == "Add -> t"


def test_histogram_counts_subgraphs_and_marks_custom_domains():
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "then", [], [])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    custom = helper.make_node("Fast", ["x"], ["q"], domain="com.acme")
    assert op_histogram(graph_of([branch, custom])) == {"Relu": 2, "If": 1, "com.acme::Fast": 1}


@given(st.permutations(range(6)))
def test_order_follows_the_data_whatever_the_file_says(order):
    nodes = chain(6)
    names = [node.name for node in topological_order(graph_of([nodes[index] for index in order]))]
    assert names == [node.name for node in nodes]


def test_order_keeps_what_does_not_depend():
    nodes = [helper.make_node("Relu", ["x"], [name], name=name) for name in ("c", "a", "b")]
    assert [node.name for node in topological_order(graph_of(nodes, ()))] == ["c", "a", "b"]


def test_a_cycle_is_named():
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
    ]
    with pytest.raises(InputError, match="cycle") as caught:
        topological_order(graph_of(nodes))
    assert "first" in caught.value.got


def test_types_and_specs():
    model = model_of([helper.make_node("Shape", ["x"], ["s"]), *chain(2)])
    types = infer_tensor_types(model)
    assert types["t1"] == (TensorProto.FLOAT, (None, 3))
    assert types["s"][0] == TensorProto.INT64
    assert float_tensors(model) == ["t1", "y"]
    assert tensor_specs(model.graph.input) == (TensorSpec("x", "float32", (None, 3)),)
    assert opset_version(model) == 17


def test_exposed_tensors_can_be_read():
    model = model_of(chain(3))
    exposed = expose_tensors(model, ["t1", "y", "x"])  # inputs and outputs need nothing
    assert [value.name for value in exposed.graph.output] == ["y", "t1"]
    assert len(model.graph.output) == 1
    session = onnxruntime.InferenceSession(exposed.SerializeToString(), providers=["CPUExecutionProvider"])
    values = np.float32([[-1, 0, 2]])
    np.testing.assert_array_equal(session.run(["t1"], {"x": values})[0], [[0, 0, 2]])
    with pytest.raises(InputError, match="no tensor 'nothing'"):
        expose_tensors(model, ["nothing"])


def test_replacing_nodes_sorts_them():
    model = model_of(chain(4))
    replace_nodes(model.graph, reversed(list(model.graph.node)))
    assert [node.name for node in model.graph.node] == ["n0", "n1", "n2", "n3"]
    onnx.checker.check_model(model, full_check=True)


def test_all_tensors_sees_attributes_and_subgraphs():
    hidden = helper.make_node("Constant", [], ["h"], value=numpy_helper.from_array(np.float32(1), "hidden"))
    inner = helper.make_graph([hidden], "then", [], [], [numpy_helper.from_array(np.float32(2), "inner")])
    model = model_of([helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)])
    model.graph.initializer.append(numpy_helper.from_array(np.float32(3), "outer"))
    assert sorted(tensor.name for tensor in all_tensors(model)) == ["hidden", "hidden", "inner", "inner", "outer"]
