"""Enumerations that behave like pybind11's: equal only to their own kind, convertible to int, not iterable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

__all__ = ["ApiEnum", "make_enum"]


class _EnumMeta(type):
    _members: Mapping[str, ApiEnum]

    @property
    def __members__(cls) -> dict[str, ApiEnum]:
        """The members by name, in NVIDIA's order."""
        return dict(cls._members)

    def __iter__(cls) -> Iterator[Any]:
        raise TypeError("'pybind11_type' object is not iterable")

    def __getattr__(cls, name: str) -> Any:
        from yolotrt_lab.emulation.tensorrt.objects import missing_attribute

        raise missing_attribute(f"type object 'tensorrt.tensorrt.{cls.__name__}'", name)


class ApiEnum(metaclass=_EnumMeta):
    """Base of the emulated enumerations."""

    _members: ClassVar[dict[str, ApiEnum]] = {}
    _value: int

    def __init__(self, value: int) -> None:
        self._value = int(value)

    @property
    def name(self) -> str:
        """The member's name."""
        return next((name for name, member in self._members.items() if member._value == self._value), "???")

    @property
    def value(self) -> int:
        """The member's number."""
        return self._value

    def __int__(self) -> int:
        return self._value

    def __index__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {self._value}>"

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self._value,)


def make_enum(qualified_name: str, numbers: Mapping[str, int], *, document: str) -> type[ApiEnum]:
    """Return the enumeration with these members.

    Example:
        >>> Mode = make_enum("Mode", {"NONE": 0, "INPUT": 1}, document="Direction.")
        >>> Mode.INPUT, int(Mode.INPUT), Mode(1) == Mode.INPUT, Mode.INPUT == 1
        (<Mode.INPUT: 1>, 1, True, False)
    """
    short = qualified_name.rpartition(".")[2]
    enum = _EnumMeta(
        short,
        (ApiEnum,),
        {"__doc__": document, "__module__": "tensorrt.tensorrt", "__qualname__": qualified_name, "_members": {}},
    )
    for name, number in numbers.items():
        member = enum(number)
        enum._members[name] = member  # type: ignore[index]
        setattr(enum, name, member)
    return enum  # type: ignore[return-value]
