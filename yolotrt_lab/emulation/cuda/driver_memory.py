"""The emulated `cuda.bindings.driver`: memory and copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.emulation.cuda import contexts, transfers
from yolotrt_lab.emulation.cuda.arguments import address_of, handle_of, host_bytes, size
from yolotrt_lab.emulation.cuda.copies import DEFAULT, byte_pattern, copy
from yolotrt_lab.emulation.cuda.driver_core import driver_call, driver_types
from yolotrt_lab.emulation.cuda.registered import register_host, unregister_host
from yolotrt_lab.emulation.cuda.runtime_memory import PITCH
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault, origin_of_call
from yolotrt_lab.emulation.trace import Task

__all__ = [
    "cuMemAlloc",
    "cuMemAllocAsync",
    "cuMemAllocHost",
    "cuMemAllocPitch",
    "cuMemFree",
    "cuMemFreeAsync",
    "cuMemFreeHost",
    "cuMemGetAddressRange",
    "cuMemGetInfo",
    "cuMemHostAlloc",
    "cuMemHostGetDevicePointer",
    "cuMemHostRegister",
    "cuMemHostUnregister",
    "cuMemcpy",
    "cuMemcpyAsync",
    "cuMemcpyDtoD",
    "cuMemcpyDtoDAsync",
    "cuMemcpyDtoH",
    "cuMemcpyDtoHAsync",
    "cuMemcpyHtoD",
    "cuMemcpyHtoDAsync",
    "cuMemsetD8",
    "cuMemsetD8Async",
    "cuMemsetD16",
    "cuMemsetD16Async",
    "cuMemsetD32",
    "cuMemsetD32Async",
    "cuPointerGetAttribute",
]

_CUdeviceptr: Any = driver_types["CUdeviceptr"]
_Attribute: Any = driver_types["CUpointer_attribute"]
_HOST, _DEVICE = 1, 2


def _allocate(nbytes: int, function: str) -> Any:
    device().scheduler.before_waiting_call()
    allocation = device().heap.allocate(nbytes, origin=origin_of_call(function))
    return _CUdeviceptr(contexts.note_allocation(allocation.address))


@driver_call(results=1)
def cuMemAlloc(bytesize: int) -> Any:
    """Allocate device memory; it holds poison until something is copied there."""
    return _allocate(size(bytesize), "cuMemAlloc")


@driver_call(results=1)
def cuMemAllocAsync(bytesize: int, hStream: Any) -> Any:
    """Allocate device memory in stream order; here the memory is there at once."""
    device().scheduler.stream(handle_of(hStream))
    origin = origin_of_call("cuMemAllocAsync")
    allocation = device().heap.allocate(size(bytesize), origin=origin)
    return _CUdeviceptr(contexts.note_allocation(allocation.address))


@driver_call(results=2)
def cuMemAllocPitch(WidthInBytes: int, Height: int, ElementSizeBytes: int) -> Any:
    """Allocate device memory for rows; return the address and the padded length of a row."""
    if ElementSizeBytes not in (4, 8, 16):
        raise DeviceFault("invalid value", f"elements have 4, 8 or 16 bytes, not {ElementSizeBytes}")
    pitch = -(-size(WidthInBytes) // PITCH) * PITCH
    return _allocate(pitch * size(Height), "cuMemAllocPitch"), pitch


@driver_call(results=0)
def cuMemFree(dptr: Any) -> Any:
    """Free device memory; the null pointer is fine."""
    address = address_of(dptr)
    device().scheduler.before_waiting_call(waits=True)
    if address:
        device().heap.free(address)


@driver_call(results=0)
def cuMemFreeAsync(dptr: Any, hStream: Any) -> Any:
    """Free device memory when the stream gets there."""
    address = address_of(dptr)
    if not device().heap.starts_at(address):
        raise DeviceFault("invalid value", f"cuMemFreeAsync: {address:#x} is not the start of device memory")
    device().scheduler.enqueue(handle_of(hStream), lambda: device().heap.free(address), Task("free"))


@driver_call(results=2)
def cuMemGetInfo() -> Any:
    """Return the free and the total device memory in bytes."""
    heap = device().heap
    return heap.capacity - heap.used, heap.capacity


@driver_call(results=2)
def cuMemGetAddressRange(dptr: Any) -> Any:
    """Return where the memory starts that an address points into, and its size."""
    address = address_of(dptr)
    heap = device().heap
    if not heap.owns(address):
        raise DeviceFault("not found", f"{address:#x} is not device memory")
    allocation, _ = heap.locate(address, 1, what="cuMemGetAddressRange")
    return _CUdeviceptr(allocation.address), allocation.nbytes


@driver_call(results=1)
def cuMemAllocHost(bytesize: int) -> Any:
    """Allocate page-locked host memory; its content is poison."""
    device().scheduler.before_waiting_call()
    origin = origin_of_call("cuMemAllocHost")
    return device().pinned.allocate(size(bytesize), origin=origin).ctypes.data


@driver_call(results=1)
def cuMemHostAlloc(bytesize: int, Flags: int) -> Any:
    """Allocate page-locked host memory; its content is poison."""
    device().scheduler.before_waiting_call()
    origin = origin_of_call("cuMemHostAlloc")
    return device().pinned.allocate(size(bytesize), origin=origin).ctypes.data


@driver_call(results=0)
def cuMemFreeHost(p: Any) -> Any:
    """Free page-locked host memory."""
    device().pinned.free(address_of(p))


@driver_call(results=0)
def cuMemHostRegister(p: Any, bytesize: int, Flags: int) -> Any:
    """Page-lock existing host memory."""
    register_host(address_of(p), size(bytesize), origin=origin_of_call("cuMemHostRegister"))


@driver_call(results=1)
def cuMemHostGetDevicePointer(p: Any, Flags: int) -> Any:
    """With unified addressing the device knows page-locked memory by its own address."""
    address = address_of(p)
    if device().pinned.holder(address) is None:
        raise DeviceFault("invalid value", f"{address:#x} is not page-locked host memory")
    return _CUdeviceptr(address)


@driver_call(results=0)
def cuMemHostUnregister(p: Any) -> Any:
    """Unlock registered host memory."""
    unregister_host(address_of(p))


@driver_call(results=0)
def cuMemcpy(dst: Any, src: Any, ByteCount: int) -> Any:
    """Copy and wait; CUDA sees where both ends are."""
    copy(dst, src, ByteCount, DEFAULT)


@driver_call(results=0)
def cuMemcpyAsync(dst: Any, src: Any, ByteCount: int, hStream: Any) -> Any:
    """Copy in a stream."""
    copy(dst, src, ByteCount, DEFAULT, stream=handle_of(hStream))


@driver_call(results=0)
def cuMemcpyHtoD(dstDevice: Any, srcHost: Any, ByteCount: int) -> Any:
    """Copy host memory to the device and wait."""
    transfers.copy_h2d(address_of(dstDevice), host_bytes(srcHost, size(ByteCount)))


@driver_call(results=0)
def cuMemcpyHtoDAsync(dstDevice: Any, srcHost: Any, ByteCount: int, hStream: Any) -> Any:
    """Copy host memory to the device in a stream."""
    transfers.copy_h2d(address_of(dstDevice), host_bytes(srcHost, size(ByteCount)), stream=handle_of(hStream))


@driver_call(results=0)
def cuMemcpyDtoH(dstHost: Any, srcDevice: Any, ByteCount: int) -> Any:
    """Copy device memory to the host and wait."""
    transfers.copy_d2h(host_bytes(dstHost, size(ByteCount)), address_of(srcDevice))


@driver_call(results=0)
def cuMemcpyDtoHAsync(dstHost: Any, srcDevice: Any, ByteCount: int, hStream: Any) -> Any:
    """Copy device memory to the host in a stream; it arrives when the stream is synchronised."""
    transfers.copy_d2h(host_bytes(dstHost, size(ByteCount)), address_of(srcDevice), stream=handle_of(hStream))


@driver_call(results=0)
def cuMemcpyDtoD(dstDevice: Any, srcDevice: Any, ByteCount: int) -> Any:
    """Copy on the device and wait."""
    transfers.copy_d2d(address_of(dstDevice), address_of(srcDevice), size(ByteCount))


@driver_call(results=0)
def cuMemcpyDtoDAsync(dstDevice: Any, srcDevice: Any, ByteCount: int, hStream: Any) -> Any:
    """Copy on the device in a stream."""
    transfers.copy_d2d(address_of(dstDevice), address_of(srcDevice), size(ByteCount), stream=handle_of(hStream))


def _fill(target: Any, value: Any, count: Any, dtype: Any, stream: Any = None) -> None:
    where = None if stream is None else handle_of(stream)
    transfers.fill(address_of(target), byte_pattern(value, dtype), size(count), stream=where)


@driver_call(results=0)
def cuMemsetD8(dstDevice: Any, uc: int, N: int) -> Any:
    """Fill device memory with a byte."""
    _fill(dstDevice, uc, N, np.uint8)


@driver_call(results=0)
def cuMemsetD8Async(dstDevice: Any, uc: int, N: int, hStream: Any) -> Any:
    """Fill device memory with a byte in a stream."""
    _fill(dstDevice, uc, N, np.uint8, handle_of(hStream))


@driver_call(results=0)
def cuMemsetD16(dstDevice: Any, us: int, N: int) -> Any:
    """Fill device memory with a 16-bit word."""
    _fill(dstDevice, us, N, np.uint16)


@driver_call(results=0)
def cuMemsetD16Async(dstDevice: Any, us: int, N: int, hStream: Any) -> Any:
    """Fill device memory with a 16-bit word in a stream."""
    _fill(dstDevice, us, N, np.uint16, handle_of(hStream))


@driver_call(results=0)
def cuMemsetD32(dstDevice: Any, ui: int, N: int) -> Any:
    """Fill device memory with a 32-bit word."""
    _fill(dstDevice, ui, N, np.uint32)


@driver_call(results=0)
def cuMemsetD32Async(dstDevice: Any, ui: int, N: int, hStream: Any) -> Any:
    """Fill device memory with a 32-bit word in a stream."""
    _fill(dstDevice, ui, N, np.uint32, handle_of(hStream))


@driver_call(results=1)
def cuPointerGetAttribute(attribute: Any, ptr: Any) -> Any:
    """Say where memory is; the attributes that have a meaning here."""
    address = address_of(ptr)
    on_device, pinned = device().heap.owns(address), device().pinned.holder(address) is not None
    if not on_device and not pinned:
        raise DeviceFault("invalid value", f"{address:#x} is neither device memory nor page-locked host memory")
    kind = int(attribute)
    if kind == _Attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        return _DEVICE if on_device else _HOST
    if kind == _Attribute.CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        return _CUdeviceptr(address)
    if kind == _Attribute.CU_POINTER_ATTRIBUTE_HOST_POINTER and pinned:
        return address
    if kind in (_Attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, _Attribute.CU_POINTER_ATTRIBUTE_IS_MANAGED):
        return 0
    raise DeviceFault("invalid value", f"the emulation does not know {_Attribute(kind).name} of this memory")
