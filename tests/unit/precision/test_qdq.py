import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.findings import graph_precision
from yolotrt_lab.export.graph import GraphIndex
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.qdq import check_qdq_rules, quantize_onnx, weight_scales
from yolotrt_lab.types import Precision


@pytest.fixture
def table(detector, images):
    return calibrate(detector, [images], method="minmax", threads=1)


@pytest.fixture(params=[Precision.FP32, Precision.FP16])
def quantized(request, detector, table, tmp_path):
    return quantize_onnx(detector, tmp_path / "int8.onnx", table=table, base=request.param)


def parts(model, name):
    """Return (node, index, dequantize nodes in front of its inputs or None)."""
    index = GraphIndex(model.graph)
    node = next(node for node in model.graph.node if node.name == name)
    makers = [index.producer(source) for source in node.input]
    return (
        node,
        index,
        [maker if maker is not None and maker.op_type == "DequantizeLinear" else None for maker in makers],
    )


def test_the_report(quantized):
    assert len(quantized.convs) == 8
    assert quantized.adds == ("/residual/Add",)
    assert set(quantized.kept) == {"/box_last/Conv", "/cls_last/Conv", "/dfl/Conv"}
    assert (quantized.activation_count, quantized.scale_count) == (8, 7)
    assert quantized.size_bytes == quantized.path.stat().st_size


def test_the_model_says_what_it_was_calibrated_on(quantized, table):
    properties = {entry.key: entry.value for entry in onnx.load(quantized.path).metadata_props}
    assert properties["calibration_digest"] == table.digest
    assert properties["calibration_method"] == "minmax"


def test_the_graph_keeps_tensorrts_rules(quantized):
    assert check_qdq_rules(quantized.path) == ()
    assert graph_precision(onnx.load(quantized.path)) is Precision.INT8


def test_results_stay_close(quantized, detector, images, run, run_openvino, errors):
    expected = run(detector, images)
    boxes, scores = errors(run(quantized.path, images), expected)
    assert boxes < 0.15
    assert scores < 0.15
    assert max(boxes, scores) > 1e-4  # it does quantize
    actual, kernels = run_openvino(quantized.path, images)
    assert max(errors(actual, expected)) < 0.15
    assert sum(kernel.endswith("I8") for kernel in kernels) == 8


def test_openvino_computes_what_onnx_runtime_does(quantized, images, run, run_openvino, errors):
    """Concat is where OpenVINO goes wrong on its own; both must agree far within a quantization step."""
    assert max(errors(run_openvino(quantized.path, images)[0], run(quantized.path, images))) < 0.03


def test_pairs_are_where_they_belong(quantized):
    model = onnx.load(quantized.path)
    for name in ("/stem/Conv", "/p3/Conv", "/neck/Conv"):
        _, _, pairs = parts(model, name)
        assert [pair is not None for pair in pairs] == [True, True, False]  # input, weights, never the bias
    assert all(parts(model, "/residual/Add")[2])
    for name in (
        "/box_last/Conv",
        "/cls_last/Conv",
        "/dfl/Conv",
        "/spp/Concat",
        "/pool/MaxPool",
        "/up/Resize",
        "/stem/Mul",
    ):
        assert not any(parts(model, name)[2]), name


def test_a_tensor_is_quantized_once(quantized):
    model = onnx.load(quantized.path)
    sources = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(sources) == len(set(sources)) == 8 + 8  # activations and weights


def test_numbers_are_onnxs(detector, table, tmp_path):
    report = quantize_onnx(detector, tmp_path / "int8.onnx", table=table)
    model = onnx.load(report.path)
    _, index, (activation, weight, _) = parts(model, "/p3/Conv")
    step = index.constant(activation.input[1])
    assert step.shape == ()
    assert step == pytest.approx(table.amax["/spp/Concat_output"] / 127)
    weights = numpy_helper.to_array(next(t for t in onnx.load(detector).graph.initializer if t.name == "p3.weight"))
    steps = index.constant(weight.input[1])
    np.testing.assert_allclose(steps, np.abs(weights).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert index.constant(weight.input[2]).dtype == np.int8
    assert not index.constant(weight.input[2]).any()


def test_joined_tensors_have_one_step(detector, table, tmp_path):
    amax = {**table.amax, "/p3/Mul_output": 1.27, "/neck/Concat_output": 2.54}
    report = quantize_onnx(detector, tmp_path / "int8.onnx", table=dataclasses.replace(table, amax=amax))
    model = onnx.load(report.path)
    for name in ("/p4/Conv", "/neck/Conv"):
        _, index, pairs = parts(model, name)
        assert index.constant(pairs[0].input[1]) == pytest.approx(0.02)  # the larger range serves both


def test_fp16_base(detector, table, tmp_path, images, run):
    report = quantize_onnx(detector, tmp_path / "int8.onnx", table=table, base=Precision.FP16)
    model = onnx.load(report.path)
    assert model.opset_import[0].version == 19
    assert {entry.key for entry in model.metadata_props} >= {"names", "task", "stride"}
    index = GraphIndex(model.graph)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = index.constant(node.input[1])
            assert scale.dtype == np.float16
            assert (scale >= 2.0**-14).all()  # no subnormal numbers
    conv, index, _ = parts(model, "/box_last/Conv")
    assert index.initializers[conv.input[1]].data_type == TensorProto.FLOAT16
    assert index.initializers["dfl.weight"].data_type == TensorProto.FLOAT
    assert run(report.path, images).dtype == np.float32


def test_quantization_is_what_a_reference_computes(detector, table, tmp_path, images):
    """The whole graph against fake quantization done by hand in front of one convolution at a time."""
    report = quantize_onnx(
        detector,
        tmp_path / "one.onnx",
        table=table,
        high_precision_nodes=[f"/{name}/Conv" for name in ("stem", "body", "branch", "p4", "neck", "box", "cls")]
        + ["/residual/Add"],
    )
    assert report.convs == ("/p3/Conv",)
    model = onnx.load(detector)
    changed = onnx.load(report.path)
    for part in (model, changed):
        for name in ("/spp/Concat_output", "/p3/Conv_output"):
            part.graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    names = ["/spp/Concat_output", "/p3/Conv_output"]
    x, _ = onnxruntime.InferenceSession(model.SerializeToString()).run(names, {"images": images})
    _, actual = onnxruntime.InferenceSession(changed.SerializeToString()).run(names, {"images": images})

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(detector).graph.initializer}
    step = np.float32(table.amax["/spp/Concat_output"] / 127)
    steps = weight_scales(constants["p3.weight"]).reshape(-1, 1, 1, 1)
    rounded_x = np.clip(np.rint(x / step), -128, 127) * step
    rounded_w = np.clip(np.rint(constants["p3.weight"] / steps), -128, 127) * steps
    expected = convolved(rounded_x, rounded_w, stride=2) + constants["p3.bias"].reshape(1, -1, 1, 1)
    assert np.abs(actual - expected).mean() < 1e-3
    np.testing.assert_allclose(actual, expected, atol=0.05)


def convolved(x, weights, *, stride):
    """A 3 x 3 convolution with padding 1, one kernel position at a time."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    size = x.shape[2] // stride
    total = 0.0
    for row in range(3):
        for column in range(3):
            window = padded[:, :, row : row + stride * size : stride, column : column + stride * size : stride]
            total = total + np.einsum("oi,nihw->nohw", weights[:, :, row, column], window)
    return total


@pytest.mark.parametrize("fp16", [False, True])
def test_weight_steps_are_usable(fp16):
    weights = np.zeros((4, 2, 1, 1), np.float32)
    weights[0], weights[1, 0], weights[2] = 1.27, -12.7, 1e-12
    steps = weight_scales(weights, fp16=fp16)
    assert steps.dtype == np.float32
    np.testing.assert_allclose(steps[:2], [0.01, 0.1], rtol=1e-3)
    assert (steps > 0).all()
    if fp16:
        np.testing.assert_array_equal(steps, steps.astype(np.float16).astype(np.float32))


def test_dead_tensors_stay_out(detector, table, tmp_path, images, run):
    dead = dataclasses.replace(table, amax={**table.amax, "/p3/Mul_output": 0.0})
    report = quantize_onnx(detector, tmp_path / "int8.onnx", table=dead)
    assert "zero on every calibration image" in report.kept["/p4/Conv"]
    assert np.isfinite(run(report.path, images)).all()


def test_tables_of_other_models_are_refused(detector, table, tmp_path):
    amax = {name: value for name, value in table.amax.items() if name != "/stem/Mul_output"}
    with pytest.raises(InputError, match="does not belong to this model") as caught:
        quantize_onnx(detector, tmp_path / "int8.onnx", table=dataclasses.replace(table, amax=amax))
    assert "/stem/Mul_output" in caught.value.got
    assert not (tmp_path / "int8.onnx").exists()


def test_other_bad_input(detector, table, tmp_path, build):
    output = tmp_path / "int8.onnx"
    quantize_onnx(detector, output, table=table)
    with pytest.raises(InputError, match="quantized already"):
        quantize_onnx(output, tmp_path / "twice.onnx", table=table)
    with pytest.raises(InputError, match="base precision"):
        quantize_onnx(detector, output, table=table, base=Precision.INT8)
    with pytest.raises(InputError, match="no node"):
        quantize_onnx(detector, output, table=table, high_precision_nodes=["/nothing"])
    onnx.save(build(opset=12), tmp_path / "old.onnx")
    with pytest.raises(InputError, match="without per-channel quantization"):
        quantize_onnx(tmp_path / "old.onnx", output, table=table)
