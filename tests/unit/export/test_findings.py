import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.export.findings import graph_precision, static_findings, unexpected_operators
from yolotrt_lab.types import Precision


def texts(model, *, problems):
    return [finding.text for finding in static_findings(model) if finding.is_problem is problems]


def test_a_good_export_gives_rise_to_nothing(model):
    assert static_findings(model) == ()
    assert unexpected_operators(model) == ()
    assert graph_precision(model) is Precision.FP32


@pytest.mark.parametrize("op_type", ["If", "Loop", "NonMaxSuppression"])
def test_operators_that_do_not_belong(model, op_type):
    model.graph.node.append(helper.make_node(op_type, ["images"], ["odd"]))
    assert unexpected_operators(model) == (op_type,)
    (text,) = texts(model, problems=True)
    assert op_type in text
    assert "export" in text or "TensorRT" in text


def test_unusual_operators_are_remarked(model):
    model.graph.node.append(helper.make_node("CumSum", ["images", "x"], ["odd"]))
    assert texts(model, problems=True) == []
    assert "CumSum" in texts(model, problems=False)[0]


def test_operator_sets_and_tensorrt(model):
    model.opset_import[0].version = 23
    assert "TensorRT 10" in texts(model, problems=False)[0]
    assert texts(model, problems=True) == []
    model.opset_import[0].version = 26
    assert "TensorRT 11" in texts(model, problems=True)[0]


def test_axes(model):
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value = 4
    assert "fixed to 4" in texts(model, problems=False)[0]
    dims[2].dim_param = "height"
    assert "Height or width is dynamic" in texts(model, problems=False)[0]


@pytest.mark.parametrize(
    ("value", "is_problem", "word"),
    [
        (np.float64([1.0]), False, "float64"),
        (np.float32([np.nan]), True, "NaN"),
        (np.float16([np.inf]), True, "infinity"),
        (np.int64([2**40]), False, "int32"),
    ],
)
def test_constants(model, value, is_problem, word):
    model.graph.initializer.append(numpy_helper.from_array(value, "odd"))
    model.graph.node.append(helper.make_node("Identity", ["odd"], ["odder"]))
    (text,) = texts(model, problems=is_problem)
    assert word in text
    assert "odd" in text


def test_the_end_of_a_slice_may_be_huge(model):
    model.graph.initializer.append(numpy_helper.from_array(np.int64([2**63 - 1]), "to_the_end"))
    model.graph.node.append(helper.make_node("Slice", ["images", "to_the_end", "to_the_end"], ["odd"]))
    assert texts(model, problems=True) == []
    assert texts(model, problems=False) == []


def test_unused_constants(model):
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1]), "idle"))
    assert "idle is never used" in texts(model, problems=False)[0]


def test_metadata(model):
    del model.metadata_props[:]
    assert "does not name its classes" in texts(model, problems=False)[0]
    helper.set_model_props(model, {"names": "{0: 'a'}", "task": "segment"})
    assert "segment" in texts(model, problems=True)[0]


def test_precision_is_that_of_most_convolutions(model):
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            tensor.data_type = TensorProto.FLOAT16
    assert graph_precision(model) is Precision.FP16
