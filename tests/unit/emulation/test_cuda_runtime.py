"""The emulated cuda.bindings.runtime: tuples with an error code first, and names and numbers of the real one."""

import ctypes
import importlib
import logging

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import count_work
from yolotrt_lab.errors import EmulationError

DATA = np.arange(8, dtype=np.float32)


def pinned8(rt):
    """Eight bytes of page-locked memory."""
    return rt.cudaMallocHost(8)[1]


@pytest.fixture
def rt(trt10):
    return importlib.import_module("cuda.bindings.runtime")


@pytest.fixture
def kind(rt):
    return rt.cudaMemcpyKind


def value(result):
    code, *values = result
    assert int(code) == 0, code
    return values[0] if values else None


def test_round_trip(rt, kind):
    memory = value(rt.cudaMalloc(DATA.nbytes))
    back = np.zeros_like(DATA)
    value(rt.cudaMemcpy(memory, DATA.ctypes.data, DATA.nbytes, kind.cudaMemcpyHostToDevice))
    value(rt.cudaMemcpy(back.ctypes.data, memory, DATA.nbytes, kind.cudaMemcpyDeviceToHost))
    assert np.array_equal(back, DATA)
    assert rt.cudaFree(memory) == (rt.cudaError_t.cudaSuccess,)


def test_arrays_and_the_default_direction(rt, kind):
    memory = value(rt.cudaMalloc(DATA.nbytes))
    other = value(rt.cudaMalloc(DATA.nbytes))
    back = np.zeros_like(DATA)
    for target, source in ((memory, DATA), (other, memory), (back, other)):
        value(rt.cudaMemcpy(target, source, DATA.nbytes, kind.cudaMemcpyDefault))
    assert np.array_equal(back, DATA)


def test_two_device_addresses_are_recognised_whatever_the_direction_says(rt, kind):
    memory, other = value(rt.cudaMalloc(DATA.nbytes)), value(rt.cudaMalloc(DATA.nbytes))
    back = np.zeros_like(DATA)
    value(rt.cudaMemcpy(memory, DATA, DATA.nbytes, kind.cudaMemcpyHostToDevice))
    value(rt.cudaMemcpy(other, memory, DATA.nbytes, kind.cudaMemcpyHostToDevice))
    value(rt.cudaMemcpy(back, other, DATA.nbytes, kind.cudaMemcpyDeviceToHost))
    assert np.array_equal(back, DATA)


def test_memset_is_asynchronous_when_asked(rt, kind):
    memory, stream = value(rt.cudaMalloc(4)), value(rt.cudaStreamCreateWithFlags(rt.cudaStreamNonBlocking))
    value(rt.cudaMemsetAsync(memory, 5, 4, stream))
    back = np.zeros(4, np.uint8)
    value(rt.cudaMemcpy(back, memory, 4, kind.cudaMemcpyDeviceToHost))
    assert back.tolist() != [5, 5, 5, 5]
    value(rt.cudaStreamSynchronize(stream))
    value(rt.cudaMemcpy(back, memory, 4, kind.cudaMemcpyDeviceToHost))
    assert back.tolist() == [5, 5, 5, 5]


def test_no_stream_is_the_default_stream(rt, kind):
    memory, host = value(rt.cudaMalloc(DATA.nbytes)), value(rt.cudaMallocHost(DATA.nbytes))
    back = np.ctypeslib.as_array((ctypes.c_float * 8).from_address(host))
    value(rt.cudaMemcpyAsync(memory, DATA, DATA.nbytes, kind.cudaMemcpyHostToDevice, None))
    value(rt.cudaMemcpyAsync(host, memory, DATA.nbytes, kind.cudaMemcpyDeviceToHost, None))
    assert np.isnan(back).all()
    value(rt.cudaStreamSynchronize(None))
    assert np.array_equal(back, DATA)


def test_pinned_memory_waits_for_the_stream(rt, kind):
    host = value(rt.cudaMallocHost(DATA.nbytes))
    memory, stream = value(rt.cudaMalloc(DATA.nbytes)), value(rt.cudaStreamCreate())
    value(rt.cudaMemcpy(memory, DATA, DATA.nbytes, kind.cudaMemcpyHostToDevice))
    with count_work() as measured:
        value(rt.cudaMemcpyAsync(host, memory, DATA.nbytes, kind.cudaMemcpyDeviceToHost, stream))
    view = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_float * 8).from_address(host))
    assert np.isnan(view).all()
    value(rt.cudaStreamSynchronize(stream))
    assert np.array_equal(view, DATA)
    assert measured.work.copied("d2h", pinned=True, own_stream=True).count == 1
    value(rt.cudaFreeHost(host))


def test_a_bare_pageable_address_is_written_at_once(rt, kind):
    back, stream = np.zeros_like(DATA), value(rt.cudaStreamCreate())
    memory = value(rt.cudaMalloc(DATA.nbytes))
    value(rt.cudaMemcpyAsync(memory, DATA.ctypes.data, DATA.nbytes, kind.cudaMemcpyHostToDevice, stream))
    value(rt.cudaMemcpyAsync(back.ctypes.data, memory, DATA.nbytes, kind.cudaMemcpyDeviceToHost, stream))
    assert np.array_equal(back, DATA)


@pytest.mark.parametrize(
    ("mistake", "code", "explanation"),
    [
        (lambda rt, m: rt.cudaMalloc(1 << 60), "cudaErrorMemoryAllocation", "bytes free"),
        (lambda rt, m: rt.cudaFree(m + 4), "cudaErrorInvalidValue", "inside an allocation"),
        (lambda rt, m: rt.cudaMemcpy(m, DATA, 33, rt.cudaMemcpyKind(1)), "cudaErrorInvalidValue", "has 32"),
        (lambda rt, m: rt.cudaMemcpy(m + 4, DATA, 32, rt.cudaMemcpyKind(1)), "cudaErrorInvalidValue", "only 28 bytes"),
        (lambda rt, m: rt.cudaMemcpy(m, 0, 4, rt.cudaMemcpyKind(1)), "cudaErrorInvalidValue", "null pointer"),
        (lambda rt, m: rt.cudaMemcpy(m, DATA, 4, 9), "cudaErrorInvalidMemcpyDirection", ""),
        (lambda rt, m: rt.cudaStreamSynchronize(77), "cudaErrorInvalidResourceHandle", "not a stream"),
        (lambda rt, m: rt.cudaEventRecord(77, 0), "cudaErrorInvalidResourceHandle", "not an event"),
        (lambda rt, m: rt.cudaFreeHost(m), "cudaErrorInvalidValue", "not page-locked"),
        (lambda rt, m: rt.cudaSetDevice(1), "cudaErrorInvalidDevice", ""),
        (lambda rt, m: rt.cudaMemcpy(m + 4, m, 16, rt.cudaMemcpyKind(3)), "cudaErrorInvalidValue", "overlap"),
        (lambda rt, m: rt.cudaMemcpy(m, pinned8(rt), 9, rt.cudaMemcpyKind(1)), "cudaErrorInvalidValue", "page-locked"),
        (lambda rt, m: rt.cudaMemcpy(pinned8(rt), m, 9, rt.cudaMemcpyKind(2)), "cudaErrorInvalidValue", "has 8 there"),
        (lambda rt, m: rt.cudaMemcpy2D(m, 4, DATA, 8, 8, 2, rt.cudaMemcpyKind(1)), "cudaErrorInvalidPitchValue", "fit"),
        (lambda rt, m: rt.cudaMemset2D(m, 16, 1, 16, 3), "cudaErrorInvalidValue", "0 bytes behind the end of"),
        (lambda rt, m: rt.cudaHostUnregister(m), "cudaErrorHostMemoryNotRegistered", "no host memory was registered"),
    ],
)
def test_mistakes_are_error_codes_and_are_explained_in_the_log(rt, caplog, mistake, code, explanation):
    memory = value(rt.cudaMalloc(32))
    with caplog.at_level(logging.ERROR, "yolotrt_lab.emulation"):
        result = mistake(rt, memory)
    assert result[0].name == code
    assert all(item is None for item in result[1:])
    assert explanation in caplog.text
    assert rt.cudaPeekAtLastError()[0].name == code
    assert rt.cudaGetLastError()[0].name == code
    assert rt.cudaGetLastError()[0].name == "cudaSuccess"


def test_use_after_free_is_refused(rt, kind, caplog):
    memory, stream = value(rt.cudaMalloc(32)), value(rt.cudaStreamCreate())
    value(rt.cudaFree(memory))
    result = rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice, stream)
    assert result[0].name == "cudaErrorInvalidValue"
    assert "this device memory was freed before" in caplog.text


def test_stream_ordered_free_happens_in_order(rt, kind):
    stream = value(rt.cudaStreamCreate())
    memory, back = value(rt.cudaMallocAsync(32, stream)), np.zeros_like(DATA)
    value(rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice, stream))
    value(rt.cudaMemcpyAsync(back, memory, 32, kind.cudaMemcpyDeviceToHost, stream))
    value(rt.cudaFreeAsync(memory, stream))
    value(rt.cudaStreamSynchronize(stream))
    assert np.array_equal(back, DATA)
    assert rt.cudaFree(memory)[0].name == "cudaErrorInvalidValue"


def test_events(rt):
    stream, start, end = value(rt.cudaStreamCreate()), value(rt.cudaEventCreate()), value(rt.cudaEventCreate())
    value(rt.cudaEventRecord(start, stream))
    value(rt.cudaEventRecord(end, stream))
    assert rt.cudaEventElapsedTime(start, end)[0].name == "cudaErrorNotReady"
    assert rt.cudaEventQuery(end)[0].name == "cudaErrorNotReady"
    value(rt.cudaEventSynchronize(end))
    assert value(rt.cudaEventElapsedTime(start, end)) >= 0
    value(rt.cudaEventDestroy(end))
    assert rt.cudaEventQuery(end)[0].name == "cudaErrorInvalidResourceHandle"


def test_not_ready_is_no_error_to_remember(rt):
    rt.cudaGetLastError()
    stream, event = value(rt.cudaStreamCreate()), value(rt.cudaEventCreate())
    value(rt.cudaEventRecord(event, stream))
    assert rt.cudaStreamQuery(stream)[0].name == "cudaErrorNotReady"
    assert rt.cudaGetLastError()[0].name == "cudaSuccess"


def test_device_facts(rt):
    assert value(rt.cudaGetDeviceCount()) == 1
    properties = value(rt.cudaGetDeviceProperties(0))
    assert b"Emulated" in properties.name
    assert (properties.major, properties.minor) == (0, 0)
    free, total = rt.cudaMemGetInfo()[1:]
    assert free <= total == properties.totalGlobalMem


def test_reset_forgets_memory(rt):
    memory = value(rt.cudaMalloc(32))
    value(rt.cudaDeviceReset())
    assert rt.cudaFree(memory)[0].name == "cudaErrorInvalidValue"


def test_error_texts(rt):
    assert rt.cudaGetErrorString(rt.cudaError_t(700)) == (0, b"an illegal memory access was encountered")
    assert rt.cudaGetErrorName(rt.cudaError_t(2)) == (0, b"cudaErrorMemoryAllocation")


def test_the_old_name_of_the_module_works(rt):
    assert importlib.import_module("cuda.cudart").cudaMalloc is rt.cudaMalloc


def test_what_is_not_emulated_says_so(rt):
    with pytest.raises(EmulationError, match="cudaGraphAddEmptyNode is not emulated"):
        _ = rt.cudaGraphAddEmptyNode
    assert not hasattr(rt, "nothing_of_that_name")


def test_the_driver_interface(trt10):
    driver = importlib.import_module("cuda.bindings.driver")
    success = driver.CUresult.CUDA_SUCCESS
    assert driver.cuInit(0) == (success,)
    owner = driver.cuDeviceGet(0)[1]
    assert driver.cuDeviceGetName(64, owner)[1].startswith(b"Emulated GPU")
    assert driver.cuCtxSynchronize()[0].name == "CUDA_ERROR_INVALID_CONTEXT"
    context = driver.cuCtxCreate(None, 0, owner)[1]
    assert driver.cuCtxGetCurrent() == (success, context)
    assert driver.cuCtxSynchronize() == (success,)
    assert driver.cuCtxDestroy(context) == (success,)
    with pytest.raises(EmulationError, match="cuLaunchKernel is not emulated"):
        _ = driver.cuLaunchKernel


def test_a_host_function_runs_when_the_stream_gets_there(rt):
    stream, called = value(rt.cudaStreamCreate()), []
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(called.append)
    handle = rt.cudaHostFn_t(_ptr=ctypes.addressof(function))
    value(rt.cudaLaunchHostFunc(stream, handle, 7))
    assert called == []
    value(rt.cudaStreamSynchronize(stream))
    assert called == [7]


def test_handles_are_kept_where_they_say(rt):
    stream = rt.cudaStream_t(5)
    assert ctypes.c_uint64.from_address(stream.getPtr()).value == 5
    assert rt.cudaStream_t(_ptr=stream.getPtr()) == stream
    assert stream.__cuda_stream__() == (0, 5)


@pytest.mark.parametrize(
    ("module", "name", "what"),
    [
        ("runtime", "cudaMallocManaged", "memory that migrates"),
        ("runtime", "cudaIpcGetMemHandle", "another process"),
        ("driver", "cuModuleLoadData", "loads or runs code compiled for a GPU"),
        ("driver", "cuLaunchKernel", "loads or runs code compiled for a GPU"),
        ("nvrtc", "nvrtcCompileProgram", "compiles and runs CUDA code"),
    ],
)
def test_gpu_code_and_the_like_are_refused(trt10, module, name, what):
    with pytest.raises(EmulationError, match=rf"{name} is not emulated.*{what}"):
        getattr(importlib.import_module(f"cuda.bindings.{module}"), name)


def test_errors_of_the_compiler_can_be_told_from_others(trt10):
    nvrtc = importlib.import_module("cuda.bindings.nvrtc")
    assert nvrtc.nvrtcResult.NVRTC_ERROR_COMPILATION == 6
    assert not isinstance(importlib.import_module("cuda.cudart").cudaError_t.cudaSuccess, nvrtc.nvrtcResult)


def test_rows_with_gaps_are_copied_and_filled(rt, kind):
    _, memory, pitch = rt.cudaMallocPitch(6, 3)
    rows, back = np.arange(18, dtype=np.uint8).reshape(3, 6), np.zeros((3, 6), np.uint8)
    value(rt.cudaMemcpy2D(memory, pitch, rows, 6, 6, 3, kind.cudaMemcpyHostToDevice))
    value(rt.cudaMemset2D(memory + pitch, pitch, 9, 2, 1))
    value(rt.cudaMemcpy2D(back, 6, memory, pitch, 6, 3, kind.cudaMemcpyDeviceToHost))
    rows[1, :2] = 9
    assert np.array_equal(back, rows)
    value(rt.cudaFree(memory))


class TestPools:
    """Stream-ordered memory from a pool, as NVIDIA's sample of an asynchronous allocator has it."""

    @pytest.fixture
    def pool(self, rt):
        wanted = rt.cudaMemPoolProps()
        wanted.allocType = rt.cudaMemAllocationType.cudaMemAllocationTypePinned
        wanted.location.type = rt.cudaMemLocationType.cudaMemLocationTypeDevice
        wanted.location.id = 0
        return value(rt.cudaMemPoolCreate(wanted))

    def test_memory_comes_and_goes_in_stream_order(self, rt, kind, pool):
        threshold, used = rt.cudaMemPoolAttr.cudaMemPoolAttrReleaseThreshold, rt.cudaMemPoolAttr(7)
        most = importlib.import_module("cuda.bindings.driver").cuuint64_t(np.uint64(2**64 - 1))
        value(rt.cudaMemPoolSetAttribute(pool, threshold, most))
        assert value(rt.cudaMemPoolGetAttribute(pool, threshold)) == 2**64 - 1
        stream, back = value(rt.cudaStreamCreate()), np.zeros_like(DATA)
        memory = value(rt.cudaMallocFromPoolAsync(32, pool, stream))
        value(rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice, stream))
        value(rt.cudaMemcpyAsync(back, memory, 32, kind.cudaMemcpyDeviceToHost, stream))
        value(rt.cudaFreeAsync(memory, stream))
        assert value(rt.cudaMemPoolGetAttribute(pool, used)) == 32
        value(rt.cudaStreamSynchronize(stream))
        assert np.array_equal(back, DATA)
        assert value(rt.cudaMemPoolGetAttribute(pool, used)) == 0
        assert value(rt.cudaMemPoolGetAttribute(pool, rt.cudaMemPoolAttr(8))) == 32

    def test_a_destroyed_pool_is_none(self, rt, pool):
        value(rt.cudaMemPoolTrimTo(pool, 0))
        value(rt.cudaMemPoolDestroy(pool))
        assert rt.cudaMallocFromPoolAsync(32, pool, 0)[0].name == "cudaErrorInvalidValue"
        assert rt.cudaMemPoolDestroy(pool)[0].name == "cudaErrorInvalidValue"

    def test_the_default_pool(self, rt, pool):
        default = value(rt.cudaDeviceGetDefaultMemPool(0))
        assert value(rt.cudaDeviceGetMemPool(0)) == default
        value(rt.cudaDeviceSetMemPool(0, pool))
        assert value(rt.cudaDeviceGetMemPool(0)) == pool
        assert rt.cudaMemPoolDestroy(default)[0].name == "cudaErrorInvalidValue"
        assert rt.cudaMemPoolCreate(rt.cudaMemPoolProps())[0].name == "cudaErrorInvalidValue"
