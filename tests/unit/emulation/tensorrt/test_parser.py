"""The ONNX parser: what it accepts, and every way it says no."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import EmulationError


@pytest.fixture
def parse(trt, lab):
    """Return a function that parses bytes and returns (success, parser)."""

    def run(data, path=None):
        parser = trt.OnnxParser(lab.builder.create_network(), lab.log)
        return parser.parse(data, path), parser

    return run


def errors(parser):
    return [parser.get_error(index) for index in range(parser.num_errors)]


def test_a_good_model(parse, model):
    parsed, parser = parse(model().read_bytes())
    assert parsed
    assert parser.num_errors == 0
    assert parser.get_error(0) is None


def test_from_a_file(trt, lab, model):
    network = lab.builder.create_network()
    assert trt.OnnxParser(network, lab.log).parse_from_file(str(model()))
    assert network.num_layers > 0


def test_a_missing_file(trt, lab, tmp_path):
    parser = trt.OnnxParser(lab.builder.create_network(), lab.log)
    assert not parser.parse_from_file(str(tmp_path / "none.onnx"))
    assert "Could not open file" in parser.get_error(0).desc()
    assert "Could not open file" in lab.log.errors


@pytest.mark.parametrize(
    "cut", [lambda d: b"", lambda d: b"garbage" * 20, lambda d: d[: len(d) // 2], lambda d: d[:-1]],
    ids=["empty", "garbage", "half", "one byte short"],
)  # fmt: skip
def test_bytes_that_are_no_model(trt, parse, lab, model, cut):
    parsed, parser = parse(cut(model().read_bytes()))
    assert not parsed
    (error,) = errors(parser)
    assert error.code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED
    assert error.desc() == "Failed to parse the ONNX model."
    assert error.node() == -1
    assert "Failed to parse the ONNX model." in lab.log.errors


def custom(name, op, domain=""):
    return helper.make_node(op, ["output0"], [name], name=name, domain=domain)


def test_every_unsupported_operator_is_reported(trt, parse, lab, model):
    extra = (custom("bad_1", "Det"), custom("bad_2", "Frobnicate"), custom("bad_3", "Relu", "com.example"))
    parsed, parser = parse(model(extra_nodes=extra).read_bytes())
    assert not parsed
    found = errors(parser)
    assert [(e.node_name(), e.node_operator(), e.node()) for e in found] == [
        ("bad_1", "Det", 7), ("bad_2", "Frobnicate", 8), ("bad_3", "Relu", 9),
    ]  # fmt: skip
    first = found[0]
    assert first.code() == trt.ErrorCode.INVALID_NODE
    assert first.func() == "checkFallbackPluginImporter"
    assert first.file() == "onnxOpCheckers.cpp"
    assert first.desc() == 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
    assert str(first) == (
        "In node 7 with name: bad_1 and operator: Det (checkFallbackPluginImporter): INVALID_NODE: "
        'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
    )
    assert (first.local_function_stack(), first.local_function_stack_size()) == ([], 0)
    assert 'While parsing node number 7 [Det -> "bad_1"]' in lab.log.errors
    assert "[6] creator" in lab.log.errors
    parser.clear_errors()
    assert parser.num_errors == 0


def test_a_plugin_that_tensorrt_ships_is_refused_by_the_emulation(parse, model):
    with pytest.raises(EmulationError, match=r"EfficientNMS_TRT \(node nms\) is not emulated; TensorRT ships it"):
        parse(model(extra_nodes=(custom("nms", "EfficientNMS_TRT"),)).read_bytes())


def test_asymmetric_quantization_is_refused(trt, parse, model):
    _, parser = parse(model(quantized=True, zero_point=3).read_bytes())
    found = errors(parser)
    assert len(found) == 12
    assert {error.node_operator() for error in found} == {"QuantizeLinear", "DequantizeLinear"}
    assert all("Non-zero zero point is not supported" in error.desc() for error in found)
    assert found[0].code() == trt.ErrorCode.INVALID_NODE


@pytest.mark.parametrize("typed", [True, False], ids=["uint8", "no zero point"])
def test_unsigned_quantization_is_read_as_int8(parse, lab, model, typed):
    """TensorRT has no UINT8 on a GPU, and does not refuse it either."""
    proto = onnx.load(model(quantized=True, quantized_type=np.uint8))
    for node in () if typed else proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            del node.input[2:]
    parsed, parser = parse(proto.SerializeToString())
    assert parsed
    assert any("Defaulting to INT8 instead" in text for kind, text in lab.log.messages if kind == "WARNING") == typed
    layers = [parser._network.get_layer(index) for index in range(parser._network.num_layers)]
    quantize = next(layer for layer in layers if layer.name == "images_QuantizeLinear")
    assert quantize.get_output(0).dtype.name == "INT8"


def test_weights_stored_as_uint8_are_refused(trt, parse, model):
    proto = onnx.load(model(quantized=True, quantized_type=np.uint8))
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.uint8), "stored"))
    next(node for node in proto.graph.node if node.name == "w0_DequantizeLinear").input[0] = "stored"
    _, parser = parse(proto.SerializeToString())
    (error,) = errors(parser)
    assert error.code() == trt.ErrorCode.UNSUPPORTED_NODE
    assert error.desc() == "Found invalid input type of UINT8"


def test_a_quantized_bias_is_refused(parse, model):
    """ONNX Runtime's quantizer writes one by default."""
    path = model(quantized=True)
    proto = onnx.load(path)
    bias = numpy_helper.from_array(np.zeros(8, np.int32), "bias_q")
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "bias_scale")
    proto.graph.initializer.extend([bias, scale])
    proto.graph.node.insert(0, helper.make_node("DequantizeLinear", ["bias_q", "bias_scale"], ["bias_dq"], name="bias"))
    _, parser = parse(proto.SerializeToString())
    (error,) = errors(parser)
    assert (error.node_name(), error.node_operator()) == ("bias", "DequantizeLinear")
    assert "input has type Int32 but must have type FP8, FP4, Int4, or Int8" in error.desc()


def test_symmetric_signed_quantization_is_fine(parse, model):
    assert parse(model(quantized=True).read_bytes())[0]


def test_max_pool_indices_are_refused(parse, model):
    pool = helper.make_node("MaxPool", ["output0"], ["pooled", "indices"], name="pool", kernel_shape=[2, 2])
    _, parser = parse(model(extra_nodes=(pool,)).read_bytes())
    (error,) = errors(parser)
    assert "does not support the indices output in MaxPool" in error.desc()


def test_a_node_without_its_input(parse, model):
    lost = helper.make_node("Relu", ["nowhere"], ["x"], name="lost")
    _, parser = parse(model(extra_nodes=(lost,)).read_bytes())
    (error,) = errors(parser)
    assert error.code().name == "INVALID_GRAPH"
    assert "nowhere was not registered" in error.desc()


def test_a_cycle(parse, model):
    cycle = (
        helper.make_node("Relu", ["loop_2"], ["loop_1"], name="one"),
        helper.make_node("Relu", ["loop_1"], ["loop_2"], name="two"),
    )
    _, parser = parse(model(extra_nodes=cycle).read_bytes())
    assert [error.desc() for error in errors(parser)] == [
        'toposort(graph.node(), &topoOrder) && "Failed to sort the model topologically."'
    ]


def test_nodes_out_of_order_are_no_cycle(parse, model):
    proto = onnx.load(model())
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert parse(proto.SerializeToString())[0]


def test_weights_cut_short(parse, model):
    proto = onnx.load(model())
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w1")
    weight.raw_data = weight.raw_data[:-4]
    _, parser = parse(proto.SerializeToString())
    assert [error.desc() for error in errors(parser)] == ["Failed to import initializer w1."]


def test_an_input_of_a_type_tensorrt_lacks(parse):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [1])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [1])],
    )
    parsed, parser = parse(helper.make_model(graph).SerializeToString())
    assert not parsed
    assert "x: Failed to convert ONNX date type" in parser.get_error(0).desc()


@pytest.mark.parametrize("known", [True, False])
def test_weights_in_another_file(trt, lab, model, tmp_path, known):
    proto = onnx.load(model())
    external = tmp_path / "external" / "model.onnx"
    external.parent.mkdir()
    onnx.save(proto, external, save_as_external_data=True, location="weights.bin", size_threshold=0)
    if not known:
        (external.parent / "weights.bin").unlink()
    parser = trt.OnnxParser(lab.builder.create_network(), lab.log)
    assert parser.parse_from_file(str(external)) == known
    if not known:
        assert "Failed to open file for the external weights" in parser.get_error(0).desc()


def test_weights_in_another_file_need_the_path(trt, lab, model, tmp_path):
    external = tmp_path / "external" / "model.onnx"
    external.parent.mkdir()
    onnx.save(onnx.load(model()), external, save_as_external_data=True, location="weights.bin", size_threshold=0)
    parser = trt.OnnxParser(lab.builder.create_network(), lab.log)
    assert not parser.parse(external.read_bytes())
    assert "given no path" in parser.get_error(0).desc()
    parser = trt.OnnxParser(lab.builder.create_network(), lab.log)
    assert parser.parse(external.read_bytes(), str(external))


@pytest.mark.parametrize(("op", "known"), [("Conv", True), ("EfficientNMS_TRT", True), ("QLinearConv", False)])
def test_supports_operator(trt, lab, op, known):
    parser = trt.OnnxParser(lab.builder.create_network(), lab.log)
    assert parser.supports_operator(op) == known


def test_flags(trt, lab):
    parser = trt.OnnxParser(lab.builder.create_network(), lab.log)
    flag = trt.OnnxParserFlag.ENABLE_PLUGIN_OVERRIDE
    assert not parser.get_flag(flag)
    parser.set_flag(flag)
    assert parser.get_flag(flag)
    assert parser.flags >> int(flag) & 1
    parser.clear_flag(flag)
    assert not parser.get_flag(flag)
