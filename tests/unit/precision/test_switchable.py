import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.precision.switchable import SwitchableGraph, fake_quantized


@pytest.fixture
def table(detector, images):
    return calibrate(detector, [images], method="minmax", threads=1)


@pytest.fixture
def quantized(detector, table, tmp_path):
    return quantize_onnx(detector, tmp_path / "int8.onnx", table=table).path


@pytest.fixture
def graph(quantized):
    return SwitchableGraph(onnx.load(quantized))


def run(model, images, names=None):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(names, {"images": images})


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, 0.0), (0.26, 0.5), (0.24, 0.0), (0.75, 1.0), (-0.3, -0.5), (1000.0, 63.5), (-1000.0, -64.0)],
)
def test_fake_quantization_of_one_number(value, expected):
    """Steps of 0.5; halves go to the even step, as ONNX says; 127 above and 128 below zero."""
    assert fake_quantized(np.float32([value]), np.float32(0.5))[0] == expected


def test_fake_quantization_by_channel():
    values = np.float32([[0.3, 0.3], [0.3, 0.3]])
    np.testing.assert_allclose(fake_quantized(values, np.float32([0.2, 1.0]), axis=0), [[0.4, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(fake_quantized(values, np.float32([0.2, 1.0]), axis=1), [[0.4, 0.0], [0.4, 0.0]])


def test_layers_and_what_is_known_of_them(graph, table):
    assert len(graph.layers) == 9
    assert graph.layers[0] == "/stem/Conv"
    assert graph.op_type("/residual/Add") == "Add"
    assert graph.inputs("/p3/Conv") == ("/spp/Concat_output",)
    assert len(graph.inputs("/residual/Add")) == 2
    assert graph.weights("/p3/Conv").shape == (16, 32, 3, 3)
    assert graph.weights("/residual/Add") is None
    assert graph.clip("/p3/Conv") == pytest.approx(table.amax["/spp/Concat_output"])


def test_nothing_switched_on_is_the_fp32_model(graph, detector, images):
    np.testing.assert_array_equal(run(graph.plain(), images)[0], run(onnx.load(detector), images)[0])


def test_everything_switched_on_is_the_quantized_model(graph, quantized, images):
    np.testing.assert_allclose(run(graph.variant(graph.layers), images)[0], run(onnx.load(quantized), images)[0],
                               rtol=1e-3, atol=1e-3)  # fmt: skip


@pytest.mark.parametrize("parts", [(True, True), (True, False), (False, True), (False, False)])
def test_one_layer_is_what_numpy_computes(graph, detector, table, images, parts):
    weights_on, activations_on = parts
    names = ["/spp/Concat_output", "/p3/Conv_output"]
    variant = graph.variant(["/p3/Conv"], weights=weights_on, activations=activations_on)
    for name in names:
        variant.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    x, actual = run(variant, images[:2], names)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(detector).graph.initializer}
    w = stored["p3.weight"]
    if activations_on:
        step = table.amax["/spp/Concat_output"] / 127
        x = np.clip(np.rint(x / np.float32(step)), -128, 127) * step
    if weights_on:
        steps = (np.abs(w).max(axis=(1, 2, 3)) / 127).reshape(-1, 1, 1, 1)
        w = np.rint(w / steps) * steps
    expected = convolved(x, w, stride=2) + stored["p3.bias"].reshape(1, -1, 1, 1)
    np.testing.assert_allclose(actual, expected, atol=2e-4)


def convolved(x, w, *, stride):
    """A 3 x 3 convolution with padding 1, written as nine shifted products."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = x.shape[2] // stride, x.shape[3] // stride
    total = np.zeros((len(x), len(w), height, width))
    for row in range(3):
        for column in range(3):
            window = padded[:, :, row : row + stride * height : stride, column : column + stride * width : stride]
            total += np.einsum("nchw,oc->nohw", window, w[:, :, row, column])
    return total


def test_shared_scales_stay_shared(graph, table):
    """Alone, too, a tensor keeps the step it has with the tensors it is joined to."""
    variant = graph.variant(["/p4/Conv"])
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in variant.graph.initializer}
    joint = max(table.amax["/p3/Mul_output"], table.amax["/neck/Concat_output"])
    assert scales["/p3/Mul_output_scale"] == pytest.approx(joint / 127)


def test_what_cannot_be_switched(graph, detector):
    with pytest.raises(InputError, match="no quantized layer"):
        graph.variant(["/box_last/Conv"])
    with pytest.raises(InputError, match="no quantized layer to switch"):
        SwitchableGraph(onnx.load(detector))
