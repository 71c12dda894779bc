"""A kernel with the proctor, without the rest of the grader: cells in, records and findings out."""

import atexit
import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from yolotrt_lab.grading.integrity.review import review
from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.results import ExerciseResult

SEED = 7

# Imports once, and forks for every notebook, as the grader's zygote does.
_KERNELS = """
import json, os, sys, traceback
from IPython.core.interactiveshell import InteractiveShell
from yolotrt_lab.grading import proctor

def kernel(job):
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    proctor.install()
    shell = InteractiveShell.instance()
    for source in job["cells"]:
        shell.run_cell(source, store_history=True)
    for name in job["exercises"]:
        proctor.take(name)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            kernel(json.loads(line))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Taken:
    """What became of a notebook.

    Attributes:
        results: The judge's verdicts.
        records: Exercise -> case -> record.
        findings: Kind -> text of what an instructor is told.
    """

    results: dict[str, ExerciseResult]
    records: dict[str, dict[str, Any]]
    findings: dict[str, str]

    @property
    def score(self) -> int:
        """Points in all."""
        return sum(result.score for result in self.results.values())


@functools.cache
def _kernels() -> subprocess.Popen[str]:
    kernels = subprocess.Popen(
        [sys.executable, "-c", _KERNELS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.home()
    )
    atexit.register(kernels.communicate)
    return kernels


def take(cells: list[str], folder: Path, *, exercises: tuple[str, ...], suite: Path) -> Taken:
    """Run cells in a process of their own, have the proctor take the exercises, and judge what was recorded."""
    recorded, home = folder / "recorded", folder / "home"
    recorded.mkdir(parents=True)
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "YOLOTRT_RECORD": str(recorded),
        "YOLOTRT_GRADING_SUITE": str(suite),
        "YOLOTRT_HIDDEN_SEED": str(SEED),
        "YOLOTRT_PLATFORM": "emulated",
        "OMP_NUM_THREADS": "1",
    }
    job = {"environment": environment, "folder": str(home), "cells": cells, "exercises": exercises}
    kernels = _kernels()
    kernels.stdin.write(json.dumps(job) + "\n")
    kernels.stdin.flush()
    assert kernels.stdout.readline().strip() == "0"
    answers = [SimpleNamespace(id=f"answer-{n}", source=text, answer=True) for n, text in enumerate(cells)]
    plans = [SimpleNamespace(id=name, answer=name.split(".")[1]) for name in exercises]
    return Taken(
        results=judge(recorded, exercises=exercises, hidden_seed=SEED, root=suite),
        records={
            name: {path.parent.name: json.loads(path.read_text()) for path in recorded.glob(f"{name}/*/record.json")}
            for name in exercises
        },
        findings={finding.kind: finding.text for finding in review(answers, plans, recorded)},
    )
