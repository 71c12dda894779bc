from pathlib import Path

import pytest

from yolotrt_lab.grading.suite import load_exercise

# The sample suite is judged by the tests beside it, not collected.
collect_ignore = ["sample_suite"]

SUITE = Path(__file__).parent / "sample_suite"


@pytest.fixture(autouse=True)
def suite(monkeypatch):
    """The sample suite instead of the course's."""
    monkeypatch.setenv("YOLOTRT_GRADING_SUITE", str(SUITE))
    for name in ("YOLOTRT_RECORD", "YOLOTRT_HIDDEN_SEED", "YOLOTRT_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return SUITE


@pytest.fixture
def clip():
    return load_exercise("lab0.clip")
