"""Forget a submission's automatic scores before anything is graded."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry, SubmittedNotebook  # type: ignore[import-untyped]
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]

__all__ = ["FINAL_KEY", "ClearOldScores", "clear_scores"]

FINAL_KEY = "yolotrt_final_by_hand"
"""Where the grade ids that were final by hand before are in nbconvert's resources."""


class ClearOldScores(NbGraderPreprocessor):  # type: ignore[misc]
    """Sets every automatic score of the submission to "not graded yet".

    Whatever happens afterwards, an old score never stands in for a new one. Scores and comments by hand stay.
    """

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Clear the scores. Called by nbgrader's Autograde, first of all."""
        place = resources["nbgrader"]
        with Gradebook(place["db_url"]) as gradebook:
            try:
                submitted = gradebook.find_submission_notebook(place["notebook"], place["assignment"], place["student"])
            except MissingEntry:
                return nb, resources
            # Rebuilding asks which grades by hand were final before.
            resources[FINAL_KEY] = clear_scores(submitted)
            gradebook.db.commit()
        return nb, resources


def clear_scores(submitted: SubmittedNotebook) -> list[str]:
    """Forget the automatic scores of a submitted notebook, and return the grade ids that were final by hand.

    Args:
        submitted: The gradebook's record; whoever opened the gradebook has to commit.
    """
    final = [
        grade.name for grade in submitted.grades if grade.manual_score is not None and not grade.needs_manual_grade
    ]
    for grade in submitted.grades:
        grade.auto_score = None
        grade.needs_manual_grade = True
    for comment in submitted.comments:
        comment.auto_comment = None
    submitted.late_submission_penalty = None
    return final
