"""Copies between host and emulated device, shared by the PyCUDA and the `cuda.bindings` front ends."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolotrt_lab.emulation.counters import Direction
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import ByteArray, DeviceFault
from yolotrt_lab.emulation.trace import Task

__all__ = ["HostBytes", "copy_d2d", "copy_d2h", "copy_h2d", "copy_h2h", "fill"]


@dataclass(frozen=True, eq=False)
class HostBytes:
    """A stretch of host memory.

    Attributes:
        view: Its bytes; holding the view keeps the memory alive where its owner is known.
        pinned: Whether it is page-locked.
        owned: Whether the view keeps the memory alive. False for a bare pageable address.
        dtype: NumPy type of the array it came from, None for a bare address.
        owner: What keeps the memory alive, where the view does not.
    """

    view: ByteArray
    pinned: bool
    owned: bool
    dtype: np.dtype[Any] | None = None
    owner: Any = None

    @classmethod
    def from_buffer(cls, value: Any, *, writable: bool) -> HostBytes:
        """Take a NumPy array or anything else with the buffer protocol.

        Raises:
            ValueError: It is not contiguous, or read-only where a writable one is needed.
            TypeError: It is no buffer.
        """
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if not isinstance(value, np.ndarray):
            memory = memoryview(value)
            dtype = None
            array: np.ndarray[Any, Any] = np.frombuffer(memory, np.uint8)
        else:
            array, dtype = value, value.dtype
        if writable and not array.flags.writeable:
            raise ValueError("buffer source array is read-only")
        if not (array.flags.c_contiguous or array.flags.f_contiguous):
            raise ValueError("ndarray is not contiguous")
        flat = array.reshape(-1, order="A").view(np.uint8) if array.size else np.zeros(0, np.uint8)
        pinned = device().pinned.locate(flat.ctypes.data, flat.nbytes) is not None
        return cls(flat, pinned, owned=True, dtype=dtype)

    @classmethod
    def from_address(cls, address: int, nbytes: int) -> HostBytes:
        """Take a bare host address.

        Raises:
            DeviceFault: It is null, an address of the emulated device, or too near the end of page-locked memory.
        """
        if address == 0 or device().heap.owns(address):
            what = "the null pointer" if address == 0 else "device memory"
            raise DeviceFault("invalid value", f"a host address is needed, but {address:#x} is {what}")
        pinned = device().pinned.locate(address, nbytes)
        if pinned is not None:
            return cls(pinned, pinned=True, owned=True)
        holder = device().pinned.holder(address)
        if holder is not None:
            left = holder.ctypes.data + holder.nbytes - address
            raise DeviceFault("invalid value", f"{nbytes} bytes asked for, but the page-locked memory has {left} there")
        raw = (ctypes.c_uint8 * nbytes).from_address(address)
        return cls(np.ctypeslib.as_array(raw), pinned=False, owned=False)


def copy_h2d(target: int, source: HostBytes, *, stream: int | None = None) -> None:
    """Copy host bytes to a device address; without a stream, wait for it.

    A pageable source of an asynchronous copy is staged at once, as CUDA's driver does. A page-locked source is read
    when the copy runs, so overwriting it too early corrupts what arrives.
    """
    nbytes, dtype = source.view.nbytes, source.dtype
    _check_range(target, nbytes, what="the copy's destination")

    def bind() -> Callable[[], None]:
        staged = source.view if source.pinned or stream is None else source.view.copy()

        def run() -> None:
            allocation, offset = device().heap.locate(target, nbytes, what="a copy to the device")
            allocation.payload[offset : offset + nbytes] = staged
            allocation.mark_written(offset, nbytes)
            allocation.dtype = dtype

        return run

    _submit(bind(), "h2d", nbytes, pinned=source.pinned, stream=stream, rebind=bind)


def copy_d2h(target: HostBytes, source: int, *, stream: int | None = None) -> None:
    """Copy device bytes to host memory; without a stream, wait for it.

    An asynchronous copy to page-locked memory arrives when the stream is synchronised. One to pageable memory is done,
    with all work it comes after, before the call returns: CUDA's "API synchronization behavior" promises that.
    """
    nbytes = target.view.nbytes
    _check_range(source, nbytes, what="the copy's source")

    def run() -> None:
        allocation, offset = device().heap.locate(source, nbytes, what="a copy from the device")
        _check_dtype(allocation.dtype, target.dtype)
        target.view[:] = allocation.payload[offset : offset + nbytes]

    _submit(run, "d2h", nbytes, pinned=target.pinned, stream=stream, at_once=not target.pinned)


def copy_d2d(target: int, source: int, nbytes: int, *, stream: int | None = None) -> None:
    """Copy between two device addresses."""
    _check_range(target, nbytes, what="the copy's destination")
    _check_range(source, nbytes, what="the copy's source")
    if target != source and abs(target - source) < nbytes:
        raise DeviceFault("invalid value", "source and destination overlap: what arrives is undefined on a GPU")

    def run() -> None:
        heap = device().heap
        there, there_offset = heap.locate(target, nbytes, what="a copy on the device")
        here, here_offset = heap.locate(source, nbytes, what="a copy on the device")
        there.payload[there_offset : there_offset + nbytes] = here.payload[here_offset : here_offset + nbytes].copy()
        if here.is_written(here_offset, nbytes):
            there.mark_written(there_offset, nbytes)
        there.dtype = here.dtype

    _submit(run, "d2d", nbytes, pinned=True, stream=stream)


def copy_h2h(target: HostBytes, source: HostBytes, *, stream: int | None = None) -> None:
    """Copy between two host addresses. The host does it, so that it is done when the call returns."""

    def run() -> None:
        target.view[:] = source.view

    pinned = target.pinned and source.pinned
    _submit(run, "h2h", source.view.nbytes, pinned=pinned, stream=stream, at_once=True)


def fill(target: int, pattern: np.ndarray[Any, Any], count: int, *, stream: int | None = None) -> None:
    """Set device memory to `count` repetitions of a pattern (one element of 1, 2 or 4 bytes)."""
    nbytes = pattern.nbytes * count
    _check_range(target, nbytes, what="memset's destination")

    def run() -> None:
        allocation, offset = device().heap.locate(target, nbytes, what="memset")
        allocation.payload[offset : offset + nbytes] = np.repeat(pattern, count).view(np.uint8)
        allocation.mark_written(offset, nbytes)
        allocation.dtype = None

    task = Task("memset", nbytes=nbytes, is_async=stream is not None)
    if stream is None:
        device().scheduler.run_now(run, task)
    else:
        device().scheduler.enqueue(stream, run, task)


def _submit(
    run: Callable[[], None],
    direction: Direction,
    nbytes: int,
    *,
    pinned: bool,
    stream: int | None,
    at_once: bool = False,
    rebind: Callable[[], Callable[[], None]] | None = None,
) -> None:
    task = Task("copy", nbytes=nbytes, direction=direction, pinned=pinned, is_async=stream is not None)
    if stream is None:
        device().scheduler.run_now(run, task)
    else:
        device().scheduler.enqueue(stream, run, task, rebind=rebind, at_once=at_once)


def _check_range(address: int, nbytes: int, *, what: str) -> None:
    """CUDA checks addresses and sizes when a copy is asked for, not when it runs."""
    try:
        device().heap.locate(address, nbytes, what=what)
    except DeviceFault as fault:
        raise DeviceFault("invalid value", fault.detail) from None


def _check_dtype(on_device: np.dtype[Any] | None, on_host: np.dtype[Any] | None) -> None:
    """A GPU would hand over the bytes and let the program misread them; say so instead. Raw bytes are fine."""
    if on_device is None or on_host is None or on_device == on_host:
        return
    if on_host.itemsize == 1 and on_host.kind in "uiV":
        return
    raise DeviceFault("illegal address", f"the device memory holds {on_device} values, but the host array is {on_host}")
