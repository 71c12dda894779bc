"""The properties of layers: each keeps a value in the layer's state, the bindings' checks are around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.errors import EmulationError
from yolotrt_lab.types import Array

__all__ = [
    "dims_setting",
    "enum_setting",
    "flag_setting",
    "float_setting",
    "integer_setting",
    "permutation_setting",
    "text_setting",
    "weights_array",
    "weights_setting",
]


def dims_setting(key: str, document: str) -> Any:
    """Return a property of dimensions."""

    def read(self: Any) -> Any:
        return self._api.Dims(self._state.get(key) or ())

    def write(self: Any, value: Any) -> None:
        self._state.change(key, tuple(int(item) for item in value))

    return property(read, write, doc=document)


def enum_setting(key: str, enum: str, document: str) -> Any:
    """Return a property of an enumeration."""

    def read(self: Any) -> Any:
        return getattr(getattr(self._api, enum), self._state.get(key))

    def write(self: Any, value: Any) -> None:
        self._state.change(key, value.name)

    return property(read, write, doc=document)


def _converted_setting(key: str, document: str, kind: Any) -> Any:
    def read(self: Any) -> Any:
        return self._state.get(key)

    def write(self: Any, value: Any) -> None:
        self._state.change(key, kind(value))

    return property(read, write, doc=document)


def float_setting(key: str, document: str) -> Any:
    """Return a property of a number; TensorRT keeps 32 bits of it."""
    return _converted_setting(key, document, lambda value: float(np.float32(value)))


def integer_setting(key: str, document: str) -> Any:
    """Return a property of a whole number."""
    return _converted_setting(key, document, int)


def flag_setting(key: str, document: str) -> Any:
    """Return a property that is true or false."""
    return _converted_setting(key, document, bool)


def text_setting(key: str, document: str) -> Any:
    """Return a property of text."""
    return _converted_setting(key, document, str)


def permutation_setting(key: str, document: str) -> Any:
    """Return a property that is an order of axes."""

    def read(self: Any) -> Any:
        return self._api.Permutation(self._state.get(key) or range(8))

    def write(self: Any, value: Any) -> None:
        self._state.change(key, tuple(self._api.Permutation(tuple(value))))

    return property(read, write, doc=document)


def weights_setting(key: str, document: str) -> Any:
    """Return a property of weights: read as a flat array, set from an array or `Weights`."""

    def read(self: Any) -> Any:
        value = self._state.get(key)
        return np.zeros(0, np.float32) if value is None else np.asarray(value).ravel()

    def write(self: Any, value: Any) -> None:
        self._state.change(key, weights_array(value))

    return property(read, write, doc=document)


def weights_array(value: Any) -> Array | None:
    """Return the array of weights given as `Weights`, as an array or not at all; an empty one is none."""
    if value is None:
        return None
    array = value if isinstance(value, np.ndarray) else value.numpy()
    if not isinstance(array, np.ndarray):
        raise EmulationError(
            f"Weights of type {value.dtype.name} are not emulated in networks made by hand: NumPy has no such type.",
            fix="Give them in FP32 and add a cast.",
        )
    return array if array.size else None
