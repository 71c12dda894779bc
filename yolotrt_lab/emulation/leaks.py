"""Which buffers a program did not free: what, how large, and where it allocated them.

Set `YOLOTRT_REPORT_LEAKS=1` to have the report printed when the program ends, or call `memory_report()` at any time.
Memory that an object frees when it goes away (PyCUDA's allocations, page-locked arrays) is not a leak; what
`cudaMalloc`, `cuMemAlloc`, `cudaMallocHost` and their like gave has to be given back by hand. As with NVIDIA's
compute-sanitizer, memory that was still there when its context was destroyed counts as leaked.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections import Counter
from dataclasses import dataclass

from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import Allocation, Origin

__all__ = ["Buffer", "abandon", "forget_abandoned", "living_buffers", "memory_report", "report_at_exit"]

VARIABLE = "YOLOTRT_REPORT_LEAKS"


@dataclass(frozen=True)
class Buffer:
    """Memory that was allocated and not freed.

    Attributes:
        function: What allocated it, "cudaMalloc".
        nbytes: Its size.
        place: File and line of the program's call.
        pinned: Whether it is page-locked host memory instead of device memory.
    """

    function: str
    nbytes: int
    place: str
    pinned: bool


_abandoned: list[Buffer] = []
_registered = False


def abandon(allocation: Allocation) -> None:
    """Note that a context died with memory nobody had freed."""
    _abandoned.extend(_leak(allocation.origin, allocation.nbytes, pinned=False))


def forget_abandoned() -> None:
    """Start anew."""
    _abandoned.clear()


def living_buffers() -> list[Buffer]:
    """Return the buffers that the program has to free and did not, device memory first."""
    emulated = device()
    found = list(_abandoned)
    for allocation in emulated.heap.living():
        found += _leak(allocation.origin, allocation.nbytes, pinned=False)
    for _, nbytes, origin in emulated.pinned.living():
        found += _leak(origin, nbytes, pinned=True)
    return found


def _leak(origin: Origin | None, nbytes: int, *, pinned: bool) -> list[Buffer]:
    """Return the buffer as a list, empty if somebody else will free it."""
    if origin is None or origin.freed_by_owner:
        return []
    return [Buffer(origin.function, nbytes, origin.place, pinned)]


def memory_report() -> str:
    """Return what was not freed, one line for every call that allocated it; empty if all was freed.

    Example:
        >>> print(memory_report())  # doctest: +SKIP
        Memory that was not freed: 1 buffer, 4096 bytes
          4096 bytes of device memory from cudaMalloc at infer.py:12
    """
    counted = Counter(living_buffers())
    if not counted:
        return ""
    total = sum(buffer.nbytes * count for buffer, count in counted.items())
    number = sum(counted.values())
    lines = [f"Memory that was not freed: {number} buffer{'s' if number > 1 else ''}, {total} bytes"]
    for buffer, count in sorted(counted.items(), key=lambda item: -item[0].nbytes * item[1]):
        kind = "page-locked host memory" if buffer.pinned else "device memory"
        many = f"{count} x " if count > 1 else ""
        lines.append(f"  {many}{buffer.nbytes} bytes of {kind} from {buffer.function} at {buffer.place}")
    return "\n".join(lines)


def report_at_exit() -> None:
    """Print the report when the process ends, if the environment asks for it."""
    global _registered
    if _registered or os.environ.get(VARIABLE, "") in ("", "0"):
        return
    _registered = True
    atexit.register(_print_report)


def _print_report() -> None:
    report = memory_report()
    if report:
        print(report, file=sys.stderr)
