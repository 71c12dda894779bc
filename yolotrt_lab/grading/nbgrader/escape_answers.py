"""Show a student's text as text when formgrader turns it into HTML."""

from __future__ import annotations

import re
from typing import Any

from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from yolotrt_lab.grading.nbgrader.instructor_note import is_instructor_note
from yolotrt_lab.grading.nbgrader.rebuilding import is_answer

__all__ = ["EscapeAnswers"]

_WORD_JOINER = "\N{WORD JOINER}"
_HARMFUL = (
    re.compile(r"<(?=[A-Za-z/!?])(?!https?://)"),  # a tag or comment, not an address in angle brackets
    re.compile(r"&(?=[A-Za-z#])"),  # a character by its name, which could be part of the next
    re.compile(r"(?<!http)(?<!https)(?<!mailto)(?<!attachment)(?<=.)(?=:)"),  # javascript:
)

_ATTACHED = re.compile(r"attachment:([^)\s\"'>]*)")


class EscapeAnswers(Preprocessor):
    """Takes the effect from HTML and from addresses that are programs in written answers.

    formgrader renders Markdown with raw HTML in it, so a script in an answer would run in the instructor's session.
    An invisible word joiner behind each `<` that begins a tag, and before the colon of any address but those of the
    web, makes them plain text, in prose and in code alike. The lab's own text, which uses HTML, stays.
    """

    def preprocess_cell(self, cell: NotebookNode, resources: Any, index: int) -> tuple[NotebookNode, Any]:
        """Escape one cell. Called by formgrader's HTMLExporter."""
        if cell.cell_type != "code" and (is_answer(cell) or is_instructor_note(cell)):
            attached = cell.get("attachments", {})
            # nbconvert stops at a picture that is not there.
            cell.source = _ATTACHED.sub(
                lambda found: (
                    found.group() if found.group(1) in attached else found.group().replace(":", f"{_WORD_JOINER}:")
                ),
                cell.source,
            )
            for pattern in _HARMFUL:
                cell.source = pattern.sub(lambda found: found.group() + _WORD_JOINER, cell.source)
        return cell, resources
