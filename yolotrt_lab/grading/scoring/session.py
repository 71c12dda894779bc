"""One pytest session that judges many submissions: collected once, and forked for each exercise of each submission.

What the reference solution's records need is made before the forks: inputs, and what the suite's modules keep of their
references. A fork sees all of it and changes none of it.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.exercise import Case
from yolotrt_lab.grading.judging import early_state, judged, not_judged, run_pytest
from yolotrt_lab.grading.pictures import with_picture
from yolotrt_lab.grading.pytest_plugin import JudgePlugin, Outcome
from yolotrt_lab.grading.results import ExerciseResult, Picture, State, TestResult
from yolotrt_lab.grading.scoring.forked import Ended, ForkLimits, Say, run_forked
from yolotrt_lab.grading.suite import LoadedExercise, load_exercise

__all__ = ["JudgeSession", "Primed"]

# Slow to import, so forks are better off if they find them there. Their imports do nothing that a fork would lack.
_HEAVY = ("cv2", "matplotlib.figure", "onnx", "onnxruntime", "openvino", "yolotrt_lab.report.plots.style")
_LEAST_CPU_S = 20.0
_TIMES_REFERENCE = 10.0
_WALL_PER_CPU = 4.0
_REASONS = {
    "time": "judging it took more time than the reference solution takes ten times over",
    "memory": "judging it took more memory than there is",
    "output": "judging it gave more text than can be kept",
    "crash": "judging it ended the program that judges",
}


@dataclass(frozen=True)
class Primed:
    """What the reference solution's records showed of an exercise.

    Attributes:
        sound: Names of the tests that pass.
        cpu_s: What judging takes.
    """

    sound: frozenset[str] = frozenset()
    cpu_s: float = 0.0


@dataclass(eq=False)
class JudgeSession(JudgePlugin):
    """Serves verdicts out of one pytest session.

    Attributes:
        limits: What judging one exercise may take, where the reference does not tell.
        primed: What is known from the reference solution, by exercise.
    """

    limits: ForkLimits = field(default_factory=ForkLimits)
    primed: dict[str, Primed] = field(default_factory=dict)
    _loaded_ones: dict[str, LoadedExercise] = field(default_factory=dict)
    _items: dict[str, list[pytest.Item]] = field(default_factory=dict)
    _memo: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    _broken: dict[str, str] = field(default_factory=dict)
    _serve: Callable[[], None] | None = None

    def run(self, exercises: Sequence[str], serve: Callable[[], None]) -> None:
        """Collect the tests of exercises, and call `serve` in the middle of the session."""
        for name in exercises:
            try:
                self._loaded_ones[name] = load_exercise(name, root=self.root)
            except LabError as error:
                self._broken[name] = error.one_line
            except Exception as error:  # a file of the suite that does not load is trouble for its exercise alone
                self._broken[name] = f"Its file in the suite does not load: {type(error).__name__}: {error}"
        _keep_to_one_thread()
        self._serve = serve
        if self._loaded_ones:
            run_pytest([loaded.path for loaded in self._loaded_ones.values()], self)
        if self._serve is not None:
            self._serve()  # there was nothing to collect

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serve instead of running the tests once. Called by pytest after it has collected them."""
        for item in session.items:
            exercise = getattr(getattr(item, "module", None), "EXERCISE", None)
            self._items.setdefault(getattr(exercise, "id", ""), []).append(item)
        serve, self._serve = self._serve, None
        if serve is not None:
            serve()
        return True

    def prime(self, reference: Path) -> None:
        """Learn from the reference solution's records which tests are sound, and make what all judging needs.

        What starts threads is made in a fork only: a fork has no threads but one, and would wait for them for ever.
        """
        with tempfile.TemporaryDirectory(prefix="yolotrt-inputs-") as folder:
            for loaded in self._loaded_ones.values():
                self._prime(loaded, reference, Path(folder) / f"{loaded.exercise.id}.pickle")

    def _prime(self, loaded: LoadedExercise, reference: Path, made: Path) -> None:
        name = loaded.exercise.id
        ended = self._probed(loaded, reference, made)
        result = self._assembled(loaded, ended)
        sound = frozenset(test.name for test in result.tests if test.passed)
        self.primed[name] = Primed(sound, ended.cpu_s)
        said = {key: value for message in ended.said for key, value in message.items()}
        if ended.reason:
            return
        if said["threads_of_inputs"] > 1:
            with contextlib.suppress(Exception):  # then they are made anew for each submission
                self._memo |= pickle.loads(made.read_bytes())  # our own, of inputs only: no answer was read by then
            return
        self._remember_inputs(loaded)
        if said["threads"] == 1:
            self._judge_here(loaded, reference, lambda _: None)

    def judge(self, name: str, recorded: Path) -> ExerciseResult:
        """Return the verdict on one exercise; what ends badly is tried once more before it counts.

        Args:
            name: The exercise.
            recorded: The folder of the records.
        """
        loaded = self._loaded_ones.get(name)
        if loaded is None:
            reason = self._broken.get(name, f"The lab has no exercise {name!r}.")
            return ExerciseResult(name, name, State.TROUBLE, (), reason)
        limits = self._limits_of(name)
        for _ in range(2):
            ended = run_forked(lambda say: self._judge_here(loaded, recorded, say), limits=limits)
            _import_as(ended)
            result = self._assembled(loaded, ended)
            if ended.reason == "time" and ended.cpu_s >= limits.cpu_s:
                break  # processor time is the same the next time
            if not ended.reason and not any(test.trouble or test.odd for test in result.tests):
                break
        return result

    def inputs_of(self, loaded: LoadedExercise, case: Case) -> dict[str, object]:
        """Return the arguments of a case: a copy of those that were made before, if they were."""
        known = self._memo.get((loaded.exercise.id, case.key))
        if known is None:
            return super().inputs_of(loaded, case)
        return copy.deepcopy(known)

    def _limits_of(self, name: str) -> ForkLimits:
        primed = self.primed.get(name)
        if primed is None or not primed.sound:
            return self.limits
        cpu_s = min(self.limits.cpu_s, max(_LEAST_CPU_S, _TIMES_REFERENCE * primed.cpu_s))
        return dataclasses.replace(self.limits, cpu_s=cpu_s, wall_s=min(self.limits.wall_s, _WALL_PER_CPU * cpu_s))

    def _probed(self, loaded: LoadedExercise, reference: Path, made: Path) -> Ended:
        """Judge the reference in a fork; once more if it imported something, which may have started threads."""
        while True:
            ended = run_forked(lambda say: self._probe(loaded, reference, made, say), limits=self.limits)
            if not _import_as(ended):
                return ended

    def _probe(self, loaded: LoadedExercise, reference: Path, made: Path, say: Say) -> None:
        self._remember_inputs(loaded)
        say({"threads_of_inputs": _threads()})
        with contextlib.suppress(Exception):  # not everything can be pickled, nor has to be
            made.write_bytes(
                pickle.dumps({key: value for key, value in self._memo.items() if key[0] == loaded.exercise.id})
            )
        self._judge_here(loaded, reference, say)
        say({"threads": _threads()})

    def _remember_inputs(self, loaded: LoadedExercise) -> None:
        """Make the inputs that do not need a folder of their own, and what the exercise prepares for them."""
        for case in loaded.exercise.all_cases(with_hidden=self.hidden_seed is not None):
            with contextlib.suppress(Exception):  # among others: scratch() is not to be had here
                made = super().inputs_of(loaded, case)
                copied = copy.deepcopy(made)
                self._memo[loaded.exercise.id, case.key] = made
                prepare = getattr(loaded.module, "prepare", None)
                if prepare is not None:
                    prepare(**copied)

    def _judge_here(self, loaded: LoadedExercise, recorded: Path, say: Say) -> None:
        """Run an exercise's tests in this process, and say how each ends."""
        state = early_state(recorded, loaded)
        if state is not None:
            say({"early": state.value, "done": True})
            return
        name, self.recorded = loaded.exercise.id, recorded
        self.outcomes.clear()
        items = self._items.get(name, [])
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            test = getattr(item, "originalname", None) or item.name
            outcome = self.outcomes.get((name, test), Outcome())
            say({"test": test, "outcome": dataclasses.asdict(outcome)})
        say({"done": True})
        drawn = with_picture(judged(loaded, self.results_of(loaded)), loaded, recorded).picture
        if drawn is not None:
            say({"picture": drawn.to_json()})
        say({"modules": [name for name in _HEAVY if name in sys.modules]})

    def _assembled(self, loaded: LoadedExercise, ended: Ended) -> ExerciseResult:
        """Return the verdict from what a fork said."""
        name, sound = loaded.exercise.id, self.primed.get(loaded.exercise.id, Primed()).sound
        finished, picture = False, None
        runs: dict[str, int] = {}
        self.outcomes.clear()
        for message in ended.said:
            finished = finished or bool(message.get("done"))
            if "early" in message:
                return not_judged(loaded, State(message["early"]))
            if "test" in message:
                test = str(message["test"])
                runs[test] = runs.get(test, 0) + 1
                self.outcomes[name, test] = Outcome(**message["outcome"])
            if "picture" in message:
                picture = Picture.from_json(message["picture"])
        tests = self.results_of(loaded, sound=sound)
        if not finished:
            tests = tuple(self._cut_short(name, test, runs.get(test.name, 0), ended, sound) for test in tests)
        return dataclasses.replace(judged(loaded, tests), picture=picture)

    def _cut_short(self, name: str, test: TestResult, runs: int, ended: Ended, sound: frozenset[str]) -> TestResult:
        """Return the verdict of a test whose process came to a bad end: the answer's doing if the test is sound."""
        expected = sum((getattr(item, "originalname", None) or item.name) == test.name for item in self._items[name])
        if runs >= expected or (not test.passed and not test.trouble):
            return test
        words = f"{ended.reason}: {ended.detail}".rstrip(": ") or "it did not end"
        if test.name not in sound or ended.reason not in _REASONS:
            return dataclasses.replace(test, passed=False, trouble=f"The judge came to a bad end ({words}).")
        return dataclasses.replace(
            test,
            passed=False,
            trouble="",
            expected="a result that can be checked",
            seen=_REASONS[ended.reason],
            misconception="Look at its size, and at loops and sizes within the models that it holds.",
            odd=words,
        )


def _import_as(ended: Ended) -> bool:
    """Import what a fork imported, for those to come; return whether there was anything new."""
    wanted = {name for message in ended.said for name in message.get("modules", ()) if name in _HEAVY}
    new = sorted(wanted - set(sys.modules))
    for name in new:
        importlib.import_module(name)
    _keep_to_one_thread()
    return bool(new)


def _keep_to_one_thread() -> None:
    """Let OpenCV, where it is imported, work without threads: they would be missing in the forks."""
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 2  # not to be known: as if there were some
