import dataclasses

import pytest
from IPython.core.interactiveshell import InteractiveShell

from yolotrt_lab.grading.nbgrader.validation import NotSolvedError, raise_if_validating
from yolotrt_lab.grading.results import ExerciseResult, State, TestResult

RESULT = ExerciseResult(
    "lab0.double",
    "Doubling",
    State.FAILED,
    (TestResult("test_twice", "The result is twice the number " * 4, 4, False, expected="4 " * 60, seen="2"),),
)


def test_only_where_nbgrader_validates(monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    raise_if_validating(RESULT)
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    raise_if_validating(RESULT)
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    raise_if_validating(dataclasses.replace(RESULT, state=State.PASSED))
    with pytest.raises(NotSolvedError, match=r"lab0\.double"):
        raise_if_validating(RESULT)


def test_jupyter_shows_the_verdict_and_no_traceback(capsys):
    shell = InteractiveShell.instance()
    shell.user_ns["error"] = NotSolvedError(RESULT)
    shell.run_cell("raise error")
    said = "".join(capsys.readouterr())
    InteractiveShell.clear_instance()
    assert "Doubling" in said
    assert "Traceback" not in said
    assert max(map(len, said.splitlines())) <= 84  # nbgrader cuts longer lines
