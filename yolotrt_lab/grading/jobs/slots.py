"""A number of its own for each process of a machine that runs submissions: with it come a user and its processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
from functools import lru_cache
from pathlib import Path

from yolotrt_lab.errors import OutputError

__all__ = ["claim_slot"]

_SLOTS = 1_000


@lru_cache(maxsize=1)
def claim_slot() -> int:
    """Return this process's slot, from 0: no other process of this user has it until this one ends.

    Raises:
        OutputError: All are taken, or the folder of the locks cannot be written.
    """
    folder = Path(tempfile.gettempdir()) / f"yolotrt-slots-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
            raise OutputError(f"{folder} is somebody else's.", expected="a folder of this user", fix="Set TMPDIR.")
        for number in range(_SLOTS):
            handle = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            return number  # the lock is held until the process ends
    except OSError as error:
        raise OutputError(f"Cannot write {folder}.", expected="a writable folder", got=error.strerror) from error
    raise OutputError("Every slot of this machine is taken.", expected=f"fewer than {_SLOTS} processes that grade")
