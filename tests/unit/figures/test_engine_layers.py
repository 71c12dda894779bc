import pytest
from matplotlib.patches import FancyBboxPatch

from yolotrt_lab.figures.engine_layers import fusion_map, layers_by_precision
from yolotrt_lab.report.plots.style import color_for, figure_to_png
from yolotrt_lab.report.schema import PlatformInfo

EMULATED = PlatformInfo("emulated", "10.16", "Emulated GPU (OpenVINO on Some CPU)")
NODES = [
    ("c1", "Conv"),
    ("c2", "Conv"),
    ("s1", "Sigmoid"),
    ("s2", "Sigmoid"),
    ("m1", "Mul"),
    ("m2", "Mul"),
    ("a", "Add"),
]
FUSED = [["c1", "s1", "m1"], ["c2", "s2", "m2"]]


def bands(axes):
    """The bands as (row, first column, last column)."""
    found = []
    for band in axes.collections:
        (x0, y0), (x1, y1) = band.get_paths()[0].get_extents().get_points()
        found.append((round((y0 + y1) / 2), round(x0 + 0.46), round(x1 - 0.46)))
    return sorted(found)


def operators(axes):
    return [text.get_text() for text in axes.texts]


def test_the_nodes_of_a_layer_stand_together():
    (axes,) = fusion_map(NODES, FUSED, columns=7).axes
    assert operators(axes) == ["Conv", "Sigmoid", "Mul", "Conv", "Sigmoid", "Mul", "Add"]
    assert bands(axes) == [(0, 0, 2), (0, 3, 5), (0, 6, 6)]


def test_a_layer_that_does_not_fit_begins_a_row():
    (axes,) = fusion_map(NODES, FUSED, columns=5).axes
    assert bands(axes) == [(0, 0, 2), (1, 0, 2), (1, 3, 3)]


def test_a_layer_longer_than_a_row_is_cut():
    (axes,) = fusion_map(NODES, [[name for name, _ in NODES]], columns=4).axes
    assert bands(axes) == [(0, 0, 3), (1, 0, 2)]


def test_what_is_left_out_is_counted():
    figure = fusion_map(NODES, FUSED, columns=3, max_rows=1)
    assert figure.get_supxlabel() == "… and 2 more layers"
    assert len([patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]) == 3
    assert fusion_map(NODES, FUSED).get_supxlabel() == ""


def test_quantizers_have_short_names():
    nodes = [("q", "QuantizeLinear"), ("dq", "DequantizeLinear"), ("", "Conv"), ("", "Conv")]
    (axes,) = fusion_map(nodes, [["q", "dq"]]).axes
    assert operators(axes) == ["Q", "DQ", "Conv", "Conv"]
    assert bands(axes) == [(0, 0, 1), (0, 2, 2), (0, 3, 3)], "nodes without a name are not one node"


def test_a_graph_without_nodes_is_an_empty_picture():
    assert figure_to_png(fusion_map([], [])).startswith(b"\x89PNG")


def test_precisions_are_drawn_and_counted():
    engines = {"FP32": {"a": "fp32", "b": "fp32", "c": "fp32"}, "INT8": {"a": "int8", "b": None, "c": "bf16"}}
    figure = layers_by_precision(engines, platform=EMULATED)
    strips, counts = figure.axes
    (image,) = strips.images
    colors = [[image.cmap(image.norm(value)) for value in row] for row in image.get_array()]
    assert len({colors[0][0], colors[0][1], colors[0][2]}) == 1
    assert len({*colors[1], colors[0][0]}) == 4
    assert [text.get_text() for text in counts.texts] == ["3", "1", "1"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["FP32", "BF16", "INT8", "not shown by the inspector"]
    assert "not GPU timings" in figure.get_supxlabel()


def test_the_colours_are_those_of_the_precisions():
    figure = layers_by_precision({"INT8": {"a": "int8"}})
    (bar,) = figure.axes[1].patches
    (handle,) = figure.legends[0].legend_handles
    assert bar.get_facecolor() == handle.get_facecolor()
    assert color_for("int8") == "#009E73"


@pytest.mark.parametrize("engines", [{}, {"empty": {}}, {"unknown": {"a": None}}])
def test_little_to_draw_is_still_a_picture(engines):
    assert figure_to_png(layers_by_precision(engines)).startswith(b"\x89PNG")
