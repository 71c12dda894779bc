"""Write the scores to the gradebook, and what must be graded by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Gradebook, SubmittedNotebook  # type: ignore[import-untyped]
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]
from nbgrader.utils import (  # type: ignore[import-untyped]
    compute_checksum,
    determine_grade,
    is_grade,
    is_solution,
    is_task,
)

from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.score_exercises import UNSCORED_KEY

__all__ = ["SaveGrades", "save_scores"]

_NO_RESPONSE = "No response."


class SaveGrades(NbGraderPreprocessor):  # type: ignore[misc]
    """Saves scores as nbgrader's SaveAutoGrades does, with two differences.

    What could not be judged has no score and needs manual grading; nbgrader knows only numbers here. And a grade by
    hand stays final when the answer it is about did not change; nbgrader would ask for it again at every regrade.
    """

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Save all scores, at once or not at all. Called by nbgrader's Autograde after ScoreExercises."""
        place = resources["nbgrader"]
        with Gradebook(place["db_url"]) as gradebook:
            submitted = gradebook.find_submission_notebook(place["notebook"], place["assignment"], place["student"])
            save_scores(submitted, nb, resources.get(UNSCORED_KEY) or {})
            gradebook.db.commit()
        return nb, resources


def save_scores(submitted: SubmittedNotebook, nb: NotebookNode, unscored: Mapping[str, str]) -> None:
    """Save what the cells of a graded notebook say.

    Args:
        submitted: The gradebook's record; whoever opened the gradebook has to commit.
        nb: The notebook, after ScoreExercises.
        unscored: Grade ids without an automatic score.

    Raises:
        KeyError: The gradebook was made from another version of the notebook.
    """
    marks = Marks.read(nb)
    grades = {grade.name: grade for grade in submitted.grades}
    comments = {comment.name: comment for comment in submitted.comments}
    for cell in nb.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if is_grade(cell):
            grade, (score, points) = grades[name], determine_grade(cell)
            grade.auto_score = None if name in unscored else _finite(score, points)
            grade.needs_manual_grade = name not in marks.settled and (
                grade.manual_score is not None or grade.auto_score is None
            )
        if is_solution(cell) or is_task(cell):
            unchanged = cell.metadata.nbgrader.get("checksum") == compute_checksum(cell) and not is_task(cell)
            comments[name].auto_comment = marks.unreadable or (_NO_RESPONSE if unchanged else None)


def _finite(score: float | None, points: float) -> float | None:
    """Return a score between 0 and the points, or None where there is none: no number that is none gets in here."""
    if score is None or not math.isfinite(score):
        return None
    return min(max(float(score), 0.0), points)
