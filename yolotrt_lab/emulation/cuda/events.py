"""Events behind integers, as the runtime and the driver hand them out."""

from __future__ import annotations

import itertools
from typing import Any

from yolotrt_lab.emulation.cuda.arguments import handle_of
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.streams import Event

__all__ = ["add_event", "destroy_event", "event_of", "forget_events", "new_event", "take_event"]

_BLOCKING_SYNC, _DISABLE_TIMING, _INTERPROCESS = 1, 2, 4

_events: dict[int, Event] = {}
_handles = itertools.count(0xE0E00000, 0x10)


def new_event(flags: int) -> int:
    """Make an event and return its handle.

    Raises:
        DeviceFault: There are no such flags, or it is for other processes and takes times.
    """
    known = _BLOCKING_SYNC | _DISABLE_TIMING | _INTERPROCESS
    if flags & ~known or (flags & _INTERPROCESS and not flags & _DISABLE_TIMING):
        raise DeviceFault("invalid value", f"an event cannot have the flags {flags:#x}")
    return add_event(Event(timed=not flags & _DISABLE_TIMING))


def add_event(event: Event) -> int:
    """Give an event a handle."""
    handle = next(_handles)
    _events[handle] = event
    return handle


def event_of(handle: Any) -> Event:
    """Return the event with a handle.

    Raises:
        DeviceFault: There is none.
    """
    number = handle_of(handle)
    found = _events.get(number)
    if found is None:
        raise DeviceFault("invalid handle", f"{number:#x} is not an event, or was destroyed")
    return found


def take_event(handle: int) -> Event:
    """Return an event whose handle nobody needs: its object keeps it."""
    return _events.pop(handle)


def destroy_event(handle: Any) -> None:
    """Forget an event; what waits for it still does.

    Raises:
        DeviceFault: There is none with this handle.
    """
    event_of(handle)
    del _events[handle_of(handle)]


def forget_events() -> None:
    """Forget all events, as the end of a process does."""
    _events.clear()
