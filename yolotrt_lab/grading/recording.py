"""Call a student's answer on the cases of an exercise and write down what came out.

This runs where the student's code runs: in the notebook, and in the autograder's kernel. It judges nothing. Each case
leaves `<folder>/<exercise id>/<case key>/record.json` with the files it names.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from yolotrt_lab.files import write_json
from yolotrt_lab.grading.codec import encode, plain_text, type_name
from yolotrt_lab.grading.exercise import Case
from yolotrt_lab.grading.generators import seed_of
from yolotrt_lab.grading.integrity.guard import Guard
from yolotrt_lab.grading.scratch import scratch_folder
from yolotrt_lab.grading.shortcuts import ShortcutError, Shortcuts
from yolotrt_lab.grading.suite import LoadedExercise

__all__ = ["MISSING", "record"]

MISSING: Any = object()
"""Stands for an answer that the notebook does not define."""

_PRINTED_LIMIT = 2_000


class _TimeUpError(BaseException):
    """Not an Exception, so that a student's `except Exception` does not swallow it."""


def record(
    loaded: LoadedExercise,
    answer: object,
    *,
    folder: Path,
    hidden_seed: int | None = None,
    seeds: Mapping[str, str] | None = None,
    guard: Guard | None = None,
) -> None:
    """Call `answer` on every case and write what it returned, raised and printed.

    Args:
        loaded: The exercise.
        answer: What the notebook defines under the exercise's name, or `MISSING`.
        folder: Where the records go.
        hidden_seed: The instructor's secret; without it only the public cases are called.
        seeds: Instead of the secret, the seeds of the cases to call, as `seeds.case_seeds` derives them.
        guard: Puts back what the answer changed before the next case is called.

    Raises:
        OutputError: The records cannot be written.
    """
    if seeds is None:
        cases = loaded.exercise.all_cases(with_hidden=hidden_seed is not None)
        seeds = {case.key: seed_of(loaded.exercise.id, case, hidden_seed=hidden_seed) for case in cases}
    shortcuts = Shortcuts(answer, loaded.exercise.forbidden)
    for case in loaded.exercise.all_cases(with_hidden=True):
        if case.key not in seeds:
            continue
        if guard is not None:
            guard.put_back()
        target = folder / loaded.exercise.id / case.key
        target.mkdir(parents=True, exist_ok=True)
        if answer is MISSING:
            write_json(target / "record.json", {"status": "missing"})
            continue
        with scratch_folder():
            content = _call(loaded, answer, case, seed=seeds[case.key], folder=target, shortcuts=shortcuts)
        made_by_hand = shortcuts.among(guard.made_by_hand) if guard is not None else []
        if made_by_hand and content["status"] == "returned":
            content = {"status": "shortcut", "name": made_by_hand[0]}
        write_json(target / "record.json", content)
        if content["status"] == "unfinished":
            return  # the other cases would say the same


def _call(
    loaded: LoadedExercise, answer: object, case: Case, *, seed: str, folder: Path, shortcuts: Shortcuts
) -> dict[str, Any]:
    inputs = loaded.inputs(case, seed=seed)
    before = {name: _fingerprint(value) for name, value in inputs.items()}
    printed = _Printed()
    exercise = loaded.exercise
    content: dict[str, Any]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _time_limit(exercise.seconds):
            with shortcuts.refused():
                output = loaded.run(answer, inputs)
            # In time, too: an iterator of the student's may have no end.
            content = {"status": "returned", "output": encode(output, folder)}
    except _TimeUpError:
        content = {"status": "timeout", "seconds": exercise.seconds}
    except NotImplementedError as error:
        content = _error(error, exercise.answer) if _message_of(error) else {"status": "unfinished"}
    except ShortcutError as error:
        content = {"status": "shortcut", "name": _message_of(error)}
    except KeyboardInterrupt:
        raise  # from outside, when a check takes too long in all
    except BaseException as error:  # whatever classes of their own students raise
        content = _error(error, exercise.answer)
    content["changed_inputs"] = [name for name, value in inputs.items() if _fingerprint(value) != before[name]]
    content["printed"] = plain_text(printed.text)
    return content


class _Printed(io.TextIOBase):
    """Keeps the beginning of what is printed, and lets the rest go."""

    def __init__(self) -> None:
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        room = _PRINTED_LIMIT - len(self.text)
        if room > 0:
            self.text += str.__getitem__(text, slice(room))
        return str.__len__(text)


def _error(error: BaseException, answer: str) -> dict[str, Any]:
    """Describe an exception by type, message, and the student's own line if it can be found."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_notebook_code(frame.filename)]
    where = None
    if own:
        where = {"function": own[-1].name, "line": own[-1].lineno, "text": own[-1].line or ""}
    kind = type_name(type(error))
    return {"status": "raised", "type": kind, "message": _message_of(error), "where": where, "of": answer}


def _message_of(error: BaseException) -> str:
    """Return an exception's text, "" where its own code cannot tell."""
    try:
        return plain_text(str(error), limit=500)
    except (Exception, SystemExit):
        return ""


def _is_notebook_code(filename: str) -> bool:
    return "ipykernel_" in filename or filename.startswith("<") or "/tests/course/" in filename


def _fingerprint(value: object) -> str:
    """Return a hash of plain values and arrays; other objects may change as they like."""
    digest = hashlib.sha256()

    def add(item: object, depth: int) -> None:
        if isinstance(item, np.ndarray) and item.dtype.kind != "O":
            digest.update(f"{item.dtype}{item.shape}".encode() + np.ascontiguousarray(item).tobytes())
        elif isinstance(item, Mapping) and depth < 10:
            for key, entry in item.items():
                add(key, depth + 1)
                add(entry, depth + 1)
        elif isinstance(item, (list, tuple)) and depth < 10:
            digest.update(b"[")
            for entry in item:
                add(entry, depth + 1)
        elif isinstance(item, (str, bytes, int, float, bool, type(None))):
            digest.update(repr(item).encode())

    try:
        add(value, 0)
    except (Exception, SystemExit):  # a value of the student's that raises when it is looked at
        return "no longer what it was"
    return digest.hexdigest()


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise in the running code when the time is up, where the system can (the main thread of Linux and macOS)."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _TimeUpError

    previous = signal.signal(signal.SIGALRM, stop)
    outer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, previous)
