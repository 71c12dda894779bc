"""The emulated `cuda.bindings.runtime`: memory and copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.emulation.cuda import transfers
from yolotrt_lab.emulation.cuda.runtime_core import handle_of, runtime_call
from yolotrt_lab.emulation.cuda.runtime_types import cudaError_t, cudaMemcpyKind
from yolotrt_lab.emulation.cuda.transfers import HostBytes
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.errors import EmulationError

__all__ = [
    "cudaFree",
    "cudaFreeAsync",
    "cudaFreeHost",
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
    "cudaMemset",
    "cudaMemsetAsync",
]

cudaHostAllocDefault = 0
cudaHostAllocPortable = 1
cudaHostAllocMapped = 2
cudaHostAllocWriteCombined = 4


@runtime_call(results=1)
def cudaMalloc(size: int) -> Any:
    """Allocate device memory; it holds poison until something is copied there."""
    return device().heap.allocate(size).address if size else 0


@runtime_call(results=0)
def cudaFree(devPtr: Any) -> Any:
    """Free device memory; the null pointer is fine."""
    if int(devPtr):
        device().heap.free(int(devPtr))


@runtime_call(results=1)
def cudaMallocAsync(size: int, hStream: Any) -> Any:
    """Allocate device memory in stream order; here the memory is there at once."""
    device().scheduler.stream(handle_of(hStream))
    return device().heap.allocate(size).address if size else 0


@runtime_call(results=0)
def cudaFreeAsync(devPtr: Any, hStream: Any) -> Any:
    """Free device memory when the stream gets there."""
    address = int(devPtr)
    device().heap.locate(address, 1, what="cudaFreeAsync")
    device().scheduler.enqueue(handle_of(hStream), lambda: device().heap.free(address))


@runtime_call(results=1)
def cudaMallocHost(size: int) -> Any:
    """Allocate page-locked host memory; its content is poison."""
    return device().pinned.allocate(size).ctypes.data


@runtime_call(results=1)
def cudaHostAlloc(size: int, flags: int) -> Any:
    """Allocate page-locked host memory; mapping it into device addresses is not emulated."""
    if flags & cudaHostAllocMapped:
        raise EmulationError(
            "cudaHostAllocMapped is not emulated: on a GPU it maps host memory into the GPU's addresses.",
            fix="Copy with cudaMemcpyAsync instead.",
        )
    return device().pinned.allocate(size).ctypes.data


@runtime_call(results=0)
def cudaFreeHost(ptr: Any) -> Any:
    """Free page-locked host memory; the null pointer is fine."""
    if int(ptr):
        device().pinned.free(int(ptr))


@runtime_call(results=2)
def cudaMemGetInfo() -> Any:
    """Return the free and the total device memory in bytes."""
    heap = device().heap
    return heap.capacity - heap.used, heap.capacity


@runtime_call(results=0)
def cudaMemcpy(dst: Any, src: Any, count: int, kind: cudaMemcpyKind) -> Any:
    """Copy and wait."""
    return _copy(dst, src, count, kind, None)


@runtime_call(results=0)
def cudaMemcpyAsync(dst: Any, src: Any, count: int, kind: cudaMemcpyKind, stream: Any) -> Any:
    """Copy in a stream; data for the host arrives when the stream is synchronised."""
    return _copy(dst, src, count, kind, handle_of(stream))


@runtime_call(results=0)
def cudaMemset(devPtr: Any, value: int, count: int) -> Any:
    """Fill device memory with a byte."""
    transfers.fill(int(devPtr), np.array([value & 0xFF], np.uint8), count)


@runtime_call(results=0)
def cudaMemsetAsync(devPtr: Any, value: int, count: int, stream: Any) -> Any:
    """Fill device memory with a byte in a stream."""
    transfers.fill(int(devPtr), np.array([value & 0xFF], np.uint8), count, stream=handle_of(stream))


def _copy(dst: Any, src: Any, count: int, kind: cudaMemcpyKind, stream: int | None) -> cudaError_t | None:
    found = _direction(dst, src)
    both_on_device = cudaMemcpyKind.cudaMemcpyDeviceToDevice
    if kind == cudaMemcpyKind.cudaMemcpyDefault or (kind in tuple(cudaMemcpyKind) and found == both_on_device):
        kind = found  # with unified addressing CUDA sees where both ends are, whatever it is told
    if count == 0:
        return None
    if kind == cudaMemcpyKind.cudaMemcpyHostToDevice:
        transfers.copy_h2d(int(dst), _host(src, count, writable=False), stream=stream)
    elif kind == cudaMemcpyKind.cudaMemcpyDeviceToHost:
        transfers.copy_d2h(_host(dst, count, writable=True), int(src), stream=stream)
    elif kind == cudaMemcpyKind.cudaMemcpyDeviceToDevice:
        transfers.copy_d2d(int(dst), int(src), count, stream=stream)
    elif kind == cudaMemcpyKind.cudaMemcpyHostToHost:
        target = _host(dst, count, writable=True)
        transfers.copy_h2h(target, _host(src, count, writable=False), stream=stream)
    else:
        return cudaError_t.cudaErrorInvalidMemcpyDirection
    return None


def _direction(dst: Any, src: Any) -> cudaMemcpyKind:
    """Find out where two addresses are, as unified addressing does."""
    to_device, from_device = (not _is_buffer(end) and device().heap.owns(int(end)) for end in (dst, src))
    if to_device:
        return cudaMemcpyKind.cudaMemcpyDeviceToDevice if from_device else cudaMemcpyKind.cudaMemcpyHostToDevice
    return cudaMemcpyKind.cudaMemcpyDeviceToHost if from_device else cudaMemcpyKind.cudaMemcpyHostToHost


def _host(value: Any, count: int, *, writable: bool) -> HostBytes:
    if isinstance(value, (int, np.integer)) or not _is_buffer(value):
        return HostBytes.from_address(int(value), count)
    whole = HostBytes.from_buffer(value, writable=writable)
    if whole.view.nbytes < count:
        raise DeviceFault("invalid value", f"{count} bytes asked for, but the host buffer has {whole.view.nbytes}")
    return HostBytes(whole.view[:count], whole.pinned, whole.owned, whole.dtype)


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True
