"""Describe NVIDIA's TensorRT bindings as JSON: every public name, number and signature, and no prose.

Run as a program inside an interpreter that can import NVIDIA's `tensorrt`; prints the description to stdout. It depends
on nothing but that module, because the bindings are imported in an interpreter of their own.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import types
from typing import Any

INDEXING = ("__getitem__", "__setitem__", "__len__", "__bool__")
SPECIAL = (
    "__contains__",
    "__del__",
    "__delitem__",
    "__enter__",
    "__eq__",
    "__exit__",
    "__hash__",
    "__iter__",
    "__ne__",
)
# Names that NVIDIA's package offers because its `__init__` uses them, not as part of the interface.
_LEAKED_NAMES = ("attr", "common_enter", "common_exit", "ctypes", "os", "sys", "value", "warnings")
_PREFIXES = re.compile(
    r"\b(?:tensorrt(?:_bindings)?\.tensorrt\.|nvinfer1::(?:\w+::)*|nvonnxparser::(?:\w+::)*|typing\.|typing_extensions\.|"
    r"collections\.abc\.|detail::(?:\w+(?:::|<[^>]*>))*)"
)


def describe(module: types.ModuleType) -> dict[str, Any]:
    """Return the public interface of the bindings."""
    plugin = importlib.import_module("tensorrt.plugin")
    result: dict[str, Any] = {
        "version": module.__version__,
        "aliases": {},
        "functions": {},
        "enums": {},
        "ordered_enums": [],
        "leaked": [name for name in _LEAKED_NAMES if hasattr(module, name)],
        "plugin_names": [name for name in sorted(vars(plugin)) if not name.startswith("_")],
        "classes": {},
    }
    for name in sorted(vars(module)):
        value = getattr(module, name)
        if name.startswith("_") or name in _LEAKED_NAMES or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            _describe_type(value, name, result)
        elif hasattr(type(value), "__members__"):
            result["aliases"][name] = f"{type(value).__name__}.{value.name}"
        elif callable(value):
            result["functions"][name] = signatures(value, name)
    return result


def _describe_type(cls: type, name: str, result: dict[str, Any]) -> None:
    if hasattr(cls, "__members__"):
        result["enums"][name] = {member: int(value) for member, value in cls.__members__.items()}
        if "__lt__" in vars(cls):
            result["ordered_enums"].append(name)
        return
    entry: dict[str, Any] = {
        "bases": [base.__name__ for base in cls.__bases__ if not base.__name__.startswith("pybind11")],
        "init": [text for text in signatures(cls.__init__, "__init__") if "*args" not in text],
        "methods": {},
        "properties": {},
        "kinds": {},
        "setters": {},
        "constants": {},
        "special": [member for member in SPECIAL if vars(cls).get(member) is not None],
        "static": sorted(member for member, value in vars(cls).items() if isinstance(value, staticmethod)),
    }
    for member, value in sorted(vars(cls).items()):
        if member.startswith("_") and member not in INDEXING:
            continue
        if inspect.isclass(value):
            if value.__qualname__ == f"{name}.{member}":  # not an alias of another class's
                _describe_type(value, f"{name}.{member}", result)
        elif type(value).__name__ == "pybind11_static_property":
            entry["constants"][member] = str(getattr(cls, member))
        elif isinstance(value, property):
            entry["properties"][member] = "r" if value.fset is None else "rw"
            if kind := _kind(value):
                entry["kinds"][member] = kind
            if value.fset is not None:
                entry["setters"][member] = _PREFIXES.sub("", (inspect.getdoc(value.fset) or "").strip())
        elif hasattr(type(value), "__members__"):
            entry["constants"][member] = f"{type(value).__name__}.{value.name}"
        elif callable(value) or isinstance(value, (staticmethod, classmethod)):
            entry["methods"][member] = signatures(value, member)
    kept = {key: value for key, value in entry.items() if value or key in ("bases", "init")}
    result["classes"][name] = kept


def _kind(value: property) -> str:
    """Return the documented type of a property's value."""
    document = inspect.getdoc(value.fget) or ""
    return _PREFIXES.sub("", document.splitlines()[0].rpartition(" -> ")[2]) if " -> " in document else ""


def signatures(function: Any, name: str) -> list[str]:
    """Return every overload as `(name: type, ...) -> type`, without `self`."""
    document = inspect.getdoc(getattr(function, "__func__", function)) or ""
    found = []
    for line in document.splitlines():
        match = re.match(rf"(?:\d+\. )?{re.escape(name)}(\(.*\)(?: -> .*)?)\s*$", line.strip())
        if match and match.group(1) not in ("(*args, **kwargs)",):
            found.append(_tidy(match.group(1)))
    if found:
        return found
    try:
        return [str(inspect.signature(function)).replace("this, ", "")]
    except (TypeError, ValueError):
        return []


def _tidy(signature: str) -> str:
    text = _PREFIXES.sub("", signature).replace("IParserError", "ParserError").removesuffix(" -> ")
    if not text.startswith("(self"):
        return text
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([<") - (character in ")]>")
        if character == "," and depth == 1:
            return "(" + text[place + 1 :].lstrip()
        if depth == 0:
            return "(" + text[place:]
    return text


if __name__ == "__main__":
    json.dump(describe(importlib.import_module("tensorrt")), sys.stdout, indent=1)
    sys.stdout.write("\n")
