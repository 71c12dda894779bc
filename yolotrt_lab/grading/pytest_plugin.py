"""The pytest plugin that judges: gives tests the recorded answers and collects the verdicts."""

from __future__ import annotations

import errno
import linecache
import re
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from yolotrt_lab.grading.answers import Answer
from yolotrt_lab.grading.exercise import Case, points_of, test_cases
from yolotrt_lab.grading.expectations import Mismatch
from yolotrt_lab.grading.results import TestResult
from yolotrt_lab.grading.scratch import scratch_folder
from yolotrt_lab.grading.suite import LoadedExercise, load_exercise, suite_root

__all__ = ["JudgePlugin", "Outcome"]


# What a full disk or a machine without free handles does to a test says nothing of the answer.
_MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EROFS, errno.EAGAIN}
_OF_ALL = "something else, on all inputs together; some of them you have not seen"
_LONGEST_TEXT = 2_000


@dataclass
class Outcome:
    """What became of one test.

    Attributes:
        runs: On how many cases it ran.
        failure: Its first failure, as fields of a `TestResult`.
        trouble: The first error that is no `Mismatch`: of the test itself, or one that odd data led it into.
        odd_case: The case of that error, as fields of a `TestResult`.
        of_machine: Whether the error is one of the machine's.
    """

    runs: int = 0
    failure: dict[str, Any] | None = None
    trouble: str = ""
    odd_case: dict[str, Any] = field(default_factory=dict)
    of_machine: bool = False


@dataclass(eq=False)  # pytest keeps plugins in sets
class JudgePlugin:
    """Gives `answer` (one case) and `answers` (all cases) to the tests of exercises.

    Attributes:
        recorded: The folder of the records, or a function that makes the records of an exercise and returns it.
        hidden_seed: The instructor's secret, if hidden cases were recorded.
        outcomes: What became of each test, by exercise id and function name.
    """

    recorded: Path | Callable[[str], Path]
    hidden_seed: int | None = None
    root: Path | None = None
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)

    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
        """Take the exercise's module as it is loaded already. Called by pytest for each file it collects.

        Pytest itself would import it again, and under a name that exercises of different labs may share.
        """
        root = self.root or suite_root()
        if module_path.parent.parent != root.resolve() or not _is_asked_for(module_path, parent.config):
            return None
        loaded = load_exercise(f"{module_path.parent.name}.{module_path.stem.removeprefix('test_')}", root=root)
        module: pytest.Module = pytest.Module.from_parent(parent, path=module_path)
        module.obj = loaded.module
        return module

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test that asks for `answer` once per case. Called by pytest for every test function."""
        if "answer" in metafunc.fixturenames and hasattr(metafunc.module, "EXERCISE"):
            cases = self._cases(metafunc.module.EXERCISE, metafunc.function)
            metafunc.parametrize("answer", cases, indirect=True, ids=[case.key for case in cases])

    @pytest.fixture
    def answer(self, request: pytest.FixtureRequest) -> Iterator[Answer]:
        """The recorded answer of one case."""
        loaded = self._loaded(request)
        with scratch_folder():
            yield self._answer(loaded, request.param)

    @pytest.fixture
    def answers(self, request: pytest.FixtureRequest) -> Iterator[tuple[Answer, ...]]:
        """The recorded answers of all cases of the test."""
        loaded = self._loaded(request)
        with scratch_folder():
            cases = self._cases(loaded.exercise, request.function)
            yield tuple(self._answer(loaded, case) for case in cases)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note how each test ended. Called by pytest after the set-up, the call and the teardown of a test."""
        report = yield
        exercise = getattr(getattr(item, "module", None), "EXERCISE", None)
        if exercise is None or not isinstance(item, pytest.Function) or not points_of(item.function):
            return report
        outcome = self.outcomes.setdefault((exercise.id, item.function.__name__), Outcome())
        if call.when == "call":
            outcome.runs += 1
        if call.excinfo is not None:
            self._note_failure(outcome, item, call.excinfo.value)
        return report

    def _note_failure(self, outcome: Outcome, item: pytest.Function, error: BaseException) -> None:
        case = item.callspec.params.get("answer") if hasattr(item, "callspec") else None
        hidden = isinstance(case, Case) and case.hidden
        place = {"case": case.title if isinstance(case, Case) else "", "hidden": hidden}
        if not isinstance(error, Mismatch):
            if not outcome.trouble:
                outcome.trouble = f"{type(error).__name__}: {error}"[:500]
                outcome.odd_case = place
                outcome.of_machine = isinstance(error, OSError) and error.errno in _MACHINE_ERRORS
            return
        if outcome.failure is None:
            # What an unseen input gave would tell the input; a test of all cases at once may tell it too.
            of_all = case is None and any(one.hidden for one in self._cases(item.module.EXERCISE, item.function))
            secret = hidden or of_all
            outcome.failure = {
                **place,
                "expected": "" if secret else error.expected[:_LONGEST_TEXT],
                "seen": _OF_ALL if of_all else "" if hidden else error.seen[:_LONGEST_TEXT],
                "misconception": _without_values(error.misconception, item.path) if secret else error.misconception,
            }

    def results_of(self, loaded: LoadedExercise, *, sound: Collection[str] = ()) -> tuple[TestResult, ...]:
        """Return the verdict of every test of an exercise; what did not run is trouble.

        Args:
            loaded: The exercise.
            sound: Names of the tests that are known to pass the reference solution. An error in one of them is due to
                the answer, and counts as failed.
        """
        results = []
        for test in loaded.tests:
            outcome = self.outcomes.get((loaded.exercise.id, test.name), Outcome())
            trouble = outcome.trouble or ("" if outcome.runs or outcome.failure else "the test did not run")
            passed, odd, details = not trouble and outcome.failure is None, "", outcome.failure or {}
            if outcome.trouble and test.name in sound and not outcome.of_machine:
                trouble, odd, details = "", outcome.trouble, outcome.failure or _unreadable(outcome)
            results.append(TestResult(test.name, test.title, test.points, passed, trouble=trouble, odd=odd, **details))
        return tuple(results)

    def _cases(self, exercise: Any, test: Callable[..., Any]) -> list[Case]:
        only = test_cases(test)
        cases = exercise.all_cases(with_hidden=self.hidden_seed is not None)
        return [case for case in cases if not only or case.name in only]

    def _loaded(self, request: pytest.FixtureRequest) -> LoadedExercise:
        return load_exercise(request.module.EXERCISE.id, root=self.root)

    def _answer(self, loaded: LoadedExercise, case: Case) -> Answer:
        recorded = self.recorded(loaded.exercise.id) if callable(self.recorded) else self.recorded
        return Answer(
            case,
            recorded / loaded.exercise.id / case.key,
            inputs=lambda: self.inputs_of(loaded, case),
        )

    def inputs_of(self, loaded: LoadedExercise, case: Case) -> dict[str, object]:
        """Return the arguments of a case, made anew."""
        return loaded.inputs(case, hidden_seed=self.hidden_seed)


def _without_values(text: str, file: Path) -> str:
    """Return a hint without the numbers that its author did not write: they are of the unseen input, or of the result.

    An answer could send inputs home by them otherwise, one submission after the other.
    """
    written = "".join(linecache.getlines(str(file)))
    return re.sub(r"-?\d+(?:[.,]\d+)*", lambda found: found.group() if found.group() in written else "…", text)


def _is_asked_for(path: Path, config: pytest.Config) -> bool:
    """Whether a file is to be collected. Pytest also makes modules of the files beside those that it was given."""
    given = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return any(path.resolve().is_relative_to(place) for place in given)


def _unreadable(outcome: Outcome) -> dict[str, Any]:
    """Return the fields of a failure by an error in the test."""
    hidden = bool(outcome.odd_case.get("hidden"))
    words = (
        {} if hidden else {"expected": "a result of the kind that is asked for", "seen": "one that cannot be checked"}
    )
    return {
        **outcome.odd_case,
        **words,
        "misconception": "Look at types, shapes and sizes: the check stumbled over this result, not over others.",
    }
