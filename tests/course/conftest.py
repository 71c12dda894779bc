import sys
from pathlib import Path

import pytest

from yolotrt_lab.grading import pictures

# The files of answers, loaded by path, take their decorators from here.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _no_picture_is_broken(monkeypatch):
    """The judge leaves a picture out that cannot be drawn; here it fails the test."""
    errors, draw = [], pictures.draw

    def noticed(loaded, answer):
        try:
            return draw(loaded, answer)
        except Exception as error:
            errors.append(f"{loaded.exercise.id}, {answer.case.name}: {type(error).__name__}: {error}")
            raise

    monkeypatch.setattr(pictures, "draw", noticed)
    yield
    assert not errors
