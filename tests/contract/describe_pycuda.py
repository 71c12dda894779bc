"""Describe PyCUDA as JSON: functions and their parameters, enumerations and their numbers, classes and their members.

Run as a program on a machine with a GPU and PyCUDA; prints `vendor_api/pycuda_2026.json` to stdout. PyCUDA is mostly
C++: parameters and numbers come from the signatures that Boost.Python writes into docstrings.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from typing import Any

# Python's own, and what PyCUDA imports from elsewhere.
_FOREIGN = frozenset(
    {"annotations", "base_dtype_to_ctype", "get_or_register_dtype", "init_cuda_context_fixture", "mark_cuda_test"}
    | {"memoize", "memoize_method", "reduce", "register_dtype"}
)
_OF_EXCEPTIONS = frozenset({"add_note", "args", "with_traceback"})


def describe(module: types.ModuleType) -> dict[str, Any]:
    """Return the public interface of one module."""
    result: dict[str, Any] = {"functions": {}, "enums": {}, "classes": {}}
    for name in sorted(vars(module)):
        value = getattr(module, name)
        if name.startswith("_") or name in _FOREIGN or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            numbers = {member: int(getattr(value, member)) for member in dir(value) if is_number(value, member)}
            bases = [base.__name__ for base in value.__mro__[1:-1]]
            if numbers and ("enum" in bases or name.endswith("_flags")):
                result["enums"][name] = numbers
            else:
                members = [m for m in dir(value) if not m.startswith("_") and m not in _OF_EXCEPTIONS]
                result["classes"][name] = f"{bases[0] if bases else ''}: {', '.join(members)}"
        elif callable(value):
            result["functions"][name] = parameters(value)
    return result


def is_number(kind: type, member: str) -> bool:
    """Return whether a member is one of an enumeration's numbers."""
    return not hasattr(int, member) and isinstance(getattr(kind, member), int)


def parameters(function: Any) -> str:
    """Return the names of a function's parameters."""
    try:
        return ", ".join(
            ("*" if item.kind is item.VAR_POSITIONAL else "**" if item.kind is item.VAR_KEYWORD else "") + name
            for name, item in inspect.signature(function).parameters.items()
        )
    except ValueError:
        found = re.match(r"\w+\((.*?)\) -> ", (function.__doc__ or "").strip(), re.DOTALL)
        return ", ".join(re.findall(r"\(\w+\)(\w+)", found.group(1))) if found else ""


if __name__ == "__main__":
    import pycuda
    import pycuda.driver
    import pycuda.gpuarray
    import pycuda.tools

    description = {
        "version": pycuda.VERSION_TEXT,
        **{name: describe(getattr(pycuda, name)) for name in ("driver", "gpuarray", "tools")},
    }
    print(json.dumps(description, indent=1))
