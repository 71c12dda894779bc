"""Keep a notebook's cells from counting work of the emulated device that was never done."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from yolotrt_lab.grading.integrity.notes import Notebook
from yolotrt_lab.grading.integrity.origin import shown_line, student_frame

__all__ = ["watch_counters"]

_MODULE = "yolotrt_lab.emulation.counters"
_METHODS = ("add", "did", "allocated", "copied", "synchronized", "enqueued")


def watch_counters(notes: Notebook) -> None:
    """Have the counters ignore and note calls that a cell makes itself; the emulation's own go through as always."""
    recorder = getattr(sys.modules.get(_MODULE), "Recorder", None)
    if not isinstance(recorder, type):
        return
    for name in _METHODS:
        method = vars(recorder).get(name)
        if callable(method) and not hasattr(method, "__wrapped__"):
            setattr(recorder, name, _checked(method, notes))


def _checked(method: Callable[..., None], notes: Notebook) -> Callable[..., None]:
    get_frame = sys._getframe

    @functools.wraps(method)
    def count(*arguments: Any, **named: Any) -> None:
        caller = student_frame(get_frame(1))
        if caller is None:
            method(*arguments, **named)
        else:
            notes.add("counters", method.__name__, shown_line(caller))

    return count
