import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.structure import NodeRow, StructureLayer, compare_structures


def test_counts_and_rows():
    comparison = compare_structures(
        {
            "fp32": [
                StructureLayer("c0+act", "Conv", "fp32", ("/model.0/conv/Conv", "/model.0/act/Mul")),
                StructureLayer("c1", "Conv", "fp32", ("/model.1/conv/Conv",)),
            ],
            "int8": [
                StructureLayer("re", "Reorder", "int8"),
                StructureLayer("c0", "Conv", "int8", ("/model.0/conv/Conv",)),
                StructureLayer("c1+c2", "Conv", "", ("/model.2/conv/Conv", "/model.1/act/Mul", "/model.1/act/S")),
            ],
        }
    )
    fp32, int8 = comparison.engines
    assert (fp32.layers, fp32.fused_layers, fp32.fused_nodes, fp32.reformat_layers) == (2, 1, 2, 0)
    assert (int8.layers, int8.fused_layers, int8.fused_nodes, int8.reformat_layers) == (3, 1, 3, 1)
    assert fp32.precision_counts == {"fp32": 2}
    assert int8.precision_counts == {"int8": 2, "unknown": 1}
    assert comparison.rows == (
        NodeRow("/model.0/conv/Conv", {"fp32": "fp32", "int8": "int8"}),
        NodeRow("/model.1/conv/Conv", {"fp32": "fp32", "int8": None}),
        NodeRow("/model.2/conv/Conv", {"fp32": None, "int8": "unknown"}),
    )
    assert len(comparison.differing_rows) == 3


def test_quantization_is_no_work_and_every_convolution_of_a_layer_counts():
    comparison = compare_structures(
        {
            "fp32": [
                StructureLayer("a", "Conv", "fp32", ("/m/cv1/conv/Conv", "/m/cv2/conv/Conv", "/m/act/Mul")),
                StructureLayer("cat", "Concat", "fp32", ("/m/Concat",)),
            ],
            "int8": [
                StructureLayer("q", "Quantize", "int8", ("/x_QuantizeLinear", "/x_DequantizeLinear")),
                StructureLayer("b", "Conv", "int8", ("m.cv1.weight_QuantizeLinear", "/m/cv1/conv/Conv")),
                StructureLayer("c", "Conv", "fp32", ("/m/cv2/conv/Conv",)),
            ],
        }
    )
    assert comparison.rows == (
        NodeRow("/m/cv1/conv/Conv", {"fp32": "fp32", "int8": "int8"}),
        NodeRow("/m/cv2/conv/Conv", {"fp32": "fp32", "int8": "fp32"}),
    )
    fp32, int8 = comparison.engines
    assert (fp32.fused_layers, fp32.fused_nodes, fp32.reformat_layers) == (1, 3, 0)
    assert (int8.fused_layers, int8.fused_nodes, int8.reformat_layers) == (0, 0, 1)
    assert [row.node for row in comparison.differing_rows] == ["/m/cv1/conv/Conv"]


def test_a_graph_without_convolutions_is_known_by_its_nodes():
    layers = [StructureLayer("a", "PointWise", "fp32", ("/m/Add", "/m/Mul")), StructureLayer("re", "Reformat", "fp32")]
    assert [row.node for row in compare_structures({"x": layers}).rows] == ["/m/Add"]


def test_equal_engines_do_not_differ():
    layers = [StructureLayer("c", "Conv", "fp16", ("/model.0/conv/Conv",))]
    assert compare_structures({"a": layers, "b": layers}).differing_rows == ()


def test_an_engine_without_layers_and_no_engine():
    assert compare_structures({"a": []}).engines[0].layers == 0
    with pytest.raises(InputError, match="no engines"):
        compare_structures({})
