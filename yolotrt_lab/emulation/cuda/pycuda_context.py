"""The emulated `pycuda.driver`: devices and contexts."""

from __future__ import annotations

import contextlib

from yolotrt_lab.emulation.cuda.pycuda_core import (
    LogicError,
    context_stack,
    cuda_call,
    initialise,
    need_context,
    need_initialisation,
)
from yolotrt_lab.emulation.cuda.pycuda_enums import device_attribute
from yolotrt_lab.emulation.device import device
from yolotrt_lab.errors import EmulationError

__all__ = ["Context", "Device", "get_driver_version", "get_version", "init"]


def init(flags: int = 0) -> None:
    """Initialise CUDA."""
    initialise()


def get_version() -> tuple[int, int, int]:
    """Return the CUDA version PyCUDA was compiled for."""
    return (13, 0, 0)


def get_driver_version() -> int:
    """Return the CUDA version of the driver."""
    return 13000


class Device:
    """The emulated device; its number is 0."""

    def __init__(self, number: int = 0) -> None:
        need_initialisation("cuDeviceGet")
        if number != 0:
            raise LogicError("cuDeviceGet failed: invalid device ordinal")
        self._number = number

    @staticmethod
    def count() -> int:
        """Return the number of devices."""
        need_initialisation("cuDeviceGetCount")
        return 1

    def name(self) -> str:
        """Return the device's name, which says that it is emulated."""
        return device().name

    def pci_bus_id(self) -> str:
        """Return the device's address on the bus."""
        return "0000:00:00.0"

    def compute_capability(self) -> tuple[int, int]:
        """Return (0, 0): a processor has no CUDA compute capability."""
        return (0, 0)

    def total_memory(self) -> int:
        """Return the emulated device's memory in bytes."""
        return device().heap.capacity

    def get_attribute(self, attribute: device_attribute) -> int:
        """Return one of the few attributes that mean something here."""
        values = {device_attribute.COMPUTE_CAPABILITY_MAJOR: 0, device_attribute.COMPUTE_CAPABILITY_MINOR: 0}
        if attribute not in values:
            raise EmulationError(
                f"The device attribute {attribute!r} is not emulated.",
                expected="an attribute a processor has",
                got=attribute,
                fix="Ask on a machine with an NVIDIA GPU.",
            )
        return values[attribute]

    def make_context(self, flags: int = 0) -> Context:
        """Make a context and push it on the calling thread's stack."""
        context = Context(self)
        context.push()
        return context

    def retain_primary_context(self) -> Context:
        """Return the primary context; it is not pushed."""
        return Context(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other._number == self._number

    def __hash__(self) -> int:
        return hash(self._number)


class Context:
    """A CUDA context. Contexts form a stack in every thread; the top one is current."""

    def __init__(self, owner: Device) -> None:
        self._device = owner
        self._detached = False

    def push(self) -> None:
        """Make this the calling thread's current context."""
        if self._detached:
            raise LogicError("cuCtxPushCurrent failed: invalid device context - context was detached")
        context_stack().append(self)

    @staticmethod
    def pop() -> None:
        """Take the current context off the calling thread's stack."""
        if not context_stack():
            raise LogicError("context::pop failed: invalid device context - cannot pop non-current context")
        context_stack().pop()

    def detach(self) -> None:
        """Give the context up."""
        self._detached = True
        with contextlib.suppress(ValueError):
            context_stack().remove(self)

    @staticmethod
    def get_current() -> Context | None:
        """Return the calling thread's current context, if there is one."""
        return context_stack()[-1] if context_stack() else None

    @staticmethod
    def get_device() -> Device:
        """Return the current context's device."""
        need_context("cuCtxGetDevice")
        owner: Device = context_stack()[-1]._device
        return owner

    @staticmethod
    @cuda_call("cuCtxSynchronize")
    def synchronize() -> None:
        """Wait for all work of the device."""
        device().scheduler.synchronize_device()

    @staticmethod
    def get_api_version() -> int:
        """Return the driver interface's version."""
        return 3020
