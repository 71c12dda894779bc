"""What all of the emulated `pycuda.driver` rests on: its errors, its arguments and the calling thread's contexts.

The texts of the errors are those of PyCUDA 2026.1 on a GPU; what the emulation adds stands in brackets.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

from yolotrt_lab.emulation.cuda import contexts, events, graphs, runtime_pools
from yolotrt_lab.emulation.cuda.faults import fault_text
from yolotrt_lab.emulation.cuda.runtime_core import take_last_error
from yolotrt_lab.emulation.leaks import forget_abandoned
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = [
    "ArgumentError",
    "Error",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "RuntimeError",
    "boost_call",
    "context_stack",
    "cuda_call",
    "forget_contexts",
    "integer",
    "need_active_context",
    "raise_fault",
    "unsigned",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")


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


class CompileError(Error):
    """CUDA code could not be compiled."""


class ArgumentError(TypeError):
    """An argument has a type that PyCUDA's C++ code does not take."""


ArgumentError.__module__ = "Boost.Python"

for _error in (Error, LogicError, MemoryError, RuntimeError, LaunchError):
    _error.__module__ = "pycuda._driver"
CompileError.__module__ = "pycuda.driver"


def raise_fault(function: str, fault: DeviceFault) -> NoReturn:
    """Raise PyCUDA's error for a device fault.

    Raises:
        MemoryError: The device is full.
        RuntimeError: There is no device.
        LogicError: All else.
    """
    kinds: dict[str, type[Error]] = {"out of memory": MemoryError, "no device": RuntimeError}
    kind = kinds.get(fault.kind, LogicError)
    raise kind(f"{function} failed: {fault_text(fault)} [emulation: {fault.detail}]") from None


def cuda_call(
    function: str, *, explicit: bool = False, context: bool = True
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Check for a current context, and turn device faults into PyCUDA's errors.

    Args:
        function: The driver function PyCUDA names in its errors.
        explicit: Whether PyCUDA itself wants one of its own contexts to be current, and says so in its own words.
        context: Whether the function needs a context at all.
    """

    def decorate(call: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(call)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if explicit:
                need_active_context()
            try:
                if context:
                    contexts.need()
                return call(*args, **kwargs)
            except DeviceFault as fault:
                raise_fault(function, fault)

        return wrapped

    return decorate


class _Stacks(threading.local):
    def __init__(self) -> None:
        self.contexts: list[Any] = []


_stacks = _Stacks()


def forget_contexts() -> None:
    """Start like a new process: no contexts, events, graphs or errors, and nothing is initialised."""
    global _stacks
    _stacks = _Stacks()
    contexts.forget_everything()
    events.forget_events()
    forget_abandoned()
    graphs.forget_graphs()
    runtime_pools.forget_pools()
    take_last_error(forget=True)


def context_stack() -> list[Any]:
    """Return the PyCUDA contexts of the calling thread, the current one last."""
    return _stacks.contexts


def need_active_context() -> None:
    """Refuse to go on without a PyCUDA context; one that the runtime or the driver made does not count.

    Raises:
        LogicError: The calling thread has none.
    """
    if not any(context._valid for context in context_stack()):
        raise LogicError("explicit_context_dependent failed: invalid device context - no currently active context?")


def boost_call(*signatures: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Check the number and the names of arguments, and complain like Boost.Python.

    Args:
        signatures: The C++ signatures, "mem_alloc(unsigned long)".
    """

    def decorate(call: Callable[_P, _R]) -> Callable[_P, _R]:
        expected = inspect.signature(call)

        @functools.wraps(call)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                expected.bind(*args, **kwargs)
            except TypeError:
                refuse_arguments(signatures, (*args, *kwargs.values()))
            return call(*args, **kwargs)

        return wrapped

    return decorate


def refuse_arguments(signatures: tuple[str, ...], arguments: tuple[Any, ...], *, owner: str = "") -> NoReturn:
    """Raise Boost.Python's error for arguments of the wrong number or types.

    Raises:
        ArgumentError: Always.
    """
    function = signatures[0].partition("(")[0]
    shown = ", ".join(_type_name(argument) for argument in arguments)
    called = f"{owner}.{function}" if owner else f"pycuda._driver.{function}"
    lines = ["Python argument types in", f"    {called}({shown})", "did not match C++ signature:"]
    raise ArgumentError("\n".join([*lines, *(f"    {signature}" for signature in signatures)])) from None


def integer(value: Any, signature: str, arguments: tuple[Any, ...]) -> int:
    """Return an integer argument; like Boost.Python, take Python's own integers and PyCUDA's pointers only.

    Args:
        value: The argument.
        signature: The C++ signature for the message.
        arguments: All arguments of the call, for the message.

    Raises:
        ArgumentError: It is something else, a NumPy integer for instance.
    """
    if isinstance(value, int) or hasattr(value, "get_pointer") or hasattr(value, "_pycuda_address"):
        return int(value)
    refuse_arguments((signature,), arguments)


def unsigned(value: int, bits: int = 64) -> int:
    """Return an unsigned integer of so many bits, as Boost converts it.

    Raises:
        OverflowError: It is negative or too large.
    """
    if value < 0:
        raise OverflowError("can't convert negative value to unsigned int")
    if value >> bits:
        raise OverflowError("bad numeric conversion: positive overflow")
    return value


def _type_name(value: Any) -> str:
    module = type(value).__module__
    plain = module in ("builtins", "pycuda._driver")
    return type(value).__name__ if plain else f"{module}.{type(value).__name__}"
