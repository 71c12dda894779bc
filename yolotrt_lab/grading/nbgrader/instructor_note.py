"""Tell the instructor, on top of the submission in formgrader, what was noticed and what waits for a grade by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nbformat import NotebookNode

from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.release import node_from

__all__ = ["add_instructor_note", "is_instructor_note"]

_MARK = "yolotrt_note"


def add_instructor_note(notebook: NotebookNode, findings: Iterable[Finding], unscored: Mapping[str, str]) -> None:
    """Put a cell on top of an autograded notebook, if there is something to say. Students never see it.

    Args:
        notebook: The notebook, changed in place.
        findings: What was noticed about the submission.
        unscored: Grade ids without an automatic score, each with the reason.
    """
    lines = [f"- {finding.text}" for finding in findings]
    for reason in dict.fromkeys(unscored.values()):
        names = ", ".join(f"`{name}`" for name, other in unscored.items() if other == reason)
        lines.append(f"- Not graded automatically: {names}. {reason}")
    if lines:
        source = "\n".join(["**What the grader noticed** (for instructors only)", "", *lines])
        cell = {"cell_type": "markdown", "id": "yolotrt-note", "source": source, "metadata": {_MARK: True}}
        notebook.cells.insert(0, node_from(cell))


def is_instructor_note(cell: NotebookNode) -> bool:
    """Whether a cell is such a note. It quotes the student's file names and errors, so it is escaped as answers are."""
    return bool(cell.get("metadata", {}).get(_MARK))
