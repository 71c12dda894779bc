"""What all of the emulated `pycuda.driver` rests on: its errors and the calling thread's context stack."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

from yolotrt_lab.emulation.memory import DeviceFault

__all__ = [
    "Error",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "RuntimeError",
    "context_stack",
    "cuda_call",
    "need_context",
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


for _error in (Error, LogicError, MemoryError, RuntimeError, LaunchError):
    _error.__module__ = "pycuda._driver"


def _raise(function: str, fault: DeviceFault) -> NoReturn:
    kind = MemoryError if fault.kind == "out of memory" else LogicError
    raise kind(f"{function} failed: {_WORDS[fault.kind]} [emulation: {fault.detail}]") from None


def cuda_call(function: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Check for a current context, and turn device faults into PyCUDA's errors under the driver function's name."""

    def decorate(call: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(call)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            need_context()
            try:
                return call(*args, **kwargs)
            except DeviceFault as fault:
                _raise(function, fault)

        return wrapped

    return decorate


_stacks = threading.local()


def context_stack() -> list[Any]:
    """Return the calling thread's contexts, the current one last."""
    if not hasattr(_stacks, "contexts"):
        _stacks.contexts = []
    contexts: list[Any] = _stacks.contexts
    return contexts


def need_context() -> None:
    """Refuse to go on without a current context.

    Raises:
        LogicError: The calling thread has none.
    """
    if not context_stack():
        raise LogicError("explicit_context_dependent failed: invalid device context - no currently active context?")
