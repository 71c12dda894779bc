"""The emulated `pycuda.gpuarray`: arrays on the device as buffers, without arithmetic.

Programs of TensorRT use them to hold inputs and outputs. What runs a kernel on a GPU (sums, comparisons, conversions)
is refused.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from yolotrt_lab.emulation.cuda import pycuda_copies as copies
from yolotrt_lab.emulation.cuda import transfers
from yolotrt_lab.emulation.cuda.described import pycuda
from yolotrt_lab.emulation.cuda.pycuda_core import cuda_call
from yolotrt_lab.emulation.cuda.pycuda_host import pagelocked_empty
from yolotrt_lab.emulation.cuda.pycuda_memory import PointerHolderBase, mem_alloc
from yolotrt_lab.errors import EmulationError

__all__ = [
    "GPUArray",
    "empty",
    "empty_like",
    "ones",
    "ones_like",
    "reshape",
    "to_gpu",
    "to_gpu_async",
    "transpose",
    "zeros",
    "zeros_like",
]

Allocator = Callable[[int], Any]

_ARITHMETIC = {
    "abs", "add", "and", "eq", "floordiv", "ge", "gt", "iadd", "imul", "invert", "isub", "itruediv", "le", "lt", "mod",
    "mul", "ne", "neg", "or", "pos", "pow", "radd", "rmul", "rpow", "rsub", "rtruediv", "sub", "truediv", "xor",
}  # fmt: skip
_KERNELS = {
    "all", "any", "astype", "bind_to_texref", "bind_to_texref_ext", "conj", "conjugate", "imag", "mul_add", "real",
    "reverse",
}  # fmt: skip


class _Offset(PointerHolderBase):
    """An address inside another array's memory, which it keeps alive."""

    def __init__(self, base: Any, offset: int) -> None:
        self._base = base
        self._offset = offset

    def get_pointer(self) -> int:
        return int(self._base) + self._offset


class GPUArray:
    """An array on the device.

    Args:
        shape: Its shape.
        dtype: Its type.
        allocator: What gives its memory, for a number of bytes.
        base: What it is a view of.
        gpudata: The memory, if there is some already.
        strides: Bytes between elements; by default without gaps.
        order: "C" or "F".
    """

    __array_priority__ = 100

    def __init__(
        self,
        shape: Any,
        dtype: DTypeLike,
        allocator: Allocator = mem_alloc,
        base: Any = None,
        gpudata: Any = None,
        strides: Any = None,
        order: str = "C",
    ) -> None:
        if order not in ("C", "F"):
            raise ValueError(f"invalid order: {order}")
        self.shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.size = self.mem_size = math.prod(self.shape)
        self.itemsize = self.dtype.itemsize
        self.nbytes = self.size * self.itemsize
        memory_order: Any = order
        plain = _layout(self.shape, self.dtype, memory_order)
        self.strides = plain.strides if strides is None else tuple(int(step) for step in strides)
        self.allocator = allocator
        self.base = base
        self.gpudata = gpudata if gpudata is not None or not self.size else allocator(self.nbytes)

    @property
    def ptr(self) -> int:
        """The device address."""
        return int(self.gpudata)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def flags(self) -> Any:
        """Whether the elements lie without gaps, in C's or in Fortran's order."""
        found = _strided(self.shape, self.dtype, self.strides).flags
        c_order, f_order = bool(found.c_contiguous), bool(found.f_contiguous)
        return SimpleNamespace(c_contiguous=c_order, f_contiguous=f_order, forc=c_order or f_order)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        address = 0 if self.gpudata is None else int(self.gpudata)
        return {
            "shape": self.shape,
            "strides": self.strides,
            "data": (address, False),
            "typestr": self.dtype.str,
            "stream": None,
            "version": 3,
        }

    def set(self, ary: Any, async_: bool = False, stream: Any = None) -> None:
        """Copy a host array here."""
        if ary.size != self.size:
            raise ValueError("ary and self must be the same size")
        if ary.shape != self.shape:
            warnings.warn("Setting array from one with different shape.", stacklevel=2)
            ary = ary.reshape(self.shape)
        if ary.dtype != self.dtype:
            raise ValueError("ary and self must have the same dtype")
        if not self.size:
            return
        source = ary if ary.strides == self.strides and self.flags.forc else self._like_this(ary)
        if async_:
            copies.memcpy_htod_async(self.gpudata, source, stream)
        else:
            copies.memcpy_htod(self.gpudata, source)

    def _like_this(self, array: Any) -> np.ndarray[Any, Any]:
        """Return host memory with the same elements where this one keeps them; what is in gaps stays as it is."""
        memory, view = self._span()
        if not self.flags.forc:
            copies.memcpy_dtoh(memory, self.gpudata)
        view[...] = array
        return memory

    def _span(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return host memory from the first to the last element, and a view of it with this one's strides."""
        reach = sum(step * (size - 1) for size, step in zip(self.shape, self.strides, strict=True)) + self.itemsize
        memory = np.empty(reach // self.itemsize, self.dtype)
        return memory, np.ndarray(self.shape, self.dtype, memory, 0, self.strides)

    def set_async(self, ary: Any, stream: Any = None) -> None:
        """Copy a host array here in a stream."""
        self.set(ary, async_=True, stream=stream)

    def get(self, ary: Any = None, pagelocked: bool = False, async_: bool = False, stream: Any = None) -> Any:
        """Return the elements as a host array; with `async_`, they arrive when the stream is synchronised."""
        if ary is None:
            order = "F" if self.flags.f_contiguous and not self.flags.c_contiguous else "C"
            make: Any = pagelocked_empty if pagelocked else _layout
            ary = make(self.shape, self.dtype, order)
        else:
            ary = self._checked(ary)
        if not self.size:
            return ary
        if not self.flags.forc or ary.strides != self.strides:
            memory, view = self._span()
            copies.memcpy_dtoh(memory, self.gpudata)
            ary[...] = view
        elif async_:
            copies.memcpy_dtoh_async(ary, self.gpudata, stream)
        else:
            copies.memcpy_dtoh(ary, self.gpudata)
        return ary

    def _checked(self, array: Any) -> Any:
        if self.size != array.size:
            raise ValueError("self and ary must be the same size")
        if self.shape != array.shape:
            text = "get() between arrays of different shape is deprecated and will be removed in PyCUDA 2017.x"
            warnings.warn(text, DeprecationWarning, stacklevel=3)
            array = array.reshape(self.shape)
        if self.dtype != array.dtype:
            raise TypeError("self and ary must have the same dtype")
        return array

    def get_async(self, stream: Any = None, ary: Any = None) -> Any:
        """Return a host array; the elements arrive when the stream is synchronised."""
        return self.get(ary=ary, async_=True, stream=stream)

    def copy(self) -> GPUArray:
        """Return a copy."""
        made = GPUArray(self.shape, self.dtype, self.allocator, strides=self.strides)
        if self.size:
            copies.memcpy_dtod(made.gpudata, self.gpudata, self.nbytes)
        return made

    @cuda_call("cuLaunchKernel")
    def fill(self, value: Any, stream: Any = None) -> GPUArray:
        """Set all elements to a value."""
        if self.size:
            where = None if stream is None else stream.handle
            transfers.fill(self.ptr, np.array([value], self.dtype), self.size, stream=0 if where is None else where)
        return self

    def _view(self, shape: Any, dtype: DTypeLike, strides: Any = None, offset: int = 0) -> GPUArray:
        base = self.base if self.base is not None else self
        data = _Offset(self.gpudata, offset) if offset else self.gpudata
        return GPUArray(shape, dtype, self.allocator, base=base, gpudata=data, strides=strides)

    def reshape(self, *shape: Any, order: str = "C") -> GPUArray:
        """Return the same elements in another shape."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        sizes = [int(size) for size in wanted]
        if -1 in sizes:
            rest = math.prod(size for size in sizes if size != -1)
            sizes[sizes.index(-1)] = self.size // max(rest, 1)
        if math.prod(sizes) != self.size:
            raise ValueError("total size of new array must be unchanged")
        return self._view(sizes, self.dtype)

    def ravel(self) -> GPUArray:
        """Return the same elements in one dimension."""
        return self.reshape(self.size)

    def squeeze(self) -> GPUArray:
        """Return the same elements without dimensions of size 1."""
        return self.reshape(tuple(size for size in self.shape if size != 1))

    def view(self, dtype: DTypeLike | None = None) -> GPUArray:
        """Return the same bytes as another type."""
        wanted = self.dtype if dtype is None else np.dtype(dtype)
        shape = (*self.shape[:-1], self.shape[-1] * self.itemsize // wanted.itemsize)
        return self._view(shape, wanted)

    def transpose(self, axes: Any = None) -> GPUArray:
        """Return the same elements with other axes."""
        turned = _strided(self.shape, self.dtype, self.strides).transpose(axes)
        return self._view(turned.shape, self.dtype, turned.strides)

    @property
    def T(self) -> GPUArray:
        """The same elements with the axes in reverse."""
        return self.transpose()

    def __getitem__(self, index: Any) -> GPUArray:
        whole = _strided(self.shape, self.dtype, self.strides)
        try:
            part: Any = whole[(*index, ...) if isinstance(index, tuple) and ... not in index else index]
        except IndexError as error:
            found = re.search(r"axis (\d+)", str(error))
            text = f"subindex in axis {found.group(1)} out of range" if found else str(error)
            raise IndexError(text) from None
        offset = part.ctypes.data - whole.ctypes.data if part.size else 0
        return self._view(part.shape, self.dtype, part.strides, offset)

    def __len__(self) -> int:
        return self.shape[0]

    def __hash__(self) -> int:
        raise TypeError("GPUArrays are not hashable.")

    def __bool__(self) -> bool:
        if self.size == 1:
            return bool(self.get())
        raise ValueError("The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()")

    def __str__(self) -> str:
        return str(self.get())

    def __repr__(self) -> str:
        return repr(self.get())


def _refused(what: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise EmulationError(
            f"pycuda.gpuarray: {what} is not emulated: it compiles and runs CUDA code.",
            fix="Fetch the elements with .get() and compute with NumPy, or run this on a machine with an NVIDIA GPU.",
        )

    return refuse


for _name in sorted(_ARITHMETIC):
    setattr(GPUArray, f"__{_name}__", _refused(f"GPUArray.__{_name}__"))
for _name in sorted(_KERNELS):
    setattr(GPUArray, _name, _refused(f"GPUArray.{_name}"))


def _layout(shape: Any, dtype: Any, order: Any) -> np.ndarray[Any, Any]:
    return np.empty(shape, dtype, order)


def _strided(shape: Any, dtype: Any, strides: Any) -> np.ndarray[Any, Any]:
    """Return a host array of this shape over a memory that is only reckoned with."""
    reach = sum(abs(step) * (size - 1) for size, step in zip(shape, strides, strict=True) if size) + dtype.itemsize
    storage = np.empty(max(reach, 1), np.uint8)
    return np.ndarray(shape, dtype, storage, 0, strides)


empty = GPUArray


def zeros(shape: Any, dtype: DTypeLike = np.float64, allocator: Allocator = mem_alloc, order: str = "C") -> GPUArray:
    """Return an array of zeros."""
    return GPUArray(shape, dtype, allocator, order=order).fill(0)


def ones(shape: Any, dtype: DTypeLike = np.float64, allocator: Allocator = mem_alloc, order: str = "C") -> GPUArray:
    """Return an array of ones."""
    return GPUArray(shape, dtype, allocator, order=order).fill(1)


def empty_like(other_ary: Any, dtype: DTypeLike | None = None, order: str = "K") -> GPUArray:
    """Return an array shaped like another."""
    kept = "F" if order == "F" or (order in "KA" and not other_ary.flags.c_contiguous) else "C"
    allocator = getattr(other_ary, "allocator", mem_alloc)
    return GPUArray(other_ary.shape, other_ary.dtype if dtype is None else dtype, allocator, order=kept)


def zeros_like(other_ary: Any, dtype: DTypeLike | None = None, order: str = "K") -> GPUArray:
    """Return an array of zeros shaped like another."""
    return empty_like(other_ary, dtype, order).fill(0)


def ones_like(other_ary: Any, dtype: DTypeLike | None = None, order: str = "K") -> GPUArray:
    """Return an array of ones shaped like another."""
    return empty_like(other_ary, dtype, order).fill(1)


def to_gpu(ary: Any, allocator: Allocator = mem_alloc) -> GPUArray:
    """Return an array on the device with the elements of a host array."""
    made = _for(ary, allocator)
    made.set(ary)
    return made


def to_gpu_async(ary: Any, allocator: Allocator = mem_alloc, stream: Any = None) -> GPUArray:
    """Return an array on the device that gets the elements of a host array in a stream."""
    made = _for(ary, allocator)
    made.set_async(ary, stream)
    return made


def _for(ary: Any, allocator: Allocator) -> GPUArray:
    shape = ary.shape
    order = "F" if ary.flags.f_contiguous and not ary.flags.c_contiguous else "C"
    return GPUArray(shape, ary.dtype, allocator, order=order)


def reshape(a: GPUArray, *shape: Any, **kwargs: Any) -> GPUArray:
    """Return the same elements in another shape."""
    return a.reshape(*shape, **kwargs)


def transpose(a: GPUArray, axes: Any = None) -> GPUArray:
    """Return the same elements with other axes."""
    return a.transpose(axes)


def __getattr__(name: str) -> Any:
    known = pycuda()["gpuarray"]
    if name in known["functions"]:
        return _refused(name)
    if name in known["classes"]:
        return _refused(name)()
    raise AttributeError(f"module 'pycuda.gpuarray' has no attribute '{name}'")
