"""What a test gets to see of a student's answer: the recorded output of one case, with typed access."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.codec import Unsupported, decode
from yolotrt_lab.grading.exercise import Case
from yolotrt_lab.grading.expectations import Mismatch, shown
from yolotrt_lab.grading.untrusted_models import require_harmless_model
from yolotrt_lab.grading.untrusted_records import load_record
from yolotrt_lab.types import Array

__all__ = ["Answer", "Value"]

_LONGEST_TEXT = 600


class Value:
    """One value of an answer; every accessor raises `Mismatch` where the value is not of that kind."""

    def __init__(self, value: Any, what: str) -> None:
        self._value = value
        self._what = what

    @property
    def output(self) -> Any:
        """The value as it came."""
        return self._value

    def array(
        self, *, shape: tuple[int | None, ...] | None = None, dtype: str | None = None, ndim: int | None = None
    ) -> Array:
        """Return a finite or non-finite numeric array; lists of numbers count.

        Args:
            shape: Required shape; None stands for any length.
            dtype: Required dtype name; without it any numeric one will do.
            ndim: Required number of axes.
        """
        wanted = "an array" if dtype is None else f"a {dtype} array"
        value = self.output
        if isinstance(value, (list, tuple, int, float, np.generic)):
            try:
                value = np.asarray(value)
            except (ValueError, TypeError, OverflowError, RecursionError):
                raise self._mismatch(wanted) from None
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            raise self._mismatch(wanted)
        if shape is not None and not _fits(value.shape, shape):
            sizes = ", ".join("any" if size is None else str(size) for size in shape)
            raise self._mismatch(f"{wanted} of shape ({sizes})", f"shape {value.shape}")
        if ndim is not None and value.ndim != ndim:
            raise self._mismatch(f"{wanted} with {ndim} axes", f"{value.ndim} axes, shape {value.shape}")
        if dtype is not None and value.dtype != np.dtype(dtype):
            raise self._mismatch(wanted, f"dtype {value.dtype}")
        return value

    def number(self) -> float:
        """Return a finite number."""
        value = self.output
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iuf":
            value = value.reshape(()).item()
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise self._mismatch("a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._mismatch("a finite number")
        return number

    def integer(self) -> int:
        """Return a whole number."""
        value = self.number()
        if value != int(value):
            raise self._mismatch("a whole number")
        return int(value)

    def boolean(self) -> bool:
        """Return True or False."""
        if not isinstance(self.output, (bool, np.bool_)):
            raise self._mismatch("True or False")
        return bool(self.output)

    def text(self) -> str:
        """Return a string."""
        if not isinstance(self.output, str):
            raise self._mismatch("a string")
        return str(self.output)

    def list(self, *, length: int | None = None) -> list[Any]:
        """Return a list; a tuple, a set (sorted where that is possible) or a one-dimensional array counts."""
        value = self.output
        if isinstance(value, np.ndarray) and value.ndim >= 1:
            value = list(value)
        if isinstance(value, frozenset):
            value = sorted(value, key=repr)
        if not isinstance(value, (list, tuple)):
            raise self._mismatch("a list")
        if length is not None and len(value) != length:
            raise self._mismatch(f"a list of {length}", f"a list of {len(value)}")
        return list(value)

    def mapping(self, *, keys: tuple[str, ...] = ()) -> dict[Any, Any]:
        """Return a dict that has at least these keys."""
        if not isinstance(self.output, dict):
            raise self._mismatch("a dict")
        missing = [key for key in keys if key not in self.output]
        if missing:
            raise self._mismatch(f"a dict with the keys {', '.join(keys)}", f"no {', '.join(missing)}")
        return dict(self.output)

    def file(self, *, suffix: str = "") -> Path:
        """Return the recorded copy of a file whose path was returned; a model only if it may be opened."""
        value = self.output
        if not isinstance(value, Path) or (suffix and value.suffix.lower() != suffix):
            seen = f"the path of no file: {value[:200]}" if isinstance(value, str) else None
            raise self._mismatch(f"the Path of a {suffix or 'regular'} file that exists", seen)
        if value.suffix.lower() == ".onnx":
            try:
                require_harmless_model(value)
            except InputError as error:
                raise self._mismatch(f"an ONNX model: {error.expected}", str(error.got)) from None
            except OSError:
                raise self._mismatch("a model that can be read") from None
        return value

    def item(self, key: str | int) -> Value:
        """Return the entry of a dict or list, with the same accessors."""
        if isinstance(key, int):
            entries = self.list()
            if not -len(entries) <= key < len(entries):
                raise self._mismatch(f"at least {key + 1} entries", f"{len(entries)} entries")
            return Value(entries[key], f"{self._what}[{key}]")
        # What a harness records beside its own notes is still the student's result.
        what = self._what if key in ("result", "value") and self._what == "the result" else f"{self._what}[{key!r}]"
        return Value(self.mapping(keys=(key,))[key], what)

    def _mismatch(self, wanted: str, seen: str | None = None) -> Mismatch:
        value = self._value
        if seen is None:
            seen = f"a {value.type_name}" if isinstance(value, Unsupported) else _described(value)
        forgotten = "Is there a `return`?" if value is None else ""
        return Mismatch(expected=f"{self._what}: {wanted}", seen=seen, misconception=forgotten)


class Answer(Value):
    """What an answer did on one case.

    Attributes:
        case: The case.
        status: "returned", "raised", "timeout", "shortcut", "unfinished", "missing" or "damaged".
        printed: What it printed.
    """

    def __init__(self, case: Case, folder: Path, *, inputs: Callable[[], dict[str, object]]) -> None:
        self.case = case
        self._folder = folder
        self._make_inputs = inputs
        self._record = _read(folder)
        self._what = "the result"
        self.status = str(self._record.get("status"))
        self.printed = str(self._record.get("printed", ""))

    @property
    def changed_inputs(self) -> tuple[str, ...]:
        """Names of the arguments that the answer changed in place; raises `Mismatch` if it gave no result."""
        self._require_return()
        names = self._record.get("changed_inputs", [])
        return tuple(str(name)[:100] for name in names) if isinstance(names, list) else ("what is not to be read",)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The arguments of the case, made anew by the judge."""
        return self._make_inputs()

    @cached_property
    def _value(self) -> Any:
        self._require_return()
        try:
            return decode(self._record.get("output"), self._folder)
        except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
            raise Mismatch(expected="a readable record of the result", seen=f"a damaged one ({error})"[:300]) from None

    def error(self) -> tuple[str, str] | None:
        """Return (type name, message) of the exception that the answer raised, or None; for tests of errors."""
        if self.status != "raised":
            return None
        return self._said("type"), self._said("message")

    def _said(self, key: str) -> str:
        return str(self._record.get(key))[:_LONGEST_TEXT]

    def _require_return(self) -> None:
        if self.status == "returned":
            return
        if self.status == "raised":
            seen = f"{self._said('type')}: {self._said('message')}{_place(self._record.get('where'))}"
            raise Mismatch(expected="a result", seen=seen, misconception=_hint_for(self._record))
        if self.status == "timeout":
            raise Mismatch(
                expected="a result in time",
                seen=f"none after {self._said('seconds')} seconds",
                misconception="Is there a loop that does not end, or one over single elements?",
            )
        if self.status == "shortcut":
            raise Mismatch(
                expected="an answer of your own",
                seen=f"a call of {self._said('name')}",
                misconception="The exercise is to write what that function does.",
            )
        raise Mismatch(expected="a result", seen="none: the answer is not written yet")


def _read(folder: Path) -> dict[str, Any]:
    try:
        return load_record(folder / "record.json")
    except FileNotFoundError:
        return {"status": "missing"}
    except (OSError, ValueError):
        return {"status": "damaged"}


def _place(where: object) -> str:
    """Return where in the cell something happened, as the end of a sentence."""
    if not isinstance(where, dict) or not where.get("text"):
        return ""
    return f" at `{str(where['text'])[:200]}` (line {str(where.get('line'))[:20]} of the cell)"


def _hint_for(content: dict[str, Any]) -> str:
    if content.get("type") == "NameError":
        return "Is the name defined in an answer cell, or imported in the lab's first cell? Only these count."
    if content.get("type") == "TypeError" and "argument" in str(content.get("message")):
        return "Keep the parameters' names and order as the answer cell gives them."
    return ""


def _described(value: object) -> str:
    if value is None:
        return "None"
    return f"{type(value).__name__}: {shown(value)}"


def _fits(actual: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(actual) == len(wanted) and all(w is None or a == w for a, w in zip(actual, wanted, strict=True))
