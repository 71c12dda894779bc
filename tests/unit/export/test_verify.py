import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.runner import OnnxRunner, random_picture
from yolotrt_lab.export.verify import first_divergence, load_onnx_checked, verify_onnx
from yolotrt_lab.types import Precision


def changed_weights(model, scope, change):
    node = next(node for node in model.graph.node if node.name == scope)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    values = change(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values.astype(np.float32)), tensor.name))


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(1)
    paths = []
    for index, shape in enumerate([(40, 64, 3), (64, 30, 3)]):
        paths.append(tmp_path / f"picture{index}.png")
        cv2.imwrite(str(paths[-1]), rng.integers(0, 256, shape, dtype=np.uint8))
    return paths


def test_an_honest_export_passes(exported, tiny_checkpoint, pictures):
    steps = []
    report = verify_onnx(
        exported.path, weights=tiny_checkpoint, images=pictures, on_progress=lambda *step: steps.append(step), threads=1
    )
    assert report.passed
    assert report.reasons == ()
    assert report.findings == ()
    assert report.first_divergence is None
    assert [comparison.name for comparison in report.comparisons] == ["random picture", "picture0.png", "picture1.png"]
    for comparison in report.comparisons:
        assert comparison.agreement.boxes.relative_l2 < 1e-5
        assert comparison.agreement.scores.max_abs < 1e-4
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert (report.precision, report.opset, report.batch_error < 1e-3) == (Precision.FP32, 17, True)
    assert (report.sha256, report.size_bytes) == (exported.sha256, exported.size_bytes)
    assert report.operators["Conv"] == 29
    assert report.class_names == ("bolt", "nut", "gear")


def test_without_weights_the_graph_alone_is_judged(exported):
    report = verify_onnx(exported.path, threads=1)
    assert report.passed
    assert report.comparisons == ()


def test_a_changed_weight_fails_and_is_located(model, save, tiny_checkpoint):
    changed_weights(model, "/model.4/conv/Conv", lambda w: w * np.linspace(0.5, 1.5, len(w)).reshape(-1, 1, 1, 1))
    report = verify_onnx(save(model), weights=tiny_checkpoint, threads=1)
    assert not report.passed
    assert report.first_divergence.node == "/model.4/conv/Conv"
    assert report.first_divergence.module == "model.4.conv"
    assert any("relative L2" in reason for reason in report.reasons)
    assert all(reason.startswith("random picture: ") for reason in report.reasons)


def test_swapped_classes_are_scores_only(model, save, tiny_checkpoint):
    for level in (0, 1):
        changed_weights(model, f"/model.9/cv3.{level}/cv3.{level}.2/Conv", lambda w: w[::-1])
    report = verify_onnx(save(model), weights=tiny_checkpoint, threads=1)
    assert not report.passed
    assert report.comparisons[0].agreement.boxes.relative_l2 < 1e-5
    assert report.first_divergence.node in {f"/model.9/cv3.{level}/cv3.{level}.2/Conv" for level in (0, 1)}
    assert all("scores" in reason for reason in report.reasons)


def without_last_sigmoid(model):
    sigmoid = next(node for node in model.graph.node if node.name == "/model.9/Sigmoid")
    for node in model.graph.node:
        node.input[:] = [sigmoid.input[0] if name == sigmoid.output[0] else name for name in node.input]
    model.graph.node.remove(sigmoid)


def test_a_missing_sigmoid_is_noticed_without_weights(model, save):
    without_last_sigmoid(model)
    report = verify_onnx(save(model), threads=1)
    assert not report.passed
    assert "the sigmoid at the end is missing" in report.reasons[0]


def test_a_missing_sigmoid_is_located(model, save, tiny_checkpoint):
    without_last_sigmoid(model)
    report = verify_onnx(save(model), weights=tiny_checkpoint, threads=1)
    assert report.first_divergence.op_type == "Concat"
    assert report.first_divergence.tensor == "output0"


def test_a_batch_baked_into_a_reshape_is_noticed(model, save):
    reshape = next(node for node in model.graph.node if node.name == "/model.9/Reshape")
    shape = next(tensor for tensor in model.graph.initializer if tensor.name == reshape.input[1])
    values = numpy_helper.to_array(shape).copy()
    values[0] = 1
    shape.CopyFrom(numpy_helper.from_array(values, shape.name))
    report = verify_onnx(save(model), threads=1)
    assert not report.passed
    assert report.batch_error == float("inf")
    assert "baked into the graph" in report.reasons[0]


def test_images_that_leak_into_each_other_are_noticed(model, save):
    """A mean over the batch: shapes are right, results are not."""
    first = model.graph.node[0]
    model.graph.node.insert(0, helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0], keepdims=1))
    model.graph.node.insert(1, helper.make_node("Sub", ["images", "mean"], ["centered"]))
    first = next(node for node in model.graph.node if node.name == first.name)
    first.input[0] = "centered"
    report = verify_onnx(save(model), threads=1)
    assert any("leak" in reason for reason in report.reasons)


def test_broken_weights_are_noticed(model, save):
    changed_weights(model, "/model.9/cv2.0/cv2.0.2/Conv", lambda w: w * np.nan)
    report = verify_onnx(save(model), threads=1)
    assert any("NaN" in reason for reason in report.reasons)
    assert not report.passed


def test_another_checkpoint_is_noticed(exported, model, save, tiny_checkpoint):
    helper.set_model_props(model, {"names": "{0: 'bolt', 1: 'gear', 2: 'nut'}"})
    report = verify_onnx(save(model), weights=tiny_checkpoint, threads=1)
    assert any("gear" in reason and "checkpoint" in reason for reason in report.reasons)


def test_a_fixed_batch_is_fine(model, save, tiny_checkpoint):
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    del model.graph.value_info[:]
    report = verify_onnx(save(model), weights=tiny_checkpoint, threads=1)
    assert report.passed
    assert report.batch_error is None
    assert "fixed to 2" in report.findings[0].text


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_files_that_are_no_model(tmp_path, content):
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError):
        verify_onnx(tmp_path / "model.onnx")


def test_weights_and_images_that_cannot_be_read(exported, tiny_checkpoint, tmp_path):
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="not an Ultralytics checkpoint"):
        verify_onnx(exported.path, weights=tmp_path / "broken.pt", threads=1)
    with pytest.raises(InputError, match="No such image"):
        verify_onnx(exported.path, weights=tiny_checkpoint, images=[tmp_path / "missing.png"], threads=1)


def test_the_contract_names_are_here():
    assert callable(first_divergence)
    assert callable(load_onnx_checked)


def test_random_pictures_are_pictures():
    picture = random_picture((64, 96), seed=1)
    assert picture.shape == (1, 3, 64, 96)
    assert picture.dtype == np.float32
    assert (picture.min() >= 0, picture.max() <= 1) == (True, True)
    assert picture.std() > 0.1
    np.testing.assert_array_equal(picture, random_picture((64, 96), seed=1))
    assert not np.array_equal(picture, random_picture((64, 96), seed=2))


def test_the_runner_says_what_it_could_not_run(exported):
    runner = OnnxRunner(onnx.load(exported.path), exported.path, threads=1)
    with pytest.raises(InputError, match="cannot run the model") as caught:
        runner.run(np.zeros((1, 3, 32, 32), np.float32))
    assert "64" in caught.value.expected


def test_quantized_models_are_compared_on_real_images_only(model, save, tiny_checkpoint, pictures):
    """As if quantized: weights behind a pair fine enough to change nothing."""
    for node in [node for node in model.graph.node if node.op_type == "Conv"]:
        name = node.input[1]
        values = numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))
        steps = np.maximum(np.abs(values).reshape(len(values), -1).max(axis=1) / 127, 1e-6).astype(np.float32)
        for kind, value in (("s", steps), ("z", np.zeros(len(steps), np.int8))):
            model.graph.initializer.append(numpy_helper.from_array(value, f"{name}_{kind}"))
        parameters = [f"{name}_s", f"{name}_z"]
        model.graph.node.insert(
            0, helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_d"], axis=0)
        )
        model.graph.node.insert(0, helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_q"], axis=0))
        node.input[1] = f"{name}_d"
    path = save(model)
    report = verify_onnx(path, weights=tiny_checkpoint, threads=1)
    assert report.precision is Precision.INT8
    assert report.comparisons == ()
    assert "pass --images" in report.findings[-1].text
    report = verify_onnx(path, weights=tiny_checkpoint, images=pictures, threads=1)
    assert [comparison.name for comparison in report.comparisons] == ["picture0.png", "picture1.png"]
    assert report.comparisons[0].agreement.scores.max_abs > 1e-6
    assert report.first_divergence is None
