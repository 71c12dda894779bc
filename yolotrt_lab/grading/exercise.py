"""What an exercise is: a name the student defines, the cases it is called on, and tests worth points.

An exercise is one file of the grading suite, `tests/grading/<lab>/test_<name>.py`, with `EXERCISE`, `inputs`, tests
decorated with `points`, and sometimes `run`. Where references are slow to make, `prepare(**inputs)` makes those that
depend on the inputs alone and keeps them in the module: a judge calls it once for all submissions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from yolotrt_lab.errors import InputError

__all__ = ["Case", "Exercise", "Tier", "points", "points_of", "test_cases"]

_Test = TypeVar("_Test", bound=Callable[..., object])
_ID = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")


class Tier(StrEnum):
    """Whom an exercise is for."""

    CORE = "core"
    STRETCH = "stretch"
    EXPERT = "expert"


@dataclass(frozen=True)
class Case:
    """One input that the answer is called on.

    Attributes:
        name: As the exercise declares it and the student sees it.
        hidden: Whether only the grader calls it, with a seed the student does not know.
        number: Place among the public, or among the hidden cases.
    """

    name: str
    hidden: bool
    number: int

    @property
    def key(self) -> str:
        """A short name, unique in the exercise, safe as a file name."""
        return f"{'hidden' if self.hidden else 'public'}-{self.number}"

    @property
    def title(self) -> str:
        """The name in tables."""
        return f"unseen: {self.name}" if self.hidden else self.name


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """The declaration of one exercise.

    Attributes:
        id: "lab4.kl_threshold".
        title: A few words.
        objective: What somebody who solved it can do.
        answer: The function or class that the student defines.
        tier: core, stretch or expert.
        difficulty: 1 to 5.
        minutes: How long it should take.
        cases: Names of the public cases.
        hidden: Names of the cases that only the grader calls, made by the same generator with other seeds.
        forbidden: Dotted names of callables that would be the whole answer, e.g. "torchvision.ops.nms".
        seconds: The longest one call may take.
        reading: Where to read when stuck: a URL.

    Raises:
        InputError: A field makes no sense.
    """

    id: str
    title: str
    objective: str
    answer: str
    difficulty: int
    minutes: int
    cases: tuple[str, ...]
    tier: str = Tier.CORE
    hidden: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    seconds: float = 20.0
    reading: str = ""

    def __post_init__(self) -> None:
        checks = (
            (bool(_ID.fullmatch(self.id)), "id", "<lab>.<name> in small letters", self.id),
            (self.answer.isidentifier(), "answer", "a Python name", self.answer),
            (self.tier in set(Tier), "tier", ", ".join(Tier), self.tier),
            (1 <= self.difficulty <= 5, "difficulty", "1 to 5", self.difficulty),
            (self.minutes > 0, "minutes", "more than 0", self.minutes),
            (len(self.cases) == len(set(self.cases)) > 0, "cases", "at least one, all different", self.cases),
            (self.seconds > 0, "seconds", "more than 0", self.seconds),
        )
        for right, field, expected, got in checks:
            if not right:
                raise InputError(f"Exercise {self.id}: `{field}` makes no sense.", expected=expected, got=repr(got))

    @property
    def lab(self) -> str:
        """The lab's short name, "lab4"."""
        return self.id.split(".")[0]

    @property
    def name(self) -> str:
        """The name within the lab."""
        return self.id.split(".")[1]

    def all_cases(self, *, with_hidden: bool) -> tuple[Case, ...]:
        """Return the public cases, and the hidden ones if asked, in order."""
        public = tuple(Case(name, False, number) for number, name in enumerate(self.cases))
        hidden = tuple(Case(name, True, number) for number, name in enumerate(self.hidden))
        return public + hidden if with_hidden else public


def points(value: int, *, cases: tuple[str, ...] = ()) -> Callable[[_Test], _Test]:
    """Say what a test is worth, and on which cases it runs (all, if none are named).

    The first line of the test's docstring is its name in the table that the student reads.

    Raises:
        InputError: The points are not positive, or the test has no docstring.
    """

    def mark(test: _Test) -> _Test:
        if value <= 0 or not (test.__doc__ or "").strip():
            raise InputError(
                f"{getattr(test, '__name__', test)} is not a graded test.",
                expected="at least one point, and a docstring whose first line names the test for the student",
                got=f"{value} points, docstring {test.__doc__!r}",
            )
        vars(test)["__points__"] = value
        vars(test)["__cases__"] = cases
        return test

    return mark


def points_of(test: Callable[..., Any]) -> int:
    """Return what a test is worth; 0 if it was not decorated."""
    return int(getattr(test, "__points__", 0))


def test_cases(test: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the cases a test is limited to; none means all."""
    return tuple(getattr(test, "__cases__", ()))


test_cases.__test__ = False  # type: ignore[attr-defined]  # a name pytest would collect
