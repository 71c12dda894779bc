"""Reading what a student's kernel wrote: plain JSON and plain arrays, and nothing larger than it says it is."""

from __future__ import annotations

import io
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.types import Array

__all__ = ["load_array", "load_bytes", "load_record"]

_RECORD_BYTES = 32 << 20
_ARRAY_BYTES = 512 << 20
_KINDS = "biufU"
_HEADER_BYTES = 10_000


def load_record(path: Path) -> dict[str, Any]:
    """Return the record of a case.

    Raises:
        ValueError: It is too large, nested too deep, or something else than a JSON object.
        OSError: It is missing or no regular file.
    """
    text = load_bytes(path, most=_RECORD_BYTES).decode("utf-8")
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("a record that is nested too deep") from None
    if not isinstance(content, dict):
        raise ValueError("a record of another form")
    return content


def load_bytes(path: Path, *, most: int = _ARRAY_BYTES) -> bytes:
    """Return the content of a regular file, not through a link.

    Raises:
        ValueError: It is larger than `most`, or no regular file.
        OSError: It cannot be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        state = os.fstat(stream.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("no regular file")
        if state.st_size > most:
            raise ValueError(f"a file of {state.st_size} bytes")
        return stream.read(most)


def load_array(path: Path) -> Array:
    """Return the array in a .npy file, in this machine's byte order and laid out by rows.

    Its header is read and compared with the file's size before any memory is taken for it.

    Raises:
        ValueError: The header is damaged, or names objects, fields, or more data than there are.
        OSError: It is missing or no regular file.
    """
    content = load_bytes(path)
    try:
        shape, dtype, by_columns, start = _header(content)
    except Exception as error:  # NumPy's parser lets those of Python's tokenizer and literals through
        raise ValueError(f"an array with a damaged header ({type(error).__name__})") from None
    if dtype.hasobject:
        raise ValueError("an array of objects, which takes a pickle")
    if dtype.names or dtype.subdtype or dtype.kind not in _KINDS:
        raise ValueError(f"an array of {str(dtype)[:60]}")
    if len(shape) > 32 or any(not isinstance(size, int) or size < 0 for size in shape):
        raise ValueError(f"an array of shape {str(shape)[:60]}")
    count = math.prod(shape)
    if count * dtype.itemsize != len(content) - start:
        raise ValueError(f"an array of {count} values with the data of another size")
    if count * dtype.itemsize == 0:
        return np.zeros(shape, dtype.newbyteorder("="))
    flat = np.frombuffer(content, dtype, count=count, offset=start)
    array = flat.reshape(shape, order="F" if by_columns else "C")
    return np.array(array, dtype.newbyteorder("="), order="C")  # a copy of its own, which may be written to


def _header(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Return shape, type, whether it lies by columns, and where the data begin."""
    stream = io.BytesIO(content[: _HEADER_BYTES + 100])
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"an array file of version {version}")
    shape, by_columns, dtype = readers[version](stream, max_header_size=_HEADER_BYTES)
    return tuple(shape), dtype, bool(by_columns), stream.tell()
