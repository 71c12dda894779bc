import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.layer_costs import GraphCosts, graph_costs

FLOAT = TensorProto.FLOAT


def model_of(nodes, constants=(), *, shape=("batch", 3, 8, 8), outputs=None):
    value = helper.make_tensor_value_info
    names = outputs or [nodes[-1].output[0]]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants]
    graph = helper.make_graph(
        nodes, "g", [value("x", FLOAT, shape)], [value(name, FLOAT, None) for name in names], tensors
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def conv_block(*, activation_after=True):
    """x (3, 8, 8) -> Conv 3x3 to 4 channels, stride 2 -> SiLU -> (4, 4, 4)."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="/Conv", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Sigmoid", ["c"], ["s"], name="/Sigmoid"),
        helper.make_node("Mul", ["c", "s"], ["y"], name="/Mul"),
    ]
    return model_of(nodes, [("w", zeros(4, 3, 3, 3)), ("b", zeros(4))])


def test_a_convolution_by_hand():
    cost = GraphCosts(conv_block(), batch=2).node("/Conv")
    assert cost.flops == cost.product_flops == 2 * (4 * 4 * 4) * (2 * 27 + 1)
    assert cost.read_bytes == 2 * 3 * 8 * 8 * 4
    assert cost.weight_bytes == (4 * 27 + 4) * 4
    assert cost.write_bytes == 2 * 64 * 4
    assert cost.intensity == cost.flops / (cost.read_bytes + cost.weight_bytes + cost.write_bytes)


def test_what_fusion_saves():
    """Fused, the two tensors between the nodes move nowhere; the operations are the same."""
    costs = GraphCosts(conv_block())
    fused = costs.group(["/Conv", "/Sigmoid", "/Mul"], precision="fp16")
    apart = costs.total(precision="fp16")
    assert fused.flops == apart.flops == 64 * 55 + 64 + 64
    assert fused.moved_bytes == 2 * (192 + 112 + 64)
    assert apart.moved_bytes == fused.moved_bytes + 2 * (64 + 64 + 64 + 64 + 64)  # c: 1 w, 2 r; s: 1 w, 1 r


@pytest.mark.parametrize(
    ("node", "constants", "flops"),
    [
        (helper.make_node("Relu", ["x"], ["y"]), [], 192),
        (helper.make_node("Softmax", ["x"], ["y"], axis=1), [], 5 * 192),
        (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2]), [], 3 * 16 * 4),
        (helper.make_node("GlobalAveragePool", ["x"], ["y"]), [], 192),
        (helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3]), [], 192),
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]), [("w", zeros(3, 5, 2, 2))],
         2 * 192 * 5 * 4),
        (helper.make_node("Conv", ["x", "w"], ["y"], group=3), [("w", zeros(6, 1, 3, 3))], 2 * 6 * 36 * 9),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), [("w", zeros(8, 5))], 2 * 3 * 8 * 5 * 8),
        (helper.make_node("Concat", ["x", "x"], ["y"], axis=1), [], 0),
        (helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1]), [], 0),
        (helper.make_node("Resize", ["x", "", "s"], ["y"], mode="nearest"), [("s", np.float32([1, 1, 2, 2]))], 0),
        (helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear"), [("s", np.float32([1, 1, 2, 2]))],
         3 * 256 * 4 * 2),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)  # fmt: skip
def test_operators_by_hand(node, constants, flops):
    costs = GraphCosts(model_of([node], constants))
    cost = costs.total()
    assert cost.flops == flops
    assert cost.moved_bytes > 0
    assert costs.unknown_operators == ()


def test_a_matrix_product_with_a_transposed_factor():
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transA=1, transB=1)
    cost = GraphCosts(model_of([node], [("w", zeros(5, 7)), ("b", zeros(5))], shape=[7, 2])).total()
    assert cost.flops == 2 * (2 * 5) * 7 + 10


def test_views_and_constants_cost_nothing():
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"], name="/Reshape"),
        helper.make_node("Exp", ["table"], ["folded"], name="/Exp"),
        helper.make_node("Add", ["flat", "folded"], ["y"], name="/Add"),
    ]
    costs = GraphCosts(model_of(nodes, [("shape", np.int64([-1, 192])), ("table", zeros(192))]))
    for name in ("/Reshape", "/Exp"):
        assert (costs.node(name).flops, costs.node(name).moved_bytes) == (0, 0)
    assert (costs.node("/Add").weight_bytes, costs.node("/Add").read_bytes) == (768, 768)


def test_next_to_a_pair_a_value_is_one_byte():
    def pair(source, target):
        return [
            helper.make_node("QuantizeLinear", [source, "scale", "zero"], [f"{target}_q"], name=f"/{target}/Q"),
            helper.make_node("DequantizeLinear", [f"{target}_q", "scale", "zero"], [target], name=f"/{target}/DQ"),
        ]

    nodes = [
        *pair("x", "xd"),
        *pair("w", "wd"),
        helper.make_node("Conv", ["xd", "wd"], ["a"], name="/A"),
        *pair("a", "ad"),
        helper.make_node("Conv", ["ad", "v"], ["y"], name="/B"),
    ]
    constants = [("w", zeros(4, 3, 1, 1)), ("v", zeros(5, 4, 1, 1)), ("scale", np.float32(1)), ("zero", np.int8(0))]
    costs = GraphCosts(model_of(nodes, constants))
    assert costs.is_quantized
    first = costs.group(["/wd/Q", "/wd/DQ", "/A", "/ad/Q", "/ad/DQ"], precision="int8")
    assert (first.read_bytes, first.weight_bytes, first.write_bytes) == (192, 12, 256)
    second = costs.group(["/B"], precision="int8")  # its weights and its result are float32 in the graph
    assert (second.read_bytes, second.weight_bytes, second.write_bytes) == (256, 80, 1280)
    alone = costs.group(["/xd/Q", "/xd/DQ"], precision="fp32")
    assert (alone.read_bytes, alone.write_bytes) == (768, 192)


def test_bad_input(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be read"):
        graph_costs(tmp_path / "broken.onnx")
    with pytest.raises(InputError):
        graph_costs(tmp_path / "missing.onnx")
    with pytest.raises(InputError, match="not known"):
        GraphCosts(model_of([helper.make_node("Relu", ["x"], ["y"])], shape=["n", 3, "h", "w"])).total()
    with pytest.raises(InputError, match="no node"):
        GraphCosts(conv_block()).node("/Nothing")
    with pytest.raises(InputError, match="cannot be found"):
        GraphCosts(model_of([helper.make_node("Add", ["x", "w"], ["y"])], [("w", zeros(7))]))
