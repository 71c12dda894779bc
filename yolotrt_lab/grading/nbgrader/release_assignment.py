"""Put a lab into the exchange as it was released, whatever somebody did in `labs/` since."""

from __future__ import annotations

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
