"""Put the answers of a submission into the released notebook: everything else is the release's.

What the student did to other cells cannot matter then. What looks as if it was meant to matter is written down.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nbformat import NotebookNode

from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.submission import Submission, SubmittedCell

__all__ = ["Rebuilt", "answer_cells", "is_answer", "is_check", "marks_of", "rebuild", "runs_when_grading"]

_SHOWN_NAMES = 5
# Marks that a student has no reason to edit; nbgrader itself may write others.
_MARKS = ("grade", "solution", "locked", "points", "task")


@dataclass
class Rebuilt:
    """A notebook to grade.

    Attributes:
        notebook: The release with the student's answers.
        findings: What was noticed.
        answers: Digest of each answer by grade id: an answer that did not change need not be graded by hand again.
    """

    notebook: NotebookNode
    findings: list[Finding] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)


def marks_of(cell: NotebookNode) -> Mapping[str, object]:
    """Return nbgrader's metadata of a cell, empty if it has none."""
    marks = cell.get("metadata", {}).get("nbgrader", {})
    return marks if isinstance(marks, Mapping) else {}


def is_answer(cell: NotebookNode) -> bool:
    """Whether a released cell is one that students write in."""
    return bool(marks_of(cell).get("solution"))


def is_check(cell: NotebookNode) -> bool:
    """Whether a released cell gives points by tests."""
    return bool(marks_of(cell).get("grade")) and not is_answer(cell) and cell.cell_type == "code"


def runs_when_grading(cell: NotebookNode) -> bool:
    """Whether the autograder runs a cell: code, unless it only demonstrates."""
    return bool(cell.cell_type == "code" and "demonstration" not in cell.get("metadata", {}).get("tags", []))


def answer_cells(release: NotebookNode) -> dict[str, NotebookNode]:
    """Return the cells that students write in, by grade id."""
    return {str(marks_of(cell)["grade_id"]): cell for cell in release.cells if is_answer(cell)}


def rebuild(release: NotebookNode, submission: Submission) -> Rebuilt:
    """Return the released notebook with the submission's answers.

    Args:
        release: The notebook that students got; it stays as it is.
        submission: What came back.
    """
    rebuilt = Rebuilt(copy.deepcopy(release), list(submission.findings))
    by_id = _cells_by_grade_id(release, submission.cells)
    for cell in rebuilt.notebook.cells:
        grade_id = str(marks_of(cell).get("grade_id", ""))
        if is_answer(cell):
            if not submission.unreadable:
                _take_answer(rebuilt, cell, by_id.get(grade_id, []))
            rebuilt.answers[grade_id] = hashlib.sha256(cell.source.encode()).hexdigest()
        elif marks_of(cell).get("locked") and not submission.unreadable:
            _compare_locked(rebuilt, cell, by_id.get(grade_id, []))
    if not submission.unreadable:
        rebuilt.findings += _unknown_ids(release, submission.cells)
        rebuilt.findings += _names_from_elsewhere(rebuilt.notebook, submission.cells)
    return rebuilt


def _cells_by_grade_id(release: NotebookNode, cells: Iterable[SubmittedCell]) -> dict[str, list[SubmittedCell]]:
    """Group cells by grade id; where an editor dropped nbgrader's metadata, the cell's own id is as good."""
    known = {str(marks_of(cell)["grade_id"]) for cell in release.cells if marks_of(cell)}
    groups: dict[str, list[SubmittedCell]] = {}
    for cell in cells:
        name = cell.grade_id or (cell.cell_id if cell.cell_id in known else "")
        if name in known:
            groups.setdefault(name, []).append(cell)
    return groups


def _take_answer(rebuilt: Rebuilt, cell: NotebookNode, found: list[SubmittedCell]) -> None:
    """Put the student's text into an answer cell of the release."""
    grade_id = str(marks_of(cell)["grade_id"])
    if not found:
        text = f"The answer cell `{grade_id}` is missing from the notebook, so there was nothing to grade."
        rebuilt.findings.append(Finding("deleted answer", text, grade_id))
        return
    rebuilt.findings += _edited_marks(cell, found)
    written = [other for other in found if other.source.strip() != cell.source.strip()]
    different = list({other.source: other for other in written}.values())
    if len(found) > 1:
        how = "they were read one after the other" if len(different) > 1 else "the one with an answer was graded"
        text = f"The answer cell `{grade_id}` is there {len(found)} times; {how}."
        rebuilt.findings.append(Finding("duplicated answer", text, grade_id))
    if different:
        cell.source = "\n\n".join(other.source for other in different)
    pictures = {name: dict(content) for other in found for name, content in other.pictures.items()}
    if pictures and cell.cell_type == "markdown":
        cell.attachments = pictures


def _edited_marks(cell: NotebookNode, found: list[SubmittedCell]) -> list[Finding]:
    grade_id = str(marks_of(cell)["grade_id"])
    findings = []
    if any(other.cell_type != cell.cell_type for other in found):
        text = f"The cell `{grade_id}` had become another type of cell; it was graded as {cell.cell_type}."
        findings.append(Finding("retyped cell", text, grade_id))
    edited = {
        name
        for other in found
        for name in _MARKS
        if name in other.marks and other.marks[name] != marks_of(cell).get(name)
    }
    if edited:
        text = f"nbgrader's metadata of `{grade_id}` was edited ({', '.join(sorted(edited))}); the release's counts."
        findings.append(Finding("edited metadata", text, grade_id, suspicious=True))
    return findings


def _compare_locked(rebuilt: Rebuilt, cell: NotebookNode, found: list[SubmittedCell]) -> None:
    """Note what was done to a cell that students should leave alone; the release's is there in any case."""
    grade_id = str(marks_of(cell)["grade_id"])
    if not found:
        text = f"The cell `{grade_id}` had been deleted; it was put back."
        rebuilt.findings.append(Finding("deleted cell", text, grade_id))
        return
    rebuilt.findings += _edited_marks(cell, found)
    if len(found) > 1:
        text = f"The cell `{grade_id}` is there {len(found)} times; it counted once, as it was released."
        rebuilt.findings.append(Finding("duplicated cell", text, grade_id))
    if any(other.source.strip() != cell.source.strip() for other in found):
        text = f"The cell `{grade_id}` had been edited; it counted as it was released."
        rebuilt.findings.append(Finding("edited cell", text, grade_id, suspicious=is_check(cell)))


def _unknown_ids(release: NotebookNode, cells: Iterable[SubmittedCell]) -> list[Finding]:
    known = {str(marks_of(cell)["grade_id"]) for cell in release.cells if marks_of(cell)}
    unknown = sorted({cell.grade_id for cell in cells if cell.grade_id and cell.grade_id not in known})
    if not unknown:
        return []
    names = ", ".join(f"`{name}`" for name in unknown[:_SHOWN_NAMES])
    return [Finding("unknown cell", f"This lab has no graded cells called {names}; they did not count.")]


def _names_from_elsewhere(rebuilt: NotebookNode, cells: Iterable[SubmittedCell]) -> list[Finding]:
    """Find names that an answer takes from a cell that is not run when grading: one of the student's own, or a plot."""
    run = [cell.source for cell in rebuilt.cells if runs_when_grading(cell)]
    others = [cell.source for cell in cells if not cell.grade_id and cell.cell_type == "code"]
    missing = set().union(*map(_defined, others)) - set().union(*map(_defined, run))
    findings = []
    for grade_id, cell in answer_cells(rebuilt).items():
        needed = sorted(_used(cell.source) & missing) if cell.cell_type == "code" else []
        if needed:
            names = ", ".join(f"`{name}`" for name in needed[:_SHOWN_NAMES])
            text = (
                f"This answer uses {names} from another cell. Only answer cells are graded: define what you need there."
            )
            findings.append(Finding("name from elsewhere", text, grade_id))
    return findings


def _parsed(source: str) -> ast.Module:
    """Return the syntax tree of a cell, without its magics; empty if it does not parse."""
    lines = ["" if line.lstrip().startswith(("%", "!", "?")) else line for line in source.splitlines()]
    try:
        return ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])


def _defined(source: str) -> set[str]:
    """Return the names that a cell binds at its top level."""
    names: set[str] = set()
    for node in _parsed(source).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        names |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    return names


def _used(source: str) -> set[str]:
    """Return the names that a cell reads and binds nowhere itself."""
    nodes = list(ast.walk(_parsed(source)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)} | _defined(source)
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - bound
