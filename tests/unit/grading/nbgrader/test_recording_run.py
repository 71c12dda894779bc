"""The step of nbgrader's that has a notebook run: what it hands over, and what it puts into notebook and resources."""

import shutil

import pytest

from yolotrt_lab.grading.course import open_course
from yolotrt_lab.grading.execution import Execution
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.given import GIVEN_KEY, Given
from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.record_exercises import RUN_KEY, RecordExercises
from yolotrt_lab.grading.nbgrader.release import node_from


@pytest.fixture
def step(root, sample):
    step = RecordExercises()
    step.coursedir = open_course(root).coursedir(lab=sample.LAB)
    return step


@pytest.fixture
def run(step, root, sample):
    def run(notebook, metadata=None, **resources):
        place = {"student": "ada", "assignment": sample.LAB, "notebook": sample.LAB}
        notebook = node_from(notebook)
        resources |= {"nbgrader": place, "metadata": metadata or {}}
        _, resources = step.preprocess(notebook, resources)
        return resources[RUN_KEY], notebook

    return run


def test_records_of_all_cases_and_no_demonstrations(run, root, sample):
    first = PrivateFolder(root).student(sample.LAB, "ada").recorded
    (first / "stale").mkdir(parents=True)
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
    assert first == outcome.recorded
    assert not (first / "stale").exists()
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == [1, 2, None, None, 3, None]  # checks and demonstrations have none


def test_models_that_were_handed_in_are_there_and_links_are_not(run, root, sample, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"a model")
    (tmp_path / "notes.txt").write_text("not a model")
    (tmp_path / "link.onnx").symlink_to(root / "nbgrader_config.py")
    spy = "import os\nprint(sorted(os.listdir()), open('mine.onnx').read())"
    _, notebook = run(sample.answered(root, lab0_double=spy), {"path": str(tmp_path)})
    (output,) = sample.cell(notebook, "lab0-double").outputs
    assert output.text.strip() == "['mine.onnx'] a model"


def test_an_unreadable_notebook_is_not_run(run, root, sample, monkeypatch):
    monkeypatch.setattr("yolotrt_lab.grading.nbgrader.record_exercises.execute", None)
    notebook = node_from(sample.released(root))
    Marks(unreadable="broken").write(notebook)
    outcome, _ = run(notebook)
    assert not outcome.recorded.exists()
    assert outcome.execution is None


def test_what_is_known_already_is_not_run_again(run, root, sample, tmp_path, monkeypatch):
    monkeypatch.setattr("yolotrt_lab.grading.nbgrader.record_exercises.execute", None)
    text = {"output_type": "stream", "name": "stdout", "text": "hello"}
    execution = Execution(
        key="0" * 64,
        ended={"lab0-smallest": "died"},
        outputs={"lab0-double": (text,)},
        findings=(Finding("limit exceeded", "Too much."),),
        seconds={"lab0-double": 1.0, "lab0-smallest": 1.0},
    )
    outcome, notebook = run(sample.answered(root), **{GIVEN_KEY: Given(execution=execution, recorded=tmp_path)})
    assert outcome.recorded == tmp_path
    assert sample.cell(notebook, "lab0-double").outputs == [text]
    assert [notebook.cells[index].id for index in outcome.ended] == ["lab0-smallest"]
    assert [finding.kind for finding in Marks.read(notebook).findings] == ["limit exceeded"]


def test_jobs_are_equal_for_equal_answers_whoever_gave_them(step, root, sample):
    place = {"assignment": sample.LAB, "notebook": sample.LAB}

    def key(notebook, submission=None):
        return step.job(node_from(notebook), place, submission)[0].key()

    same = sample.answered(root)
    first = key(same)
    assert first == key(sample.answered(root, lab0_written="Other words."))
    assert first != key(sample.answered(root, lab0_double="def double(x): return 2 * x"))
    (root / "mine.onnx").write_bytes(b"a model")
    assert first != key(same, root)
    shutil.rmtree(PrivateFolder(root).path)
    assert first != key(same), "another secret"


def test_the_secret_of_hidden_tests_is_in_no_job(step, root, sample):
    place = {"assignment": sample.LAB, "notebook": sample.LAB}
    job, _ = step.job(node_from(sample.answered(root)), place, None)
    assert str(PrivateFolder(root).hidden_seed(sample.LAB)) not in repr(job)
    assert sorted(job.seeds["lab0.double"]) == ["hidden-0", "public-0", "public-1"]
