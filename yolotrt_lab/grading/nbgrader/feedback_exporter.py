"""Turn an autograded notebook into the student's feedback page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nbconvert.exporters import Exporter
from nbformat import NotebookNode
from nbgrader.api import Comment, Grade, Gradebook, SubmittedNotebook  # type: ignore[import-untyped]
from traitlets import default

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.feedback_page import FeedbackPage, GradedPart, render_feedback
from yolotrt_lab.grading.nbgrader.instructor_note import is_instructor_note
from yolotrt_lab.grading.nbgrader.marks import RESULT_TYPE, Marks
from yolotrt_lab.grading.nbgrader.rebuilding import is_answer, marks_of
from yolotrt_lab.grading.results import ExerciseResult

__all__ = ["FeedbackExporter"]

_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)


class FeedbackExporter(Exporter):
    """Makes the page from the verdicts, the answers and the gradebook.

    nbgrader's own page shows all cells with their outputs: hidden tests, where a notebook has some, whatever the
    student's code printed while it ran on hidden inputs, and HTML as it came.
    """

    output_mimetype = "text/html"

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return ".html"

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **kw: Any) -> tuple[str, dict[str, Any]]:  # type: ignore[override]
        """Return the page. Called by nbgrader's GenerateFeedback for each autograded notebook."""
        notebook, resources = super().from_notebook_node(nb, resources, **kw)
        place = resources["nbgrader"]
        with Gradebook(place["db_url"]) as gradebook:
            submitted = gradebook.find_submission_notebook(place["notebook"], place["assignment"], place["student"])
            page = feedback_page(notebook, submitted)
        return render_feedback(page), resources


def feedback_page(notebook: NotebookNode, submitted: SubmittedNotebook) -> FeedbackPage:
    """Return what the page shows.

    Args:
        notebook: The autograded notebook.
        submitted: The gradebook's record of it.
    """
    marks = Marks.read(notebook)
    parts = _parts(notebook, submitted, marks)
    shown = {part.grade_id for part in parts}
    return FeedbackPage(
        title=_title(notebook) or Path(submitted.name).stem,
        student=submitted.student.id,
        parts=parts,
        score=float(submitted.score or 0.0),
        points=float(submitted.max_score or 0.0),
        penalty=float(submitted.late_submission_penalty or 0.0),
        submitted=submitted.assignment.timestamp,
        due=submitted.assignment.duedate if submitted.assignment.assignment.duedate else None,
        notes=[finding.text for finding in marks.findings if _part_of(finding.cell, shown) is None],
        unreadable=marks.unreadable,
    )


def _parts(notebook: NotebookNode, submitted: SubmittedNotebook, marks: Marks) -> list[GradedPart]:
    grades: dict[str, Grade] = {grade.name: grade for grade in submitted.grades}
    comments = {comment.name: comment for comment in submitted.comments}
    graded = {str(marks_of(cell)["grade_id"]) for cell in notebook.cells if marks_of(cell).get("grade")}
    parts: list[GradedPart] = []
    answers: list[NotebookNode] = []
    question: list[str] = []
    for cell in notebook.cells:
        if is_instructor_note(cell):
            continue
        if not marks_of(cell).get("grade"):
            if is_answer(cell):
                answers.append(cell)
            question = [*question, cell.source] if cell.cell_type == "markdown" and not is_answer(cell) else []
            continue
        grade_id = str(marks_of(cell)["grade_id"])
        about = [cell] if is_answer(cell) else answers
        ids = [str(marks_of(other)["grade_id"]) for other in about]
        result, grade = _result_of(cell), grades[grade_id]
        asked = _question(question) if is_answer(cell) else []
        parts.append(
            GradedPart(
                grade_id=grade_id,
                title=result.title if result else _title_of(asked) or grade_id,
                score=float(grade.score or 0.0),
                points=float(grade.max_score or 0.0),
                is_open=bool(grade.needs_manual_grade),
                by_hand=grade.manual_score is not None,
                result=result,
                code=tuple(other.source for other in about if other.cell_type == "code"),
                question="\n\n".join(asked),
                text=cell.source if cell.cell_type != "code" else None,
                pictures=_pictures(cell),
                comments=tuple(text for name in ids if (text := _comment(comments.get(name), written=about == [cell]))),
                notes=tuple(
                    item.text for item in marks.findings if _part_of(item.cell, graded) == grade_id or item.cell in ids
                ),
            )
        )
        answers, question = [], []
    return parts


def _part_of(cell: str, graded: Iterable[str]) -> str | None:
    """Return the grade id that a finding about a cell belongs to."""
    base = re.sub(r"-\d+$", "", cell)
    return next((name for name in (cell, f"{cell}-check", f"{base}-check") if cell and name in set(graded)), None)


def _comment(comment: Comment | None, *, written: bool) -> str:
    """Return what an instructor wrote; nbgrader's own "No response." only where no verdict says so already."""
    if comment is None:
        return ""
    return str(comment.manual_comment or (comment.auto_comment if written else "") or "")


def _result_of(cell: NotebookNode) -> ExerciseResult | None:
    for output in cell.get("outputs", []):
        content = output.get("data", {}).get(RESULT_TYPE)
        if content is not None:
            try:
                return ExerciseResult.from_json(content)
            except InputError:
                return None
    return None


def _pictures(cell: NotebookNode) -> dict[str, tuple[str, str]]:
    found = {}
    for name, content in cell.get("attachments", {}).items():
        for kind, data in content.items():
            found[name] = (kind, data)
    return found


def _title(notebook: NotebookNode) -> str:
    texts = [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "markdown" and not is_answer(cell) and not is_instructor_note(cell)
    ]
    return _title_of(texts)


def _question(texts: list[str]) -> list[str]:
    """Return the question out of the text cells above its answer: from the last heading on."""
    start = max((number for number, text in enumerate(texts) if _HEADING.search(text)), default=len(texts) - 1)
    return texts[max(start, 0) :]


def _title_of(texts: Iterable[str]) -> str:
    """Return the first heading."""
    return next((match.group(1) for text in texts if (match := _HEADING.search(text))), "")
