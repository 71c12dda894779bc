"""Build a folder out of sight and move it into place when it is whole."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from yolotrt_lab.errors import InputError, OutputError

__all__ = ["publish_folder", "staging_folder"]

_LOCK = ".lock"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder against a second run; the lock goes away with the process."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (folder / _LOCK).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"Another run is making this data set in {folder}.",
                expected="one run at a time",
                got="a locked folder",
                fix="Wait for it to end, or choose another root.",
            ) from error
        yield


@contextlib.contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """Give the hidden folder `.<name>.partial` beside `root`, locked for this process.

    It is kept when the block fails, so that the next run can go on from there.

    Raises:
        InputError: Another process works in it.
        OutputError: It cannot be made or written.
    """
    partial = root.parent / f".{root.name}.partial"
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with _locked(partial):
            yield partial
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise OutputError(
            f"Cannot write the data set to {root}.",
            expected="a writable folder with free space",
            got=error.strerror or error,
            fix="Free some space." if full else "Choose another root, or change its permissions.",
        ) from error


def publish_folder(partial: Path, root: Path) -> None:
    """Move a finished folder to its place, which is free or an empty folder."""
    (partial / _LOCK).unlink(missing_ok=True)
    partial.replace(root)
