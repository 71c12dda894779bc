"""Tells a program's progress monitor about the phases of a build, and hears whether to stop."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from yolotrt_lab.emulation.tensorrt.objects import call_user

__all__ = ["Cancelled", "Progress"]


class Cancelled(Exception):
    """The progress monitor asked to stop."""


class Progress:
    """One phase of a build, as a context manager.

    Args:
        monitor: The program's `IProgressMonitor`, or None.
        name: The phase.
        steps: How many steps it has.
        parent: The phase it is part of.
    """

    def __init__(self, monitor: Any, name: str, *, steps: int, parent: str | None = None) -> None:
        self._monitor = monitor
        self._name = name
        self._steps = steps
        self._parent = parent
        self._done = 0

    def __enter__(self) -> Progress:
        if self._monitor is not None:
            call_user(self._monitor.phase_start, self._name, self._parent, self._steps)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._monitor is not None:
            call_user(self._monitor.phase_finish, self._name)

    def part(self, name: str, *, steps: int) -> Progress:
        """Return a phase inside this one."""
        return Progress(self._monitor, name, steps=steps, parent=self._name)

    def step(self) -> None:
        """Note that a step is done.

        Raises:
            Cancelled: The monitor asked to stop.
        """
        done, self._done = self._done, self._done + 1
        if self._monitor is not None and not call_user(self._monitor.step_complete, self._name, done, default=True):
            raise Cancelled
