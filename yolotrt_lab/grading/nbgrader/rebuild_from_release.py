"""Take the released notebook and put the student's answers into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry  # type: ignore[import-untyped]
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.rebuilding import answer_cells, marks_of, rebuild
from yolotrt_lab.grading.nbgrader.release import coursedir_of, released_notebook
from yolotrt_lab.grading.nbgrader.submission import read_submission

__all__ = ["RebuildFromRelease", "answers_behind"]


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
        _require_same_cells(release, place)
        folder = Path(coursedir.format_path(coursedir.submitted_directory, place["student"], place["assignment"]))
        submission = read_submission(folder, place["notebook"], answer_ids=frozenset(answer_cells(release)))
        rebuilt = rebuild(release, submission)
        kept = PrivateFolder(Path(coursedir.root)).student(place["assignment"], place["student"])
        arrival = [Finding.from_json(item) for item in kept.read("intake").get("findings", ())]
        Marks(
            findings=[*arrival, *rebuilt.findings],
            answers=rebuilt.answers,
            settled=_settled(
                resources.get("yolotrt_final_by_hand", ()), rebuilt.answers, kept.read("grading").get("answers", {})
            ),
            unreadable=submission.unreadable,
        ).write(rebuilt.notebook)
        if submission.unreadable:
            self.log.warning("%s of %s: %s", place["notebook"], place["student"], submission.unreadable)
        for finding in rebuilt.findings:
            self.log.warning("%s of %s: %s", place["notebook"], place["student"], finding.text)
        return rebuilt.notebook, resources


def answers_behind(grade_id: str, answers: dict[str, str]) -> dict[str, str]:
    """Return the digests of the answers that a grade is about: a written answer itself, or those a check calls."""
    base = grade_id.removesuffix("-check")
    return {
        name: digest
        for name, digest in answers.items()
        if name in (grade_id, base) or (name.startswith(f"{base}-") and name.removeprefix(f"{base}-").isdigit())
    }


def _settled(final_by_hand: list[str], answers: dict[str, str], before: dict[str, str]) -> list[str]:
    """Return the grades by hand that stay final, because the answers are the ones that were graded."""
    return [
        name
        for name in final_by_hand
        if answers_behind(name, answers) and answers_behind(name, answers) == answers_behind(name, before)
    ]


def _require_same_cells(release: NotebookNode, place: dict[str, str]) -> None:
    """Raise if the gradebook was made from another version of the lab: its cells could not take the scores."""
    points = {
        str(marks_of(cell)["grade_id"]): float(str(marks_of(cell)["points"]))
        for cell in release.cells
        if marks_of(cell).get("grade")
    }
    with Gradebook(place["db_url"]) as gradebook:
        try:
            notebook = gradebook.find_notebook(place["notebook"], place["assignment"])
            known = {cell.name: float(cell.max_score) for cell in notebook.grade_cells}
        except MissingEntry:
            known = {}
    if points != known:
        differing = sorted(name for name in points.keys() | known.keys() if points.get(name) != known.get(name))
        raise InputError(
            f"The gradebook holds another version of {place['assignment']}.",
            expected="the cells and points of the solution",
            got=f"differences in {', '.join(differing[:5])}",
            fix=f"yolotrt course release {place['assignment']}",
        )
