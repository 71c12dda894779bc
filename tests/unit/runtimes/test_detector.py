import numpy as np
import onnx
import pytest

from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.runtimes import detector_from_runtime, open_detector, open_runtime, stream_detections

LOW = DetectorConfig(conf_threshold=0.001, iou_threshold=0.7)


@pytest.fixture
def photo():
    return np.random.default_rng(3).integers(0, 255, (48, 80, 3), dtype=np.uint8)


@pytest.fixture
def nameless(tmp_path, onnx_model):
    model = onnx.load(onnx_model)
    del model.metadata_props[:]
    path = tmp_path / "nameless.onnx"
    onnx.save(model, path)
    return path


def test_names_and_size_come_from_the_model(onnx_model):
    with open_detector(onnx_model, threads=1) as detector:
        assert isinstance(detector, Detector)
        assert detector.class_names == ("square", "disc")
        assert detector.input_hw == (64, 64)


def test_all_frameworks_find_the_same(checkpoint, onnx_model, engine, photo):
    config = DetectorConfig(conf_threshold=0.001, input_hw=(64, 64))
    with open_detector(onnx_model, config=LOW, threads=1) as detector:
        expected = detector.detect(photo)
    assert len(expected) > 0
    for path, backend in ((checkpoint, None), (onnx_model, "openvino"), (engine, None)):
        with open_detector(path, backend=backend, config=config, threads=1, device="cpu") as detector:
            found = detector.detect(photo)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
        np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=0.05)


@pytest.mark.parametrize("settings", [{}, {"throughput": True}])
def test_a_stream_finds_what_the_detector_finds(checkpoint, onnx_model, ir_model, engine, settings):
    photos = list(np.random.default_rng(4).integers(0, 255, (6, 48, 80, 3), dtype=np.uint8))
    config = DetectorConfig(conf_threshold=0.001, input_hw=(64, 64), max_detections=20)
    for path in (ir_model,) if settings else (checkpoint, onnx_model, ir_model, engine):
        with open_detector(path, config=config, threads=1, **settings) as detector:
            expected = [detector.detect(photo) for photo in photos]
            streamed = [frame.detections for frame in stream_detections(detector, photos)]
        assert all(len(found) > 0 for found in expected)
        for found, wanted in zip(streamed, expected, strict=True):
            np.testing.assert_array_equal(found.xyxy, wanted.xyxy)
            np.testing.assert_array_equal(found.scores, wanted.scores)


def test_ultralytics_own_openvino_export(ir_model, photo, tmp_path):
    """Its outputs have no names, and the classes are in a file beside the model."""
    import openvino

    model = openvino.Core().read_model(str(ir_model))
    for port in model.outputs:
        port.get_tensor().set_names(set())
    openvino.save_model(model, str(tmp_path / "tiny.xml"), compress_to_fp16=False)
    text = (tmp_path / "tiny.xml").read_text()
    (tmp_path / "tiny.xml").write_text(text[: text.rindex("<rt_info>")] + "</net>")
    (tmp_path / "metadata.yaml").write_text("imgsz: [64, 64]\nnames:\n  0: square\n  1: disc\n")
    with open_detector(ir_model, config=LOW, threads=1) as detector:
        expected = detector.detect(photo)
    with open_detector(tmp_path / "tiny.xml", config=LOW, threads=1) as detector:
        assert detector.class_names == ("square", "disc")
        np.testing.assert_array_equal(detector.detect(photo).xyxy, expected.xyxy)
        for frame in stream_detections(detector, [photo, photo]):
            np.testing.assert_array_equal(frame.detections.xyxy, expected.xyxy)


@pytest.mark.parametrize("content", ["names: [", "- 1", "other: 1", ""])
def test_a_broken_file_beside_the_model_does_no_harm(ir_model, tmp_path, content):
    for suffix in (".xml", ".bin"):
        (tmp_path / f"copy{suffix}").write_bytes(ir_model.with_suffix(suffix).read_bytes())
    (tmp_path / "metadata.yaml").write_text(content)
    with open_runtime(tmp_path / "copy.xml", threads=1) as runtime:
        assert runtime.class_names == ("square", "disc")


def test_the_block_closes_the_runtime(onnx_model, photo):
    with open_detector(onnx_model, threads=1) as detector:
        pass
    with pytest.raises(InputError, match="is closed"):
        detector.detect(photo)


def test_a_model_without_names_gets_numbers_and_a_warning(nameless):
    with pytest.warns(LabWarning, match="'class 0' to 'class 1'"), open_detector(nameless, threads=1) as detector:
        assert detector.class_names == ("class 0", "class 1")


def test_given_names_replace_the_models(nameless, onnx_model):
    for path in (nameless, onnx_model):
        with open_detector(path, class_names=("a", "b"), threads=1) as detector:
            assert detector.class_names == ("a", "b")


def test_too_many_names_are_refused_and_the_runtime_is_closed(onnx_model, monkeypatch):
    from yolotrt_lab.runtimes import onnxruntime

    closed = []
    monkeypatch.setattr(onnxruntime.OnnxRuntime, "_close", lambda self: closed.append(self.name))
    with pytest.raises(InputError, match="not that of a YOLO detector with 3 classes"):
        open_detector(onnx_model, class_names=("a", "b", "c"), threads=1)
    assert len(closed) == 1


def test_a_classifier_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("GlobalAveragePool", ["images"], ["p"]), onnx.helper.make_node("Flatten", ["p"], ["y"])],
        "g",
        [value("images", onnx.TensorProto.FLOAT, [1, 3, 32, 32])],
        [value("y", onnx.TensorProto.FLOAT, [1, 3])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "classifier.onnx")
    with pytest.raises(InputError, match="not the output of a YOLO detector"):
        open_detector(tmp_path / "classifier.onnx", threads=1)


def test_the_runtimes_largest_batch_limits_the_detector(onnx_model):
    with open_runtime(onnx_model, threads=1) as runtime:
        runtime.max_batch = 4
        assert detector_from_runtime(runtime, config=DetectorConfig(max_batch=16)).batch_size == 4
        assert detector_from_runtime(runtime, config=DetectorConfig(max_batch=2)).batch_size == 2
