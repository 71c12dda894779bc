import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.output_error import OutputError, OutputProbe


def scaled(model, factors):
    """Return a model whose output's rows are multiplied by factors."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.node[-1].output[0] = "unscaled"
    values = np.float32(factors).reshape(1, -1, 1)
    changed.graph.initializer.append(numpy_helper.from_array(values, "factors"))
    changed.graph.node.append(helper.make_node("Mul", ["unscaled", "factors"], ["output0"]))
    return changed


@pytest.fixture
def model(build):
    return build(batch=1)


@pytest.fixture
def probe(model, images):
    return OutputProbe(model, [image[None] for image in images[:3]], threads=1)


def test_the_reference_has_no_error(model, probe):
    assert probe.measure(model) == OutputError(0.0, 0.0)
    assert len(probe) == 3


def test_scores_ten_percent_too_high(model, probe):
    error = probe.measure(scaled(model, [1, 1, 1, 1, 1.1, 1.1, 1.1]))
    assert error.scores == pytest.approx(0.1, abs=1e-5)
    assert error.boxes == 0.0
    assert error.total == pytest.approx(0.1, abs=1e-5)


def test_boxes_a_fifth_too_wide(model, probe):
    """One of four numbers is off by a fifth of the box's width: the mean square is 0.04 / 4."""
    error = probe.measure(scaled(model, [1, 1, 1.2, 1, 1, 1, 1]))
    assert error.boxes == pytest.approx(math.sqrt(0.04 / 4), rel=1e-3)
    assert error.scores == 0.0


def test_a_lost_box_counts_once(model, probe):
    assert probe.measure(scaled(model, [1e6, 1e6, 1e6, 1e6, 1, 1, 1])).boxes == pytest.approx(1.0)


def detector_without_weights(shape, classes):
    """Return images (1, 3, 4, 4) -> output0 of a shape: the first pixel on top of stored rows."""
    rng = np.random.default_rng(1)
    stored = rng.random(shape).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["logits"], kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", ["logits"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Add", ["mean", "stored"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(shape))],
        [numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w"), numpy_helper.from_array(stored, "stored")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": repr({i: f"c{i}" for i in range(classes)})})
    return model


def test_objectness_times_class_is_the_score():
    model = detector_without_weights((1, 252, 8), classes=3)
    probe = OutputProbe(model, [np.zeros((1, 3, 4, 4), np.float32)], threads=1)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.node[-1].output[0] = "unscaled"
    factors = np.float32([1, 1, 1, 1, 1.1, 1.1, 1.1, 1.1])
    changed.graph.initializer.append(numpy_helper.from_array(factors, "factors"))
    changed.graph.node.append(helper.make_node("Mul", ["unscaled", "factors"], ["output0"]))
    assert probe.measure(changed).scores == pytest.approx(0.21, rel=1e-3)


def test_rows_without_order_are_compared_as_logits():
    """The output is not looked at at all: another stored part changes nothing, other weights do."""
    model = detector_without_weights((1, 300, 6), classes=3)
    probe = OutputProbe(model, [np.ones((1, 3, 4, 4), np.float32)], threads=1)
    other = detector_without_weights((1, 300, 6), classes=3)
    other.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.zeros((1, 300, 6), np.float32), "stored"))
    assert probe.measure(other).total == 0.0
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((2, 3, 1, 1), 1.25, np.float32), "w"))
    assert probe.measure(other).total == pytest.approx(0.25)


def test_no_images(model):
    with pytest.raises(InputError, match="no images to measure on"):
        OutputProbe(model, [])
