import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.bias_correction import correct_biases
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.types import Precision

CONVS = tuple(f"/{name}/Conv" for name in ("stem", "body", "branch", "p3", "p4", "neck", "box", "cls"))


@pytest.fixture
def table(detector, images):
    return calibrate(detector, [images], method="minmax", threads=1)


def channel_means(path, name, images):
    """Return the mean of every channel of a tensor, by running the file."""
    model = onnx.load(path)
    kind = TensorProto.FLOAT16 if "16" in path.name else TensorProto.FLOAT
    model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([name], {"images": images})[0].astype(np.float64).mean(axis=(0, 2, 3))


def shift(path, detector, node, images):
    return channel_means(path, f"{node}_output", images) - channel_means(detector, f"{node}_output", images)


def test_the_mean_error_of_a_layer_vanishes(detector, table, images, tmp_path):
    """One layer is quantized; its output is measured by running the files, not by the code under test."""
    others = [node for node in (*CONVS, "/residual/Add") if node != "/p3/Conv"]
    path = quantize_onnx(detector, tmp_path / "one.onnx", table=table, high_precision_nodes=others).path
    before = shift(path, detector, "/p3/Conv", images)
    report = correct_biases(path, tmp_path / "corrected.onnx", batches=[images], threads=1)
    after = shift(report.path, detector, "/p3/Conv", images)
    assert np.abs(before).max() > 1e-3
    assert np.abs(after).max() < 1e-5
    assert report.image_count == 12
    np.testing.assert_allclose(report.shifts["/p3/Conv"], before, atol=1e-6)
    biases = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer}
        for file in (path, report.path)
    ]
    changed = biases[1]["/p3/Conv__corrected_bias"] - biases[0]["p3.bias"]
    np.testing.assert_allclose(changed, -before, atol=1e-6)


@pytest.mark.parametrize("base", [Precision.FP32, Precision.FP16])
def test_every_layer_answers_for_its_own_rounding(detector, table, images, tmp_path, base):
    """Each layer's shift with everything quantized is that of a graph where it alone is."""
    path = quantize_onnx(detector, tmp_path / f"{base}.onnx", table=table, base=base).path
    report = correct_biases(path, tmp_path / f"out-{base}.onnx", batches=(image[None] for image in images), threads=1)
    assert tuple(report.shifts) == CONVS
    for node in ("/stem/Conv", "/p3/Conv", "/cls/Conv"):
        others = [other for other in (*CONVS, "/residual/Add") if other != node]
        alone = quantize_onnx(detector, tmp_path / "alone.onnx", table=table, high_precision_nodes=others).path
        expected = shift(alone, detector, node, images)
        tolerance = 1e-5 if base is Precision.FP32 else 0.5 * np.abs(expected).max()  # FP16 rounds too
        np.testing.assert_allclose(report.shifts[node], expected, atol=tolerance)


def test_nothing_but_biases_changes(detector, table, images, tmp_path):
    path = quantize_onnx(detector, tmp_path / "q.onnx", table=table).path
    correct_biases(path, tmp_path / "c.onnx", batches=[images[:2]], threads=1)
    before, after = onnx.load(path), onnx.load(tmp_path / "c.onnx")
    kept = {tensor.name: tensor for tensor in after.graph.initializer}
    assert all(kept[tensor.name] == tensor for tensor in before.graph.initializer if tensor.name in kept)
    gone = {tensor.name for tensor in before.graph.initializer} - set(kept)
    assert gone == {f"{name.split('/')[1]}.bias" for name in CONVS}
    for old, new in zip(before.graph.node, after.graph.node, strict=True):
        assert list(old.input)[:2] == list(new.input)[:2]
        assert old.output == new.output
    assert [entry.key for entry in after.metadata_props] == [entry.key for entry in before.metadata_props]


def test_a_shared_bias_is_corrected_for_each(build, images, tmp_path):
    model = build()
    for node in model.graph.node:
        if node.name in ("/box/Conv", "/cls/Conv"):
            node.input[2] = "box.bias"
    onnx.save(model, tmp_path / "shared.onnx")
    table = calibrate(tmp_path / "shared.onnx", [images], method="minmax", threads=1)
    path = quantize_onnx(tmp_path / "shared.onnx", tmp_path / "q.onnx", table=table).path
    report = correct_biases(path, tmp_path / "c.onnx", batches=[images], threads=1)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(report.path).graph.initializer}
    original = numpy_helper.to_array(next(t for t in onnx.load(path).graph.initializer if t.name == "box.bias"))
    for node in ("/box/Conv", "/cls/Conv"):
        np.testing.assert_allclose(stored[f"{node}__corrected_bias"], original - report.shifts[node], rtol=1e-5)


def test_bad_input(detector, table, tmp_path):
    path = quantize_onnx(detector, tmp_path / "q.onnx", table=table).path
    with pytest.raises(InputError, match="no images"):
        correct_biases(path, tmp_path / "c.onnx", batches=[])
    with pytest.raises(InputError, match="no quantized layer"):
        correct_biases(detector, tmp_path / "c.onnx", batches=[])
    assert not (tmp_path / "c.onnx").exists()


def test_once_is_enough(detector, table, images, tmp_path):
    path = quantize_onnx(detector, tmp_path / "q.onnx", table=table).path
    corrected = correct_biases(path, tmp_path / "c.onnx", batches=[images[:1]], threads=1).path
    with pytest.raises(InputError, match="corrected already"):
        correct_biases(corrected, tmp_path / "d.onnx", batches=[images[:1]])
