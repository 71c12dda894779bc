"""What all of the emulated `cuda.bindings.runtime` rests on: results as tuples, and the last error."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec

from yolotrt_lab.emulation.cuda.runtime_types import cudaError_t
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = ["handle_of", "runtime_call", "take_last_error"]

_P = ParamSpec("_P")
_log = logging.getLogger("yolotrt_lab.emulation")

_CODES = {
    "illegal address": cudaError_t.cudaErrorIllegalAddress,
    "invalid value": cudaError_t.cudaErrorInvalidValue,
    "invalid handle": cudaError_t.cudaErrorInvalidResourceHandle,
    "out of memory": cudaError_t.cudaErrorMemoryAllocation,
}

_last_error = cudaError_t.cudaSuccess


def runtime_call(*, results: int) -> Callable[[Callable[_P, Any]], Callable[_P, tuple[Any, ...]]]:
    """Return the function's result after the error code; on a device fault, the code and `results` times None."""

    def decorate(call: Callable[_P, Any]) -> Callable[_P, tuple[Any, ...]]:
        @functools.wraps(call)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> tuple[Any, ...]:
            try:
                value = call(*args, **kwargs)
            except DeviceFault as fault:
                _log.error("%s: %s", call.__name__, fault.detail)
                return (_note(_CODES[fault.kind]), *[None] * results)
            if isinstance(value, cudaError_t):
                return (_note(value), *[None] * results)
            if results == 0:
                return (cudaError_t.cudaSuccess,)
            return (cudaError_t.cudaSuccess, *(value if results > 1 else [value]))

        return wrapped

    return decorate


def _note(code: cudaError_t) -> cudaError_t:
    global _last_error
    if code not in (cudaError_t.cudaSuccess, cudaError_t.cudaErrorNotReady):
        _last_error = code
    return code


def handle_of(value: Any) -> int:
    """Return the integer of a stream or event; None is the default stream, as in the real bindings."""
    return 0 if value is None else int(value)


def take_last_error(*, forget: bool) -> cudaError_t:
    """Return the last error, and forget it if asked."""
    global _last_error
    code = _last_error
    if forget:
        _last_error = cudaError_t.cudaSuccess
    return code
