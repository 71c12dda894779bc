"""The emulated values around plugins: the fields a program hands to a creator, and descriptions of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from yolotrt_lab.emulation.tensorrt.objects import ApiObject

__all__ = [
    "DynamicPluginTensorDesc",
    "FallbackString",
    "PluginField",
    "PluginFieldCollection",
    "PluginFieldCollection_",
    "PluginTensorDesc",
]

_NUMPY_TYPES = {
    "FLOAT16": np.float16, "FLOAT32": np.float32, "FLOAT64": np.float64, "INT8": np.int8, "INT16": np.int16,
    "INT32": np.int32, "INT64": np.int64,
}  # fmt: skip


class FallbackString(ApiObject):
    """A string; functions that take one take Python's too."""

    def __init__(self, text: str, /) -> None:
        super().__init__()
        self._text = text


class PluginField(ApiObject):
    """A named value for a plugin.

    Like NVIDIA's it believes what it is told: `size` elements of `type`, whatever array was given.
    """

    def __init__(self, name: Any = "", data: Any = None, type: Any = None) -> None:
        super().__init__()
        self._name = name if isinstance(name, str) else name._text
        self._bytes = b"" if data is None else bytes(memoryview(data))
        self._type = self._api.PluginFieldType.UNKNOWN if type is None else type
        self._size = 0 if data is None else int(np.asarray(memoryview(data)).size)

    @property
    def name(self) -> str:
        """The field's name."""
        return self._name

    @name.setter
    def name(self, value: Any) -> None:
        self._name = value if isinstance(value, str) else value._text

    @property
    def type(self) -> Any:
        """The elements' type."""
        return self._type

    @type.setter
    def type(self, value: Any) -> None:
        self._type = value

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._size

    @size.setter
    def size(self, value: int) -> None:
        self._size = value

    @property
    def data(self) -> np.ndarray[Any, Any]:
        """The elements."""
        kind = np.dtype(_NUMPY_TYPES.get(self._type.name, np.int8))
        needed = self._size * kind.itemsize
        return np.frombuffer(self._bytes[:needed].ljust(needed, b"\0"), kind).copy()

    @data.setter
    def data(self, value: Any) -> None:
        self._bytes = bytes(memoryview(value))


class PluginFieldCollection(ApiObject):
    """A list of plugin fields."""

    def __init__(self, fields: Iterable[Any] = (), /) -> None:
        super().__init__()
        self._fields = list(fields)
        for field in self._fields:
            if not isinstance(field, self._api.PluginField):
                raise RuntimeError(
                    f"Unable to cast Python instance of type {type(field)} to C++ type '?' "
                    "(#define PYBIND11_DETAILED_ERROR_MESSAGES or compile in debug mode for details)"
                )

    def append(self, x: Any) -> None:
        """Add a field at the end."""
        self._fields.append(x)

    def extend(self, L: Iterable[Any]) -> None:
        """Add fields at the end."""
        self._fields.extend(list(L))  # a list may be added to itself

    def insert(self, i: int, x: Any) -> None:
        """Add a field at a place."""
        if not -len(self._fields) <= i <= len(self._fields):
            raise IndexError
        self._fields.insert(i, x)

    def pop(self, i: int = -1) -> Any:
        """Take a field away and return it."""
        return self._fields.pop(self._checked(i))

    def clear(self) -> None:
        """Take all fields away."""
        self._fields.clear()

    def __len__(self) -> int:
        return len(self._fields)

    def __bool__(self) -> bool:
        return bool(self._fields)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._fields)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(self._fields[index])
        return self._fields[self._checked(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            self._fields[index] = list(value)
        else:
            self._fields[self._checked(index)] = value

    def __delitem__(self, index: Any) -> None:
        del self._fields[index if isinstance(index, slice) else self._checked(index)]

    def _checked(self, index: int) -> int:
        if not -len(self._fields) <= index < len(self._fields):
            raise IndexError
        return index


class PluginFieldCollection_(ApiObject):
    """The list of plugin fields that a creator expects."""

    def __init__(self, fields: Iterable[Any] = (), /) -> None:
        super().__init__()
        self._fields = list(fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __getitem__(self, index: int) -> Any:
        if not -len(self._fields) <= index < len(self._fields):
            raise IndexError("Out of bounds")
        return self._fields[index]


def _kept(name: str, document: str) -> Any:
    """Return a property that keeps what it is given; shapes become `Dims`."""

    def read(self: Any) -> Any:
        return self._kept_values[name]

    def write(self: Any, value: Any) -> None:
        shape = isinstance(self._kept_values[name], self._api.Dims)
        self._kept_values[name] = self._api.Dims(value) if shape else value

    return property(read, write, doc=document)


class PluginTensorDesc(ApiObject):
    """What a plugin is told about a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self._kept_values = {
            "dims": self._api.Dims(),
            "type": self._api.DataType.FLOAT,
            "format": self._api.TensorFormat.LINEAR,
            "scale": 0.0,
        }

    dims = _kept("dims", "The dimensions.")
    type = _kept("type", "The data type.")
    format = _kept("format", "The memory format.")
    scale = _kept("scale", "The scale of INT8 data.")


class DynamicPluginTensorDesc(ApiObject):
    """What a plugin is told about a tensor whose dimensions may change."""

    def __init__(self) -> None:
        super().__init__()
        self._kept_values = {"desc": self._api.PluginTensorDesc()}
        self._kept_values |= {name: self._api.Dims() for name in ("min", "opt", "max")}

    desc = _kept("desc", "The tensor.")
    min = _kept("min", "The least dimensions.")
    opt = _kept("opt", "The preferred dimensions.")
    max = _kept("max", "The greatest dimensions.")
