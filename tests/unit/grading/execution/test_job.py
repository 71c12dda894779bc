import dataclasses
import pickle

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.execution import (
    Execution,
    ExecutionJob,
    ExercisePlan,
    Timeouts,
    Usage,
    read_execution,
    write_execution,
)
from yolotrt_lab.grading.execution.job import CodeCell, cells_from_json, cells_to_json
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.sandbox.policy import SandboxLimits

CELLS = (CodeCell("a", "def f(): pass", answer=True), CodeCell("b", 'check("lab0.clip")', exercise="lab0.clip"))
PLAN = ExercisePlan(id="lab0.clip", answer="clip", cases=("public-0",), seconds=1.0)
JOB = ExecutionJob(
    lab="lab0", notebook=cells_to_json(CELLS), exercises=(PLAN,), seeds={"x": {"b": "1", "a": "2"}, "y": {}}
)


def test_cells_come_back():
    assert JOB.cells() == CELLS
    assert JOB.plan("lab0.clip") == PLAN
    assert JOB.plan("lab0.other") is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"cells": [{"id": 1, "text": 2}]}', b'{"cells": 3}', b"\xff"])
def test_other_json_is_no_job(content):
    with pytest.raises(InputError, match="not the cells"):
        cells_from_json(content)


def test_equal_jobs_have_equal_keys():
    again = dataclasses.replace(JOB, seeds={"y": {}, "x": {"a": "2", "b": "1"}})
    assert again.key() == JOB.key() == pickle.loads(pickle.dumps(JOB)).key()
    assert len(JOB.key()) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"lab": "lab1"},
        {"notebook": cells_to_json(CELLS[:1])},
        {"models": {"a.onnx": b"1"}},
        {"exercises": ()},
        {"suite": "x"},
        {"code": "x"},
        {"seeds": {}},
        {"workspace": "x"},
        {"limits": SandboxLimits(cores=2)},
        {"timeouts": Timeouts(cell_s=1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_the_result_depends_on_is_in_the_key(change):
    assert dataclasses.replace(JOB, **change).key() != JOB.key()


@pytest.fixture
def execution():
    return Execution(
        key=JOB.key(),
        ended={"a": "died"},
        killed={"a": "used too much"},
        trouble="",
        findings=(Finding("limit exceeded", "Too much.", "a"),),
        outputs={"a": ({"output_type": "stream", "name": "stdout", "text": "Ünï\U0001f600"},)},
        usage=Usage(cpu_s=1.5, kernels=2),
        seconds={"a": 0.5},
    )


def test_executions_come_back(execution, tmp_path):
    write_execution(execution, tmp_path)
    assert read_execution(tmp_path) == execution


@pytest.mark.parametrize("name", ["run.json", "outputs.json", "usage.json"])
@pytest.mark.parametrize("content", [None, "{", "[]", '{"usage": 3}', "[" * 100_000])
def test_damaged_executions_are_refused(execution, tmp_path, name, content):
    write_execution(execution, tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError):
        read_execution(tmp_path)


def test_executions_are_not_read_through_links(execution, tmp_path):
    write_execution(execution, tmp_path / "real")
    (tmp_path / "link").mkdir()
    for path in (tmp_path / "real").glob("*.json"):
        (tmp_path / "link" / path.name).symlink_to(path)
    with pytest.raises(InputError, match="a regular file"):
        read_execution(tmp_path / "link")
