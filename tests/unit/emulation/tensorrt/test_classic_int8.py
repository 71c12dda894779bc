"""Calibrators of TensorRT 10: batches through device memory, scales, cache, and an engine that really is INT8."""

import importlib
import json

import numpy as np
import pytest

from yolotrt_lab.errors import EmulationError

pytestmark = pytest.mark.parametrize("trt", [10], indirect=True)


@pytest.fixture
def calibrator(trt, images):
    """Return a function that makes a calibrator of a kind, feeding batches from device memory."""
    cudart = importlib.import_module("cuda.bindings.runtime")

    def make(kind="IInt8EntropyCalibrator2", *, batches=4, copy=True, cache=None, values=None):
        base = getattr(trt, kind)

        class Calibrator(base):
            def __init__(self):
                base.__init__(self)
                self.left, self.asked, self.written = batches, [], None
                self.memory = cudart.cudaMalloc(images().nbytes)[1]

            def get_batch_size(self):
                return 1

            def get_batch(self, names):
                self.asked.append(list(names))
                if self.left == 0:
                    return None
                self.left -= 1
                data = images() if values is None else values
                if copy:
                    kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
                    cudart.cudaMemcpy(self.memory, np.ascontiguousarray(data), data.nbytes, kind)
                return [self.memory]

            def read_calibration_cache(self):
                return cache

            def write_calibration_cache(self, data):
                self.written = bytes(data)

        return Calibrator()

    return make


@pytest.fixture
def detector(model):
    return lambda **variant: model(detector=True, **variant)


@pytest.fixture
def build(trt, lab):
    def run(path, calibrator):
        lab.config.set_flag(trt.BuilderFlag.INT8)
        lab.config.int8_calibrator = calibrator
        return lab.plan(path, strong=False)

    return run


def int8_convolutions(trt, engine):
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return [layer["Name"] for layer in json.loads(text)["Layers"] if layer["TacticName"].endswith("_I8")
            and layer["LayerType"] == "Convolution"]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "header"),
    [("IInt8EntropyCalibrator2", "EntropyCalibration2"), ("IInt8MinMaxCalibrator", "MinMaxCalibration")],
)
def test_calibration_makes_an_int8_engine(
    trt, lab, detector, calibrator, build, infer, images, reference, distance, kind, header
):
    asking = calibrator(kind)
    engine = lab.load(build(detector(), asking))
    assert asking.asked == [["images"]] * 5
    assert asking.written.startswith(b"TRT-")
    assert header.encode() in asking.written.splitlines()[0]
    assert b"images: " in asking.written
    assert int8_convolutions(trt, engine)
    found = infer(engine.create_execution_context(), images())
    assert 1e-4 < distance(found, reference(detector(), images())) < 0.2


def test_a_cache_makes_batches_unnecessary(trt, lab, detector, calibrator, build, infer, images):
    first = calibrator()
    expected = infer(lab.load(build(detector(), first)).create_execution_context(), images())
    second = calibrator(cache=first.written)
    found = infer(lab.load(build(detector(), second)).create_execution_context(), images())
    assert np.array_equal(found, expected)
    assert second.asked == []
    assert second.written is None


@pytest.mark.parametrize("calibration_batch", [None, 2])
def test_the_batch_is_the_profiles(trt, lab, detector, calibrator, build, images, calibration_batch):
    """Not the one that `get_batch_size` states: it is 1 here, and ignored."""
    lab.profile((1, 3, 16, 16), (3, 3, 16, 16), (4, 3, 16, 16))
    if calibration_batch is not None:
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("images", *[(calibration_batch, 3, 16, 16)] * 3)
        assert lab.config.set_calibration_profile(profile)
        assert lab.config.get_calibration_profile() is profile
    assert build(detector(batch="n"), calibrator()) is None
    assert f"needs {images(calibration_batch or 3).nbytes} bytes" in lab.log.errors


def test_a_dynamic_batch(trt, lab, detector, calibrator, build):
    lab.profile((1, 3, 16, 16), (1, 3, 16, 16), (4, 3, 16, 16))
    assert build(detector(batch="n"), calibrator()) is not None


def test_a_dynamic_batch_without_profile(trt, lab, detector, calibrator, build):
    assert build(detector(batch="n"), calibrator()) is None
    assert "no optimization profile has been defined" in lab.log.errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batches": 0}, "Calibration failure occurred: There are no calibration images"),
        ({"copy": False}, "nothing was copied to its device memory"),
        ({"values": np.full((1, 3, 16, 16), np.nan, np.float32)}, "not finite"),
        ({"cache": b"garbage"}, "is not a calibration cache"),
        ({"cache": b"TRT-101600-EntropyCalibration2\nother: 3c000000\n"}, "does not belong to this model"),
    ],
    ids=["no batches", "forgotten copy", "nan", "garbage cache", "foreign cache"],
)
def test_failures(trt, lab, detector, calibrator, build, settings, message):
    assert build(detector(), calibrator(**settings)) is None
    assert message in lab.log.errors


def test_an_exception_in_get_batch_ends_calibration(trt, lab, detector, calibrator, build, capsys):
    broken = calibrator()
    broken.get_batch = lambda names: 1 / 0
    assert build(detector(), broken) is None
    assert "division by zero" in capsys.readouterr().err


def test_the_legacy_calibrator_is_refused(trt, detector, calibrator, build):
    with pytest.raises(EmulationError, match="entropy or min-max"):
        build(detector(), calibrator("IInt8LegacyCalibrator"))


def test_algorithms(trt, calibrator):
    assert calibrator().get_algorithm() == trt.CalibrationAlgoType.ENTROPY_CALIBRATION_2
    assert calibrator("IInt8MinMaxCalibrator").get_algorithm() == trt.CalibrationAlgoType.MINMAX_CALIBRATION


def test_calibration_can_be_cancelled(trt, lab, detector, calibrator, build):
    class Monitor(trt.IProgressMonitor):
        def phase_start(self, phase_name, parent_phase, num_steps):
            pass

        def step_complete(self, phase_name, step):
            return phase_name != "Calibrating batch 2"

        def phase_finish(self, phase_name):
            pass

    lab.config.progress_monitor = Monitor()
    asking = calibrator()
    assert build(detector(), asking) is None
    assert len(asking.asked) == 2
    assert "cancelled" in lab.log.errors


def test_what_is_no_detector_is_refused(trt, model, calibrator, build):
    with pytest.raises(EmulationError, match="Calibrators are emulated for detectors only"):
        build(model(), calibrator())
