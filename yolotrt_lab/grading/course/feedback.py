"""Make the feedback pages and hand them out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from traitlets.utils.importstring import import_item

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course.session import Course

__all__ = ["Feedback", "apply_late_policy", "make_feedback"]


@dataclass(frozen=True)
class Feedback:
    """The feedback pages of a lab.

    Attributes:
        lab: The lab.
        pages: The pages by student.
        released: Whether they are in the exchange for the students to fetch.
        still_open: Students some of whose parts wait for a grade by hand: their pages say so.
        by_other_ways: Students whose submission did not come through the exchange: send them their page.
    """

    lab: str
    pages: dict[str, Path]
    released: bool
    still_open: tuple[str, ...]
    by_other_ways: tuple[str, ...]


def make_feedback(course: Course, lab: str, *, release: bool = True) -> Feedback:
    """Make a page for each graded submission, and put the pages into the exchange.

    Args:
        course: The course.
        lab: The lab's full name.
        release: Whether students may fetch them.

    Raises:
        InputError: Nothing has been graded.
        CourseError: nbgrader refused.
    """
    from nbgrader.converters import GenerateFeedback  # type: ignore[import-untyped]

    graded = [path.parent.name for path in course.folder("autograded", lab, "x").parents[1].glob(f"*/{lab}")]
    if not graded:
        raise InputError(
            f"Nothing of {lab} has been graded.", expected="graded submissions", fix=f"yolotrt course grade {lab}"
        )
    for page in sorted(course.folder("feedback", lab, "x").parents[1].glob(f"*/{lab}")):
        if page.parent.name not in graded:  # its grade is gone, and what it said with it
            shutil.rmtree(page, ignore_errors=True)
    apply_late_policy(course, lab)
    converter = GenerateFeedback(coursedir=course.coursedir(lab=lab), config=course.config)
    converter.force = True
    course.run(converter, doing=f"Making the feedback on {lab}")
    folders = {student: course.folder("feedback", lab, student) for student in sorted(graded)}
    if release:
        course.run(course.exchange_step("ReleaseFeedback", lab=lab), doing=f"Handing out the feedback on {lab}")
    pages = {student: page for student, folder in folders.items() for page in sorted(folder.glob("*.html"))[:1]}
    secrets = {student: course.folder("submitted", lab, student) / "submission_secret.txt" for student in pages}
    with course.gradebook() as gradebook:
        still_open = [student for student in pages if gradebook.find_submission(lab, student).needs_manual_grade]
    return Feedback(
        lab,
        pages,
        released=release,
        still_open=tuple(still_open),
        by_other_ways=tuple(student for student, path in secrets.items() if not path.is_file()),
    )


def apply_late_policy(course: Course, lab: str) -> None:
    """Set the penalties of a lab by the points as they are now.

    nbgrader sets them when it autogrades; points that an instructor gives later would escape.
    """
    name = course.config.AssignLatePenalties.get("plugin_class", "nbgrader.plugins.LateSubmissionPlugin")
    plugin = import_item(name)(config=course.config) if isinstance(name, str) else name(config=course.config)
    with course.gradebook() as gradebook:
        for submission in gradebook.assignment_submissions(lab):
            seconds = submission.total_seconds_late if submission.assignment.duedate else 0
            for notebook in submission.notebooks:
                penalty = None
                if seconds > 0:
                    penalty = plugin.late_submission_penalty(submission.student.id, notebook.score, seconds)
                notebook.late_submission_penalty = None if penalty is None else min(max(penalty, 0.0), notebook.score)
        gradebook.db.commit()
