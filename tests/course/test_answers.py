"""The grader, tested: each wrong answer fails the test meant for it and hears why; each right one gets all points."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest
from lab_solutions import cells_of, handed_in, labs, solution_namespace
from tests_course_api import Wrong, answers_of

from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.recording import MISSING, record
from yolotrt_lab.grading.results import State
from yolotrt_lab.grading.suite import exercise_ids, load_exercise

# The tracing takes as long as the answers, and the package has unit tests to be covered by.
pytestmark = pytest.mark.no_cover

HERE = Path(__file__).parent
SEEDS = (20_261_120, 2**62)
IDS = exercise_ids()


@cache
def answers_file(exercise_id: str):
    lab, name = exercise_id.split(".")
    path = HERE / lab / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"yolotrt_answers_{lab}_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared():
    for exercise_id in IDS:
        lab, name = exercise_id.split(".")
        if (HERE / lab / f"{name}.py").is_file():
            yield from ((exercise_id, *item) for item in answers_of(answers_file(exercise_id)))


ALL = list(declared())
WRONG = [pytest.param(e, a, k, id=f"{e}-{n}") for e, n, a, k in ALL if isinstance(k, Wrong)]
RIGHT = [pytest.param(e, a, id=f"{e}-{n}") for e, n, a, k in ALL if not isinstance(k, Wrong)]


def verdict(exercise_id: str, answer, folder: Path, *, seed: int | None = SEEDS[0]):
    record(load_exercise(exercise_id), answer, folder=folder, hidden_seed=seed)
    return judge(folder, exercises=[exercise_id], hidden_seed=seed)[exercise_id]


def described(result) -> str:
    return "\n".join(f"{t.name}: {t.case}: {t.expected} / {t.seen} / {t.trouble}" for t in result.tests if not t.passed)


@pytest.mark.parametrize(("exercise_id", "answer", "kind"), WRONG)
def test_wrong_answers_lose_points_and_hear_why(exercise_id, answer, kind, tmp_path):
    result = verdict(exercise_id, answer, tmp_path)
    assert result.state is State.FAILED, described(result)
    failed = {test.name: test for test in result.tests if not test.passed}
    assert kind.caught_by in failed, described(result)
    test = failed[kind.caught_by]
    assert kind.says.lower() in f"{test.misconception} {test.expected} {test.seen}".lower(), test
    assert result.score < result.points


@pytest.mark.parametrize(("exercise_id", "answer"), RIGHT)
def test_right_answers_get_all_points(exercise_id, answer, tmp_path):
    result = verdict(exercise_id, answer, tmp_path)
    assert result.state is State.PASSED, described(result)
    assert result.score == result.points


# What one process has trained, the others need not.
GROUPED = [pytest.param(name, marks=pytest.mark.xdist_group(name.split(".")[0])) for name in IDS]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("exercise_id", GROUPED)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_solution_gets_all_points_whatever_the_seed(exercise_id, seed, tmp_path, monkeypatch):
    loaded = load_exercise(exercise_id)
    monkeypatch.chdir(handed_in(loaded.exercise.lab))
    answer = solution_namespace(loaded.exercise.lab).get(loaded.exercise.answer, MISSING)
    result = verdict(exercise_id, answer, tmp_path, seed=seed)
    assert result.state is State.PASSED, described(result)


@pytest.mark.parametrize("exercise_id", IDS)
def test_every_exercise_has_its_answers(exercise_id):
    kinds = [kind for _, _, kind in answers_of(answers_file(exercise_id))]
    assert sum(isinstance(kind, Wrong) for kind in kinds) >= 4
    assert sum(not isinstance(kind, Wrong) for kind in kinds) >= 2
    tests = {test.name for test in load_exercise(exercise_id).tests}
    assert {kind.caught_by for kind in kinds if isinstance(kind, Wrong)} <= tests


@pytest.mark.parametrize("lab", labs())
def test_the_notebook_asks_for_what_the_suite_grades(lab):
    graded = {
        cell.metadata["nbgrader"]["grade_id"]: (cell.source.strip(), cell.metadata["nbgrader"]["points"])
        for cell in cells_of(lab)
        if cell.metadata.get("nbgrader", {}).get("grade") and cell.cell_type == "code"
    }
    expected = {
        f"{exercise_id.replace('.', '-', 1)}-check": (f'check("{exercise_id}")', load_exercise(exercise_id).points)
        for exercise_id in exercise_ids(lab)
    }
    assert graded == expected


@pytest.mark.parametrize("lab", labs())
def test_a_lab_is_worth_100_points(lab):
    points = [
        (cell.cell_type, cell.metadata["nbgrader"]["points"])
        for cell in cells_of(lab)
        if cell.metadata.get("nbgrader", {}).get("grade")
    ]
    assert sum(value for kind, value in points if kind == "code") == 90
    assert [value for kind, value in points if kind == "markdown"] == [10]
