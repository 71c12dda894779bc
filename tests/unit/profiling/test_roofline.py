import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layer_costs import GraphCosts
from yolotrt_lab.profiling.layers import LayerTime
from yolotrt_lab.profiling.roofline import H200, MachineRoof, layer_precision, place_layers, roof_from_text

ROOF = MachineRoof("test", {"fp32": 100.0, "bf16": 200.0, "int8": 400.0}, 10.0, 0.001, "made up")


@pytest.fixture(scope="module")
def costs():
    """x (1, 16, 32, 32) -> Conv 3x3 to 16 -> SiLU -> Relu -> y."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="/conv/Conv", pads=[1] * 4),
        helper.make_node("Sigmoid", ["c"], ["s"], name="/act/Sigmoid"),
        helper.make_node("Mul", ["c", "s"], ["m"], name="/act/Mul"),
        helper.make_node("Relu", ["m"], ["y"], name="/Relu"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g",
        [value("x", TensorProto.FLOAT, [1, 16, 32, 32])], [value("y", TensorProto.FLOAT, [1, 16, 32, 32])],
        [numpy_helper.from_array(np.zeros((16, 16, 3, 3), np.float32), "w")],
    )  # fmt: skip
    return GraphCosts(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


VALUES = 16 * 32 * 32
PRODUCTS = 2 * VALUES * 16 * 9


def test_where_layers_stand(costs):
    layers = [
        LayerTime("a", "Convolution", "f32", 0.5, ("/conv/Conv", "/act/Sigmoid", "/act/Mul")),
        LayerTime("b", "PointWise", "fp32", 0.1, ("/Relu",)),
    ]
    conv, relu = place_layers(layers, costs, ROOF)
    assert (conv.name, conv.precision, conv.bound) == ("/conv/Conv", "fp32", "compute")
    assert conv.share == pytest.approx(0.5 / 0.6)
    assert conv.compute_ms == pytest.approx((PRODUCTS + 2 * VALUES) / 100e6)
    assert conv.memory_ms == pytest.approx(4 * (2 * VALUES + 2304) / 10e6)
    assert conv.least_ms == conv.compute_ms
    assert conv.gflops == pytest.approx((PRODUCTS + 2 * VALUES) / 0.5e6)
    assert conv.roof_share == pytest.approx(conv.compute_ms / 0.5)
    assert relu.bound == "memory"
    assert relu.gb_s == pytest.approx(8 * VALUES / 0.1e6)


def test_int8_products_have_the_int8_peak_and_the_rest_does_not(costs):
    layer = LayerTime("a", "", "i8", 0.5, ("/conv/Conv", "/act/Sigmoid", "/act/Mul"))
    (conv,) = place_layers([layer], costs, ROOF)
    assert conv.compute_ms == pytest.approx(PRODUCTS / 400e6 + 2 * VALUES / 100e6)
    assert conv.cost.moved_bytes == 2 * VALUES + 2304


def test_a_node_inside_a_layer_belongs_to_it_though_nobody_names_it(costs):
    """OpenVINO forgets the Sigmoid of a SiLU that it fuses."""
    layers = [LayerTime("a", "", "f32", 0.5, ("/conv/Conv/WithoutBiases", "/act/Mul"))]
    (conv,) = place_layers(layers, costs, ROOF)
    assert set(conv.nodes) == {"/conv/Conv", "/act/Sigmoid", "/act/Mul"}
    named = [*layers, LayerTime("b", "", "f32", 0.1, ("/act/Sigmoid",))]
    assert set(place_layers(named, costs, ROOF)[0].nodes) == {"/conv/Conv", "/act/Mul"}


def test_a_layer_called_by_its_result(costs):
    (relu,) = place_layers([LayerTime("y", "", "f32", 0.1, ("y",))], costs, ROOF)
    assert (relu.name, relu.nodes) == ("/Relu", ("/Relu",))


@pytest.mark.parametrize(
    ("layer", "bound"),
    [
        (LayerTime("Reformatting CopyNode", "Reformat", "fp32", 0.1, ()), "reformat"),
        (LayerTime("x", "", "fp32", 0.1, ("/elsewhere/Conv",)), "unknown"),
        (LayerTime("x", "", "fp32", 0.0029, ("/Relu",)), "memory"),  # it cannot be faster: 13 us
        (LayerTime("x", "", "fp32", 0.1, ("/Relu",)), "memory"),
    ],
)
def test_bounds(costs, layer, bound):
    (placed,) = place_layers([layer], costs, ROOF)
    assert placed.bound == bound


def test_a_tiny_layer_is_bound_by_its_launch(costs):
    fast = MachineRoof("gpu", {"fp32": 1e5}, 5e3, 0.005, "made up")
    tiny, slow = place_layers(
        [LayerTime("a", "", "fp32", 0.010, ("/Relu",)), LayerTime("b", "", "fp32", 0.020, ("/Relu",))], costs, fast
    )
    assert (tiny.bound, slow.bound) == ("launch", "memory")


def test_a_precision_that_was_not_measured_takes_the_nearest():
    assert ROOF.peak("fp16") == 200.0
    assert ROOF.peak("tf32") == ROOF.peak("") == 100.0
    assert MachineRoof("x", {"fp32": 1.0}, 1.0, 0.0, "").peak("int8") == 1.0
    assert ROOF.ridge("int8") == 40.0


def test_roofs_from_text():
    assert roof_from_text("H200") is H200
    assert H200.ridge("fp16") == pytest.approx(206, abs=1)
    given = roof_from_text("fp32=100, int8=400,gb_s=20,launch_us=5")
    assert (dict(given.peak_gflops), given.bandwidth_gb_s) == ({"fp32": 100.0, "int8": 400.0}, 20.0)
    assert given.launch_ms == 0.005


@pytest.mark.parametrize("text", ["h100", "fp32=100", "gb_s=20", "fp32=many,gb_s=20", "", "fp32=-1,gb_s=20"])
def test_bad_roofs(text):
    with pytest.raises(InputError):
        roof_from_text(text)


@pytest.mark.parametrize(
    ("name", "ours"), [("i8", "int8"), ("u8", "int8"), ("f16", "fp16"), ("BF16", "bf16"), ("", "")]
)
def test_precisions(name, ours):
    assert layer_precision(name) == ours
