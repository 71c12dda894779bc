import onnx
import pytest
from onnx import helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.placement import plan_placement


def test_the_plan_of_a_detector(build):
    plan = plan_placement(build())
    convs = ["stem", "body", "branch", "p3", "p4", "neck", "box", "cls"]
    assert plan.convs == tuple(f"/{name}/Conv_output" for name in convs)
    assert plan.adds == ("/residual/Add_output",)
    assert plan.kept == {
        "/box_last/Conv": "last convolution of the head: its logits decide boxes and scores",
        "/cls_last/Conv": "last convolution of the head: its logits decide boxes and scores",
        "/dfl/Conv": "part of the decode",
    }


def test_inputs_are_quantized_not_outputs(build):
    plan = plan_placement(build())
    assert not any(tensor.endswith("/Conv_output") for tensor in plan.activations)
    assert plan.activations[:3] == ("images", "/stem/Mul_output", "/body/Mul_output")


def test_one_pair_serves_all_readers(build):
    reads = plan_placement(build()).reads
    assert reads["/body/Mul_output"] == (("/branch/Conv_output", 0), ("/residual/Add_output", 0))
    assert reads["/branch/Mul_output"] == (("/residual/Add_output", 1),)
    assert reads["/neck/Mul_output"] == (("/box/Conv_output", 0), ("/cls/Conv_output", 0))


def test_tensors_joined_by_concat_share_a_scale(build):
    model = build()
    # Let a convolution read the sum that also goes into the Concat: one INT8 tensor can then serve both.
    extra = next(node for node in model.graph.node if node.name == "/p4/Conv")
    assert extra.input[0] == "/p3/Mul_output"
    groups = plan_placement(model).groups
    together = next(group for group in groups if "/p3/Mul_output" in group)
    assert set(together) == {"/p3/Mul_output", "/neck/Concat_output"}
    assert sorted(name for group in groups for name in group) == sorted(plan_placement(model).activations)


def test_bare_convolution_outputs_are_left_to_the_epilogue(build):
    model = build()
    add = next(node for node in model.graph.node if node.name == "/residual/Add")
    add.input[1] = "/branch/Conv_output"
    plan = plan_placement(model)
    assert plan.reads["/body/Mul_output"][-1] == ("/residual/Add_output", 0)
    assert "/branch/Conv_output" not in plan.reads
    add.input[0] = "/branch/Conv_output"
    assert "epilogue" in plan_placement(model).kept["/residual/Add"]


def test_additions_of_constants_are_no_residuals(build):
    model = build()
    model.graph.initializer.append(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(model.graph.initializer[1])))
    model.graph.initializer[-1].name = "offset"
    add = next(node for node in model.graph.node if node.name == "/residual/Add")
    add.input[1] = "offset"
    plan = plan_placement(model)
    assert plan.adds == ()
    assert "/residual/Add" not in plan.kept


def test_nodes_kept_by_request_and_dead_tensors(build):
    plan = plan_placement(
        build(), high_precision_nodes=["/stem/Conv", "/residual/Add"], dead_tensors=["/p3/Mul_output"]
    )
    assert plan.kept["/stem/Conv"] == plan.kept["/residual/Add"] == "kept by request"
    assert "zero on every calibration image" in plan.kept["/p4/Conv"]
    assert "images" not in plan.reads
    assert "/p3/Mul_output" not in plan.reads
    with pytest.raises(InputError, match="no node"):
        plan_placement(build(), high_precision_nodes=["/nothing"])


def test_computed_weights_cannot_be_quantized(build):
    model = build()
    model.graph.node.insert(0, helper.make_node("Identity", ["p3.weight"], ["copied"]))
    conv = next(node for node in model.graph.node if node.name == "/p3/Conv")
    conv.input[1] = "copied"
    assert "computed" in plan_placement(model).kept["/p3/Conv"]
