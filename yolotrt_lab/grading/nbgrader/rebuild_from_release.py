"""Take the released notebook and put the student's answers into it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry  # type: ignore[import-untyped]
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.clear_old_scores import FINAL_KEY
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder, StudentFolder
from yolotrt_lab.grading.nbgrader.rebuilding import answer_cells, marks_of, rebuild
from yolotrt_lab.grading.nbgrader.release import coursedir_of, released_notebook
from yolotrt_lab.grading.nbgrader.submission import read_submission

__all__ = ["RebuildFromRelease", "answers_behind", "rebuild_submission", "require_same_cells", "settle"]


class RebuildFromRelease(NbGraderPreprocessor):  # type: ignore[misc]
    """Replaces the submitted notebook by the release with the submission's answers.

    Duplicated, deleted, retyped, renamed and edited cells have no effect, and are listed. A notebook that cannot be
    read becomes the release without answers, marked as unreadable, so that nobody's batch stops at it.
    """

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Return the rebuilt notebook. Called by nbgrader's Autograde after ClearOldScores.

        Raises:
            InputError: The gradebook and the solution do not fit together.
        """
        place = resources["nbgrader"]
        coursedir = coursedir_of(self)
        release = released_notebook(coursedir, place["assignment"], place["notebook"], parent=self)
        with Gradebook(place["db_url"]) as gradebook:
            require_same_cells(release, gradebook, lab=place["assignment"], name=place["notebook"])
        folder = Path(coursedir.format_path(coursedir.submitted_directory, place["student"], place["assignment"]))
        kept = PrivateFolder(Path(coursedir.root)).student(place["assignment"], place["student"])
        rebuilt = rebuild_submission(release, folder, place["notebook"], kept)
        settle(rebuilt, resources.get(FINAL_KEY, ()), kept)
        marks = Marks.read(rebuilt)
        for text in [marks.unreadable] * bool(marks.unreadable) + [finding.text for finding in marks.findings]:
            self.log.warning("%s of %s: %s", place["notebook"], place["student"], text)
        return rebuilt, resources


def rebuild_submission(release: NotebookNode, folder: Path, name: str, kept: StudentFolder) -> NotebookNode:
    """Return the release with a submission's answers, marked with what was noticed.

    Args:
        release: The released notebook; it stays as it is.
        folder: The submission's folder.
        name: The notebook's name without suffix.
        kept: The records about this submission.
    """
    submission = read_submission(folder, name, answer_ids=frozenset(answer_cells(release)))
    rebuilt = rebuild(release, submission)
    arrival = [Finding.from_json(item) for item in kept.read("intake").get("findings", ())]
    findings = [*arrival, *rebuilt.findings]
    Marks(findings=findings, answers=rebuilt.answers, unreadable=submission.unreadable).write(rebuilt.notebook)
    return rebuilt.notebook


def settle(notebook: NotebookNode, final_by_hand: Iterable[str], kept: StudentFolder) -> None:
    """Mark the grades by hand that stay final, because the answers are the ones that were graded.

    Args:
        notebook: A rebuilt notebook, changed in place.
        final_by_hand: Grade ids that were final by hand until now.
        kept: The records about this submission, with the answers that were graded last.
    """
    marks, before = Marks.read(notebook), kept.read("grading").get("answers", {})
    marks.settled = [
        name
        for name in final_by_hand
        if answers_behind(name, marks.answers) and answers_behind(name, marks.answers) == answers_behind(name, before)
    ]
    marks.write(notebook)


def answers_behind(grade_id: str, answers: dict[str, str]) -> dict[str, str]:
    """Return the digests of the answers that a grade is about: a written answer itself, or those a check calls."""
    base = grade_id.removesuffix("-check")
    return {
        name: digest
        for name, digest in answers.items()
        if name in (grade_id, base) or (name.startswith(f"{base}-") and name.removeprefix(f"{base}-").isdigit())
    }


def require_same_cells(release: NotebookNode, gradebook: Gradebook, *, lab: str, name: str) -> None:
    """Raise if the gradebook was made from another version of the lab: its cells could not take the scores.

    Args:
        release: The released notebook.
        gradebook: nbgrader's gradebook.
        lab: The lab's full name.
        name: The notebook's name without suffix.

    Raises:
        InputError: The gradebook knows other cells, or other points.
    """
    points = {
        str(marks_of(cell)["grade_id"]): float(str(marks_of(cell)["points"]))
        for cell in release.cells
        if marks_of(cell).get("grade")
    }
    try:
        known = {cell.name: float(cell.max_score) for cell in gradebook.find_notebook(name, lab).grade_cells}
    except MissingEntry:
        known = {}
    if points != known:
        differing = sorted(name for name in points.keys() | known.keys() if points.get(name) != known.get(name))
        raise InputError(
            f"The gradebook holds another version of {lab}.",
            expected="the cells and points of the solution",
            got=f"differences in {', '.join(differing[:5])}",
            fix=f"yolotrt course release {lab}",
        )
