import datetime as dt
import json

import pytest

from yolotrt_lab.cli.main import main
from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course import (
    GradeOptions,
    course_status,
    export_grades,
    grade_lab,
    make_feedback,
    open_course,
    release_lab,
)
from yolotrt_lab.grading.course.recording import Recorder
from yolotrt_lab.grading.nbgrader.intake import format_time

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOUBLE, SMALLEST, WRITTEN = "lab0-double-check", "lab0-smallest-check", "lab0-written"
DUE = dt.datetime(2026, 1, 10)


@pytest.fixture
def course(root, sample):
    course = open_course(root)
    release_lab(course, sample.LAB)
    return course


@pytest.fixture
def grade(course, sample):
    def run(*, again=False, **more):
        # Canaries, and the second run of a few, have tests of their own in test_batch.py.
        options = GradeOptions(again=again, canary=False, recheck=0.0)
        return {item.student: item for item in grade_lab(course, sample.LAB, options=options, **more).students}

    return run


@pytest.fixture
def by_hand(course, sample):
    """Set a score and a comment, as formgrader does."""

    def run(student, score, comment=None, *, grade_id=WRITTEN):
        with course.gradebook() as gradebook:
            grade = gradebook.find_grade(grade_id, sample.LAB, sample.LAB, student)
            grade.manual_score, grade.needs_manual_grade = score, False
            if comment:
                gradebook.find_comment(grade_id, sample.LAB, sample.LAB, student).manual_comment = comment
            gradebook.db.commit()

    return run


def rewrite(root, sample, student, notebook):
    path = root / "course" / "submitted" / student / sample.LAB / f"{sample.LAB}.ipynb"
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook))


def test_grades_by_hand_survive_and_are_not_asked_for_again(root, sample, course, grade, by_hand):
    sample.hand_in(root, "ada", sample.answered(root))
    first = grade()["ada"]
    assert (first.score, first.state, dict(first.open_parts)) == (10.0, "needs grading by hand", {WRITTEN: ""})
    by_hand("ada", 8.0, "Well put.")
    again = grade(again=True)["ada"]
    assert (again.score, again.state, again.open_parts) == (18.0, "graded", ())
    page = make_feedback(course, sample.LAB).pages["ada"].read_text()
    assert "Well put." in page

    rewrite(root, sample, "ada", sample.answered(root, lab0_written="Something else."))
    changed = grade()["ada"]
    assert changed.score == 18.0  # kept, and asked for again: it is another answer
    assert dict(changed.open_parts) == {WRITTEN: ""}


def test_a_score_by_hand_for_code_holds_as_long_as_the_code(root, sample, grade, by_hand):
    sample.hand_in(root, "ada", sample.answered(root, lab0_double="def double(x): return 0", lab0_written=None))
    assert grade()["ada"].score == 6.0
    by_hand("ada", 5.0, grade_id=DOUBLE)
    assert grade(again=True)["ada"].open_parts == ()
    rewrite(root, sample, "ada", sample.answered(root, lab0_double="def double(x): return 1", lab0_written=None))
    assert dict(grade()["ada"].open_parts) == {DOUBLE: ""}


def test_old_scores_never_stand_in_for_new_ones(root, sample, course, grade):
    sample.hand_in(root, "ada", sample.answered(root))
    assert grade()["ada"].score == 10.0
    rewrite(root, sample, "ada", '{"cells": [')
    broken = grade()["ada"]
    assert (broken.score, broken.state) == (0.0, "set aside")
    assert {name for name, _ in broken.open_parts} == {DOUBLE, SMALLEST, WRITTEN}
    notebook = sample.answered(root, lab0_double=None)
    notebook["cells"] = [cell for cell in notebook["cells"] if not cell["source"].startswith("check(")]
    rewrite(root, sample, "ada", notebook)
    assert grade()["ada"].score == 4.0


def test_what_is_up_to_date_is_not_run_again(root, sample, course, grade):
    sample.hand_in(root, "ada", sample.answered(root))
    sample.hand_in(root, "ben", "broken")
    assert not grade()["ada"].up_to_date
    second = grade()
    assert second["ada"].up_to_date
    assert not second["ben"].up_to_date  # trouble is looked at again
    assert second["ada"].score == 10.0
    suite = root / "suite" / "lab0" / "test_double.py"
    suite.write_text(suite.read_text() + "\n# a change\n")
    assert not grade()["ada"].up_to_date


def test_other_tests_change_the_grade(root, sample, grade):
    sample.hand_in(root, "ada", sample.answered(root))
    grade()
    suite = root / "suite" / "lab0" / "test_smallest.py"
    suite.write_text(suite.read_text().replace("answer.item(0).number() == min", "answer.item(0).number() == max"))
    assert grade()["ada"].score == 8.0


def test_one_student_only(root, sample, grade):
    for student in ("ada", "ben"):
        sample.hand_in(root, student, sample.answered(root))
    assert list(grade(students=["ben"])) == ["ben"]


def test_odd_names(root, sample, grade):
    names = ["[a-z]", "zoë müller", "x+y@example.org", "*"]
    for student in names:
        sample.hand_in(root, student, sample.answered(root))
    assert {name: item.score for name, item in grade().items()} == dict.fromkeys(names, 10.0)


def test_no_notebook_is_entered_and_set_aside(root, sample, grade):
    sample.hand_in(root, "ada", None)
    result = grade()["ada"]
    assert result.state == "set aside"
    assert "holds no notebook" in result.unreadable


def test_a_submission_that_is_a_link_is_refused(root, sample, grade):
    folder = sample.hand_in(root, "ada", sample.answered(root))
    (root / "course" / "submitted" / "eve").mkdir()
    (root / "course" / "submitted" / "eve" / sample.LAB).symlink_to(folder)
    result = grade()
    assert result["eve"].state == "grading failed"
    assert "no submission" in result["eve"].failed
    assert result["ada"].score == 10.0


def test_a_lab_that_changed_after_its_release(root, sample, grade):
    sample.hand_in(root, "ada", sample.answered(root))
    path = root / "solutions" / sample.LAB / f"{sample.LAB}.ipynb"
    path.write_text(path.read_text().replace("lab0-written", "lab0-essay"))
    assert "another version" in grade()["ada"].failed


def test_progress(root, sample, grade):
    sample.hand_in(root, "ada", None)
    steps = []
    grade(on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(0, 1), (1, 1)]


def test_nothing_to_grade(grade):
    with pytest.raises(InputError, match="Nobody's lab0_sample is here"):
        grade()


def test_an_unknown_student(root, sample, grade):
    sample.hand_in(root, "ada", None)
    with pytest.raises(InputError, match="by zoe"):
        grade(students=["zoe"])


def test_a_lab_that_was_not_released(root, sample):
    sample.hand_in(root, "ada", None)
    with pytest.raises(InputError, match="not in the gradebook"):
        grade_lab(open_course(root), sample.LAB)


class TestLate:
    @pytest.fixture
    def late(self, root, sample, monkeypatch):
        with (root / "nbgrader_config.py").open("a") as stream:
            stream.write("\nc.LatePolicy.percent_per_day = 10\nc.LatePolicy.grace_minutes = 0\n")
        course = open_course(root)
        release_lab(course, sample.LAB, due=DUE)
        folder = sample.hand_in(root, "ada", sample.answered(root))
        (folder / "timestamp.txt").write_text(format_time(DUE + dt.timedelta(hours=30)))
        return course

    def test_points_by_hand_are_late_too(self, late, root, sample, grade, by_hand):
        result = grade_lab(late, sample.LAB, options=GradeOptions(canary=False, recheck=0.0)).students[0]
        assert (result.penalty, result.score) == (2.0, 8.0)
        by_hand("ada", 10.0)
        page = make_feedback(late, sample.LAB).pages["ada"].read_text()
        assert "for lateness" in page
        (row,) = export_grades(late)[1]
        assert (row["raw_score"], row["late_submission_penalty"], row["score"]) == (20.0, 4.0, 16.0)


class TestReports:
    @pytest.fixture
    def graded(self, root, sample, course, grade):
        sample.hand_in(root, "ada", sample.answered(root))
        sample.hand_in(root, "=1+1", sample.answered(root, lab0_written=None))
        sample.hand_in(root, "cleo", "broken")
        grade()
        sample.hand_in(root, "dan", sample.answered(root))
        return course

    def test_status(self, graded, sample):
        make_feedback(graded, sample.LAB, release=False)
        (lab,) = course_status(graded)
        assert {item.student: item.state for item in lab.students} == {
            "ada": "needs grading by hand",
            "=1+1": "graded",
            "cleo": "set aside",
            "dan": "submitted",
        }
        assert {item.student: item.has_feedback for item in lab.students}["dan"] is False
        assert {item.student: item.score for item in lab.students} == {
            "ada": 10.0,
            "=1+1": 10.0,
            "cleo": None,  # nothing was graded, which is not zero
            "dan": None,
        }
        assert "not a notebook" in next(item.flags for item in lab.students if item.student == "cleo")[0]

    def test_what_the_grader_stopped_at_is_no_grade(self, graded, sample):
        make_feedback(graded, sample.LAB, release=False)
        with Recorder(graded, sample.LAB, graded.root / "staged", "batch") as recorder:
            recorder.fail("ada", "The disk is full.")
        (lab,) = course_status(graded)
        ada = next(item for item in lab.students if item.student == "ada")
        assert (ada.state, ada.score, ada.flags) == ("grading failed", None, ("The disk is full.",))
        assert "ada" not in make_feedback(graded, sample.LAB, release=False).pages
        assert not graded.folder("feedback", sample.LAB, "ada").exists()

    def test_report(self, graded, root, sample, capsys):
        assert main(["course", "report", "lab0", "--course", str(root), "--similar", "0.9", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["share_of_points"] == {"=1+1": 0.5, "ada": 1.0}
        assert content["unreadable"].keys() == {"cleo"}
        assert content["ungraded"] == ["dan"]
        assert [item["outcomes"]["all points"] for item in content["items"]] == [2, 2, 0]
        assert content["waiting"] == [{"student": "ada", "part": "Written answer", "reason": ""}]
        assert content["times"]["planned_minutes"] == 2
        assert content["times"]["run_seconds"][0] > 0
        page = root / "course" / "grading" / "reports" / f"{sample.LAB}.html"
        assert content["file"] == str(page)
        assert "=1+1" in page.read_text()
        assert main(["course", "report", "lab0", "--course", str(root), "--output", str(root / "x.html")]) == 0
        assert "Smallest value" in capsys.readouterr().out
        assert (root / "x.html").is_file()

    def test_export(self, graded, root, tmp_path):
        path, rows = export_grades(graded)
        lines = path.read_text().splitlines()
        assert lines[0].startswith("assignment,duedate,timestamp,student_id")
        assert len(lines) == 4
        assert ",'=1+1," in path.read_text()  # no formula
        assert path == root / "course" / "grading" / "grades.csv"
        json_path, _ = export_grades(graded, tmp_path / "grades.json")
        content = json.loads(json_path.read_text())
        assert content == rows
        assert {row["student_id"]: row["score"] for row in content} == {"ada": 10.0, "=1+1": 10.0, "cleo": None}
        assert {row["student_id"]: row["state"] for row in content} == {
            "ada": "needs grading by hand",
            "=1+1": "graded",
            "cleo": "nothing graded yet",
        }
        ada = next(row for row in content if row["student_id"] == "ada")
        assert ada["exercises"]["lab0.double"]["state"] == "passed"
        assert export_grades(graded, tmp_path / "x.json", labs=["lab9"])[1] == []

    def test_feedback_for_all_and_who_waits(self, graded, sample):
        result = make_feedback(graded, sample.LAB)
        assert sorted(result.pages) == ["=1+1", "ada", "cleo"]
        assert sorted(result.still_open) == ["ada", "cleo"]
        assert sorted(result.by_other_ways) == ["=1+1", "ada", "cleo"]

    def test_no_feedback_without_grades(self, course, sample):
        with pytest.raises(InputError, match="Nothing of lab0_sample has been graded"):
            make_feedback(course, sample.LAB)
