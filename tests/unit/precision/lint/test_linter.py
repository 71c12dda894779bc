import json
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.precision.lint.mutations import MUTATIONS
from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.lint.linter import count_by_severity, lint_qdq
from yolotrt_lab.precision.lint.table import RULES, rule_by_id
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.types import Precision


def test_a_float_model_breaks_no_rule(detector):
    assert lint_qdq(detector) == ()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 3), half=st.booleans(), kept=st.sets(st.sampled_from(["stem", "p3", "neck", "cls"])))
def test_whatever_this_package_quantizes_is_clean(build, table, tmp_path, seed, half, kept):
    onnx.save(build(seed=seed), tmp_path / "float.onnx")
    report = quantize_onnx(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        table=table,
        high_precision_nodes=[f"/{name}/Conv" for name in kept],
        base=Precision.FP16 if half else Precision.FP32,
    )
    assert lint_qdq(report.path) == ()


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mistake_is_found_as_what_it_is(clean, name):
    mutation = MUTATIONS[name]
    mutation.change(clean)
    found = lint_qdq(clean)
    assert {violation.id for violation in found} == mutation.rules
    assert mutation.severity in {violation.severity for violation in found}
    assert all(violation.fixable == bool(rule_by_id(violation.id).repair) for violation in found)
    places = {node.name for node in clean.graph.node}
    assert all(violation.node in places and violation.message for violation in found)
    if mutation.severity == "refused":
        assert any(violation.answer for violation in found)


def test_every_rule_has_a_mistake():
    assert {rule.id for rule in RULES} == set().union(*(mutation.rules for mutation in MUTATIONS.values()))


def test_rules_explain_themselves():
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.explanation.endswith(".") or rule.explanation.endswith(")")
        assert rule.remedy
        assert rule.source
        assert bool(rule.answer) or rule.severity != "refused"


def test_models_that_do_not_run_are_linted_too(clean, tmp_path):
    """Custom operators and wrong wiring stop ONNX Runtime, not the linter."""
    clean.graph.node.append(onnx.helper.make_node("Frobnicate", ["nowhere"], ["x"], "odd", domain="com.example"))
    onnx.save(clean, tmp_path / "odd.onnx")
    assert lint_qdq(tmp_path / "odd.onnx") == ()


def test_no_model_at_all(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InputError, match="not a readable ONNX model"):
        lint_qdq(tmp_path / "text.onnx")


def ids(path):
    counts = {}
    for violation in lint_qdq(path):
        counts[violation.id] = counts.get(violation.id, 0) + 1
    return counts


def test_onnx_runtimes_defaults_would_be_refused(ort_quantized):
    found = lint_qdq(ort_quantized())
    assert count_by_severity(found)["refused"] > 100
    counts = ids(ort_quantized())
    assert counts["int32"] == counts["bias"] == 10  # of ten convolutions with a bias
    assert counts["final-conv"] == 3
    assert set(counts) == {
        "zero-point", "int32", "bias", "weight-scales", "before-activation", "concat-scales", "final-conv", "logits",
        "decode",
    }  # fmt: skip


def test_onnx_runtimes_safe_settings_are_taken_but_not_good(ort_quantized, safe_settings):
    """What is known as TensorRT-safe is: nothing is refused. It still quantizes the inputs of Sigmoid and Mul."""
    path = ort_quantized(**safe_settings)
    assert count_by_severity(lint_qdq(path))["refused"] == 0
    assert set(ids(path)) == {"before-activation", "concat-scales", "final-conv", "decode"}


def test_onnx_runtime_can_be_told_to_do_nearly_right(ort_quantized, safe_settings):
    """The settings that the rules' advice adds up to; one tensor's pair serves a Concat that was not to have one."""
    extra = safe_settings["extra_options"] | {"OpTypesToExcludeOutputQuantization": ["Conv", "Add"]}
    path = ort_quantized(
        **safe_settings | {"extra_options": extra},
        op_types_to_quantize=["Conv", "Add"],
        nodes_to_exclude=["/box_last/Conv", "/cls_last/Conv", "/dfl/Conv", "/decode/Add", "/decode/Add_1"],
    )
    assert ids(path) == {"concat-scales": 1}


def test_onnx_runtimes_other_formats(ort_quantized, detector, tmp_path):
    from onnxruntime.quantization import QuantFormat, quantize_dynamic

    assert ids(ort_quantized(quant_format=QuantFormat.QOperator))["qoperator"] == 38
    quantize_dynamic(str(detector), str(tmp_path / "dynamic.onnx"))
    assert set(ids(tmp_path / "dynamic.onnx")) == {"qoperator"}


def test_modelopts_output():
    """NVIDIA's own tool: nothing refused, and nothing before activations; the head it quantizes like the rest."""
    path = Path(__file__).parents[1] / "modelopt" / "tiny_int8.onnx"
    assert ids(path) == {"final-conv": 3, "mover-pair": 1, "concat-scales": 1, "decode": 1}
    assert count_by_severity(lint_qdq(path))["refused"] == 0


def test_violations_are_plain_data(clean):
    MUTATIONS["zero_point_five"].change(clean)
    first = lint_qdq(clean)[0]
    assert json.dumps(vars(first))
    assert (first.id, first.rule, first.severity, first.node) == (
        "zero-point", "symmetric", "refused", "images_QuantizeLinear",
    )  # fmt: skip


def test_constants_computed_from_constants_are_constants(clean):
    """TensorRT folds them before it asks."""
    node = next(node for node in clean.graph.node if node.name == "images_QuantizeLinear")
    clean.graph.node.insert(0, onnx.helper.make_node("Identity", [node.input[1]], ["copied"], "copied"))
    node.input[1] = "copied"
    assert lint_qdq(clean) == ()
