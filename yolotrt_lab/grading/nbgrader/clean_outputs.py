"""Keep of a student's outputs what cannot do harm when an instructor looks at it."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]
from traitlets import Integer

from yolotrt_lab.grading.nbgrader.release import node_from
from yolotrt_lab.grading.nbgrader.submission import is_base64

__all__ = ["CleanOutputs"]

_HARMLESS = ("text/plain", "image/png", "image/jpeg")


class CleanOutputs(NbGraderPreprocessor):  # type: ignore[misc]
    """Drops HTML, JavaScript and SVG from outputs, and caps their length.

    formgrader shows outputs as they are, within the instructor's session. nbgrader's LimitOutput counts lines; one line
    may have gigabytes.
    """

    max_characters = Integer(20_000, help="The longest text that is kept of one output.").tag(config=True)
    max_outputs = Integer(50, help="How many outputs are kept of one cell.").tag(config=True)
    max_picture_bytes = Integer(2_000_000, help="The largest picture that is kept, in base64.").tag(config=True)

    def preprocess_cell(self, cell: NotebookNode, resources: Any, index: int) -> tuple[NotebookNode, Any]:
        """Clean one cell. Called by nbgrader's Autograde after the execution, before trusted outputs are put in."""
        if cell.cell_type == "code":
            kept = [cleaned for output in cell.outputs[: self.max_outputs] if (cleaned := self._cleaned(output))]
            cell.outputs = [node_from(output) for output in kept]
        return cell, resources

    def _cleaned(self, output: NotebookNode) -> dict[str, Any] | None:
        kind = output.get("output_type")
        if kind == "stream":
            name = "stderr" if output.get("name") == "stderr" else "stdout"
            return {"output_type": "stream", "name": name, "text": self._short(output.get("text"))}
        if kind == "error":
            lines = output.get("traceback")
            text = self._short("\n".join(str(line) for line in lines) if isinstance(lines, list) else "")
            return {
                "output_type": "error",
                "ename": self._short(output.get("ename"))[:200],
                "evalue": self._short(output.get("evalue")),
                "traceback": text.split("\n"),
            }
        data = output.get("data")
        if kind not in ("display_data", "execute_result") or not isinstance(data, dict):
            return None
        kept = {name: self._short(data[name]) for name in _HARMLESS[:1] if name in data}
        for name in _HARMLESS[1:]:
            if is_base64(data.get(name)) and len(data[name]) <= self.max_picture_bytes:
                kept[name] = data[name]
        return {"output_type": "display_data", "data": kept, "metadata": {}} if kept else None

    def _short(self, text: object) -> str:
        text = "".join(str(line) for line in text) if isinstance(text, list) else str(text or "")
        text = text.encode("utf-8", "replace").decode("utf-8")
        if len(text) <= self.max_characters:
            return text
        half = self.max_characters // 2
        return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
