"""Read the notebook of a submission, which may be anything: what is not a cell is passed over, nothing is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.untrusted_files import read_regular

__all__ = ["Submission", "SubmittedCell", "is_base64", "read_submission"]

MAX_NOTEBOOK_BYTES = 50_000_000
MAX_CELLS = 5_000
MAX_SOURCE_CHARACTERS = 200_000
_PICTURES = ("image/png", "image/jpeg", "image/gif")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")


@dataclass(frozen=True)
class SubmittedCell:
    """One cell as it was handed in.

    Attributes:
        cell_id: The notebook format's id.
        grade_id: nbgrader's id, "" if the cell has none.
        cell_type: "code", "markdown" or "raw".
        source: The text.
        marks: nbgrader's metadata.
        pictures: Pictures that were pasted into a text cell.
    """

    cell_id: str
    grade_id: str
    cell_type: str
    source: str
    marks: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """The notebook of a submission.

    Attributes:
        cells: Its cells in order.
        findings: What was noticed when reading.
        unreadable: Why there is nothing to grade; "" if there is.
    """

    cells: tuple[SubmittedCell, ...] = ()
    findings: tuple[Finding, ...] = ()
    unreadable: str = ""


def read_submission(folder: Path, name: str, *, answer_ids: frozenset[str]) -> Submission:
    """Return the notebook `name` of a submission's folder, or the one that is plainly it under another name.

    Args:
        folder: The submission's folder.
        name: The notebook's name without suffix.
        answer_ids: The grade ids of the lab's answer cells, by which a renamed notebook is known.
    """
    path = folder / f"{name}.ipynb"
    if path.exists() or path.is_symlink():
        try:
            return Submission(_cells_of(path))
        except InputError as error:
            return Submission(unreadable=f"{error.what} Expected: {error.expected}; found: {error.got}.")
    found = {other: _cells_or_none(other) for other in sorted(folder.glob("*.ipynb"))}
    fitting = [
        (other, cells) for other, cells in found.items() if cells and any(cell.grade_id in answer_ids for cell in cells)
    ]
    if len(fitting) == 1:
        other, cells = fitting[0]
        text = f"The notebook is called `{other.name}` instead of `{path.name}`; it was graded all the same."
        return Submission(cells or (), (Finding("renamed notebook", text),))
    if fitting:
        names = ", ".join(other.name for other, _ in fitting)
        return Submission(unreadable=f"There is no {path.name}, but several that could be meant: {names}.")
    held = ", ".join(other.name for other in found) or "no notebook"
    return Submission(unreadable=f"There is no {path.name}; the submission holds {held}.")


def _cells_or_none(path: Path) -> tuple[SubmittedCell, ...] | None:
    try:
        return _cells_of(path)
    except InputError:
        return None


def _cells_of(path: Path) -> tuple[SubmittedCell, ...]:
    """Return the cells of a notebook file.

    Raises:
        InputError: It cannot be read, or is no notebook of format 4.
    """
    content = read_regular(path, max_bytes=MAX_NOTEBOOK_BYTES)
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not a notebook.", expected="JSON", got=error) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        got = "an old notebook format" if isinstance(notebook, dict) and "worksheets" in notebook else "other JSON"
        raise InputError(f"{path.name} is not a notebook of format 4.", expected="a list of cells", got=got)
    if len(cells) > MAX_CELLS:
        raise InputError(f"{path.name} has too many cells.", expected=f"at most {MAX_CELLS}", got=len(cells))
    return tuple(_cell_from(cell) for cell in cells if isinstance(cell, dict))


def _cell_from(cell: Mapping[str, Any]) -> SubmittedCell:
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    marks = marks if isinstance(marks, dict) else {}
    return SubmittedCell(
        cell_id=_text(cell.get("id"))[:200],
        grade_id=_text(marks.get("grade_id"))[:200],
        cell_type=_text(cell.get("cell_type")),
        source=_text(cell.get("source"))[:MAX_SOURCE_CHARACTERS],
        marks=marks,
        pictures=_pictures(cell.get("attachments")),
    )


def _text(value: object) -> str:
    """Return text or a list of lines as text that can be written as UTF-8."""
    if isinstance(value, list):
        value = "".join(line for line in value if isinstance(line, str))
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\r\n", "\n")


def is_base64(data: object) -> bool:
    """Whether a value is a picture's data in base64 and nothing else: it becomes part of a page's HTML."""
    return isinstance(data, str) and _BASE64.fullmatch(data) is not None


def _pictures(attachments: object) -> dict[str, dict[str, str]]:
    """Return the attached pictures; other kinds could carry programs."""
    if not isinstance(attachments, dict):
        return {}
    kept: dict[str, dict[str, str]] = {}
    for name, content in attachments.items():
        if isinstance(content, dict):
            images = {kind: data for kind, data in content.items() if kind in _PICTURES and is_base64(data)}
            if images:
                kept[_text(name)] = images
    return kept
