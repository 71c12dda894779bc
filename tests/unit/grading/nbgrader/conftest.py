"""The sample course, in a folder of its own for each test."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from yolotrt_lab.grading.course import open_course

_PATH = Path(__file__).parents[3] / "sample_course" / "sample_course.py"


@pytest.fixture(scope="session")
def sample():
    """The module that makes the sample course."""
    spec = importlib.util.spec_from_file_location("sample_course", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pristine(sample, tmp_path_factory) -> Path:
    root = sample.make_course(tmp_path_factory.mktemp("course"))
    with open_course(root).gradebook():
        pass  # making one takes nbgrader seconds
    return root


@pytest.fixture
def root(pristine, tmp_path, monkeypatch) -> Path:
    """The folder of a fresh course."""
    root = tmp_path / "course"
    shutil.copytree(pristine, root)
    monkeypatch.setenv("YOLOTRT_GRADING_SUITE", str(root / "suite"))
    monkeypatch.delenv("YOLOTRT_EXCHANGE", raising=False)
    return root
