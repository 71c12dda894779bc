"""The TensorRT runtime, in the emulation: right answers, work counted, memory returned, bad plans refused."""

import json
import shutil
import struct

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import count_work
from yolotrt_lab.emulation.device import device
from yolotrt_lab.engines.build import build_engine
from yolotrt_lab.engines.options import EngineOptions
from yolotrt_lab.engines.provenance import sidecar_path
from yolotrt_lab.errors import InputError, LabError, LabWarning
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.runtimes import open_detector, open_runtime, stream_detections
from yolotrt_lab.runtimes.tensorrt_memory import Stream, TensorBuffer, cuda_call
from yolotrt_lab.types import Precision, TensorSpec

pytestmark = pytest.mark.usefixtures("emulated")


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated")
    yield
    from yolotrt_lab.engines.platform import activate

    activate()


@pytest.fixture
def copied(engine, tmp_path):
    """A copy of the engine and its provenance, to break."""
    path = tmp_path / "copy.engine"
    shutil.copy(engine, path)
    shutil.copy(sidecar_path(engine), sidecar_path(path))
    return path


def change_provenance(path, **changes):
    sidecar = sidecar_path(path)
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **changes}))


def relative_l2(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def test_what_it_says_about_itself(engine):
    with open_runtime(engine) as runtime:
        assert runtime.platform == "emulated"
        assert runtime.backend == "tensorrt"
        assert runtime.name.startswith("TensorRT 1")
        assert "mulated" in runtime.name
        assert runtime.inputs == (TensorSpec("images", "float32", (None, 3, 64, 64)),)
        assert runtime.outputs == (TensorSpec("output0", "float32", (None, 6, 84)),)
        assert runtime.class_names == ("square", "disc")
        assert runtime.input_hw == (64, 64)
        assert runtime.max_batch == 4
        assert runtime.executed_precision is Precision.FP32
        assert runtime.device_memory_bytes > 0


def test_a_stream_has_contexts_and_streams_of_its_own_and_gives_them_back(engine):
    photos = [np.full((64, 64, 3), 40 * number, np.uint8) for number in range(5)]
    with open_detector(engine, batch=1) as detector:
        detector.detect(photos[0])
        before = device().heap.used
        stream = stream_detections(detector, photos, requests=3)
        with count_work() as measured:
            assert len(list(stream)) == 5
        assert device().heap.used == before
    work = measured.work
    assert (work.streams_created, work.execution_contexts) == (3, 3)
    assert work.copied("h2d").count == work.copied("d2h").count == 5
    assert all(kind.is_async and kind.pinned and kind.stream != 0 for kind in work.copies)
    assert len({kind.stream for kind in work.copies}) == 3


def test_a_frame_costs_one_copy_each_way_one_launch_and_one_wait(engine, images):
    with open_runtime(engine) as runtime:
        runtime.infer({"images": images})
        with count_work() as measured:
            for _ in range(5):
                runtime.infer({"images": images})
    work = measured.work
    assert work.allocations.count == work.pinned_allocations.count == 0
    assert work.streams_created == work.execution_contexts == 0
    assert work.copied("h2d").count == 5
    assert work.copied("h2d").bytes_total == 5 * images.nbytes
    assert work.copied("d2h").count == 5
    assert work.copied("d2h").bytes_total == 5 * 2 * 6 * 84 * 4
    assert all(kind.is_async and kind.pinned and kind.stream != 0 for kind in work.copies)
    assert sum(work.enqueues.values()) == 5
    assert dict(work.synchronizations) == {"stream": 5}


def test_everything_is_freed(engine, images):
    with open_runtime(engine):
        pass  # whatever the first use keeps for good
    before = len(device().heap)
    with count_work() as measured, open_runtime(engine) as runtime:
        runtime.infer({"images": images})
        runtime.layer_times({"images": images})
        assert len(device().heap) > before
    assert len(device().heap) == before
    assert measured.work.allocations.count == measured.work.frees


def test_a_failure_while_opening_frees_everything(engine, monkeypatch):
    before = len(device().heap)
    monkeypatch.setattr(TensorBuffer, "__init__", _fail_on_output(TensorBuffer.__init__))
    with pytest.raises(LabError, match="no memory for output0"):
        open_runtime(engine)
    assert len(device().heap) == before


def _fail_on_output(original):
    def init(self, name, **settings):
        if name == "output0":
            raise LabError("no memory for output0")
        original(self, name, **settings)

    return init


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_memory_follows_the_batch_asked_for(engine, images, batch):
    with count_work() as measured, open_runtime(engine, batch=batch) as runtime:
        assert runtime.max_batch == batch
    per_image = 4 * (3 * 64 * 64 + 6 * 84)
    assert measured.work.pinned_allocations.bytes_total == batch * per_image


def test_batches_larger_than_the_memory_are_refused(engine, images):
    with open_runtime(engine, batch=1) as runtime:
        assert runtime.infer({"images": np.ascontiguousarray(images[:1])})["output0"].shape == (1, 6, 84)
        with pytest.raises(InputError, match="larger than the memory") as caught:
            runtime.infer({"images": images})
        assert "batch=2" in caught.value.fix


def test_batches_outside_the_profile_are_refused(engine):
    with open_runtime(engine) as runtime, pytest.raises(InputError, match="outside the engine's profile") as caught:
        runtime.infer({"images": np.zeros((5, 3, 64, 64), np.float32)})
    assert "(1, 3, 64, 64)" in caught.value.expected
    assert "(4, 3, 64, 64)" in caught.value.expected
    with pytest.raises(InputError, match="cannot run batch 5") as caught:
        open_runtime(engine, batch=5)
    assert "from 1 to 4" in caught.value.expected


def test_a_refused_call_leaves_the_runtime_usable(engine, images, reference):
    with open_runtime(engine) as runtime:
        with pytest.raises(InputError):
            runtime.infer({"images": np.zeros((5, 3, 64, 64), np.float32)})
        assert relative_l2(runtime.infer({"images": images})["output0"], reference) < 1e-4


def test_the_detector_splits_what_does_not_fit(engine, onnx_model):
    photos = [np.random.default_rng(n).integers(0, 255, (50, 60, 3), dtype=np.uint8) for n in range(6)]
    with open_detector(engine) as detector, open_detector(onnx_model, threads=1) as expected:
        assert detector.batch_size == 4
        assert [len(d) for d in detector.detect_batch(photos)] == [len(d) for d in expected.detect_batch(photos)]


def test_layer_times_cover_the_inspected_layers(engine, images):
    with open_runtime(engine) as runtime:
        first = runtime.layer_times({"images": images})
        again = runtime.layer_times({"images": images})
        assert [layer.name for layer in first] == [layer.name for layer in again]
        known = {layer.name for layer in runtime.report.layers}
        assert {layer.name for layer in first} <= known
        assert sum(layer.time_ms for layer in first) > 0
        convolutions = [layer for layer in first if "onv" in layer.kind]
        assert {layer.precision for layer in convolutions} == {"fp32"}
        assert any("/model.0/conv/Conv" in layer.origins for layer in convolutions)


def test_half_precision_inputs_and_outputs(onnx_model, tmp_path, images, reference):
    convert_to_fp16(onnx_model, tmp_path / "half.onnx", keep_io=False)
    build_engine(tmp_path / "half.onnx", tmp_path / "half.engine", options=EngineOptions(max_batch=2))
    with open_runtime(tmp_path / "half.engine") as runtime:
        assert runtime.inputs[0].dtype == "float16"
        assert runtime.executed_precision in (Precision.FP16, Precision.BF16)
        with pytest.raises(InputError, match="wrong dtype"):
            runtime.infer({"images": images})
        output = runtime.infer({"images": images.astype(np.float16)})["output0"]
    assert relative_l2(output.astype(np.float32), reference) < 0.05


def test_a_fixed_batch(onnx_model, checkpoint, tmp_path):
    from yolotrt_lab.export.onnx_export import export_onnx

    export_onnx(checkpoint, tmp_path / "one.onnx", image_size=(64, 64), dynamic_batch=False)
    build_engine(tmp_path / "one.onnx", tmp_path / "one.engine")
    with open_runtime(tmp_path / "one.engine", batch=1) as runtime:
        assert runtime.inputs[0].shape == (1, 3, 64, 64)
        assert runtime.max_batch == 1
        assert runtime.infer({"images": np.zeros((1, 3, 64, 64), np.float32)})["output0"].shape == (1, 6, 84)
    with pytest.raises(InputError, match="cannot run batch 2"):
        open_runtime(tmp_path / "one.engine", batch=2)


class TestBadPlans:
    @pytest.mark.parametrize("content", [b"", b"ONNX", bytes(5000), b"\xff" * 5000])
    def test_garbage(self, tmp_path, content):
        path = tmp_path / "bad.engine"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            open_runtime(path)
        assert "bad.engine" in caught.value.what

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="No such file"):
            open_runtime(tmp_path / "gone.engine")

    def test_cut_short(self, copied):
        copied.write_bytes(copied.read_bytes()[:-1000])
        with pytest.raises(InputError, match="is not the engine that copy") as caught:
            open_runtime(copied)
        assert "yolotrt build" in caught.value.fix

    def test_cut_short_without_provenance(self, copied):
        copied.write_bytes(copied.read_bytes()[:-1000])
        sidecar_path(copied).unlink()
        with pytest.warns(LabWarning, match="no provenance"), pytest.raises(InputError, match="cannot load"):
            open_runtime(copied)

    @pytest.mark.parametrize(("field", "value"), [("device_name", "NVIDIA A100"), ("tensorrt_version", "8.6.1")])
    def test_from_another_machine(self, copied, field, value):
        change_provenance(copied, **{field: value})
        with pytest.raises(InputError, match="engines do not move") as caught:
            open_runtime(copied)
        assert caught.value.got == value
        assert "Build it again here" in caught.value.fix

    def test_a_real_plan_in_the_emulation(self, tmp_path):
        path = tmp_path / "real.engine"
        path.write_bytes(b"ftrt" + bytes(5000))
        with pytest.warns(LabWarning), pytest.raises(InputError, match="built for a GPU"):
            open_runtime(path)


class TestForeignEngines:
    def test_behind_ultralytics_header(self, engine, tmp_path, images, reference):
        header = json.dumps({"names": {"0": "square", "1": "disc"}, "imgsz": [64, 64], "stride": 32}).encode()
        path = tmp_path / "ultralytics.engine"
        path.write_bytes(struct.pack("<I", len(header)) + header + engine.read_bytes())
        with pytest.warns(LabWarning, match="no provenance"):
            runtime = open_runtime(path)
        with runtime:
            assert runtime.class_names == ("square", "disc")
            assert relative_l2(runtime.infer({"images": images})["output0"], reference) < 1e-4

    def test_without_any_metadata(self, copied):
        sidecar_path(copied).unlink()

        def names_of_the_detector():
            with open_detector(copied) as detector:
                return detector.class_names

        with pytest.warns(LabWarning) as caught:
            names = names_of_the_detector()
        assert names == ("class 0", "class 1")
        words = " ".join(str(warning.message) for warning in caught)
        assert "no provenance" in words
        assert "does not name its classes" in words


class TestMemory:
    def test_round_trip(self):
        with Stream() as stream:
            buffer = TensorBuffer("x", dtype=np.dtype(np.int32), max_shape=(4, 3))
            values = np.arange(6, dtype=np.int32).reshape(2, 3)
            buffer.host_view((2, 3))[:] = values
            buffer.copy_to_device((2, 3), stream=stream)
            stream.synchronize()
            buffer.host_view((4, 3))[:] = -1
            buffer.copy_to_host((2, 3), stream=stream)
            stream.synchronize()
            np.testing.assert_array_equal(buffer.host_view((4, 3)), [[0, 1, 2], [3, 4, 5], [-1] * 3, [-1] * 3])
            buffer.close()
            buffer.close()
            with pytest.raises(LabError, match="was freed"):
                buffer.host_view((2, 3))

    def test_too_much_memory(self):
        before = len(device().heap)
        with pytest.raises(LabError, match="Could not allocate") as caught:
            TensorBuffer("x", dtype=np.dtype(np.float32), max_shape=(2**20, 2**20))
        assert "smaller batch" in caught.value.fix
        assert len(device().heap) == before
        from cuda.bindings import runtime as cudart

        assert cudart.cudaGetLastError() == (cudart.cudaError_t.cudaSuccess,)  # nobody else takes it for theirs

    def test_a_failed_call_names_action_and_error(self):
        from cuda.bindings import runtime as cudart

        with pytest.raises(LabError, match="Could not do it") as caught:
            cuda_call((cudart.cudaError_t.cudaErrorInvalidValue,), action="do it")
        assert "cudaErrorInvalidValue" in caught.value.got
        assert cuda_call((cudart.cudaError_t.cudaSuccess, 7), action="x") == 7
        assert cuda_call((cudart.cudaError_t.cudaSuccess,), action="x") is None

    def test_a_stream_closes_once(self):
        stream = Stream()
        stream.close()
        stream.close()
