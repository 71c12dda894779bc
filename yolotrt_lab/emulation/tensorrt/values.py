"""The emulated value classes: dimensions, weights and host memory."""

from __future__ import annotations

import ctypes
import sys
from array import array
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, cast

import numpy as np

from yolotrt_lab.emulation.tensorrt.objects import ApiObject, ContextManaged

__all__ = ["Dims", "Dims2", "Dims3", "Dims4", "DimsHW", "IHostMemory", "Weights"]

_MAX_DIMS = 8


class Dims(ApiObject):
    """Dimensions of a tensor; behaves much like a tuple. -1 stands for a dimension known at run time only."""

    _length: ClassVar[int | None] = None

    def __init__(self, shape: Sequence[int] = ()) -> None:
        super().__init__()
        values = [int(item) for item in shape]
        name = self._api_name
        if len(values) > _MAX_DIMS:
            raise ValueError(f"Input length {len(values)}. Max expected length is {_MAX_DIMS}")
        if self._length is not None and values and len(values) != self._length:
            raise ValueError(f"Input length {len(values)} not equal to expected {name} length, which is {self._length}")
        self._values = values or [0] * (self._length or 0)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self._values[index])
        if not -len(self._values) <= index < len(self._values):
            raise IndexError("Out of bounds")
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            self._set_several(range(*index.indices(_MAX_DIMS)), [int(item) for item in value])
            return
        if not -len(self._values) <= index < len(self._values):
            raise IndexError("Out of bounds")
        self._values[index] = value

    def _set_several(self, places: range, values: list[int]) -> None:
        """Set items as NVIDIA's class does: as if there were eight given, those that are missing zero."""
        if any(place >= len(self._values) for place in places):
            raise IndexError("Out of bounds")
        for place, value in zip(places, values + [0] * _MAX_DIMS, strict=False):
            self._values[place] = value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (tuple, list)):
            if not all(isinstance(item, int) or hasattr(item, "__index__") for item in other):
                raise RuntimeError(
                    f"Unable to cast Python instance of type {type(other)} to C++ type '?' "
                    "(#define PYBIND11_DETAILED_ERROR_MESSAGES or compile in debug mode for details)"
                )
            return self._values == list(other)
        # NVIDIA's class compares with tuples and lists only.
        raise TypeError(
            "__eq__(): incompatible function arguments. The following argument types are supported:\n"
            "    1. (self: tensorrt.tensorrt.Dims, arg0: list) -> bool\n"
            "    2. (self: tensorrt.tensorrt.Dims, arg0: tuple) -> bool\n\n"
            f"Invoked with: {self!r}, {other!r}"
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(tuple(self._values))

    def __str__(self) -> str:
        return repr(tuple(self._values))


class _FixedDims(Dims):
    def __init__(self, *dims: Any, **named: Any) -> None:
        given = [*dims, *named.values()]
        super().__init__(given[0] if len(given) == 1 and not isinstance(given[0], int) else given)


class Dims2(_FixedDims):
    """Two dimensions."""

    _length = 2


class DimsHW(Dims2):
    """Height and width."""

    @property
    def h(self) -> int:
        """The height."""
        return self._values[0]

    @h.setter
    def h(self, value: int) -> None:
        self._values[0] = int(value)

    @property
    def w(self) -> int:
        """The width."""
        return self._values[1]

    @w.setter
    def w(self, value: int) -> None:
        self._values[1] = int(value)


class Dims3(_FixedDims):
    """Three dimensions."""

    _length = 3


class Dims4(_FixedDims):
    """Four dimensions."""

    _length = 4


class Weights(ApiObject):
    """An array of weights: a NumPy array's, or an address with type and number of elements; empty without either."""

    def __init__(self, type: Any = None, ptr: int | None = None, count: int = 0, *, a: Any = None) -> None:
        super().__init__()
        array = type if isinstance(type, np.ndarray) else a
        self._array = _usable(array) if array is not None else np.zeros(0, np.float32)
        self._address = int(self._array.ctypes.data)
        self._data_type: Any = None if array is not None or type is None else type
        self._count = int(self._array.size)
        if ptr is not None:
            self._address, self._count = int(ptr), int(count)

    @property
    def dtype(self) -> Any:
        """The data type."""
        if self._data_type is not None:
            return self._data_type
        return getattr(self._api.DataType, _WEIGHT_TYPES[self._array.dtype.name])

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._count

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return int(self._count * self.dtype.itemsize)

    def numpy(self) -> Any:
        """Return the weights as an array; the object itself if NumPy has no such type."""
        kind = _NUMPY_TYPES.get(self.dtype.name)
        if kind is None:
            return self
        if self._data_type is None:
            return self._array.reshape(-1)
        content = self._content()
        return np.frombuffer(content, kind) if content else np.zeros(0, kind)

    def __len__(self) -> int:
        return self._count

    @classmethod
    def _of(cls, data_type: Any, content: bytes) -> Any:
        """Return weights with these bytes; of types that NumPy lacks, too."""
        weights = cls(np.frombuffer(content, _NUMPY_TYPES.get(data_type.name, np.uint16)))
        if data_type.name not in _NUMPY_TYPES:
            weights._data_type = data_type
        return weights

    def _content(self) -> bytes:
        """Return the bytes, from host memory."""
        if self._data_type is None:
            return self._array.tobytes()
        return ctypes.string_at(self._address, self.nbytes) if self._address and self._count > 0 else b""


_NUMPY_TYPES = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64,
    "BOOL": np.bool_, "UINT8": np.uint8,
}  # fmt: skip
_WEIGHT_TYPES = {np.dtype(kind).name: name for name, kind in _NUMPY_TYPES.items()}


def _usable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array that weights can be, or complain as NVIDIA's class does."""
    if array.dtype.name not in _WEIGHT_TYPES:
        kind = f"{array.dtype.kind}{array.dtype.itemsize * 8}"
        text = f"[TRT] [E] Could not implicitly convert NumPy data type: {kind} to TensorRT."
        print(text, file=sys.stderr)
        raise ValueError(text)
    if not array.flags.c_contiguous:
        raise ValueError(
            "Could not convert non-contiguous NumPy array to Weights. Please use numpy.ascontiguousarray() to fix this."
        )
    return array


class IHostMemory(ContextManaged, array):  # type: ignore[type-arg]
    """A buffer that TensorRT made: pass it to `memoryview`, `bytes`, `file.write` or `deserialize_cuda_engine`.

    It is an `array.array` underneath, because before Python 3.12 a class gets the buffer interface only from a built-in
    one; of that, programs see nothing else: no length, no elements, no methods.
    """

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return memoryview(self).nbytes

    @property
    def dtype(self) -> Any:
        """The data type of the buffer: bytes."""
        return self._api.DataType.INT8

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __len__(self) -> int:
        raise TypeError(f"object of type 'tensorrt.tensorrt.{self._api_name}' has no len()")

    def __getitem__(self, index: Any) -> NoReturn:
        raise TypeError(f"'tensorrt.tensorrt.{self._api_name}' object is not subscriptable")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"'tensorrt.tensorrt.{self._api_name}' object is not iterable")

    @classmethod
    def _of(cls, data: bytes) -> IHostMemory:
        instance: Any = array.__new__(cls, "B", data)
        instance._initialised = True
        return cast("IHostMemory", instance)
