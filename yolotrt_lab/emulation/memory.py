"""The memory of the emulated device: a heap of its own, poisoned, guarded, and checked on every access.

Addresses are real (they point into this process) so programs can pass them around as integers, but only the emulated
CUDA and TensorRT functions may use them. What a GPU leaves undefined is made visible:

- fresh memory holds a pattern that is NaN in FP32, FP16 and BF16, and an unlikely value as an integer;
- freed memory is poisoned again and kept for a while, so a stale address is recognised;
- every access must lie inside one living allocation;
- the heap knows which bytes were ever written, and as what NumPy type.
"""

from __future__ import annotations

import bisect
import functools
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from yolotrt_lab.emulation.counters import recorder
from yolotrt_lab.emulation.lock import DEVICE_LOCK

__all__ = [
    "ALIGNMENT",
    "POISON",
    "Allocation",
    "DeviceFault",
    "DeviceHeap",
    "Origin",
    "PinnedHeap",
    "origin_of_call",
]

ByteArray = NDArray[np.uint8]

_Method = TypeVar("_Method", bound=Callable[..., Any])

ALIGNMENT = 256
"""cudaMalloc aligns to at least 256 bytes."""

POISON = 0xFFCD
"""Fills fresh memory two bytes at a time: FP16 0xFFCD, BF16 0xFFCD and FP32 0xFFCDFFCD are all NaN."""

FREED = 0xFFDD
"""Fills freed memory; NaN in the same formats."""

_GUARD_BYTES = 256
_GUARD = 0xFB
_QUARANTINE_BYTES = 64 << 20
_OWN_MODULES = ("yolotrt_lab.emulation.", "contextlib", "functools")


class DeviceFault(Exception):
    """The program did something to device memory that a GPU would punish, sooner or later.

    Args:
        kind: CUDA's name for the error: "illegal address", "invalid value", "out of memory", "invalid handle", and the
            rarer ones that `cuda.runtime_core` and `cuda.driver_core` list.
        detail: What exactly was wrong, in words a GPU cannot offer.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class Origin:
    """Where memory comes from.

    Attributes:
        function: What was called, "cudaMalloc".
        place: File and line of the program's call, "detect.py:12".
        freed_by_owner: Whether an object frees it when it goes away, as PyCUDA's do: then it cannot leak.
    """

    function: str
    place: str
    freed_by_owner: bool = False


def origin_of_call(function: str, *, freed_by_owner: bool = False) -> Origin:
    """Return the origin for an allocation that is being made: the nearest call that is not the emulation's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN_MODULES):
        frame = frame.f_back
    place = "unknown" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
    return Origin(function, place, freed_by_owner)


@dataclass(eq=False)
class Allocation:
    """One piece of device memory.

    Attributes:
        address: Where it starts.
        nbytes: Its size.
        storage: The bytes, guard zones included.
        dtype: NumPy type last copied into it, None while unknown.
        written: Ascending, disjoint (start, end) offsets of the bytes written so far.
        origin: Who asked for it, and where.
    """

    address: int
    nbytes: int
    storage: ByteArray
    dtype: np.dtype[np.generic] | None = None
    written: list[tuple[int, int]] = field(default_factory=list)
    origin: Origin | None = None

    @property
    def payload(self) -> ByteArray:
        """The bytes between the guard zones."""
        start = self.address - self.storage.ctypes.data
        return self.storage[start : start + self.nbytes]

    def mark_written(self, offset: int, nbytes: int) -> None:
        """Note that bytes `offset` to `offset + nbytes` hold something."""
        if nbytes == 0:
            return
        start, end = offset, offset + nbytes
        kept = []
        for low, high in self.written:
            if high < start or low > end:
                kept.append((low, high))
            else:
                start, end = min(start, low), max(end, high)
        self.written = sorted([*kept, (start, end)])

    def is_written(self, offset: int, nbytes: int) -> bool:
        """Return whether all these bytes were written."""
        return nbytes == 0 or any(low <= offset and offset + nbytes <= high for low, high in self.written)

    def guards_intact(self) -> bool:
        """Return whether nothing was written just outside the allocation."""
        start = self.address - self.storage.ctypes.data
        before = self.storage[start - _GUARD_BYTES : start]
        after = self.storage[start + self.nbytes : start + self.nbytes + _GUARD_BYTES]
        return bool((before == _GUARD).all() and (after == _GUARD).all())


def _one_at_a_time(method: _Method) -> _Method:
    """Let only one thread use a heap's tables; several ask for memory at once where each has its own stream."""

    @functools.wraps(method)
    def locked(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)

    return cast("_Method", locked)


class DeviceHeap:
    """Hands out, checks and takes back device memory.

    Args:
        capacity: Bytes the emulated device has.
        pinned: The page-locked memory beside it, which the device can reach by the same addresses.
    """

    def __init__(self, capacity: int, *, pinned: PinnedHeap | None = None) -> None:
        self.capacity = capacity
        self._lock = DEVICE_LOCK
        self._pinned = pinned
        self.used = 0
        self._starts: list[int] = []
        self._live: dict[int, Allocation] = {}
        self._freed: deque[Allocation] = deque()
        self._freed_bytes = 0

    def __len__(self) -> int:
        return len(self._live)

    @_one_at_a_time
    def allocate(self, nbytes: int, *, origin: Origin | None = None) -> Allocation:
        """Return fresh, poisoned memory.

        Args:
            nbytes: How much.
            origin: Who asked for it; who did not say cannot be told that it leaks.

        Raises:
            DeviceFault: The device has not that much memory left, or the size is not positive.
        """
        if nbytes <= 0:
            raise DeviceFault("invalid value", f"an allocation needs a positive size, got {nbytes} bytes")
        if self.used + nbytes > self.capacity:
            free = self.capacity - self.used
            raise DeviceFault("out of memory", f"{nbytes} bytes asked for, {free} of {self.capacity} bytes free")
        storage = np.empty(nbytes + 2 * _GUARD_BYTES + ALIGNMENT, np.uint8)
        address = -(-(storage.ctypes.data + _GUARD_BYTES) // ALIGNMENT) * ALIGNMENT
        storage[:] = _GUARD
        allocation = Allocation(address, nbytes, storage, origin=origin)
        _fill(allocation.payload, POISON)
        bisect.insort(self._starts, address)
        self._live[address] = allocation
        self.used += nbytes
        recorder.allocated(nbytes)
        return allocation

    @_one_at_a_time
    def free(self, address: int) -> None:
        """Take memory back and poison it.

        Raises:
            DeviceFault: Freed before, never allocated, an address inside an allocation, or its guard zones are damaged.
        """
        allocation = self._live.get(address)
        if allocation is None:
            raise DeviceFault("invalid value", f"cannot free {address:#x}: {self._describe(address)}")
        intact = allocation.guards_intact()
        del self._live[address]
        self._starts.remove(address)
        self.used -= allocation.nbytes
        _fill(allocation.payload, FREED)
        self._freed.append(allocation)
        self._freed_bytes += allocation.nbytes
        while len(self._freed) > 1 and self._freed_bytes > _QUARANTINE_BYTES:
            self._freed_bytes -= self._freed.popleft().nbytes
        recorder.add("frees")
        if not intact:
            raise DeviceFault(
                "illegal address", f"something wrote outside the {allocation.nbytes} bytes at {address:#x}"
            )

    @_one_at_a_time
    def release(self, allocation: Allocation) -> None:
        """Take back this very allocation, unless that was done before."""
        if self._live.get(allocation.address) is allocation:
            self.free(allocation.address)

    @_one_at_a_time
    def locate(self, address: int, nbytes: int, *, what: str) -> tuple[Allocation, int]:
        """Return the living allocation that holds these bytes, and their offset in it; page-locked memory will do.

        Args:
            address: Any address in it.
            nbytes: How many bytes will be used from there.
            what: What uses them, for the message ("output tensor 'output0'").

        Raises:
            DeviceFault: The bytes are not all inside one living allocation.
        """
        index = bisect.bisect_right(self._starts, address) - 1
        if index >= 0:
            allocation = self._live[self._starts[index]]
            offset = address - allocation.address
            if offset + nbytes <= allocation.nbytes:
                return allocation, offset
            if offset < allocation.nbytes:
                raise DeviceFault(
                    "illegal address",
                    f"{what} needs {nbytes} bytes at {address:#x}, but only {allocation.nbytes - offset} bytes are "
                    f"allocated from there",
                )
        mapped = None if self._pinned is None else self._pinned.mapped(address)
        if mapped is None:
            raise DeviceFault("illegal address", f"{what} uses {address:#x}: {self._describe(address)}")
        left = mapped.address + mapped.nbytes - address
        if nbytes > left:
            detail = f"{what} needs {nbytes} bytes at {address:#x}, but the page-locked memory has {left} there"
            raise DeviceFault("illegal address", detail)
        return mapped, address - mapped.address

    @_one_at_a_time
    def owns(self, address: int) -> bool:
        """Return whether the address is inside living device memory."""
        index = bisect.bisect_right(self._starts, address) - 1
        return index >= 0 and address < self._starts[index] + self._live[self._starts[index]].nbytes

    def renew(self, address: int) -> None:
        """Make an allocation like fresh: poisoned, and never written."""
        allocation = self._live[address]
        _fill(allocation.payload, POISON)
        allocation.written, allocation.dtype = [], None

    def starts_at(self, address: int) -> bool:
        """Return whether living device memory starts there."""
        return address in self._live

    @_one_at_a_time
    def living(self) -> list[Allocation]:
        """Return all allocations that were not freed, in the order of their addresses."""
        return [self._live[start] for start in self._starts]

    def _describe(self, address: int) -> str:
        for allocation in self._freed:
            if allocation.address <= address < allocation.address + allocation.nbytes:
                return "this device memory was freed before"
        if self.owns(address):
            return "this is inside an allocation, not its start"
        index = bisect.bisect_right(self._starts, address) - 1
        if index >= 0:
            below = self._live[self._starts[index]]
            beyond = address - below.address - below.nbytes
            if beyond < _GUARD_BYTES:
                return f"this is {beyond} bytes behind the end of the {below.nbytes} bytes at {below.address:#x}"
        return "this is not device memory" + (" (null pointer)" if address == 0 else "")


class PinnedHeap:
    """Page-locked host memory: ordinary memory here, but the emulation knows which it is."""

    def __init__(self) -> None:
        self._lock = DEVICE_LOCK
        self._starts: list[int] = []
        self._live: dict[int, ByteArray] = {}
        self._origins: dict[int, Origin] = {}
        self._mapped: dict[int, Allocation] = {}

    def __len__(self) -> int:
        return len(self._live)

    def allocate(self, nbytes: int, *, origin: Origin | None = None) -> ByteArray:
        """Return fresh, poisoned host memory; it stays known until `free`."""
        if nbytes < 0:
            raise DeviceFault("invalid value", f"an allocation needs a positive size, got {nbytes} bytes")
        storage = np.empty(nbytes + ALIGNMENT, np.uint8)
        shift = -storage.ctypes.data % ALIGNMENT
        buffer = storage[shift : shift + nbytes]
        _fill(buffer, POISON)
        recorder.allocated(nbytes, pinned=True)
        self.register(buffer, origin=origin)
        return buffer

    @_one_at_a_time
    def register(self, buffer: ByteArray, *, origin: Origin | None = None) -> None:
        """Remember existing host memory as page-locked."""
        bisect.insort(self._starts, buffer.ctypes.data)
        self._live[buffer.ctypes.data] = buffer
        if origin is not None:
            self._origins[buffer.ctypes.data] = origin

    @_one_at_a_time
    def free(self, address: int) -> None:
        """Forget page-locked memory.

        Raises:
            DeviceFault: It was not page-locked memory, or was freed before.
        """
        if self._live.pop(address, None) is None:
            raise DeviceFault("invalid value", f"cannot free {address:#x}: this is not page-locked host memory")
        self._starts.remove(address)
        self._origins.pop(address, None)
        self._mapped.pop(address, None)

    def locate(self, address: int, nbytes: int) -> ByteArray | None:
        """Return the page-locked bytes there, or None if they are (partly) pageable."""
        buffer = self.holder(address)
        if buffer is None:
            return None
        offset = address - buffer.ctypes.data
        return buffer[offset : offset + nbytes] if offset + nbytes <= buffer.nbytes else None

    @_one_at_a_time
    def holder(self, address: int) -> ByteArray | None:
        """Return the page-locked memory an address points into, whole; None if it is pageable."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        buffer = self._live[self._starts[index]]
        return buffer if address < self._starts[index] + max(buffer.nbytes, 1) else None

    @_one_at_a_time
    def mapped(self, address: int) -> Allocation | None:
        """Return page-locked memory as the device sees it; what the host writes there cannot be noticed."""
        buffer = self.holder(address)
        if buffer is None:
            return None
        start = buffer.ctypes.data
        if start not in self._mapped:
            self._mapped[start] = Allocation(start, buffer.nbytes, buffer)
        found = self._mapped[start]
        found.dtype, found.written = None, [(0, buffer.nbytes)]
        return found

    @_one_at_a_time
    def living(self) -> list[tuple[int, int, Origin | None]]:
        """Return address, size and origin of all page-locked memory, in the order of addresses."""
        return [(start, self._live[start].nbytes, self._origins.get(start)) for start in self._starts]


def _fill(payload: ByteArray, pattern: int) -> None:
    even = payload.nbytes // 2 * 2
    payload[:even].view(np.uint16)[:] = pattern
    payload[even:] = pattern & 0xFF
