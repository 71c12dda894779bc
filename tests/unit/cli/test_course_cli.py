"""What `yolotrt course` says; what it does is tested with the functions it calls."""

import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from yolotrt_lab.cli.main import main
from yolotrt_lab.grading import course as functions
from yolotrt_lab.grading.course import ClassGrades, Collected, Feedback, GradeOptions, LabStatus, Released, StudentGrade
from yolotrt_lab.grading.course.status import StudentStatus
from yolotrt_lab.grading.nbgrader.findings import Finding

NOON = dt.datetime(2026, 1, 1, 12)
STUDENTS = (
    StudentStatus("ada", NOON, 90.0, 5.0, "graded", True, ()),
    StudentStatus("ben", None, 0.0, 0.0, "set aside", False, ("The file was cut off.",)),
)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def calls(monkeypatch):
    """Replace the functions by ones that remember how they were called."""
    calls = {}

    def stand_in(name, result):
        def call(*arguments, **options):
            calls[name] = (arguments[1:], options)
            return result

        monkeypatch.setattr(functions, name, call)

    opened = SimpleNamespace(lab=lambda name: f"{name}_full", exchange=Path("/srv/exchange"))
    monkeypatch.setattr(functions, "open_course", lambda root: opened)
    stand_in("release_lab", Released("lab1_full", (), 5, 100.0, NOON, Path("x"), ("A copy is kept.",)))
    stand_in("collect_lab", Collected("lab1_full", ("ada",), ("eve+lab1: a link",), 2))
    grades = (
        StudentGrade("ada", 90.0, 100.0, findings=(Finding("edited cell", "A cell was edited."),)),
        StudentGrade(
            "ben", 0.0, 100.0, unreadable="The file was cut off.", open_parts=(("x", "The file was cut off."),)
        ),
        StudentGrade("cleo", 0.0, 100.0, open_parts=(("x", "The judge failed."), ("written", ""))),
        StudentGrade("dan", 70.0, 100.0, up_to_date=True),
    )
    stand_in("grade_lab", ClassGrades("lab1_full", grades))
    stand_in("make_feedback", Feedback("lab1_full", {"ada": Path("ada.html")}, True, ("ada",), ("ada",)))
    stand_in("export_grades", (Path("grades.csv"), [{"score": 1.0}]))
    stand_in("course_status", (LabStatus("lab1_full", 100.0, NOON, True, STUDENTS),))
    return calls


@pytest.fixture
def said(calls, capsys):
    """Run a command; give its exit code, stdout and stderr, each with single spaces."""

    def run(*arguments):
        code = main(["course", *arguments])
        out, err = capsys.readouterr()
        return code, " ".join(out.split()), " ".join(err.split())

    return run


def test_release(said, calls):
    code, out, err = said("release", "lab1", "--due", "2026-01-01 12:00")
    assert code == 0
    assert "lab1_full 5 100 2026-01-01 12:00" in out
    assert "/srv/exchange" in out
    assert "A copy is kept." in err
    assert calls["release_lab"] == (("lab1_full",), {"due": NOON})


def test_release_with_a_bad_date(said, calls):
    code, _, err = said("release", "lab1", "--due", "tomorrow")
    assert code == 2
    assert "is no date" in err
    assert "release_lab" not in calls


@pytest.mark.parametrize("labs", [("lab1",), ()])
def test_collect(said, calls, labs):
    code, out, err = said("collect", *labs)
    assert code == 0
    assert "lab1_full 1 2 1" in out
    assert "Not collected: eve+lab1: a link" in err


def test_grade(said, calls):
    code, out, _ = said("grade", "lab1", "--student", "ada", "--student", "ben", "--again")
    assert code == 0
    assert "ada 90 / 100 graded" in out
    assert "ben 0 / 100 set aside" in out
    assert "dan 70 / 100 graded unchanged" in out
    assert "ada: A cell was edited." in out
    assert out.count("The file was cut off.") == 1
    assert "cleo: The judge failed." in out
    (_, given) = calls["grade_lab"]
    assert (given["students"], given["resume"], given["options"]) == (["ada", "ben"], False, GradeOptions(again=True))


def test_how_a_class_is_graded(said, calls):
    options = ("--exercise", "lab1.a", "--exercise", "lab1.b", "--jobs", "3", "--scheduler", "tls://x:1", "--resume")
    code, _, err = said("grade", "lab1", *options, "--no-canary", "--fresh", "--gpus", "2", "--unsafe-no-sandbox")
    assert code == 0
    assert "Without a sandbox" in err
    (_, given) = calls["grade_lab"]
    assert given["resume"]
    assert given["options"] == GradeOptions(
        fresh=True, exercises=("lab1.a", "lab1.b"), jobs=3, gpus=2, scheduler="tls://x:1", unsafe=True, canary=False
    )


def test_a_worker_for_a_cluster(said, monkeypatch):
    started = []
    monkeypatch.setattr("subprocess.call", lambda command: started.append(command) or 0)
    monkeypatch.setattr("yolotrt_lab.grading.sandbox.preflight.require_sandbox", lambda: None)
    assert said("worker", "tls://grader:8786", "--slots", "3")[0] == 0
    assert {"tls://grader:8786", "--nworkers=3", "--nthreads=1", "--resources=CPU=1"} <= set(started[0])
    assert said("worker", "tls://grader:8786", "--gpu")[0] == 0
    assert {"--nworkers=1", "--resources=GPU=1"} <= set(started[1])
    code, _, err = said("worker", "grader")
    assert (code, "not the address of a scheduler" in err) == (2, True)


def test_the_bar_counts():
    from yolotrt_lab.cli.console_grades import counting_bar
    from yolotrt_lab.grading.course.batch import Counts

    with counting_bar("Grading") as move:
        move(Counts(total=3, done=1, running=2, from_cache=1))
        move(Counts(total=3, done=3, trouble=1))


def test_grade_when_the_grader_stopped(said, monkeypatch):
    failed = ClassGrades("lab1_full", (StudentGrade("ada", failed="The disk is full."),))
    monkeypatch.setattr(functions, "grade_lab", lambda *_, **__: failed)
    code, out, err = said("grade", "lab1")
    assert code == 1
    assert "ada 0 / 0 grading failed" in out
    assert "stopped at 1 of 1 submissions" in err
    assert "The disk is full." in err


def test_feedback(said, calls):
    code, out, err = said("feedback", "lab1", "--no-release")
    assert code == 0
    assert "ada ada.html" in out
    assert "wait for a grade by hand" in err
    assert "send the page yourself: ada" in err
    assert calls["feedback" if "feedback" in calls else "make_feedback"][1] == {"release": False}


def test_export(said, calls):
    assert said("export", "lab1", "-o", "x.csv")[1] == "1 grades in grades.csv"
    assert calls["export_grades"] == ((Path("x.csv"),), {"labs": ["lab1_full"]})


def test_status(said):
    code, out, _ = said("status")
    assert code == 0
    assert "lab1_full yes 2026-01-01 12:00 2 1 0 1 1" in out
    assert "cut off" not in out
    _, out, _ = said("status", "lab1")
    assert "ada 2026-01-01 12:00 90 / 100 5 graded" in out
    assert "ben: The file was cut off." in out


@pytest.mark.parametrize(
    "command",
    [("release", "lab1"), ("collect",), ("grade", "lab1"), ("feedback", "lab1"), ("export",), ("status", "lab1")],
)
def test_json(calls, capsys, command):
    assert main(["course", *command, "--json"]) == 0
    json.loads(capsys.readouterr().out)


def test_outside_of_a_course(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["course", "status"]) == 2
    assert "not a course's folder" in capsys.readouterr().err
