"""The emulated value classes: dimensions, weights and host memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from yolotrt_lab.emulation.tensorrt.objects import ApiObject, ContextManaged
from yolotrt_lab.errors import EmulationError

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

    def __iter__(self) -> Iterator[int]:
        return iter(tuple(self._values))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self._values[index])
        if not -len(self._values) <= index < len(self._values):
            raise IndexError("Out of bounds")
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            self._values[index] = [int(item) for item in value]
            return
        if not -len(self._values) <= index < len(self._values):
            raise IndexError("Out of bounds")
        self._values[index] = value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (tuple, list)):
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
    """An array of weights."""

    def __init__(self, a: Any = None, *rest: Any, **named: Any) -> None:
        super().__init__()
        if rest or "ptr" in named:
            raise EmulationError(
                "Weights from an address are not emulated.", fix="Pass a NumPy array: tensorrt.Weights(array)."
            )
        array = a if isinstance(a, np.ndarray) else np.zeros(0, np.float32)
        self._array = np.ascontiguousarray(array)

    @property
    def dtype(self) -> Any:
        """The data type."""
        kinds = {"float32": "FLOAT", "float16": "HALF", "int8": "INT8", "int32": "INT32", "int64": "INT64"}
        kinds |= {"bool": "BOOL", "uint8": "UINT8"}
        return getattr(self._api.DataType, kinds[self._array.dtype.name])

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self._array.size)

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return int(self._array.nbytes)

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return the weights as an array."""
        return self._array

    def __len__(self) -> int:
        return self.size


class IHostMemory(ContextManaged, bytes):
    """A buffer that TensorRT made: pass it to `memoryview`, `bytes`, `file.write` or `deserialize_cuda_engine`.

    It is a `bytes` object underneath, because only that offers the buffer interface before Python 3.12; what NVIDIA's
    class cannot do, length and indexing, it refuses.
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

    def __len__(self) -> int:
        raise TypeError(f"object of type 'tensorrt.tensorrt.{self._api_name}' has no len()")

    def __getitem__(self, index: Any) -> NoReturn:
        raise TypeError(f"'tensorrt.tensorrt.{self._api_name}' object is not subscriptable")

    def __iter__(self) -> NoReturn:
        raise TypeError(f"'tensorrt.tensorrt.{self._api_name}' object is not iterable")

    @classmethod
    def _of(cls, data: bytes) -> IHostMemory:
        instance: IHostMemory = bytes.__new__(cls, data)
        instance._initialised = True
        return instance
