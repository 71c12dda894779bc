"""Whole files or none: atomic writes, checksums, JSON.

Everything the package writes goes through here, so an interrupt or a full disk leaves either the old file or the new
one, never half of one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, OutputError

__all__ = ["atomic_path", "read_json", "require_file", "sha256_of", "write_bytes", "write_json", "write_text"]

_REASONS: dict[int, str] = {
    errno.ENOSPC: "Free some space or choose another output folder.",
    errno.EDQUOT: "Your disk quota is used up: free some space or choose another output folder.",
    errno.EROFS: "The file system is read-only: choose another output folder.",
    errno.EACCES: "You may not write there: choose another output folder or change its permissions.",
    errno.EPERM: "You may not write there: choose another output folder or change its permissions.",
    errno.ENOTDIR: "A file stands where a folder is needed: choose another output folder.",
    errno.EEXIST: "A file stands where a folder is needed: choose another output folder.",
    errno.EISDIR: "A folder stands where the file belongs: choose another name.",
    errno.ENAMETOOLONG: "The name is too long: choose a shorter one.",
    errno.EFBIG: "The file is larger than this system or your limits (ulimit -f) allow.",
}


def _output_error(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"Cannot write {path}.",
        expected="a writable folder with free space",
        got=error.strerror,
        fix=_REASONS[error.errno or 0],
    )


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it into place if the block ends well.

    The temporary name keeps the suffix, because many writers choose the format by it. On any exception, an interrupt
    included, the temporary file is removed and an existing `path` stays as it was.

    Raises:
        OutputError: The folder cannot be made or written, or the disk is full.

    Example:
        >>> import tempfile; folder = Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> (folder / "a.txt").read_text()
        'whole'
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:80]}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise _output_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all.

    Parts of file names that are not UTF-8 become escapes, which JSON reads back as the same name.
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def require_file(path: Path, *, kind: str) -> Path:
    """Return `path` if it is a readable, non-empty file.

    Args:
        path: Where the file should be.
        kind: What it should be, for the message ("ONNX model").

    Raises:
        InputError: Missing, a folder, empty, or unreadable.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder.", expected=f"a file: {kind}", got="a folder")
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise InputError(f"No such file: {path}", expected=kind, got="nothing there") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}.", expected=kind, got=error.strerror) from error
    if size == 0:
        raise InputError(f"{path} is empty.", expected=kind, got="0 bytes", fix="Make or download the file again.")
    return path


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`.

    Raises:
        InputError: The file is missing, empty, or not UTF-8 JSON.
    """
    require_file(path, kind="JSON file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON.", expected="UTF-8 JSON", got=error) from error


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in one-MiB pieces."""
    digest = hashlib.sha256()
    with require_file(path, kind="file").open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
