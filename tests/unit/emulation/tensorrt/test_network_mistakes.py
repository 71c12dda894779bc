"""Mistakes in networks written by hand: no shape, no engine, and TensorRT's words in the log."""

import numpy as np
import pytest

from yolotrt_lab.errors import EmulationError

KERNEL = np.zeros((6, 3, 3, 3), np.float32)
BIAS = np.zeros(6, np.float32)


@pytest.fixture
def network(lab):
    return lab.builder.create_network(0)


@pytest.fixture
def x(trt, network):
    return network.add_input("x", trt.float32, (1, 3, 8, 8))


def _int_input(trt, network):
    return network.add_input("i", trt.int32, (1, 3, 8, 8))


MISTAKES = {
    "kernel": (
        lambda trt, net, x: net.add_convolution_nd(x, 6, (3, 3), KERNEL[:3]),
        "kernel weights has count 81 but 162 was expected",
        "kernel dimensions (3,3) with 3 input channels, 6 output channels and 1 groups were specified. "
        "Expected Weights count is 3 * 3*3 * 6 / 1 = 162",
    ),
    "bias": (
        lambda trt, net, x: net.add_convolution_nd(x, 6, (3, 3), KERNEL, BIAS[:2]),
        "bias weights has count 2 but 6 was expected",
        "number of bias weights does not match",
    ),
    "groups": (
        lambda trt, net, x: _changed(net.add_convolution_nd(x, 6, (3, 3), KERNEL), num_groups=2),
        "divisible by the number of groups",
    ),
    "volume": (
        lambda trt, net, x: _changed(net.add_shuffle(x), reshape_dims=(3, 65)),
        "reshape changes volume. Reshaping [1,3,8,8] to [3,65].",
    ),
    "permutation": (lambda trt, net, x: _changed(net.add_shuffle(x), first_transpose=(0, 1, 1, 2)), "no permutation"),
    "slice": (
        lambda trt, net, x: net.add_slice(x, (0, 0, 0, 0), (1, 3, 9, 8), (1, 1, 1, 1)),
        "out of bounds slice, input = [1,3,8,8]",
    ),
    "concat": (
        lambda trt, net, x: net.add_concatenation([x, net.add_input("z", trt.float32, (1, 3, 8, 9))]),
        "same dimensions except on the concatenation axis (1), but dimensions mismatched at index 3. "
        "Input 0 shape: [1,3,8,8], Input 1 shape: [1,3,8,9]",
    ),
    "broadcast": (
        lambda trt, net, x: net.add_elementwise(
            x, net.add_input("z", trt.float32, (1, 2, 8, 8)), trt.ElementWiseOperation.SUM
        ),
        "follow broadcast rules (input dimensions were [1,3,8,8] and [1,2,8,8]).",
    ),
    "not bool": (
        lambda trt, net, x: net.add_elementwise(x, x, trt.ElementWiseOperation.AND),
        "operation AND has incompatible input types Float and Float",
    ),
    "matrices": (
        lambda trt, net, x: net.add_matrix_multiply(
            x, trt.MatrixOperation.NONE, net.add_input("z", trt.float32, (1, 3, 9, 2)), trt.MatrixOperation.NONE
        ),
        "dimensions not compatible for matrix multiplication",
    ),
    "constant": (lambda trt, net, x: net.add_constant((2, 3), BIAS[:5]), "count 5 but 6 was expected"),
    "axes": (lambda trt, net, x: net.add_reduce(x, trt.ReduceOperation.SUM, 1 << 4, False), "are not axes"),
    "k": (lambda trt, net, x: net.add_topk(x, trt.TopKOperation.MAX, 9, 8), "K value 9"),
    "resize": (lambda trt, net, x: scaled(net.add_resize(x)), "resize needs a shape or scales with 4 values"),
    "rank": (lambda trt, net, x: net.add_pooling_nd(x, trt.PoolingType.MAX, (2, 2, 2)), "at least 5 dimensions"),
    "squeeze": (
        lambda trt, net, x: net.add_squeeze(x, net.add_constant((1,), np.array([1], np.int32)).get_output(0)),
        "squeezed dimension 1 of [1,3,8,8] is not 1",
    ),
    "scale": (
        lambda trt, net, x: net.add_scale(x, trt.ScaleMode.CHANNEL, BIAS),
        "shift weights has count 6 but 3 was expected",
    ),
    "what onnx finds": (
        lambda trt, net, x: net.add_einsum([x, x], "abc,abc->a"),
        "Output shape can not be computed for node (Unnamed Layer* 0) [Einsum].",
    ),
}


def _changed(layer, **settings):
    for name, value in settings.items():
        setattr(layer, name, value)
    return layer


def scaled(layer):
    layer.scales = (1, 1, 2)
    return layer


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_has_no_shape_and_no_engine(trt, lab, network, x, name):
    add, *words = MISTAKES[name]
    layer = add(trt, network, x)
    with pytest.raises(ValueError, match=r"__len__\(\) should return >= 0"):
        len(layer.get_output(0).shape)
    for text in ("ITensor::getDimensions: Error Code 4", *words):
        assert text in lab.log.errors
    network.mark_output(layer.get_output(0))
    assert lab.builder.build_serialized_network(network, lab.config) is None


def test_a_layer_behind_a_wrong_one_has_no_shape_either(lab, network, x):
    conv = network.add_convolution_nd(x, 6, (3, 3), KERNEL[:3])
    softmax = network.add_softmax(conv.get_output(0))
    with pytest.raises(ValueError, match="__len__"):
        len(softmax.get_output(0).shape)
    assert "Output shape can not be computed for node (Unnamed Layer* 1) [Softmax]" in lab.log.errors
    conv.kernel = KERNEL
    assert softmax.get_output(0).shape == (1, 6, 6, 6)


def test_parameters_that_are_checked_at_once(trt, lab, network, x):
    assert network.add_convolution_nd(x, 6, (3,), KERNEL) is None
    assert "condition: nbSpatialDims == 2 || nbSpatialDims == 3" in lab.log.errors
    assert network.add_concatenation([]) is None
    assert network.add_input("y", trt.float32, (1, -2)) is None
    assert "isValidDims(dims)" in lab.log.errors
    assert network.num_layers == 0


def test_a_tensor_of_another_network(trt, lab, network, x):
    other = lab.builder.create_network(0)
    assert other.add_softmax(x) is None
    other.mark_output(x)
    assert other.num_outputs == 0
    assert lab.log.errors.count("belongs to another network") == 2


def test_types_in_a_strongly_typed_network(trt, lab):
    network = lab.builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    single = network.add_input("x", trt.float32, (1, 4))
    half = network.add_input("y", trt.float16, (1, 4))
    total = network.add_elementwise(single, half, trt.ElementWiseOperation.SUM)
    network.mark_output(total.get_output(0))
    assert lab.builder.build_serialized_network(network, lab.config) is None
    assert "SUM must have same input types. But they are of types Float and Half." in lab.log.errors
    network.unmark_output(total.get_output(0))
    total.set_input(0, network.add_cast(single, trt.float16).get_output(0))
    assert total.get_output(0).dtype == trt.float16


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_bytes_are_a_type_of_inputs_and_outputs_only(trt, lab, network, dtype):
    layer = network.add_cast(network.add_constant((3,), np.arange(3, dtype=dtype)).get_output(0), trt.float32)
    network.mark_output(layer.get_output(0))
    plan = lab.builder.build_serialized_network(network, lab.config)
    assert (plan is None) == (dtype == "uint8") == ("invalid weights type of UInt8" in lab.log.errors)


@pytest.mark.parametrize("trt", [10], indirect=True)
def test_types_in_a_weakly_typed_network(trt, lab, network, x):
    half = network.add_input("y", trt.float16, (1, 3, 8, 8))
    total = network.add_elementwise(x, half, trt.ElementWiseOperation.SUM)
    assert total.get_output(0).dtype == trt.float32
    wrong = network.add_elementwise(x, _int_input(trt, network), trt.ElementWiseOperation.PROD)
    with pytest.raises(ValueError, match="__len__"):
        len(wrong.get_output(0).shape)
    assert "operation PROD has incompatible input types Float and Int32" in lab.log.errors


def test_repeated_names(trt, lab, network, x):
    one, other = network.add_softmax(x), network.add_activation(x, trt.ActivationType.RELU)
    one.name = other.name = "same"
    network.mark_output(one.get_output(0))
    assert lab.builder.build_serialized_network(network, lab.config) is None
    assert "Repeated layer name: same (layers must have distinct names)" in lab.log.errors
    other.name = "other"
    one.get_output(0).name = "x"
    assert lab.builder.build_serialized_network(network, lab.config) is None
    assert "Repeated tensor name: x (tensors must have distinct names)" in lab.log.errors


@pytest.mark.parametrize("method", ["add_loop", "add_if_conditional"])
def test_what_is_not_emulated_says_so(network, method):
    with pytest.raises(EmulationError, match=f"{method} is not emulated"):
        getattr(network, method)()
