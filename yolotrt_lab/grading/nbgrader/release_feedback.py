"""Put feedback pages into the exchange, those of submissions that came another way included."""

from __future__ import annotations

import glob
import re
import secrets
from pathlib import Path

from nbgrader.exchange.default import ExchangeReleaseFeedback  # type: ignore[import-untyped]
from nbgrader.utils import notebook_hash  # type: ignore[import-untyped]

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import write_text
from yolotrt_lab.grading.nbgrader.untrusted_files import read_regular

__all__ = ["ReleaseFeedback"]

_SECRET = "submission_secret.txt"
# As `nbgrader submit` makes it. A student's own program may write another, which could be guessed, or stop nbgrader.
_AS_MADE = re.compile(rb"[0-9a-f]{128}")


class ReleaseFeedback(ExchangeReleaseFeedback):  # type: ignore[misc]
    """Releases feedback as nbgrader does, which stops at the first submission that was not made by `nbgrader submit`.

    Those pages get a name that nobody can guess; hand them out from `course/feedback`.
    """

    def copy_files(self) -> None:
        """Copy the pages. Called by nbgrader's start."""
        folders = [Path(name) for name in sorted(glob.glob(self.src_path))]
        for folder in folders:
            if not _has_secret(folder):
                write_text(folder / _SECRET, secrets.token_hex(64))
                self.log.warning("%s did not come through the exchange; its student cannot fetch it there.", folder)
            if not (folder / "timestamp.txt").is_file():
                write_text(folder / "timestamp.txt", "unknown")
        super().copy_files()
        self._let_students_read(folders)

    def _let_students_read(self, folders: list[Path]) -> None:
        """Let the pages be read by who knows their names, however private the instructor's own files are."""
        for page in (page for folder in folders for page in folder.glob("*.html")):
            secret = (page.parent / _SECRET).read_text(encoding="ascii")
            released = Path(self.dest_path, f"{notebook_hash(secret=secret, notebook_id=page.stem)}.html")
            if released.is_file():
                released.chmod(0o644)


def _has_secret(folder: Path) -> bool:
    try:
        return _AS_MADE.fullmatch(read_regular(folder / _SECRET, max_bytes=1_000)) is not None
    except InputError:
        return False
