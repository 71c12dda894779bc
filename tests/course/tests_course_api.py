"""How the wrong and the right answers of an exercise are declared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Right", "Wrong", "answers_of", "right", "wrong"]


@dataclass(frozen=True)
class Wrong:
    """An answer that must lose points.

    Attributes:
        caught_by: The test that is there for this mistake.
        says: Part of what that test must say, in any case of letters.
    """

    caught_by: str
    says: str


@dataclass(frozen=True)
class Right:
    """An answer that must get all points, though it is written in another way than the solution."""


def wrong(*, caught_by: str, says: str) -> Callable[[Any], Any]:
    """Declare the decorated function or class a wrong answer."""
    return _marker(Wrong(caught_by, says))


def right(answer: Any) -> Any:
    """Declare the decorated function or class a right answer."""
    return _marker(Right())(answer)


def _marker(kind: Wrong | Right) -> Callable[[Any], Any]:
    def mark(answer: Any) -> Any:
        answer.__answer_kind__ = kind
        return answer

    return mark


def answers_of(module: Any) -> list[tuple[str, Any, Wrong | Right]]:
    """Return (name, answer, kind) of what a module declares, in its order."""
    found = [
        (name, value) for name, value in vars(module).items() if "__answer_kind__" in getattr(value, "__dict__", {})
    ]
    return [(name, value, value.__answer_kind__) for name, value in found]
