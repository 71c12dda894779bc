"""Trouble that is not the student's: found before any answer ran, tried again, and never a score."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.record_exercises import RUN_KEY, RecordExercises
from yolotrt_lab.grading.nbgrader.release import node_from
from yolotrt_lab.grading.suite import load_exercise


@pytest.fixture
def step(root):
    step = RecordExercises(skip_cells_with_tag="demonstration")
    step.coursedir = SimpleNamespace(root=str(root))
    return step


@pytest.fixture
def run(step, root, sample):
    def run(notebook, metadata=None):
        place = {"student": "ada", "assignment": sample.LAB, "notebook": sample.LAB}
        notebook = node_from(notebook)
        _, resources = step.preprocess(notebook, {"nbgrader": place, "metadata": metadata or {}})
        return resources[RUN_KEY], notebook

    return run


def test_records_of_all_cases_and_no_demonstrations(run, root, sample):
    outcome, notebook = run(
        sample.answered(root, lab0_double="import os\nplace = os.getcwd()\ndef double(x): return 2 * x")
    )
    assert outcome.trouble == ""
    assert outcome.ended == {}
    records = sorted(str(path.relative_to(outcome.recorded)) for path in outcome.recorded.rglob("record.json"))
    assert records == [
        "lab0.double/hidden-0/record.json",
        "lab0.double/public-0/record.json",
        "lab0.double/public-1/record.json",
        "lab0.smallest/hidden-0/record.json",
        "lab0.smallest/public-0/record.json",
    ]
    assert all(not cell.get("outputs") for cell in notebook.cells)
    assert PrivateFolder(root).student(sample.LAB, "ada").recorded == outcome.recorded


def test_old_records_are_gone(run, root, sample):
    outcome, _ = run(sample.answered(root))
    (outcome.recorded / "stale").mkdir()
    outcome, _ = run(sample.answered(root))
    assert not (outcome.recorded / "stale").exists()


def test_the_working_folder_holds_nothing_of_the_course_and_is_gone(run, root, sample):
    spy = "import os, sys\nopen('left.txt', 'w').close()\nprint(sorted(os.listdir()), os.getcwd(), '' in sys.path)"
    _, notebook = run(sample.answered(root, lab0_double=spy))
    (output,) = sample.cell(notebook, "lab0-double").outputs
    assert output.text.startswith("['left.txt'] /")
    assert str(root) not in output.text


def test_models_that_were_handed_in_are_there_and_links_are_not(run, root, sample, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"a model")
    (tmp_path / "notes.txt").write_text("not a model")
    (tmp_path / "link.onnx").symlink_to(root / "nbgrader_config.py")
    spy = "import os\nprint(sorted(os.listdir()), open('mine.onnx').read())"
    _, notebook = run(sample.answered(root, lab0_double=spy), {"path": str(tmp_path)})
    (output,) = sample.cell(notebook, "lab0-double").outputs
    assert output.text.strip() == "['mine.onnx'] a model"


@pytest.mark.parametrize("first", ["import a_module_that_nobody_has", "import os; os._exit(1)"])
def test_a_lab_whose_own_first_cell_fails(run, root, sample, first):
    notebook = sample.answered(root)
    notebook["cells"][1]["source"] = first
    outcome, _ = run(notebook)
    assert "The lab's own first cells" in outcome.trouble


def test_a_kernel_that_does_not_start_is_tried_again(run, step, root, sample, monkeypatch):
    calls = []

    def fail(*_):
        calls.append(1)
        raise RuntimeError("Kernel didn't respond in 60 seconds")

    monkeypatch.setattr(step, "_run_once", fail)
    outcome, _ = run(sample.answered(root))
    assert "didn't respond" in outcome.trouble
    assert len(calls) == 1 + step.retries


def test_an_unreadable_notebook_is_not_run(run, step, root, sample, monkeypatch):
    monkeypatch.setattr(step, "_run_once", None)
    notebook = node_from(sample.released(root))
    Marks(unreadable="broken").write(notebook)
    outcome, _ = run(notebook)
    assert not outcome.recorded.exists()


def test_no_more_restarts_than_allowed(run, step, root, sample, monkeypatch):
    step.kernel_restarts = 0
    monkeypatch.setattr(step, "_run_once", lambda nb, resources, outcome, *_: outcome.ended.setdefault(3, "died") and 3)
    outcome, notebook = run(sample.answered(root))
    checks = [index for index, cell in enumerate(notebook.cells) if cell.source.startswith("check(")]
    assert outcome.ended == {3: "died", **dict.fromkeys(checks, "died")}


@pytest.mark.parametrize(("length", "transport"), [(20, "ipc"), (150, "tcp")])
def test_sockets_are_files_where_their_names_are_short_enough(step, tmp_path, length, transport):
    step.nb = node_from({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    assert step._kernel_manager(Path("/" + "x" * length)).transport == transport


def test_a_check_may_take_as_long_as_its_calls(step, root, sample):
    notebook = node_from(sample.answered(root))
    exercise = load_exercise("lab0.double").exercise
    limit = step._get_timeout(sample.cell(notebook, "lab0-double-check"))
    assert limit > exercise.seconds * len(exercise.all_cases(with_hidden=True))
    step.timeout = 7
    assert step._get_timeout(sample.cell(notebook, "lab0-double")) == 7
