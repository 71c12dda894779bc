"""What all of the emulated `pycuda.driver` rests on: its errors and the calling thread's context stack.

The texts of the errors are those of PyCUDA 2026.1 on a GPU; what the emulation adds stands in brackets.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

from yolotrt_lab.emulation.memory import DeviceFault

__all__ = [
    "ArgumentError",
    "Error",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "RuntimeError",
    "context_stack",
    "cuda_call",
    "forget_contexts",
    "initialise",
    "integer",
    "need_context",
    "need_initialisation",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_WORDS = {
    "illegal address": "an illegal memory access was encountered",
    "invalid value": "invalid argument",
    "invalid handle": "invalid resource handle",
    "out of memory": "out of memory",
}


class Error(Exception):
    """Base of PyCUDA's errors."""


class LogicError(Error):
    """The program used CUDA wrongly."""


class MemoryError(Error):
    """The device has not enough memory left."""


class RuntimeError(Error):
    """CUDA could not do what was asked."""


class LaunchError(Error):
    """A kernel failed."""


class ArgumentError(TypeError):
    """An argument has a type that PyCUDA's C++ code does not take."""


ArgumentError.__module__ = "Boost.Python"

for _error in (Error, LogicError, MemoryError, RuntimeError, LaunchError):
    _error.__module__ = "pycuda._driver"


def _raise(function: str, fault: DeviceFault) -> NoReturn:
    kind = MemoryError if fault.kind == "out of memory" else LogicError
    raise kind(f"{function} failed: {_WORDS[fault.kind]} [emulation: {fault.detail}]") from None


def cuda_call(function: str, *, explicit: bool = False) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Check for a current context, and turn device faults into PyCUDA's errors.

    Args:
        function: The driver function PyCUDA names in its errors.
        explicit: Whether PyCUDA itself checks for the context, in its own words.
    """

    def decorate(call: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(call)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            need_context(function, explicit=explicit)
            try:
                return call(*args, **kwargs)
            except DeviceFault as fault:
                _raise(function, fault)

        return wrapped

    return decorate


_stacks = threading.local()
_initialised = False


def initialise() -> None:
    """Note that `pycuda.driver.init` was called."""
    global _initialised
    _initialised = True


def need_initialisation(function: str) -> None:
    """Refuse to go on before `pycuda.driver.init`.

    Raises:
        LogicError: It was not called.
    """
    if not _initialised:
        raise LogicError(f"{function} failed: initialization error")


def forget_contexts() -> None:
    """Take every thread's contexts off its stack, as the end of a process does, and ask for `init` again."""
    global _stacks, _initialised
    _stacks, _initialised = threading.local(), False


def context_stack() -> list[Any]:
    """Return the calling thread's contexts, the current one last."""
    if not hasattr(_stacks, "contexts"):
        _stacks.contexts = []
    contexts: list[Any] = _stacks.contexts
    return contexts


def need_context(function: str, *, explicit: bool = False) -> None:
    """Refuse to go on without a current context.

    Raises:
        LogicError: The calling thread has none.
    """
    if context_stack():
        return
    if explicit:
        raise LogicError("explicit_context_dependent failed: invalid device context - no currently active context?")
    need_initialisation(function)
    raise LogicError(f"{function} failed: invalid device context")


def integer(value: Any, signature: str, arguments: tuple[Any, ...]) -> int:
    """Return an integer argument; like Boost.Python, take Python's own integers and PyCUDA's pointers only.

    Args:
        value: The argument.
        signature: The C++ signature for the message, "mem_alloc(unsigned long)".
        arguments: All arguments of the call, for the message.

    Raises:
        ArgumentError: It is something else, a NumPy integer for instance.
    """
    if isinstance(value, int) or hasattr(value, "get_pointer") or type(value).__name__ == "DeviceAllocation":
        return int(value)
    shown = ", ".join(_type_name(argument) for argument in arguments)
    function = signature.partition("(")[0]
    lines = ("Python argument types in", f"    pycuda._driver.{function}({shown})")
    raise ArgumentError("\n".join([*lines, "did not match C++ signature:", f"    {signature}"]))


def _type_name(value: Any) -> str:
    module = type(value).__module__
    return type(value).__name__ if module == "builtins" else f"{module}.{type(value).__name__}"
