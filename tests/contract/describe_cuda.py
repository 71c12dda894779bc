"""Describe NVIDIA's `cuda.bindings` as JSON: names, parameters, numbers of results, numbers, fields, error texts.

Run as a program inside an interpreter that can import `cuda.bindings`; prints the description to stdout. No GPU and no
driver are needed: the modules import without, and the texts of the runtime's errors are part of them.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from typing import Any

_SECTIONS = re.compile(r"\n(?=[A-Z][A-Za-z ]+\n-{3,}\n)")


def describe(module: types.ModuleType) -> dict[str, Any]:
    """Return the public interface of one module."""
    result: dict[str, Any] = {"functions": {}, "constants": {}, "enums": {}, "types": {}}
    for name in sorted(vars(module)):
        value = getattr(module, name)
        if name.startswith("_") or name in ("Any", "Optional", "ctypes", "cuda") or inspect.ismodule(value):
            continue
        if inspect.isclass(value) and getattr(value, "__members__", None):
            result["enums"][name] = {member: int(number) for member, number in value.__members__.items()}
        elif inspect.isclass(value):
            result["types"][name] = describe_type(value)
        elif callable(value):
            result["functions"][name] = signature(value)
        elif isinstance(value, int):
            result["constants"][name] = int(value)
    return result


def describe_type(cls: type) -> str:
    """Return "Base: field, field=Structure"; handles have no fields."""
    base = cls.__mro__[1]
    names = [name for name in dir(cls) if not name.startswith("_") and name != "getPtr"]
    fields = [name + structure_of(cls, name) for name in names]
    return f"{'' if base is object else base.__name__}: {', '.join(fields)}".strip()


def structure_of(cls: type, field: str) -> str:
    """Return "=Structure" for a field that holds one."""
    try:
        kind = type(getattr(cls(), field))
    except Exception:
        return ""  # cannot be made, or read before it was set
    nested = kind.__module__.startswith("cuda.") and not hasattr(kind, "__members__") and hasattr(kind, "getPtr")
    return f"={kind.__name__}" if nested else ""


def signature(function: Any) -> str:
    """Return "parameter, parameter -> results"; the error code counts as a result, and ? says it is not documented."""
    parameters = ", ".join(inspect.signature(function).parameters)
    document = inspect.getdoc(function) or ""
    for section in _SECTIONS.split(document):
        if section.startswith("Returns\n-------\n"):
            results = [line for line in section.splitlines()[2:] if line and not line.startswith(" ")]
            return f"{parameters} -> {len(results)}"
    return f"{parameters} -> ?"


def error_texts(runtime: types.ModuleType) -> dict[str, str]:
    """Return what every error code means, in CUDA's words."""
    codes = runtime.cudaError_t.__members__.values()
    return {str(int(code)): runtime.cudaGetErrorString(code)[1].decode() for code in codes}


if __name__ == "__main__":
    import cuda.bindings
    from cuda.bindings import driver, nvrtc, runtime

    description = {
        "version": cuda.bindings.__version__,
        "runtime": describe(runtime),
        "driver": describe(driver),
        "nvrtc": describe(nvrtc),
        "error_texts": error_texts(runtime),
    }
    print(json.dumps(description, indent=1))
