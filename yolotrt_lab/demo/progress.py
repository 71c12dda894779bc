"""How a long job tells what it is doing, without knowing who listens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from yolotrt_lab.types import ProgressCallback

__all__ = ["Reporter", "SilentReporter"]


class Reporter(Protocol):
    """Shows the steps of a job."""

    def step(self, title: str) -> AbstractContextManager[ProgressCallback]:
        """Begin a step and give the callback that moves its progress bar; the step ends with the block."""

    def note(self, text: str) -> None:
        """Show a remark."""


class SilentReporter:
    """Shows nothing."""

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[ProgressCallback]:
        """Do the step without showing it."""
        yield lambda _done, _total: None

    def note(self, text: str) -> None:
        """Drop the remark."""
