"""How NVIDIA's bindings take arguments: what they convert, and what they refuse in which words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from yolotrt_lab.emulation.cuda.transfers import HostBytes
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = ["address_of", "check_arity", "handle_of", "host_bytes", "integer", "is_buffer", "size"]


def check_arity(function: Callable[..., Any]) -> Callable[[int, int], None]:
    """Return a check of how many arguments a call has.

    Raises:
        TypeError: By the check, in Cython's words.
    """
    parameters = inspect.signature(function).parameters
    most = len(parameters)
    least = sum(parameter.default is inspect.Parameter.empty for parameter in parameters.values())
    plural = "" if most == 1 else "s"
    bound = "exactly" if least == most else "at least"

    def check(positional: int, named: int) -> None:
        given = positional + named
        if given < least or given > most:
            raise TypeError(
                f"{function.__name__}() takes {bound} {least} positional argument{plural} ({given} given)"
                if most
                else f"{function.__name__}() takes no arguments ({given} given)"
            )

    return check


def integer(value: Any) -> int:
    """Return an integer argument; the bindings cut off the fractions of a float.

    Raises:
        TypeError: It is no number.
    """
    if isinstance(value, (str, bytes)) or not hasattr(value, "__int__"):
        raise TypeError("an integer is required")
    return int(value)


def size(value: Any) -> int:
    """Return a `size_t`.

    Raises:
        TypeError: It is no number.
        OverflowError: It is negative.
    """
    number = integer(value)
    if number < 0:
        raise OverflowError("can't convert negative value to size_t")
    return number


def handle_of(value: Any) -> int:
    """Return the integer of a stream, event or context; None is the null handle.

    Raises:
        TypeError: It is no number.
    """
    return 0 if value is None else integer(value)


def is_buffer(value: Any) -> bool:
    """Return whether a value has the buffer protocol, as arrays and bytes have."""
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def address_of(value: Any) -> int:
    """Return the address that a pointer argument stands for; None is the null pointer.

    Raises:
        TypeError: It is neither a number nor a buffer.
        ValueError: It is an array with gaps.
    """
    if value is None:
        return 0
    if isinstance(value, (int, np.integer)):
        return int(value)
    if is_buffer(value):
        return _array(value).ctypes.data
    if isinstance(value, str) or not hasattr(value, "__int__"):
        raise TypeError(
            f"Provided argument is of type {type(value)} but expected Type None, int or object with Buffer Protocol"
        )
    return int(value)


def host_bytes(value: Any, count: int) -> HostBytes:
    """Return the host memory that a pointer argument stands for.

    As in CUDA, memory that Python calls read-only is written all the same.

    Raises:
        DeviceFault: It is null, device memory, or a buffer of fewer bytes.
    """
    if isinstance(value, np.generic) or not is_buffer(value):
        return HostBytes.from_address(address_of(value), count)
    array = _array(value)
    if array.nbytes < count:
        raise DeviceFault("invalid value", f"{count} bytes asked for, but the host buffer has {array.nbytes}")
    if array.flags.writeable:
        view = array.reshape(-1, order="A").view(np.uint8)[:count]
    else:
        view = HostBytes.from_address(array.ctypes.data, count).view
    dtype = value.dtype if isinstance(value, np.ndarray) else None
    pinned = device().pinned.locate(array.ctypes.data, count) is not None
    return HostBytes(view, pinned, owned=True, dtype=dtype, owner=value)


def _array(value: Any) -> np.ndarray[Any, Any]:
    array = value if isinstance(value, np.ndarray) else np.frombuffer(value, np.uint8)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise ValueError("ndarray is not contiguous")
    return array
