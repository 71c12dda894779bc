"""Pictures of graphs: what is in them, and that it can be read."""

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.figures.onnx_graph import Block, block_diagram, blocks_of, channel_ranges, draw_graphs, operator_bars

MARKED = "#f6c6a5"


def model_of(nodes, *, shape=("n", 3, 8, 8), output=("n", None, None, None), weights=()) -> ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op, read.split(), made.split(), name=name, **more) for op, read, made, name, more in nodes],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, list(output))],
        [numpy_helper.from_array(np.zeros(size, np.float32), name) for name, size in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def silu() -> ModelProto:
    nodes = [
        ("Conv", "images w", "c", "", {"pads": [1, 1, 1, 1]}),
        ("Sigmoid", "c", "s", "", {}),
        ("Mul", "c s", "out", "", {}),
    ]
    return model_of(nodes, weights=[("w", (4, 3, 3, 3))])


def small_yolo() -> ModelProto:
    """Two convolutions, an upsampling, a concatenation that skips back, and something that reads the skip."""
    nodes = [
        ("Conv", "images w0", "b0", "/model.0/conv/Conv", {"pads": [1, 1, 1, 1]}),
        ("Conv", "b0 w1", "c1", "/model.1/conv/Conv", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Relu", "c1", "b1", "/model.1/act/Relu", {}),
        ("Resize", "b1  scales", "b2", "/model.2/Resize", {}),
        ("Concat", "b2 b0", "b3", "/model.3/Concat", {"axis": 1}),
        ("MaxPool", "b3", "out", "/model.4/m/MaxPool", {"kernel_shape": [1, 1]}),
    ]
    model = model_of(nodes, weights=[("w0", (4, 3, 3, 3)), ("w1", (6, 4, 3, 3))])
    model.graph.node[3].input[:] = ["b1", "", "scales"]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    return model


def texts(figure) -> dict[str, list]:
    """Return the visible texts, with the boxes they take after drawing."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found: dict[str, list] = {}
    for axes in figure.axes:
        for text in (*axes.texts, axes.title, *axes.get_yticklabels()):
            found.setdefault(text.get_text(), []).append((text, text.get_window_extent(canvas.get_renderer())))
    return found


def arrows(figure) -> list[FancyArrowPatch]:
    return [patch for axes in figure.axes for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


class TestDrawGraphs:
    def test_every_node_input_and_output_has_a_box_and_every_edge_an_arrow(self):
        figure = draw_graphs({"silu": silu()})
        assert {"images", "Conv", "Sigmoid", "Mul", "out"} <= set(texts(figure))
        assert len(arrows(figure)) == 5  # images-Conv, Conv-Sigmoid, Conv-Mul, Sigmoid-Mul, Mul-out

    def test_constants_are_left_out(self):
        model = silu()
        model.graph.node.insert(0, helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.zeros(1))))
        assert "Constant" not in texts(draw_graphs({"silu": model}))

    def test_marked_nodes_have_another_colour(self):
        figure = draw_graphs({"silu": silu()}, marked=["s"])
        colors = {name: to_hex(found[0][0].get_bbox_patch().get_facecolor()) for name, found in texts(figure).items()
                  if found[0][0].get_bbox_patch()}  # fmt: skip
        assert [name for name, color in colors.items() if color == MARKED] == ["Sigmoid"]

    def test_branches_are_listed(self):
        value = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
        then = helper.make_graph([helper.make_node("Neg", ["images"], ["b"])], "t", [], [value])
        other = helper.make_graph([helper.make_node("Identity", ["images"], ["b"])], "e", [], [value])
        model = model_of([("If", "on", "out", "", {"then_branch": then, "else_branch": other})])
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "on"))
        assert "If\nthen: Neg\nelse: Identity" in texts(draw_graphs({"if": model}))

    @pytest.mark.parametrize("length", [1, 6, 20])
    def test_boxes_do_not_overlap_and_nothing_is_cut_off(self, length):
        nodes = [("Sigmoid", "images", "t0", "", {})]
        nodes += [("Mul", f"t{n} images", f"t{n + 1}", "", {}) for n in range(length)]
        nodes.append(("GlobalAveragePool", f"t{length}", "out", "", {}))
        figure = draw_graphs({"a": model_of(nodes), "b": silu()})
        boxes = [
            text.get_bbox_patch().get_window_extent()
            for found in texts(figure).values()
            for text, _ in found
            if text.get_bbox_patch()
        ]
        assert len(boxes) == length + 4 + 5
        width, height = figure.get_size_inches() * figure.dpi
        for number, box in enumerate(boxes):
            assert box.x0 >= -1
            assert box.x1 <= width + 1
            assert box.y0 >= -1
            assert box.y1 <= height + 1
            assert not any(box.overlaps(other) for other in boxes[:number])

    def test_branches_get_lanes_of_their_own(self):
        nodes = [("Relu", "images", "a", "", {}), ("Tanh", "images", "b", "", {}), ("Add", "a b", "out", "", {})]
        found = texts(draw_graphs({"g": model_of(nodes)}))
        assert found["Relu"][0][1].y0 != found["Tanh"][0][1].y0

    @pytest.mark.parametrize("graphs", [{}, {"many": model_of([("Relu", "images", "x", "", {})] * 61)}])
    def test_what_cannot_be_drawn(self, graphs):
        with pytest.raises(InputError, match="cannot be drawn"):
            draw_graphs(graphs)


class TestBlocks:
    def test_blocks_of_a_network(self):
        assert blocks_of(small_yolo()) == (
            Block(0, "Conv", 1, (4, 8, 8), (-1,), "b0"),
            Block(1, "Conv", 2, (6, 4, 4), (0,), "b1"),
            Block(2, "Upsample", 1, (6, 8, 8), (1,), "b2"),
            Block(3, "Concat", 1, (10, 8, 8), (0, 2), "b3"),
            Block(4, "SPPF", 1, (10, 8, 8), (3,), "out"),
        )

    def test_given_kinds_go_before_guesses(self):
        assert [block.kind for block in blocks_of(small_yolo(), kinds=("Stem", "Down"))] == [
            "Stem", "Down", "Upsample", "Concat", "SPPF"
        ]  # fmt: skip

    def test_unnamed_nodes_tell_no_blocks(self):
        with pytest.raises(InputError, match="not named after modules"):
            blocks_of(silu())

    def test_the_diagram_shows_every_block_and_every_skip(self):
        blocks = blocks_of(small_yolo())
        figure = block_diagram(blocks)
        boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
        assert len(boxes) == len(blocks)
        assert len(arrows(figure)) == 1  # from block 0 over 1 and 2 to 3
        assert "3\nCat\n10\n1" in texts(figure)
        assert {"8", "4"} <= set(texts(figure))

    def test_a_block_without_resolution_stands_between_the_levels(self):
        blocks = (
            Block(0, "Conv", 1, (4, 8, 8), (-1,)),
            Block(1, "Conv", 1, (4, 4, 4), (0,)),
            Block(2, "Detect", 9, (6, 80), (1,)),
        )
        found = texts(block_diagram(blocks))
        tops = [found[text][0][0].get_position()[1] for text in ("0\nConv\n4\n1", "2\nDet\n6\n9", "1\nConv\n4\n1")]
        assert tops == sorted(tops, reverse=True)
        assert len(set(tops)) == 3

    def test_no_blocks_at_all(self):
        assert block_diagram(()).axes


class TestBarsAndRanges:
    def test_bars_show_counts_and_totals(self):
        figure = operator_bars({"before": {"Conv": 3, "Shape": 2}, "after": {"Conv": 3}})
        axes = figure.axes[0]
        assert [text.get_text() for text in axes.get_yticklabels()] == ["Conv", "Shape"]
        assert [bar.get_width() for container in axes.containers for bar in container] == [3, 2, 3, 0]
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["before: 5 nodes", "after: 3 nodes"]

    def test_no_versions(self):
        assert operator_bars({}).axes[0].get_legend() is None

    def test_ranges_tell_the_spread(self):
        weights = np.ones((3, 2, 1, 1), np.float32)
        weights[1] *= -10
        figure = channel_ranges({"even": np.ones((3, 2, 1, 1), np.float32), "uneven": weights})
        labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert labels == ["even: largest 1 times the smallest", "uneven: largest 10 times the smallest"]
        assert figure.axes[0].lines[1].get_ydata().tolist() == [10, 1, 1]


def test_global_settings_stay_as_they_are():
    before = dict(matplotlib.rcParams)
    draw_graphs({"g": silu()})
    operator_bars({"a": {"Conv": 1}})
    assert dict(matplotlib.rcParams) == before
