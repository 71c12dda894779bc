"""Hand in what a class of adversaries, their twins and their classmates have made, grade it at once, and look at it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat

from arena.adversary import Adversary, Work, write_notebook
from arena.host import Host
from arena.target import TargetLab, course_of
from yolotrt_lab.grading.course import Course, GradeOptions, grade_lab, make_feedback, release_lab
from yolotrt_lab.grading.nbgrader.findings import Finding

__all__ = ["BYSTANDER", "CLASSMATES", "GradedClass", "Outcome", "grade_class", "released_notebook"]

CLASSMATES = ("aaron", "zoe")  # honest, first and last in the class
BYSTANDER = "noor"  # graded before, by hand, and not in this batch
_JOBS = 4  # many of them do nothing but wait for their time to be up
_CLASSMATES_CANARY = "classmate-canary-77a4"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one submission.

    Attributes:
        scores: Automatic score by grade id; None where there is none.
        by_hand: Grade ids that wait for a grade by hand.
        findings: What was noticed.
        unreadable: Why nothing could be graded.
        failed: Why the grader itself stopped at it.
        page: The feedback page.
        kept: All that is kept of the submission's run: the graded notebook, and the records as text.
    """

    scores: Mapping[str, float | None]
    by_hand: frozenset[str]
    findings: tuple[Finding, ...]
    unreadable: str = ""
    failed: str = ""
    page: str = ""
    kept: str = ""


@dataclass
class GradedClass:
    """A graded class.

    Attributes:
        course: The course.
        lab: The lab.
        outcomes: What became of each submission, by student.
        works: What each adversary handed in.
        violations: What happened to the host.
        secrets: What must be in nothing that a student could read, by what it is.
        bystander: The grades of somebody outside the batch, before and after.
    """

    course: Course
    lab: TargetLab
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    bystander: list[Any] = field(default_factory=list)


def grade_class(folder: Path, lab: TargetLab, adversaries: Iterable[Adversary]) -> GradedClass:
    """Grade a class of these adversaries in an empty folder; those of other labs are passed over."""
    root = folder / "course"
    root.mkdir(parents=True)
    course = course_of(root, [lab])
    environment = {
        "YOLOTRT_GRADING_SUITE": str(root / "suite"),
        "HOME": str(folder / "home"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),  # where the grader's own pictures keep their fonts
    }
    with mock.patch.dict(os.environ, environment):
        os.environ.pop("YOLOTRT_EXCHANGE", None)
        release_lab(course, lab.name)
        released = released_notebook(root / "labs" / lab.name / lab.file)
        graded = GradedClass(course, lab)
        watched = tuple(
            root / name for name in ("solutions", "labs", "suite", "nbgrader_config.py", "course/notebooks")
        )
        with Host(folder, watched=watched) as host:
            _hand_in(graded, [item for item in adversaries if item.lab is lab], released, host)
            graded.secrets = _secrets_of(course, lab, host)
            graded.bystander.append(_enter_bystander(course, lab))
            _enter_old_grades(course, lab, graded.works)
            result = grade_lab(course, lab.name, options=GradeOptions(jobs=_JOBS))
            pages = make_feedback(course, lab.name, release=False).pages
            graded.violations = host.violations()
        graded.bystander.append(_grades_of(course, lab, BYSTANDER))
        for item in result.students:
            graded.outcomes[item.student] = _outcome(course, lab, item, pages.get(item.student))
    return graded


def released_notebook(path: Path) -> dict[str, Any]:
    """Return a released notebook as plain JSON, each source as one text."""
    return dict(json.loads(json.dumps(nbformat.read(path, as_version=4))))


def _hand_in(graded: GradedClass, adversaries: Sequence[Adversary], released: dict[str, Any], host: Host) -> None:
    course, lab = graded.course, graded.lab
    known = {**host.known, "COURSE": str(course.root)}
    for item in adversaries:
        place = course.folder("submitted", lab.name, item.name)
        graded.works[item.name] = item.hand_in(place, released, {**known, "ME": item.name})
    honest = {item.twin_name: item.twins_notebook(released) for item in adversaries}
    right = Adversary(name="", group="", tries="", lab=lab, twin={}, make=lambda _: None)
    for name in CLASSMATES:
        honest[name] = right.twins_notebook(released)
        honest[name]["metadata"]["title"] = _CLASSMATES_CANARY
    for student, notebook in honest.items():
        place = course.folder("submitted", lab.name, student)
        place.mkdir(parents=True)
        write_notebook(place / lab.file, notebook)


def _secrets_of(course: Course, lab: TargetLab, host: Host) -> dict[str, str]:
    seed = course.private.hidden_seed(lab.name)
    return {
        "a file of the home folder": host.secret,
        "the hidden seed": str(seed),
        "a classmate's submission": _CLASSMATES_CANARY,
        "a run outside of any sandbox": "NO SANDBOX",
        **lab.canaries,
        "the secret behind the hidden seeds": (course.private.path / "hidden_seed").read_text().strip(),
    }


def _enter_bystander(course: Course, lab: TargetLab) -> Any:
    """Enter somebody who was graded by hand long ago, and return the grades."""
    with course.gradebook() as gradebook:
        gradebook.update_or_create_student(BYSTANDER)
        gradebook.update_or_create_submission(lab.name, BYSTANDER)
        for grade in gradebook.find_submission_notebook(lab.name, lab.name, BYSTANDER).grades:
            grade.manual_score, grade.needs_manual_grade = 1.0, False
        gradebook.db.commit()
    return _grades_of(course, lab, BYSTANDER)


def _enter_old_grades(course: Course, lab: TargetLab, students: Iterable[str]) -> None:
    """Give adversaries full marks for something that they handed in before."""
    with course.gradebook() as gradebook:
        for student in students:
            gradebook.update_or_create_student(student)
            gradebook.update_or_create_submission(lab.name, student)
            for grade in gradebook.find_submission_notebook(lab.name, lab.name, student).grades:
                grade.auto_score, grade.needs_manual_grade = grade.cell.max_score, False
        gradebook.db.commit()


def _grades_of(course: Course, lab: TargetLab, student: str) -> list[tuple[Any, ...]]:
    with course.gradebook() as gradebook:
        notebook = gradebook.find_submission_notebook(lab.name, lab.name, student)
        return sorted(
            (grade.name, grade.auto_score, grade.manual_score, grade.needs_manual_grade) for grade in notebook.grades
        )


def _outcome(course: Course, lab: TargetLab, item: Any, page: Path | None) -> Outcome:
    grades = [] if item.failed else _grades_of(course, lab, item.student)
    autograded = course.folder("autograded", lab.name, item.student)
    kept = [path for path in autograded.rglob("*") if path.is_file() and not path.is_symlink()]
    return Outcome(
        scores={name: score for name, score, _, _ in grades},
        by_hand=frozenset(name for name, _, _, waits in grades if waits),
        findings=item.findings,
        unreadable=item.unreadable,
        failed=item.failed,
        page=page.read_text(encoding="utf-8") if page else "",
        kept="\n".join(path.read_text(encoding="utf-8", errors="replace") for path in kept),
    )
