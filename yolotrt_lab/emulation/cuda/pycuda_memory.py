"""The emulated `pycuda.driver`: device memory."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from typing import Any

from yolotrt_lab.emulation.cuda import contexts
from yolotrt_lab.emulation.cuda.faults import fault_text, log_fault
from yolotrt_lab.emulation.cuda.pycuda_core import (
    LogicError,
    boost_call,
    cuda_call,
    integer,
    need_active_context,
    unsigned,
)
from yolotrt_lab.emulation.cuda.runtime_memory import PITCH
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import Allocation, DeviceFault, origin_of_call
from yolotrt_lab.errors import EmulationError

__all__ = [
    "DeviceAllocation",
    "PointerHolderBase",
    "mem_alloc",
    "mem_alloc_like",
    "mem_alloc_pitch",
    "mem_get_address_range",
    "mem_get_info",
]


class PointerHolderBase:
    """Base for objects that stand for a device address; subclasses offer `get_pointer`."""

    def get_pointer(self) -> int:
        """Return the device address."""
        raise NotImplementedError

    def as_buffer(self, size: int, offset: int = 0) -> Any:
        """Device memory cannot be read by the host."""
        return _refuse_buffer()

    def __int__(self) -> int:
        return self.get_pointer()

    def __index__(self) -> int:
        return self.get_pointer()


def _refuse_buffer() -> Any:
    raise EmulationError(
        "as_buffer is not emulated: it is for memory that host and GPU share, and kills the process for other memory.",
        fix="Copy with memcpy_dtoh.",
    )


class DeviceAllocation:
    """Device memory; freed by `free` or when nobody refers to it any more."""

    def __init__(self, allocation: Allocation) -> None:
        self._allocation = allocation
        self._address = contexts.note_allocation(allocation.address)
        self._held = True

    @property
    def _pycuda_address(self) -> int:
        return self._address

    def free(self) -> None:
        """Free the memory now."""
        if not self._held:
            detail = f"the device memory at {self._address:#x} was freed before"
            raise LogicError(f"device_allocation::free failed: invalid resource handle [emulation: {detail}]")
        self._held = False
        _free(self._address)

    def as_buffer(self, size: int, offset: int = 0) -> Any:
        """Device memory cannot be read by the host."""
        return _refuse_buffer()

    def __int__(self) -> int:
        return self._address

    def __index__(self) -> int:
        return self._address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceAllocation) and other._address == self._address

    def __hash__(self) -> int:
        return hash(("device allocation", self._address))

    def __del__(self) -> None:
        if getattr(self, "_held", False) and not sys.is_finalizing():
            _forgotten.append(self._allocation)
            _free_forgotten()


_forgotten: deque[Allocation] = deque()
"""Memory whose objects are gone."""


def _free_forgotten() -> None:
    """Free it, which waits for the device; at the next occasion if the collector came while the device is at work."""
    lock: Any = device().scheduler.lock
    if not _forgotten or lock._is_owned() or not lock.acquire(blocking=False):
        return
    try:
        device().scheduler.before_waiting_call(waits=True)
    except DeviceFault as fault:
        log_fault("cuMemFree", fault)
        print("PyCUDA WARNING: a clean-up operation failed (dead context maybe?)", file=sys.stderr)
        print(f"cuMemFree failed: {fault_text(fault)}", file=sys.stderr)
    finally:
        while _forgotten:
            with contextlib.suppress(DeviceFault):
                device().heap.release(_forgotten.popleft())
        lock.release()


@cuda_call("cuMemFree")
def _free(address: int) -> None:
    device().scheduler.before_waiting_call(waits=True)
    device().heap.free(address)


@cuda_call("cuMemAlloc")
def _allocate(nbytes: int) -> Allocation:
    _free_forgotten()
    device().scheduler.before_waiting_call()
    origin = origin_of_call("pycuda.driver.mem_alloc", freed_by_owner=True)
    return device().heap.allocate(nbytes, origin=origin)


@boost_call("mem_alloc(unsigned long)")
def mem_alloc(bytes: int) -> DeviceAllocation:
    """Allocate device memory; it holds poison until something is copied there."""
    nbytes = integer(bytes, "mem_alloc(unsigned long)", (bytes,))
    memory = DeviceAllocation(_allocate(unsigned(nbytes)))
    need_active_context()
    return memory


def mem_alloc_like(ary: Any) -> DeviceAllocation:
    """Allocate device memory for an array."""
    return mem_alloc(ary.nbytes)


@boost_call("mem_alloc_pitch(unsigned long width, unsigned long height, unsigned int access_size)")
@cuda_call("cuMemAllocPitch")
def mem_alloc_pitch(width: int, height: int, access_size: int) -> tuple[DeviceAllocation, int]:
    """Allocate device memory for rows; return it and the padded length of a row."""
    if access_size not in (4, 8, 16):
        raise DeviceFault("invalid value", f"elements have 4, 8 or 16 bytes, not {access_size}")
    pitch = -(-width // PITCH) * PITCH
    return DeviceAllocation(_allocate(pitch * height)), pitch


@cuda_call("cuMemGetInfo")
def mem_get_info() -> tuple[int, int]:
    """Return the free and the total device memory in bytes."""
    heap = device().heap
    return heap.capacity - heap.used, heap.capacity


@cuda_call("cuMemGetAddressRange")
def mem_get_address_range(address: Any) -> tuple[int, int]:
    """Return where the memory starts that an address points into, and its size."""
    heap = device().heap
    if not heap.owns(int(address)):
        raise DeviceFault("not found", f"{int(address):#x} is not device memory")
    allocation, _ = heap.locate(int(address), 1, what="mem_get_address_range")
    return allocation.address, allocation.nbytes
