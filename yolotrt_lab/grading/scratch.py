"""A folder of its own for each call of an answer, gone afterwards."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import shutil
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
    folder = _new_folder()
    token = _CURRENT.set(folder)
    try:
        yield folder
    finally:
        _CURRENT.reset(token)
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder() -> Path:
    """Make a folder whose name is the same in every run that has the temporary folder to itself, as in a sandbox.

    Its name gets into messages, and so into records: they should not differ by it.
    """
    parent = Path(tempfile.gettempdir()).resolve()
    numbers = itertools.count(1)
    while True:
        folder = parent / f"yolotrt-case-{next(numbers)}"
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder
