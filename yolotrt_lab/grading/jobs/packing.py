"""Folders as bytes and back: how artifacts, code and data travel between machines.

A plain tar of regular files, the same for the same content. What is unpacked is checked as if a stranger had packed it:
no links, no names that lead elsewhere, no more bytes than allowed.
"""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from yolotrt_lab.errors import InputError

__all__ = ["digest_of", "pack", "unpack"]

_MAX_BYTES = 2_000_000_000
_MAX_FILES = 100_000


def pack(folder: Path, *, files: Iterable[Path] | None = None) -> bytes:
    """Return the regular files below a folder, in order; links and the rest are left out.

    Args:
        folder: The folder.
        files: Only these of its files; all if not given.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*") if files is None else files):
            state = path.lstat()
            if not stat.S_ISREG(state.st_mode):
                continue
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size, entry.mode = state.st_size, 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    return stream.getvalue()


def unpack(content: bytes, folder: Path, *, max_bytes: int = _MAX_BYTES) -> None:
    """Write packed files to a new folder.

    Raises:
        InputError: These are not packed files, or too many, or one has a name that leads elsewhere.
    """
    folder.mkdir(parents=True)
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for number, entry in enumerate(archive):
                total += max(entry.size, 0)
                if not _is_plain(entry) or total > max_bytes or number >= _MAX_FILES:
                    raise InputError(
                        "These files are not taken.", expected="regular files of sane size", got=entry.name
                    )
                target = folder / entry.name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(entry)
                if source is not None:
                    target.write_bytes(source.read())
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise InputError("These are not packed files.", expected="what pack() returns", got=error) from error


def digest_of(content: bytes) -> str:
    """Return the digest that a parcel goes by."""
    return hashlib.sha256(content).hexdigest()


def _is_plain(entry: tarfile.TarInfo) -> bool:
    name = PurePosixPath(entry.name)
    return entry.isreg() and not name.is_absolute() and ".." not in name.parts and "\0" not in entry.name
