"""Read and copy files that strangers wrote: regular files only, of sane size, and never through a link."""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.findings import Finding

__all__ = ["Limits", "copy_folder", "latest_change", "read_regular", "unfit_files"]

_CHUNK = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Limits:
    """How much a submission may hold.

    Attributes:
        file_bytes: The largest file.
        total_bytes: All files together.
        files: How many files.
        depth: How deep its folders may go.
        ignored: Names that are passed over, as in nbgrader's `CourseDirectory.ignore`.
    """

    file_bytes: int = 100_000_000
    total_bytes: int = 100_000_000
    files: int = 1_000
    depth: int = 20
    ignored: tuple[str, ...] = ()

    def ignores(self, name: str) -> bool:
        """Return whether a file or folder of this name is passed over."""
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.ignored)


@dataclass(frozen=True)
class _Entry:
    """A file of a submission: where it is, and why it may not stay, if so."""

    path: Path
    folder_handle: int
    name: str
    size: int
    problem: str


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        InputError: Missing, a link or another special file, too large, or unreadable.
    """
    try:
        stream, size_bytes = _open_regular(path)
    except OSError as error:
        what = "a link" if path.is_symlink() else error.strerror
        raise InputError(f"{path.name} cannot be read.", expected="a regular file", got=what) from None
    with stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        size = f"{max(size_bytes, len(content)) / 1e6:.1f} MB"
        raise InputError(f"{path.name} is too large.", expected=f"at most {max_bytes / 1e6:.0f} MB", got=size)
    return content


def _open_regular(path: Path | str, *, folder_handle: int | None = None) -> tuple[BinaryIO, int]:
    """Open a regular file and return it with its size.

    Raises:
        OSError: It is something else, or cannot be read.
    """
    handle = os.open(path, _FLAGS, dir_fd=folder_handle)
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, _kind_of(state.st_mode))
    return os.fdopen(handle, "rb"), state.st_size


def unfit_files(folder: Path, limits: Limits) -> list[tuple[Path, Finding]]:
    """Return what a submission may not hold, with why."""
    return [
        (entry.path, _unfit(entry.path.relative_to(folder), entry.problem))
        for entry in _entries(folder, limits)
        if entry.problem
    ]


def copy_folder(source: Path, target: Path, limits: Limits) -> list[Finding]:
    """Copy what a submission may hold to a new folder, and return what was left out.

    Files of other accounts are left out: a second name for somebody else's file would copy what its giver cannot read.

    Raises:
        InputError: The source is a link or no folder.
    """
    if source.is_symlink() or not source.is_dir():
        raise InputError(f"{source.name} is no submission.", expected="a folder", got="a link or file")
    target.mkdir(parents=True)
    owner, findings = source.lstat().st_uid, []
    for entry in _entries(source, limits):
        place = target / entry.path.relative_to(source)
        problem = entry.problem or _copy(entry, place, limits.file_bytes, owner=owner)
        if problem:
            findings.append(_unfit(entry.path.relative_to(source), problem))
    return findings


def latest_change(folder: Path) -> float:
    """Return when the newest regular file of a folder last changed, by the file system's clock.

    Changing a file sets this time to now. Unlike the modification time, its owner cannot set it to something else.
    """
    times = [
        os.stat(entry.name, dir_fd=entry.folder_handle, follow_symlinks=False).st_ctime
        for entry in _entries(folder, Limits())
    ]
    return max(times, default=folder.lstat().st_ctime)


def _entries(folder: Path, limits: Limits) -> Iterator[_Entry]:
    """Yield every file below a folder in a fixed order, without following any link."""
    total = count = 0
    for place, folders, files, handle in os.fwalk(folder, follow_symlinks=False, onerror=_refuse):
        here = Path(place)
        deep = len(here.relative_to(folder).parts) >= limits.depth
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in links and not limits.ignores(name) and not deep)
        for name in sorted([*files, *links]):
            if limits.ignores(name):
                continue
            try:
                state = os.stat(name, dir_fd=handle, follow_symlinks=False)
            except FileNotFoundError:
                continue
            size = state.st_size if stat.S_ISREG(state.st_mode) else 0
            problem = _problem(state, limits, count=count, total=total)
            if not problem:
                count, total = count + 1, total + size
            yield _Entry(here / name, handle, name, size, problem)


def _refuse(error: OSError) -> None:
    raise InputError("A folder of the submission cannot be read.", expected="readable folders", got=error) from error


def _problem(state: os.stat_result, limits: Limits, *, count: int, total: int) -> str:
    if not stat.S_ISREG(state.st_mode):
        return f"is {_kind_of(state.st_mode)}"
    if state.st_size > limits.file_bytes:
        return f"is {state.st_size / 1e6:.0f} MB; {limits.file_bytes / 1e6:.0f} MB are allowed"
    if total + state.st_size > limits.total_bytes:
        return f"is beyond the {limits.total_bytes / 1e6:.0f} MB that a submission may have"
    if count >= limits.files:
        return f"is beyond the {limits.files} files that a submission may have"
    return ""


def _kind_of(mode: int) -> str:
    kinds: tuple[tuple[Callable[[int], bool], str], ...] = (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(mode)), "a device")


def _copy(entry: _Entry, place: Path, max_bytes: int, *, owner: int) -> str:
    """Copy one file; return why not, if not. The file may change under our hands, so everything is asked again."""
    try:
        source, _ = _open_regular(entry.name, folder_handle=entry.folder_handle)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if os.fstat(source.fileno()).st_uid != owner:
        source.close()
        return "belongs to another account"
    place.parent.mkdir(parents=True, exist_ok=True)
    left = max_bytes
    with source, place.open("wb") as copy:
        while left > 0 and (piece := source.read(min(_CHUNK, left))):
            copy.write(piece)
            left -= len(piece)
    return ""


def _unfit(name: Path, problem: str) -> Finding:
    shown = "/".join(_printable(name.parts))
    return Finding(
        "unfit file", f"`{shown}` {problem}, and was left out.", suspicious="link" in problem or "account" in problem
    )


def _printable(parts: Sequence[str]) -> list[str]:
    return [part.encode("utf-8", "backslashreplace").decode("utf-8") for part in parts]
