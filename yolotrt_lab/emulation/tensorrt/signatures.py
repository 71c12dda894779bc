"""Argument checking in pybind11's manner, from the signatures of NVIDIA's bindings.

A call that fits no overload raises the `TypeError` the real bindings raise, with the same words, so a student who meets
it here has met it before on a GPU.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable, Collection, ItemsView, KeysView, Mapping, Sequence, Set, ValuesView
from dataclasses import dataclass
from types import GeneratorType
from typing import Any

__all__ = ["Parameter", "Signature", "checked", "checked_setter", "default_values", "incompatible", "parse_signature"]

_MODULE = "tensorrt.tensorrt"
_NULLABLE = frozenset({"output_allocator", "runtime_config", "path", "kernel_text"})
_PACKAGES = {
    "SupportsInt": "typing", "SupportsFloat": "typing", "Sequence": "collections.abc", "Iterable": "collections.abc",
    "Callable": "collections.abc", "Buffer": "typing_extensions", "CapsuleType": "typing_extensions",
}  # fmt: skip
_CONVERTED: dict[str, Callable[[Any], Any]] = {"SupportsInt": int, "bool": bool}
_UNNAMED = re.compile(r"arg\d+")
_MAX_DIMS = 8
_FLOATLIKE = ("float", "float16", "float32", "float64", "float128", "longdouble", "str", "bytes")


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, its type as NVIDIA writes it, and its default's text or None."""

    name: str
    kind: str
    default: str | None = None


@dataclass(frozen=True)
class Signature:
    """One overload of a function, without `self`."""

    text: str
    parameters: tuple[Parameter, ...]

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], types: Mapping[str, type]
    ) -> tuple[list[Any], dict[str, Any]] | None:
        """Return the arguments, integers and truths converted, if they fit; otherwise None."""
        if len(args) > len(self.parameters):
            return None
        rest = dict(kwargs)
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for index, parameter in enumerate(self.parameters):
            if index < len(args):
                value = args[index]
            elif parameter.name in rest and not _UNNAMED.fullmatch(parameter.name):
                value = rest.pop(parameter.name)
            elif parameter.default is not None:
                continue
            else:
                return None
            if not _fits(value, parameter, types):
                return None
            value = _CONVERTED[parameter.kind](value) if parameter.kind in _CONVERTED else value
            if index < len(args):
                positional.append(value)
            else:
                named[parameter.name] = value
        return None if rest else (positional, named)


@functools.cache
def parse_signature(text: str) -> Signature:
    """Parse `(name: type = default, ...) -> type`.

    Example:
        >>> [p.name for p in parse_signature("(name: str, shape: Sequence[SupportsInt]) -> bool").parameters]
        ['name', 'shape']
    """
    inside = text[1 : text.rindex(")")] if " -> " not in text else text[1 : text.rindex(") -> ")]
    parameters = []
    for piece in _split(inside):
        name, _, rest = piece.partition(":")
        kind, equals, default = rest.partition("=")
        parameters.append(Parameter(name.strip(), kind.strip(), default.strip() if equals else None))
    return Signature(text, tuple(parameters))


def checked(
    function: Callable[..., Any],
    *,
    name: str,
    class_name: str,
    overloads: Sequence[str],
    types: Mapping[str, type],
    known: Collection[str],
    static: bool = False,
) -> Callable[..., Any]:
    """Return `function` behind the argument check.

    Args:
        function: A method, its first argument `self`; a function without one if `static`.
        name: The method's name.
        class_name: The class it belongs to.
        overloads: NVIDIA's signatures.
        types: API classes and enums by name; the classes are filled in later than this is called.
        known: The names of all of them.
        static: Whether there is no `self`.
    """
    signatures = [parse_signature(text) for text in overloads]
    defaults = [default_values(signature, types) for signature in signatures]

    def fit(owner: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        for signature, values in zip(signatures, defaults, strict=True):
            bound = signature.bind(args, kwargs, types)
            if bound is not None:
                missing = {name: value for name, value in values.items() if name not in bound[1]} if values else {}
                for parameter in signature.parameters[: len(bound[0])]:
                    missing.pop(parameter.name, None)
                return bound[0], {**bound[1], **missing}
        raise TypeError(_complaint(owner, args, kwargs, name, class_name, signatures, known))

    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        positional, named = fit((self,), args, kwargs)
        return function(self, *positional, **named)

    @functools.wraps(function)
    def call_static(*args: Any, **kwargs: Any) -> Any:
        positional, named = fit((), args, kwargs)
        return function(*positional, **named)

    made = call_static if static else call
    made.__doc__ = describe_call(name, "" if static else class_name, overloads, function.__doc__ or "", known)
    made.__qualname__, made.__module__ = f"{class_name}.{name}".lstrip("."), _MODULE
    if len(signatures) == 1:
        made.__signature__ = _python_signature(signatures[0], defaults[0], static=static)  # type: ignore[attr-defined]
    return made


def checked_setter(
    setter: Callable[[Any, Any], None], *, text: str, types: Mapping[str, type], known: Collection[str]
) -> Callable[[Any, Any], None]:
    """Return a property's setter behind the check of the value's type.

    Args:
        setter: The setter.
        text: NVIDIA's signature of it, the object first.
        types: API classes and enums by name, filled in later.
        known: The names of all of them.
    """
    value_parameter = parse_signature(text).parameters[1]

    @functools.wraps(setter)
    def assign(self: Any, value: Any) -> None:
        kind = value_parameter.kind
        # What a setter takes by pointer may be taken back by None.
        nothing = value is None and kind.startswith("I") and not hasattr(types.get(kind), "__members__")
        if not nothing and not _fits(value, value_parameter, types):
            raise TypeError(incompatible("", _qualified(text, known), self, value))
        convert = float if kind == "SupportsFloat" else _CONVERTED.get(kind)
        setter(self, value if convert is None else convert(value))

    return assign


def default_values(signature: Signature, types: Mapping[str, type]) -> dict[str, Any]:
    """Return the values of the parameters that have a default, by name; enums must be in `types` already."""
    return {p.name: _value(p, types) for p in signature.parameters if p.default is not None}


def _value(parameter: Parameter, types: Mapping[str, type]) -> Any:
    text = parameter.default or "None"
    member = re.fullmatch(r"<\w+\.(\w+): \d+>", text)
    return getattr(types[parameter.kind], member.group(1)) if member else ast.literal_eval(text)


def _python_signature(signature: Signature, defaults: Mapping[str, Any], *, static: bool) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    empty = inspect.Parameter.empty
    parameters = [] if static else [inspect.Parameter("self", kind)]
    for index, item in enumerate(signature.parameters):
        # NVIDIA has a parameter without default behind ones with; Python cannot say that.
        sayable = all(later.name in defaults for later in signature.parameters[index:])
        default = defaults.get(item.name, empty) if sayable else empty
        parameters.append(inspect.Parameter(item.name, kind, default=default, annotation=item.kind or empty))
    returned = signature.text.rpartition(") -> ")[2] if ") -> " in signature.text else inspect.Signature.empty
    return inspect.Signature(parameters, return_annotation=returned)


def describe_call(name: str, class_name: str, overloads: Sequence[str], document: str, known: Collection[str]) -> str:
    """Return a docstring in pybind11's form: the signatures first, then the text."""
    texts = [f"{name}{_with_self(text, class_name, known)}" for text in overloads]
    if len(texts) == 1:
        return f"{texts[0]}\n\n{document}"
    numbered = [f"{number}. {text}" for number, text in enumerate(texts, 1)]
    return "\n".join([f"{name}(*args, **kwargs)", "Overloaded function.", "", *numbered, "", document])


def _with_self(text: str, class_name: str, known: Collection[str]) -> str:
    qualified = _qualified(text, known)
    if not class_name:
        return qualified
    inside = qualified[1:]
    return f"(self: {_MODULE}.{class_name}{'' if inside.startswith(')') else ', '}{inside}"


def incompatible(name: str, text: str, *given: Any) -> str:
    """Return the complaint of a module's function with one signature about its arguments."""
    complaint = f"{name}(): incompatible function arguments. The following argument types are supported:"
    return f"{complaint}\n    1. {text}\n\nInvoked with: {', '.join(map(repr, given))}"


def _complaint(
    owner: Sequence[Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    name: str,
    class_name: str,
    signatures: Sequence[Signature],
    known: Collection[str],
) -> str:
    constructor = name == "__init__"
    what = "constructor" if constructor else "function"
    lines = [f"{name}(): incompatible {what} arguments. The following argument types are supported:"]
    for number, signature in enumerate(signatures, 1):
        if constructor:
            text = _qualified(signature.text, known)
            lines.append(f"    {number}. {_MODULE}.{class_name}{text.removesuffix(' -> None')}")
        else:
            lines.append(f"    {number}. {_with_self(signature.text, class_name if owner else '', known)}")
    shown = [repr(value) for value in (args if constructor else (*owner, *args))]
    named = "kwargs: " + ", ".join(f"{key}={value!r}" for key, value in kwargs.items()) if kwargs else ""
    invoked = "; ".join(text for text in (", ".join(shown), named) if text)
    return "\n".join([*lines, "", f"Invoked with: {invoked}"])


def _qualified(text: str, known: Collection[str]) -> str:
    def qualify(match: re.Match[str]) -> str:
        word = match.group(0)
        if word in _PACKAGES:
            return f"{_PACKAGES[word]}.{word}"
        return f"{_MODULE}.{word}" if word in known else word

    return re.sub(r"(?<![<.\w])[A-Za-z_][\w.]*", qualify, text)


def _split(text: str) -> list[str]:
    """Split at commas outside brackets."""
    pieces, depth, current = [], 0, ""
    for character in text:
        depth += character in "[(<"
        depth -= character in "])>"
        if character == "," and depth == 0:
            pieces.append(current)
            current = ""
        else:
            current += character
    return [piece for piece in [*pieces, current] if piece.strip()]


def _fits(value: Any, parameter: Parameter, types: Mapping[str, type]) -> bool:
    kind = parameter.kind
    if kind == "bool":
        return _is_truth(value)
    if value is None:
        return parameter.name in _NULLABLE or parameter.default == "None" or kind in ("object", "", "CapsuleType")
    plain = _PLAIN.get(kind)
    if plain is not None:
        return plain(value)
    if kind == "Dims":
        return _has_items(value) and len(value) <= _MAX_DIMS and all(_is_integer(item) for item in value)
    if kind.startswith("Sequence[") or kind.startswith("Iterable"):
        return _is_sequence(value, kind, types)
    if kind == "FallbackString" and isinstance(value, str):
        return True
    if kind == "Permutation" and isinstance(value, (tuple, list)):
        return all(_is_integer(item) for item in value)  # the bindings convert lists to permutations
    if kind == "Weights" and type(value).__name__ == "ndarray":
        return True  # the bindings convert arrays to Weights
    expected = types.get(kind)
    # A class that is not emulated has no instances, so any value for it is wrong.
    return expected is not None and isinstance(value, expected)


def _is_sequence(value: Any, kind: str, types: Mapping[str, type]) -> bool:
    gathered = isinstance(value, (GeneratorType, Set, KeysView, ValuesView, ItemsView))
    if not gathered and not _has_items(value):
        return False
    if isinstance(value, GeneratorType):
        return True  # looking at its items would use them up
    item_kind = kind[kind.index("[") + 1 : -1] if "[" in kind else "object"
    return all(_fits(item, Parameter("", item_kind), types) for item in value)


def _has_items(value: Any) -> bool:
    """Return whether Python takes a value for a sequence, strings excepted."""
    plain = not isinstance(value, (str, bytes, Mapping, Set))
    return plain and hasattr(type(value), "__getitem__") and hasattr(type(value), "__len__")


def _is_integer(value: Any) -> bool:
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 64
    return type(value).__name__ not in _FLOATLIKE and (hasattr(value, "__index__") or hasattr(value, "__int__"))


def _is_truth(value: Any) -> bool:
    """Return whether pybind11 takes a value for a bool: None, and what says itself whether it is true; no sequence."""
    if not hasattr(type(value), "__bool__"):
        return False
    try:
        return bool(value) in (True, False)
    except Exception:  # an array of several elements, or a program's class
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (hasattr(value, "__float__") and not isinstance(value, (str, bytes)))


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


_PLAIN: dict[str, Callable[[Any], bool]] = {
    "SupportsInt": _is_integer,
    "SupportsFloat": _is_number,
    "str": lambda value: isinstance(value, (str, bytes)),
    "tuple": lambda value: isinstance(value, tuple),
    "list": lambda value: isinstance(value, list),
    "slice": lambda value: isinstance(value, slice),
    "object": lambda value: True,
    "": lambda value: True,
    "Buffer": _is_buffer,
    "CapsuleType": lambda value: type(value).__name__ == "PyCapsule" or hasattr(type(value), "_is_api_class"),
    "Callable": callable,
    "numpy.ndarray": lambda value: type(value).__name__ == "ndarray",
}
