"""The emulated pycuda.driver: what a program sees, and what a mistake looks like."""

import importlib
import threading

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import CopyKind, count_work
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.errors import EmulationError

DATA = np.arange(8, dtype=np.float32)


def pinned(cuda, values):
    array = cuda.pagelocked_empty(values.shape, values.dtype)
    array[...] = values
    return array


def test_round_trip(cuda):
    memory = cuda.mem_alloc(DATA.nbytes)
    cuda.memcpy_htod(memory, DATA)
    back = np.zeros_like(DATA)
    cuda.memcpy_dtoh(back, memory)
    assert np.array_equal(back, DATA)


def test_to_and_from_device(cuda):
    memory = cuda.to_device(DATA)
    assert np.array_equal(cuda.from_device(memory, 8, np.float32), DATA)
    assert np.array_equal(cuda.from_device_like(memory, DATA), DATA)
    assert np.array_equal(cuda.from_device(int(memory) + 8, (2, 3), np.float32), DATA[2:].reshape(2, 3))


def test_copy_on_the_device(cuda):
    source, target = cuda.to_device(DATA), cuda.mem_alloc(DATA.nbytes)
    cuda.memcpy_dtod(target, source, DATA.nbytes)
    assert np.array_equal(cuda.from_device(target, 8, np.float32), DATA)


def test_memset(cuda):
    memory = cuda.mem_alloc(8)
    cuda.memset_d32(memory, 0x01020304, 2)
    assert cuda.from_device(memory, 2, np.uint32).tolist() == [0x01020304] * 2
    cuda.memset_d8(memory, 7, 3)
    assert cuda.from_device(memory, 4, np.uint8).tolist() == [7, 7, 7, 1]


def test_an_uncopied_buffer_reads_as_nan(cuda):
    assert np.isnan(cuda.from_device(cuda.mem_alloc(16), 4, np.float32)).all()


def test_a_forgotten_synchronisation_shows(cuda):
    stream, back = cuda.Stream(), cuda.pagelocked_empty(8, np.float32)
    memory = cuda.mem_alloc(DATA.nbytes)
    cuda.memcpy_htod_async(memory, pinned(cuda, DATA), stream)
    cuda.memcpy_dtoh_async(back, memory, stream)
    assert np.isnan(back).all()
    stream.synchronize()
    assert np.array_equal(back, DATA)


def test_overwriting_a_pinned_source_too_early_corrupts_the_copy(cuda):
    stream, source, memory = cuda.Stream(), pinned(cuda, DATA), cuda.mem_alloc(DATA.nbytes)
    cuda.memcpy_htod_async(memory, source, stream)
    source[:] = -1
    stream.synchronize()
    assert np.array_equal(cuda.from_device(memory, 8, np.float32), np.full(8, -1))


def test_a_pageable_source_is_staged_at_once(cuda):
    stream, source, memory = cuda.Stream(), DATA.copy(), cuda.mem_alloc(DATA.nbytes)
    cuda.memcpy_htod_async(memory, source, stream)
    source[:] = -1
    stream.synchronize()
    assert np.array_equal(cuda.from_device(memory, 8, np.float32), DATA)


def test_two_streams_without_an_event_race(cuda):
    upload, download = cuda.Stream(), cuda.Stream()
    memory, back = cuda.mem_alloc(DATA.nbytes), cuda.pagelocked_empty(8, np.float32)
    cuda.memcpy_htod_async(memory, pinned(cuda, DATA), upload)
    cuda.memcpy_dtoh_async(back, memory, download)
    cuda.Context.synchronize()
    assert np.isnan(back).all()


def test_an_event_ends_the_race(cuda):
    upload, download = cuda.Stream(), cuda.Stream()
    memory, back = cuda.mem_alloc(DATA.nbytes), cuda.pagelocked_empty(8, np.float32)
    cuda.memcpy_htod_async(memory, pinned(cuda, DATA), upload)
    download.wait_for_event(cuda.Event().record(upload))
    cuda.memcpy_dtoh_async(back, memory, download)
    download.synchronize()
    assert np.array_equal(back, DATA)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (
            lambda cuda, m: cuda.memcpy_htod(m, np.zeros(9, np.float32)),
            "cuMemcpyHtoD failed: invalid argument .*36 byt",
        ),
        (lambda cuda, m: cuda.memcpy_dtoh(np.zeros(9, np.float32), m), "cuMemcpyDtoH failed: invalid argument"),
        (lambda cuda, m: cuda.memcpy_dtoh(np.zeros(4, np.float64), m), "holds float32 values, .* is float64"),
        (lambda cuda, m: cuda.memcpy_dtod(m, int(m) + 16, 32), "cuMemcpyDtoD failed: invalid argument"),
        (lambda cuda, m: cuda.memcpy_htod(12345, DATA), "not device memory"),
        (lambda cuda, m: cuda.mem_alloc(0), "cuMemAlloc failed: invalid argument"),
        (lambda cuda, m: (m.free(), cuda.from_device(m, 8, np.float32)), "freed before"),
        (lambda cuda, m: (m.free(), m.free()), "device_allocation::free failed: invalid resource handle"),
    ],
    ids=[
        "too long",
        "too long back",
        "dtype",
        "overrun",
        "host address",
        "nothing",
        "use after free",
        "twice",
    ],
)
def test_mistakes_raise_under_the_drivers_name(cuda, mistake, message):
    memory = cuda.to_device(DATA)
    with pytest.raises(cuda.LogicError, match=message):
        mistake(cuda, memory)


def test_reading_raw_bytes_is_no_dtype_mistake(cuda):
    raw = cuda.from_device(cuda.to_device(DATA), DATA.nbytes, np.uint8)
    assert raw.tobytes() == DATA.tobytes()


def test_out_of_memory(cuda):
    with pytest.raises(cuda.MemoryError, match="cuMemAlloc failed: out of memory"):
        cuda.mem_alloc(1 << 60)


def test_memory_is_freed_with_its_object(cuda):
    free, total = cuda.mem_get_info()
    memory = cuda.mem_alloc(1000)
    assert cuda.mem_get_info() == (free - 1000, total)
    del memory
    assert cuda.mem_get_info() == (free, total)


def test_a_read_only_destination_is_refused(cuda):
    target = DATA.copy()
    target.flags.writeable = False
    with pytest.raises(ValueError, match="buffer source array is read-only"):
        cuda.memcpy_dtoh(target, cuda.to_device(DATA))


@pytest.mark.parametrize("order", ["C", "F"])
def test_pagelocked_arrays(cuda, order):
    array = cuda.pagelocked_empty((3, 4), np.float32, order)
    assert array.shape == (3, 4)
    assert array.flags[f"{order}_CONTIGUOUS"]
    assert np.isnan(array).all()
    assert type(array.base) is cuda.PagelockedHostAllocation
    assert not cuda.pagelocked_zeros_like(array).any()


def test_a_strided_array_is_refused(cuda):
    with pytest.raises(ValueError, match="ndarray is not contiguous"):
        cuda.memcpy_htod(cuda.to_device(DATA), np.zeros((4, 4), np.float32)[:, ::2])


@pytest.mark.parametrize("nbytes", [32.0, np.int64(32), "32", None])
def test_sizes_are_pythons_own_integers(cuda, nbytes):
    with pytest.raises(TypeError, match=r"Python argument types in\n    pycuda\._driver\.mem_alloc\("):
        cuda.mem_alloc(nbytes)


@pytest.mark.parametrize("address", [None, 1.5, np.uint64(4096)])
def test_addresses_are_pythons_own_integers_or_allocations(cuda, address):
    with pytest.raises(TypeError, match="did not match C"):
        cuda.memcpy_htod(address, DATA)
    with pytest.raises(TypeError, match="did not match C"):
        cuda.memcpy_dtoh(DATA.copy(), address)


def test_pinned_memory_is_told_from_pageable(cuda):
    memory, stream = cuda.mem_alloc(DATA.nbytes), cuda.Stream()
    page_locked = pinned(cuda, DATA)
    with count_work() as measured:
        cuda.memcpy_htod(memory, DATA)
        cuda.memcpy_htod_async(memory, page_locked, stream)
        cuda.memcpy_htod_async(memory, page_locked[:4])
    assert {kind: tally.count for kind, tally in measured.work.copies.items()} == {
        CopyKind("h2d", False, False, 0): 1,
        CopyKind("h2d", True, True, stream.handle): 1,
        CopyKind("h2d", True, True, 0): 1,
    }


def test_events_measure_time(cuda):
    start, end = cuda.Event(), cuda.Event()
    with pytest.raises(cuda.LogicError, match="cuEventElapsedTime failed: invalid resource handle"):
        start.time_till(end)
    start.record()
    end.record()
    with pytest.raises(cuda.LogicError, match="device not ready"):
        start.time_till(end)
    end.synchronize()
    assert end.query()
    assert start.time_till(end) == end.time_since(start) >= 0


def test_events_without_timing_do_not(cuda):
    event = cuda.Event(cuda.event_flags.DISABLE_TIMING).record().synchronize()
    with pytest.raises(cuda.LogicError, match="invalid resource handle"):
        event.time_since(event)


def test_a_stream_goes_with_its_object_but_not_while_the_scheduler_is_at_work(cuda):
    """The garbage collector may come at any time, and in any thread."""
    scheduler, stream = device().scheduler, cuda.Stream()
    handle = stream.handle
    with scheduler.lock:
        del stream
        assert scheduler.stream(handle).handle == handle
    kept = cuda.Stream()
    with pytest.raises(DeviceFault, match="not a stream, or was destroyed"):
        scheduler.stream(handle)
    assert kept.is_done()


def test_stream_is_done(cuda):
    stream, memory = cuda.Stream(), cuda.mem_alloc(DATA.nbytes)
    assert stream.is_done()
    cuda.memcpy_htod_async(memory, DATA, stream)
    assert not stream.is_done()
    assert stream.is_done()


class TestContexts:
    def test_nothing_works_without_one(self, trt10):
        driver = importlib.import_module("pycuda.driver")
        driver.init()
        with pytest.raises(driver.LogicError, match="cuMemAlloc failed: invalid device context"):
            driver.mem_alloc(4)
        with pytest.raises(driver.LogicError, match=r"invalid device context - no currently active context\?"):
            driver.Stream()

    def test_another_thread_has_none(self, cuda):
        seen = []

        def work():
            try:
                cuda.Stream()
            except cuda.LogicError as error:
                seen.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert "no currently active context" in seen[0]

    def test_pushing_it_there_helps(self, cuda):
        context, seen = cuda.Context.get_current(), []

        def work():
            context.push()
            seen.append(cuda.mem_alloc(4))
            cuda.Context.pop()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(seen) == 1

    def test_they_are_a_stack(self, cuda):
        outer = cuda.Context.get_current()
        inner = cuda.Device(0).make_context()
        assert cuda.Context.get_current() is inner
        assert cuda.Context.pop() is None
        assert cuda.Context.get_current() is outer

    def test_popping_too_often(self, cuda):
        context = cuda.Context.get_current()
        cuda.Context.pop()
        with pytest.raises(cuda.LogicError, match="cannot pop non-current context"):
            cuda.Context.pop()
        context.push()

    def test_autoinit_makes_one(self, trt10):
        driver = importlib.import_module("pycuda.driver")
        assert driver.Context.get_current() is None
        autoinit = importlib.import_module("pycuda.autoinit")
        assert driver.Context.get_current() is autoinit.context
        assert autoinit.device.name().startswith("Emulated GPU")
        autoinit.context.detach()


def test_the_device_says_that_it_is_emulated(cuda):
    owner = cuda.Device(0)
    assert cuda.Device.count() == 1
    assert "Emulated" in owner.name()
    assert "OpenVINO" in owner.name()
    assert owner.compute_capability() == (0, 0)
    assert owner.total_memory() == cuda.mem_get_info()[1]
    with pytest.raises(cuda.LogicError, match="invalid device ordinal"):
        cuda.Device(1)


@pytest.mark.parametrize("name", ["Function", "managed_empty", "Module", "Memcpy2D", "memset_d2d8"])
def test_what_is_not_emulated_says_what_it_does_on_a_gpu(cuda, name):
    with pytest.raises(EmulationError, match=f"pycuda.driver.{name} is not emulated: on a GPU it"):
        getattr(cuda, name)


def test_what_pycuda_does_not_have_is_missing_here_too(cuda):
    assert not hasattr(cuda, "mem_allocate")


@pytest.mark.parametrize(
    ("module", "name"), [("pycuda.compiler", "SourceModule"), ("pycuda.reduction", "ReductionKernel")]
)
def test_cuda_code_is_refused(cuda, module, name):
    with pytest.raises(EmulationError, match="compiles and runs CUDA code"):
        getattr(importlib.import_module(module), name)
