import json

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course import open_course
from yolotrt_lab.grading.course.sample_class import STUDENTS, grade_sample_class, sample_submissions

MISTAKES = '''\
"""Wrong and right answers to lab0.double."""
import math as maths

from tests_course_api import right, wrong

FACTOR = 3


@right
def added(x):
    return x + x


@wrong(caught_by="test_is_twice_the_number", says="")
def tripled(x):
    """Believes in three."""
    return maths.floor(FACTOR * x)


@wrong(caught_by="test_is_a_number", says="")
def nothing(x):
    return None
'''


@pytest.fixture
def answers(root):
    folder = root / "tests" / "course" / "lab0"
    folder.mkdir(parents=True)
    (folder / "double.py").write_text(MISTAKES)
    return folder.parent


@pytest.fixture
def handed_in(root, sample, answers):
    return sample_submissions(open_course(root), sample.LAB, answers=answers)


def sources(sample, text):
    notebook = json.loads(text)
    return {name: sample.cell(notebook, name)["source"] for name in sample.ANSWERS}


def test_who_hands_in_what(root, sample, handed_in):
    assert list(handed_in) == list(STUDENTS)
    stubs = {name: sample.cell(sample.released(root), name)["source"] for name in sample.ANSWERS}
    ada, ben = sources(sample, handed_in["ada"]), sources(sample, handed_in["ben"])
    assert all(ada[name] != stubs[name] for name in stubs)
    assert [name for name in stubs if ben[name] != stubs[name]] == ["lab0-double"]
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(handed_in["dan"])
    assert sources(sample, handed_in["eve"]) == stubs
    assert sample.cell(json.loads(handed_in["eve"]), "lab0-double-check")["source"] == "6"


def test_a_mistake_that_the_tests_know_runs_by_itself(sample, handed_in):
    namespace = {}
    exec(sources(sample, handed_in["cleo"])["lab0-double"], namespace)
    assert namespace["double"](2) == 6
    assert "tests_course_api" not in sources(sample, handed_in["cleo"])["lab0-double"]


def test_a_mistake_of_our_own_where_the_tests_know_none(sample, handed_in):
    namespace = {}
    exec(sources(sample, handed_in["cleo"])["lab0-smallest"], namespace)
    assert namespace["smallest"](values=[1]) is None


@pytest.mark.slow
def test_the_class_is_graded_in_a_course_of_its_own(root, sample, answers, tmp_path):
    steps = []
    for _ in range(2):  # a second call replaces the first one's course
        result = grade_sample_class(
            "lab0", tmp_path / "class", source=root, on_progress=lambda done, total: steps.append((done, total))
        )
    assert [(student, score, state) for student, _, score, _, state in result.rows()] == [
        ("ada", 10.0, "needs grading by hand"),
        ("ben", 6.0, "graded"),
        ("cleo", 2.0, "needs grading by hand"),
        ("dan", 0.0, "set aside"),
        ("eve", 0.0, "graded"),
    ]
    assert steps[-1] == (5, 5)
    assert all(path.is_file() for path in result.pages.values())
    assert len(result.gradebook.read_text().splitlines()) == 6
    assert not (root / "course" / "submitted").exists()


def test_other_files_are_not_replaced(root, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="holds something else"):
        grade_sample_class("lab0", tmp_path, source=root)
    with pytest.raises(InputError, match="holds something else"):
        grade_sample_class("lab0", root, source=root)  # a course, and not a sample
    assert (tmp_path / "mine.txt").read_text() == "keep"
    assert (root / "solutions").is_dir()
