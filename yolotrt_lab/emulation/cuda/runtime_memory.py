"""The emulated `cuda.bindings.runtime`: memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.emulation.cuda import contexts, transfers
from yolotrt_lab.emulation.cuda.arguments import address_of, handle_of, size
from yolotrt_lab.emulation.cuda.registered import register_host, unregister_host
from yolotrt_lab.emulation.cuda.runtime_core import runtime_call
from yolotrt_lab.emulation.cuda.runtime_types import cudaMemoryType, cudaPointerAttributes
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault, origin_of_call
from yolotrt_lab.emulation.trace import Task

__all__ = [
    "cudaFree",
    "cudaFreeAsync",
    "cudaFreeHost",
    "cudaHostAlloc",
    "cudaHostGetDevicePointer",
    "cudaHostGetFlags",
    "cudaHostRegister",
    "cudaHostUnregister",
    "cudaMalloc",
    "cudaMallocAsync",
    "cudaMallocHost",
    "cudaMallocPitch",
    "cudaMemGetInfo",
    "cudaMemset",
    "cudaMemset2D",
    "cudaMemset2DAsync",
    "cudaMemsetAsync",
    "cudaPointerGetAttributes",
]

PITCH = 512
"""Rows of pitched memory are padded to a multiple of this."""

_MAPPED = 2
_HOST_FLAGS = 0b1111


@runtime_call(results=1)
def cudaMalloc(size: int) -> Any:
    """Allocate device memory; it holds poison until something is copied there."""
    return _allocate(size, "cudaMalloc")


def _allocate(nbytes: Any, function: str) -> int:
    wanted = size(nbytes)
    device().scheduler.before_waiting_call()
    if wanted == 0:
        return 0
    return contexts.note_allocation(device().heap.allocate(wanted, origin=origin_of_call(function)).address)


@runtime_call(results=0)
def cudaFree(devPtr: Any) -> Any:
    """Free device memory; the null pointer is fine."""
    address = address_of(devPtr)
    device().scheduler.before_waiting_call(waits=True)
    if address:
        device().heap.free(address)


@runtime_call(results=2)
def cudaMallocPitch(width: int, height: int) -> Any:
    """Allocate device memory for rows; return the address and the padded length of a row."""
    pitch = -(-size(width) // PITCH) * PITCH
    return _allocate(pitch * size(height), "cudaMallocPitch"), pitch


@runtime_call(results=1)
def cudaMallocAsync(size: int, hStream: Any) -> Any:
    """Allocate device memory in stream order; here the memory is there at once."""
    device().scheduler.stream(handle_of(hStream))
    if int(size) == 0:
        return 0
    origin = origin_of_call("cudaMallocAsync")
    return contexts.note_allocation(device().heap.allocate(int(size), origin=origin).address)


@runtime_call(results=0)
def cudaFreeAsync(devPtr: Any, hStream: Any) -> Any:
    """Free device memory when the stream gets there."""
    address = address_of(devPtr)
    if address == 0:
        return
    if not device().heap.starts_at(address):
        raise DeviceFault("invalid value", f"cudaFreeAsync: {address:#x} is not the start of device memory")
    device().scheduler.enqueue(handle_of(hStream), lambda: device().heap.free(address), Task("free"))


@runtime_call(results=1)
def cudaMallocHost(size: int) -> Any:
    """Allocate page-locked host memory; its content is poison."""
    return _allocate_host(size, "cudaMallocHost")


@runtime_call(results=1)
def cudaHostAlloc(size: int, flags: int) -> Any:
    """Allocate page-locked host memory; the device reaches it by the same address."""
    if flags & ~_HOST_FLAGS:
        raise DeviceFault("invalid value", f"cudaHostAlloc does not know the flags {flags:#x}")
    return _allocate_host(size, "cudaHostAlloc")


def _allocate_host(nbytes: Any, function: str) -> int:
    wanted = size(nbytes)
    if wanted == 0:
        return 0
    device().scheduler.before_waiting_call()
    return device().pinned.allocate(wanted, origin=origin_of_call(function)).ctypes.data


@runtime_call(results=0)
def cudaFreeHost(ptr: Any) -> Any:
    """Free page-locked host memory; the null pointer is fine."""
    address = address_of(ptr)
    if address:
        device().pinned.free(address)


@runtime_call(results=0)
def cudaHostRegister(ptr: Any, size: int, flags: int) -> Any:
    """Page-lock existing host memory."""
    register_host(address_of(ptr), int(size), origin=origin_of_call("cudaHostRegister"))


@runtime_call(results=0)
def cudaHostUnregister(ptr: Any) -> Any:
    """Unlock registered host memory."""
    unregister_host(address_of(ptr))


@runtime_call(results=1)
def cudaHostGetDevicePointer(pHost: Any, flags: int) -> Any:
    """With unified addressing the device knows page-locked memory by its own address."""
    address = address_of(pHost)
    if device().pinned.holder(address) is None:
        raise DeviceFault("invalid value", f"{address:#x} is not page-locked host memory")
    return address


@runtime_call(results=1)
def cudaHostGetFlags(pHost: Any) -> Any:
    """Return the flags of page-locked memory: it is mapped, as all is with unified addressing."""
    address = address_of(pHost)
    if device().pinned.holder(address) is None:
        raise DeviceFault("invalid value", f"{address:#x} is not page-locked host memory")
    return _MAPPED


@runtime_call(results=2)
def cudaMemGetInfo() -> Any:
    """Return the free and the total device memory in bytes."""
    heap = device().heap
    return heap.capacity - heap.used, heap.capacity


@runtime_call(results=0)
def cudaMemset(devPtr: Any, value: int, count: int) -> Any:
    """Fill device memory with a byte."""
    transfers.fill(address_of(devPtr), np.array([int(value) & 0xFF], np.uint8), size(count))


@runtime_call(results=0)
def cudaMemsetAsync(devPtr: Any, value: int, count: int, stream: Any) -> Any:
    """Fill device memory with a byte in a stream."""
    pattern = np.array([int(value) & 0xFF], np.uint8)
    transfers.fill(address_of(devPtr), pattern, size(count), stream=handle_of(stream))


def _fill_rows(target: Any, pitch: Any, value: Any, width: Any, height: Any, stream: int | None) -> None:
    if size(width) > size(pitch) and size(height) > 1:
        raise DeviceFault("invalid value", f"rows of {width} bytes do not fit in a pitch of {pitch}")
    pattern = np.array([int(value) & 0xFF], np.uint8)
    for row in range(size(height) if size(width) else 0):
        transfers.fill(address_of(target) + row * size(pitch), pattern, size(width), stream=stream)


@runtime_call(results=0)
def cudaMemset2D(devPtr: Any, pitch: int, value: int, width: int, height: int) -> Any:
    """Fill rows of device memory with a byte."""
    _fill_rows(devPtr, pitch, value, width, height, None)


@runtime_call(results=0)
def cudaMemset2DAsync(devPtr: Any, pitch: int, value: int, width: int, height: int, stream: Any) -> Any:
    """Fill rows of device memory with a byte in a stream."""
    _fill_rows(devPtr, pitch, value, width, height, handle_of(stream))


@runtime_call(results=1)
def cudaPointerGetAttributes(ptr: Any) -> Any:
    """Say where memory is: on the device, page-locked, or neither."""
    address, found = address_of(ptr), cudaPointerAttributes()
    if device().heap.owns(address):
        found.type, found.device, found.devicePointer = cudaMemoryType.cudaMemoryTypeDevice, 0, address
    elif device().pinned.holder(address) is not None:
        found.type, found.device = cudaMemoryType.cudaMemoryTypeHost, 0
        found.devicePointer = found.hostPointer = address
    else:
        found.type, found.device, found.hostPointer = cudaMemoryType.cudaMemoryTypeUnregistered, -2, address
    return found
