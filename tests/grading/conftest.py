"""Run plainly, `pytest tests/grading` judges the reference solutions of the labs' notebooks."""

import contextlib
import importlib.util
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from yolotrt_lab.grading.pytest_plugin import JudgePlugin
from yolotrt_lab.grading.recording import MISSING, record
from yolotrt_lab.grading.suite import load_exercise

ROOT = Path(__file__).parents[2]
SEED = 20_261_120


@cache
def _solutions():
    path = ROOT / "tests" / "course" / "lab_solutions.py"
    sys.path.insert(0, str(path.parent))  # the files that make what a lab hands in import it by name
    spec = importlib.util.spec_from_file_location("yolotrt_solutions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _recorded(exercise_id: str) -> Path:
    folder = Path(_FOLDER.name)
    loaded = load_exercise(exercise_id)
    solutions = _solutions()
    namespace = solutions.solution_namespace(loaded.exercise.lab)
    with contextlib.chdir(solutions.handed_in(loaded.exercise.lab)):
        record(loaded, namespace.get(loaded.exercise.answer, MISSING), folder=folder, hidden_seed=SEED)
    return folder


_FOLDER = tempfile.TemporaryDirectory(prefix="yolotrt-reference-", ignore_cleanup_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(JudgePlugin(_recorded, SEED), "yolotrt-reference-judge")
