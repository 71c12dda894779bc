"""Pictures of Q/DQ placement: what runs in INT8 is told from the graph, not assumed."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.qdq_graph import placement_graph

INT8, FLOAT, PAIR = "#009e73", "#dbe9f6", "#fff0c9"


def block(*, quantized=(), extra=()):
    """Return x -> conv, SiLU, Add(x), with a pair at each named input."""
    nodes, constants = [], [numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")]
    constants += [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(0), "z")]
    constants.append(numpy_helper.from_array(np.zeros(3, np.float32), "bias"))

    def read(name):
        if name not in quantized:
            return name
        if not any(node.output[0] == f"{name}_dq" for node in nodes):
            nodes.append(helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}_q"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", "s", "z"], [f"{name}_dq"]))
        return f"{name}_dq"

    nodes.append(helper.make_node("Conv", [read("x"), read("w"), "bias"], ["c"], name="/m/Conv"))
    nodes.append(helper.make_node("Sigmoid", ["c"], ["sig"], name="/m/Sigmoid"))
    nodes.append(helper.make_node("Mul", ["c", "sig"], ["silu"], name="/m/Mul"))
    nodes.append(helper.make_node("Add", [read("x"), read("silu")], ["y"], name="/m/Add"))
    nodes.extend(extra)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in "xy"]
    return helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], constants))


def boxes(figure):
    """Return [(label, colour)] of the boxes, once drawn."""
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    patches = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    labels = {tuple(np.round(text.get_position(), 3)): text.get_text() for text in axes.texts}
    found = []
    for patch in patches:
        x = patch.get_x() + patch.get_width() / 2
        y = patch.get_y() + patch.get_height() / 2
        found.append((labels[tuple(np.round((x, y), 3))], to_hex(patch.get_facecolor())))
    return found


def test_fp32_shows_no_pair_and_silu_as_one():
    found = boxes(placement_graph(block(), prefix="/m/"))
    assert sorted(label for label, _ in found) == ["Add", "Conv", "SiLU", "from before", "weights"]
    assert {color for label, color in found if label in ("Conv", "Add", "SiLU")} == {FLOAT}


def test_what_reads_pairs_only_runs_in_int8():
    found = boxes(placement_graph(block(quantized=("x", "w", "silu")), prefix="/m/", title="block"))
    assert sorted(label for label, color in found if color == INT8) == ["Add", "Conv"]
    assert [label for label, color in found if color == PAIR] == ["Q · DQ"] * 3
    assert ("SiLU", FLOAT) in found


@pytest.mark.parametrize(("quantized", "int8"), [(("w",), []), (("x", "w"), ["Conv"]), (("x",), []), (("silu",), [])])
def test_one_quantized_input_is_not_enough(quantized, int8):
    found = boxes(placement_graph(block(quantized=quantized), prefix="/m/"))
    assert [label for label, color in found if color == INT8] == int8


def test_boxes_do_not_overlap_even_in_several_rows():
    figure = placement_graph(block(quantized=("x", "w", "silu")), prefix="/m/", per_row=3)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    places = [(patch.get_x(), patch.get_y()) for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    for number, (x, y) in enumerate(places):
        assert all(abs(x - other) > 0.8 or abs(y - below) > 0.4 for other, below in places[number + 1 :])
        assert axes.get_xlim()[0] < x < axes.get_xlim()[1]
        assert axes.get_ylim()[0] < y < axes.get_ylim()[1]


@pytest.mark.parametrize("prefix", ["/other/", ""])
def test_nothing_or_too_much_to_draw(prefix):
    extra = [helper.make_node("Relu", ["y"], [f"r{number}"], name=f"/r{number}") for number in range(70)]
    with pytest.raises(InputError, match="cannot be drawn"):
        placement_graph(block(extra=extra), prefix=prefix)
