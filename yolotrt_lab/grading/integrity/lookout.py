"""Python's own audit events, watched for what only somebody who looks for the grader does.

A hook for audit events stays for as long as the process lives: the student's code cannot remove it. Most events come
from libraries, which read frames and start processes for good reasons; only what a cell of the notebook does itself,
or through the standard library's readers, is noted.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from yolotrt_lab.grading.integrity.notes import Notebook
from yolotrt_lab.grading.integrity.origin import shown_line, student_frame

__all__ = ["Lookout"]

_STDLIB = sysconfig.get_path("stdlib")
_PACKAGE = str(Path(__file__).resolve().parents[2])
_READERS = tuple(f"{_STDLIB}/{name}" for name in ("pathlib.py", "io.py", "codecs.py", "inspect.py", "linecache.py",
                                                 "tokenize.py", "pathlib/_local.py", "pathlib/__init__.py",
                                                 "fileinput.py", "shutil.py"))  # fmt: skip
_INSPECT = (f"{_STDLIB}/inspect.py",)
_PROCESSES = tuple(f"{_STDLIB}/{name}" for name in ("subprocess.py", "os.py", "multiprocessing/process.py",
                                                    "multiprocessing/context.py", "multiprocessing/util.py",
                                                    "multiprocessing/popen_fork.py", "multiprocessing/pool.py",
                                                    "multiprocessing/popen_spawn_posix.py"))  # fmt: skip
_FRAMES = {"sys._getframe", "sys._current_frames"}
_HEAP = {"gc.get_objects", "gc.get_referrers", "gc.get_referents"}
_TRACING = {"sys.settrace", "sys.setprofile", "sys.addaudithook"}
_STARTING = {"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork"}
_MAX_CODES = 200


class Lookout:
    """Notes what cells do behind the scenes.

    Attributes:
        private: Folders and files that a student's code has no business in.
        copied_code: Code objects of which functions were made by hand.
    """

    def __init__(self, notes: Notebook, *, private: tuple[Path, ...] = ()) -> None:
        self.private = tuple(str(path) for path in private)
        self.copied_code: list[CodeType] = []
        self._notes = notes
        self._busy = False
        self._handlers = self._table()

    def install(self) -> None:
        """Watch from now on, for as long as the process lives."""
        handlers, get_frame = self._handlers, sys._getframe

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            handler = handlers.get(event)
            if handler is None or self._busy:
                return
            self._busy = True  # looking at frames is an event itself
            try:
                handler(event, arguments, get_frame(1))
            finally:
                self._busy = False

        sys.addaudithook(hook)

    def _table(self) -> dict[str, Callable[[str, tuple[Any, ...], FrameType], None]]:
        return {
            "open": self._opened,
            "object.__getattr__": self._read_attribute,
            "function.__new__": self._made_function,
            **dict.fromkeys(_FRAMES | _HEAP | _TRACING, self._looked),
            **dict.fromkeys(_STARTING, self._started),
        }

    def _looked(self, event: str, _: tuple[Any, ...], frame: FrameType) -> None:
        found = student_frame(frame, through=_INSPECT)
        if found is not None:
            kind = "frames" if event in _FRAMES else "heap" if event in _HEAP else "tracing"
            self._notes.add(kind, event, shown_line(found))

    def _started(self, event: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        found = student_frame(frame, through=_PROCESSES)
        if found is not None:
            self._notes.add("process", _command(event, arguments), shown_line(found))

    def _opened(self, _: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        path = arguments[0] if arguments else None
        if not isinstance(path, str) or not (path.startswith(("/proc/", _PACKAGE)) or path.startswith(self.private)):
            return
        found = student_frame(frame, through=_READERS)
        if found is None:
            return
        if not path.startswith(_PACKAGE):
            if path.startswith(self.private) or path.endswith(("/environ", "/mem", "/maps", "/cmdline")):
                self._notes.add("grader files", path, shown_line(found))
        elif path.endswith(".py"):
            self._notes.add("package source", path.removeprefix(f"{_PACKAGE}/"), shown_line(found))

    def _read_attribute(self, _: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        if len(arguments) < 2 or arguments[1] != "__code__":
            return
        module = getattr(arguments[0], "__module__", None)
        if isinstance(module, str) and module.startswith("yolotrt_lab"):
            found = student_frame(frame)
            if found is not None:
                self._notes.add("code object", f"{module}.{arguments[0].__qualname__}", shown_line(found))

    def _made_function(self, _: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        code = arguments[0] if arguments else None
        if isinstance(code, CodeType) and len(self.copied_code) < _MAX_CODES and student_frame(frame) is not None:
            self.copied_code.append(code)


def _command(event: str, arguments: tuple[Any, ...]) -> str:
    """Return what was started, as far as the event tells."""
    if event == "os.fork":
        return "a copy of the kernel (fork)"
    words = arguments[1] if event == "subprocess.Popen" and len(arguments) > 1 else arguments[0] if arguments else ""
    if isinstance(words, (list, tuple)):
        return " ".join(word for word in words[:8] if isinstance(word, str))
    return words if isinstance(words, str) else event
