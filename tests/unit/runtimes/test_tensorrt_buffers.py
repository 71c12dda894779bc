"""The buffers in two halves: right results, one wait, nothing allocated on the way."""

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import count_work
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.plan import load_engine
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.runtimes.tensorrt_buffers import EngineBuffers, use_primary_context


@pytest.fixture(scope="module")
def engine_path(onnx_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("buffers") / "tiny.engine"
    build_engine(onnx_model, path, options=EngineOptions(max_batch=3))
    return path


@pytest.fixture
def loaded(engine_path):
    return load_engine(engine_path)


def images(batch, seed=0):
    return np.random.default_rng(seed).random((batch, 3, 64, 64), dtype=np.float32)


@pytest.fixture(scope="module")
def reference(onnx_model):
    with open_runtime(onnx_model, backend="onnxruntime") as runtime:
        yield lambda batch: runtime.infer({"images": batch})["output0"]


def test_results_are_those_of_onnx_runtime_whatever_the_batch(loaded, reference):
    buffers = EngineBuffers(loaded.engine, 3)
    results = []
    for seed, batch in enumerate((3, 1, 2)):
        buffers.submit({"images": images(batch, seed)})
        results.append(buffers.wait()["output0"])
    for seed, (batch, result) in enumerate(zip((3, 1, 2), results, strict=True)):
        np.testing.assert_allclose(result, reference(images(batch, seed)), rtol=1e-3, atol=1e-3)


def test_the_frame_may_change_after_submit(loaded, reference):
    buffers, frame = EngineBuffers(loaded.engine, 1), images(1)
    expected = reference(frame)
    buffers.submit({"images": frame})
    frame[:] = 0
    np.testing.assert_allclose(buffers.wait()["output0"], expected, rtol=1e-3, atol=1e-3)


def test_two_of_them_take_turns(loaded, reference):
    one, two = EngineBuffers(loaded.engine, 1), EngineBuffers(loaded.engine, 1)
    one.submit({"images": images(1, 1)})
    two.submit({"images": images(1, 2)})
    np.testing.assert_allclose(two.wait()["output0"], reference(images(1, 2)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(one.wait()["output0"], reference(images(1, 1)), rtol=1e-3, atol=1e-3)


def test_the_work_of_a_frame(loaded):
    buffers, frame = EngineBuffers(loaded.engine, 3), images(2)
    with count_work() as submitted:
        buffers.submit({"images": frame})
    with count_work() as waited:
        result = buffers.wait()
    work = submitted.work
    assert work.allocations.count == work.pinned_allocations.count == work.synchronization_count == 0
    assert work.copied("h2d", is_async=True, pinned=True, own_stream=True).bytes_total == frame.nbytes
    assert work.copied("d2h", is_async=True, pinned=True, own_stream=True).bytes_total == result["output0"].nbytes
    assert work.copied().count == 2
    assert (waited.work.synchronization_count, waited.work.copied().count) == (1, 0)


def test_a_profiler_hears_every_layer(loaded):
    trt = activate().trt

    class Names(trt.IProfiler):
        def __init__(self):
            trt.IProfiler.__init__(self)
            self.names = []

        def report_layer_time(self, layer_name, ms):
            self.names.append(layer_name)

    profiler = Names()
    buffers = EngineBuffers(loaded.engine, 1, profiler=profiler)
    buffers.submit({"images": images(1)})
    buffers.wait()
    assert len(profiler.names) > 3


def test_misuse_is_named(loaded):
    buffers = EngineBuffers(loaded.engine, 2)
    with pytest.raises(LabError, match="nothing to wait for"):
        buffers.wait()
    with pytest.raises(InputError, match="does not fit"):
        buffers.submit({"images": images(3)})
    with pytest.raises(InputError, match="does not fit"):
        buffers.submit({"pictures": images(1)})
    buffers.submit({"images": images(1)})
    with pytest.raises(LabError, match="not waited for"):
        buffers.submit({"images": images(1)})
    buffers.wait()
    with pytest.raises(InputError, match="cannot run shape"):
        EngineBuffers(loaded.engine, 4)


def test_the_primary_context_is_pushed_once(loaded):
    import pycuda.driver as cuda

    use_primary_context()
    current = cuda.Context.get_current()
    use_primary_context()
    assert cuda.Context.get_current() is current
