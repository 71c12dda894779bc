import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.qdq import check_qdq_rules, quantize_onnx
from yolotrt_lab.precision.smoothing import smooth_onnx, smoothable_tensors


@pytest.fixture
def outlier_detector(build, tmp_path):
    """A detector with one channel of huge range between stem and body."""
    model = build()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("stem.weight", "stem.bias"):
            values[0] *= 60
        elif tensor.name == "body.weight":
            values[:, 0] /= 60
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, tmp_path / "outlier.onnx")
    return tmp_path / "outlier.onnx"


def test_where_it_may_be_done(detector):
    """Straight from an activation, and for convolutions only: not beside a residual, not behind a Concat."""
    places = smoothable_tensors(onnx.load(detector))
    readers = {tensor: [reader.name for reader in nodes] for tensor, nodes in places.items()}
    assert readers == {"/stem/Mul_output": ["/body/Conv"], "/neck/Mul_output": ["/box/Conv", "/cls/Conv"]}


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_it_is_exact(outlier_detector, images, run, tmp_path, alpha):
    report = smooth_onnx(outlier_detector, tmp_path / "s.onnx", batches=[images], alpha=alpha, threads=1)
    assert report.convs == ("/body/Conv", "/box/Conv", "/cls/Conv")
    np.testing.assert_allclose(run(report.path, images), run(outlier_detector, images), rtol=1e-5, atol=1e-5)


def test_it_takes_the_outlier_away(outlier_detector, images, run, errors, tmp_path):
    expected = run(outlier_detector, images)
    report = smooth_onnx(outlier_detector, tmp_path / "s.onnx", batches=[images], layers=["/body/Conv"], threads=1)
    assert report.tensors == ("/stem/Mul_output",)
    assert report.spread["/stem/Mul_output"] > 20
    found = []
    for source in (outlier_detector, report.path):
        table = calibrate(source, [images], method="minmax", threads=1)
        path = quantize_onnx(source, tmp_path / "q.onnx", table=table).path
        assert check_qdq_rules(path) == ()
        found.append(errors(run(path, images), expected)[1])
    assert found[1] < 0.6 * found[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 1.5}, "strength of smoothing"),
        ({"batches": []}, "no images"),
        ({"layers": ["/p3/Conv"]}, "No layer can be smoothed"),
    ],
)
def test_bad_input(detector, images, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        smooth_onnx(detector, tmp_path / "s.onnx", **{"batches": [images[:1]], "threads": 1, **change})
