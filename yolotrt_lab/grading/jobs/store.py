"""Results by the content they were computed from: folders that are there whole, or not at all.

An entry is a folder `<kk>/<key>` with the files of the result and a `manifest.json` that lists them with their digests.
It is written under another name and renamed, so neither `kill -9` nor two processes at once leave half of one. What is
damaged all the same is found when it is read, and dropped: the result is computed again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, OutputError

__all__ = ["DEFAULT_BYTES", "Store"]

DEFAULT_BYTES = 5_000_000_000
_KEY = re.compile(r"[0-9a-f]{64}")
_MANIFEST = "manifest.json"
_CONTENT = "content"
_TEMPORARY = "tmp"
_STALE_S = 24 * 60 * 60  # longer than any job: whoever wrote it is gone
_PUTS_BETWEEN_TRIMS = 200
_MOST_LEASES = 64


@dataclass
class Store:
    """A folder of results.

    Attributes:
        folder: Where they are; made when the first is put in.
        max_bytes: What it may take on disk; the least recently used go first.
    """

    folder: Path
    max_bytes: int = DEFAULT_BYTES
    _puts: int = 0
    _leases: dict[str, int] = field(default_factory=dict)

    def has(self, key: str) -> bool:
        """Whether there is an entry, without looking into it."""
        return (self._place(key) / _MANIFEST).is_file()

    @contextlib.contextmanager
    def get(self, key: str) -> Iterator[Path | None]:
        """Give the folder of a result for reading, or None if there is none that is whole.

        While the block lasts, no process removes the entry.

        Args:
            key: 64 hexadecimal digits.

        Example:
            >>> import tempfile; store = Store(Path(tempfile.mkdtemp()))
            >>> with store.get("0" * 64) as folder:
            ...     print(folder)
            None
        """
        held = self._open(key)
        try:
            yield None if held is None else self._place(key) / _CONTENT
        finally:
            if held is not None:
                os.close(held)

    def find(self, key: str) -> Path | None:
        """Return the folder of a result, or None if there is none that is whole.

        No process removes it until this store was asked for many others since, or is closed.

        Args:
            key: 64 hexadecimal digits.
        """
        held = self._open(key)
        if held is None:
            return None
        self._release(key)
        self._leases[key] = held
        while len(self._leases) > _MOST_LEASES:
            self._release(next(iter(self._leases)))
        return self._place(key) / _CONTENT

    def close(self) -> None:
        """Let go of what was read."""
        for key in list(self._leases):
            self._release(key)

    def _open(self, key: str) -> int | None:
        """Return a lock on an entry that is whole, or None."""
        place = self._place(key)
        held = _lock(place, fcntl.LOCK_SH)
        if held is None:
            return None
        if not _is_whole(place):
            os.close(held)
            self._release(key)
            self._remove(place)
            return None
        with contextlib.suppress(OSError):
            os.utime(place / _MANIFEST)
        return held

    def _release(self, key: str) -> None:
        handle = self._leases.pop(key, None)
        if handle is not None:
            os.close(handle)

    def put(self, key: str, folder: Path) -> None:
        """Keep a folder of regular files as the result of a key; the folder itself is used up.

        If the entry is there already, it stays: the same content gives the same result.

        Args:
            key: 64 hexadecimal digits.
            folder: What was computed. Links and other things that are no files are refused.

        Raises:
            InputError: The folder holds something else than files and folders.
            OutputError: The store cannot be written.
        """
        place = self._place(key)
        try:
            with self.scratch() as scratch:
                entry = scratch / "entry"
                entry.mkdir()
                shutil.move(folder, entry / _CONTENT)
                files = {name: [size, digest] for name, size, digest in _files_of(entry / _CONTENT)}
                (entry / _MANIFEST).write_text(json.dumps({"key": key, "files": files}, sort_keys=True))
                place.parent.mkdir(parents=True, exist_ok=True)
                # Somebody else was quicker, or the disk is full: which one, the next line tells.
                with contextlib.suppress(FileExistsError):
                    _rename_new(entry, place)
        except OSError as error:
            raise OutputError(
                f"Cannot keep a result in {self.folder}.",
                expected="a writable folder with free space",
                got=error.strerror,
            ) from error
        self._puts += 1
        if self._puts % _PUTS_BETWEEN_TRIMS == 0:
            self.trim()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder on the store's disk, gone afterwards; what is made there can be put in by renaming."""
        parent = self.folder / _TEMPORARY
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix="job-", ignore_cleanup_errors=True) as name:
            yield Path(name)

    def drop(self, key: str) -> None:
        """Forget a result, unless somebody is reading it."""
        self._remove(self._place(key))

    def trim(self) -> int:
        """Remove what was not used for the longest time until the rest fits, and return how many entries went."""
        for left in (self.folder / _TEMPORARY).glob("*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _STALE_S:
                    shutil.rmtree(left, ignore_errors=True)
        entries = sorted(self._entries())
        total, removed = sum(size for _, size, _ in entries), 0
        for _, size, place in entries:
            if total <= self.max_bytes:
                break
            if self._remove(place):
                total, removed = total - size, removed + 1
        return removed

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """Yield (last use, bytes, place) of every entry."""
        for place in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            manifest = place / _MANIFEST
            try:
                files = json.loads(manifest.read_text())["files"]
                yield manifest.stat().st_mtime, sum(size for size, _ in files.values()) + manifest.stat().st_size, place
            except (OSError, ValueError, KeyError, TypeError):
                yield 0.0, 0, place

    def _place(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise InputError("This is not the key of a result.", expected="64 hexadecimal digits", got=key[:80])
        return self.folder / key[:2] / key

    def _remove(self, place: Path) -> bool:
        """Remove an entry that nobody is reading, under another name so that nobody meets half of it."""
        held = _lock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if held is None:
            return False
        try:
            with self.scratch() as scratch:
                place.rename(scratch / "old")
        except OSError:
            return False
        finally:
            os.close(held)
        return True


def _lock(place: Path, kind: int) -> int | None:
    """Return an open lock on an entry, or None if it is not there or not free; a dead process holds none."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(handle, kind)
        if os.path.samestat(os.fstat(handle), place.lstat()):
            return handle
    os.close(handle)
    return None


def _rename_new(source: Path, target: Path) -> None:
    """Rename a folder; raise FileExistsError where the target is there, which `rename` says in several ways."""
    try:
        source.rename(target)
    except OSError:
        if target.is_dir():
            raise FileExistsError(target) from None
        raise


def _files_of(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Yield (name, bytes, digest) of the files below a folder, sorted.

    Raises:
        InputError: One is no regular file.
    """
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in [*folders, *sorted(files)]:
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise InputError(f"{path.name} cannot be kept.", expected="a regular file", got="a link or a device")
        for name in sorted(files):
            path = Path(place, name)
            yield path.relative_to(folder).as_posix(), path.stat().st_size, _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_whole(place: Path) -> bool:
    """Whether an entry holds the files of its manifest and no others, unchanged."""
    try:
        manifest: dict[str, Any] = json.loads((place / _MANIFEST).read_text())
        listed = {name: tuple(entry) for name, entry in manifest["files"].items()}
        found = {name: (size, digest) for name, size, digest in _files_of(place / _CONTENT)}
        return bool(manifest["key"] == place.name and listed == found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError):
        return False
