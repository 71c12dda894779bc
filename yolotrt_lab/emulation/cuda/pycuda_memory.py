"""The emulated `pycuda.driver`: memory and copies."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from yolotrt_lab.emulation.cuda import transfers
from yolotrt_lab.emulation.cuda.pycuda_core import LogicError, cuda_call, integer
from yolotrt_lab.emulation.cuda.pycuda_stream import Stream
from yolotrt_lab.emulation.cuda.transfers import HostBytes
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.errors import EmulationError

__all__ = [
    "DeviceAllocation",
    "HostAllocation",
    "PagelockedHostAllocation",
    "PointerHolderBase",
    "from_device",
    "from_device_like",
    "mem_alloc",
    "mem_get_info",
    "memcpy_dtod",
    "memcpy_dtod_async",
    "memcpy_dtoh",
    "memcpy_dtoh_async",
    "memcpy_htod",
    "memcpy_htod_async",
    "memset_d8",
    "memset_d8_async",
    "memset_d32",
    "pagelocked_empty",
    "pagelocked_empty_like",
    "pagelocked_zeros",
    "pagelocked_zeros_like",
    "to_device",
]


class PointerHolderBase:
    """Base for objects that stand for a device address; subclasses offer `get_pointer`."""

    def get_pointer(self) -> int:
        """Return the device address."""
        raise NotImplementedError

    def __int__(self) -> int:
        return self.get_pointer()

    def __index__(self) -> int:
        return self.get_pointer()


_OBJECT = "pycudaboost::python::api::object"
_H2D = f"memcpy_htod(unsigned long long dest, {_OBJECT} src)"
_H2D_ASYNC = f"memcpy_htod_async(unsigned long long dest, {_OBJECT} src, {_OBJECT} stream=None)"
_D2H = f"memcpy_dtoh({_OBJECT} dest, unsigned long long src)"
_D2H_ASYNC = f"memcpy_dtoh_async({_OBJECT} dest, unsigned long long src, {_OBJECT} stream=None)"


class DeviceAllocation:
    """Device memory; freed by `free` or when nobody refers to it any more."""

    def __init__(self, address: int) -> None:
        self._address = address
        self._held = True

    @cuda_call("cuMemFree")
    def free(self) -> None:
        """Free the memory now."""
        if not self._held:
            detail = f"the device memory at {self._address:#x} was freed before"
            raise LogicError(f"device_allocation::free failed: invalid resource handle [emulation: {detail}]")
        self._held = False
        device().heap.free(self._address)

    def __int__(self) -> int:
        return self._address

    def __index__(self) -> int:
        return self._address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceAllocation) and other._address == self._address

    def __hash__(self) -> int:
        return hash(self._address)

    def __del__(self) -> None:
        if getattr(self, "_held", False) and not sys.is_finalizing():
            with contextlib.suppress(DeviceFault):
                device().heap.free(self._address)


class HostAllocation:
    """Host memory that CUDA allocated."""


class PagelockedHostAllocation(HostAllocation):
    """Page-locked host memory behind an array; reached as `array.base`."""

    def __init__(self, layout: np.ndarray[Any, Any]) -> None:
        self._buffer = device().pinned.allocate(layout.nbytes)
        self._held = True
        # NumPy makes an array over this, whose base is this object.
        self.__array_interface__ = {
            **layout.__array_interface__,
            "strides": layout.strides,
            "data": (self._buffer.ctypes.data, False),
        }

    def free(self) -> None:
        """Unlock the memory now."""
        if self._held:
            self._held = False
            device().pinned.free(self._buffer.ctypes.data)

    def get_flags(self) -> int:
        """Return the flags it was allocated with: none."""
        return 0

    def get_device_pointer(self) -> int:
        """Mapped host memory is not emulated."""
        raise EmulationError(
            "HostAllocation.get_device_pointer is not emulated: on a GPU it maps host memory into the GPU's addresses.",
            fix="Copy with memcpy_htod_async instead.",
        )

    def __del__(self) -> None:
        if getattr(self, "_held", False) and not sys.is_finalizing():
            with contextlib.suppress(DeviceFault):
                self.free()


@cuda_call("cuMemAlloc")
def mem_alloc(bytes: int) -> DeviceAllocation:
    """Allocate device memory; it holds poison until something is copied there."""
    nbytes = integer(bytes, "mem_alloc(unsigned long)", (bytes,))
    return DeviceAllocation(device().heap.allocate(nbytes).address)


@cuda_call("cuMemGetInfo")
def mem_get_info() -> tuple[int, int]:
    """Return the free and the total device memory in bytes."""
    heap = device().heap
    return heap.capacity - heap.used, heap.capacity


@cuda_call("cuMemHostAlloc")
def pagelocked_empty(
    shape: int | Sequence[int], dtype: DTypeLike, order: str = "C", mem_flags: int = 0
) -> np.ndarray[Any, Any]:
    """Return a page-locked host array; its content is poison."""
    memory_order: Any = order
    return np.asarray(PagelockedHostAllocation(np.empty(shape, dtype, memory_order)))


def pagelocked_zeros(
    shape: int | Sequence[int], dtype: DTypeLike, order: str = "C", mem_flags: int = 0
) -> np.ndarray[Any, Any]:
    """Return a page-locked host array of zeros."""
    result = pagelocked_empty(shape, dtype, order, mem_flags)
    result.fill(0)
    return result


def pagelocked_empty_like(array: np.ndarray[Any, Any], mem_flags: int = 0) -> np.ndarray[Any, Any]:
    """Return a page-locked host array with the shape, type and order of another."""
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return pagelocked_empty(array.shape, array.dtype, order, mem_flags)


def pagelocked_zeros_like(array: np.ndarray[Any, Any], mem_flags: int = 0) -> np.ndarray[Any, Any]:
    """Return a page-locked host array of zeros with the shape, type and order of another."""
    result = pagelocked_empty_like(array, mem_flags)
    result.fill(0)
    return result


@cuda_call("cuMemcpyHtoD")
def memcpy_htod(dest: Any, src: Any) -> None:
    """Copy a host array to the device and wait for it."""
    transfers.copy_h2d(integer(dest, _H2D, (dest, src)), HostBytes.from_buffer(src, writable=False))


@cuda_call("cuMemcpyHtoDAsync")
def memcpy_htod_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    """Copy a host array to the device in a stream; the array should be page-locked."""
    address = integer(dest, _H2D_ASYNC, (dest, src, stream))
    transfers.copy_h2d(address, HostBytes.from_buffer(src, writable=False), stream=_handle(stream))


@cuda_call("cuMemcpyDtoH")
def memcpy_dtoh(dest: Any, src: Any) -> None:
    """Copy device memory into a host array and wait for it."""
    transfers.copy_d2h(HostBytes.from_buffer(dest, writable=True), integer(src, _D2H, (dest, src)))


@cuda_call("cuMemcpyDtoHAsync")
def memcpy_dtoh_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    """Copy device memory into a host array in a stream; it arrives when the stream is synchronised."""
    address = integer(src, _D2H_ASYNC, (dest, src, stream))
    transfers.copy_d2h(HostBytes.from_buffer(dest, writable=True), address, stream=_handle(stream))


@cuda_call("cuMemcpyDtoD")
def memcpy_dtod(dest: Any, src: Any, size: int) -> None:
    """Copy on the device and wait for it."""
    transfers.copy_d2d(int(dest), int(src), size)


@cuda_call("cuMemcpyDtoDAsync")
def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Stream | None = None) -> None:
    """Copy on the device in a stream."""
    transfers.copy_d2d(int(dest), int(src), size, stream=_handle(stream))


@cuda_call("cuMemsetD8")
def memset_d8(dest: Any, data: int, count: int) -> None:
    """Fill device memory with a byte."""
    transfers.fill(int(dest), np.array([data], np.uint8), count)


@cuda_call("cuMemsetD8Async")
def memset_d8_async(dest: Any, data: int, count: int, stream: Stream | None = None) -> None:
    """Fill device memory with a byte in a stream."""
    transfers.fill(int(dest), np.array([data], np.uint8), count, stream=_handle(stream))


@cuda_call("cuMemsetD32")
def memset_d32(dest: Any, data: int, count: int) -> None:
    """Fill device memory with a 32-bit word."""
    transfers.fill(int(dest), np.array([data], np.uint32), count)


def to_device(bf_obj: Any) -> DeviceAllocation:
    """Allocate device memory and copy a host array there."""
    memory = mem_alloc(HostBytes.from_buffer(bf_obj, writable=False).view.nbytes)
    memcpy_htod(memory, bf_obj)
    return memory


def from_device(devptr: Any, shape: int | Sequence[int], dtype: DTypeLike, order: str = "C") -> np.ndarray[Any, Any]:
    """Return a new host array with what is at a device address."""
    layout: Any = order
    result: np.ndarray[Any, Any] = np.empty(shape, dtype, layout)
    memcpy_dtoh(result, devptr)
    return result


def from_device_like(devptr: Any, other_ary: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a new host array shaped like another with what is at a device address."""
    result = np.empty_like(other_ary)
    memcpy_dtoh(result, devptr)
    return result


def _handle(stream: Stream | None) -> int:
    """PyCUDA's `stream=None` is the default stream: asynchronous all the same."""
    return 0 if stream is None else stream.handle
