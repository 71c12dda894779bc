"""How a test says that an answer is wrong: what was expected, what was seen, what the student may have thought."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Mismatch", "expect", "expect_close", "expect_equal", "shown"]

_SHOWN_LENGTH = 160


class Mismatch(AssertionError):
    """The answer is not what it should be; the only exception by which a test may fail a student.

    Args:
        expected: What a right answer looks like, without giving it away.
        seen: What this answer looks like.
        misconception: What the student may have thought, in one or two sentences; never the solution.
    """

    def __init__(self, *, expected: object, seen: object, misconception: str = "") -> None:
        self.expected = str(expected)
        self.seen = str(seen)
        self.misconception = misconception
        super().__init__(f"expected {self.expected}; saw {self.seen}. {misconception}".rstrip())


def expect(right: object, *, expected: object, seen: object, misconception: str = "") -> None:
    """Raise `Mismatch` unless `right` is true."""
    if not bool(right):
        raise Mismatch(expected=expected, seen=seen, misconception=misconception)


def expect_equal(seen: object, expected: object, *, what: str, misconception: str = "") -> None:
    """Raise `Mismatch` unless both are equal; for numbers, text, lists and the like, not for arrays."""
    if isinstance(seen, np.ndarray) or type(seen) is not type(expected) or seen != expected:
        try:
            same = not isinstance(seen, np.ndarray) and bool(seen == expected)
        except Exception:
            same = False
        if not same:
            raise Mismatch(expected=f"{what}: {shown(expected)}", seen=shown(seen), misconception=misconception)


def expect_close(
    seen: Any, expected: Any, *, what: str, rtol: float = 1e-5, atol: float = 1e-7, misconception: str = ""
) -> None:
    """Raise `Mismatch` unless numbers or arrays have the same shape and agree within the tolerances.

    The message names the largest difference and where it is.
    """
    try:
        actual, right = np.asarray(seen, np.float64), np.asarray(expected, np.float64)
    except (TypeError, ValueError):
        raise Mismatch(expected=f"{what}: numbers", seen=shown(seen), misconception=misconception) from None
    if actual.shape != right.shape:
        raise Mismatch(
            expected=f"{what} of shape {right.shape}", seen=f"shape {actual.shape}", misconception=misconception
        )
    wrong = ~np.isclose(actual, right, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return
    if right.ndim == 0:
        raise Mismatch(expected=f"{what}: {right:.6g}", seen=f"{actual:.6g}", misconception=misconception)
    with np.errstate(invalid="ignore"):
        difference = np.where(wrong, np.nan_to_num(np.abs(actual - right), nan=np.inf), -1.0)
    place = tuple(int(index) for index in np.unravel_index(int(np.argmax(difference)), right.shape))
    raise Mismatch(
        expected=f"{what}: {right[place]:.6g} at index {list(place)}",
        seen=f"{actual[place]:.6g} there; {int(wrong.sum())} of {wrong.size} values differ",
        misconception=misconception,
    )


def shown(value: object) -> str:
    """Return a value as short text for a table."""
    if isinstance(value, np.ndarray):
        if value.size > 12:
            return f"array of shape {value.shape}, {value.dtype}"
        return f"array({np.array2string(value, separator=', ', precision=5)}, {value.dtype})".replace("\n", "")
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.6g}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"
