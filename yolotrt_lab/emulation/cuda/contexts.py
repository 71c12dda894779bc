"""CUDA contexts: one stack in every thread, shared by the driver's, the runtime's and PyCUDA's functions.

As in CUDA, the runtime works in the device's primary context and makes it current in a thread that has none; the
driver's functions need a current context; memory belongs to the context in which it was allocated and dies with it.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

from yolotrt_lab.emulation.device import device, is_present
from yolotrt_lab.emulation.leaks import abandon
from yolotrt_lab.emulation.lock import DEVICE_LOCK
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = [
    "CudaContext",
    "create",
    "current",
    "destroy",
    "find",
    "forget_everything",
    "initialise",
    "is_initialised",
    "need",
    "note_allocation",
    "pop",
    "primary",
    "push",
    "release_primary",
    "reset_primary",
    "retain_primary",
    "set_current",
    "use_primary",
]

_handles = itertools.count(0x5C0DE000, 0x40)


@dataclass(eq=False)
class CudaContext:
    """A context of the one device.

    Attributes:
        handle: The integer programs pass around.
        is_primary: Whether the runtime shares it.
        alive: False once it was destroyed; a thread may still have it on its stack.
        flags: What it was made with.
        allocations: Addresses of the device memory that was allocated in it.
    """

    handle: int
    is_primary: bool = False
    alive: bool = True
    flags: int = 0
    allocations: set[int] = field(default_factory=set)


class _State:
    """All contexts of the process."""

    def __init__(self) -> None:
        self.initialised = False
        self.contexts: dict[int, CudaContext] = {}
        self.primary: CudaContext | None = None
        self.primary_users = 0
        self.runtime_uses_primary = False
        self.stacks = threading.local()


_state = _State()


def forget_everything() -> None:
    """Start like a new process: no contexts, and `cuInit` was not called."""
    global _state
    _state = _State()


def initialise() -> None:
    """Note that `cuInit` was called.

    Raises:
        DeviceFault: There is no device.
    """
    if not is_present():
        raise DeviceFault("no device", "YOLOTRT_EMULATED_DEVICES=0 takes the emulated device away")
    _state.initialised = True


def is_initialised() -> bool:
    """Return whether `cuInit` was called, by the program or by the runtime."""
    return _state.initialised


def _stack() -> list[CudaContext]:
    if not hasattr(_state.stacks, "contexts"):
        _state.stacks.contexts = []
    contexts: list[CudaContext] = _state.stacks.contexts
    return contexts


def current() -> CudaContext | None:
    """Return the calling thread's current context; it may have been destroyed."""
    stack = _stack()
    return stack[-1] if stack else None


def need() -> CudaContext:
    """Return the current context.

    Raises:
        DeviceFault: CUDA is not initialised, there is none, or it was destroyed.
    """
    if not _state.initialised:
        raise DeviceFault("not initialised", "call cuInit(0) first")
    found = current()
    if found is None:
        raise DeviceFault("no context", "no context is current in this thread: make one, or push an existing one")
    if not found.alive:
        raise DeviceFault("dead context", "this thread's current context was destroyed")
    return found


def find(handle: int) -> CudaContext:
    """Return the context with this handle; it may have been destroyed.

    Raises:
        DeviceFault: There is none.
    """
    found = _state.contexts.get(handle)
    if found is None:
        raise DeviceFault("invalid value", f"{handle:#x} is not a context")
    return found


def create(flags: int = 0) -> CudaContext:
    """Make a context and push it on the calling thread's stack."""
    with DEVICE_LOCK:
        made = CudaContext(next(_handles), flags=flags)
        _state.contexts[made.handle] = made
    push(made)
    return made


def push(context: CudaContext) -> None:
    """Make a context current, and remember what was current before."""
    _stack().append(context)


def pop() -> CudaContext:
    """Take the current context off the stack and return it.

    Raises:
        DeviceFault: There is none.
    """
    stack = _stack()
    if not stack:
        raise DeviceFault("no context", "no context is current in this thread")
    return stack.pop()


def set_current(context: CudaContext | None) -> None:
    """Replace the top of the stack; None takes it away."""
    stack = _stack()
    if stack:
        stack.pop()
    if context is not None:
        stack.append(context)


def destroy(context: CudaContext) -> None:
    """Destroy a context and its memory; it leaves the calling thread's stack if it is on top."""
    if not context.alive:
        raise DeviceFault("dead context", "this context was destroyed before")
    _kill(context)
    stack = _stack()
    if stack and stack[-1] is context:
        stack.pop()


def _kill(context: CudaContext) -> None:
    """Its memory is gone: work that still uses it will fail."""
    heap = device().heap
    context.alive = False
    for allocation in heap.living():
        if allocation.address in context.allocations:
            abandon(allocation)
            heap.free(allocation.address)
    context.allocations.clear()


def primary() -> CudaContext | None:
    """Return the primary context, None while nobody uses it."""
    return _state.primary


def retain_primary() -> CudaContext:
    """Return the primary context, and keep it alive until it is released."""
    with DEVICE_LOCK:
        if _state.primary is None:
            _state.primary = CudaContext(next(_handles), is_primary=True)
            _state.contexts[_state.primary.handle] = _state.primary
        _state.primary_users += 1
        return _state.primary


def release_primary() -> None:
    """Give the primary context up; it dies when nobody is left that retained it.

    Raises:
        DeviceFault: Nobody retains it.
    """
    with DEVICE_LOCK:
        if _state.primary is None:
            raise DeviceFault("no context", "the primary context is not retained")
        _state.primary_users -= 1
        if _state.primary_users == 0:
            reset_primary()


def reset_primary() -> None:
    """Destroy the primary context whoever retains it, as `cudaDeviceReset` does."""
    with DEVICE_LOCK:
        found, _state.primary, _state.primary_users = _state.primary, None, 0
        _state.runtime_uses_primary = False
    if found is not None:
        _kill(found)


def use_primary() -> None:
    """Do what every function of the runtime does first: see to it that this thread has a context.

    Raises:
        DeviceFault: The current context was destroyed.
    """
    found = current()
    if found is not None and found.alive:
        return
    if found is not None and not found.is_primary:
        raise DeviceFault("device uninitialised", "this thread's current context was destroyed")
    initialise()
    with DEVICE_LOCK:
        if not _state.runtime_uses_primary:
            retain_primary()
            _state.runtime_uses_primary = True
    set_current(_state.primary)


def note_allocation(address: int) -> int:
    """Let the current context own some device memory, and return its address."""
    found = current()
    if found is not None:
        found.allocations.add(address)
    return address
