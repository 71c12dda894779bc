import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError, OutputError
from yolotrt_lab.export.graph import infer_tensor_types
from yolotrt_lab.precision.fp16 import convert_to_fp16


def types_of(path):
    return {name: element_type for name, (element_type, _) in infer_tensor_types(onnx.load(path)).items()}


def constant_named(model, name):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


@pytest.fixture
def converted(detector, tmp_path):
    return convert_to_fp16(detector, tmp_path / "half.onnx")


def test_results_stay_within_the_ladder(detector, converted, images, run, run_openvino, errors):
    expected = run(detector, images)
    assert max(errors(run(converted.path, images), expected)) < 1e-2
    assert max(errors(run_openvino(converted.path, images)[0], expected)) < 1e-2
    assert max(errors(run(converted.path, images), expected)) > 1e-6  # it is not FP32 by another name


def test_every_layer_of_the_network_is_fp16(converted):
    types = types_of(converted.path)
    model = onnx.load(converted.path)
    for node in model.graph.node:
        if node.op_type == "Cast" or node.name.startswith(("/dfl/", "/decode/")):
            continue
        assert types[node.output[0]] == TensorProto.FLOAT16, node.name
    assert {node.name for node in model.graph.node if node.name.startswith("/stem/")} <= set(converted.converted)


def test_the_decode_is_fp32_throughout(converted):
    """No value passes through FP16 between two nodes of the decode, or keeping it in FP32 would be in vain."""
    types = types_of(converted.path)
    model = onnx.load(converted.path)
    decode = [node for node in model.graph.node if node.name.startswith(("/dfl/", "/decode/"))]
    assert len(decode) == 17
    for node in decode:
        assert types[node.output[0]] == TensorProto.FLOAT
        assert "decode" in converted.kept[node.name]
    makers = {name: node for node in model.graph.node for name in node.output}
    for cast in (node for node in model.graph.node if node.op_type == "Cast"):
        assert cast.input[0] == "images" or makers[cast.input[0]].op_type == "Conv"


def test_casts_stand_only_at_the_borders(converted):
    # images to FP16; the logits of the two last convolutions to FP32
    assert converted.cast_count == 3
    assert [node.op_type for node in onnx.load(converted.path).graph.node].count("Cast") == 3


def test_a_shared_border_is_crossed_once(build, tmp_path):
    model = build()
    model.graph.node.append(helper.make_node("Relu", ["/box_last/Conv_output"], ["again"], name="/decode/Again"))
    model.graph.node.append(helper.make_node("Neg", ["/box_last/Conv_output"], ["against"], name="/decode/Against"))
    onnx.save(model, tmp_path / "m.onnx")
    report = convert_to_fp16(tmp_path / "m.onnx", tmp_path / "h.onnx", keep_fp32=["/decode/Again", "/decode/Against"])
    assert report.cast_count == 3


def test_weights_are_stored_in_half(detector, converted):
    before, after = onnx.load(detector), onnx.load(converted.path)
    half = constant_named(after, "p3.weight_fp16")
    np.testing.assert_array_equal(
        numpy_helper.to_array(half), numpy_helper.to_array(constant_named(before, "p3.weight")).astype(np.float16)
    )
    assert constant_named(after, "dfl.weight").data_type == TensorProto.FLOAT
    assert constant_named(after, "resize.scales").data_type == TensorProto.FLOAT  # the standard wants float32 there
    assert "p3.weight" not in {tensor.name for tensor in after.graph.initializer}


def test_inputs_and_outputs(detector, converted, tmp_path, images, run, errors):
    assert run(converted.path, images).dtype == np.float32
    report = convert_to_fp16(detector, tmp_path / "io.onnx", keep_io=False)
    output = run(report.path, images.astype(np.float16))
    assert output.dtype == np.float16
    assert max(errors(output, run(detector, images))) < 1e-2
    assert [value.name for value in onnx.load(report.path).graph.output] == ["output0"]


def test_metadata_and_operator_set_stay(converted):
    model = onnx.load(converted.path)
    assert {entry.key for entry in model.metadata_props} == {"names", "task", "stride"}
    assert model.opset_import[0].version == 17


def test_nodes_can_be_kept(detector, tmp_path):
    report = convert_to_fp16(detector, tmp_path / "h.onnx", keep_fp32=["/neck/Conv"])
    assert report.kept["/neck/Conv"] == "kept by request"
    types = types_of(report.path)
    assert types["/neck/Conv_output"] == TensorProto.FLOAT
    assert types["/neck/Sigmoid_output"] == TensorProto.FLOAT16
    with pytest.raises(InputError, match="no node"):
        convert_to_fp16(detector, tmp_path / "h.onnx", keep_fp32=["/nack/Conv"])


def test_constants_beyond_fp16_keep_their_node(build, tmp_path, images, run, errors):
    model = build()
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e6), "large"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e-6), "small"))
    stem = next(node for node in model.graph.node if node.name == "/stem/Conv")
    up = helper.make_node("Mul", ["images", "large"], ["enlarged"], name="/Enlarge")
    down = helper.make_node("Mul", ["enlarged", "small"], ["shrunk"], name="/Shrink")
    stem.input[0] = "shrunk"
    nodes = [up, down, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "m.onnx")
    report = convert_to_fp16(tmp_path / "m.onnx", tmp_path / "h.onnx", keep_fp32=["/Shrink"])
    assert "65504" in report.kept["/Enlarge"]
    assert max(errors(run(report.path, images), run(tmp_path / "m.onnx", images))) < 1e-2


def test_values_too_small_for_fp16_are_reported(build, tmp_path):
    model = build()
    tensor = constant_named(model, "p3.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, :2] = 1e-9
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "m.onnx")
    (loss,) = convert_to_fp16(tmp_path / "m.onnx", tmp_path / "h.onnx").losses
    assert (loss.name, loss.flushed_to_zero, loss.overflowing) == ("p3.weight", 2, 0)
    assert 0 < loss.relative_l2 < 1e-3


def test_graphs_with_constants_and_types_from_attributes(build, tmp_path, images, run, errors):
    """What an export without simplification holds: Constant nodes, ConstantOfShape, Range, Cast."""
    model = build()
    stem = next(node for node in model.graph.node if node.name == "/stem/Conv")
    position = list(model.graph.node).index(stem)
    shape = numpy_helper.from_array(np.int64([1, 3, 1, 1]), "shape")
    limits = [numpy_helper.from_array(np.float32(value), name) for value, name in ((0, "from"), (3, "to"), (1, "by"))]
    added = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32([2]))),
        helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=numpy_helper.from_array(np.float32([1]))),
        helper.make_node("Range", ["from", "to", "by"], ["range"]),
        helper.make_node("Reshape", ["range", "shape"], ["ramp"]),
        helper.make_node("Cast", ["shape"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["floats"], ["least"], keepdims=0),
        helper.make_node("Mul", ["ones", "two"], ["twos"]),
        helper.make_node("Add", ["twos", "ramp"], ["sum"]),
        helper.make_node("Mul", ["sum", "least"], ["factor"]),
        helper.make_node("Mul", ["images", "factor"], ["scaled"]),
    ]
    stem.input[0] = "scaled"
    nodes = [*model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:position], *added, *nodes[position:]])
    model.graph.initializer.extend([shape, *limits])
    onnx.save(model, tmp_path / "m.onnx")
    report = convert_to_fp16(tmp_path / "m.onnx", tmp_path / "h.onnx")
    assert any("attribute" in reason for reason in report.kept.values())
    assert any("no FP16 form" in reason for reason in report.kept.values())  # Range
    assert max(errors(run(report.path, images), run(tmp_path / "m.onnx", images))) < 1e-2


def test_what_cannot_be_converted(build, detector, converted, tmp_path):
    with pytest.raises(InputError, match="FP16 already"):
        convert_to_fp16(converted.path, tmp_path / "again.onnx")
    model = build()
    branch = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["same"])],
        "branch",
        [],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.bool_(True), "yes"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["idle"], then_branch=branch, else_branch=branch))
    onnx.save(model, tmp_path / "control.onnx")
    with pytest.raises(InputError, match="control flow"):
        convert_to_fp16(tmp_path / "control.onnx", tmp_path / "h.onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        convert_to_fp16(detector, tmp_path / "file" / "h.onnx")
    with pytest.raises(InputError, match="No such file"):
        convert_to_fp16(tmp_path / "missing.onnx", tmp_path / "h.onnx")


def test_why_the_decode_stays_in_fp32():
    """The numbers behind the docstring: the same logits, decoded in FP16 and in FP32."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(0, 15, (4, 8400)).astype(np.float32)
    anchors = rng.uniform(0, 80, (2, 8400)).astype(np.float32)

    def centers(dtype):
        low, high = (
            anchors.astype(dtype) + sign * part.astype(dtype) for sign, part in ((-1, sides[:2]), (1, sides[2:]))
        )
        return ((low + high) / dtype(2) * dtype(8)).astype(np.float64)

    error_px = np.abs(centers(np.float16) - centers(np.float32))
    assert 0.2 < error_px.max() < 1.0  # whole fractions of a pixel
    logits_error = np.abs(sides.astype(np.float16) - sides.astype(np.float64)) * 8
    assert logits_error.max() < 0.05
