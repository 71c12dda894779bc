import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.bias_correction import correct_biases, mean_shifts
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
    others = [node for node in (*CONVS, "/residual/Add") if node != "/p3/Conv"]
    path = quantize_onnx(detector, tmp_path / "one.onnx", table=table, high_precision_nodes=others).path
    before = shift(path, detector, "/p3/Conv", images)
    report = correct_biases(path, tmp_path / "corrected.onnx", reference=detector, batches=[images], sweeps=1,
                            threads=1)  # fmt: skip
    after = shift(report.path, detector, "/p3/Conv", images)
    assert np.abs(before).max() > 1e-3
    assert np.abs(after).max() < 1e-5
    assert report.corrected == ("/p3/Conv",)
    assert report.shift_after < 1e-3 * report.shift_before
    assert report.image_count == 12
    biases = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer}
        for file in (path, report.path)
    ]
    changed = biases[1]["/p3/Conv__corrected_bias"] - biases[0]["p3.bias"]
    np.testing.assert_allclose(changed, -before, atol=1e-6)


@pytest.mark.parametrize("base", [Precision.FP32, Precision.FP16])
def test_sweeps_correct_the_whole_network(detector, table, images, tmp_path, base):
    path = quantize_onnx(detector, tmp_path / f"{base}.onnx", table=table, base=base).path
    report = correct_biases(path, tmp_path / f"out-{base}.onnx", reference=detector, batches=[images], sweeps=6,
                            threads=1)  # fmt: skip
    assert report.corrected == CONVS
    for node in CONVS:
        before, after = (np.abs(shift(file, detector, node, images)).max() for file in (path, report.path))
        assert after < (1e-3 if base is Precision.FP32 else 5e-3)  # rounding makes the rest jump about
        assert after < (0.1 if base is Precision.FP32 else 1.0) * before
    shifts = mean_shifts(report.path, reference=detector, batches=[images], threads=1)
    np.testing.assert_allclose(shifts["/cls/Conv"], shift(report.path, detector, "/cls/Conv", images), atol=1e-3)


def test_nothing_but_biases_changes(detector, table, images, tmp_path):
    path = quantize_onnx(detector, tmp_path / "q.onnx", table=table).path
    correct_biases(path, tmp_path / "c.onnx", reference=detector, batches=[images[:2]], threads=1)
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
    detector = tmp_path / "shared.onnx"
    onnx.save(model, detector)
    table = calibrate(detector, [images], method="minmax", threads=1)
    path = quantize_onnx(detector, tmp_path / "q.onnx", table=table).path
    out = tmp_path / "c.onnx"
    correct_biases(path, out, reference=detector, batches=[images], sweeps=6, threads=1)
    for node in ("/box/Conv", "/cls/Conv"):
        assert np.abs(shift(out, detector, node, images)).max() < 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batches": []}, "no images"),
        ({"batches": iter([np.zeros((1, 3, 32, 32), np.float32)])}, "needed several times"),
        ({"sweeps": 0}, "Nothing to correct"),
    ],
)
def test_bad_input(detector, table, images, tmp_path, change, message):
    path = quantize_onnx(detector, tmp_path / "q.onnx", table=table).path
    arguments = {"reference": detector, "batches": [images[:1]], "threads": 1, **change}
    with pytest.raises(InputError, match=message):
        correct_biases(path, tmp_path / "c.onnx", **arguments)
    assert not (tmp_path / "c.onnx").exists()


def test_models_that_do_not_belong_together(detector, table, images, build, tmp_path):
    path = quantize_onnx(detector, tmp_path / "q.onnx", table=table).path
    with pytest.raises(InputError, match="nothing to correct"):
        correct_biases(detector, tmp_path / "c.onnx", reference=detector, batches=[images[:1]])
    other = build()
    for node in other.graph.node:
        node.input[:] = ["renamed" if name == "/p3/Conv_output" else name for name in node.input]
        node.output[:] = ["renamed" if name == "/p3/Conv_output" else name for name in node.output]
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="not made from this reference"):
        correct_biases(path, tmp_path / "c.onnx", reference=tmp_path / "other.onnx", batches=[images[:1]])
