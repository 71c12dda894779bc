import pytest

from yolotrt_lab import errors
from yolotrt_lab.errors import LabError


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({}, "Broken."),
        ({"expected": 5}, "Broken.\n  expected: 5"),
        ({"got": ""}, "Broken.\n  got:      "),
        ({"fix": "Mend it."}, "Broken.\n  fix:      Mend it."),
        (
            {"fix": "Mend it.", "got": (1, 2), "expected": ValueError("why")},
            "Broken.\n  expected: why\n  got:      (1, 2)\n  fix:      Mend it.",
        ),
        ({"expected": 0, "got": False}, "Broken.\n  expected: 0\n  got:      False"),
    ],
)
def test_the_message_says_what_is_known(details, text):
    assert str(LabError("Broken.", **details)) == text


def test_details_are_in_reading_order():
    error = LabError("x", fix="c", got="b", expected="a")
    assert error.details() == [("expected:", "a"), ("got:", "b"), ("fix:", "c")]


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("LabError", 2),
        ("InputError", 2),
        ("OutputError", 2),
        ("EngineBuildError", 2),
        ("EmulationError", 2),
        ("MissingDependencyError", 3),
        ("VerificationError", 1),
    ],
)
def test_exit_codes(name, exit_code):
    kind = getattr(errors, name)
    assert issubclass(kind, LabError)
    assert kind("x").exit_code == exit_code


def test_everything_public_is_exported():
    defined = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)


def test_a_warning_is_not_an_error():
    assert issubclass(errors.LabWarning, UserWarning)
    assert not issubclass(errors.LabWarning, LabError)
