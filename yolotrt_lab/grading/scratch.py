"""A folder of its own for each call of an answer, gone afterwards."""

from __future__ import annotations

import contextlib
import contextvars
import tempfile
from collections.abc import Iterator
from pathlib import Path

from yolotrt_lab.errors import InputError

__all__ = ["scratch", "scratch_folder"]

_CURRENT: contextvars.ContextVar[Path | None] = contextvars.ContextVar("yolotrt_scratch", default=None)


def scratch() -> Path:
    """Return the folder for files of the case at hand; for `inputs`, `run` and tests of an exercise.

    Raises:
        InputError: Called from elsewhere.
    """
    folder = _CURRENT.get()
    if folder is None:
        raise InputError("There is no case at hand.", fix="Call scratch() within inputs(), run() or a test.")
    return folder


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make the folder that `scratch` returns within the block."""
    with tempfile.TemporaryDirectory(prefix="yolotrt-case-", ignore_cleanup_errors=True) as name:
        token = _CURRENT.set(Path(name).resolve())
        try:
            yield Path(name).resolve()
        finally:
            _CURRENT.reset(token)
