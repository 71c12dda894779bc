"""Existing host memory that a program page-locks and unlocks."""

from __future__ import annotations

import ctypes

import numpy as np

from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault, Origin

__all__ = ["register_host", "unregister_host"]

_registered: set[int] = set()


def register_host(address: int, nbytes: int, *, origin: Origin | None = None) -> None:
    """Page-lock host memory.

    Raises:
        DeviceFault: It is null or empty, or was page-locked before.
    """
    if address == 0 or nbytes <= 0:
        raise DeviceFault("invalid value", f"{nbytes} bytes at {address:#x} cannot be page-locked")
    pinned = device().pinned
    if pinned.holder(address) is not None:
        raise DeviceFault("already registered", f"the host memory at {address:#x} is page-locked already")
    _registered.add(address)
    pinned.register(np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address)), origin=origin)


def unregister_host(address: int) -> None:
    """Unlock host memory that was registered.

    Raises:
        DeviceFault: It was not.
    """
    pinned = device().pinned
    holder = pinned.holder(address)
    if holder is None or address not in _registered:
        raise DeviceFault("not registered", f"no host memory was registered at {address:#x}")
    _registered.discard(address)
    pinned.free(address)
