"""Copies between addresses, as the runtime and the driver ask for them: whole, in rows, with or without a direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.emulation.cuda import transfers
from yolotrt_lab.emulation.cuda.arguments import address_of, host_bytes, is_buffer, size
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault

__all__ = ["copy", "copy_rows", "find_direction"]

HOST_TO_HOST, HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE, DEFAULT = range(5)


def find_direction(dst: Any, src: Any) -> int:
    """Find out where two addresses are, as unified addressing does."""
    to_device, from_device = (not is_buffer(end) and device().heap.owns(address_of(end)) for end in (dst, src))
    if to_device:
        return DEVICE_TO_DEVICE if from_device else HOST_TO_DEVICE
    return DEVICE_TO_HOST if from_device else HOST_TO_HOST


def copy(dst: Any, src: Any, count: Any, direction: int, *, stream: int | None = None) -> None:
    """Copy `count` bytes; `direction` is the number of `cudaMemcpyKind`.

    Raises:
        DeviceFault: The direction does not exist, or memory is not where it says, or is too small.
    """
    nbytes = size(count)
    if direction not in range(5):
        raise DeviceFault("invalid direction", f"{direction} is not a direction of cudaMemcpyKind")
    found = find_direction(dst, src)
    if direction == DEFAULT or found == DEVICE_TO_DEVICE:
        direction = found  # with unified addressing CUDA sees where both ends are
    if nbytes == 0:
        return
    if direction == HOST_TO_DEVICE:
        transfers.copy_h2d(address_of(dst), host_bytes(src, nbytes), stream=stream)
    elif direction == DEVICE_TO_HOST:
        transfers.copy_d2h(host_bytes(dst, nbytes), address_of(src), stream=stream)
    elif direction == DEVICE_TO_DEVICE:
        transfers.copy_d2d(address_of(dst), address_of(src), nbytes, stream=stream)
    else:
        transfers.copy_h2h(host_bytes(dst, nbytes), host_bytes(src, nbytes), stream=stream)


def copy_rows(
    dst: Any, dpitch: int, src: Any, spitch: int, width: int, height: int, direction: int, *, stream: int | None = None
) -> None:
    """Copy `height` rows of `width` bytes between memories with rows of `dpitch` and `spitch` bytes.

    Raises:
        DeviceFault: A row is wider than a pitch, or what `copy` says.
    """
    if width > min(dpitch, spitch):
        raise DeviceFault("invalid pitch", f"rows of {width} bytes do not fit in pitches of {dpitch} and {spitch}")
    if direction not in range(5):
        raise DeviceFault("invalid direction", f"{direction} is not a direction of cudaMemcpyKind")
    if width == 0 or height == 0:
        return
    if dpitch == spitch == width:
        copy(dst, src, width * height, direction, stream=stream)
        return
    keep = (dst, src)  # arrays must live as long as the addresses of their rows
    to, origin = address_of(dst), address_of(src)
    for row in range(height):
        copy(to + row * dpitch, origin + row * spitch, width, direction, stream=stream)
    del keep


def byte_pattern(value: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """Return one element to fill memory with."""
    return np.array([int(value) & ((1 << 8 * np.dtype(dtype).itemsize) - 1)], dtype)
