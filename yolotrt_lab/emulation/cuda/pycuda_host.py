"""The emulated `pycuda.driver`: page-locked, aligned and registered host memory."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from yolotrt_lab.emulation.cuda.pycuda_core import LogicError, boost_call, cuda_call
from yolotrt_lab.emulation.cuda.registered import register_host, unregister_host
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault, origin_of_call

__all__ = [
    "AlignedHostAllocation",
    "HostAllocation",
    "HostPointer",
    "PagelockedHostAllocation",
    "RegisteredHostMemory",
    "aligned_empty",
    "aligned_empty_like",
    "aligned_zeros",
    "aligned_zeros_like",
    "pagelocked_empty",
    "pagelocked_empty_like",
    "pagelocked_zeros",
    "pagelocked_zeros_like",
    "register_host_memory",
]

Array = np.ndarray[Any, Any]
Shape = int | Sequence[int]

_SIGNATURE = (
    "pagelocked_empty(pycudaboost::python::api::object shape, pycudaboost::python::api::object dtype, "
    "pycudaboost::python::api::object order='C', unsigned int mem_flags=0)"
)


class ArrayBase:
    """Host memory behind an array; reached as `array.base`."""

    __array_interface__: dict[str, Any]

    def __init__(self) -> None:
        raise RuntimeError("This class cannot be instantiated from Python")

    def _show(self, layout: Array, address: int) -> None:
        """Let NumPy make an array over this, whose base is this object."""
        interface = layout.__array_interface__
        self.__array_interface__ = {**interface, "strides": layout.strides, "data": (address, False)}


class HostPointer(ArrayBase):
    """Host memory that a GPU can be made to see."""

    @cuda_call("cuMemHostGetDevicePointer")
    def get_device_pointer(self) -> int:
        """Return the address by which the device reaches the memory, which is the host's address."""
        address: int = self.__array_interface__["data"][0]
        if device().pinned.holder(address) is None:
            raise DeviceFault("invalid value", f"{address:#x} is not page-locked host memory")
        return address


class PagelockedHostAllocation(HostPointer):
    """Page-locked host memory."""

    @classmethod
    def _make(cls, layout: Array) -> PagelockedHostAllocation:
        made = cls.__new__(cls)
        origin = origin_of_call("pycuda.driver.pagelocked_empty", freed_by_owner=True)
        made._buffer = device().pinned.allocate(layout.nbytes, origin=origin)
        made._held = True
        made._show(layout, made._buffer.ctypes.data)
        return made

    _buffer: Any
    _held: bool = False

    def free(self) -> None:
        """Unlock the memory now."""
        if not self._held:
            raise LogicError("pagelocked_host_allocation::free failed: invalid resource handle")
        self._held = False
        device().pinned.free(self._buffer.ctypes.data)

    def get_flags(self) -> int:
        """Return the flags: it is mapped, as all is with unified addressing."""
        return 2

    def __del__(self) -> None:
        if self._held and not sys.is_finalizing():
            with contextlib.suppress(DeviceFault):
                self.free()


HostAllocation = PagelockedHostAllocation
"""The old name."""


class AlignedHostAllocation(HostPointer):
    """Host memory that starts at a multiple of the page size."""

    _buffer: Any

    @classmethod
    def _make(cls, layout: Array, alignment: int) -> AlignedHostAllocation:
        made = cls.__new__(cls)
        storage = np.empty(layout.nbytes + alignment, np.uint8)
        shift = -storage.ctypes.data % alignment
        made._buffer = storage[shift : shift + layout.nbytes]
        made._show(layout, made._buffer.ctypes.data)
        return made

    def free(self) -> None:
        """Give the memory up."""


class RegisteredHostMemory(HostPointer):
    """Existing host memory that was page-locked, until `unregister` or until nobody refers to it any more."""

    base: Any
    _address: int
    _held: bool = False

    @classmethod
    def _make(cls, array: Array) -> RegisteredHostMemory:
        made = cls.__new__(cls)
        origin = origin_of_call("pycuda.driver.register_host_memory", freed_by_owner=True)
        register_host(array.ctypes.data, array.nbytes, origin=origin)
        made.base, made._address, made._held = array, array.ctypes.data, True
        made._show(array, array.ctypes.data)
        return made

    def unregister(self) -> None:
        """Unlock the memory now."""
        if not self._held:
            raise LogicError("registered_host_memory::free failed: invalid resource handle")
        self._held = False
        unregister_host(self._address)

    def __del__(self) -> None:
        if self._held and not sys.is_finalizing():
            with contextlib.suppress(DeviceFault):
                self.unregister()


@boost_call(_SIGNATURE)
@cuda_call("cuMemHostAlloc")
def pagelocked_empty(shape: Shape, dtype: DTypeLike, order: str = "C", mem_flags: int = 0) -> Array:
    """Return a page-locked host array; its content is poison."""
    return np.asarray(PagelockedHostAllocation._make(_layout(shape, dtype, order)))


def _layout(shape: Shape, dtype: DTypeLike, order: str) -> Array:
    if isinstance(shape, np.integer):
        raise AttributeError(f"'numpy.{type(shape).__name__}' object has no attribute '__iter__'")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(size < 0 for size in sizes):
        raise DeviceFault("out of memory", f"an array cannot have the shape {sizes}")
    memory_order: Any = order
    return np.empty(sizes, dtype, memory_order)


def pagelocked_zeros(shape: Shape, dtype: DTypeLike, order: str = "C", mem_flags: int = 0) -> Array:
    """Return a page-locked host array of zeros."""
    result = pagelocked_empty(shape, dtype, order, mem_flags)
    result.fill(0)
    return result


def _order(array: Array) -> str:
    if array.flags.c_contiguous:
        return "C"
    if array.flags.f_contiguous:
        return "F"
    raise ValueError("could not detect array order")


def pagelocked_empty_like(array: Array, mem_flags: int = 0) -> Array:
    """Return a page-locked host array with the shape, type and order of another."""
    return pagelocked_empty(array.shape, array.dtype, _order(array), mem_flags)


def pagelocked_zeros_like(array: Array, mem_flags: int = 0) -> Array:
    """Return a page-locked host array of zeros with the shape, type and order of another."""
    result = pagelocked_empty_like(array, mem_flags)
    result.fill(0)
    return result


def aligned_empty(shape: Shape, dtype: DTypeLike, order: str = "C", alignment: int = 4096) -> Array:
    """Return a host array that starts at a multiple of `alignment` bytes, to be page-locked."""
    return np.asarray(AlignedHostAllocation._make(_layout(shape, dtype, order), alignment))


def aligned_zeros(shape: Shape, dtype: DTypeLike, order: str = "C", alignment: int = 4096) -> Array:
    """Return an aligned host array of zeros."""
    result = aligned_empty(shape, dtype, order, alignment)
    result.fill(0)
    return result


def aligned_empty_like(array: Array, alignment: int = 4096) -> Array:
    """Return an aligned host array with the shape, type and order of another."""
    return aligned_empty(array.shape, array.dtype, _order(array), alignment)


def aligned_zeros_like(array: Array, alignment: int = 4096) -> Array:
    """Return an aligned host array of zeros with the shape, type and order of another."""
    result = aligned_empty_like(array, alignment)
    result.fill(0)
    return result


@cuda_call("cuMemHostRegister")
def register_host_memory(ary: Array, flags: int = 0) -> Array:
    """Page-lock an existing array; return an array over the same memory, which stays locked as long as that lives."""
    failed = "register_host_memory failed: invalid argument"
    if not isinstance(ary, np.ndarray):
        raise LogicError(f"{failed} - ary argument is not a numpy array")
    if not (ary.flags.c_contiguous or ary.flags.f_contiguous):
        raise LogicError(f"{failed} - ary argument is not contiguous")
    return np.asarray(RegisteredHostMemory._make(ary))
