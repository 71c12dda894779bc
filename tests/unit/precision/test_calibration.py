import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.export.graph import expose_tensors
from yolotrt_lab.precision import observation
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.placement import plan_placement


def batches_of(images, size):
    return [images[start : start + size] for start in range(0, len(images), size)]


def test_minmax_is_the_largest_value_of_each_tensor(detector, images):
    table = calibrate(detector, batches_of(images, 4), method="minmax", threads=1)
    model = onnx.load(detector)
    names = plan_placement(model).activations
    assert tuple(table.amax) == names
    outputs = [name for name in names if name != "images"]
    session = onnxruntime.InferenceSession(expose_tensors(model, outputs).SerializeToString())
    values = dict(zip(outputs, session.run(outputs, {"images": images}), strict=True), images=images)
    for name in names:
        assert table.amax[name] == pytest.approx(np.abs(values[name]).max(), rel=1e-5)
    assert (table.method, table.image_count) == ("minmax", 12)


@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
def test_batch_size_does_not_matter(detector, images, method):
    one = calibrate(detector, batches_of(images, 1), method=method, threads=1)
    many = calibrate(detector, batches_of(images, 5), method=method, threads=1)
    assert one.amax == many.amax
    assert one.digest == many.digest


def test_the_digest_tells_images_apart(detector, images):
    def digest(batch):
        return calibrate(detector, [batch], tensors=["images"], threads=1).digest

    assert digest(images) == digest(images.copy())
    assert len({digest(images), digest(images[::-1].copy()), digest(images[:, ::-1].copy()), digest(images[:6])}) == 4


def test_progress_and_generators(detector, images):
    steps = []
    table = calibrate(
        detector, (batch for batch in batches_of(images, 4)), on_progress=lambda *step: steps.append(step), threads=1
    )
    assert table.image_count == 12
    assert [done for done, _ in steps] == [1, 2, 3]
    steps.clear()
    calibrate(detector, batches_of(images, 4), on_progress=lambda *step: steps.append(step), threads=1)
    assert steps == [(1, 3), (2, 3), (3, 3)]


class CopyingSession:
    """Gives copies, because the allocator that ONNX Runtime uses for its outputs is not traced."""

    def __init__(self, session):
        self.session = session

    def run(self, names, feeds):
        return [np.array(value) for value in self.session.run(names, feeds)]


def test_memory_does_not_grow_with_the_images(detector, images, monkeypatch):
    make = observation.make_watching_session
    monkeypatch.setattr(
        observation, "make_watching_session", lambda *given, **named: CopyingSession(make(*given, **named))
    )

    def stream(count):
        for index in range(count):
            yield images[index % 12 : index % 12 + 1] * np.float32(0.5 + index / count)

    def kept(count):
        tracemalloc.start()
        calibrate(detector, stream(count), threads=1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    kept(2)  # imports
    assert kept(120) < 1.3 * kept(12)


def test_a_fixed_batch(build, images, tmp_path):
    onnx.save(build(batch=4), tmp_path / "fixed.onnx")
    table = calibrate(tmp_path / "fixed.onnx", batches_of(images, 4), threads=1)
    assert table.image_count == 12
    with pytest.raises(InputError, match="does not fit the model") as caught:
        calibrate(tmp_path / "fixed.onnx", batches_of(images, 5), threads=1)
    assert caught.value.expected == "float32 (4, 3, 32, 32)"


class TestWarnings:
    def test_none_for_a_good_set(self, detector, images):
        batches = [images * np.float32(factor) for factor in np.linspace(0.7, 1, 6)]
        table = calibrate(detector, batches, method="minmax", threads=1)
        assert table.warnings == ()

    def test_few_images(self, detector, images):
        warnings = calibrate(detector, [images], threads=1).warnings
        assert any("Only 12 calibration images" in warning for warning in warnings)

    def test_forgotten_division_by_255(self, detector, images):
        warnings = calibrate(detector, [images * 255], threads=1).warnings
        assert any("divide by 255" in warning for warning in warnings)

    def test_dead_tensors(self, detector):
        warnings = calibrate(detector, [np.zeros((1, 3, 32, 32), np.float32)], threads=1).warnings
        assert any("zero on every image" in warning and "images" in warning for warning in warnings)

    def test_saturation(self, detector, images):
        table = calibrate(detector, [images], method="percentile", threads=1)
        assert all(0 <= share < 0.01 for share in table.saturation.values())
        entropy = calibrate(detector, [images], method="entropy", threads=1)
        clipped = [name for name, share in entropy.saturation.items() if share > 0.005]
        assert all(any(name in warning for warning in entropy.warnings) for name in clipped)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 3, 32, 32), np.float64),
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((1, 3, 64, 64), np.float32),
        np.zeros((3, 32, 32), np.float32),
        np.zeros((1, 32, 32, 3), np.float32),
    ],
)
def test_batches_that_do_not_fit(detector, batch):
    with pytest.raises(InputError, match="does not fit the model") as caught:
        calibrate(detector, [batch], threads=1)
    assert "float32 ('n', 3, 32, 32)" in caught.value.expected
    assert "preprocess" in caught.value.fix


def test_only_fp32_models_are_calibrated(detector, images, tmp_path):
    half = convert_to_fp16(detector, tmp_path / "half.onnx").path
    with pytest.raises(InputError, match="no FP32 model") as caught:
        calibrate(half, [images])
    assert caught.value.got == "fp16"


def test_other_bad_input(detector, images, tmp_path):
    with pytest.raises(InputError, match="no calibration images"):
        calibrate(detector, [], threads=1)
    with pytest.raises(InputError, match="No such calibration method"):
        calibrate(detector, [images], method="magic", threads=1)
    with pytest.raises(InputError, match="no tensor 'nothing'"):
        calibrate(detector, [images], tensors=["nothing"], threads=1)
    with pytest.raises(InputError, match="'images' holds values that are not finite"):
        calibrate(detector, [images * np.nan], threads=1)
    with pytest.raises(InputError, match="No such file"):
        calibrate(tmp_path / "missing.onnx", [images])
