"""What all of the emulated `cuda.bindings.runtime` rests on: results as tuples, and the last error of each thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec

from yolotrt_lab.emulation.cuda import contexts
from yolotrt_lab.emulation.cuda.arguments import check_arity
from yolotrt_lab.emulation.cuda.faults import fault_number, log_fault
from yolotrt_lab.emulation.cuda.runtime_types import cudaError_t
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = ["runtime_call", "take_last_error"]

_P = ParamSpec("_P")


class _Thread(threading.local):
    last_error: Any = cudaError_t.cudaSuccess


_thread = _Thread()


def runtime_call(*, results: int, context: bool = True) -> Callable[[Callable[_P, Any]], Callable[_P, tuple[Any, ...]]]:
    """Return the function's result after the error code; on a device fault, the code and `results` times None.

    Args:
        results: How many values there are besides the code.
        context: Whether the function needs a context, and makes the primary one current where there is none.
    """

    def decorate(call: Callable[_P, Any]) -> Callable[_P, tuple[Any, ...]]:
        check = check_arity(call)

        @functools.wraps(call)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> tuple[Any, ...]:
            check(len(args), len(kwargs))
            try:
                if context:
                    contexts.use_primary()
                value = call(*args, **kwargs)
            except DeviceFault as fault:
                log_fault(call.__name__, fault)
                return (_note(cudaError_t(fault_number(fault))), *[None] * results)
            if results == 0:
                return (cudaError_t.cudaSuccess,)
            return (cudaError_t.cudaSuccess, *(value if results > 1 else [value]))

        vars(wrapped)["results"] = results + 1  # for the contract test: how many values a call returns
        return wrapped

    return decorate


def _note(code: Any) -> Any:
    if code != cudaError_t.cudaErrorNotReady:
        _thread.last_error = code
    return code


def take_last_error(*, forget: bool) -> Any:
    """Return the calling thread's last error, and forget it if asked."""
    code = _thread.last_error
    if forget:
        _thread.last_error = cudaError_t.cudaSuccess
    return code
