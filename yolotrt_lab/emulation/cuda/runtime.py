"""The emulated `cuda.bindings.runtime`: every function returns a tuple, the error code first.

Nothing here raises for a CUDA error: as with the real bindings, a program that ignores the code goes on with nonsense.
The reason is logged under `yolotrt_lab.emulation`, because an error number teaches little.
"""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda.runtime_core import runtime_call, take_last_error
from yolotrt_lab.emulation.cuda.runtime_memory import (
    cudaFree,
    cudaFreeAsync,
    cudaFreeHost,
    cudaHostAlloc,
    cudaHostAllocDefault,
    cudaHostAllocMapped,
    cudaHostAllocPortable,
    cudaHostAllocWriteCombined,
    cudaMalloc,
    cudaMallocAsync,
    cudaMallocHost,
    cudaMemcpy,
    cudaMemcpyAsync,
    cudaMemGetInfo,
    cudaMemset,
    cudaMemsetAsync,
)
from yolotrt_lab.emulation.cuda.runtime_streams import (
    cudaEventBlockingSync,
    cudaEventCreate,
    cudaEventCreateWithFlags,
    cudaEventDefault,
    cudaEventDestroy,
    cudaEventDisableTiming,
    cudaEventElapsedTime,
    cudaEventQuery,
    cudaEventRecord,
    cudaEventSynchronize,
    cudaStreamCreate,
    cudaStreamCreateWithFlags,
    cudaStreamCreateWithPriority,
    cudaStreamDefault,
    cudaStreamDestroy,
    cudaStreamLegacy,
    cudaStreamNonBlocking,
    cudaStreamQuery,
    cudaStreamSynchronize,
    cudaStreamWaitEvent,
)
from yolotrt_lab.emulation.cuda.runtime_types import (
    ERROR_TEXT,
    cudaDeviceAttr,
    cudaDeviceProp,
    cudaError_t,
    cudaEvent_t,
    cudaMemcpyKind,
    cudaStream_t,
)
from yolotrt_lab.emulation.device import device
from yolotrt_lab.errors import EmulationError


@runtime_call(results=0)
def cudaDeviceSynchronize() -> Any:
    """Wait for all work."""
    device().scheduler.synchronize_device()


@runtime_call(results=0)
def cudaDeviceReset() -> Any:
    """Drop all memory and work."""
    device().reset()


@runtime_call(results=1)
def cudaGetDeviceCount() -> Any:
    """Return 1."""
    return 1


@runtime_call(results=1)
def cudaGetDevice() -> Any:
    """Return 0."""
    return 0


@runtime_call(results=0)
def cudaSetDevice(device: int) -> Any:
    """Choose device 0."""
    return None if device == 0 else cudaError_t.cudaErrorInvalidDevice


@runtime_call(results=1)
def cudaGetDeviceProperties(device: int) -> Any:
    """Return the device's properties; the name says that it is emulated."""
    return cudaDeviceProp.of_emulated_device() if device == 0 else cudaError_t.cudaErrorInvalidDevice


@runtime_call(results=1)
def cudaDeviceGetAttribute(attr: cudaDeviceAttr, device: int) -> Any:
    """Return 0 for the compute capability; a processor has none."""
    return 0 if device == 0 else cudaError_t.cudaErrorInvalidDevice


@runtime_call(results=1)
def cudaRuntimeGetVersion() -> Any:
    """Return the CUDA version that is emulated."""
    return 13000


@runtime_call(results=1)
def cudaDriverGetVersion() -> Any:
    """Return the CUDA version that is emulated."""
    return 13000


def cudaGetErrorString(error: cudaError_t) -> tuple[cudaError_t, bytes]:
    """Return what an error code means."""
    return cudaError_t.cudaSuccess, ERROR_TEXT[cudaError_t(error)]


def cudaGetErrorName(error: cudaError_t) -> tuple[cudaError_t, bytes]:
    """Return an error code's name."""
    return cudaError_t.cudaSuccess, cudaError_t(error).name.encode()


def cudaGetLastError() -> tuple[cudaError_t]:
    """Return the last error and forget it."""
    return (take_last_error(forget=True),)


def cudaPeekAtLastError() -> tuple[cudaError_t]:
    """Return the last error."""
    return (take_last_error(forget=False),)


def __getattr__(name: str) -> Any:
    if name.startswith(("cuda", "CU")):
        raise EmulationError(
            f"cuda.bindings.runtime.{name} is not emulated.",
            expected="memory, copies, streams, events and device queries",
            got=name,
            fix="Run this on a machine with an NVIDIA GPU, or do without it.",
        )
    raise AttributeError(f"module 'cuda.bindings.runtime' has no attribute '{name}'")


__all__ = [
    "cudaDeviceAttr",
    "cudaDeviceGetAttribute",
    "cudaDeviceProp",
    "cudaDeviceReset",
    "cudaDeviceSynchronize",
    "cudaDriverGetVersion",
    "cudaError_t",
    "cudaEventBlockingSync",
    "cudaEventCreate",
    "cudaEventCreateWithFlags",
    "cudaEventDefault",
    "cudaEventDestroy",
    "cudaEventDisableTiming",
    "cudaEventElapsedTime",
    "cudaEventQuery",
    "cudaEventRecord",
    "cudaEventSynchronize",
    "cudaEvent_t",
    "cudaFree",
    "cudaFreeAsync",
    "cudaFreeHost",
    "cudaGetDevice",
    "cudaGetDeviceCount",
    "cudaGetDeviceProperties",
    "cudaGetErrorName",
    "cudaGetErrorString",
    "cudaGetLastError",
    "cudaHostAlloc",
    "cudaHostAllocDefault",
    "cudaHostAllocMapped",
    "cudaHostAllocPortable",
    "cudaHostAllocWriteCombined",
    "cudaMalloc",
    "cudaMallocAsync",
    "cudaMallocHost",
    "cudaMemGetInfo",
    "cudaMemcpy",
    "cudaMemcpyAsync",
    "cudaMemcpyKind",
    "cudaMemset",
    "cudaMemsetAsync",
    "cudaPeekAtLastError",
    "cudaRuntimeGetVersion",
    "cudaSetDevice",
    "cudaStreamCreate",
    "cudaStreamCreateWithFlags",
    "cudaStreamCreateWithPriority",
    "cudaStreamDefault",
    "cudaStreamDestroy",
    "cudaStreamLegacy",
    "cudaStreamNonBlocking",
    "cudaStreamQuery",
    "cudaStreamSynchronize",
    "cudaStreamWaitEvent",
    "cudaStream_t",
]
