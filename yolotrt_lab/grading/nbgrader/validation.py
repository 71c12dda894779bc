"""What `nbgrader validate` and its button in JupyterLab show of a check that is not passed."""

from __future__ import annotations

import os
import textwrap

from yolotrt_lab.grading.display import text_table
from yolotrt_lab.grading.results import ExerciseResult, State

__all__ = ["NotSolvedError", "raise_if_validating"]

_WIDTH = 80  # nbgrader cuts what is longer than 87 characters


class NotSolvedError(Exception):
    """A check that is not passed; Jupyter shows its verdict instead of a traceback."""

    def __init__(self, result: ExerciseResult) -> None:
        self.lines = [
            piece
            for line in text_table(result).splitlines()
            for piece in textwrap.wrap(line.strip(), _WIDTH, subsequent_indent="    ")
        ]
        super().__init__(self.lines[0])

    def _render_traceback_(self) -> list[str]:
        """Return the lines that Jupyter shows. Called by IPython."""
        return self.lines


def raise_if_validating(result: ExerciseResult) -> None:
    """Raise where `nbgrader validate` runs the notebook and the exercise is not solved.

    nbgrader knows an error and the score; of a score it would say "Partial credit" and nothing more.

    Raises:
        NotSolvedError: The verdict, in words.
    """
    if os.environ.get("NBGRADER_EXECUTION") == "validate" and result.state is not State.PASSED:
        raise NotSolvedError(result)
