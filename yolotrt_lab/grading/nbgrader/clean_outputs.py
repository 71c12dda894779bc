"""Keep of a student's outputs what cannot do harm when an instructor looks at it."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]
from traitlets import Integer

from yolotrt_lab.grading.execution.outputs import OutputLimits, cleaned_output
from yolotrt_lab.grading.nbgrader.release import node_from

__all__ = ["CleanOutputs"]


class CleanOutputs(NbGraderPreprocessor):  # type: ignore[misc]
    """Drops HTML, JavaScript and SVG from outputs, and caps their length.

    formgrader shows outputs as they are, within the instructor's session. nbgrader's LimitOutput counts lines; one line
    may have gigabytes. What a run in the sandbox kept is clean already; this is for notebooks from elsewhere.
    """

    max_characters = Integer(20_000, help="The longest text that is kept of one output.").tag(config=True)
    max_outputs = Integer(50, help="How many outputs are kept of one cell.").tag(config=True)
    max_picture_bytes = Integer(2_000_000, help="The largest picture that is kept, in base64.").tag(config=True)

    def preprocess_cell(self, cell: NotebookNode, resources: Any, index: int) -> tuple[NotebookNode, Any]:
        """Clean one cell. Called by nbgrader's Autograde after the execution, before trusted outputs are put in."""
        if cell.cell_type == "code":
            limits = OutputLimits(
                characters=self.max_characters, outputs=self.max_outputs, picture_bytes=self.max_picture_bytes
            )
            kept = [
                cleaned for output in cell.outputs[: self.max_outputs] if (cleaned := cleaned_output(output, limits))
            ]
            cell.outputs = [node_from(output) for output in kept]
        return cell, resources
