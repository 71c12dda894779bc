"""Write what a student's function returned as JSON, .npy and plain files, and read it back: never pickle.

What cannot be written so is kept as `Unsupported`, with the name of its type, and the tests say what they expected
instead.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.grading.untrusted_records import load_array, load_bytes
from yolotrt_lab.types import Detections

__all__ = ["Unsupported", "decode", "encode"]

_MAX_DEPTH = 30
_MAX_ITEMS = 200_000
_MAX_BYTES = 256 << 20
_MAX_TEXT = 1_000_000
_KINDS = "biufU"  # what .npy holds without pickle, complex numbers left out
_TAG = "$"


@dataclass(frozen=True)
class Unsupported:
    """Stands for a value that is none of: number, text, array, list, tuple, dict, set, detections, file."""

    type_name: str


class _Budget:
    """How much one value may still take."""

    def __init__(self) -> None:
        self.items = _MAX_ITEMS
        self.bytes = _MAX_BYTES

    def take(self, *, items: int = 1, size: int = 0) -> bool:
        self.items -= items
        self.bytes -= size
        return self.items >= 0 and self.bytes >= 0


def encode(value: object, folder: Path) -> Any:
    """Return `value` as something JSON can hold; arrays and files are put into `folder`.

    Example:
        >>> encode((1, 2.5, None), Path("unused"))
        {'$': 'tuple', 'items': [1, 2.5, None]}
    """
    return _Encoder(folder).encode(value, 0)


class _Encoder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.budget = _Budget()
        self.files = 0

    def encode(self, value: object, depth: int) -> Any:
        if depth > _MAX_DEPTH or not self.budget.take():
            return _tagged("unsupported", type="a value that is too large or too deep")
        if isinstance(value, Enum):
            return self.encode(value.value, depth + 1)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value)[:_MAX_TEXT]
        if isinstance(value, (int, float)) and not isinstance(value, np.generic):
            return _number(value)
        if isinstance(value, np.generic):
            return self._array(np.asarray(value), scalar=True)
        if isinstance(value, np.ndarray):
            return self._array(np.asarray(value), scalar=False)
        if isinstance(value, Path):
            return self._file(value)
        return self._compound(value, depth)

    def _compound(self, value: object, depth: int) -> Any:
        if isinstance(value, (list, tuple, set, frozenset)):
            kind = "list" if isinstance(value, list) else "tuple" if isinstance(value, tuple) else "set"
            items = [self.encode(item, depth + 1) for item in value]
            return items if kind == "list" else _tagged(kind, items=items)
        if isinstance(value, Mapping):
            pairs = [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in value.items()]
            return _tagged("dict", items=pairs)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._bytes(bytes(value))
        if is_dataclass(value) and not isinstance(value, type):
            content = {field.name: getattr(value, field.name, None) for field in fields(value)}
            name = "detections" if isinstance(value, Detections) else "object"
            pairs = [[key, self.encode(item, depth + 1)] for key, item in content.items()]
            return _tagged(name, type=type(value).__name__, items=pairs)
        if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
            return self._array(value.detach().cpu().numpy(), scalar=False)
        return _tagged("unsupported", type=type(value).__qualname__)

    def _array(self, array: np.ndarray[Any, Any], *, scalar: bool) -> Any:
        if array.dtype.kind not in _KINDS or not self.budget.take(size=array.nbytes):
            return _tagged("unsupported", type=f"array of {array.dtype}")
        path = self._next(".npy")
        np.save(path, array, allow_pickle=False)
        return _tagged("scalar" if scalar else "array", file=path.name)

    def _bytes(self, content: bytes) -> Any:
        if not self.budget.take(size=len(content)):
            return _tagged("unsupported", type=f"{len(content)} bytes")
        path = self._next(".bin")
        path.write_bytes(content)
        return _tagged("bytes", file=path.name)

    def _file(self, source: Path) -> Any:
        """Take a copy of a regular file; its name is kept for what it tells."""
        if source.is_symlink() or not source.is_file() or not self.budget.take(size=source.stat().st_size):
            return _tagged("file", file=None, name=str(source.name))
        path = self._next("".join(source.suffixes[-1:]))
        shutil.copyfile(source, path, follow_symlinks=False)
        return _tagged("file", file=path.name, name=source.name)

    def _next(self, suffix: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files += 1
        return self.folder / f"{self.files:03}{suffix}"


def _number(value: int | float) -> Any:
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else _tagged("unsupported", type="an integer of more than 64 bits")
    return float(value) if math.isfinite(value) else _tagged("float", text=str(float(value)))


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
