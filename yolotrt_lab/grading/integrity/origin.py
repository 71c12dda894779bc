"""Tell code of the student's from that of libraries, and show the line."""

from __future__ import annotations

import functools
import linecache
import re
from types import CodeType, FrameType, FunctionType

__all__ = ["described", "is_cell", "line_of", "shown_line", "student_frame"]

# A cell in a kernel, in IPython without one, and in the tests of the course.
_CELL = re.compile(r"[/\\]ipykernel_\d+[/\\]|^<ipython-input|^<cell|^<lab\d|^<notebook")
_MADE = "<string>"  # exec() of a text: whoever called it decides


@functools.lru_cache(maxsize=4096)
def is_cell(filename: str) -> bool:
    """Whether a code object's file is a cell of the notebook."""
    return bool(_CELL.search(filename))


def student_frame(frame: FrameType | None, *, through: tuple[str, ...] = ()) -> FrameType | None:
    """Return the student's frame that did what is under way, or None if a library did it.

    Args:
        frame: The frame where it happened.
        through: Ends of file names that are looked through, such as "/inspect.py": what they do, their caller does.
    """
    while frame is not None:
        name = frame.f_code.co_filename
        if is_cell(name):
            return frame
        if name != _MADE and not name.endswith(through):
            return None
        frame = frame.f_back
    return None


def shown_line(frame: FrameType) -> str:
    """Return the line of code that a frame is at."""
    return line_of(frame.f_code, frame.f_lineno)


def line_of(code: CodeType, number: int | None = None) -> str:
    """Return a line of a code object, its first one unless told otherwise, with its place."""
    number = code.co_firstlineno if number is None else number
    text = linecache.getline(code.co_filename, number).strip()
    return f"line {number} in {code.co_name}: {text}" if text else f"line {number} in {code.co_name}"


def described(value: object) -> str:
    """Say what was put in the place of something: its kind, and where it is from."""
    if value is None:
        return "nothing"
    if isinstance(value, (FunctionType, CodeType)):
        return line_of(value if isinstance(value, CodeType) else value.__code__)
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
