"""The drawings of fused layers, from a network written by hand and layers as engines report them."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layer_costs import GraphCosts
from yolotrt_lab.profiling.layers import LayerTime, layer_matrix
from yolotrt_lab.profiling.roofline import MachineRoof, place_layers
from yolotrt_lab.report.plots.fusion import block_fusion, hottest_fusions
from yolotrt_lab.report.plots.fusion_groups import FusionGraph
from yolotrt_lab.report.plots.layers import network_heatmap
from yolotrt_lab.report.plots.roofline import layer_roofline
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.report.schema import PlatformInfo

ROOF = MachineRoof("test", {"fp32": 100.0, "int8": 400.0}, 10.0, 0.001, "made up")
EMULATED = PlatformInfo("emulated", "10.16", "AMD EPYC")


def conv(source, name, target):
    return [
        helper.make_node("Conv", [source, "w"], [f"{target}_c"], name=f"{name}/conv/Conv", pads=[1] * 4),
        helper.make_node("Sigmoid", [f"{target}_c"], [f"{target}_s"], name=f"{name}/act/Sigmoid"),
        helper.make_node("Mul", [f"{target}_c", f"{target}_s"], [target], name=f"{name}/act/Mul"),
    ]


@pytest.fixture(scope="module")
def costs():
    """/model.0, then /model.1: a bottleneck with a residual addition, in layers a, b and c."""
    nodes = [
        *conv("x", "/model.0", "a"),
        *conv("a", "/model.1/cv1", "b"),
        *conv("b", "/model.1/cv2", "c"),
        helper.make_node("Add", ["a", "c"], ["d"], name="/model.1/Add"),
        helper.make_node("Add", ["b", "d"], ["y"], name="/model.1/Add_1"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g",
        [value("x", TensorProto.FLOAT, [1, 8, 16, 16])], [value("y", TensorProto.FLOAT, [1, 8, 16, 16])],
        [numpy_helper.from_array(np.zeros((8, 8, 3, 3), np.float32), "w")],
    )  # fmt: skip
    return GraphCosts(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def origins(name):
    return (f"{name}/conv/Conv", f"{name}/act/Sigmoid", f"{name}/act/Mul")


@pytest.fixture(scope="module")
def placed(costs):
    layers = [
        LayerTime("L0", "", "fp32", 0.3, origins("/model.0")),
        LayerTime("Reformatting CopyNode for Input Tensor 0 to L1", "Reformat", "int8", 0.07, ()),
        LayerTime("L1", "", "int8", 0.5, origins("/model.1/cv1")),
        LayerTime("L2", "", "int8", 0.2, (*origins("/model.1/cv2"), "/model.1/Add")),
    ]
    return place_layers(layers, costs, ROOF)


@pytest.fixture(scope="module")
def graph(placed, costs):
    return FusionGraph(placed, costs)


def texts(figure):
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_groups_and_what_flows(graph):
    assert list(graph.groups) == ["L0", "L1", "L2", "/model.1/Add_1"]
    assert set(graph.edges) == {
        ("L0", "L1"), ("L0", "L2"), ("L1", "L2"), ("L2", "/model.1/Add_1"), ("L1", "/model.1/Add_1"),
    }  # fmt: skip
    assert graph.groups["L2"].operators == "Conv Sigmoid Mul Add"
    assert graph.groups["L1"].reformat_ms == 0.07
    assert graph.groups["/model.1/Add_1"].precision == ""
    assert graph.hottest(2) == ["L1", "L0"]
    assert graph.of_block("/model.1") == ["L1", "L2", "/model.1/Add_1"]
    assert graph.blocks() == pytest.approx({"/model.0": 0.3, "/model.1": 0.7})
    assert graph.ranks(["L1", "L2", "/model.1/Add_1"]) == {"L1": 0, "L2": 1, "/model.1/Add_1": 2}


def test_a_block(graph):
    shown = texts(block_fusion(graph, block="/model.1", platform=EMULATED))
    assert any("8 nodes in 2 layers, 0.7 ms" in text for text in shown)
    assert "reads from /model.0/conv/Conv" in shown
    assert shown.count("Conv 3x3\n8 to 8") == 2
    assert shown.count("Add") == 2
    assert "0.5 ms  46.7%  INT8" in shown
    assert "no layer of its own" in shown
    assert "reformat 0.07 ms" in shown
    assert any("not GPU timings" in text for text in shown)


def test_a_block_with_many_branches_is_drawn_small(costs):
    nodes = [node for branch in range(6) for node in conv("x", f"/model.0/b{branch}", f"t{branch}")]
    nodes.append(helper.make_node("Concat", [f"t{n}" for n in range(6)], ["y"], name="/model.0/Concat", axis=1))
    value = helper.make_tensor_value_info
    wide = helper.make_graph(
        nodes, "g",
        [value("x", TensorProto.FLOAT, [1, 8, 16, 16])], [value("y", TensorProto.FLOAT, [1, 48, 16, 16])],
        [numpy_helper.from_array(np.zeros((8, 8, 3, 3), np.float32), "w")],
    )  # fmt: skip
    many = GraphCosts(helper.make_model(wide, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    layers = [LayerTime(f"L{n}", "", "fp32", 0.1, origins(f"/model.0/b{n}")) for n in range(6)]
    shown = texts(block_fusion(FusionGraph(place_layers(layers, many, ROOF), many), block="/model.0"))
    assert shown.count("Conv Sigmoid Mul") == 6
    assert {f"b{n}" for n in range(6)} <= set(shown)


def test_the_hottest(graph):
    shown = texts(hottest_fusions(graph, count=2))
    assert any("The 2 slowest layers" in text for text in shown)
    assert shown.count("0.3 ms  28.0%  FP32") == 2  # by itself, and as what the slowest reads from
    assert "reformat 0.07 ms" in shown


def test_no_such_block(graph):
    with pytest.raises(InputError, match="no block"):
        block_fusion(graph, block="/model.9")


def test_the_roofline(placed):
    figure = layer_roofline(placed, ROOF, labelled=2, platform=EMULATED)
    shown = texts(figure)
    assert "FP32: 100 GFLOP/s, ridge at 10" in shown
    assert "INT8: 400 GFLOP/s, ridge at 40" in shown
    (names,) = [text for text in shown if text.startswith("1  ")]
    assert names.splitlines()[0].startswith("1  /model.1/cv1/conv/Conv  0.5 ms")
    circles = [collection.get_offsets()[0] for collection in figure.axes[0].collections]
    first = next(layer for layer in placed if layer.layer.name == "L1")
    np.testing.assert_allclose(circles[0], (first.cost.intensity, first.gflops))
    assert len(circles) == 3


@pytest.mark.parametrize("draw", [lambda: layer_roofline([], ROOF), lambda: hottest_fusions(FusionGraph([], GraphCosts(
    helper.make_model(helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", 17)]))))])  # fmt: skip
def test_nothing_to_draw(draw):
    assert figure_to_png(draw()).startswith(b"\x89PNG")


def test_the_network_in_the_order_of_its_blocks():
    layers = [LayerTime(f"l{n}", "", "", 1.0 + n, (f"/model.{n}/conv/Conv",)) for n in (0, 2, 10, 1)]
    figure = network_heatmap(layer_matrix({"a.engine": layers, "b.engine": layers[:2]}, by_block=True))
    shown = texts(figure)
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["0", "1", "2", "10"]
    assert "11.00" in shown
    assert shown.count("-") == 2
    assert "b.engine\n4.0 ms" in shown
