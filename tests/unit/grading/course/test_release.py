import datetime as dt
import json

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course import course_status, open_course, release_lab
from yolotrt_lab.grading.course.release import parse_due
from yolotrt_lab.grading.course.session import CourseError


@pytest.fixture
def course(root):
    return open_course(root)


def test_a_lab_is_released(course, sample):
    before = (course.folder("release", sample.LAB) / f"{sample.LAB}.ipynb").read_bytes()
    result = release_lab(course, sample.LAB, due=dt.datetime(2030, 1, 1))
    assert (result.exercises, result.points, result.due, result.notes) == (2, 20.0, dt.datetime(2030, 1, 1), ())
    assert result.notebooks[0].read_bytes() == before  # what `make notebooks` wrote
    assert (result.exchange / f"{sample.LAB}.ipynb").read_bytes() == before
    (status,) = course_status(course)
    assert (status.is_released, status.due, status.points) == (True, dt.datetime(2030, 1, 1), 20.0)


def test_the_release_holds_no_solution(course, sample):
    text = (release_lab(course, sample.LAB).exchange / f"{sample.LAB}.ipynb").read_text()
    assert "2 * x" not in text
    assert "Because twice" not in text
    assert "YOUR ANSWER HERE" in text


def test_what_the_solution_trained_is_not_released(course, sample):
    (course.folder("source", sample.LAB) / "trained.onnx").write_bytes(b"the answer")
    result = release_lab(course, sample.LAB)
    assert not list(course.folder("release", sample.LAB).glob("*.onnx"))
    assert not list(result.exchange.glob("*.onnx"))


def test_hidden_regions_of_nbgrader_are_refused(course, sample, root):
    """They would be in the released notebook's feedback; hidden cases of the suite are the way here."""
    path = root / "solutions" / sample.LAB / f"{sample.LAB}.ipynb"
    hidden = 'check(\\"lab0.double\\")\\n### BEGIN HIDDEN TESTS\\nassert True\\n### END HIDDEN TESTS'
    path.write_text(path.read_text().replace('check(\\"lab0.double\\")', hidden))
    with pytest.raises(InputError, match="checks no exercise"):
        release_lab(course, sample.LAB)


def test_again_keeps_the_due_date(course, sample):
    release_lab(course, sample.LAB, due=dt.datetime(2030, 1, 1))
    assert release_lab(course, sample.LAB).due == dt.datetime(2030, 1, 1)


@pytest.mark.parametrize("change", ["answer", "output", "broken"])
def test_somebodys_work_in_labs_is_kept_and_not_released(course, sample, root, change):
    path = root / "labs" / sample.LAB / f"{sample.LAB}.ipynb"
    stub = path.read_text()
    notebook = sample.released(root)
    if change == "answer":
        notebook = sample.answered(root)
    elif change == "output":
        notebook["cells"][1]["execution_count"] = 1
    text = "not a notebook" if change == "broken" else json.dumps(notebook)
    path.write_text(text)
    (note,) = release_lab(course, sample.LAB).notes
    (kept,) = (root / "course" / "grading" / "kept").glob(f"{sample.LAB}_*/*.ipynb")
    assert str(kept.parent) in note
    assert kept.read_text() == text
    assert path.read_text() == stub


def test_the_exchange_never_gets_what_somebody_wrote_in_labs(course, sample, root):
    """With nbgrader's own step, which copies labs/ as it is."""
    result = release_lab(course, sample.LAB)
    released = (result.exchange / f"{sample.LAB}.ipynb").read_bytes()
    (root / "labs" / sample.LAB / f"{sample.LAB}.ipynb").write_text(json.dumps(sample.answered(root)))
    course.run(course.exchange_step("ReleaseAssignment", lab=sample.LAB), doing="Releasing")
    assert (result.exchange / f"{sample.LAB}.ipynb").read_bytes() == released


def test_an_older_release_is_no_work(course, sample, root):
    path = root / "labs" / sample.LAB / f"{sample.LAB}.ipynb"
    path.write_text(path.read_text().replace("a sample", "an old sample"))
    assert release_lab(course, sample.LAB).notes == ()
    assert not (root / "course" / "grading" / "kept").exists()


def test_points_that_differ_from_the_suite(course, sample, root):
    path = root / "solutions" / sample.LAB / f"{sample.LAB}.ipynb"
    path.write_text(path.read_text().replace('"points": 6', '"points": 5'))
    with pytest.raises(InputError, match=r"lab0\.double has other points"):
        release_lab(course, sample.LAB)


def test_a_graded_cell_that_is_no_check(course, sample, root):
    path = root / "solutions" / sample.LAB / f"{sample.LAB}.ipynb"
    path.write_text(path.read_text().replace('check(\\"lab0.double\\")', "assert double(1) == 2"))
    with pytest.raises(InputError, match="checks no exercise"):
        release_lab(course, sample.LAB)


def test_cells_cannot_change_under_submissions(course, sample, root):
    release_lab(course, sample.LAB)
    with course.gradebook() as gradebook:
        gradebook.add_student("ada")
        gradebook.add_submission(sample.LAB, "ada")
    path = root / "solutions" / sample.LAB / f"{sample.LAB}.ipynb"
    path.write_text(path.read_text().replace("lab0-written", "lab0-essay"))
    with pytest.raises(CourseError, match="Cannot add or remove cells"):
        release_lab(course, sample.LAB)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-01", dt.datetime(2026, 12, 1, 23, 59, 59)),
        ("2026-12-01 18:00", dt.datetime(2026, 12, 1, 18)),
        ("2026-12-01T18:00+01:00", dt.datetime(2026, 12, 1, 17)),
        ("2026-12-01T18:00Z", dt.datetime(2026, 12, 1, 18)),
    ],
)
def test_due_dates(text, moment):
    assert parse_due(text) == moment


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-13-01", "1.12.2026"])
def test_no_dates(text):
    with pytest.raises(InputError, match="is no date"):
        parse_due(text)
