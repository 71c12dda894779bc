"""The emulated `pycuda.driver`: devices and contexts."""

from __future__ import annotations

import atexit
import contextlib
import functools
import sys
from typing import Any

from yolotrt_lab.emulation.cuda import contexts, device_facts
from yolotrt_lab.emulation.cuda.pycuda_core import LogicError, context_stack, cuda_call, refuse_arguments
from yolotrt_lab.emulation.cuda.pycuda_enums import device_attribute
from yolotrt_lab.emulation.cuda.runtime_device import CUDA_VERSION
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.errors import EmulationError

__all__ = ["Context", "Device", "get_driver_version", "get_version", "init"]


@cuda_call("cuInit", context=False)
def init(flags: int = 0) -> None:
    """Initialise CUDA."""
    contexts.initialise()


def get_version() -> tuple[int, int, int]:
    """Return the CUDA version PyCUDA was compiled for."""
    return (CUDA_VERSION // 1000, CUDA_VERSION % 1000 // 10, 0)


def get_driver_version() -> int:
    """Return the CUDA version of the driver."""
    return CUDA_VERSION


def _need_initialisation() -> None:
    if not contexts.is_initialised():
        raise DeviceFault("not initialised", "call pycuda.driver.init() first")


class Device:
    """The emulated device; its number is 0. Attributes can be read by their names in lower case."""

    def __init__(self, number: int | str = 0) -> None:
        self._number = _find_by_bus(number) if isinstance(number, str) else _find(number)

    @staticmethod
    @cuda_call("cuDeviceGetCount", context=False)
    def count() -> int:
        """Return the number of devices."""
        _need_initialisation()
        return 1

    def name(self) -> str:
        """Return the device's name, which says that it is emulated."""
        return device().name

    def pci_bus_id(self) -> str:
        """Return the device's address on the bus."""
        return device_facts.PCI_BUS_ID

    def compute_capability(self) -> tuple[int, int]:
        """Return (0, 0): a processor has no CUDA compute capability."""
        return device_facts.COMPUTE_CAPABILITY

    def total_memory(self) -> int:
        """Return the emulated device's memory in bytes."""
        return device().heap.capacity

    def get_attribute(self, attribute: Any) -> int:
        """Return an attribute; 0, "no", for what the emulated device lacks."""
        if not isinstance(attribute, device_attribute):
            signature = "get_attribute(pycuda::device {lvalue}, CUdevice_attribute_enum)"
            refuse_arguments((signature,), (self, attribute), owner="Device")
        return device_facts.attribute(int(attribute))

    def get_attributes(self) -> dict[Any, int]:
        """Return all attributes."""
        return {attribute: self.get_attribute(attribute) for attribute in device_attribute}

    def __getattr__(self, name: str) -> int:
        if name.upper() not in device_attribute.__members__ or name != name.lower():
            raise AttributeError(name)
        return self.get_attribute(device_attribute[name.upper()])

    def can_access_peer(self, other: Device) -> bool:
        """Return False: there is no other device."""
        return False

    def make_context(self, flags: int = 0) -> Context:
        """Make a context and push it on the calling thread's stack."""
        made = Context(contexts.create(int(flags)), self)
        context_stack().append(made)
        _look_at_exit()
        return made

    def retain_primary_context(self) -> Context:
        """Return the primary context, which the CUDA runtime uses too; it is not pushed."""
        return Context(contexts.retain_primary(), self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


@cuda_call("cuDeviceGet", context=False)
def _find(number: int) -> int:
    _need_initialisation()
    if number != 0:
        raise DeviceFault("invalid device", f"there is one device, number 0; got {number}")
    return number


@cuda_call("cuDeviceGetByPCIBusId", context=False)
def _find_by_bus(place: str) -> int:
    _need_initialisation()
    if place != device_facts.PCI_BUS_ID:
        raise DeviceFault("invalid value", f"the one device is at {device_facts.PCI_BUS_ID}")
    return 0


_LINE = "-" * 67
_LEFT_OVER = f"""\
{_LINE}
PyCUDA ERROR: The context stack was not empty upon module cleanup.
{_LINE}
A context was still active when the context stack was being
cleaned up. At this point in our execution, CUDA may already
have been deinitialized, so there is no way we can finish
cleanly. The program will be aborted now.
Use Context.pop() to avoid this problem.
{_LINE}
[emulation: with a GPU the process is aborted here]
"""


@functools.cache
def _look_at_exit() -> None:
    """See to it that a context nobody popped is complained about when the process ends, as PyCUDA does."""

    def look() -> None:
        if context_stack():
            sys.stderr.write(_LEFT_OVER)

    atexit.register(look)


class Context:
    """A CUDA context. Contexts form a stack in every thread; the top one is current."""

    def __init__(self, context: contexts.CudaContext, owner: Device) -> None:
        self._context = context
        self._device = owner
        self._valid = True

    @property
    def handle(self) -> int:
        """The integer of the driver interface."""
        return self._context.handle

    @staticmethod
    def attach(flags: int = 0) -> Context:
        """Take the thread's current context, whoever made it, as a PyCUDA context."""
        try:
            made = Context(contexts.need(), Device(0))
        except DeviceFault:
            raise LogicError("cuCtxAttach failed: invalid device context") from None
        context_stack().append(made)
        return made

    def push(self) -> None:
        """Make this the calling thread's current context."""
        contexts.push(self._context)
        context_stack().append(self)
        _look_at_exit()

    @staticmethod
    def pop() -> None:
        """Take the current context off the calling thread's stack."""
        stack = context_stack()
        if not stack:
            raise LogicError("context::pop failed: invalid device context - cannot pop non-current context")
        gone = stack.pop()
        if contexts.current() is gone._context:
            contexts.pop()

    def detach(self) -> None:
        """Give the context up. One that was made is destroyed with its memory; the primary one is released."""
        if not self._valid:
            text = "context::detach failed: invalid device context - cannot detach from invalid context"
            raise LogicError(text)
        self._valid = False
        stack = context_stack()
        while self in stack:
            stack.remove(self)
        while contexts.current() is self._context:
            contexts.pop()
        with contextlib.suppress(DeviceFault):
            if self._context.is_primary:
                contexts.release_primary()
            else:
                contexts.destroy(self._context)

    @staticmethod
    def get_current() -> Context | None:
        """Return the calling thread's current PyCUDA context, if there is one."""
        living = [context for context in context_stack() if context._valid]
        return living[-1] if living else None

    @staticmethod
    @cuda_call("cuCtxGetDevice")
    def get_device() -> Device:
        """Return the current context's device."""
        return Device(0)

    @staticmethod
    @cuda_call("cuCtxSynchronize")
    def synchronize() -> None:
        """Wait for all work of the device."""
        device().scheduler.synchronize_device()

    def get_api_version(self) -> int:
        """Return the driver interface's version."""
        return 3020

    @staticmethod
    def _refuse(what: str) -> Any:
        raise EmulationError(
            f"pycuda.driver.Context.{what} is not emulated: it is about how kernels run, or about two GPUs.",
            fix="Leave it out, or run this on a machine with an NVIDIA GPU.",
        )

    @staticmethod
    def get_cache_config() -> Any:
        """Caches of kernels are not emulated."""
        return Context._refuse("get_cache_config")

    @staticmethod
    def set_cache_config(config: Any) -> Any:
        """Caches of kernels are not emulated."""
        return Context._refuse("set_cache_config")

    @staticmethod
    def get_shared_config() -> Any:
        """Shared memory of kernels is not emulated."""
        return Context._refuse("get_shared_config")

    @staticmethod
    def set_shared_config(config: Any) -> Any:
        """Shared memory of kernels is not emulated."""
        return Context._refuse("set_shared_config")

    @staticmethod
    def get_limit(what: Any) -> Any:
        """Limits of kernels are not emulated."""
        return Context._refuse("get_limit")

    @staticmethod
    def set_limit(what: Any, value: int) -> Any:
        """Limits of kernels are not emulated."""
        return Context._refuse("set_limit")

    def enable_peer_access(self, flags: int = 0) -> Any:
        """There is no other GPU."""
        return Context._refuse("enable_peer_access")

    def disable_peer_access(self) -> Any:
        """There is no other GPU."""
        return Context._refuse("disable_peer_access")
