from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.unit.precision.lint.mutations import MUTATIONS, constant, drop_pair, node, pair, value
from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.lint.fix import fix_qdq
from yolotrt_lab.precision.lint.linter import lint_qdq

MODELOPT = Path(__file__).parents[1] / "modelopt" / "tiny_int8.onnx"


def relative_l2(actual, expected):
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "given.onnx", tmp_path / "fixed.onnx"


# A range widened to what UINT8, FP8 or INT16 can hold has that many fewer integers where the values are.
ROUGH = {"int16": 1.0, "fp8": 0.1, "no_zero_point": 0.1}
# These took |w| for w, or mean another Softmax by the older operator set: there is nothing to come back to.
CHANGED = ("weights_stored_as_bytes", "old_opset")


@pytest.mark.parametrize("name", [name for name, mutation in MUTATIONS.items() if mutation.fixable])
def test_what_can_be_repaired_is(clean, clean_bytes, images, run, paths, name):
    given, fixed = paths
    given.write_bytes(clean_bytes)
    expected = run(given, images)
    MUTATIONS[name].change(clean)
    onnx.save(clean, given)
    report = fix_qdq(given, fixed)
    assert report.left == ()
    assert lint_qdq(fixed) == ()
    assert {repair.rule for repair in report.repairs} == MUTATIONS[name].rules
    assert all(repair.done and repair.nodes for repair in report.repairs)
    if name not in CHANGED:
        assert relative_l2(run(fixed, images), expected) < ROUGH.get(name, 0.03)


@pytest.mark.parametrize("name", [name for name, mutation in MUTATIONS.items() if not mutation.fixable])
def test_what_cannot_be_repaired_is_said(clean, paths, name):
    given, fixed = paths
    MUTATIONS[name].change(clean)
    onnx.save(clean, given)
    report = fix_qdq(given, fixed)
    assert {violation.id for violation in report.left} == MUTATIONS[name].rules
    assert not report.clean
    assert report.repairs == ()
    assert fixed.read_bytes() == given.read_bytes()


def test_what_cannot_be_repaired_does_not_stop_the_rest(clean, paths):
    """The QuantizeLinear whose integers something else reads stays, and so do its names."""
    for name in ("bare_integers", "int32_bias", "zero_point_five"):
        MUTATIONS[name].change(clean)
    onnx.save(clean, paths[0])
    report = fix_qdq(*paths)
    assert {repair.rule for repair in report.repairs} == {"int32", "bias"}
    assert {violation.id for violation in report.left} == {"integer-reader", "zero-point"}
    onnx.checker.check_model(onnx.load(paths[1]), full_check=True)
    fix_qdq(paths[1], paths[0])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_clean_model_is_copied(clean_bytes, paths):
    given, fixed = paths
    given.write_bytes(clean_bytes)
    report = fix_qdq(given, fixed)
    assert (report.repairs, report.left, report.difference.relative_l2) == ((), (), 0.0)
    assert fixed.read_bytes() == clean_bytes


@pytest.mark.parametrize("names", [(), ("logits",)], ids=["clean", "repaired"])
def test_weights_in_a_file_of_their_own_come_along(clean, images, run, tmp_path, names):
    for name in names:
        MUTATIONS[name].change(clean)
    (tmp_path / "given").mkdir()
    given = tmp_path / "given" / "model.onnx"
    onnx.save(clean, given, save_as_external_data=True, location="weights.bin", size_threshold=256)
    expected = run(given, images)
    fix_qdq(given, tmp_path / "fixed.onnx")
    assert relative_l2(run(tmp_path / "fixed.onnx", images), expected) < 0.1


@pytest.mark.parametrize("source", ["defaults", "safe", "modelopt"])
def test_others_graphs_become_clean(ort_quantized, safe_settings, detector, images, run, paths, source):
    """Both against the FP32 model: the repair must not lose what the quantizer had."""
    given = {
        "defaults": lambda: ort_quantized(),
        "safe": lambda: ort_quantized(**safe_settings),
        "modelopt": lambda: MODELOPT,
    }[source]()
    report = fix_qdq(given, paths[1], inputs={"images": images[:1]})
    assert report.clean
    assert lint_qdq(paths[1]) == ()
    assert len(report.int8) == 9  # eight convolutions and the residual Add, as in this package's own
    assert set(report.dropped) >= {"/box_last/Conv", "/cls_last/Conv"}
    exact = run(detector, images[:1])
    before, after = (relative_l2(run(path, images[:1]), exact) for path in (given, paths[1]))
    assert after < before
    assert report.difference.inputs == "given"
    actual = relative_l2(run(paths[1], images[:1]), run(given, images[:1]))
    assert report.difference.relative_l2 == pytest.approx(actual, rel=0.5)  # ONNX Runtime fuses, the report does not
    again = fix_qdq(paths[1], paths[0])
    assert again.repairs == ()
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_ranges_cover_the_old_ones(clean, paths):
    """Zero point 3 in UINT8 with step s means -3 s to 252 s; INT8 needs 252 s / 127 for that."""
    step = float(value(clean, "images_scale"))
    MUTATIONS["asymmetric_bytes"].change(clean)
    onnx.save(clean, paths[0])
    fix_qdq(*paths)
    fixed = onnx.load(paths[1])
    assert float(value(fixed, "images_scale")) == pytest.approx(252 * step / 127, rel=1e-6)
    assert value(fixed, "images_zero_point").dtype == np.int8


def test_untouched_scales_keep_every_bit(clean, clean_bytes, paths):
    MUTATIONS["zero_point_five"].change(clean)
    onnx.save(clean, paths[0])
    fix_qdq(*paths)
    before, after = onnx.load_model_from_string(clean_bytes), onnx.load(paths[1])
    for tensor in before.graph.initializer:
        if tensor.name.endswith("_scale") and tensor.name != "images_scale":
            np.testing.assert_array_equal(value(after, tensor.name), numpy_helper.to_array(tensor))


def test_steps_of_weights_that_someone_chose_are_kept(clean, paths):
    """Clipping the largest weights may have been the point."""
    chosen = value(clean, "p3.weight_scale") * np.float32(0.8)
    constant(clean, "p3.weight_scale", chosen)
    MUTATIONS["logits"].change(clean)
    onnx.save(clean, paths[0])
    assert fix_qdq(*paths).clean
    np.testing.assert_array_equal(value(onnx.load(paths[1]), "p3.weight_scale"), chosen)


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_of_two_pairs_in_a_row_the_narrower_range_stays(clean, paths, factor):
    """It is what was left of the tensor; the wider would only cost steps."""
    first = value(clean, "images_scale")
    pair(clean, "images_dequantized", scale=first * np.float32(factor))
    onnx.save(clean, paths[0])
    assert fix_qdq(*paths).clean
    assert value(onnx.load(paths[1]), "images_scale") == pytest.approx(first * min(factor, 1.0), rel=1e-6)


def test_biases_come_back_as_floats(clean, clean_bytes, paths):
    expected = value(onnx.load_model_from_string(clean_bytes), "p3.bias")
    MUTATIONS["int32_bias"].change(clean)
    onnx.save(clean, paths[0])
    fix_qdq(*paths)
    fixed = onnx.load(paths[1])
    conv = node(fixed, "/p3/Conv")
    np.testing.assert_allclose(value(fixed, conv.input[2]), expected, atol=1e-5)
    assert not any(tensor.data_type == onnx.TensorProto.INT32 for tensor in fixed.graph.initializer)


def test_a_layer_without_a_range_goes_back_to_float(clean, paths):
    """Nothing says how far its input reaches, and nothing is made up."""
    MUTATIONS["scale_at_run_time"].change(clean)
    onnx.save(clean, paths[0])
    report = fix_qdq(*paths)
    assert report.dropped == {"/stem/Conv": "its input has no known range"}
    fixed = onnx.load(paths[1])
    conv = node(fixed, "/stem/Conv")
    assert list(conv.input[:2]) == ["images", "stem.weight"]


@pytest.mark.parametrize(
    ("conv", "tensor", "readers", "needs"),
    [
        ("/p3/Conv", "/residual/Add_output", ["/pool/MaxPool", "/spp/Concat"], "/spp/Concat_output"),
        ("/p4/Conv", "/p3/Conv_output", ["/p3/Sigmoid", "/p3/Mul"], "/p3/Mul_output"),
    ],
    ids=["joined and pooled", "behind SiLU"],
)
def test_ranges_follow_from_those_before(clean, paths, conv, tensor, readers, needs):
    """A convolution that lost its input's pair gets one where the range of what the input is made of is known."""
    drop_pair(clean, conv, 0)
    for kind in ("Dequantize", "Quantize"):
        clean.graph.node.remove(node(clean, f"{needs}_{kind}Linear"))
    pair(clean, tensor, scale=0.05, at=readers)
    onnx.save(clean, paths[0])
    report = fix_qdq(*paths)
    assert report.clean
    assert report.dropped == {}
    assert float(value(onnx.load(paths[1]), f"{needs}_scale")) == pytest.approx(0.05)


def test_readers_with_pairs_of_their_own_share_the_wider(clean, paths):
    """As ONNX Runtime writes them with DedicatedQDQPair."""
    drop_pair(clean, "/cls/Conv", 0)
    pair(clean, "/neck/Mul_output", scale=0.7, stem="own", at=["/cls/Conv"])
    MUTATIONS["logits"].change(clean)  # something to repair
    onnx.save(clean, paths[0])
    assert fix_qdq(*paths).clean
    fixed = onnx.load(paths[1])
    assert float(value(fixed, "/neck/Mul_output_scale")) == pytest.approx(0.7)
    assert (
        sum(node.input[0] == "/neck/Mul_output" for node in fixed.graph.node if node.op_type == "QuantizeLinear") == 1
    )


def test_a_model_onnx_runtime_refuses_is_repaired_without_comparison(clean, paths):
    MUTATIONS["fp16_scale"].change(clean)
    onnx.save(clean, paths[0])
    report = fix_qdq(*paths)
    assert report.clean
    assert report.difference.relative_l2 is None
    assert "ONNX Runtime does not run the original" in report.difference.reason


def test_nothing_is_written_for_what_is_no_model(paths):
    paths[0].write_text("no model")
    with pytest.raises(InputError, match="not a readable ONNX model"):
        fix_qdq(*paths)
    assert not paths[1].exists()
