from pathlib import Path

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.comparison import ModelTarget, compare_models, label_targets, target_from_text


@pytest.mark.parametrize(
    ("text", "label", "path", "backend"),
    [
        ("a/model.onnx", "model.onnx", "a/model.onnx", "onnxruntime"),
        ("a/model.onnx@openvino", "model.onnx (openvino)", "a/model.onnx", "openvino"),
        ("me@home/model.onnx", "model.onnx", "me@home/model.onnx", "onnxruntime"),
        ("model.int8.engine", "model.int8.engine", "model.int8.engine", "tensorrt"),
    ],
)
def test_target_from_text(text, label, path, backend):
    assert target_from_text(text) == ModelTarget(label, Path(path), backend)


@pytest.mark.parametrize("text", ["model.pt@openvino", "model", "@openvino", "model.onnx@caffe"])
def test_target_that_does_not_fit(text):
    with pytest.raises(InputError):
        target_from_text(text)


def test_labels_that_collide_get_folder_and_number():
    texts = ["a/m.onnx", "b/m.onnx", "b/m.onnx", "n.onnx", "m.onnx"]
    labels = [target.label for target in label_targets([target_from_text(text) for text in texts])]
    assert labels == ["a/m.onnx", "b/m.onnx", "b/m.onnx #2", "n.onnx", "./m.onnx"]


def test_two_frameworks_are_timed_in_turns(small_onnx):
    targets = [target_from_text(str(small_onnx)), target_from_text(f"{small_onnx}@openvino")]
    first, second = compare_models(targets, batch=2, rounds=3, warmup=1, threads=1, device="cpu")
    assert first.runtime.startswith("ONNX Runtime")
    assert second.runtime.startswith("OpenVINO")
    assert (first.batch, first.input_hw, first.platform, first.executed_precision) == (2, (16, 16), "cpu", "fp32")
    assert first.ratio_to_first.value == 1
    assert len(first.latency.samples_ms) == len(second.latency.samples_ms) == 9


@pytest.mark.parametrize("targets", [[], ["m.onnx", "m.onnx"]])
def test_nothing_to_compare(targets):
    with pytest.raises(InputError, match="Nothing to compare"):
        compare_models([target_from_text(text) for text in targets])


def test_a_missing_model_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"gone\.onnx"):
        compare_models([target_from_text(str(tmp_path / "gone.onnx"))])
