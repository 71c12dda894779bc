"""`yolotrt course`: release a lab, collect and grade submissions, hand out feedback, report, export grades."""

from __future__ import annotations

import datetime as dt
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolotrt_lab.cli.console import JsonOption, emit, note, progress_bar, table
from yolotrt_lab.cli.console_grades import counting_bar, grades_text
from yolotrt_lab.errors import VerificationError

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.grading.course import ClassGrades, Course, LabStatus

__all__ = ["register"]

LabArgument = Annotated[str, typer.Argument(help="A lab: `lab4`, or its full name.")]
LabsArgument = Annotated[list[str] | None, typer.Argument(help="Labs, all if none are named.", show_default=False)]
CourseOption = Annotated[
    Path | None, typer.Option("--course", help="The course's folder [the one you are in].", show_default=False)
]
StudentsOption = Annotated[
    list[str] | None, typer.Option("--student", help="Only this student; may be repeated.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    course = typer.Typer(
        name="course",
        help="For instructors: release labs, collect, grade, give feedback, export grades.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
    )
    for command in (release, collect, grade, feedback, report, export, status):
        course.command()(command)
    course.command("sample-class")(sample_class)
    course.command()(worker)
    app.add_typer(course)


def release(
    labs: Annotated[list[str], typer.Argument(help="Labs: `lab4`, or full names.")],
    due: Annotated[
        str | None, typer.Option(help="Due date: 2026-12-01, or 2026-12-01T23:59+01:00; UTC without a zone.")
    ] = None,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the students' notebooks, enter the labs into the gradebook, and put them into the exchange.

    May be repeated. The due date stays unless you give another; a student's work in labs/ is kept aside.

    **Examples**

    `yolotrt course release lab1 --due 2026-12-01`

    `yolotrt course release lab1 lab2 lab3`
    """
    from yolotrt_lab.grading.course import open_course, release_lab
    from yolotrt_lab.grading.course.release import parse_due

    opened, moment = open_course(course), parse_due(due) if due else None
    names = [opened.lab(name) for name in labs]
    results = []
    with progress_bar("Releasing") as on_progress:
        for number, name in enumerate(names):
            on_progress(number, len(names))
            results.append(release_lab(opened, name, due=moment))
        on_progress(len(names), len(names))
    for result in results:
        for text in result.notes:
            note(f"{result.lab}: {text}")
    rows = [(item.lab, item.exercises, item.points, _moment(item.due)) for item in results]
    where = f"Students fetch it from {opened.exchange}."
    human: list[Table | str] = [table("Released", ("lab", "exercises", "points", "due"), rows), where]
    emit({"released": [_plain(asdict(item)) for item in results]}, as_json=as_json, human=human)


def collect(labs: LabsArgument = None, course: CourseOption = None, as_json: JsonOption = False) -> None:
    """Fetch each student's newest submission from the exchange.

    Times count as the exchange's file system noted them. What is not a proper submission is listed and left.

    **Examples**

    `yolotrt course collect lab1`
    """
    from yolotrt_lab.grading.course import collect_lab, open_course

    opened = open_course(course)
    results = [collect_lab(opened, name) for name in _released(opened, labs)]
    for result in results:
        for text in result.refused:
            note(f"Not collected: {text}")
    rows = [(item.lab, len(item.collected), item.submissions, len(item.refused)) for item in results]
    human = table("Collected", ("lab", "new", "in all", "refused"), rows)
    emit({"collected": [asdict(item) for item in results]}, as_json=as_json, human=human)


def grade(
    lab: LabArgument,
    students: StudentsOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that are graded and unchanged, from kept results.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run and judge everything anew, whatever is kept.")] = False,
    exercises: Annotated[
        list[str] | None,
        typer.Option("--exercise", help="Judge only this exercise (lab4.nms); may be repeated.", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Submissions that run at once [one per core].", show_default=False)
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, help="Run submissions on so many GPUs, one on each at a time.")] = 0,
    scheduler: Annotated[
        str, typer.Option(help="A Dask cluster that runs the submissions: tls://grader:8786.", show_default=False)
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the batch that was interrupted.")] = False,
    canary: Annotated[bool, typer.Option(help="Grade the solution and a wrong answer first.")] = True,
    unsafe: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="Run students' code as you, without a sandbox.")
    ] = False,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run and judge the submissions that are new or changed, or that were graded by other tests.

    Each is graded by itself, in a sandbox, on all cores. Before the first, the solution must get full marks and a wrong
    answer must not. Grades by hand stay. What could not be judged gets no score and waits for you in formgrader. What
    was run is kept: when only tests change, nothing is run again. Exit code 1: the grader stopped at a submission.

    **Examples**

    `yolotrt course grade lab1`

    `yolotrt course grade lab1 --student ada --again`

    `yolotrt course grade lab4 --exercise lab4.nms`

    `yolotrt course grade lab1 --resume`
    """
    from yolotrt_lab.grading.course import GradeOptions, grade_lab, open_course

    opened = open_course(course)
    name = opened.lab(lab)
    options = GradeOptions(
        again=again,
        fresh=fresh,
        exercises=tuple(exercises or ()),
        jobs=jobs,
        gpus=gpus,
        scheduler=scheduler,
        unsafe=unsafe,
        canary=canary,
    )
    if unsafe:
        note("Without a sandbox students' code can do all that you can: read, change and send your files.")
    with counting_bar(f"Grading {name}") as on_counts:
        result = grade_lab(opened, name, students=students or (), options=options, resume=resume, on_counts=on_counts)
    emit(_grades_json(result), as_json=as_json, human=grades_text(result))
    failed = [item for item in result.students if item.failed]
    if failed:
        raise VerificationError(
            f"The grader stopped at {len(failed)} of {len(result.students)} submissions.",
            got="; ".join(f"{item.student}: {item.failed}" for item in failed[:5]),
            fix="Correct the cause and grade again: only these are repeated.",
        )


def feedback(
    lab: LabArgument,
    release: Annotated[bool, typer.Option(help="Let students fetch their pages from the exchange.")] = True,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a feedback page for each graded submission and hand the pages out.

    **Examples**

    `yolotrt course feedback lab1`

    `yolotrt course feedback lab1 --no-release`
    """
    from yolotrt_lab.grading.course import make_feedback, open_course

    opened = open_course(course)
    result = make_feedback(opened, opened.lab(lab), release=release)
    if result.still_open:
        note(f"Parts of {len(result.still_open)} submissions wait for a grade by hand; their pages say so.")
    if result.released and result.by_other_ways:
        note(f"Not handed in through the exchange, so send the page yourself: {', '.join(result.by_other_ways)}.")
    rows = [(student, page) for student, page in result.pages.items()]
    emit(_plain(asdict(result)), as_json=as_json, human=table(f"Feedback on {result.lab}", ("student", "page"), rows))


def report(
    lab: LabArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An .html file [course/grading/reports/LAB.html].")
    ] = None,
    similar: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="List pairs that share this part of the smaller submission.")
    ] = 0.6,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a page on how the lab went: scores, misconceptions, hard and doubtful exercises, flags, similar submissions.

    It names students and is for instructors only; nobody else may read the file.

    **Examples**

    `yolotrt course report lab4`

    `yolotrt course report lab4 --output lab4.html --similar 0.8`
    """
    from yolotrt_lab.grading.course import open_course
    from yolotrt_lab.grading.course.report import report_lab, write_class_report

    opened = open_course(course)
    name = opened.lab(lab)
    result = report_lab(opened, name, similar=similar)
    path = write_class_report(result, output or opened.private.path / "reports" / f"{name}.html")
    rows = [
        (row.part.title, "" if row.difficulty is None else f"{row.difficulty:.0%}", row.remark) for row in result.items
    ]
    human: list[Table | str] = [table(f"{name}: {len(result.shares)} submissions", ("part", "of the points", ""), rows)]
    human += [
        f"{len(row.students)} {'student' if len(row.students) == 1 else 'students'}: {row.text}"
        for row in result.misconceptions[:3]
    ]
    human += [f"{' and '.join(pair.students)} share {pair.share:.0%}." for pair in result.similarity.pairs[:3]]
    emit({"file": path, **_plain(result.to_json())}, as_json=as_json, human=[*human, f"The report: {path}"])


def export(
    labs: LabsArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv or .json file [course/grading/grades.csv].")
    ] = None,
    course: CourseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the grades to a file: a row per lab and student; JSON also has each exercise.

    **Examples**

    `yolotrt course export`

    `yolotrt course export lab1 --output lab1.json`
    """
    from yolotrt_lab.grading.course import export_grades, open_course

    opened = open_course(course)
    path, rows = export_grades(opened, output, labs=[opened.lab(name) for name in labs or ()])
    emit({"file": path, "grades": rows}, as_json=as_json, human=f"{len(rows)} grades in {path}")


def status(labs: LabsArgument = None, course: CourseOption = None, as_json: JsonOption = False) -> None:
    """Show how the labs stand; for a lab that you name, also each student.

    **Examples**

    `yolotrt course status`

    `yolotrt course status lab1`
    """
    from yolotrt_lab.grading.course import course_status, open_course

    opened = open_course(course)
    result = course_status(opened, [opened.lab(name) for name in labs or ()])
    human: list[Table | str] = [_labs_table(result)]
    if labs:
        human += [part for item in result for part in _students_text(item)]
    emit({"labs": [_plain(asdict(item)) for item in result]}, as_json=as_json, human=human)


def sample_class(
    lab: Annotated[str, typer.Argument(help="A lab: `lab1`, or its full name.")] = "lab1",
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for the class; replaced.")] = Path(
        "runs/class"
    ),
    as_json: JsonOption = False,
) -> None:
    """Grade a class of five made-up students, in a course of its own, to see the grader at work.

    One has everything right, one half of it, one everything wrong; one hands in a notebook that was cut off, and one
    edited the check cells. Your own gradebook is not touched.

    **Examples**

    `yolotrt course sample-class lab1`
    """
    from yolotrt_lab.grading.course.sample_class import grade_sample_class

    with progress_bar(f"Grading five submissions of {lab}") as on_progress:
        result = grade_sample_class(lab, output, on_progress=on_progress)
    rows = [(student, what, f"{score:g} / {points:g}", state) for student, what, score, points, state in result.rows()]
    human: list[Table | str] = [table(f"A class on {result.lab}", ("student", "handed in", "points", "state"), rows)]
    findings = ((grade.student, finding.text) for grade in result.grades.students for finding in grade.findings)
    human += [f"{student}: {text}" for student, text in list(findings)[:6]]
    human += [f"Gradebook: {result.gradebook}", f"A feedback page: {result.pages.get('cleo', 'none')}"]
    content = {"lab": result.lab, "students": rows, "pages": result.pages, "gradebook": result.gradebook}
    emit(_plain(content), as_json=as_json, human=human)


def worker(
    scheduler: Annotated[str, typer.Argument(help="The scheduler's address: tls://grader:8786.")],
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Submissions that run at once [one per core, one with --gpu].", show_default=False),
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="The GPU that CUDA_VISIBLE_DEVICES names.")] = False,
) -> None:
    """Run submissions that `yolotrt course grade --scheduler` sends to a cluster, until you stop it.

    Start `dask scheduler` on one machine and this on every other. Use addresses with tls:// and certificates of your
    own (Dask's `distributed.comm.tls`): whoever reaches the scheduler can run programs on the workers.

    **Examples**

    `yolotrt course worker tls://grader:8786 --slots 8`

    `CUDA_VISIBLE_DEVICES=0 yolotrt course worker tls://grader:8786 --gpu`
    """
    from yolotrt_lab.grading.jobs.dask_workers import worker_command
    from yolotrt_lab.grading.sandbox.preflight import require_sandbox
    from yolotrt_lab.optional import require
    from yolotrt_lab.system import usable_cores

    require("distributed", purpose="work for a cluster")
    require_sandbox()
    raise typer.Exit(subprocess.call(worker_command(scheduler, slots=slots or (1 if gpu else usable_cores()), gpu=gpu)))


def _released(opened: Course, labs: list[str] | None) -> list[str]:
    """Return the labs that are meant: those named, or all that were released."""
    from yolotrt_lab.grading.course import course_status

    return [opened.lab(name) for name in labs] if labs else [x.lab for x in course_status(opened) if x.is_released]


def _grades_json(result: ClassGrades) -> dict[str, Any]:
    return {
        "lab": result.lab,
        "students": [{**_plain(asdict(item)), "state": item.state} for item in result.students],
    }


def _labs_table(labs: tuple[LabStatus, ...]) -> Table:
    rows = [
        (
            item.lab,
            "yes" if item.is_released else "no",
            _moment(item.due),
            len(item.students),
            sum(student.state in ("graded", "needs grading by hand") for student in item.students),
            item.count("needs grading by hand"),
            item.count("set aside"),
            sum(student.has_feedback for student in item.students),
        )
        for item in labs
    ]
    return table("Labs", ("lab", "out", "due", "in", "graded", "by hand", "aside", "pages"), rows)


def _students_text(lab: LabStatus) -> list[Table | str]:
    rows = [
        (item.student, _moment(item.submitted), _points(item.score, lab.points), f"{item.penalty:g}", item.state)
        for item in lab.students
    ]
    flags: list[Table | str] = [f"{item.student}: {text}" for item in lab.students for text in item.flags]
    return [table(lab.lab, ("student", "submitted (UTC)", "points", "penalty", "state"), rows), *flags]


def _points(score: float | None, points: float) -> str:
    """Return points given out of points that can be earned; what was not graded has none, not zero."""
    return f"{'-' if score is None else f'{score:g}'} / {points:g}"


def _moment(moment: dt.datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _plain(value: Any) -> Any:
    """Return a value with times as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, dt.datetime) else value
