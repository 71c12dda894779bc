import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layers import (
    REFORMAT,
    LayerTime,
    block_of_node,
    hottest_layers,
    layer_matrix,
    main_node,
    measure_layers,
)


class Profiled:
    """Answers with layer times that differ from run to run."""

    def __init__(self, runs):
        self.runs = list(runs)

    def layer_times(self, feeds):
        times = self.runs.pop(0)
        return tuple(LayerTime(name, "Conv", "fp32", value, (name,)) for name, value in times)


def test_medians_over_runs_in_execution_order():
    runs = [[("b", 99.0), ("a", 99.0)], [("b", 1.0), ("a", 10.0)], [("b", 3.0), ("a", 30.0)], [("b", 2.0), ("a", 20.0)]]
    layers = measure_layers(Profiled(runs), {}, warmup=1, repeats=3)
    assert [(layer.name, layer.time_ms) for layer in layers] == [("b", 2.0), ("a", 20.0)]


def test_a_layer_missing_in_one_run_keeps_its_median():
    layers = measure_layers(Profiled([[("a", 1.0)], [("a", 3.0), ("b", 5.0)]]), {}, warmup=0, repeats=2)
    assert [(layer.name, layer.time_ms) for layer in layers] == [("a", 2.0), ("b", 5.0)]


@pytest.mark.parametrize("counts", [{"repeats": 0}, {"warmup": -1}])
def test_counts_out_of_range(counts):
    with pytest.raises(InputError, match="Nothing to time"):
        measure_layers(Profiled([]), {}, **counts)


@pytest.mark.parametrize(
    ("origins", "expected"),
    [
        ((), REFORMAT),
        (("/model.0/act/Mul",), "/model.0/act/Mul"),
        (("/model.0/act/Mul", "/model.0/conv/Conv"), "/model.0/conv/Conv"),
        (("/model.0/conv/Conv/WithoutBiases", "/model.0/conv/Conv"), "/model.0/conv/Conv"),
        (("/model.9/conv/Conv_output_0",), "/model.9/conv/Conv"),
        (("/model.1/MatMul_2",), "/model.1/MatMul_2"),
        (("/model.1/conv/act/Sigmoid", "/model.1/Gemm"), "/model.1/Gemm"),
        (
            ("model.0.conv.weight_QuantizeLinear", "/model.0/conv/Conv", "/a/Mul_output_0_QuantizeLinear"),
            "/model.0/conv/Conv",
        ),
        (("/a/Concat_output_0_QuantizeLinear", "/a/Concat_output_0_DequantizeLinear"), REFORMAT),
        (("images_to_fp16", "/model.0/conv/Conv"), "/model.0/conv/Conv"),
        (("images_to_fp16",), REFORMAT),
        (("/model.2/Cast_1", "/model.2/Add"), "/model.2/Add"),
        (("/model.2/Conversion",), "/model.2/Conversion"),
    ],
)
def test_main_node(origins, expected):
    assert main_node(origins) == expected


@pytest.mark.parametrize(
    ("node", "block"),
    [
        ("/model.4/cv1/conv/Conv", "/model.4"),
        ("/model.24/dfl/conv/Conv", "/model.24"),
        ("model.12.cv1", "model.12"),
        ("/backbone/Conv", "/backbone/Conv"),
        (REFORMAT, REFORMAT),
    ],
)
def test_block_of_node(node, block):
    assert block_of_node(node) == block


def layer(node, time_ms, *more):
    return LayerTime(f"{node}+", "Conv", "fp32", time_ms, (node, *more) if node else ())


def test_the_same_node_lines_up_however_it_was_fused():
    matrix = layer_matrix(
        {
            "fp32": [layer("", 0.5), layer("/model.0/Conv", 3.0, "/model.0/act/Mul"), layer("/model.1/Conv", 1.0)],
            "int8": [layer("/model.0/Conv", 1.0), layer("/model.0/act/Mul", 0.25), layer("/model.1/Conv", 0.5)],
        }
    )
    assert matrix.rows == ("/model.0/Conv", "/model.1/Conv", "/model.0/act/Mul", REFORMAT)
    np.testing.assert_allclose(matrix.time_ms, [[3, 1], [1, 0.5], [0, 0.25], [0.5, 0]])
    np.testing.assert_allclose(matrix.share.sum(axis=0), 1)


def test_by_block_sums():
    matrix = layer_matrix({"a": [layer("/model.0/Conv", 3.0), layer("/model.0/act/Mul", 1.0)]}, by_block=True)
    assert matrix.rows == ("/model.0",)
    assert matrix.time_ms.tolist() == [[4.0]]


def test_hottest_keeps_network_order_and_loses_no_time():
    matrix = layer_matrix({"a": [layer(f"/model.{n}/Conv", float(n)) for n in (5, 1, 9, 2, 7)]})
    top = matrix.hottest(2)
    assert top.rows == ("/model.9/Conv", "/model.7/Conv", "(other 3)")
    assert top.time_ms.sum() == matrix.time_ms.sum()
    assert matrix.hottest(4) is matrix  # a rest of one row is no shorter than that row


def test_an_engine_without_time_has_no_shares():
    matrix = layer_matrix({"a": [layer("/model.0/Conv", 0.0)], "b": []})
    assert matrix.share.tolist() == [[0.0, 0.0]]


def test_no_engines():
    with pytest.raises(InputError, match="no layers"):
        layer_matrix({})


def test_hottest_layers_ties_stay_in_order():
    layers = [LayerTime(name, "", "", time_ms) for name, time_ms in (("a", 1.0), ("b", 2.0), ("c", 2.0))]
    assert [item.name for item in hottest_layers(layers, count=2)] == ["b", "c"]
    assert hottest_layers([], count=2) == ()
