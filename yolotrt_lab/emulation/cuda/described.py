"""The names, numbers and fields of NVIDIA's `cuda.bindings` and of PyCUDA, from descriptions of the real packages.

`vendor_api/bindings_13.json` is what `tests/contract/describe_cuda.py` prints with NVIDIA's package; the contract test
holds the two together. `vendor_api/pycuda_2026.json` was made the same way from PyCUDA's wheel on a machine with a GPU.
Enumerations, handles and structures are built from them here, so they are complete; functions are written by hand.
"""

from __future__ import annotations

import ctypes
import functools
import json
from enum import IntEnum, IntFlag
from importlib import resources
from types import SimpleNamespace
from typing import Any, cast

__all__ = ["CudaEnum", "Handle", "Structure", "bindings", "names", "pycuda", "pycuda_enum", "types"]


@functools.cache
def bindings() -> dict[str, Any]:
    """Return the description of `cuda.bindings`."""
    return _read("bindings_13.json")


@functools.cache
def pycuda() -> dict[str, Any]:
    """Return the description of PyCUDA."""
    return _read("pycuda_2026.json")


def _read(name: str) -> dict[str, Any]:
    text = (resources.files(__package__) / "vendor_api" / name).read_text(encoding="utf-8")
    description: dict[str, Any] = json.loads(text)
    return description


class CudaEnum(IntEnum):
    """An enumeration whose `str` is its `repr`, like those of `cuda.bindings`."""

    def __str__(self) -> str:
        return repr(self)

    def __format__(self, format_spec: str) -> str:
        return format(repr(self), format_spec)


class Handle:
    """An opaque handle that knows its integer.

    Args:
        init_value: The integer.
        _ptr: Where the integer is, for a handle in somebody else's memory.
    """

    _shown_as = "Handle"

    def __init__(self, init_value: Any = 0, _ptr: int = 0) -> None:
        self._kept = ctypes.c_uint64.from_address(_ptr) if _ptr else ctypes.c_uint64(int(init_value))

    @property
    def _value(self) -> int:
        return self._kept.value

    def getPtr(self) -> int:
        """Return where the integer is kept."""
        return ctypes.addressof(self._kept)

    def __int__(self) -> int:
        return self._value

    def __index__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and other._shown_as == self._shown_as and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        number = self._value if self._shown_as in ("CUdevice", "CUdeviceptr") else hex(self._value)
        return f"<{self._shown_as} {number}>"

    def __cuda_stream__(self) -> tuple[int, int]:
        """Return what other packages ask a stream for: the protocol's version and the handle."""
        return 0, self._value


class Structure(SimpleNamespace):
    """A C structure: its fields are attributes and start as zero, or as empty structures."""

    _described: tuple[str, ...] = ()
    _fields: tuple[str, ...] = ()

    def __init__(self, _ptr: int = 0, **values: Any) -> None:
        super().__init__(**dict.fromkeys(self._fields, 0) | self._inner_structures() | values)

    @classmethod
    def _inner_structures(cls) -> dict[str, Any]:
        known = types(cls.__module__.rpartition(".")[2])
        pairs = (item.split("=") for item in cls._described if "=" in item)
        return {field: known[kind]() for field, kind in pairs if kind in known}

    def getPtr(self) -> int:
        """Return the structure's address; here, of the object."""
        return id(self)

    def __repr__(self) -> str:
        return "\n".join(f"{name} : {getattr(self, name)}" for name in self._fields)


@functools.cache
def types(module: str) -> dict[str, Any]:
    """Return every enumeration, handle, structure and constant of `cuda.bindings.<module>` by name.

    Args:
        module: "driver", "runtime" or "nvrtc"; the runtime's handles are subclasses of the driver's, as in the real
            package.
    """
    described, make_enum = bindings()[module], cast("Any", CudaEnum)
    found: dict[str, Any] = dict(types("driver")) if module == "runtime" else {}
    known = set(found)
    for name in described["types"]:
        _add_type(name, described["types"], found, module)
    for name, members in described["enums"].items():
        found[name] = make_enum(name, members, module=f"cuda.bindings.{module}")
    found |= described["constants"]
    own = {*described["types"], *described["enums"], *described["constants"]}
    return {name: value for name, value in found.items() if name in own or name not in known}


def _add_type(name: str, described: dict[str, str], found: dict[str, Any], module: str) -> Any:
    """Make a type and what it is derived from."""
    if name in found and found[name].__module__ == f"cuda.bindings.{module}":
        return found[name]
    base_name, _, fields = described[name].partition(":")
    names = tuple(field for field in fields.strip().split(", ") if field)
    if base_name in described and base_name != name:
        base = _add_type(base_name, described, found, module)
    else:
        base = found.get(base_name) or (Structure if names else Handle)
    content: dict[str, Any] = {"__module__": f"cuda.bindings.{module}", "__doc__": "As NVIDIA's bindings have it."}
    if issubclass(base, Handle):
        content["_shown_as"] = name if base is Handle else base._shown_as
    else:
        content["_described"] = names
        content["_fields"] = tuple(item.partition("=")[0] for item in names)
    found[name] = type(name, (base,), content)
    return found[name]


def names(module: str) -> frozenset[str]:
    """Return every public name of `cuda.bindings.<module>`."""
    described = bindings()[module]
    return frozenset(name for part in ("functions", "constants", "enums", "types") for name in described[part])


def pycuda_enum(name: str) -> Any:
    """Return one of PyCUDA's enumerations or sets of flags."""
    members = pycuda()["driver"]["enums"][name]
    kind: Any = _PycudaFlags if name.endswith("_flags") else enum
    return kind(name, members, module="pycuda._driver")


class enum(IntEnum):
    """Named and shown as by Boost.Python."""

    def __repr__(self) -> str:
        return f"pycuda._driver.{type(self).__name__}.{self.name}"

    __str__ = object.__str__


class _PycudaFlags(IntFlag):
    """PyCUDA's flags can be combined; the result is a plain integer there."""

    def __or__(self, other: int) -> Any:
        return int(self) | int(other)

    __ror__ = __or__

    def __repr__(self) -> str:
        return repr(int(self))
