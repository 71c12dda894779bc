import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from yolotrt_lab.export.divergence import (
    first_divergence,
    locate_divergence,
    module_from_node_name,
    run_all,
)
from yolotrt_lab.export.torch_trace import TorchReference


def node_named(model, name):
    return next(node for node in model.graph.node if node.name == name)


def conv_weights(model, name):
    wanted = node_named(model, name).input[1]
    return next(tensor for tensor in model.graph.initializer if tensor.name == wanted)


def replace(tensor, values):
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def scaled_weight(model):
    tensor = conv_weights(model, "/model.3/conv/Conv")
    values = numpy_helper.to_array(tensor).copy()
    values[5] *= 1.5
    replace(tensor, values)
    return "/model.3/conv/Conv", "model.3.conv"


def swapped_channels(model):
    tensor = conv_weights(model, "/model.8/cv1/conv/Conv")
    replace(tensor, numpy_helper.to_array(tensor)[:, ::-1])
    return "/model.8/cv1/conv/Conv", "model.8.cv1.conv"


def swapped_image_channels(model):
    tensor = conv_weights(model, "/model.0/conv/Conv")
    replace(tensor, numpy_helper.to_array(tensor)[:, ::-1])
    return "/model.0/conv/Conv", "model.0.conv"


def missing_score_sigmoid(model):
    sigmoid = node_named(model, "/model.9/Sigmoid")
    for node in model.graph.node:
        node.input[:] = [sigmoid.input[0] if name == sigmoid.output[0] else name for name in node.input]
    reader = next(node for node in model.graph.node if sigmoid.input[0] in node.input and node is not sigmoid)
    model.graph.node.remove(sigmoid)
    return reader.name, "model.9"


def missing_activation_sigmoid(model):
    sigmoid = node_named(model, "/model.4/act/Sigmoid")
    multiply = node_named(model, "/model.4/act/Mul")
    multiply.input[:] = [sigmoid.input[0], sigmoid.input[0]]
    model.graph.node.remove(sigmoid)
    return "/model.4/act/Mul", "model.4.act"


def wrong_concat_order(model):
    concat = node_named(model, "/model.7/Concat")
    concat.input[:] = list(reversed(concat.input))
    return "/model.7/Concat", "model.7"


def wrong_resize(model):
    resize = node_named(model, "/model.6/Resize")
    for attribute in resize.attribute:
        if attribute.name == "mode":
            attribute.s = b"linear"
    return "/model.6/Resize", "model.6"


def forgotten_residual(model):
    add = node_named(model, "/model.2/m/m.0/Add")
    add.input[0] = add.input[1]
    return "/model.2/m/m.0/Add", "model.2.m.0"


PLANTS = [
    scaled_weight,
    swapped_channels,
    swapped_image_channels,
    missing_score_sigmoid,
    missing_activation_sigmoid,
    wrong_concat_order,
    wrong_resize,
    forgotten_residual,
]


@pytest.fixture(scope="module")
def trace(tiny_checkpoint):
    image = np.random.default_rng(3).random((1, 3, 64, 64)).astype(np.float32)
    return image, TorchReference(tiny_checkpoint).trace(image)


@pytest.mark.parametrize("plant", PLANTS)
def test_planted_faults_are_found_against_pytorch(model, trace, plant):
    image, tensors = trace
    node, module = plant(model)
    actual = run_all(model, {"images": image})
    found = locate_divergence(model, actual, named={}, others=tensors, tolerance=1e-4)
    assert (found.node, found.module) == (node, module)
    assert found.relative_l2 > 1e-3


@pytest.mark.parametrize("plant", PLANTS)
def test_planted_faults_are_found_against_another_graph(exported, model, trace, plant):
    node, _ = plant(model)
    assert first_divergence(model, exported.path, {"images": trace[0]}).node == node


@pytest.mark.parametrize("plant", [scaled_weight, missing_score_sigmoid, wrong_resize])
def test_names_are_not_needed(exported, model, trace, plant):
    reference = onnx.load(exported.path)
    node, _ = plant(model)
    position = [each.name for each in model.graph.node].index(node)
    rename = {name: f"t{index}" for index, each in enumerate(model.graph.node) for name in each.output}
    rename["output0"] = "output0"
    for each in model.graph.node:
        each.ClearField("name")
        each.input[:] = [rename.get(name, name) for name in each.input]
        each.output[:] = [rename[name] for name in each.output]
    del model.graph.value_info[:]
    found = first_divergence(model, reference, {"images": trace[0]})
    assert found.tensor == model.graph.node[position].output[0]
    assert found.module is None


def test_faults_that_follow_are_not_blamed(exported, model, trace):
    first, _ = scaled_weight(model)
    swapped_channels(model)
    found = first_divergence(model, exported.path, {"images": trace[0]})
    assert found.node == first
    names = [node.name for node in model.graph.node]
    assert found.agreeing_nodes >= names.index(first) - 3  # all but those on parallel branches


def test_a_fault_that_reaches_no_output_is_none(exported, model, trace):
    # A changed tensor that nothing reads leaves the outputs as they were.
    model.graph.node.append(onnx.helper.make_node("Neg", [model.graph.node[0].output[0]], ["idle"], name="idle"))
    assert first_divergence(model, exported.path, {"images": trace[0]}) is None


def test_every_tensor_of_a_good_export_has_its_counterpart(exported, model, trace):
    image, tensors = trace
    actual = run_all(model, {"images": image})
    for name, value in actual.items():
        lonely = locate_divergence(
            onnx.helper.make_model(
                onnx.helper.make_graph(
                    [node for node in model.graph.node if name in node.output],
                    "one",
                    [],
                    [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)],
                )
            ),
            {name: value},
            named={},
            others=tensors,
            tolerance=1e-4,
        )
        assert lonely is None, name


def test_nan_is_a_divergence(exported, model, trace):
    tensor = conv_weights(model, "/model.3/conv/Conv")
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] = np.nan
    replace(tensor, values)
    assert first_divergence(model, exported.path, {"images": trace[0]}).node == "/model.3/conv/Conv"


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("/model.0/conv/Conv", "model.0.conv"),
        ("/model.24/cv2.1/cv2.1.0/conv/Conv", "model.24.cv2.1.0.conv"),
        ("/model.20/m/m.0/cv1/act/Mul", "model.20.m.0.cv1.act"),
        ("/model.1/model.10/Relu", "model.1.model.10"),
        ("/Add", None),
        ("Conv_12", None),
        ("", None),
    ],
)
def test_module_names(name, module):
    assert module_from_node_name(name) == module
