import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.precision import rules
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.lint.table import RULES
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.precision.rules import check_qdq_rules


@pytest.fixture
def model(detector, images, tmp_path):
    table = calibrate(detector, [images], method="minmax", threads=1)
    return onnx.load(quantize_onnx(detector, tmp_path / "int8.onnx", table=table).path)


@pytest.fixture
def check(tmp_path):
    def run(model):
        onnx.save(model, tmp_path / "changed.onnx")
        return check_qdq_rules(tmp_path / "changed.onnx")

    return run


def node_named(model, name):
    return next(node for node in model.graph.node if node.name == name)


def set_constant(model, name, value):
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def rules_of(violations):
    return {violation.rule for violation in violations}


def test_a_model_without_pairs_breaks_no_rule(detector):
    assert check_qdq_rules(detector) == ()


def test_asymmetric_zero_points(model, check):
    set_constant(model, "images_zero_point", np.int8(5))
    violations = check(model)
    assert rules_of(violations) == {"symmetric"}
    assert "zero point 5" in violations[0].message
    assert violations[0].node == "images_QuantizeLinear"


def test_the_type_is_named_before_the_zero_point(model, check):
    set_constant(model, "images_zero_point", np.uint8(128))
    assert [violation.rule for violation in check(model)][:2] == ["INT8", "symmetric"]


def test_every_rule_of_the_course_is_checked():
    assert {rule.id for rule in rules._TAUGHT} == {rule.id for rule in RULES if rule.lesson}


def test_unsigned_types(model, check):
    set_constant(model, "images_zero_point", np.uint8(0))
    assert rules_of(check(model)) == {"INT8"}


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_scales_must_be_positive(model, check, bad):
    set_constant(model, "images_scale", np.float32(bad))
    assert rules_of(check(model)) == {"positive scale"}


def test_pairs_must_match(model, check):
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "other"))
    node_named(model, "images_DequantizeLinear").input[1] = "other"
    violations = check(model)
    assert rules_of(violations) == {"pairs"}
    assert "scale differs" in violations[0].message


def test_activations_have_one_scale(model, check):
    for kind, value in (("scale", np.full(3, 0.01, np.float32)), ("zero_point", np.zeros(3, np.int8))):
        set_constant(model, f"images_{kind}", value)
    for kind in ("Quantize", "Dequantize"):
        node_named(model, f"images_{kind}Linear").attribute.append(helper.make_attribute("axis", 1))
    assert rules_of(check(model)) == {"activations per tensor"}


def test_weights_have_one_scale_per_channel(model, check):
    for kind, value in (("scale", np.float32(0.01)), ("zero_point", np.int8(0))):
        set_constant(model, f"p3.weight_{kind}", value)
    violations = check(model)
    assert rules_of(violations) == {"weights per channel"}
    assert violations[0].node == "/p3/Conv"


def test_both_or_none(model, check):
    conv = node_named(model, "/p3/Conv")
    conv.input[1] = "p3.weight"
    violations = check(model)
    assert rules_of(violations) == {"both or none"}
    assert "weights are not quantized" in violations[0].message


def add_pair(model, tensor):
    """Quantize a tensor for all its readers."""
    readers = [(node, slot) for node in model.graph.node for slot, name in enumerate(node.input) if name == tensor]
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(0.1), "s_new"), numpy_helper.from_array(np.int8(0), "z_new")]
    )
    position = max((i for i, node in enumerate(model.graph.node) if tensor in node.output), default=-1) + 1
    model.graph.node.insert(position, helper.make_node("QuantizeLinear", [tensor, "s_new", "z_new"], ["q_new"]))
    model.graph.node.insert(position + 1, helper.make_node("DequantizeLinear", ["q_new", "s_new", "z_new"], ["dq_new"]))
    for node, slot in readers:
        node.input[slot] = "dq_new"


def test_outputs_before_their_activation(model, check):
    add_pair(model, "/p3/Conv_output")
    violations = check(model)
    assert rules_of(violations) == {"inputs, not outputs"}
    assert "/p3/Conv" in violations[0].message


def test_logits_and_decode(model, check):
    add_pair(model, "/box_last/Conv_output")
    assert rules_of(check(model)) == {"head"}


def test_inside_the_decode(model, check):
    add_pair(model, "/decode/Sigmoid_output")
    violations = check(model)
    assert rules_of(violations) == {"head"}
    assert "/decode/Sigmoid" in violations[0].message


def test_a_quantized_end_of_the_head(model, check):
    add_pair(model, "/box/Mul_output")
    for kind, value in (("s_w", np.full(64, 0.01, np.float32)), ("z_w", np.zeros(64, np.int8))):
        model.graph.initializer.append(numpy_helper.from_array(value, kind))
    model.graph.node.insert(0, helper.make_node("QuantizeLinear", ["box_last.weight", "s_w", "z_w"], ["q_w"], axis=0))
    model.graph.node.insert(1, helper.make_node("DequantizeLinear", ["q_w", "s_w", "z_w"], ["dq_w"], axis=0))
    node_named(model, "/box_last/Conv").input[1] = "dq_w"
    violations = check(model)
    assert rules_of(violations) == {"head"}
    assert violations[0].node == "/box_last/Conv"


def test_quantized_biases(model, check):
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "p3.bias")
    model.graph.initializer.append(helper.make_tensor("b_q", TensorProto.INT32, bias.dims, [1] * bias.dims[0]))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "b_s"))
    model.graph.initializer.append(numpy_helper.from_array(np.int32(0), "b_z"))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b_q", "b_s", "b_z"], ["b_dq"]))
    node_named(model, "/p3/Conv").input[2] = "b_dq"
    assert rules_of(check(model)) == {"INT8", "bias"}


def test_integers_go_nowhere_else(model, check):
    model.graph.node.append(helper.make_node("Cast", ["images_quantized"], ["odd"], to=TensorProto.FLOAT))
    violations = check(model)
    assert rules_of(violations) == {"pairs"}
    assert "Cast" in violations[0].message


def test_onnx_runtimes_defaults_are_not_tensorrts(detector, images, tmp_path):
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"images": images}])

        def get_next(self):
            return next(self.batches, None)

    quantize_static(str(detector), str(tmp_path / "ort.onnx"), Reader())
    found = rules_of(check_qdq_rules(tmp_path / "ort.onnx"))
    assert {"symmetric", "bias", "inputs, not outputs", "weights per channel", "head"} <= found
