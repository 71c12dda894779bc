"""Probes of `cuda.bindings.runtime`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from cuda_probing import DATA, HUGE, each, malloc, read_only


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


def stream_used_after_destruction(rt: Any) -> list[str]:
    stream = rt.cudaStreamCreate()[1]
    return each(lambda: rt.cudaStreamDestroy(stream), lambda: rt.cudaStreamSynchronize(stream))


def event_used_after_destruction(rt: Any) -> list[str]:
    event = rt.cudaEventCreate()[1]
    return each(lambda: rt.cudaEventDestroy(event), lambda: rt.cudaEventRecord(event, 0))
