"""Which buffers a program forgot to free."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from yolotrt_lab.emulation import memory_report
from yolotrt_lab.emulation.leaks import living_buffers


@pytest.fixture
def rt(trt10):
    return importlib.import_module("cuda.bindings.runtime")


@pytest.fixture
def drv(trt10):
    driver = importlib.import_module("cuda.bindings.driver")
    driver.cuInit(0)
    driver.cuCtxCreate(None, 0, 0)
    return driver


def leaks() -> list[tuple]:
    return [(buffer.function, buffer.nbytes, buffer.pinned) for buffer in living_buffers()]


@pytest.mark.parametrize(
    ("allocate", "free", "leak"),
    [
        (lambda rt: rt.cudaMalloc(100), "cudaFree", ("cudaMalloc", 100, False)),
        (lambda rt: rt.cudaMallocAsync(100, 0), "cudaFree", ("cudaMallocAsync", 100, False)),
        (lambda rt: rt.cudaMallocPitch(10, 4), "cudaFree", ("cudaMallocPitch", 2048, False)),
        (lambda rt: rt.cudaMallocHost(64), "cudaFreeHost", ("cudaMallocHost", 64, True)),
        (lambda rt: rt.cudaHostAlloc(64, 0), "cudaFreeHost", ("cudaHostAlloc", 64, True)),
    ],
)
def test_what_the_runtime_gave_has_to_be_given_back(rt, allocate, free, leak):
    address = allocate(rt)[1]
    assert leaks() == [leak]
    assert getattr(rt, free)(address)[0] == 0
    assert leaks() == []


@pytest.mark.parametrize(
    ("allocate", "free", "leak"),
    [
        (lambda drv: drv.cuMemAlloc(100), "cuMemFree", ("cuMemAlloc", 100, False)),
        (lambda drv: drv.cuMemHostAlloc(100, 0), "cuMemFreeHost", ("cuMemHostAlloc", 100, True)),
    ],
)
def test_so_has_what_the_driver_gave(drv, allocate, free, leak):
    address = allocate(drv)[1]
    assert leaks() == [leak]
    assert getattr(drv, free)(address)[0] == 0
    assert leaks() == []


def test_registered_memory_has_to_be_unregistered(rt):
    array = np.zeros(64, np.uint8)
    rt.cudaHostRegister(array.ctypes.data, 64, 0)
    assert leaks() == [("cudaHostRegister", 64, True)]
    rt.cudaHostUnregister(array.ctypes.data)
    assert leaks() == []


def test_what_its_object_frees_is_no_leak(cuda):
    held = cuda.mem_alloc(16), cuda.pagelocked_empty(4, np.float32), cuda.to_device(np.zeros(4))
    assert len(held) == 3
    assert memory_report() == ""


def test_the_report_counts_by_place(rt):
    for _ in range(3):
        rt.cudaMalloc(100)
    rt.cudaMallocHost(64)
    first, device, host = memory_report().splitlines()
    assert first == "Memory that was not freed: 4 buffers, 364 bytes"
    line = test_the_report_counts_by_place.__code__.co_firstlineno + 2
    assert device == f"  3 x 100 bytes of device memory from cudaMalloc at {__file__}:{line}"
    assert host == f"  64 bytes of page-locked host memory from cudaMallocHost at {__file__}:{line + 1}"


def test_memory_that_its_context_took_along_counts(drv):
    drv.cuMemAlloc(100)
    drv.cuCtxDestroy(drv.cuCtxGetCurrent()[1])
    assert leaks() == [("cuMemAlloc", 100, False)]


def test_so_does_memory_that_a_reset_took_along(rt):
    rt.cudaMalloc(100)
    rt.cudaDeviceReset()
    assert leaks() == [("cudaMalloc", 100, False)]


PROGRAM = """
from yolotrt_lab.emulation import modules
modules.activate(10)
from cuda.bindings import runtime
import pycuda.autoinit
import pycuda.driver as cuda
kept = cuda.mem_alloc(8)
error, address = runtime.cudaMalloc(100)
error, freed = runtime.cudaMalloc(50)
runtime.cudaFree(freed)
"""


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("1", "Memory that was not freed: 1 buffer, 100 bytes\n  100 bytes of device memory from cudaMalloc at "),
        ("0", ""),
    ],
    ids=["asked for", "switched off"],
)
def test_the_report_at_exit_is_on_request(tmp_path, wanted, expected):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    environment = {**os.environ, "YOLOTRT_REPORT_LEAKS": wanted}
    done = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (f"{expected}{path}:8\n" if expected else "")
