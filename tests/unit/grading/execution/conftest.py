"""Jobs on the sample suite: a cell of the lab's, a student's cell, and the answer `clip` with its check."""

import dataclasses
import json
import os

import pytest

from yolotrt_lab.grading.execution import ExecutionJob, ExercisePlan, Timeouts
from yolotrt_lab.grading.execution.host import KERNEL_ENVIRONMENT
from yolotrt_lab.grading.execution.job import CodeCell, cells_to_json
from yolotrt_lab.grading.execution.run import execute
from yolotrt_lab.grading.sandbox.policy import SandboxLimits
from yolotrt_lab.grading.sandbox.zygote import Zygote
from yolotrt_lab.grading.seeds import case_seeds
from yolotrt_lab.grading.suite import load_exercise

CLIP = "import numpy\ndef clip(values, limit): return numpy.clip(values, -limit, limit)"
CASES = ("public-0", "public-1", "hidden-0")
# A user of its own: the system counts processes by user, and others may be testing on this machine.
SLOT = 100 + os.getpid() % 800
SMALL = SandboxLimits(memory_bytes=400 << 20, processes=40, disk_bytes=20 << 20, file_bytes=10 << 20, cpu_s=20)
QUICK = Timeouts(cell_s=3, margin_s=1, interrupt_s=1, notebook_s=60, retries=0)


@pytest.fixture(scope="session")
def zygote():
    """What kernels are forked from, so that the tests need not wait for imports."""
    modules = ("ipykernel.kernelapp", "numpy", "yolotrt_lab.grading.proctor", "yolotrt_lab.grading.suite")
    with Zygote(modules, environment=KERNEL_ENVIRONMENT) as zygote:
        yield zygote


@pytest.fixture
def cells():
    """Make the cells of a notebook: the lab's first, the student's, the answer, and its check."""

    def cells(*students, first="import sys", clip=CLIP):
        return (
            CodeCell("first", first),
            *(CodeCell(f"student-{number}", source, answer=True) for number, source in enumerate(students)),
            CodeCell("clip", clip, answer=True),
            CodeCell("check", 'check("lab0.clip")', exercise="lab0.clip"),
        )

    return cells


@pytest.fixture
def job(cells):
    """Make a job from what makes cells, with changes of its timeouts and limits."""

    def job(*arguments, limits=None, timeouts=None, models=None, **more):
        seconds = load_exercise("lab0.clip").exercise.seconds
        return ExecutionJob(
            lab="lab0",
            notebook=cells_to_json(cells(*arguments, **more)),
            exercises=(ExercisePlan(id="lab0.clip", answer="clip", cases=CASES, seconds=seconds),),
            seeds=case_seeds(["lab0.clip"], 5),
            models=models or {},
            limits=dataclasses.replace(SMALL, **(limits or {})),
            timeouts=dataclasses.replace(QUICK, **(timeouts or {})),
        )

    return job


@pytest.fixture
def run(job, tmp_path, zygote):
    """Run a job; the artifact's folder is `run.folder`, `run.statuses()` says what was recorded of each case."""

    def run(*arguments, warm=True, unsafe=False, cancelled=None, **more):
        warm = zygote if warm else None
        return execute(job(*arguments, **more), run.folder, slot=SLOT, warm=warm, unsafe=unsafe, cancelled=cancelled)

    def record(case):
        path = run.folder / "recorded" / "lab0.clip" / case / "record.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    run.folder = tmp_path / "execution"
    run.record = record
    run.statuses = lambda: [record(case).get("status") for case in CASES]
    return run
