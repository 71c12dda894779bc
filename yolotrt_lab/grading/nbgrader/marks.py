"""What the steps of grading tell each other through the notebook: kept in its metadata, which is never the student's.

nbgrader converts a submission twice, rebuilding first and grading then, with a file in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode

from yolotrt_lab.grading.nbgrader.findings import Finding

__all__ = ["RESULT_TYPE", "Marks"]

_KEY = "yolotrt"

RESULT_TYPE = "application/vnd.yolotrt.result+json"
"""Media type of an exercise's verdict among the outputs of its check cell."""


@dataclass
class Marks:
    """What was found out when rebuilding.

    Attributes:
        findings: What was noticed about the submission.
        answers: Digest of each answer by grade id.
        settled: Grade ids that an instructor graded by hand, and whose answers did not change since.
        unreadable: Why there is nothing to grade; "" if there is.
    """

    findings: list[Finding] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    settled: list[str] = field(default_factory=list)
    unreadable: str = ""

    def write(self, notebook: NotebookNode) -> None:
        """Put the marks into a notebook."""
        notebook.metadata[_KEY] = {
            "findings": [finding.to_json() for finding in self.findings],
            "answers": self.answers,
            "settled": self.settled,
            "unreadable": self.unreadable,
        }

    @classmethod
    def read(cls, notebook: NotebookNode) -> Marks:
        """Return the marks of a notebook, empty if it has none."""
        content: dict[str, Any] = notebook.metadata.get(_KEY, {})
        return cls(
            [Finding.from_json(item) for item in content.get("findings", ())],
            dict(content.get("answers", {})),
            list(content.get("settled", ())),
            str(content.get("unreadable", "")),
        )
