"""A batch: canaries, equal results by every way, what is kept, what is set aside."""

import dataclasses
import json
import sqlite3
from contextlib import closing

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course import GradeOptions, grade_lab, open_course, release_lab
from yolotrt_lab.grading.course.canary import CanaryError
from yolotrt_lab.grading.course.session import CourseError
from yolotrt_lab.grading.jobs import perform
from yolotrt_lab.grading.nbgrader.findings import Finding

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PLAIN = GradeOptions(canary=False, recheck=0.0)
GRADES = """SELECT s.id, b.name, g.auto_score, g.manual_score, g.needs_manual_grade, c.auto_comment
    FROM submitted_notebook n JOIN submitted_assignment a ON n.assignment_id = a.id
    JOIN student s ON a.student_id = s.id JOIN grade g ON g.notebook_id = n.id JOIN base_cell b ON g.cell_id = b.id
    LEFT JOIN comment c ON c.notebook_id = n.id AND c.cell_id = b.id ORDER BY s.id, b.name"""


@pytest.fixture
def course(root, sample):
    course = open_course(root)
    release_lab(course, sample.LAB)
    return course


@pytest.fixture
def grade(course, sample):
    def run(options=PLAIN, **more):
        result = grade_lab(course, sample.LAB, options=options, **more)
        return {item.student: item for item in result.students}, result.counts

    return run


@pytest.fixture
def runs(monkeypatch):
    """The keys of what is executed."""
    keys, execute = [], perform.execute

    def noted(job, into, **more):
        keys.append(job.key())
        return execute(job, into, **more)

    monkeypatch.setattr(perform, "execute", noted)
    return keys


def rows(root):
    with closing(sqlite3.connect(root / "course" / "gradebook.db")) as gradebook:
        return gradebook.execute(GRADES).fetchall()


def autograded(root, sample, student):
    path = root / "course" / "autograded" / student / sample.LAB / f"{sample.LAB}.ipynb"
    return json.loads(path.read_text())


def change(root, name, old, new):
    path = root / "suite" / "lab0" / f"test_{name}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nbgraders_own_command_comes_to_the_same(root, sample, course, grade):
    """Rows of the gradebook, autograded notebooks and records of grading are equal."""
    from nbgrader.converters import Autograde

    sample.hand_in(root, "right", sample.answered(root))
    sample.hand_in(root, "wrong", sample.answered(root, lab0_double="def double(x): return 3", lab0_written=None))
    sample.hand_in(root, "broken", "{")
    grade()
    ours = rows(root), {name: autograded(root, sample, name) for name in ("right", "wrong", "broken")}
    records = {name: course.private.student(sample.LAB, name).read("grading") for name in ("right", "wrong", "broken")}
    converter = Autograde(coursedir=course.coursedir(lab=sample.LAB), config=course.config)
    converter.force = True
    course.run(converter, doing="Grading")
    assert rows(root) == ours[0]
    assert {name: autograded(root, sample, name) for name in ours[1]} == ours[1]
    for name, before in records.items():
        after = course.private.student(sample.LAB, name).read("grading")
        assert {key: before[key] for key in ("results", "answers", "trouble", "findings")} == {
            key: after[key] for key in ("results", "answers", "trouble", "findings")
        }


def test_equal_answers_run_once_and_changed_tests_run_nothing(root, sample, grade, runs):
    for student in ("ada", "ben"):
        sample.hand_in(root, student, sample.answered(root))
    sample.hand_in(root, "cleo", sample.answered(root, lab0_double="def double(x): return 3"))
    first, counts = grade()
    assert (len(runs), counts["executed"], counts["from_cache"]) == (2, 2, 1)
    change(root, "smallest", "answer.item(0).number() == min", "answer.item(0).number() == max")
    second, counts = grade()
    assert (len(runs), counts["executed"], counts["judged"]) == (2, 0, 1)  # all three gave the same here
    assert {name: second[name].score - first[name].score for name in second} == dict.fromkeys(second, -2.0)
    _, counts = grade(GradeOptions(canary=False, recheck=0.0, fresh=True))
    assert (len(runs), counts["executed"]) == (4, 2)


def test_one_exercise_for_the_class(root, sample, grade, runs, course):
    sample.hand_in(root, "ada", sample.answered(root))
    grade()
    change(root, "smallest", "answer.item(0).number() == min", "answer.item(0).number() == max")
    change(root, "double", "answer.number() != 2 * x", "answer.number() != 3 * x")
    result, counts = grade(GradeOptions(canary=False, recheck=0.0, exercises=("lab0.smallest",)))
    assert (result["ada"].score, counts["judged"], len(runs)) == (8.0, 1, 1)
    result, _ = grade()  # the other exercise was not forgotten
    assert (result["ada"].score, result["ada"].up_to_date, len(runs)) == (4.0, False, 1)


class TestCanary:
    def test_a_suite_that_fails_the_solution_grades_nobody(self, root, sample, course, grade):
        sample.hand_in(root, "ada", sample.answered(root))
        change(root, "double", "answer.number() != 2 * x", "answer.number() != 3 * x")
        with pytest.raises(CanaryError, match=r"The solution of lab0\.double does not pass"):
            grade(GradeOptions())
        assert rows(root) == []
        assert not course.private.student(sample.LAB, "ada").read("grading")

    def test_a_suite_that_passes_everything_grades_nobody(self, root, sample, grade):
        sample.hand_in(root, "ada", sample.answered(root))
        change(root, "double", "answer.number()\n", "pass\n")
        change(root, "double", "answer.number() != 2 * x", "False")
        with pytest.raises(CanaryError, match=r"A wrong answer to lab0\.double is not noticed"):
            grade(GradeOptions())
        assert rows(root) == []

    def test_living_ones_let_the_class_pass(self, root, sample, grade, runs):
        sample.hand_in(root, "ada", sample.answered(root, lab0_double="def double(x): return x + x  # mine"))
        result, _ = grade(GradeOptions(recheck=0.0))
        assert result["ada"].score == 10.0
        assert len(runs) == 3
        grade(GradeOptions(recheck=0.0, again=True))
        assert len(runs) == 3  # nothing was computed, so nothing had to be shown


def test_a_score_that_changes_from_run_to_run_is_set_aside(root, sample, grade):
    unstable = "def double(x):\n    return 2 * x if NUMBER % 2 else 0"
    sample.hand_in(root, "ada", sample.answered(root, lab0_double=unstable))
    sample.hand_in(root, "ben", sample.answered(root))
    execute, numbers = perform.execute, iter((1, 2))

    def run(job, into, **more):
        source = job.notebook.replace(b"NUMBER", str(next(numbers) if b"NUMBER" in job.notebook else 0).encode())
        return execute(dataclasses.replace(job, notebook=source), into, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perform, "execute", run)
        graded, counts = grade(GradeOptions(canary=False, recheck=1.0))
    assert counts["checked"] == 2
    assert graded["ben"].score == 10.0
    assert graded["ada"].score == 4.0
    assert "6 points, and 2 when the same answers were run again" in dict(graded["ada"].open_parts)["lab0-double-check"]
    assert [item.kind for item in graded["ada"].findings if item.suspicious] == ["unstable score"]
    assert isinstance(graded["ada"].findings[0], Finding)


def test_trouble_of_the_machine_is_set_aside_and_tried_again_next_time(root, sample, grade):
    sample.hand_in(root, "ada", sample.answered(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perform, "execute", lambda *_, **__: 1 / 0)
        graded, counts = grade()
    assert counts["trouble"] == 1
    assert graded["ada"].state == "needs grading by hand"
    reason = dict(graded["ada"].open_parts)["lab0-double-check"]
    assert "Infrastructure error: ZeroDivisionError" in reason
    graded, _ = grade()
    assert (graded["ada"].score, graded["ada"].up_to_date) == (10.0, False)


def test_one_batch_at_a_time(root, sample, course, grade):
    sample.hand_in(root, "ada", "{")

    def meanwhile(*_):
        with pytest.raises(CourseError, match="is being graded already"):
            grade()

    grade(on_progress=meanwhile)


def test_a_damaged_result_is_computed_again(root, sample, grade, runs):
    sample.hand_in(root, "ada", sample.answered(root))
    grade()
    for path in (root / "course" / "grading" / "cache").glob("??/*/content/**/record.json"):
        path.write_text("{}")
    graded, _ = grade(GradeOptions(canary=False, recheck=0.0, again=True))
    assert (graded["ada"].score, len(runs)) == (10.0, 2)


def test_a_lab_of_several_notebooks_is_refused(root, sample, course):
    folder = root / "solutions" / sample.LAB
    (folder / "second.ipynb").write_text((folder / f"{sample.LAB}.ipynb").read_text())
    sample.hand_in(root, "ada", "{")
    with pytest.raises(InputError, match="not a lab of one notebook"):
        grade_lab(course, sample.LAB)
