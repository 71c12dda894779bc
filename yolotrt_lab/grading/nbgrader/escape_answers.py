"""Show a student's text as text when formgrader turns it into HTML."""

from __future__ import annotations

import re
from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]

from yolotrt_lab.grading.nbgrader.rebuilding import is_answer

__all__ = ["EscapeAnswers"]

# The start of a tag, comment or declaration; not of an address in angle brackets, which Markdown makes a link.
_TAG = re.compile(r"<(?=[A-Za-z/!?])(?!https?://)")
_WORD_JOINER = "\N{WORD JOINER}"


class EscapeAnswers(NbGraderPreprocessor):  # type: ignore[misc]
    """Takes the effect from HTML in written answers.

    formgrader renders Markdown with raw HTML in it, so a script in an answer would run in the instructor's session.
    An invisible word joiner behind each `<` that begins a tag makes it plain text, in prose and in code alike.
    The lab's own text, which uses HTML, stays.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: Any, index: int) -> tuple[NotebookNode, Any]:
        """Escape one cell. Called by formgrader's HTMLExporter."""
        if cell.cell_type != "code" and is_answer(cell):
            cell.source = _TAG.sub(f"<{_WORD_JOINER}", cell.source)
        return cell, resources
