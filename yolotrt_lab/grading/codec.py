"""Write what a student's function returned as JSON, .npy and plain files, and read it back: never pickle.

What cannot be written so is kept as `Unsupported`, with the name of its type, and the tests say what they expected
instead. Values are taken by their real type and by the methods of the built-in types: a class that overrides
`__eq__`, `__float__`, `__len__` or `__class__` is written as what it holds, and never comes back as itself. Size,
number and depth have limits that count for a case in all.
"""

from __future__ import annotations

import itertools
import math
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from yolotrt_lab.grading.untrusted_records import load_array, load_bytes
from yolotrt_lab.types import Detections

__all__ = ["Unsupported", "decode", "encode", "plain_text", "type_name"]

_MAX_DEPTH = 30
_MAX_ITEMS = 200_000
_MAX_BYTES = 256 << 20
_MAX_TEXT = 1_000_000
_MAX_FILES = 500
_KINDS = "biufU"  # what .npy holds without pickle, complex numbers left out
_TAG = "$"
# NumPy's numbers that a Python number holds exactly.
_SCALARS = {
    name: np.dtype(name)
    for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
                 "float64")
}  # fmt: skip


@dataclass(frozen=True)
class Unsupported:
    """Stands for a value that is none of: number, text, array, list, tuple, dict, set, detections, file."""

    type_name: str


class _Budget:
    """How much one value may still take."""

    def __init__(self) -> None:
        self.items = _MAX_ITEMS
        self.bytes = _MAX_BYTES
        self.files = _MAX_FILES

    def take(self, *, items: int = 1, size: int = 0, files: int = 0) -> bool:
        """Take something, if there is as much: what is too large leaves the rest its room."""
        if items > self.items or size > self.bytes or files > self.files:
            return False
        self.items -= items
        self.bytes -= size
        self.files -= files
        return True


def encode(value: object, folder: Path) -> Any:
    """Return `value` as something JSON can hold; arrays and files are put into `folder`.

    Example:
        >>> encode((1, 2.5, None), Path("unused"))
        {'$': 'tuple', 'items': [1, 2.5, None]}
    """
    return _Encoder(folder).encode(value, 0)


def type_name(kind: type) -> str:
    """Return a type's name, whatever its metaclass says."""
    return plain_text(type.__dict__["__name__"].__get__(kind), limit=100)


def plain_text(text: str, *, limit: int = _MAX_TEXT) -> str:
    """Return a text as a real string that UTF-8 can hold, cut at the limit."""
    cut = str.__getitem__(text, slice(limit))
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode("utf-8")


class _Encoder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.budget = _Budget()
        self.files = 0

    def encode(self, value: object, depth: int) -> Any:
        if depth > _MAX_DEPTH or not self.budget.take():
            return _too_large()
        try:
            return self._by_type(value, type(value), depth)
        except (Exception, SystemExit):  # code of the student's, in a property or an iterator
            return _tagged("unsupported", type=type_name(type(value)))

    def _by_type(self, value: Any, kind: type, depth: int) -> Any:
        if value is None or kind is bool:
            return value
        if issubclass(kind, Enum):
            return self.encode(value.value, depth + 1)
        if issubclass(kind, str):
            return self._text(value)
        if issubclass(kind, np.generic):
            return self._scalar(np.asarray(value))
        if issubclass(kind, int | float):
            return _number(value)
        if issubclass(kind, np.ndarray):
            return _unsupported(kind) if issubclass(kind, np.ma.MaskedArray) else self._array(np.asarray(value))
        if issubclass(kind, PurePath):
            return self._file(PurePath.__str__(value))
        return self._compound(value, kind, depth)

    def _compound(self, value: Any, kind: type, depth: int) -> Any:
        for base in (list, tuple, set, frozenset):
            if issubclass(kind, base):
                items = self._items(base.__iter__(value), base.__len__(value), depth)
                name = "set" if base is frozenset else base.__name__
                return items if base is list or not isinstance(items, list) else _tagged(name, items=items)
        if issubclass(kind, dict):
            return self._pairs("dict", dict.items(value), dict.__len__(value), depth)
        if issubclass(kind, bytes | bytearray | memoryview):
            return self._bytes(memoryview(value))
        if is_dataclass(kind):
            content = [(field.name, getattr(value, field.name, None)) for field in fields(kind)]
            name = "detections" if issubclass(kind, Detections) else "object"
            return self._pairs(name, content, len(content), depth, type=type_name(kind))
        if issubclass(kind, Mapping):
            return self._pairs("dict", value.items(), int(kind.__len__(value)), depth)
        tensor = getattr(sys.modules.get("torch"), "Tensor", None)
        if isinstance(tensor, type) and issubclass(kind, tensor):
            return self._array(_array_of_tensor(value))
        return _unsupported(kind)

    def _items(self, values: Iterable[object], count: int, depth: int) -> Any:
        """Return a list, or one mark for all of it: ten million marks would be as large as what they stand for."""
        if count > self.budget.items:
            return _too_large()
        return [self.encode(item, depth + 1) for item in itertools.islice(values, count)]

    def _pairs(self, tag: str, entries: Iterable[Any], count: int, depth: int, **content: object) -> Any:
        if not 0 <= 2 * count <= self.budget.items:
            return _too_large()
        taken = itertools.islice(entries, count)
        pairs = [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in taken]
        return _tagged(tag, **content, items=pairs)

    def _text(self, value: str) -> Any:
        size = min(str.__len__(value), _MAX_TEXT)
        return plain_text(value) if self.budget.take(items=0, size=size) else _too_large()

    def _scalar(self, array: np.ndarray[Any, Any]) -> Any:
        name = array.dtype.name
        if name not in _SCALARS or array.shape:
            return self._array(array, scalar=True)
        return _tagged("scalar", dtype=name, value=_number(array.item()))

    def _array(self, array: np.ndarray[Any, Any], *, scalar: bool = False) -> Any:
        known = array.dtype.kind in _KINDS
        if not known or not self.budget.take(items=0, size=array.nbytes, files=1):
            return _tagged("unsupported", type=f"array of {str(array.dtype)[:60]}")
        path = self._next(".npy")
        np.save(path, array, allow_pickle=False)
        return _tagged("scalar" if scalar else "array", file=path.name)

    def _bytes(self, content: memoryview) -> Any:
        if not self.budget.take(items=0, size=content.nbytes, files=1):
            return _tagged("unsupported", type=f"{content.nbytes} bytes")
        path = self._next(".bin")
        path.write_bytes(content.tobytes())
        return _tagged("bytes", file=path.name)

    def _file(self, source: str) -> Any:
        """Take a copy of a regular file, not through a link; its name is kept for what it tells."""
        given = Path(plain_text(source, limit=4_000))
        name = given.name[:200]
        try:
            handle = os.open(given, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            return _tagged("file", file=None, name=name)
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode) or not self.budget.take(items=0, size=state.st_size, files=1):
                return _tagged("file", file=None, name=name)
            path = self._next(given.suffix[:20])
            with os.fdopen(os.dup(handle), "rb") as stream:
                path.write_bytes(stream.read(state.st_size))  # and no more, if it grows meanwhile
        finally:
            os.close(handle)
        return _tagged("file", file=path.name, name=name)

    def _next(self, suffix: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files += 1
        return self.folder / f"{self.files:03}{suffix}"


def _array_of_tensor(value: Any) -> np.ndarray[Any, Any]:
    torch: Any = sys.modules["torch"]
    with torch._C.DisableTorchFunctionSubclass():  # a subclass's own hooks
        return np.asarray(torch.Tensor.numpy(torch.Tensor.cpu(torch.Tensor.detach(value))))


def _number(value: int | float) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        whole = int.__pos__(value)
        return whole if -(1 << 63) < whole < 1 << 64 else _tagged("unsupported", type="an integer of more than 64 bits")
    number = float.__pos__(value)
    return number if math.isfinite(number) else _tagged("float", text=str(number))


def _unsupported(kind: type) -> dict[str, object]:
    return _tagged("unsupported", type=type_name(kind))


def _too_large() -> dict[str, object]:
    return _tagged("unsupported", type="a value that is too large or too deep")


def _tagged(kind: str, **content: object) -> dict[str, object]:
    return {_TAG: kind, **content}


def decode(value: Any, folder: Path) -> Any:
    """Return what `encode` wrote; files come back as paths in `folder`, dataclasses other than Detections as dicts.

    Raises:
        ValueError: The record is damaged.
        OSError: A file of the record is missing.
    """
    if isinstance(value, list):
        return [decode(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TAG)
    if kind == "float":
        return float(value["text"])
    if kind == "scalar" and "dtype" in value:
        return _decode_scalar(_SCALARS[value["dtype"]], decode(value["value"], folder))
    if kind in ("array", "scalar"):
        array = load_array(_inside(folder, value["file"]))
        return array[()] if kind == "scalar" else array
    if kind == "bytes":
        return load_bytes(_inside(folder, value["file"]))
    if kind == "file":
        return _inside(folder, value["file"]) if value["file"] else Unsupported(f"path of no file ({value['name']})")
    if kind == "unsupported":
        return Unsupported(str(value["type"]))
    return _decode_compound(kind, value, folder)


def _decode_scalar(dtype: np.dtype[Any], value: Any) -> Any:
    if not isinstance(value, int | float):
        raise ValueError("a number that is none")
    try:
        return dtype.type(value)
    except OverflowError:
        raise ValueError(f"a number that {dtype} does not hold") from None


def _decode_compound(kind: object, value: dict[str, Any], folder: Path) -> Any:
    items = value.get("items", [])
    if kind == "tuple":
        return tuple(decode(item, folder) for item in items)
    if kind == "set":
        return frozenset(_hashable(decode(item, folder)) for item in items)
    if kind in ("dict", "object", "detections"):
        pairs = {_hashable(decode(key, folder)): decode(item, folder) for key, item in items}
        return _detections(pairs) if kind == "detections" else pairs
    raise ValueError(f"a record of unknown kind {kind!r}")


def _detections(content: dict[Any, Any]) -> Any:
    try:
        return Detections(content["xyxy"], content["scores"], content["class_ids"])
    except Exception:
        return Unsupported("Detections with fields that do not fit together")


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise ValueError(f"the record names a file that it does not hold: {name!r}")
    return path
