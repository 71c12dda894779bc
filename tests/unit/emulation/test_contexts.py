"""CUDA contexts: one stack in every thread for the driver, the runtime and PyCUDA; and work from several threads."""

import importlib
import subprocess
import sys
import threading

import numpy as np
import pytest


@pytest.fixture
def drv(trt10):
    return importlib.import_module("cuda.bindings.driver")


@pytest.fixture
def rt(trt10):
    return importlib.import_module("cuda.bindings.runtime")


@pytest.fixture
def cuda(trt10):
    return importlib.import_module("pycuda.driver")


def in_thread(call):
    """Return what a call returns in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join(30)
    return found[0]


def current(drv) -> int:
    return int(drv.cuCtxGetCurrent()[1])


def test_the_runtime_makes_the_primary_context_current(drv, rt):
    rt.cudaFree(0)
    primary = drv.cuDevicePrimaryCtxRetain(0)[1]
    assert current(drv) == int(primary) != 0
    assert in_thread(lambda: current(drv)) == 0
    assert in_thread(lambda: (rt.cudaFree(0), current(drv))[1]) == int(primary)


def test_the_runtime_leaves_another_context_current(drv, rt):
    drv.cuInit(0)
    own = drv.cuCtxCreate(None, 0, 0)[1]
    memory = rt.cudaMalloc(16)[1]
    assert current(drv) == int(own)
    drv.cuCtxDestroy(own)
    assert rt.cudaFree(memory)[0].name == "cudaErrorInvalidValue", "memory dies with its context"


def test_a_thread_that_did_not_push_has_no_context(drv):
    drv.cuInit(0)
    own = drv.cuCtxCreate(None, 0, 0)[1]
    assert in_thread(lambda: drv.cuMemAlloc(4)[0].name) == "CUDA_ERROR_INVALID_CONTEXT"
    assert in_thread(lambda: (drv.cuCtxPushCurrent(own), drv.cuMemAlloc(4)[0].name)[1]) == "CUDA_SUCCESS"
    assert in_thread(lambda: drv.cuMemAlloc(4)[0].name) == "CUDA_ERROR_INVALID_CONTEXT", "threads share no stack"


def test_a_context_destroyed_elsewhere_is_dead_here(drv):
    drv.cuInit(0)
    own = drv.cuCtxCreate(None, 0, 0)[1]
    in_thread(lambda: drv.cuCtxDestroy(own))
    assert drv.cuMemAlloc(4)[0].name == "CUDA_ERROR_CONTEXT_IS_DESTROYED"


def test_pycudas_context_serves_the_driver_and_the_runtime(drv, rt, cuda):
    cuda.init()
    context = cuda.Device(0).make_context()
    assert current(drv) == context.handle
    memory = rt.cudaMalloc(16)[1]
    cuda.memcpy_htod(memory, np.arange(4, dtype=np.float32))
    context.pop()
    assert current(drv) == 0


def test_pycuda_can_take_the_runtimes_context(drv, rt, cuda):
    rt.cudaFree(0)
    cuda.init()
    context = cuda.Context.attach()
    assert cuda.from_device(cuda.to_device(np.arange(4)), 4, np.int64).tolist() == [0, 1, 2, 3]
    assert context.handle == current(drv)


def test_autoprimaryctx_is_the_runtimes_context(drv, rt):
    autoprimaryctx = importlib.import_module("pycuda.autoprimaryctx")
    rt.cudaFree(0)
    assert autoprimaryctx.context.handle == int(drv.cuDevicePrimaryCtxRetain(0)[1]) == current(drv)


def test_without_a_device_nothing_starts(drv, rt, cuda, monkeypatch):
    monkeypatch.setenv("YOLOTRT_EMULATED_DEVICES", "0")
    assert rt.cudaGetDeviceCount()[0].name == "cudaErrorNoDevice"
    assert rt.cudaMalloc(4)[0].name == "cudaErrorNoDevice"
    assert drv.cuInit(0)[0].name == "CUDA_ERROR_NO_DEVICE"
    with pytest.raises(cuda.RuntimeError, match="cuInit failed: no CUDA-capable device is detected"):
        cuda.init()


@pytest.mark.parametrize("rounds", [20])
def test_threads_with_own_streams_get_right_results_and_do_not_deadlock(rt, rounds):
    """Each thread copies its own numbers there and back; one waits for the whole device in between."""
    kind = rt.cudaMemcpyKind
    results, failures, together = {}, [], threading.Barrier(3)

    def work(number: int) -> None:
        try:
            stream, done = rt.cudaStreamCreate()[1], rt.cudaEventCreate()[1]
            memory, back = rt.cudaMalloc(64)[1], np.zeros(16, np.float32)
            together.wait(30)
            for step in range(rounds):
                sent = np.full(16, 100 * number + step, np.float32)
                rt.cudaMemcpyAsync(memory, sent, 64, kind.cudaMemcpyHostToDevice, stream)
                rt.cudaMemcpyAsync(back, memory, 64, kind.cudaMemcpyDeviceToHost, stream)
                rt.cudaEventRecord(done, stream)
                wait = (rt.cudaDeviceSynchronize, lambda: rt.cudaEventSynchronize(done))[number % 2]
                assert wait()[0] == 0
                results[number, step] = back.tolist() == sent.tolist()
            assert rt.cudaStreamDestroy(stream)[0] == 0
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []
    assert len(results) == 3 * rounds
    assert all(results.values())


def test_each_thread_has_its_own_last_error(rt):
    rt.cudaMemset(0, 1, 4)
    assert in_thread(lambda: rt.cudaPeekAtLastError()[0].name) == "cudaSuccess"
    assert rt.cudaGetLastError()[0].name == "cudaErrorInvalidValue"


@pytest.mark.parametrize(("last", "complains"), [("", True), ("import pycuda.autoinit; context.pop()", False)])
def test_a_context_that_nobody_popped_is_complained_about_at_the_end(last, complains):
    program = (
        "from yolotrt_lab.emulation import modules; modules.activate(10)\n"
        f"import pycuda.driver as cuda; cuda.init(); context = cuda.Device(0).make_context(); {last}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert ("The context stack was not empty upon module cleanup." in done.stderr) == complains
