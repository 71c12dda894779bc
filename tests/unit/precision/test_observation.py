import weakref

import numpy as np
import onnx
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision import observation as observation_module
from yolotrt_lab.precision.calibration import calibrate, calibrate_methods, tables_from_observation
from yolotrt_lab.precision.calibrators import METHODS
from yolotrt_lab.precision.histogram import MagnitudeRange
from yolotrt_lab.precision.observation import observe_activations


def test_one_pass_gives_what_one_pass_each_gives(detector, images):
    runs = []
    together = calibrate_methods(detector, [images], threads=1, on_progress=lambda *step: runs.append(step))
    assert list(together) == list(METHODS)
    assert runs == [(1, 1)]
    for method, table in together.items():
        assert table == calibrate(detector, [images], method=method, threads=1)
    assert together["minmax"].amax != together["entropy"].amax


def test_only_what_was_asked_for(detector, images):
    assert list(calibrate_methods(detector, [images], methods=("entropy", "minmax"), threads=1)) == [
        "entropy",
        "minmax",
    ]
    with pytest.raises(InputError, match="No such calibration method"):
        calibrate_methods(detector, iter(()), methods=("mse", "best"), threads=1)  # before any image is asked for


def test_ranges_alone_are_enough_for_minmax(detector, images):
    ranges = observe_activations(detector, [images], histograms=False, threads=1)
    assert type(ranges.whole("images")) is MagnitudeRange
    histograms = observe_activations(detector, [images], threads=1)
    expected = tables_from_observation(histograms, ["minmax"])["minmax"]
    assert tables_from_observation(ranges, ["minmax"])["minmax"] == expected
    with pytest.raises(InputError, match="needs a histogram"):
        tables_from_observation(ranges, ["mse"])
    with pytest.raises(InputError, match="Only ranges were observed"):
        ranges.histogram("images")


class TestShifts:
    def test_like_two_calibrations(self, detector, images):
        """The halves are the images at even and at odd places, as if they had been calibrated with alone."""
        whole = calibrate(detector, [images], method="minmax", threads=1).amax
        parts = [calibrate(detector, [images[turn::2]], method="minmax", threads=1).amax for turn in (0, 1)]
        shifts = observe_activations(detector, [images], threads=1).threshold_shifts("minmax")
        for name, amax in whole.items():
            assert shifts[name] == pytest.approx(max(abs(part[name] - amax) for part in parts) / amax)

    def test_none_when_every_image_is_the_same(self, detector, images):
        same = np.repeat(images[:1], 4, axis=0)
        observation = observe_activations(detector, [same], threads=1)
        assert set(observation.threshold_shifts("mse").values()) == {0.0}

    def test_one_image_decides(self, detector, images):
        bright = np.concatenate([images[:5] * np.float32(0.01), images[5:6]])
        shifts = observe_activations(detector, [bright], threads=1).threshold_shifts("minmax")
        assert shifts["images"] > 0.9

    def test_one_run_has_no_halves(self, detector, build, images, tmp_path):
        assert observe_activations(detector, [images[:1]], threads=1).threshold_shifts("mse") == {}
        onnx.save(build(batch=4), tmp_path / "fixed.onnx")
        fixed = observe_activations(tmp_path / "fixed.onnx", [images[:4]], threads=1)
        assert (fixed.image_count, fixed.run_count, fixed.threshold_shifts("mse")) == (4, 1, {})
        fixed = observe_activations(tmp_path / "fixed.onnx", [images[:4], images[4:8]], threads=1)
        assert (fixed.image_count, fixed.run_count) == (8, 2)
        assert len(fixed.threshold_shifts("mse")) == len(fixed.halves)

    def test_dead_tensors_have_none(self, detector):
        observation = observe_activations(detector, [np.zeros((2, 3, 32, 32), np.float32)], threads=1)
        assert "images" not in observation.threshold_shifts("mse")


def test_one_images_tensors_are_gone_before_the_next_runs(detector, images, monkeypatch):
    alive: list[weakref.ref] = []
    make = observation_module.make_watching_session

    class Watched:
        def __init__(self, session):
            self.session = session

        def run(self, names, feeds):
            assert [ref for ref in alive if ref() is not None] == []
            values = self.session.run(names, feeds)
            alive.extend(weakref.ref(value) for value in values)
            return values

    monkeypatch.setattr(observation_module, "make_watching_session", lambda *a, **k: Watched(make(*a, **k)))
    observe_activations(detector, [images[:3]], threads=1)
    assert len(alive) > 10


def test_the_first_broken_tensor_is_named(detector, build, images, tmp_path):
    model = build()
    weights = next(item for item in model.graph.initializer if item.name == "body.weight")
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0, 0, 0, 0] = np.nan
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(model, tmp_path / "broken.onnx")
    with pytest.raises(InputError, match="'/body/Mul_output' holds values that are not finite"):
        observe_activations(tmp_path / "broken.onnx", [images], threads=1)
