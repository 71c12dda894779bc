"""Small programs for CUDA's Python packages, with what each comes to: the same on a GPU as on the emulation.

`python cuda_probes.py` on a machine with a GPU, cuda-bindings and PyCUDA runs each in a process of its own and prints
the outcomes as JSON; `cuda_observed.json` keeps them. Names and texts are compared, addresses are not.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

DATA = np.arange(8, dtype=np.float32)
HUGE = 1 << 50
is_alone = False


class Modules:
    """The three packages, imported when a probe first asks for one."""

    @property
    def rt(self) -> Any:
        return importlib.import_module("cuda.bindings.runtime")

    @property
    def drv(self) -> Any:
        return importlib.import_module("cuda.bindings.driver")

    @property
    def cuda(self) -> Any:
        return importlib.import_module("pycuda.driver")

    @property
    def gpuarray(self) -> Any:
        return importlib.import_module("pycuda.gpuarray")

    @property
    def tools(self) -> Any:
        return importlib.import_module("pycuda.tools")


def rt_probe(run: Callable[[Any], Any]) -> Callable[[Modules], Any]:
    return lambda modules: run(modules.rt)


def ctx_probe(run: Callable[[Any], Any]) -> Callable[[Modules], Any]:
    """For the driver interface, with a context of its own."""

    def probe(modules: Modules) -> Any:
        drv = modules.drv
        drv.cuInit(0)
        drv.cuCtxCreate(None, 0, drv.cuDeviceGet(0)[1])
        return run(drv)

    return probe


def drv_probe(run: Callable[[Any], Any]) -> Callable[[Modules], Any]:
    """For the driver interface, initialised, without a context."""

    def probe(modules: Modules) -> Any:
        modules.drv.cuInit(0)
        return run(modules.drv)

    return probe


def py_probe(run: Callable[[Any], Any]) -> Callable[[Modules], Any]:
    """For PyCUDA, with a context."""

    def probe(modules: Modules) -> Any:
        modules.cuda.init()
        context = modules.cuda.Device(0).make_context()
        try:
            return run(modules.cuda)
        finally:
            if modules.cuda.Context.get_current() is not None:
                modules.cuda.Context.pop()
            del context

    return probe


def each(*steps: Callable[[], Any]) -> list[str]:
    """Return the outcome of every step; alone in a process, say each at once, because the next may kill it."""
    found = []
    for step in steps:
        found.append(outcome(step))
        if is_alone:
            print(json.dumps(found[-1]), flush=True)
    return found


def in_thread(run: Callable[[], Any]) -> str:
    """Return the outcome of a call in another thread."""
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(outcome(run)))
    thread.start()
    thread.join()
    return seen[0]


def outcome(run: Callable[[], Any]) -> str:
    """Return what a call came to."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            text = repr(run())
        except Exception as error:
            text = f"{type(error).__module__}.{type(error).__name__}: {error}"
    said = "".join(f" !{warning.category.__name__}: {warning.message}" for warning in caught)
    return tidy(text + said)


def tidy(text: str) -> str:
    """Remove what differs without meaning: addresses, and what the emulation adds in brackets."""
    text = re.sub(r" \[emulation: .*?\](?=$|\n|'|\")", "", text, flags=re.DOTALL)
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def malloc(rt: Any, nbytes: int = 32) -> int:
    return rt.cudaMalloc(nbytes)[1]


def filled(cuda: Any, values: Any = DATA) -> Any:
    memory = cuda.mem_alloc(values.nbytes)
    cuda.memcpy_htod(memory, values)
    return memory


def read_only() -> Any:
    array = DATA.copy()
    array.flags.writeable = False
    return array


def runtime_copies(rt: Any) -> list[str]:
    kind, memory, back = rt.cudaMemcpyKind, malloc(rt), np.zeros_like(DATA)
    stream = rt.cudaStreamCreate()[1]
    return each(
        lambda: rt.cudaMemcpy(memory, DATA, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, DATA.ctypes.data, 32, 1),
        lambda: rt.cudaMemcpy(memory, b"x" * 32, 32, kind.cudaMemcpyDefault),
        lambda: rt.cudaMemcpy(bytearray(32), memory, 32, kind.cudaMemcpyDeviceToHost),
        lambda: rt.cudaMemcpy(memory, DATA, 32, 9),
        lambda: rt.cudaMemcpy(memory, DATA, 32, None),
        lambda: rt.cudaMemcpy("x", DATA, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(1.5, DATA, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, [1, 2], 8, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, DATA, -1, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, DATA, "32", kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, DATA, np.int64(32), kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, DATA, 32.0, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(np.uint64(memory), DATA, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, DATA),
        lambda: rt.cudaMemcpy(0, DATA, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, None, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(None, None, 0, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(read_only(), memory, 32, kind.cudaMemcpyDeviceToHost),
        lambda: rt.cudaMemcpy(memory, np.zeros((4, 4), np.float32)[:, ::2], 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, DATA, 32, kind.cudaMemcpyDeviceToHost),
        lambda: rt.cudaMemcpy(back, memory, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(back, memory, 32, kind.cudaMemcpyDeviceToDevice),
        lambda: rt.cudaMemcpy(memory, DATA, 8 << 20, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice, stream),
        lambda: rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice, int(stream)),
        lambda: rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice, None),
        lambda: rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice, "x"),
        lambda: rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy(memory, memory, 32, kind.cudaMemcpyDeviceToDevice),
        lambda: rt.cudaMemcpy(memory + 4, memory, 16, kind.cudaMemcpyDeviceToDevice),
    )


def runtime_memory(rt: Any) -> list[str]:
    memory, pinned = malloc(rt), rt.cudaMallocHost(64)[1]
    registered = np.zeros(8192, np.uint8)
    return each(
        lambda: type(memory).__name__,
        lambda: type(pinned).__name__,
        lambda: rt.cudaMalloc(0),
        lambda: rt.cudaMalloc(HUGE),
        lambda: rt.cudaMalloc(-1),
        lambda: rt.cudaMalloc("x"),
        lambda: rt.cudaMalloc(1.5)[0],
        lambda: rt.cudaMalloc(None),
        lambda: rt.cudaMallocHost(0),
        lambda: rt.cudaHostAlloc(64, 99)[0],
        lambda: rt.cudaFree(0),
        lambda: rt.cudaFree(None),
        lambda: rt.cudaFree(memory + 4),
        lambda: rt.cudaFree(pinned),
        lambda: rt.cudaFree(DATA.ctypes.data),
        lambda: rt.cudaFree(memory),
        lambda: rt.cudaFree(memory),
        lambda: rt.cudaFreeHost(0),
        lambda: rt.cudaFreeHost(malloc(rt)),
        lambda: rt.cudaFreeHost(pinned),
        lambda: rt.cudaFreeHost(pinned),
        lambda: rt.cudaHostRegister(registered.ctypes.data, 8192, 0),
        lambda: rt.cudaHostRegister(registered.ctypes.data, 8192, 0),
        lambda: rt.cudaHostUnregister(registered.ctypes.data),
        lambda: rt.cudaHostUnregister(registered.ctypes.data),
        lambda: rt.cudaHostRegister(registered.ctypes.data, 0, 0),
        lambda: rt.cudaHostRegister(0, 64, 0),
        lambda: rt.cudaMemset(malloc(rt), 257, 32),
        lambda: rt.cudaMemset(0, 1, 32),
        lambda: rt.cudaMemset(malloc(rt), 1, 8 << 20),
        lambda: rt.cudaMemset(DATA.copy().ctypes.data, 1, 32),
        lambda: [type(item).__name__ for item in rt.cudaMallocPitch(100, 4)],
        lambda: rt.cudaMallocPitch(100, 4)[2],
        lambda: rt.cudaMallocAsync(32, 0)[0],
        lambda: rt.cudaMallocAsync(0, 0)[0],
        lambda: rt.cudaFreeAsync(0, 0),
        lambda: rt.cudaFreeAsync(12345, 0),
        lambda: [type(item).__name__ for item in rt.cudaMemGetInfo()],
    )


def runtime_rectangles(rt: Any) -> list[str]:
    kind, memory = rt.cudaMemcpyKind, malloc(rt, 64)
    back = np.zeros((2, 3), np.uint8)
    return each(
        lambda: rt.cudaMemcpy2D(memory, 8, np.arange(6, dtype=np.uint8), 3, 3, 2, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaMemcpy2D(back, 3, memory, 8, 3, 2, kind.cudaMemcpyDeviceToHost),
        lambda: back.tolist(),
        lambda: rt.cudaMemcpy2D(back, 2, memory, 8, 3, 2, kind.cudaMemcpyDeviceToHost),
        lambda: rt.cudaMemcpy2D(back, 3, memory, 8, 0, 2, kind.cudaMemcpyDeviceToHost),
        lambda: rt.cudaMemcpy2D(back, 3, memory, 8, 3, 0, kind.cudaMemcpyDeviceToHost),
        lambda: rt.cudaMemcpy2DAsync(back, 3, memory, 8, 3, 2, kind.cudaMemcpyDeviceToHost, 0),
    )


def runtime_streams(rt: Any) -> list[str]:
    stream = rt.cudaStreamCreate()[1]
    return each(
        lambda: stream,
        lambda: type(stream).__name__,
        lambda: rt.cudaStreamQuery(stream),
        lambda: rt.cudaStreamSynchronize(stream),
        lambda: rt.cudaStreamSynchronize(0),
        lambda: rt.cudaStreamSynchronize(None),
        lambda: rt.cudaStreamSynchronize(rt.cudaStreamLegacy),
        lambda: rt.cudaStreamSynchronize(rt.cudaStreamPerThread),
        lambda: rt.cudaStreamSynchronize("x"),
        lambda: rt.cudaStreamGetFlags(stream),
        lambda: rt.cudaStreamGetPriority(stream),
        lambda: rt.cudaStreamCreateWithFlags(5)[0],
        lambda: rt.cudaStreamCreateWithFlags("a"),
        lambda: rt.cudaStreamGetFlags(rt.cudaStreamCreateWithFlags(rt.cudaStreamNonBlocking)[1]),
        lambda: rt.cudaStreamGetPriority(rt.cudaStreamCreateWithPriority(1, -100)[1]),
        lambda: rt.cudaStreamGetPriority(rt.cudaStreamCreateWithPriority(1, 100)[1]),
        lambda: rt.cudaDeviceGetStreamPriorityRange(),
        lambda: rt.cudaStreamIsCapturing(stream),
        lambda: rt.cudaStreamDestroy(stream),
        lambda: rt.cudaStreamDestroy(0),
        lambda: rt.cudaStreamDestroy(None),
        lambda: rt.cudaStreamDestroy(1),
        lambda: (rt.cudaStream_t(5) == rt.cudaStream_t(5), int(rt.cudaStream_t(5)), rt.cudaStream_t(5)),
        lambda: rt.cudaStream_t().getPtr() != 0,
    )


def runtime_events(rt: Any) -> list[str]:
    first, last, untimed = rt.cudaEventCreate()[1], rt.cudaEventCreate()[1], rt.cudaEventCreateWithFlags(2)[1]
    stream = rt.cudaStreamCreate()[1]
    return each(
        lambda: type(first).__name__,
        lambda: rt.cudaEventQuery(first),
        lambda: rt.cudaEventSynchronize(first),
        lambda: rt.cudaStreamWaitEvent(stream, first, 0),
        lambda: rt.cudaStreamWaitEvent(stream, first, 7),
        lambda: rt.cudaEventElapsedTime(first, last),
        lambda: rt.cudaEventRecord(first, stream),
        lambda: rt.cudaEventRecord(last, stream),
        lambda: rt.cudaEventSynchronize(last),
        lambda: type(rt.cudaEventElapsedTime(first, last)[1]).__name__,
        lambda: rt.cudaEventRecord(untimed, stream),
        lambda: rt.cudaEventSynchronize(untimed),
        lambda: rt.cudaEventElapsedTime(first, untimed),
        lambda: rt.cudaEventCreateWithFlags(99)[0],
        lambda: rt.cudaEventCreateWithFlags(4)[0],
        lambda: rt.cudaEventRecordWithFlags(first, stream, 0),
        lambda: rt.cudaEventDestroy(first),
        lambda: rt.cudaEventDestroy(0),
        lambda: rt.cudaEventRecord(0, stream),
        lambda: rt.cudaEventSynchronize("x"),
    )


def runtime_device(rt: Any) -> list[str]:
    bad = rt.cudaDeviceAttr.cudaDevAttrWarpSize
    return each(
        lambda: rt.cudaGetDeviceCount(),
        lambda: rt.cudaGetDevice(),
        lambda: rt.cudaSetDevice(0),
        lambda: rt.cudaSetDevice(99),
        lambda: rt.cudaSetDevice(-1),
        lambda: rt.cudaGetDeviceProperties(99)[0],
        lambda: type(rt.cudaGetDeviceProperties(0)[1]).__name__,
        lambda: type(rt.cudaGetDeviceProperties(0)[1].name).__name__,
        lambda: rt.cudaDeviceGetAttribute(bad, 0),
        lambda: rt.cudaDeviceGetAttribute(bad, 99),
        lambda: rt.cudaDeviceGetAttribute(10, 0),
        lambda: rt.cudaDeviceGetAttribute(9999, 0),
        lambda: rt.cudaDeviceGetAttribute("x", 0),
        lambda: [type(item).__name__ for item in rt.cudaDeviceGetPCIBusId(20, 0)],
        lambda: rt.cudaDeviceSynchronize(),
        lambda: rt.cudaDeviceCanAccessPeer(0, 0),
        lambda: rt.cudaDeviceGetDefaultMemPool(0)[0],
        lambda: rt.cudaGetDeviceFlags(),
        lambda: rt.cudaSetDeviceFlags(0),
        lambda: rt.cudaRuntimeGetVersion()[0],
        lambda: rt.cudaDriverGetVersion()[0],
        lambda: rt.cudaProfilerStart(),
        lambda: rt.cudaDeviceReset(),
    )


def runtime_errors(rt: Any) -> list[str]:
    return each(
        lambda: rt.cudaGetLastError(),
        lambda: rt.cudaMemset(0, 1, 32),
        lambda: rt.cudaPeekAtLastError(),
        lambda: rt.cudaGetLastError(),
        lambda: rt.cudaGetLastError(),
        lambda: rt.cudaGetErrorName(700),
        lambda: rt.cudaGetErrorString(rt.cudaError_t.cudaErrorMemoryAllocation),
        lambda: rt.cudaGetErrorName(12345),
        lambda: rt.cudaGetErrorString(12345),
        lambda: rt.cudaGetErrorString("x"),
        lambda: rt.cudaError_t(12345),
        lambda: str(rt.cudaError_t.cudaSuccess),
        lambda: f"{rt.cudaError_t.cudaSuccess}",
        lambda: rt.cudaError_t.cudaSuccess == 0,
        lambda: (rt.cudaError_t["cudaSuccess"], rt.cudaError_t.cudaSuccess.name, rt.cudaError_t.cudaSuccess.value),
        lambda: bool(rt.cudaError_t.cudaSuccess),
        lambda: isinstance(rt.cudaError_t.cudaSuccess, int),
    )


def runtime_pointers(rt: Any) -> list[str]:
    def about(address: int) -> Any:
        code, found = rt.cudaPointerGetAttributes(address)
        if found is None:
            return code
        return code, found.type, found.device, found.devicePointer == address, found.hostPointer == address

    memory, pinned = malloc(rt), rt.cudaMallocHost(64)[1]
    return each(
        lambda: about(memory),
        lambda: about(memory + 4),
        lambda: about(pinned),
        lambda: about(DATA.ctypes.data),
        lambda: about(0),
        lambda: rt.cudaHostGetDevicePointer(pinned, 0) == (rt.cudaError_t.cudaSuccess, pinned),
        lambda: rt.cudaHostGetFlags(pinned)[0],
        lambda: rt.cudaHostGetDevicePointer(DATA.ctypes.data, 0),
    )


def runtime_mapped(rt: Any) -> list[str]:
    kind, memory, pinned = rt.cudaMemcpyKind, malloc(rt, 64), rt.cudaMallocHost(64)[1]
    view = np.ctypeslib.as_array((ctypes.c_uint8 * 64).from_address(pinned))
    registered = np.zeros(8192, np.uint8)
    called: list[Any] = []
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(called.append)
    return each(
        lambda: rt.cudaMemset(pinned, 5, 64),
        lambda: rt.cudaDeviceSynchronize(),
        lambda: view[:4].tolist(),
        lambda: rt.cudaMemcpy(pinned, DATA, 32, kind.cudaMemcpyHostToDevice),
        lambda: view[:32].view(np.float32).tolist(),
        lambda: rt.cudaMemcpy(memory, pinned, 32, kind.cudaMemcpyDeviceToDevice),
        lambda: rt.cudaMemcpy(pinned, memory, 32, kind.cudaMemcpyDeviceToDevice),
        lambda: rt.cudaMemcpy(memory, pinned + 40, 32, kind.cudaMemcpyHostToDevice),
        lambda: rt.cudaHostAlloc(64, 2)[0],
        lambda: rt.cudaHostGetDevicePointer(pinned, 0)[1] == pinned,
        lambda: rt.cudaHostGetFlags(pinned),
        lambda: rt.cudaHostRegister(registered.ctypes.data, 8192, 2),
        lambda: rt.cudaHostGetDevicePointer(registered.ctypes.data, 0)[1] == registered.ctypes.data,
        lambda: rt.cudaMemset2D(memory, 8, 1, 9, 1),
        lambda: rt.cudaMemset2D(memory, 8, 1, 4, 2),
        lambda: rt.cudaMemset2D(memory, 8, 1, 4, 1 << 24),
        lambda: rt.cudaStreamGetDevice(0),
        lambda: rt.cudaDeviceGetByPCIBusId(b"nowhere"),
        lambda: rt.cudaInitDevice(0, 0, 0),
        lambda: rt.cudaLaunchHostFunc(0, rt.cudaHostFn_t(_ptr=ctypes.addressof(function)), 7),
        lambda: rt.cudaDeviceSynchronize(),
        lambda: called,
        lambda: rt.getLocalRuntimeVersion()[0],
        lambda: rt.cudaMemcpyAsync(memory, DATA, 32, kind.cudaMemcpyHostToDevice, 0),
        lambda: rt.cudaFree(memory),
        lambda: rt.cudaDeviceSynchronize(),
        lambda: rt.cudaMemcpy(np.zeros(8, np.float32), DATA, 32, kind.cudaMemcpyHostToHost),
        lambda: rt.cudaMemcpy(np.zeros(8, np.float32), DATA, 32, kind.cudaMemcpyDefault),
        lambda: rt.cudaDeviceReset(),
        lambda: rt.cudaFree(malloc(rt)),
        lambda: rt.cudaFreeHost(pinned),
    )


def pycuda_more(modules: Modules) -> list[str]:
    cuda, rt, arrays = modules.cuda, modules.rt, modules.gpuarray
    pinned = cuda.pagelocked_empty(8, np.float32)
    array = arrays.to_gpu(np.arange(12, dtype=np.float32).reshape(3, 4))
    return each(
        lambda: pinned.base.get_device_pointer() == pinned.ctypes.data,
        lambda: cuda.memcpy_htod(pinned.ctypes.data, DATA),
        lambda: pinned.tolist(),
        lambda: cuda.memset_d32(pinned.ctypes.data, 0, 8),
        lambda: cuda.Context.synchronize(),
        lambda: pinned.tolist(),
        lambda: array[:, 1].get().tolist(),
        lambda: array[::2].get().tolist(),
        lambda: array[1:, 1:3].get().tolist(),
        lambda: array.T.get().tolist(),
        lambda: array.transpose((1, 0)).shape,
        lambda: array[0, 0].get().tolist(),
        lambda: array[...].shape,
        lambda: array[-1].get().tolist(),
        lambda: array.reshape(-1, 6).shape,
        lambda: array.reshape((2, -1)).shape,
        lambda: array[3],
        lambda: array.fill(7).get()[0].tolist(),
        lambda: array.squeeze().shape,
        lambda: arrays.ones((2,), np.float32).get().tolist(),
        lambda: arrays.ones_like(array).get()[0].tolist(),
        lambda: arrays.transpose(array).shape,
        lambda: arrays.empty((2, 2), np.float32, order="X"),
        lambda: cuda.aligned_zeros_like(DATA).ctypes.data % 4096,
        lambda: cuda.pagelocked_zeros_like(DATA).tolist(),
        lambda: cuda.mem_get_info()[0] <= cuda.mem_get_info()[1],
        lambda: rt.cudaFree(int(cuda.mem_alloc(4))),
    )


def stream_used_after_destruction(rt: Any) -> list[str]:
    stream = rt.cudaStreamCreate()[1]
    return each(lambda: rt.cudaStreamDestroy(stream), lambda: rt.cudaStreamSynchronize(stream))


def event_used_after_destruction(rt: Any) -> list[str]:
    event = rt.cudaEventCreate()[1]
    return each(lambda: rt.cudaEventDestroy(event), lambda: rt.cudaEventRecord(event, 0))


def context_destroyed_twice(drv: Any) -> list[str]:
    context = drv.cuCtxGetCurrent()[1]
    return each(lambda: drv.cuCtxDestroy(context), lambda: drv.cuCtxDestroy(context))


def driver_contexts(drv: Any) -> list[str]:
    device = drv.cuDeviceGet(0)[1]
    made: list[Any] = []
    return each(
        lambda: drv.cuCtxGetCurrent(),
        lambda: drv.cuCtxGetDevice(),
        lambda: drv.cuCtxSynchronize(),
        lambda: drv.cuMemAlloc(32),
        lambda: drv.cuStreamCreate(0),
        lambda: drv.cuCtxPopCurrent(),
        lambda: made.append(drv.cuCtxCreate(None, 0, device)[1]),
        lambda: type(made[0]).__name__,
        lambda: drv.cuCtxGetCurrent()[1] == made[0],
        lambda: made.append(drv.cuCtxCreate(None, 0, device)[1]),
        lambda: drv.cuCtxPopCurrent()[1] == made[1],
        lambda: drv.cuCtxGetCurrent()[1] == made[0],
        lambda: in_thread(lambda: drv.cuCtxGetCurrent()),
        lambda: in_thread(lambda: drv.cuMemAlloc(32)),
        lambda: in_thread(lambda: (drv.cuCtxSetCurrent(made[0]), drv.cuMemAlloc(32)[0])),
        lambda: drv.cuCtxPushCurrent(made[1]),
        lambda: drv.cuCtxGetCurrent()[1] == made[1],
        lambda: drv.cuCtxSetCurrent(made[0]),
        lambda: drv.cuCtxGetCurrent()[1] == made[0],
        lambda: drv.cuCtxSetCurrent(0),
        lambda: drv.cuCtxGetCurrent()[1] == made[0],
        lambda: drv.cuCtxGetDevice(),
        lambda: drv.cuCtxDestroy(made[0]),
        lambda: drv.cuCtxGetCurrent(),
        lambda: drv.cuCtxDestroy(0),
        lambda: drv.cuCtxPushCurrent(0),
        lambda: drv.cuDevicePrimaryCtxGetState(device),
        lambda: made.append(drv.cuDevicePrimaryCtxRetain(device)[1]),
        lambda: drv.cuCtxGetCurrent(),
        lambda: drv.cuDevicePrimaryCtxGetState(device),
        lambda: drv.cuCtxSetCurrent(made[2]),
        lambda: drv.cuDevicePrimaryCtxRetain(device)[1] == made[2],
        lambda: drv.cuDevicePrimaryCtxRelease(device),
        lambda: drv.cuMemAlloc(32)[0],
        lambda: drv.cuDevicePrimaryCtxRelease(device),
        lambda: drv.cuDevicePrimaryCtxRelease(device),
        lambda: drv.cuMemAlloc(32)[0],
        lambda: drv.cuCtxCreate(None, 0, 5)[0],
        lambda: drv.cuCtxGetApiVersion(0)[0],
    )


def driver_and_runtime(modules: Modules) -> list[str]:
    drv, rt = modules.drv, modules.rt
    return each(
        lambda: drv.cuDeviceGetCount(),
        lambda: drv.cuDeviceGet(0),
        lambda: drv.cuMemAlloc(32),
        lambda: drv.cuCtxGetCurrent(),
        lambda: drv.cuInit(1),
        lambda: rt.cudaFree(0),
        lambda: drv.cuCtxGetCurrent()[1] == drv.cuDevicePrimaryCtxRetain(0)[1],
        lambda: drv.cuMemAlloc(32)[0],
        lambda: in_thread(lambda: (rt.cudaMalloc(32)[0], int(drv.cuCtxGetCurrent()[1]) != 0)),
        lambda: rt.cudaFree(drv.cuMemAlloc(32)[1]),
        lambda: drv.cuMemFree(rt.cudaMalloc(32)[1]),
        lambda: rt.cudaStreamSynchronize(drv.cuStreamCreate(0)[1]),
        lambda: drv.cuStreamSynchronize(rt.cudaStreamCreate()[1]),
        lambda: rt.cudaEventQuery(drv.cuEventCreate(0)[1]),
        lambda: drv.cuMemGetInfo()[1:] == rt.cudaMemGetInfo()[1:],
    )


def driver_device(drv: Any) -> list[str]:
    device = drv.cuDeviceGet(0)[1]
    attribute = drv.CUdevice_attribute
    return each(
        lambda: device,
        lambda: type(device).__name__,
        lambda: drv.cuDeviceGet(99),
        lambda: drv.cuDeviceGet(-1),
        lambda: drv.cuDeviceGetCount(),
        lambda: len(drv.cuDeviceGetName(64, device)[1]),
        lambda: len(drv.cuDeviceGetName(4, device)[1]),
        lambda: drv.cuDeviceGetName(4, 99),
        lambda: drv.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_WARP_SIZE, device),
        lambda: drv.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0),
        lambda: drv.cuDeviceGetAttribute(attribute.CU_DEVICE_ATTRIBUTE_WARP_SIZE, 99),
        lambda: type(drv.cuDeviceGetUuid(device)[1]).__name__,
        lambda: len(drv.cuDeviceComputeCapability(device)),
        lambda: drv.cuGetErrorName(drv.CUresult.CUDA_ERROR_INVALID_VALUE),
        lambda: drv.cuGetErrorString(drv.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS),
        lambda: drv.cuGetErrorString(12345),
        lambda: drv.cuGetErrorName(12345),
        lambda: drv.CUresult.CUDA_SUCCESS,
    )


def driver_memory(drv: Any) -> list[str]:
    memory, back = drv.cuMemAlloc(32)[1], np.zeros_like(DATA)
    pinned = drv.cuMemHostAlloc(64, 0)[1]
    pointer = drv.CUpointer_attribute
    return each(
        lambda: type(memory).__name__,
        lambda: type(pinned).__name__,
        lambda: drv.cuMemAlloc(0),
        lambda: drv.cuMemAlloc(HUGE),
        lambda: drv.cuMemcpyHtoD(memory, DATA, 32),
        lambda: drv.cuMemcpyHtoD(int(memory), DATA.ctypes.data, 32),
        lambda: drv.cuMemcpyDtoH(back, memory, 32),
        lambda: back.tolist(),
        lambda: drv.cuMemcpyDtoH(back, 0, 32),
        lambda: drv.cuMemcpyHtoD(memory, DATA, 8 << 20),
        lambda: drv.cuMemcpyDtoD(memory, memory, 16),
        lambda: drv.cuMemcpyHtoDAsync(memory, DATA, 32, 0),
        lambda: drv.cuMemcpyDtoHAsync(back, memory, 32, 0),
        lambda: drv.cuMemcpy(memory, memory, 16),
        lambda: drv.cuMemcpyAsync(memory, memory, 16, 0),
        lambda: drv.cuMemsetD8(memory, 7, 32),
        lambda: drv.cuMemsetD32(memory, 7, 8),
        lambda: drv.cuMemsetD32(memory, 7, 8 << 20),
        lambda: drv.cuMemsetD8(0, 7, 32),
        lambda: drv.cuPointerGetAttribute(pointer.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory),
        lambda: drv.cuPointerGetAttribute(pointer.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pinned),
        lambda: drv.cuPointerGetAttribute(pointer.CU_POINTER_ATTRIBUTE_MEMORY_TYPE, DATA.ctypes.data),
        lambda: drv.cuPointerGetAttribute(pointer.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, memory),
        lambda: drv.cuMemGetAddressRange(int(memory) + 4)[2],
        lambda: type(drv.cuMemGetAddressRange(int(memory) + 4)[1]).__name__,
        lambda: drv.cuMemGetAddressRange(DATA.ctypes.data),
        lambda: drv.cuMemFree(int(memory) + 4),
        lambda: drv.cuMemFree(0),
        lambda: drv.cuMemFree(memory),
        lambda: drv.cuMemFree(memory),
        lambda: drv.cuMemFreeHost(pinned),
        lambda: drv.cuMemFreeHost(pinned),
        lambda: drv.cuMemHostUnregister(DATA.ctypes.data),
        lambda: [type(item).__name__ for item in drv.cuMemAllocPitch(100, 4, 4)],
        lambda: drv.cuMemAllocPitch(100, 4, 4)[2],
        lambda: drv.cuMemAllocPitch(100, 4, 3)[0],
    )


def driver_streams(drv: Any) -> list[str]:
    stream, event = drv.cuStreamCreate(0)[1], drv.cuEventCreate(0)[1]
    return each(
        lambda: (type(stream).__name__, type(event).__name__),
        lambda: drv.cuStreamCreate(9)[0],
        lambda: drv.cuStreamQuery(stream),
        lambda: drv.cuEventQuery(event),
        lambda: drv.cuEventElapsedTime(event, event),
        lambda: drv.cuEventRecord(event, stream),
        lambda: drv.cuEventSynchronize(event),
        lambda: drv.cuEventElapsedTime(event, event),
        lambda: drv.cuStreamWaitEvent(stream, event, 0),
        lambda: drv.cuStreamGetFlags(stream),
        lambda: drv.cuStreamGetPriority(stream),
        lambda: drv.cuCtxGetStreamPriorityRange(),
        lambda: drv.cuStreamGetCtx(stream)[1] == drv.cuCtxGetCurrent()[1],
        lambda: drv.cuStreamSynchronize(stream),
        lambda: drv.cuEventDestroy(event),
        lambda: drv.cuEventDestroy(0),
        lambda: drv.cuStreamDestroy(stream),
        lambda: drv.cuStreamDestroy(0),
    )


def pycuda_without(modules: Modules) -> list[str]:
    cuda = modules.cuda
    return each(
        lambda: cuda.Device.count(),
        lambda: cuda.Device(0),
        lambda: cuda.mem_alloc(4),
        lambda: cuda.Context.get_current(),
        lambda: cuda.Context.get_device(),
        lambda: cuda.init(),
        lambda: cuda.mem_alloc(4),
        lambda: cuda.memcpy_htod(1 << 30, DATA),
        lambda: cuda.memcpy_dtoh(DATA.copy(), 1 << 30),
        lambda: cuda.pagelocked_empty(4, np.float32),
        lambda: cuda.Stream(),
        lambda: cuda.Event(),
        lambda: cuda.mem_get_info(),
        lambda: cuda.Context.synchronize(),
        lambda: cuda.Context.get_device(),
        lambda: cuda.Context.pop(),
        lambda: cuda.Device(99),
        lambda: cuda.Device(-1),
        lambda: cuda.Device("x"),
    )


def pycuda_contexts(modules: Modules) -> list[str]:
    cuda = modules.cuda
    cuda.init()
    device = cuda.Device(0)
    held: list[Any] = []
    return each(
        lambda: held.append(device.make_context()),
        lambda: cuda.Context.get_current() == held[0],
        lambda: cuda.Context.get_current() is held[0],
        lambda: held[0].handle == int(modules.drv.cuCtxGetCurrent()[1]),
        lambda: in_thread(lambda: cuda.mem_alloc(4)),
        lambda: in_thread(lambda: cuda.Stream()),
        lambda: in_thread(lambda: cuda.Context.get_current()),
        lambda: in_thread(lambda: (held[0].push(), cuda.mem_alloc(4) is not None, cuda.Context.pop())),
        lambda: held[0].push(),
        lambda: cuda.Context.pop(),
        lambda: cuda.Context.pop(),
        lambda: cuda.Context.pop(),
        lambda: held[0].push(),
        lambda: held[0].detach(),
        lambda: cuda.Context.get_current(),
        lambda: held[0].push(),
        lambda: held[0].detach(),
        lambda: held.append(device.retain_primary_context()),
        lambda: cuda.Context.get_current(),
        lambda: held[1].push(),
        lambda: cuda.mem_alloc(4) is not None,
        lambda: int(modules.drv.cuCtxGetCurrent()[1]) == held[1].handle,
        lambda: modules.drv.cuDevicePrimaryCtxGetState(0)[2],
        lambda: cuda.Context.pop(),
        lambda: modules.rt.cudaFree(0),
        lambda: cuda.Context.get_current(),
        lambda: cuda.mem_alloc(4) is not None,
    )


def pycuda_runtime_primary(modules: Modules) -> list[str]:
    """A program that initialises with the runtime and then uses PyCUDA without a context of its own."""
    cuda, rt = modules.cuda, modules.rt
    memory = rt.cudaMalloc(32)[1]
    return each(
        lambda: cuda.init(),
        lambda: cuda.memcpy_htod(memory, DATA),
        lambda: cuda.mem_alloc(4) is not None,
        lambda: cuda.Stream() is not None,
        lambda: cuda.from_device(memory, 8, np.float32).tolist(),
        lambda: rt.cudaStreamSynchronize(cuda.Stream().handle) if cuda.Context.get_current() else None,
    )


def pycuda_memory(cuda: Any) -> list[str]:
    memory = filled(cuda)
    return each(
        lambda: type(memory).__name__,
        lambda: cuda.mem_alloc(0),
        lambda: cuda.mem_alloc(-1),
        lambda: cuda.mem_alloc(HUGE),
        lambda: cuda.mem_alloc(1.5),
        lambda: cuda.mem_alloc("4"),
        lambda: cuda.mem_alloc(None),
        lambda: cuda.mem_alloc(np.int64(4)) is not None,
        lambda: cuda.mem_alloc(True) is not None,
        lambda: cuda.mem_alloc(),
        lambda: int(memory) == memory.__int__(),
        lambda: memory + 4,
        lambda: memory == memory,
        lambda: hash(memory) == hash(int(memory)),
        lambda: isinstance(memory, cuda.PointerHolderBase),
        lambda: type(memory.as_buffer(32)).__name__,
        lambda: sorted(name for name in dir(memory) if not name.startswith("_")),
        lambda: memory.free(),
        lambda: memory.free(),
        lambda: int(memory) != 0,
        lambda: cuda.memcpy_dtoh(DATA.copy(), memory),
        lambda: [type(item).__name__ for item in cuda.mem_alloc_pitch(100, 4, 4)],
        lambda: cuda.mem_alloc_pitch(100, 4, 4)[1],
        lambda: cuda.mem_alloc_like(DATA) is not None,
        lambda: [type(item).__name__ for item in cuda.mem_get_info()],
        lambda: len(cuda.mem_get_address_range(cuda.mem_alloc(64))),
        lambda: cuda.to_device(np.zeros((4, 4), np.float32)[:, ::2]) is not None,
    )


def pycuda_copies(cuda: Any) -> list[str]:
    memory, stream = filled(cuda), cuda.Stream()
    return each(
        lambda: cuda.memcpy_htod(memory, DATA),
        lambda: cuda.memcpy_htod(int(memory), DATA),
        lambda: cuda.memcpy_htod(np.uint64(memory), DATA),
        lambda: cuda.memcpy_htod(None, DATA),
        lambda: cuda.memcpy_htod(memory, DATA, stream),
        lambda: cuda.memcpy_htod(memory, [1.0]),
        lambda: cuda.memcpy_htod(memory, b"abcd"),
        lambda: cuda.memcpy_htod(memory, np.float32(3)),
        lambda: cuda.memcpy_htod(memory, 3.0),
        lambda: cuda.memcpy_htod(memory, None),
        lambda: cuda.memcpy_htod(memory, np.zeros((2, 4), np.float32).T),
        lambda: cuda.memcpy_htod(memory, np.zeros((4, 4), np.float32)[:, ::2]),
        lambda: cuda.memcpy_htod(memory, np.zeros(0, np.float32)),
        lambda: cuda.memcpy_htod(memory, np.zeros(2 << 20, np.float32)),
        lambda: cuda.memcpy_htod(0, DATA),
        lambda: cuda.memcpy_dtoh(DATA.copy(), memory),
        lambda: cuda.memcpy_dtoh(read_only(), memory),
        lambda: cuda.memcpy_dtoh(np.zeros((4, 4), np.float32)[:, ::2], memory),
        lambda: cuda.memcpy_dtoh(b"abcd", memory),
        lambda: cuda.memcpy_dtoh(bytearray(4), memory),
        lambda: cuda.memcpy_dtoh(None, memory),
        lambda: cuda.memcpy_dtoh([0.0], memory),
        lambda: cuda.memcpy_dtoh(np.zeros(2 << 20, np.float32), memory),
        lambda: cuda.memcpy_dtoh(memory, DATA),
        lambda: cuda.memcpy_htod(DATA, memory),
        lambda: cuda.memcpy_htod_async(memory, DATA, stream),
        lambda: cuda.memcpy_htod_async(memory, DATA, stream.handle),
        lambda: cuda.memcpy_htod_async(memory, DATA, None),
        lambda: cuda.memcpy_htod_async(memory, DATA),
        lambda: cuda.memcpy_htod_async(dest=memory, src=DATA, stream=stream),
        lambda: cuda.memcpy_dtoh_async(DATA.copy(), memory, stream),
        lambda: cuda.memcpy_dtoh_async(read_only(), memory, stream),
        lambda: cuda.memcpy_dtod(memory, memory, 16),
        lambda: cuda.memcpy_dtod(memory, memory, 8 << 20),
        lambda: cuda.memcpy_dtod_async(memory, memory, 16, stream),
        lambda: cuda.memset_d8(memory, 7, 32),
        lambda: cuda.memset_d8(memory, 300, 32),
        lambda: cuda.memset_d16(memory, 7, 16),
        lambda: cuda.memset_d32(memory, -1, 8),
        lambda: cuda.memset_d32(memory, 7, 8 << 20),
        lambda: cuda.memset_d8_async(memory, 7, 32, stream),
        lambda: cuda.memset_d32_async(memory, 7, 8, stream),
        lambda: cuda.from_device(memory, (2, 4), np.int32).shape,
        lambda: cuda.from_device_like(memory, DATA).dtype.name,
    )


def pycuda_host(cuda: Any) -> list[str]:
    array = cuda.pagelocked_empty((2, 3), np.float32)
    aligned = cuda.aligned_empty((1024,), np.float32)
    held: list[Any] = []
    return each(
        lambda: type(array).__name__,
        lambda: type(array.base).__name__,
        lambda: [base.__name__ for base in type(array.base).__mro__[1:3]],
        lambda: array.base.get_flags(),
        lambda: array.base.get_device_pointer() != 0,
        lambda: array.base.free(),
        lambda: array.base.free(),
        lambda: cuda.pagelocked_empty(4, np.float32).shape,
        lambda: cuda.pagelocked_empty(np.int64(4), np.float32).shape,
        lambda: cuda.pagelocked_empty([2, 3], "float32", order="F").flags.f_contiguous,
        lambda: cuda.pagelocked_empty((2, 3)),
        lambda: cuda.pagelocked_empty((2, 3), np.float32, "X"),
        lambda: cuda.pagelocked_empty((2, 3), np.float32, mem_flags=cuda.host_alloc_flags.PORTABLE).shape,
        lambda: cuda.pagelocked_empty(0, np.float32).shape,
        lambda: cuda.pagelocked_empty(-1, np.float32),
        lambda: cuda.pagelocked_zeros((2, 3), np.float32).tolist(),
        lambda: cuda.pagelocked_empty_like(DATA).shape,
        lambda: cuda.pagelocked_empty_like(np.zeros((4, 4))[:, ::2]),
        lambda: (type(aligned.base).__name__, aligned.ctypes.data % 4096),
        lambda: held.append(cuda.register_host_memory(aligned)),
        lambda: (type(held[0]).__name__, type(held[0].base).__name__, held[0].shape),
        lambda: cuda.register_host_memory(aligned),
        lambda: held[0].base.unregister(),
        lambda: held[0].base.unregister(),
        lambda: cuda.register_host_memory([1]),
        lambda: cuda.register_host_memory(np.zeros((4, 4))[:, ::2]),
        lambda: type(cuda.In(DATA).get_device_alloc()).__name__,
        lambda: cuda.In([1]).get_device_alloc(),
        lambda: cuda.PagelockedHostAllocation(),
        lambda: cuda.HostPointer,
    )


def pycuda_streams(cuda: Any) -> list[str]:
    stream, event, last = cuda.Stream(), cuda.Event(), cuda.Event()
    untimed = cuda.Event(cuda.event_flags.DISABLE_TIMING)
    return each(
        lambda: type(stream.handle).__name__,
        lambda: stream.is_done(),
        lambda: stream.synchronize(),
        lambda: stream.wait_for_event(event),
        lambda: stream.wait_for_event(None),
        lambda: event.query(),
        lambda: event.synchronize() is event,
        lambda: event.time_till(last),
        lambda: event.record(stream) is event,
        lambda: event.record(stream.handle),
        lambda: last.record() is last,
        lambda: type(last.synchronize().time_since(event)).__name__,
        lambda: untimed.record().synchronize().time_since(event),
        lambda: cuda.Event(99),
        lambda: cuda.Event("x"),
        lambda: cuda.Stream(9),
        lambda: cuda.Stream(1).is_done(),
        lambda: cuda.Stream("x"),
        lambda: int(stream),
        lambda: stream == stream,
        lambda: sorted(name for name in dir(stream) if not name.startswith("_")),
        lambda: sorted(name for name in dir(event) if not name.startswith("_")),
    )


def pycuda_device(cuda: Any) -> list[str]:
    device, attribute = cuda.Device(0), cuda.device_attribute
    return each(
        lambda: type(device.name()).__name__,
        lambda: type(device.compute_capability()).__name__,
        lambda: type(device.total_memory()).__name__,
        lambda: device.get_attribute(attribute.WARP_SIZE),
        lambda: device.warp_size,
        lambda: len(device.pci_bus_id()),
        lambda: device == cuda.Device(0),
        lambda: hash(device) == hash(cuda.Device(0)),
        lambda: len(device.get_attributes()) > 50,
        lambda: sorted(name for name in dir(device) if not name.startswith("_") and name == name.lower())[:12],
        lambda: attribute.WARP_SIZE,
        lambda: type(attribute.WARP_SIZE).__mro__[1].__name__,
        lambda: cuda.ctx_flags.SCHED_BLOCKING_SYNC | cuda.ctx_flags.MAP_HOST,
        lambda: cuda.get_version()[0] >= 12,
        lambda: type(cuda.get_driver_version()).__name__,
        lambda: cuda.Context.get_api_version() > 0,
        lambda: cuda.Context.get_device() == device,
        lambda: sorted(name for name in dir(cuda.Context) if not name.startswith("_")),
        lambda: cuda.Device.count(),
        lambda: cuda.LogicError.__mro__[1].__name__,
        lambda: str(cuda.LogicError("a", 1, "b")) if False else cuda.Error.__mro__[1].__name__,
    )


def pycuda_arrays(modules: Modules) -> list[str]:
    arrays, cuda = modules.gpuarray, modules.cuda
    array = arrays.to_gpu(DATA)
    return each(
        lambda: (array.shape, array.dtype.name, array.size, array.nbytes, array.itemsize, array.ndim, array.strides),
        lambda: array.get().tolist(),
        lambda: array.ptr == int(array.gpudata),
        lambda: str(array),
        lambda: repr(array),
        lambda: array.set(DATA[:4]),
        lambda: array.set(DATA.astype(np.float64)),
        lambda: array.set(DATA.reshape(2, 4)),
        lambda: array.get(np.zeros(4, np.float32)),
        lambda: array.get(np.zeros(8)),
        lambda: array.get(np.zeros((2, 4), np.float32)).shape,
        lambda: type(array.get(pagelocked=True).base).__name__,
        lambda: hash(array),
        lambda: bool(array),
        lambda: len(array),
        lambda: (array.flags.c_contiguous, array.flags.f_contiguous, array.flags.forc),
        lambda: array.reshape(2, 4).shape,
        lambda: array.reshape(3, 4),
        lambda: array[2:4].get().tolist(),
        lambda: array.ravel().shape,
        lambda: array.view(np.int32).dtype.name,
        lambda: array.copy().get().tolist(),
        lambda: arrays.empty((2, 3), np.float16).nbytes,
        lambda: arrays.empty(4, np.float32).shape,
        lambda: arrays.zeros((2, 2), np.float32).get().tolist(),
        lambda: arrays.zeros_like(array).get().tolist(),
        lambda: arrays.empty_like(array).shape,
        lambda: arrays.to_gpu(np.zeros((2, 3), np.float32).T).flags.f_contiguous,
        lambda: arrays.to_gpu(np.zeros((4, 4), np.float32)[:, ::2]).shape,
        lambda: arrays.to_gpu([1.0]),
        lambda: sorted(array.__cuda_array_interface__),
        lambda: cuda.from_device(array.gpudata, 8, np.float32).tolist(),
        lambda: cuda.memcpy_htod(array.gpudata, DATA),
        lambda: cuda.memcpy_htod(array.ptr, DATA),
        lambda: arrays.GPUArray((8,), np.float32, gpudata=array.gpudata).get().tolist(),
        lambda: arrays.to_gpu_async(DATA, stream=cuda.Stream()).shape,
        lambda: array.get_async(cuda.Stream()).shape,
        lambda: arrays.empty(0, np.float32).gpudata,
    )


def pycuda_pools(modules: Modules) -> list[str]:
    tools = modules.tools
    pool, host = tools.DeviceMemoryPool(), tools.PageLockedMemoryPool()
    memory, array = pool.allocate(1000), host.allocate((2, 3), np.float32)
    return each(
        lambda: type(memory).__name__,
        lambda: int(memory) != 0,
        lambda: (pool.held_blocks, pool.active_blocks),
        lambda: memory.free(),
        lambda: (pool.held_blocks, pool.active_blocks),
        lambda: memory.free(),
        lambda: pool.free_held(),
        lambda: (pool.held_blocks, pool.active_blocks),
        lambda: (array.shape, type(array.base).__name__),
        lambda: (host.held_blocks, host.active_blocks),
        lambda: pool.stop_holding(),
        lambda: pool.allocate(0) is not None,
        lambda: sorted(name for name in dir(pool) if not name.startswith("_")),
        lambda: sorted(name for name in dir(memory) if not name.startswith("_")),
        lambda: sorted(name for name in dir(host) if not name.startswith("_")),
        lambda: modules.gpuarray.to_gpu(DATA, allocator=pool.allocate).get().tolist(),
        lambda: tools.DeviceData().warp_size,
        lambda: type(tools.make_default_context()).__name__,
        lambda: modules.cuda.Context.pop(),
        lambda: tools.clear_context_caches(),
        lambda: tools.dtype_to_ctype(np.dtype(np.float32)),
        lambda: importlib.import_module("pycuda").VERSION,
    )


def with_context(run: Callable[[Modules], Any]) -> Callable[[Modules], Any]:
    def probe(modules: Modules) -> Any:
        modules.cuda.init()
        context = modules.cuda.Device(0).make_context()
        try:
            return run(modules)
        finally:
            context.pop()

    return probe


PROBES: dict[str, Callable[[Modules], Any]] = {
    "runtime copies": rt_probe(runtime_copies),
    "runtime memory": rt_probe(runtime_memory),
    "runtime rectangles": rt_probe(runtime_rectangles),
    "runtime streams": rt_probe(runtime_streams),
    "runtime events": rt_probe(runtime_events),
    "runtime device": rt_probe(runtime_device),
    "runtime errors": rt_probe(runtime_errors),
    "runtime pointers": rt_probe(runtime_pointers),
    "runtime mapped": rt_probe(runtime_mapped),
    "runtime dead stream": rt_probe(stream_used_after_destruction),
    "runtime dead event": rt_probe(event_used_after_destruction),
    "driver dead context": ctx_probe(context_destroyed_twice),
    "driver contexts": drv_probe(driver_contexts),
    "driver and runtime": driver_and_runtime,
    "driver device": drv_probe(driver_device),
    "driver memory": ctx_probe(driver_memory),
    "driver streams": ctx_probe(driver_streams),
    "pycuda without": pycuda_without,
    "pycuda contexts": pycuda_contexts,
    "pycuda after the runtime": pycuda_runtime_primary,
    "pycuda memory": py_probe(pycuda_memory),
    "pycuda copies": py_probe(pycuda_copies),
    "pycuda host": py_probe(pycuda_host),
    "pycuda streams": py_probe(pycuda_streams),
    "pycuda device": py_probe(pycuda_device),
    "pycuda arrays": with_context(pycuda_arrays),
    "pycuda pools": with_context(pycuda_pools),
    "pycuda more": with_context(pycuda_more),
}


def run_alone(name: str) -> list[str]:
    """Return what a probe comes to in a process of its own; what kills the process is its last outcome."""
    command = [sys.executable, __file__, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return found if done.returncode == 0 else [*found, f"exit {done.returncode}: {done.stderr[-600:]}"]


if __name__ == "__main__":
    if sys.argv[1:]:
        is_alone = True
        PROBES[sys.argv[1]](Modules())
    else:
        with ThreadPoolExecutor(8) as workers:
            print(json.dumps(dict(zip(PROBES, workers.map(run_alone, PROBES), strict=True)), indent=1))
