"""The emulated CUDA runtime as a C library that was opened with `ctypes`, and the one client that needs it: Polygraphy.

`polygraphy.cuda` opens libcudart by itself. Its wrapper gets the emulated library instead; `ctypes` is left alone, so
PyTorch and whoever else opens CUDA libraries finds what is there.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from yolotrt_lab.emulation.cuda import runtime
from yolotrt_lab.errors import EmulationError

__all__ = ["POLYGRAPHY_MODULE", "CtypesRuntime", "emulate_polygraphy_cuda", "forget_polygraphy_cuda"]

POLYGRAPHY_MODULE = "polygraphy.cuda.cuda"

_ORIGINAL = "_yolotrt_lab_original_init"


class CtypesRuntime:
    """Offers the emulated runtime's functions in the manner of C: results through pointers, error codes as integers.

    Example:
        >>> library, pointer = CtypesRuntime(), ctypes.c_void_p()
        >>> library.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(16)), library.cudaFree(pointer)
        (0, 0)
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        found = getattr(runtime, name)
        if not callable(found) or isinstance(found, type):
            raise AttributeError(f"libcudart has no function {name}")

        @functools.wraps(found)
        def call(*arguments: Any) -> int:
            # In C, results come first, as pointers to where they go.
            results = [pointer for pointer in map(_target, arguments) if pointer is not None]
            code, *values = found(*[_plain(argument) for argument in arguments[len(results) :]])
            if int(code) == 0:
                for target, value in zip(results, values, strict=True):
                    target.value = value if isinstance(value, float) else int(value)
            return int(code)

        setattr(self, name, call)
        return call


def _target(argument: Any) -> Any:
    """Return the ctypes object a pointer points to, None for other arguments."""
    if type(argument).__name__ == "CArgObject":  # what ctypes.byref makes; its type has no public name
        return argument._obj
    return argument.contents if isinstance(argument, ctypes._Pointer) else None


def _plain(argument: Any) -> Any:
    """Return the Python value of an argument; the null pointer is 0."""
    if isinstance(argument, ctypes._SimpleCData):
        return 0 if argument.value is None else argument.value
    if isinstance(argument, ctypes.Array):
        return ctypes.addressof(argument)
    if argument is None or isinstance(argument, int):
        return argument or 0
    raise EmulationError(
        "The emulated CUDA runtime cannot take this argument from ctypes.",
        expected="a ctypes value, byref(value), an array or an integer",
        got=type(argument).__name__,
        fix="Use cuda.bindings.runtime instead of ctypes.",
    )


def emulate_polygraphy_cuda(module: ModuleType) -> None:
    """Let Polygraphy's CUDA wrapper open the emulated runtime."""
    wrapper: Any = vars(module).get("Cuda")
    if wrapper is None or _ORIGINAL in vars(wrapper):
        return
    setattr(wrapper, _ORIGINAL, wrapper.__init__)

    def open_emulated_runtime(self: Any) -> None:
        self.handle = CtypesRuntime()

    wrapper.__init__ = open_emulated_runtime
    vars(module)["G_CUDA"] = None  # the wrapper it may have opened before


def forget_polygraphy_cuda(module: ModuleType) -> None:
    """Undo `emulate_polygraphy_cuda`."""
    wrapper: Any = vars(module).get("Cuda")
    if wrapper is None or _ORIGINAL not in vars(wrapper):
        return
    wrapper.__init__ = vars(wrapper)[_ORIGINAL]
    delattr(wrapper, _ORIGINAL)
    vars(module)["G_CUDA"] = None
