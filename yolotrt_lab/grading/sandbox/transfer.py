"""Folders into a sandbox and back: what comes back was made by strangers."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

__all__ = ["copy_back", "copy_in"]

_PIECE = 1 << 20
_DEPTH = 40
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_in(source: Path, folder: int, *, uid: int | None) -> None:
    """Copy the files of a folder of ours into one of the sandbox's, and make them its user's.

    Args:
        source: The host's folder; links in it are passed over.
        folder: Descriptor of the sandbox's folder.
        uid: The sandbox's user; None where it is the one that asks.
    """
    inside = Path(f"/proc/self/fd/{folder}")
    for path in sorted(source.rglob("*")):
        target = inside / path.relative_to(source)
        if path.is_symlink():
            continue
        if path.is_dir():
            target.mkdir()
        elif path.is_file():
            target.write_bytes(path.read_bytes())
        else:
            continue
        if uid is not None:
            os.chown(target, uid, uid)


def copy_back(folder: int, target: Path, *, max_bytes: int, max_files: int) -> None:
    """Copy regular files and folders of a sandbox's folder to the host's, with plain permissions.

    Links, pipes, sockets and devices are left out; so is what goes beyond the limits. Nothing in the sandbox may run
    any more.

    Args:
        folder: Descriptor of the sandbox's folder.
        target: The host's folder; what it holds is replaced where names are the same.
        max_bytes: The most that is copied. Files with holes count by their length.
        max_files: The most files and folders that are copied.
    """
    _copy(folder, target, _Budget(max_bytes, max_files), depth=0)


class _Budget:
    def __init__(self, max_bytes: int, max_files: int) -> None:
        self.bytes, self.files = max_bytes, max_files


def _copy(folder: int, target: Path, budget: _Budget, *, depth: int) -> None:
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
    for name, status in found:
        if budget.files <= 0:
            return
        with contextlib.suppress(OSError):  # one odd entry must not keep the others
            if stat.S_ISDIR(status.st_mode) and depth < _DEPTH:
                budget.files -= 1
                _copy_folder(folder, name, target / name, budget, depth=depth)
            elif stat.S_ISREG(status.st_mode) and status.st_size <= budget.bytes:
                budget.files -= 1
                budget.bytes -= status.st_size
                _copy_file(folder, name, target / name, status.st_size)


def _copy_folder(parent: int, name: str, target: Path, budget: _Budget, *, depth: int) -> None:
    # As another user it may have forbidden itself to look; we are root then, or the same user and may undo that.
    os.chmod(name, 0o700, dir_fd=parent)
    descriptor = os.open(name, _FOLDER, dir_fd=parent)
    try:
        target.mkdir(exist_ok=True)
        _copy(descriptor, target, budget, depth=depth + 1)
    finally:
        os.close(descriptor)


def _copy_file(parent: int, name: str, target: Path, size: int) -> None:
    with contextlib.suppress(OSError):
        os.chmod(name, 0o600, dir_fd=parent)
    source = os.open(name, _READ, dir_fd=parent)
    try:
        with open(target, "wb") as file:
            while size > 0 and (piece := os.read(source, min(_PIECE, size))):
                file.write(piece)
                size -= len(piece)
    finally:
        os.close(source)
