import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.profiling.advice import advise, int8_refusals
from yolotrt_lab.profiling.layer_costs import GraphCosts, graph_costs
from yolotrt_lab.profiling.layers import LayerTime
from yolotrt_lab.profiling.roofline import MachineRoof, place_layers

ROOF = MachineRoof("test", {"fp32": 100.0, "bf16": 200.0, "int8": 400.0}, 10.0, 0.001, "made up")


def convolution(channels=(16, 16), *, size=32):
    """x -> Conv 3x3 -> Relu -> y."""
    inputs, outputs = channels
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="/a/Conv", pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["y"], name="/a/Relu"),
        ],
        "g",
        [value("x", TensorProto.FLOAT, [1, inputs, size, size])],
        [value("y", TensorProto.FLOAT, [1, outputs, size, size])],
        [numpy_helper.from_array(np.zeros((outputs, inputs, 3, 3), np.float32), "w")],
    )
    return GraphCosts(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def layer(name, precision, time_ms, *origins):
    return LayerTime(name, "", precision, time_ms, origins)


def advice_about(costs, *layers, engine_precision="fp32", roof=ROOF):
    return advise(place_layers(layers, costs, roof), costs, roof, engine_precision=engine_precision)


def test_compute_bound_in_fp32():
    """Its operations take 47.3 us at the peak; in INT8 11.8 us, in BF16 23.7 us, so a quarter and half of 0.1 ms."""
    (found,) = advice_about(convolution(), layer("a", "fp32", 0.1, "/a/Conv", "/a/Relu"))
    assert (found.kind, found.layer, found.share) == ("compute", "/a/Conv", 1.0)
    assert "/a/Conv takes 0.1 ms, 100.0% of the engine" in found.facts
    assert "compute bound, at 47.3 of 100 GFLOP/s, 47% of its roof" in found.facts
    assert "In INT8 (4 x the peak, 0.25 x the bytes)" in found.text
    assert "In BF16 (2 x the peak, 0.5 x the bytes) at the same share of the roof: 0.1 → 0.05 ms" in found.text
    assert found.saved_ms == pytest.approx(0.075, abs=0.001)
    assert any("It reaches 47% of its roof: up to 0.052" in step for step in found.steps)


def test_bf16_is_advised_int8_only():
    (found,) = advice_about(convolution(), layer("a", "bf16", 0.1, "/a/Conv", "/a/Relu"), engine_precision="bf16")
    assert "In INT8 (2 x the peak" in found.text
    assert "In BF16 (" not in found.text


def test_memory_bound_elementwise():
    """It moves 2 x 65.5 kB; without the write half the time."""
    found = advice_about(convolution(), layer("r", "fp32", 0.05, "/a/Relu"))[0]
    assert found.kind == "memory"
    assert "memory bound, at 2.62 of 10 GB/s" in found.facts
    assert "fused into the layer that makes or reads its 0.0655 MB" in found.steps[0]
    assert "0.05 → 0.025 ms, 0.025 ms or 50.0% saved" in found.steps[0]


def test_channels_that_do_not_fit():
    costs = convolution((3, 16))
    (found,) = advice_about(costs, layer("a", "bf16", 1.0, "/a/Conv", "/a/Relu"), engine_precision="bf16")
    assert any("3 input and 16 output channels are not both multiples of 8" in step for step in found.steps)
    assert any("62% of its products are with zeros" in step for step in found.steps)
    (fits,) = advice_about(convolution((16, 16)), layer("a", "bf16", 1.0, "/a/Conv"), engine_precision="bf16")
    assert "multiples" not in fits.text


def test_smaller_input_and_order():
    (found,) = advice_about(convolution(), layer("a", "int8", 0.02, "/a/Conv", "/a/Relu"), engine_precision="int8")
    assert "512 for 640" in found.text
    assert "0.02 → 0.0128 ms" in found.text


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """Costs of the small detector of the precision tests, quantized."""
    path = Path(__file__).parents[1] / "precision" / "conftest.py"
    spec = importlib.util.spec_from_file_location("precision_graphs_for_advice", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("quantized")
    onnx.save(module.build_detector(), folder / "fp32.onnx")
    images = np.random.default_rng(0).random((2, 3, 32, 32)).astype(np.float32)
    ranges = calibrate(folder / "fp32.onnx", [images], threads=1)
    quantize_onnx(folder / "fp32.onnx", folder / "int8.onnx", table=ranges, high_precision_nodes=["/p4/Conv"])
    return graph_costs(folder / "int8.onnx")


def test_why_layers_are_not_int8(quantized):
    refusals = int8_refusals(quantized)
    assert "last convolution of the head" in refusals["/box_last/Conv"]
    assert "decode" in refusals["/dfl/Conv"]
    assert "no Q/DQ pair stands before" in refusals["/p4/Conv"]
    assert "/body/Conv" not in refusals


def test_a_layer_that_is_not_int8_in_an_int8_engine(quantized):
    found = advice_about(quantized, layer("a", "fp32", 1.0, "/p4/Conv"), engine_precision="int8")[0]
    assert found.kind == "precision"
    assert "It is not in INT8 although the engine is: no Q/DQ pair stands before" in found.text
    inside = advice_about(quantized, layer("a", "int8", 1.0, "/body/Conv"), engine_precision="int8")[0]
    assert "not in INT8" not in inside.text


def test_a_reformat_between_two_precisions():
    layers = [
        layer("a", "fp32", 0.1, "/a/Conv"),
        layer("Reformatting CopyNode for Input Tensor 0 to b", "int8", 0.06),
        layer("b", "int8", 0.1, "/a/Relu"),
    ]
    *_, found = advice_about(convolution(), *layers)
    assert (found.kind, found.time_ms) == ("reformat", 0.06)
    assert "alone take 0.06 ms, 23.1% of the engine, in 1 of its layers" in found.facts
    assert "between /a/Conv (FP32) and /a/Relu (INT8)" in found.text
    assert "0.06 ms or 23.1% fall away" in found.text
    *_, same = advice_about(convolution(), layers[0], layers[1], layer("b", "fp32", 0.1, "/a/Relu"))
    assert "both in FP32: a change of layout" in same.text
    *_, first = advice_about(convolution(), layers[1], layers[2])
    assert "stands at the input" in first.text
    assert "--half-io" in first.text


def test_small_reformats_are_not_worth_a_word():
    layers = [layer("a", "fp32", 1.0, "/a/Conv"), layer("Reformatting to b", "fp32", 0.01)]
    assert [item.kind for item in advice_about(convolution(), *layers)] == ["compute"]


def test_tiny_layers_together():
    gpu = MachineRoof("gpu", {"fp32": 1e5}, 5e3, 0.005, "made up")
    costs = convolution()
    layers = [layer("a", "fp32", 0.010, "/a/Conv"), layer("b", "fp32", 0.010, "/a/Relu")]
    *first, together = advice_about(costs, *layers, roof=gpu)
    assert {item.kind for item in first} == {"launch"}
    assert "It is tiny: an empty layer takes 5 µs here" in first[0].text
    assert together.layer == "tiny layers"
    assert "2 layers are tiny: together 0.02 ms" in together.facts
    assert "2 x 5 µs = 0.01 ms" in together.text


def test_without_its_graph():
    (found,) = advice_about(convolution(), layer("a", "fp32", 1.0, "/elsewhere/Conv"))
    assert found.kind == "unknown"
    assert "pass the graph" in found.text
