"""Keep what somebody worked out in the old release before a new one is written."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.rebuilding import marks_of
from yolotrt_lab.grading.nbgrader.release import (
    coursedir_of,
    empty_notebook,
    read_notebook,
    released_notebook,
)

__all__ = ["ReleaseExporter", "holds_work", "keep_work"]


class ReleaseExporter(NotebookExporter):
    """Exports a release as nbgrader does, byte for byte what `make notebooks` writes, and loses nobody's work.

    Where one person is student and instructor, `labs/` holds the student's work, and nbgrader removes the old release
    before it writes the new one. It makes the exporter before that: the moment to keep a copy.
    """

    def __init__(self, config: Any = None, **kw: Any) -> None:
        super().__init__(config=config, **kw)  # type: ignore[no-untyped-call]
        coursedir = coursedir_of(self)
        if coursedir.assignment_id:
            kept = keep_work(coursedir, coursedir.assignment_id)
            if kept is not None:
                self.log.warning("The old release held somebody's work. A copy is in %s.", kept)

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **kw: Any) -> Any:
        """Export, and take out of the release what the solution trained. Called by nbgrader for each notebook."""
        exported = super().from_notebook_node(nb, resources=resources, **kw)  # type: ignore[no-untyped-call]
        coursedir = coursedir_of(self)
        if coursedir.assignment_id:
            released = Path(coursedir.format_path(coursedir.release_directory, ".", coursedir.assignment_id))
            for model in released.glob("*.onnx"):
                model.unlink()
        return exported


def holds_work(notebook: Path, release: NotebookNode) -> bool:
    """Whether a notebook in `labs/` holds outputs or answers, rather than an older release."""
    try:
        found = read_notebook(notebook)
    except InputError:
        return notebook.is_file()  # not one of ours any more: keep it to be sure
    stubs = {str(marks_of(cell).get("grade_id")): cell.source for cell in release.cells if marks_of(cell)}
    for cell in found.cells:
        if cell.get("outputs") or cell.get("execution_count") is not None:
            return True
        marks = marks_of(cell)
        if marks.get("solution") and cell.source != stubs.get(str(marks.get("grade_id")), cell.source):
            return True
    return False


def keep_work(coursedir: Any, lab: str) -> Path | None:
    """Copy a lab's release folder aside if it holds somebody's work, and return where to; None if it holds none."""
    folder = Path(coursedir.format_path(coursedir.release_directory, ".", lab))
    worked_in = []
    for notebook in sorted(folder.glob("*.ipynb")):
        try:
            release = released_notebook(coursedir, lab, notebook.stem)
        except InputError:
            release = empty_notebook()
        if holds_work(notebook, release):
            worked_in.append(notebook)
    if not worked_in:
        return None
    stamp = datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S")
    target = PrivateFolder(Path(coursedir.root)).path / "kept" / f"{lab}_{stamp}"
    target.mkdir(parents=True, exist_ok=True)
    for notebook in worked_in:
        shutil.copy2(notebook, target / notebook.name)
    return target
