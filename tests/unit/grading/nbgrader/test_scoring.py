"""From records to trusted outputs, without kernels."""

import dataclasses
import json
import operator
from types import SimpleNamespace

import pytest
from nbconvert.exporters import HTMLExporter
from nbgrader.utils import determine_grade

from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.nbgrader import score_exercises
from yolotrt_lab.grading.nbgrader.escape_answers import EscapeAnswers
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.instructor_note import add_instructor_note, is_instructor_note
from yolotrt_lab.grading.nbgrader.judge_process import JudgeError, judge_in_process
from yolotrt_lab.grading.nbgrader.marks import RESULT_TYPE, Marks
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.record_exercises import RUN_KEY, Run
from yolotrt_lab.grading.nbgrader.release import empty_notebook, node_from
from yolotrt_lab.grading.nbgrader.score_exercises import UNSCORED_KEY, ScoreExercises
from yolotrt_lab.grading.recording import MISSING, record
from yolotrt_lab.grading.results import State
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.scoring.run import fitting
from yolotrt_lab.grading.suite import load_exercise

IDS = ("lab0.double", "lab0.smallest")


def double(x):
    return 2 * x


def smallest(values):
    return min(values), values.index(min(values))


@pytest.fixture
def scored(root, sample, tmp_path, monkeypatch):
    """Score a notebook whose answers were recorded as given; return score by grade id, reasons, and the notebook."""
    calls = []

    def judge_here(recorded, *, exercises, hidden_seed, **_):
        calls.append(exercises)
        results = judge(recorded, exercises=exercises, hidden_seed=hidden_seed)
        return {name: fitting(name, result, None) for name, result in results.items()}

    monkeypatch.setattr(score_exercises, "judge_in_process", judge_here)

    def run(answers=(double, smallest), *, outputs=(), change=None, trouble="", unreadable=""):
        seed, recorded = PrivateFolder(root).hidden_seed(sample.LAB), tmp_path / "recorded"
        for exercise_id, answer in zip(IDS, answers, strict=True):
            if answer is not None:
                record(load_exercise(exercise_id), answer, folder=recorded, hidden_seed=seed)
        notebook = node_from(sample.answered(root))
        for cell in notebook.cells:
            if cell.source.startswith("check("):
                cell.outputs = [node_from(output) for output in outputs]
        if change:
            change(notebook)
        Marks(unreadable=unreadable).write(notebook)
        place = {"student": "ada", "assignment": sample.LAB, "notebook": sample.LAB}
        step = ScoreExercises()
        step.coursedir = SimpleNamespace(root=str(root))
        notebook, resources = step.preprocess(notebook, {"nbgrader": place, RUN_KEY: Run(recorded, trouble=trouble)})
        grades = {cell.metadata.nbgrader.grade_id: determine_grade(cell)[0] for cell in checks(notebook)}
        return grades, resources[UNSCORED_KEY], notebook

    run.calls = calls
    return run


def checks(notebook):
    return [cell for cell in notebook.cells if cell.source.startswith("check(")]


def stream(name, text):
    return {"output_type": "stream", "name": name, "text": text}


def value(text):
    return {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}, "execution_count": 1}


ERROR = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [stream("stderr", "a warning")],
        [stream("stdout", "6.0")],
        [value("-5")],
        [value("nan")],
        [value("inf")],
        [value("1000000")],
        [value("not a number")],
        [value("0"), value("6")],
        [ERROR],
    ],
)
def test_the_score_does_not_depend_on_what_was_printed(scored, outputs):
    grades, unscored, notebook = scored((double, lambda values: (min(values), -1)), outputs=outputs)
    assert grades == {"lab0-double-check": 6.0, "lab0-smallest-check": 2.0}
    assert unscored == {}
    for cell in checks(notebook):
        (output,) = cell.outputs
        assert sorted(output.data) == [RESULT_TYPE, "text/html", "text/plain"]


@pytest.mark.parametrize(
    ("answer", "score", "state"),
    [
        (double, 6.0, "passed"),
        (lambda x: x, 2.0, "failed"),
        (lambda x: None, 0.0, "failed"),
        (lambda x: float("nan"), 0.0, "failed"),
        (lambda x: 1 / 0, 0.0, "failed"),
        (lambda x: 2 * abs(x), 2.0, "failed"),
        (MISSING, 0.0, "missing"),
    ],
)
def test_scores_and_states(scored, answer, score, state):
    grades, _, notebook = scored((answer, smallest))
    assert grades["lab0-double-check"] == score
    assert checks(notebook)[0].outputs[0].data[RESULT_TYPE]["state"] == state


class TestTroubleCostsNothing:
    """No score at all, a reason for the instructor, a kind word for the student."""

    def assert_open(self, result, *grade_ids, reason):
        _, unscored, notebook = result
        assert sorted(unscored) == sorted(grade_ids)
        assert all(reason in text for text in unscored.values())
        for cell in checks(notebook):
            if cell.metadata.nbgrader.grade_id in grade_ids:
                html = cell.outputs[0].data["text/html"]
                assert "It costs you nothing" in html
                assert reason not in html

    def test_the_kernel_did_not_start(self, scored):
        result = scored(trouble="no memory")
        self.assert_open(result, "lab0-double-check", "lab0-smallest-check", reason="no memory")
        assert scored.calls == []

    def test_nothing_was_recorded_for_one(self, scored):
        result = scored((None, smallest))
        self.assert_open(result, "lab0-double-check", reason="recorded nothing")
        assert result[0]["lab0-smallest-check"] == 4.0

    def test_a_broken_test(self, scored, root):
        path = root / "suite" / "lab0" / "test_double.py"
        path.write_text(path.read_text().replace("    answer.number()\n", "    answer.nonsense()\n"))
        result = scored()
        self.assert_open(result, "lab0-double-check", reason="test_is_a_number: AttributeError")
        assert result[0]["lab0-smallest-check"] == 4.0

    def test_the_judge_fails(self, scored, monkeypatch):
        def fail(*_, **more):
            raise JudgeError("The judge failed.", got="out of memory")

        monkeypatch.setattr(score_exercises, "judge_in_process", fail)
        self.assert_open(scored(), "lab0-double-check", "lab0-smallest-check", reason="out of memory")

    def test_without_a_sandbox_nothing_is_graded(self, scored, monkeypatch):
        def refuse(*_, **more):
            raise SandboxError("There is no sandbox.")

        monkeypatch.setattr(score_exercises, "judge_in_process", refuse)
        with pytest.raises(SandboxError):
            scored()

    def test_points_that_do_not_fit(self, scored):
        def change(notebook):
            checks(notebook)[0].metadata.nbgrader.points = 5

        self.assert_open(scored(change=change), "lab0-double-check", reason="up to 6 points, the notebook's cell 5")

    def test_a_graded_cell_that_is_no_check(self, scored):
        def change(notebook):
            checks(notebook)[0].source = 'check("lab0.double"); 6.0'

        _, unscored, _ = scored(change=change)
        assert "not of the form" in unscored["lab0-double-check"]

    def test_an_unreadable_notebook(self, scored):
        _, unscored, _ = scored(unreadable="It is broken.")
        assert unscored == dict.fromkeys(("lab0-double-check", "lab0-smallest-check", "lab0-written"), "It is broken.")

    def test_an_exercise_that_is_not_in_the_suite(self, scored, root):
        (root / "suite" / "lab0" / "test_double.py").unlink()
        _, unscored, _ = scored((None, smallest))
        assert unscored.keys() == {"lab0-double-check"}, unscored


def test_everything_is_written_down(scored, root, sample):
    scored()
    kept = PrivateFolder(root).student(sample.LAB, "ada").read("grading")
    assert {name: result["state"] for name, result in kept["results"].items()} == dict.fromkeys(IDS, "passed")
    assert kept["trouble"] == {}
    json.dumps(kept)


def test_a_call_of_what_would_be_the_whole_answer_is_noted(scored, root, sample):
    suite = root / "suite" / "lab0" / "test_double.py"
    suite.write_text(suite.read_text().replace("seconds=2.0,", 'seconds=2.0, forbidden=("operator.mul",),'))
    scored((lambda x: operator.mul(2, x), smallest))
    (finding,) = PrivateFolder(root).student(sample.LAB, "ada").read("grading")["findings"]
    assert (finding["kind"], finding["suspicious"]) == ("shortcut", True)
    assert "operator.mul" in finding["text"]


class TestNoteForInstructors:
    def test_nothing_to_say(self, scored):
        notebook = scored()[2]
        assert not is_instructor_note(notebook.cells[0])

    def test_reasons_are_on_top(self, scored):
        note = scored(trouble="no memory")[2].cells[0]
        assert is_instructor_note(note)
        assert "`lab0-double-check`, `lab0-smallest-check`. The kernel" not in note.source
        assert "`lab0-double-check`, `lab0-smallest-check`. no memory" in note.source

    def test_what_students_called_their_files_is_text(self):
        notebook = empty_notebook()
        add_instructor_note(notebook, [Finding("unfit file", "`<script>alert(1)</script>` is a link")], {})
        (cell,) = EscapeAnswers().preprocess(notebook, {})[0].cells
        assert "<script>" not in HTMLExporter().markdown2html({"cell": cell}, cell.source)


def test_an_answer_that_a_test_stumbles_over_is_noted(scored, root, sample, monkeypatch):
    right = score_exercises.judge_in_process

    def stumble(*places, **more):
        results = right(*places, **more)
        tests = tuple(dataclasses.replace(test, passed=False, odd="TypeError: x") for test in results[IDS[0]].tests)
        return {**results, IDS[0]: dataclasses.replace(results[IDS[0]], tests=tests, state=State.FAILED)}

    monkeypatch.setattr(score_exercises, "judge_in_process", stumble)
    scored()
    (finding,) = PrivateFolder(root).student(sample.LAB, "ada").read("grading")["findings"]
    assert (finding["kind"], finding["suspicious"]) == ("odd answer", True)
    assert "test_is_a_number (TypeError: x)" in finding["text"]


class TestJudgeProcess:
    """The real thing, in a process of its own."""

    def test_verdicts(self, root, tmp_path, monkeypatch):
        monkeypatch.setenv("YOLOTRT_RECORD", str(tmp_path / "elsewhere"))
        for exercise_id, answer in zip(IDS, (double, lambda values: None), strict=True):
            record(load_exercise(exercise_id), answer, folder=tmp_path / "a", hidden_seed=5)
        for _ in range(2):  # once started, it judges one after the other
            results = judge_in_process(tmp_path / "a", exercises=IDS, hidden_seed=5, timeout_s=120, unsafe=True)
            assert [results[name].state for name in IDS] == [State.PASSED, State.FAILED]
        assert not (tmp_path / "elsewhere").exists()  # it never records

    def test_what_cannot_be_judged_is_trouble(self, root, tmp_path):
        results = judge_in_process(
            tmp_path, exercises=("lab0.nothing", *IDS), hidden_seed=5, timeout_s=120, unsafe=True
        )
        assert results["lab0.nothing"].state is State.TROUBLE
        assert "no exercise" in results["lab0.nothing"].note
        assert [results[name].state for name in IDS] == [State.MISSING, State.MISSING]
