"""The emulated `pycuda.driver`: copies and fills, and what wraps the arguments of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from yolotrt_lab.emulation.cuda import transfers
from yolotrt_lab.emulation.cuda.copies import byte_pattern
from yolotrt_lab.emulation.cuda.pycuda_core import boost_call, cuda_call, integer, unsigned
from yolotrt_lab.emulation.cuda.pycuda_memory import DeviceAllocation, mem_alloc, mem_alloc_like
from yolotrt_lab.emulation.cuda.pycuda_stream import Stream, stream_handle
from yolotrt_lab.emulation.cuda.transfers import HostBytes

__all__ = [
    "ArgumentHandler",
    "In",
    "InOut",
    "Out",
    "from_device",
    "from_device_like",
    "memcpy_dtod",
    "memcpy_dtod_async",
    "memcpy_dtoh",
    "memcpy_dtoh_async",
    "memcpy_htod",
    "memcpy_htod_async",
    "memset_d8",
    "memset_d8_async",
    "memset_d16",
    "memset_d16_async",
    "memset_d32",
    "memset_d32_async",
    "to_device",
]

_OBJECT = "pycudaboost::python::api::object"
_H2D = f"memcpy_htod(unsigned long long dest, {_OBJECT} src)"
_H2D_ASYNC = f"memcpy_htod_async(unsigned long long dest, {_OBJECT} src, {_OBJECT} stream=None)"
_D2H = f"memcpy_dtoh({_OBJECT} dest, unsigned long long src)"
_D2H_ASYNC = f"memcpy_dtoh_async({_OBJECT} dest, unsigned long long src, {_OBJECT} stream=None)"
_D2D = "memcpy_dtod(unsigned long long dest, unsigned long long src, unsigned long size)"
_D2D_ASYNC = (
    f"memcpy_dtod_async(unsigned long long dest, unsigned long long src, unsigned long size, {_OBJECT} stream=None)"
)


def _host(value: Any, *, writable: bool) -> HostBytes:
    """Take a buffer; the complaints are PyCUDA's."""
    if not isinstance(value, (np.ndarray, np.generic)):
        try:
            view = memoryview(value)
        except TypeError:
            raise TypeError(f"a bytes-like object is required, not '{type(value).__name__}'") from None
        if writable and view.readonly:
            raise BufferError("Object is not writable.")
    return HostBytes.from_buffer(value, writable=writable)


@boost_call(_H2D)
@cuda_call("cuMemcpyHtoD")
def memcpy_htod(dest: Any, src: Any) -> None:
    """Copy a host array to the device and wait for it."""
    address, source = integer(dest, _H2D, (dest, src)), _host(src, writable=False)
    if source.view.nbytes:
        transfers.copy_h2d(address, source)


@boost_call(_H2D_ASYNC)
@cuda_call("cuMemcpyHtoDAsync")
def memcpy_htod_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    """Copy a host array to the device in a stream; the array should be page-locked."""
    address = integer(dest, _H2D_ASYNC, (dest, src, stream))
    where, source = stream_handle(stream), _host(src, writable=False)
    if source.view.nbytes:
        transfers.copy_h2d(address, source, stream=where)


@boost_call(_D2H)
@cuda_call("cuMemcpyDtoH")
def memcpy_dtoh(dest: Any, src: Any) -> None:
    """Copy device memory into a host array and wait for it."""
    address, target = integer(src, _D2H, (dest, src)), _host(dest, writable=True)
    if target.view.nbytes:
        transfers.copy_d2h(target, address)


@boost_call(_D2H_ASYNC)
@cuda_call("cuMemcpyDtoHAsync")
def memcpy_dtoh_async(dest: Any, src: Any, stream: Stream | None = None) -> None:
    """Copy device memory into a host array in a stream; it arrives when the stream is synchronised."""
    address = integer(src, _D2H_ASYNC, (dest, src, stream))
    where, target = stream_handle(stream), _host(dest, writable=True)
    if target.view.nbytes:
        transfers.copy_d2h(target, address, stream=where)


@boost_call(_D2D)
@cuda_call("cuMemcpyDtoD")
def memcpy_dtod(dest: Any, src: Any, size: int) -> None:
    """Copy on the device and wait for it."""
    arguments = (dest, src, size)
    transfers.copy_d2d(integer(dest, _D2D, arguments), integer(src, _D2D, arguments), integer(size, _D2D, arguments))


@boost_call(_D2D_ASYNC)
@cuda_call("cuMemcpyDtoDAsync")
def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Stream | None = None) -> None:
    """Copy on the device in a stream."""
    there, here, nbytes = (integer(item, _D2D_ASYNC, (dest, src, size, stream)) for item in (dest, src, size))
    transfers.copy_d2d(there, here, nbytes, stream=stream_handle(stream))


def _fill(dest: Any, data: int, size: int, dtype: Any, stream: int | None = None) -> None:
    pattern = byte_pattern(unsigned(data, np.dtype(dtype).itemsize * 8), dtype)
    transfers.fill(int(dest), pattern, unsigned(size), stream=stream)


@cuda_call("cuMemsetD8")
def memset_d8(dest: Any, data: int, size: int) -> None:
    """Fill device memory with a byte."""
    _fill(dest, data, size, np.uint8)


@cuda_call("cuMemsetD8Async")
def memset_d8_async(dest: Any, data: int, size: int, stream: Stream | None = None) -> None:
    """Fill device memory with a byte in a stream."""
    _fill(dest, data, size, np.uint8, stream_handle(stream))


@cuda_call("cuMemsetD16")
def memset_d16(dest: Any, data: int, size: int) -> None:
    """Fill device memory with a 16-bit word."""
    _fill(dest, data, size, np.uint16)


@cuda_call("cuMemsetD16Async")
def memset_d16_async(dest: Any, data: int, size: int, stream: Stream | None = None) -> None:
    """Fill device memory with a 16-bit word in a stream."""
    _fill(dest, data, size, np.uint16, stream_handle(stream))


@cuda_call("cuMemsetD32")
def memset_d32(dest: Any, data: int, size: int) -> None:
    """Fill device memory with a 32-bit word."""
    _fill(dest, data, size, np.uint32)


@cuda_call("cuMemsetD32Async")
def memset_d32_async(dest: Any, data: int, size: int, stream: Stream | None = None) -> None:
    """Fill device memory with a 32-bit word in a stream."""
    _fill(dest, data, size, np.uint32, stream_handle(stream))


def to_device(bf_obj: Any) -> DeviceAllocation:
    """Allocate device memory and copy a host array there."""
    array = np.ascontiguousarray(bf_obj) if isinstance(bf_obj, np.ndarray) else bf_obj
    memory = mem_alloc(_host(array, writable=False).view.nbytes)
    memcpy_htod(memory, array)
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


class ArgumentHandler:
    """An array that a kernel gets as an argument; kernels are not emulated, but their arguments can be prepared."""

    def __init__(self, ary: Any) -> None:
        self.array = ary
        self.dev_alloc: DeviceAllocation | None = None

    def get_device_alloc(self) -> DeviceAllocation:
        """Return device memory for the array, allocated at the first call."""
        if self.dev_alloc is None:
            if not hasattr(self.array, "nbytes"):
                raise TypeError(
                    f"could not determine array length of '{type(self.array)}': unsupported array type or not an array"
                )
            self.dev_alloc = mem_alloc_like(self.array)
        return self.dev_alloc

    def pre_call(self, stream: Any) -> None:
        """Do what is to be done before the kernel."""


class In(ArgumentHandler):
    """An array that a kernel reads."""

    def pre_call(self, stream: Any) -> None:
        """Copy it to the device."""
        memcpy_htod(self.get_device_alloc(), self.array)


class Out(ArgumentHandler):
    """An array that a kernel writes."""

    def post_call(self, stream: Any) -> None:
        """Copy it from the device."""
        memcpy_dtoh(self.array, self.get_device_alloc())


class InOut(In, Out):
    """An array that a kernel reads and writes."""
