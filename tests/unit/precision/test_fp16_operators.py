import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.precision.fp16_operators import BLOCKED_OPERATORS, LONG_SUM, accumulated_terms, blocked_nodes

FLOAT = TensorProto.FLOAT


def model_of(nodes, constants=(), *, opset=17, shape=(1, 4, 64, 64)):
    value = helper.make_tensor_value_info
    made = [value(node.output[0], FLOAT, None) for node in nodes]
    graph = helper.make_graph(nodes, "g", [value("x", FLOAT, shape)], made, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


def test_the_operators_of_the_table():
    nodes = [helper.make_node("Pow", ["x", "two"], ["a"]), helper.make_node("Exp", ["x"], ["b"]),
             helper.make_node("Relu", ["x"], ["c"]), helper.make_node("Softmax", ["x"], ["d"])]  # fmt: skip
    found = blocked_nodes(model_of(nodes, [constant("two", 2)]))
    assert set(found) == {"a", "b"}
    assert found["a"].startswith("Pow squares its input")
    assert blocked_nodes(model_of(nodes, [constant("two", 2)]), {"Relu": "is asked for"}) == {"c": "Relu is asked for"}


def test_the_reasons_are_true():
    """The three facts of half precision that the table rests on."""
    with np.errstate(over="ignore"):
        assert np.isinf(np.float16(256) * np.float16(256))
        assert np.isinf(np.exp(np.float16(11.1)))
        assert np.isfinite(np.exp(np.float16(11.0)))
    assert np.float16(LONG_SUM) + np.float16(1) == np.float16(LONG_SUM)
    assert np.spacing(np.float16(512)) == 0.5
    assert all(reason and reason[0].islower() and not reason.endswith(".") for reason in BLOCKED_OPERATORS.values())


@pytest.mark.parametrize(
    ("node", "blocked"),
    [
        (helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3]), True),  # 4096 terms
        (helper.make_node("ReduceMean", ["x"], ["y"], axes=[-1]), False),  # 64
        (helper.make_node("ReduceSum", ["x"], ["y"]), True),  # all
        (helper.make_node("GlobalAveragePool", ["x"], ["y"]), True),
    ],
)
def test_long_sums(node, blocked):
    assert ("y" in blocked_nodes(model_of([node]))) == blocked


@pytest.mark.parametrize(("epsilon", "blocked"), [(1e-12, True), (1e-5, False), (0.0, False)])
def test_a_guard_against_zero_that_would_vanish(epsilon, blocked):
    model = model_of([helper.make_node("Add", ["x", "eps"], ["y"])], [constant("eps", epsilon)])
    assert ("y" in blocked_nodes(model)) == blocked


def test_terms():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], group=2),
        helper.make_node("ConvTranspose", ["x", "t"], ["up"]),
        helper.make_node("MatMul", ["x", "m"], ["product"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
        helper.make_node("Relu", ["x"], ["relu"]),
    ]
    weights = [constant("w", np.zeros((6, 2, 3, 3))), constant("t", np.zeros((4, 5, 2, 2))),
               constant("m", np.zeros((64, 7)))]  # fmt: skip
    assert accumulated_terms(model_of(nodes, weights)) == {"conv": 18, "up": 4, "product": 64, "mean": 4}
