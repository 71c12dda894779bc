"""Start a submission's conversion without opening the file that the student wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter

from yolotrt_lab.grading.nbgrader.intake import admit_all
from yolotrt_lab.grading.nbgrader.release import coursedir_of, empty_notebook

__all__ = ["SubmissionExporter"]


class SubmissionExporter(NotebookExporter):
    """Hands an empty notebook to the first of the preprocessors instead of the submitted one.

    nbconvert would read the submission before any preprocessor runs, and stop at broken JSON, an old format, bad
    metadata or a missing file. RebuildFromRelease reads it instead, and expects anything. The second conversion, of the
    rebuilt notebook, goes the usual way.

    The submissions' folders are cleaned when the exporter is made.
    """

    def __init__(self, config: Any = None, **kw: Any) -> None:
        super().__init__(config=config, **kw)  # type: ignore[no-untyped-call]
        # nbgrader makes its exporter when it has listed the submissions, and before it looks into any of them.
        converter = self.parent
        if hasattr(converter, "assignments"):
            admit_all(converter)

    def from_filename(
        self, filename: str, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Convert a notebook. Called by nbgrader's Autograde for each notebook, twice."""
        coursedir = coursedir_of(self)
        submitted = Path(coursedir.root) / Path(coursedir.submitted_directory)
        path = Path(filename)
        if not path.is_relative_to(submitted):
            return super().from_filename(filename, resources, **kw)
        filled = {**(resources or {}), "metadata": {"name": path.stem, "path": str(path.parent)}}
        converted: tuple[Any, dict[str, Any]] = self.from_notebook_node(  # type: ignore[no-untyped-call]
            empty_notebook(), filled, **kw
        )
        return converted
