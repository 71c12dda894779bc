"""Layers that came from ONNX nodes: written anew from what was understood of them, they compute the same."""

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.unit.emulation.tensorrt.test_network_layers import execute

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[1, 3, 12, 12] x) => (float[1, N, M] y)
<float[6, 3, 3, 3] w, float[6] b, float[4] scales = {1, 1, 2, 2}, int64[3] rows = {0, 6, -1}, int64[1] front = {1},
 int64[1] back = {5}, int64[1] axis = {2}, int64[1] step = {2}, float one = {1}, float[6, 6] m, float q = {0.05},
 int8 zero = {0}, int64[2] picked = {2, 0}, float[6] six = {1, 2, 3, 1, 2, 3}>
{
    c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)
    n = BatchNormalization <epsilon = 0.01> (c, six, b, b, six)
    s = Sigmoid (n)
    silu = Mul (n, s)
    pooled = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (silu)
    mean = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (silu)
    large = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
        (pooled, , scales)
    small = Resize <mode = "linear"> (mean, , scales)
    joined = Concat <axis = -1> (large, small)
    part = Slice (joined, front, back, axis, step)
    quantized = QuantizeLinear (part, q, zero)
    restored = DequantizeLinear (quantized, q, zero)
    flat = Reshape (restored, rows)
    turned = Transpose <perm = [0, 2, 1]> (flat)
    product = MatMul (turned, m)
    inverse = Sub (one, product)
    leaky = LeakyRelu <alpha = 0.3> (inverse)
    chosen = Gather <axis = -1> (leaky, picked)
    total = ReduceMean <axes = [1], keepdims = 1> (chosen)
    spread = Div (chosen, total)
    soft = Softmax <axis = 1> (spread)
    half = Constant <value = float {0.5}> ()
    scaled = Mul (soft, half)
    whole = Cast <to = 6> (chosen)
    again = Cast <to = 1> (whole)
    y = Add (scaled, again)
}
"""


@pytest.fixture
def path(tmp_path):
    random = np.random.default_rng(5)
    text = MODEL
    for name, shape in (("w", "6, 3, 3, 3"), ("b", "6"), ("m", "6, 6")):
        text = text.replace(f"float[{shape}] {name},", "")
    model = onnx.parser.parse_model(text)
    for name, shape in (("w", (6, 3, 3, 3)), ("b", (6,)), ("m", (6, 6))):
        values = random.normal(0, 0.5, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for node in model.graph.node:
        node.name = f"/{node.output[0]}"
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_written_anew_the_network_computes_the_same(trt, lab, path):
    network = lab.network(path)
    shapes = {name: tensor.shape for name, tensor in network._tensors.items()}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.num_inputs:
            layer.set_input(0, layer.get_input(0))
    assert not any(layer.source for layer in network._layers if layer.inputs)
    assert {name: tuple(tensor.shape) for name, tensor in network._tensors.items()} == {
        name: tuple(shape) for name, shape in shapes.items()
    }
    image = np.random.default_rng(6).normal(0, 1, (1, 3, 12, 12)).astype(np.float32)
    plan = lab.builder.build_serialized_network(network, lab.config)
    assert plan is not None, lab.log.errors
    found = execute(trt, lab.load(plan), {"x": image})["y"]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(found, session.run(None, {"x": image})[0], rtol=1e-3, atol=1e-4)


SETTINGS = {
    "/c": ("IConvolutionLayer", {"stride_nd": (2, 2), "padding_nd": (1, 1), "num_output_maps": 6, "num_groups": 1}),
    "/n": ("IScaleLayer", {"channel_axis": 1}),
    "/pooled": ("IPoolingLayer", {"window_size_nd": (3, 3), "pre_padding": (1, 1)}),
    "/mean": ("IPoolingLayer", {"average_count_excludes_padding": True}),
    "/large": ("IResizeLayer", {"scales": [1.0, 1.0, 2.0, 2.0], "shape": ()}),
    "/joined": ("IConcatenationLayer", {"axis": 3}),
    "/part": ("ISliceLayer", {"start": (0, 0, 1, 0), "shape": (1, 6, 2, 12), "stride": (1, 1, 2, 1)}),
    "/flat": ("IShuffleLayer", {"reshape_dims": (0, 6, -1)}),
    "/total": ("IReduceLayer", {"axes": 2, "keep_dims": True}),
    "/soft": ("ISoftMaxLayer", {"axes": 2}),
    "/leaky": ("IActivationLayer", {"alpha": pytest.approx(0.3)}),
    "/half": ("IConstantLayer", {"shape": ()}),
}


def test_settings(trt, lab, path):
    network = lab.network(path)
    layers = {network.get_layer(index).name: network.get_layer(index) for index in range(network.num_layers)}
    for name, (class_name, settings) in SETTINGS.items():
        layer = layers[name]
        layer.__class__ = getattr(trt, class_name)
        for key, expected in settings.items():
            assert getattr(layer, key) == expected, f"{name}.{key}"
