"""Enumerations that behave like pybind11's: equal only to their own kind, convertible to int, not iterable."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn

__all__ = ["ApiEnum", "make_enum"]


_MODULE = "tensorrt.tensorrt"
_INT_BITS = 31


class _EnumMeta(type):
    _members: Mapping[str, ApiEnum]

    @property
    def __members__(cls) -> dict[str, ApiEnum]:
        """The members by name, in NVIDIA's order."""
        return dict(cls._members)

    def __iter__(cls) -> Iterator[Any]:
        raise TypeError("'pybind11_type' object is not iterable")

    def __len__(cls) -> int:
        raise TypeError("object of type 'pybind11_type' has no len()")

    def __bool__(cls) -> bool:
        return True

    def __getattr__(cls, name: str) -> NoReturn:
        raise _missing(f"type object '{_MODULE}.{cls.__qualname__}'", name)

    def __dir__(cls) -> list[str]:
        """Return what NVIDIA's class shows too."""
        return [name for name in super().__dir__() if name.startswith("__") or not name.startswith("_")]


class ApiEnum(metaclass=_EnumMeta):
    """Base of the emulated enumerations."""

    __slots__ = ("_value",)
    _members: ClassVar[dict[str, ApiEnum]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = kwargs.get("value") if not args and set(kwargs) == {"value"} else None
        given = args[0] if len(args) == 1 and not kwargs else given
        if isinstance(given, float) or not hasattr(given, "__int__") or abs(int(given)) >> _INT_BITS:  # type: ignore[arg-type]
            raise TypeError(_complaint(type(self), args, kwargs))
        object.__setattr__(self, "_value", int(given))  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The member's name."""
        return next((name for name, member in self._members.items() if int(member) == int(self)), "???")

    @property
    def value(self) -> int:
        """The member's number."""
        return int(self)

    @property
    def __members__(self) -> dict[str, ApiEnum]:
        """The enumeration's members by name."""
        return dict(self._members)

    def __int__(self) -> int:
        number: int = self._value
        return number

    def __index__(self) -> int:
        return int(self)

    def __float__(self) -> float:
        return float(int(self))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and int(other) == int(self)

    def __hash__(self) -> int:
        return hash(int(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {int(self)}>"

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __format__(self, specification: str) -> str:
        if specification:
            raise TypeError(f"unsupported format string passed to {_MODULE}.{type(self).__qualname__}.__format__")
        return str(self)

    def __getattr__(self, name: str) -> NoReturn:
        raise _missing(f"'{_MODULE}.{type(self).__qualname__}' object", name)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        if isinstance(getattr(type(self), name, None), property):
            raise AttributeError(f"property of '{type(self).__name__}' object has no setter")
        raise _missing(f"'{_MODULE}.{type(self).__qualname__}' object", name)

    def __getstate__(self) -> int:
        return int(self)

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (int(self),)


def make_enum(
    qualified_name: str, numbers: Mapping[str, int], *, document: str, ordered: bool = False
) -> type[ApiEnum]:
    """Return the enumeration with these members.

    Args:
        qualified_name: NVIDIA's name, "ILogger.Severity" for a nested one.
        numbers: The members' numbers by name.
        document: What it is for.
        ordered: Whether members can be compared with `<`.

    Example:
        >>> Mode = make_enum("Mode", {"NONE": 0, "INPUT": 1}, document="Direction.")
        >>> Mode.INPUT, int(Mode.INPUT), Mode(1) == Mode.INPUT, Mode.INPUT == 1
        (<Mode.INPUT: 1>, 1, True, False)
    """
    short = qualified_name.rpartition(".")[2]
    members: dict[str, Any] = {
        "__doc__": "\n\n".join([document, "Members:", *(f"  {name}" for name in numbers)]),
        "__module__": _MODULE,
        "__qualname__": qualified_name,
        "__slots__": (),
        "_members": {},
    }
    if ordered:
        members |= {f"__{name}__": _comparison(name) for name in ("lt", "le", "gt", "ge")}
    enum = _EnumMeta(short, (ApiEnum,), members)
    for name, number in numbers.items():
        member = enum(number)
        enum._members[name] = member  # type: ignore[index]
        setattr(enum, name, member)
    setattr(enum, "__entries", {name: (member, None) for name, member in enum._members.items()})  # as pybind11 does
    return enum  # type: ignore[return-value]


def _comparison(name: str) -> Callable[[Any, Any], bool]:
    def compare(self: ApiEnum, other: object) -> bool:
        if type(other) is not type(self):
            raise TypeError("Expected an enumeration of matching type!")
        return bool(getattr(operator, name)(int(self), int(other)))

    return compare


def _missing(owner: str, name: str) -> AttributeError:
    from yolotrt_lab.emulation.tensorrt.objects import missing_attribute

    return missing_attribute(owner, name)


def _complaint(enum: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    shown = ", ".join(repr(value) for value in args)
    named = "kwargs: " + ", ".join(f"{key}={value!r}" for key, value in kwargs.items()) if kwargs else ""
    return (
        "__init__(): incompatible constructor arguments. The following argument types are supported:\n"
        f"    1. {_MODULE}.{enum.__qualname__}(value: typing.SupportsInt)\n\n"
        f"Invoked with: {'; '.join(text for text in (shown, named) if text)}"
    )
