import hashlib
import os
import pickle

import numpy as np
import onnx
import onnxruntime
import pytest

from yolotrt_lab.errors import InputError, OutputError
from yolotrt_lab.export.metadata import onnx_metadata
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.export.torch_trace import TorchReference
from yolotrt_lab.types import TensorSpec


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def assert_close(actual, expected):
    """A hundredth of a pixel, a ten-thousandth of probability: what another summation order explains."""
    np.testing.assert_allclose(actual[:, :4], expected[:, :4], atol=1e-2)
    np.testing.assert_allclose(actual[:, 4:], expected[:, 4:], atol=1e-4)


def test_report_describes_the_file(exported, tiny_checkpoint):
    assert exported.weights == tiny_checkpoint
    assert exported.opset == 17
    assert exported.inputs == (TensorSpec("images", "float32", (None, 3, 64, 64)),)
    assert exported.outputs == (TensorSpec("output0", "float32", (None, 7, 80)),)  # 8 x 8 + 4 x 4 cells
    assert exported.class_names == ("bolt", "nut", "gear")
    assert exported.size_bytes == exported.path.stat().st_size
    assert exported.sha256 == hashlib.sha256(exported.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_every_image_gets_the_same_result_in_any_batch(exported, images, batch):
    alone = np.concatenate([run(exported.path, images[index : index + 1]) for index in range(batch)])
    assert_close(run(exported.path, images[:batch]), alone)


def test_results_are_those_of_pytorch(exported, tiny_checkpoint, images):
    expected = TorchReference(tiny_checkpoint).predict(images)
    assert expected[:, 4:].std() > 0.01  # scores that say something
    assert_close(run(exported.path, images), expected)


def test_nothing_of_the_grid_is_left_to_run_time(exported):
    operators = {node.op_type for node in onnx.load(exported.path).graph.node}
    assert not operators & {"Shape", "Range", "Expand", "Gather", "ConstantOfShape", "Constant", "Identity"}


def test_metadata_stays(exported):
    metadata = onnx_metadata(exported.path)
    assert (metadata.class_names, metadata.input_hw, metadata.stride) == (("bolt", "nut", "gear"), (64, 64), 16)
    assert metadata.task == "detect"
    assert "'dynamic': False" in metadata.properties["args"]  # or Ultralytics would feed it rectangles of any size
    assert "date" not in metadata.properties
    assert str(exported.weights.parent) not in str(dict(metadata.properties))


def test_ultralytics_can_use_the_file(exported, images):
    from ultralytics import YOLO

    results = YOLO(str(exported.path), task="detect").predict(np.zeros((48, 60, 3), np.uint8), imgsz=64, verbose=False)
    assert results[0].names == {0: "bolt", 1: "nut", 2: "gear"}


def test_same_checkpoint_same_bytes(exported, tiny_checkpoint, tmp_path):
    assert export_onnx(tiny_checkpoint, tmp_path / "again.onnx", image_size=64).sha256 == exported.sha256


def test_options(tiny_checkpoint, tmp_path, images):
    export = export_onnx(
        tiny_checkpoint, tmp_path / "other.onnx", image_size=(32, 64), opset=19, dynamic_batch=False, simplify=False
    )
    assert export.opset == 19
    assert export.inputs[0].shape == (1, 3, 32, 64)
    assert export.outputs[0].shape == (1, 7, 40)
    crop = np.ascontiguousarray(images[:1, :, :32])
    assert_close(run(export.path, crop), TorchReference(tiny_checkpoint).predict(crop))


def test_quiet_and_nothing_beside_the_weights(tiny_checkpoint, tmp_path, capfd):
    folder = tmp_path / "weights"
    folder.mkdir()
    # Named like published weights, which Ultralytics alone would try to download.
    weights = folder / "yolov5n.pt"
    weights.write_bytes(tiny_checkpoint.read_bytes())
    weights.chmod(0o444)
    folder.chmod(0o555)
    try:
        export_onnx(weights, tmp_path / "out" / "model.onnx", image_size=64)
    finally:
        folder.chmod(0o755)
    assert os.listdir(folder) == ["yolov5n.pt"]
    assert os.listdir(tmp_path / "out") == ["model.onnx"]
    assert capfd.readouterr() == ("", "")


def test_a_failure_keeps_the_old_file(tmp_path):
    output = tmp_path / "model.onnx"
    output.write_bytes(b"old")
    (tmp_path / "broken.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError):
        export_onnx(tmp_path / "broken.pt", output)
    assert output.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["broken.pt", "model.onnx"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"garbage garbage garbage", "not an Ultralytics checkpoint"),
        (pickle.dumps({"weights": 1}), "not an Ultralytics checkpoint"),
    ],
)
def test_broken_checkpoints_are_refused(tmp_path, content, what):
    weights = tmp_path / "model.pt"
    weights.write_bytes(content)
    with pytest.raises(InputError, match=what) as caught:
        export_onnx(weights, tmp_path / "model.onnx")
    assert str(weights) in caught.value.what
    assert caught.value.fix
    assert "/model.pt" not in (caught.value.got or "") or str(tmp_path) in caught.value.got


def test_a_cut_checkpoint_is_refused(tiny_checkpoint, tmp_path):
    whole = tiny_checkpoint.read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not an Ultralytics checkpoint"):
        export_onnx(tmp_path / "cut.pt", tmp_path / "model.onnx")


@pytest.mark.parametrize(("yaml", "task"), [("yolov8n-cls.yaml", "classify"), ("yolov8n-seg.yaml", "segment")])
def test_other_tasks_are_refused(tmp_path, yaml, task):
    from ultralytics import YOLO

    YOLO(yaml, verbose=False).save(tmp_path / "other.pt")
    with pytest.raises(InputError, match="not a YOLO detector") as caught:
        export_onnx(tmp_path / "other.pt", tmp_path / "model.onnx")
    assert task in caught.value.got


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"opset": 12}, "13 to 20"),
        ({"opset": 21}, "13 to 20"),
        ({"image_size": 16}, "32 to 4096"),
        ({"image_size": (64, 8192)}, "32 to 4096"),
        ({"image_size": 72}, "multiples of its stride, 16"),
    ],
)
def test_options_out_of_range(tiny_checkpoint, tmp_path, options, expected):
    with pytest.raises(InputError) as caught:
        export_onnx(tiny_checkpoint, tmp_path / "model.onnx", **options)
    assert expected in caught.value.expected
    assert os.listdir(tmp_path) == []


def test_outputs_that_cannot_be(tiny_checkpoint, tmp_path):
    with pytest.raises(InputError, match="not named like an ONNX file"):
        export_onnx(tiny_checkpoint, tmp_path / "model.engine")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        export_onnx(tiny_checkpoint, tmp_path / "folder.onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        export_onnx(tiny_checkpoint, tmp_path / "file" / "model.onnx")
    with pytest.raises(InputError, match="No such file"):
        export_onnx(tmp_path / "missing.pt", tmp_path / "model.onnx")
