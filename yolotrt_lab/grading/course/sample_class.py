"""A class of five, to see the grader at work: one student has it all, one half, one it wrong, two are trouble.

Their notebooks are made from a lab's release and solution; the wrong answers are those that the course's own tests keep
for each exercise, where there are some.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course.export import export_grades
from yolotrt_lab.grading.course.feedback import make_feedback
from yolotrt_lab.grading.course.grade import ClassGrades, GradeOptions, StudentGrade, grade_lab
from yolotrt_lab.grading.course.release import release_lab
from yolotrt_lab.grading.course.session import Course, open_course
from yolotrt_lab.grading.course.wrong_answers import wrong_answers
from yolotrt_lab.grading.nbgrader.rebuilding import answer_cells, is_check
from yolotrt_lab.grading.nbgrader.release import read_notebook, release_from_solution
from yolotrt_lab.grading.notebook import WORKSPACE_VARIABLE
from yolotrt_lab.grading.sandbox.preflight import sandbox_works
from yolotrt_lab.types import ProgressCallback

__all__ = ["STUDENTS", "ClassResult", "grade_sample_class", "sample_submissions"]

REPOSITORY = Path(__file__).resolve().parents[3]
_MARK = ".sample-class"  # says that the folder may be replaced

STUDENTS = {
    "ada": "everything, right",
    "ben": "half of it",
    "cleo": "everything, wrong",
    "dan": "a notebook that was cut off",
    "eve": "edited test cells instead of answers",
}
"""Who is in the class, and what they hand in."""


@dataclass(frozen=True)
class ClassResult:
    """The graded class.

    Attributes:
        lab: The lab.
        root: The folder of the course that was made for it.
        grades: How each submission came out.
        pages: The feedback pages by student.
        gradebook: The grades as CSV.
    """

    lab: str
    root: Path
    grades: ClassGrades
    pages: dict[str, Path]
    gradebook: Path

    def rows(self) -> list[tuple[str, str, float, float, str]]:
        """Return (student, what was handed in, points, most points, state) for a table."""
        return [_row(grade) for grade in self.grades.students]


def _row(grade: StudentGrade) -> tuple[str, str, float, float, str]:
    return grade.student, STUDENTS[grade.student], grade.score, grade.points, grade.state


def grade_sample_class(
    lab: str, output: Path, *, source: Path = REPOSITORY, on_progress: ProgressCallback | None = None
) -> ClassResult:
    """Release a lab to a class of five, grade what they hand in, and make their feedback pages.

    Works in a course of its own, so that the instructor's gradebook stays as it is.

    Args:
        lab: The lab, "lab1" or its full name.
        output: A folder for the course; what an earlier call left there is replaced.
        source: The course whose lab is taken.
        on_progress: Called with (submissions graded, submissions in all).

    Raises:
        InputError: There is no such lab, or the folder holds something else.
        CourseError: nbgrader refused.
    """
    name = open_course(source).lab(lab)
    course = _course_in(output, source, name)
    release_lab(course, name)
    for student, content in sample_submissions(course, name, answers=source / "tests" / "course").items():
        folder = course.folder("submitted", name, student)
        folder.mkdir(parents=True)
        (folder / f"{name}.ipynb").write_text(content, encoding="utf-8")
    with _workspace_of(source):
        # These five are ours, so a machine without a sandbox may show them as well.
        options = GradeOptions(unsafe=not sandbox_works())
        grades = grade_lab(course, name, options=options, on_progress=on_progress)
    feedback = make_feedback(course, name, release=False)
    path, _ = export_grades(course)
    return ClassResult(name, course.root, grades, feedback.pages, path)


def sample_submissions(course: Course, lab: str, *, answers: Path | None = None) -> dict[str, str]:
    """Return the text of the file that each student hands in.

    Args:
        course: The course; its solution of the lab is read.
        lab: The lab's full name.
        answers: A folder with wrong answers, `<lab4>/<kl_threshold>.py`.
    """
    solution = read_notebook(course.folder("source", lab) / f"{lab}.ipynb")
    release = release_from_solution(solution)
    right = {grade_id: str(cell.source) for grade_id, cell in answer_cells(solution).items()}
    stubs = {grade_id: str(cell.source) for grade_id, cell in answer_cells(release).items()}
    wrong = {**right, **wrong_answers(solution, answers)}
    half = dict(list(right.items())[: max(1, len(right) // 2)])
    complete = json.dumps(_answered(release, right), ensure_ascii=False, indent=1)
    return {
        "ada": complete,
        "ben": json.dumps(_answered(release, {**stubs, **half}), ensure_ascii=False, indent=1),
        "cleo": json.dumps(_answered(release, wrong), ensure_ascii=False, indent=1),
        "dan": complete[: len(complete) // 2],
        "eve": json.dumps(_tampered(release), ensure_ascii=False, indent=1),
    }


def _course_in(output: Path, source: Path, lab: str) -> Course:
    """Make a course that has one lab."""
    if output.exists() and any(output.iterdir()) and not (output / _MARK).is_file():
        raise InputError(f"{output} holds something else.", expected="an empty folder, or none", got="other files")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / _MARK).touch()
    shutil.copy(source / "nbgrader_config.py", output)
    for folder in ("solutions", "labs"):
        if (source / folder / lab).is_dir():
            shutil.copytree(source / folder / lab, output / folder / lab)
    return open_course(output)


@contextlib.contextmanager
def _workspace_of(source: Path) -> Iterator[None]:
    """Let the labs use the data and models that are there already, rather than make them again for five students."""
    if os.environ.get(WORKSPACE_VARIABLE):
        yield
        return
    os.environ[WORKSPACE_VARIABLE] = str(source / "runs" / "labs")
    try:
        yield
    finally:
        del os.environ[WORKSPACE_VARIABLE]


def _answered(release: NotebookNode, texts: dict[str, str]) -> NotebookNode:
    notebook = copy.deepcopy(release)
    for grade_id, cell in answer_cells(notebook).items():
        cell.source = texts.get(grade_id, cell.source)
    return notebook


def _tampered(release: NotebookNode) -> NotebookNode:
    """Return the release with check cells that would give full marks in plain nbgrader, and one of them twice."""
    notebook = copy.deepcopy(release)
    checks = [cell for cell in notebook.cells if is_check(cell)]
    for cell in checks:
        cell.source = f"{cell.metadata.nbgrader.points}"
        cell.metadata.nbgrader.points = 100
    notebook.cells.append(copy.deepcopy(checks[0]))
    return notebook
