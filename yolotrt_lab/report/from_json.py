"""Turn JSON into frozen dataclasses, naming the exact place of whatever does not fit."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from yolotrt_lab.errors import InputError

__all__ = ["value_from_json"]

_Value = TypeVar("_Value")
_KIND_NAMES: dict[type, str] = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


def value_from_json(kind: type[_Value], value: object, *, path: str = "") -> _Value:
    """Return `value` as `kind`, checked all the way down.

    Understands text, numbers, booleans, None, `Literal`, enums, `tuple`, `Mapping[str, ...]`, unions, `Any`,
    dataclasses (by their fields), and classes with a `from_json` class method. Unknown keys are ignored, so that
    newer results still load.

    Args:
        kind: The type to make.
        value: What `json.loads` returned.
        path: Where `value` stands, for messages ("engines.fp16").

    Raises:
        InputError: Something is missing or of another type; the message names the place, what belongs there and what
            is there.

    Example:
        >>> value_from_json(tuple[int, ...], [1, 2])  # doctest: +SKIP
        (1, 2)
    """
    result: _Value = _decode(kind, value, path or "results")
    return result


def _refuse(path: str, expected: str, value: object) -> InputError:
    shown = repr(value)
    return InputError(
        f"{path} is not what belongs there.",
        expected=expected,
        got=shown if len(shown) <= 80 else f"{shown[:77]}...",
        fix="The schema is described in yolotrt_lab/report/schema.py.",
    )


def _decode(kind: Any, value: object, path: str) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return _checked_finite(value, path)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), value, path)
    if origin is Literal:
        if value not in get_args(kind):
            raise _refuse(path, " or ".join(map(repr, get_args(kind))), value)
        return value
    if origin is tuple:
        return _decode_tuple(get_args(kind), value, path)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _refuse(path, "an object", value)
        return {str(key): _decode(get_args(kind)[1], item, f"{path}.{key}") for key, item in value.items()}
    return _decode_class(kind, value, path)


def _decode_class(kind: Any, value: object, path: str) -> Any:
    if kind in _KIND_NAMES:
        return _decode_scalar(kind, value, path)
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            raise _refuse(path, " or ".join(repr(member.value) for member in kind), value) from None
    if not isinstance(value, Mapping):
        raise _refuse(path, f"an object ({kind.__name__})", value)
    if hasattr(kind, "from_json"):
        try:
            return kind.from_json(value)
        except InputError as error:
            raise InputError(f"{path}: {error.what}", expected=error.expected, got=error.got, fix=error.fix) from error
    return _decode_dataclass(kind, value, path)


def _decode_scalar(kind: type, value: object, path: str) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _refuse(path, _KIND_NAMES[kind], value)
    return _checked_finite(value, path)


def _checked_finite(value: object, path: str) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise _refuse(path, "a finite number", value)
    if isinstance(value, Mapping):
        return {str(key): _checked_finite(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_checked_finite(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def _decode_union(kinds: tuple[Any, ...], value: object, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    candidates = [kind for kind in kinds if kind is not type(None)]
    for kind in candidates[:-1]:
        try:
            return _decode(kind, value, path)
        except InputError:
            continue
    return _decode(candidates[-1], value, path)


def _decode_tuple(kinds: tuple[Any, ...], value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _refuse(path, "a list", value)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise _refuse(path, f"a list of {len(kinds)}", value)
    return tuple(
        _decode(kind, item, f"{path}[{index}]") for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _decode_dataclass(kind: Any, value: Mapping[Any, object], path: str) -> Any:
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            arguments[field.name] = _decode(hints[field.name], value[field.name], f"{path}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _missing(field.name, list(map(str, value)), path)
    return kind(**arguments)


def _missing(name: str, present: list[str], path: str) -> InputError:
    close = difflib.get_close_matches(name, present, n=1)
    return InputError(
        f"{path}.{name} is missing.",
        expected=f"the key {name!r}",
        got=", ".join(present) or "an empty object",
        fix=f"Is {close[0]!r} meant to be {name!r}?" if close else "The schema is in yolotrt_lab/report/schema.py.",
    )
