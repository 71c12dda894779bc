"""Write the scores to the gradebook, and what must be graded by hand."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import SaveAutoGrades  # type: ignore[import-untyped]

from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.score_exercises import UNSCORED_KEY

__all__ = ["SaveGrades"]


class SaveGrades(SaveAutoGrades):  # type: ignore[misc]
    """Saves scores as nbgrader does, with two differences.

    What could not be judged has no score and needs manual grading; nbgrader knows only numbers here. And a grade by
    hand stays final when the answer it is about did not change; nbgrader would ask for it again at every regrade.
    """

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Save all scores. Called by nbgrader's Autograde after ScoreExercises."""
        self._marks = Marks.read(nb)
        self._unscored = dict(resources.get(UNSCORED_KEY) or {})
        nb, resources = super().preprocess(nb, resources)
        return nb, resources

    def _add_score(self, cell: NotebookNode, resources: Any) -> None:
        super()._add_score(cell, resources)
        name = cell.metadata["nbgrader"]["grade_id"]
        grade = self.gradebook.find_grade(name, self.notebook_id, self.assignment_id, self.student_id)
        if name in self._unscored:
            grade.auto_score = None
            grade.needs_manual_grade = True
        if name in self._marks.settled:
            grade.needs_manual_grade = False
        self.gradebook.db.commit()

    def _add_comment(self, cell: NotebookNode, resources: Any) -> None:
        super()._add_comment(cell, resources)
        if self._marks.unreadable:
            name = cell.metadata["nbgrader"]["grade_id"]
            comment = self.gradebook.find_comment(name, self.notebook_id, self.assignment_id, self.student_id)
            comment.auto_comment = self._marks.unreadable
            self.gradebook.db.commit()
