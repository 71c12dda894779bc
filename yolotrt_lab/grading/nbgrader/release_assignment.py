"""Put a lab into the exchange as it was released, whatever somebody did in `labs/` since."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, cast

import nbformat
from nbgrader.exchange.default import ExchangeReleaseAssignment  # type: ignore[import-untyped]

from yolotrt_lab.files import write_text
from yolotrt_lab.grading.nbgrader.release import released_notebook

__all__ = ["ReleaseAssignment", "notebook_text"]


class ReleaseAssignment(ExchangeReleaseAssignment):  # type: ignore[misc]
    """Releases as nbgrader does, with notebooks made from the solutions.

    Where one person is student and instructor, `labs/` holds the student's answers, and nbgrader would hand them out.
    """

    def init_dest(self) -> None:
        """Make the exchange's folders. Called by nbgrader's start.

        Everybody may write into the exchange and its inbound folder. The sticky bit lets nobody move away, and
        replace, the course or a submission of somebody else; nbgrader does not set it.
        """
        super().init_dest()
        for folder in (Path(self.root), Path(self.inbound_path)):
            state = folder.stat()
            if not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or state.st_mode & stat.S_ISVTX:
                continue
            if state.st_uid == os.getuid():
                folder.chmod(stat.S_IMODE(state.st_mode) | stat.S_ISVTX)
            else:
                self.log.warning("Students can replace what is in %s. To prevent it: sudo chmod +t %s", folder, folder)

    def copy_files(self) -> None:
        """Copy the release. Called by nbgrader's start."""
        super().copy_files()
        for path in sorted(Path(self.dest_path).glob("*.ipynb")):
            mode = path.stat().st_mode
            notebook = released_notebook(self.coursedir, self.coursedir.assignment_id, path.stem, parent=self)
            write_text(path, notebook_text(notebook))
            path.chmod(mode)


def notebook_text(notebook: Any) -> str:
    """Return a notebook as Jupyter writes it, the same bytes for the same cells."""
    return cast(str, nbformat.writes(notebook)) + "\n"  # type: ignore[no-untyped-call]
