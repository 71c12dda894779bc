"""What all of the emulated `cuda.bindings.driver` rests on: results as tuples, and the check for a current context."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from yolotrt_lab.emulation.cuda import contexts
from yolotrt_lab.emulation.cuda.arguments import check_arity, integer
from yolotrt_lab.emulation.cuda.described import types
from yolotrt_lab.emulation.cuda.faults import fault_number, log_fault
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = ["CUresult", "driver_call", "driver_types", "need_device"]

_P = ParamSpec("_P")

driver_types: dict[str, Any] = types("driver")
CUresult: Any = driver_types["CUresult"]


def driver_call(
    *, results: int, context: bool = True, initialised: bool = True
) -> Callable[[Callable[_P, Any]], Callable[_P, tuple[Any, ...]]]:
    """Return the function's result after the error code; on a device fault, the code and `results` times None.

    Args:
        results: How many values there are besides the code.
        context: Whether the function needs a current context.
        initialised: Whether `cuInit` must have been called.
    """

    def decorate(call: Callable[_P, Any]) -> Callable[_P, tuple[Any, ...]]:
        check = check_arity(call)

        @functools.wraps(call)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> tuple[Any, ...]:
            check(len(args), len(kwargs))
            try:
                if initialised and not contexts.is_initialised():
                    raise DeviceFault("not initialised", "call cuInit(0) first")
                if context:
                    contexts.need()
                value = call(*args, **kwargs)
            except DeviceFault as fault:
                log_fault(call.__name__, fault)
                return (CUresult(fault_number(fault)), *[None] * results)
            if results == 0:
                return (CUresult.CUDA_SUCCESS,)
            return (CUresult.CUDA_SUCCESS, *(value if results > 1 else [value]))

        vars(wrapped)["results"] = results + 1  # for the contract test: how many values a call returns
        return wrapped

    return decorate


def need_device(number: Any) -> None:
    """Refuse devices that do not exist.

    Raises:
        DeviceFault: It is not device 0.
    """
    if integer(number) != 0:
        raise DeviceFault("invalid device", f"there is one device, number 0; got {int(number)}")
