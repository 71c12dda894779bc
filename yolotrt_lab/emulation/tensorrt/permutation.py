"""The emulated permutation of a shuffle layer."""

from __future__ import annotations

from collections.abc import Sequence

from yolotrt_lab.emulation.tensorrt.objects import ApiObject

__all__ = ["Permutation"]

_LENGTH = 8


class Permutation(ApiObject):
    """An order of dimensions: eight numbers, of which a layer looks at as many as its tensor has dimensions."""

    def __init__(self, order: Sequence[int] = (), /) -> None:
        super().__init__()
        values = [int(item) for item in order]
        if len(values) > _LENGTH:
            raise ValueError(f"Invalid input length. Max expected length is {_LENGTH}")
        self._values = values + [0] * (_LENGTH - len(values))

    def __len__(self) -> int:
        return _LENGTH

    def __getitem__(self, index: int) -> int:
        return self._values[self._checked(index)]

    def __setitem__(self, index: int, value: int) -> None:
        self._values[self._checked(index)] = value

    def __repr__(self) -> str:
        return repr(tuple(self._values))

    def __str__(self) -> str:
        return repr(self)

    def _checked(self, index: int) -> int:
        if not -_LENGTH <= index < _LENGTH:
            raise IndexError("Out of bounds")
        return index
