"""Judge recorded answers with the grading suite's pytest files.

Runs no code of the student's. In a process of its own:

    python -m yolotrt_lab.grading.judging --recorded DIR --exercise lab4.kl_threshold --out results.json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolotrt_lab.errors import LabError
from yolotrt_lab.files import write_json
from yolotrt_lab.grading.pictures import with_picture
from yolotrt_lab.grading.pytest_plugin import JudgePlugin
from yolotrt_lab.grading.results import ExerciseResult, State, TestResult
from yolotrt_lab.grading.seeds import HIDDEN_SEED_VARIABLE, hidden_seed_from_environment
from yolotrt_lab.grading.suite import LoadedExercise, load_exercise
from yolotrt_lab.grading.untrusted_records import load_record

__all__ = [
    "HIDDEN_SEED_VARIABLE",
    "early_state",
    "hidden_seed_from_environment",
    "judge",
    "judged",
    "main",
    "not_judged",
    "run_pytest",
]

# Quick, silent, and independent of the project that surrounds the suite.
_OPTIONS = (
    "-c",
    str(Path(__file__).with_name("judge.ini")),
    "--import-mode=importlib",
    "--disable-plugin-autoload",
    "--assert=plain",
    "--capture=no",
    "-pno:cacheprovider",
    "-pno:terminal",
    "-pno:faulthandler",
    "-pno:logging",
    "-pno:threadexception",
    "-pno:unraisableexception",
    "--noconftest",
    "-Wignore",
)

_OF_OTHERS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")


def judge(
    recorded: Path, *, exercises: Sequence[str], hidden_seed: int | None = None, root: Path | None = None
) -> dict[str, ExerciseResult]:
    """Return the verdict on each exercise, from what `recording.record` wrote.

    Args:
        recorded: The folder of the records.
        exercises: Ids of the exercises to judge.
        hidden_seed: The instructor's secret, if the hidden cases were recorded.
        root: The grading suite; by default the course's.

    Raises:
        InputError: There is no such exercise.
    """
    loaded = [load_exercise(name, root=root) for name in exercises]
    states = {item.exercise.id: early_state(recorded, item) for item in loaded}
    started = [item for item in loaded if states[item.exercise.id] is None]
    plugin = JudgePlugin(recorded, hidden_seed, root)
    if started:
        run_pytest([item.path for item in started], plugin)
    return {
        item.exercise.id: with_picture(judged(item, plugin.results_of(item)), item, recorded)
        if item in started
        else not_judged(item, states[item.exercise.id])
        for item in loaded
    }


def run_pytest(files: Sequence[Path], plugin: JudgePlugin) -> None:
    """Run pytest on files of the suite; what comes out is in the plugin."""
    import pytest

    silence = io.StringIO()
    root = os.path.commonpath([str(path.parent) for path in files])
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence), _without_options_of_others():
        pytest.main([*_OPTIONS, f"--rootdir={root}", *(str(path) for path in files)], plugins=[plugin])


@contextlib.contextmanager
def _without_options_of_others() -> Iterator[None]:
    """Keep from this judge what somebody has set for test runs of their own."""
    kept = {name: os.environ.pop(name) for name in _OF_OTHERS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def early_state(recorded: Path, loaded: LoadedExercise) -> State | None:
    """Return the state of an exercise that there is nothing to judge about."""
    first = recorded / loaded.exercise.id / loaded.exercise.all_cases(with_hidden=False)[0].key / "record.json"
    try:
        status = load_record(first).get("status")
    except (OSError, ValueError):
        return State.MISSING
    return {"missing": State.MISSING, "unfinished": State.UNFINISHED}.get(str(status))


def judged(loaded: LoadedExercise, tests: tuple[TestResult, ...]) -> ExerciseResult:
    """Return the verdict on an exercise from those of its tests."""
    if any(test.trouble for test in tests):
        state = State.TROUBLE
        note = "The check itself failed; that is not your fault. Please tell your instructor."
    else:
        state, note = (State.PASSED if all(test.passed for test in tests) else State.FAILED), ""
    return ExerciseResult(loaded.exercise.id, loaded.exercise.title, state, tests, note, loaded.exercise.reading)


def not_judged(loaded: LoadedExercise, state: State | None) -> ExerciseResult:
    """Return the verdict on an exercise that `early_state` has a state for."""
    exercise = loaded.exercise
    if state is State.UNFINISHED:
        note = f"`{exercise.answer}` is not written yet: replace the `raise NotImplementedError()` in the cell above."
    else:
        note = f"The notebook defines no `{exercise.answer}`: run the answer cell above, then this one again."
    tests = tuple(TestResult(test.name, test.title, test.points, passed=False) for test in loaded.tests)
    return ExerciseResult(exercise.id, exercise.title, state or State.MISSING, tests, note, exercise.reading)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge in a process of its own and return the exit code: 0 if every exercise has a verdict."""
    parser = argparse.ArgumentParser(prog="yolotrt_lab.grading.judging", description="Judge recorded answers.")
    parser.add_argument("--recorded", type=Path, required=True, help="the folder of the records")
    parser.add_argument("--exercise", action="append", required=True, help="an exercise's id; may be repeated")
    parser.add_argument("--out", type=Path, required=True, help="where the verdicts are written (JSON)")
    options = parser.parse_args(arguments)
    try:
        results = judge(options.recorded, exercises=options.exercise, hidden_seed=hidden_seed_from_environment())
        write_json(options.out, {name: result.to_json() for name, result in results.items()})
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
