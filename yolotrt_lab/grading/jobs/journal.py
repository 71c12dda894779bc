"""What a batch has done, line by line on disk: what `--resume` begins with after a crash.

Each line is written whole and forced to the disk before the next step. A last line that was cut off is passed over.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, OutputError

__all__ = ["Journal", "latest_unfinished"]


@dataclass(frozen=True)
class Journal:
    """The journal of one batch.

    Attributes:
        path: `course/grading/batches/<lab>/<batch id>.jsonl`.
    """

    path: Path

    @property
    def batch_id(self) -> str:
        """The batch's name, unique: the time it began and a random end."""
        return self.path.stem

    @classmethod
    def begin(cls, folder: Path, options: dict[str, Any]) -> Journal:
        """Begin a batch's journal with its options."""
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        journal = cls(folder / f"{moment}-{secrets.token_hex(4)}.jsonl")
        journal.note("begun", options=options)
        return journal

    def note(self, event: str, **more: Any) -> None:
        """Add a line and force it to the disk.

        Raises:
            OutputError: It cannot be written.
        """
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"event": event, "time": moment, **more}, ensure_ascii=True, allow_nan=False)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The newline in front ends a line that a crash cut off.
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(handle, f"\n{line}\n".encode())
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise OutputError(f"Cannot write {self.path}.", expected="free space", got=error.strerror) from error

    def entries(self, event: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the lines, of one kind if asked, in order."""
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and event in (None, entry.get("event")):
                        yield entry

    @property
    def options(self) -> dict[str, Any]:
        """The options that the batch was begun with.

        Raises:
            InputError: The journal has no beginning.
        """
        for entry in self.entries("begun"):
            return dict(entry["options"])
        raise InputError(f"{self.path} is not the journal of a batch.", expected="its options", got="none")

    def is_finished(self) -> bool:
        """Whether the batch came to its end, or was given up for a later one."""
        return any(True for _ in self.entries("finished"))


def latest_unfinished(folder: Path) -> Journal | None:
    """Return the youngest journal of a folder if its batch did not come to its end."""
    journals = [Journal(path) for path in sorted(folder.glob("*.jsonl"))]
    if not journals or journals[-1].is_finished():
        return None
    return journals[-1]
