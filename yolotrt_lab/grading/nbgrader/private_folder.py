"""What only the instructor may see: the secret of the hidden cases, records of grading, files that were set aside.

All of it is in `course/grading`, readable by its owner only, and ignored by git through a `.gitignore` of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json, write_json, write_text

__all__ = ["PrivateFolder", "StudentFolder"]

_SECRET_BYTES = 32


@dataclass(frozen=True)
class StudentFolder:
    """What is kept about one student's submission of one lab.

    Attributes:
        folder: `course/grading/<lab>/<student>`.
    """

    folder: Path

    @property
    def recorded(self) -> Path:
        """Where the kernel writes what the answers returned."""
        return self.folder / "recorded"

    @property
    def set_aside(self) -> Path:
        """Where files go that a submission may not hold, links as they are."""
        return self.folder / "set_aside"

    def read(self, name: str) -> dict[str, Any]:
        """Return a record ("intake", "grading"), empty if there is none or it is damaged."""
        path = self.folder / f"{name}.json"
        with contextlib.suppress(InputError):
            content = read_json(path)
            if isinstance(content, dict):
                return content
        return {}

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a record."""
        write_json(self.folder / f"{name}.json", content)


@dataclass(frozen=True)
class PrivateFolder:
    """The folder `course/grading` of a course.

    Attributes:
        root: The course's folder, which holds `nbgrader_config.py`.
    """

    root: Path

    @property
    def path(self) -> Path:
        """The folder, made if it is not there."""
        folder = self.root / "course" / "grading"
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.is_file():
            write_text(ignore, "# Grades and the secret of the hidden tests: never to be committed.\n*\n")
        return folder

    def student(self, lab: str, student: str) -> StudentFolder:
        """Return the place of one student's submission of a lab ("lab4_engines")."""
        return StudentFolder(self.path / "students" / lab / student)

    def students(self, lab: str) -> Iterator[str]:
        """Yield the students there are records of, sorted."""
        folder = self.path / "students" / lab
        yield from sorted(path.name for path in folder.glob("*") if path.is_dir())

    def hidden_seed(self, lab: str) -> int:
        """Return the seed of a lab's hidden cases: the same for the whole class, unknown without the secret.

        Each lab has its own, so one that gets about says nothing of the next lab's.
        """
        digest = hmac.new(self._secret(), lab.encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def _secret(self) -> bytes:
        """Return the instructor's secret, made at first use."""
        path = self.path / "hidden_seed"
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as stream:
                stream.write(secrets.token_hex(_SECRET_BYTES) + "\n")
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            secret = b""
        if len(secret) < 16:
            raise InputError(
                f"{path} does not hold the secret of the hidden tests.",
                expected=f"{2 * _SECRET_BYTES} hexadecimal digits",
                got=f"{len(text)} characters",
                fix="Put the file back from your backup; or delete it: a new one is made, with new hidden inputs.",
            )
        return secret
