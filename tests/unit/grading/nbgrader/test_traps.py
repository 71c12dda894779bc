"""A class of tricks and accidents, graded in one batch: each gets the points of its honest twin, none stops the batch.

What plain nbgrader does with them is in brackets.
"""

import copy
import shutil

import pytest

from yolotrt_lab.grading.course import grade_lab, make_feedback, open_course, release_lab

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("traps"),
    pytest.mark.timeout(900),
]  # some thirty kernels, on a machine that may be busy

DOUBLE, SMALLEST, WRITTEN = "lab0-double-check", "lab0-smallest-check", "lab0-written"
RIGHT = {DOUBLE: 6.0, SMALLEST: 4.0, WRITTEN: None}

SUBMISSIONS = {}


def submission(scores, *kinds):
    """Declare a submission by a function of (root, sample), with the automatic scores it must get; None: by hand."""

    def keep(make):
        SUBMISSIONS[make.__name__] = (make, {**RIGHT, **scores}, kinds)
        return make

    return keep


@submission({})
def honest(root, sample):
    return sample.answered(root)


@submission({WRITTEN: 0.0, DOUBLE: 0.0, SMALLEST: 0.0})
def untouched(root, sample):
    return sample.released(root)


@submission({})
def noise_on_stderr(root, sample):
    """[0 points]"""
    noise = 'import sys, warnings\nprint("careful", file=sys.stderr)\nwarnings.warn("careful")\n'
    answer = 'def double(x):\n    print("working", file=sys.stderr)\n    warnings.warn("slow")\n    return 2 * x'
    return sample.answered(root, lab0_double=noise + answer)


@submission({DOUBLE: 0.0})
def a_check_that_returns_a_negative_score(root, sample):
    """[full points]"""
    return sample.answered(root, lab0_double="def check(name):\n    return -5")


@submission({DOUBLE: 0.0})
def a_check_that_returns_nan(root, sample):
    """[full points]"""
    return sample.answered(root, lab0_double='def check(name):\n    return float("nan")')


@submission({DOUBLE: 0.0})
def a_check_that_returns_too_much(root, sample):
    """[an exception, no grade]"""
    return sample.answered(root, lab0_double="def check(name):\n    return 10**9")


@submission({DOUBLE: 0.0})
def a_check_that_says_nothing(root, sample):
    """[full points]"""
    return sample.answered(root, lab0_double="def check(name):\n    pass")


@submission({DOUBLE: None, SMALLEST: None})
def a_kernel_that_evaluates_nothing(root, sample):
    """Where the answers were not recorded there is nothing to judge: by hand, neither all points nor none."""
    return sample.answered(
        root, lab0_double="get_ipython().user_expressions = lambda asked: {}\ndef double(x): return 0"
    )


@submission({DOUBLE: 0.0})
def a_check_that_raises(root, sample):
    return sample.answered(root, lab0_double='def check(name):\n    raise RuntimeError("no")')


@submission({DOUBLE: 0.0}, "edited cell")
def an_edited_check(root, sample):
    notebook = sample.answered(root, lab0_double="def double(x): return 0 * x or 'none'")
    sample.cell(notebook, DOUBLE)["source"] = "6.0"
    return notebook


@submission({DOUBLE: 2.0}, "duplicated cell")
def a_duplicated_check(root, sample):
    """[the whole batch stops]"""
    notebook = sample.answered(root, lab0_double="def double(x): return 2")
    notebook["cells"].append(copy.deepcopy(sample.cell(notebook, DOUBLE)))
    return notebook


@submission({DOUBLE: 2.0}, "deleted cell", "deleted cell")
def deleted_checks(root, sample):
    """[the old grade stays]"""
    notebook = sample.answered(root, lab0_double="def double(x): return 2")
    for name in (DOUBLE, SMALLEST):
        notebook["cells"].remove(sample.cell(notebook, name))
    return notebook


@submission({}, "retyped cell", "edited metadata", "edited metadata")
def edited_metadata(root, sample):
    """[the whole batch stops at an old schema version]"""
    notebook = sample.answered(root)
    sample.cell(notebook, DOUBLE)["metadata"]["nbgrader"] |= {"points": 600, "schema_version": 1}
    sample.cell(notebook, SMALLEST)["metadata"]["nbgrader"] |= {"grade": False}
    sample.cell(notebook, WRITTEN)["cell_type"] = "code"
    return notebook


@submission({DOUBLE: None, SMALLEST: None})
def broken_json(root, sample):
    """[an error, the old grade stays]"""
    return '{"cells": ['


@submission({DOUBLE: 0.0})
def a_function_that_ends_the_kernel(root, sample):
    """[all that follows is lost]"""
    return sample.answered(root, lab0_double="import os\ndef double(x):\n    os._exit(0)")


@submission({DOUBLE: 0.0})
def a_cell_that_ends_the_kernel(root, sample):
    return sample.answered(root, lab0_double="import os\nos._exit(0)")


@submission({DOUBLE: 0.0})
def an_endless_function(root, sample):
    return sample.answered(root, lab0_double="def double(x):\n    while True:\n        pass")


@submission({DOUBLE: 0.0})
def an_endless_function_that_cannot_be_interrupted(root, sample):
    """[the whole batch stops, or hangs]"""
    block = "import signal\ndef double(x):\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
    return sample.answered(root, lab0_double=block + "    while True:\n        pass")


@submission({DOUBLE: 0.0})
def an_endless_cell(root, sample):
    return sample.answered(root, lab0_double="while True:\n    pass")


@submission({DOUBLE: 0.0})
def a_syntax_error(root, sample):
    return sample.answered(root, lab0_double="def double(x)\n    return 2 * x")


@submission({DOUBLE: 0.0})
def an_exit(root, sample):
    return sample.answered(root, lab0_double="def double(x):\n    raise SystemExit(0)")


@submission({})
def an_emptied_environment(root, sample):
    answer = "import os\ndef smallest(values):\n    return min(values), values.index(min(values))\nos.environ.clear()"
    return sample.answered(root, lab0_smallest=answer)


@submission({})
def hidden_inputs_told(root, sample):
    """[whatever a cell prints is in the feedback]"""
    spy = "TOLD = []\ndef double(x):\n    TOLD.append(x)\n    print(x)\n    return 2 * x"
    tell = sample.ANSWERS["lab0-smallest"] + "\nprint(TOLD)\nimport os\nprint(os.environ)"
    return sample.answered(root, lab0_double=spy, lab0_smallest=tell)


@submission({}, "name from elsewhere")
def a_helper_in_another_cell(root, sample):
    notebook = sample.answered(root, lab0_double="def double(x): return 2 * x if True else helper(x)")
    notebook["cells"].insert(
        2, {"cell_type": "code", "source": "def helper(x): return x", "metadata": {}, "outputs": []}
    )
    return notebook


@pytest.fixture(scope="module")
def graded(pristine, sample, tmp_path_factory):
    """Grade the whole class at once; give the course and the result by student."""
    root = tmp_path_factory.mktemp("traps") / "course"
    shutil.copytree(pristine, root)
    with (root / "nbgrader_config.py").open("a") as stream:
        stream.write("\nc.RecordExercises.timeout = 5\nc.RecordExercises.check_margin = 1\n")
    for name, (make, _, _) in SUBMISSIONS.items():
        sample.hand_in(root, name, make(root, sample))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOTRT_GRADING_SUITE", str(root / "suite"))
        course = open_course(root)
        release_lab(course, sample.LAB)
        result = grade_lab(course, sample.LAB)
        make_feedback(course, sample.LAB, release=False)
    return course, {item.student: item for item in result.students}


@pytest.fixture(scope="module")
def scores(graded, sample):
    course, _ = graded
    with course.gradebook() as gradebook:
        return {
            submitted.student.id: {
                grade.name: (grade.auto_score, grade.needs_manual_grade)
                for notebook in submitted.notebooks
                for grade in notebook.grades
            }
            for submitted in gradebook.assignment_submissions(sample.LAB)
        }


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_scores(scores, name):
    _, expected, _ = SUBMISSIONS[name]
    assert scores[name] == {grade_id: (score, score is None) for grade_id, score in expected.items()}


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_evidence(graded, name):
    _, _, kinds = SUBMISSIONS[name]
    assert sorted(finding.kind for finding in graded[1][name].findings) == sorted(kinds)


def test_the_batch_went_to_its_end(graded):
    assert sorted(graded[1]) == sorted(SUBMISSIONS)
    assert [item.student for item in graded[1].values() if item.failed] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a_function_that_ends_the_kernel", "KernelDied: the kernel ended while your code ran"),
        ("a_cell_that_ends_the_kernel", "The answer cell ended the kernel."),
        ("an_endless_function", "Is there a loop that does not end"),
        ("an_endless_function_that_cannot_be_interrupted", "Is there a loop that does not end"),
        ("an_endless_cell", "The answer cell did not come to its end in time"),
        ("a_syntax_error", "Python cannot read the answer cell: expected &#39;:&#39; (line 1)."),
        ("an_exit", "SystemExit"),
        ("broken_json", "not a notebook"),
        ("a_helper_in_another_cell", "Only answer cells are graded"),
        ("an_edited_check", "had been edited; it counted as it was released"),
        ("a_kernel_that_evaluates_nothing", "could not be graded automatically"),
    ],
)
def test_feedback_says_what_happened(graded, sample, name, words):
    page = graded[0].folder("feedback", sample.LAB, name) / f"{sample.LAB}.html"
    assert words in page.read_text()


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_feedback_tells_nothing_of_hidden_tests(graded, sample, name):
    """No inputs, no seed, no source of the tests, whatever the student's code printed."""
    course, _ = graded
    page = (course.folder("feedback", sample.LAB, name) / f"{sample.LAB}.html").read_text()
    assert str(course.private.hidden_seed(sample.LAB)) not in page
    assert f"-{sample.HIDDEN_MARK}" not in page
    assert "for instructors only" not in page
    for source in ("def test_", "rng.integers", "answer.number()", "BEGIN HIDDEN", "### BEGIN SOLUTION"):
        assert source not in page


def test_they_were_told_to_the_instructor(graded, sample):
    course, _ = graded
    notebook = (course.folder("autograded", sample.LAB, "hidden_inputs_told") / f"{sample.LAB}.ipynb").read_text()
    assert f"-{sample.HIDDEN_MARK}" in notebook
    assert "YOLOTRT_RECORD" in notebook
    assert str(course.private.hidden_seed(sample.LAB)) not in notebook, "the kernel never had it"


def test_instructors_see_why_there_is_no_score(graded):
    reasons = dict(graded[1]["a_kernel_that_evaluates_nothing"].open_parts)
    assert "recorded nothing" in reasons[DOUBLE]
    assert graded[1]["broken_json"].state == "set aside"


def test_a_finished_exercise_keeps_its_points_beside_one_that_does_not_end(graded):
    for name in (
        "a_function_that_ends_the_kernel",
        "an_endless_function_that_cannot_be_interrupted",
        "an_endless_cell",
    ):
        assert graded[1][name].score == 4.0
