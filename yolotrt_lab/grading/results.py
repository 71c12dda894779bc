"""What judging an exercise gives: points per test, and the words for the student."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from yolotrt_lab.errors import InputError

__all__ = ["ExerciseResult", "Picture", "State", "TestResult"]


class State(StrEnum):
    """How an exercise came out."""

    PASSED = "passed"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    MISSING = "missing"
    TROUBLE = "trouble"
    """The judge itself failed: nobody's points may depend on it."""


@dataclass(frozen=True)
class TestResult:
    """The verdict of one test.

    Attributes:
        name: The test function.
        title: What it checks, for the student.
        points: What it is worth.
        passed: Whether it passed on every case.
        case: Title of the first case it failed on.
        hidden: Whether that case is one the student has not seen: then `expected` and `seen` are empty.
        expected: What a right answer looks like.
        seen: What this one looks like.
        misconception: What the student may have thought.
        trouble: What went wrong in the judge itself, for the instructor.
        odd: Where the answer failed because the test stumbled over it: over what, for the instructor.
    """

    __test__ = False  # a name pytest would collect

    name: str
    title: str
    points: int
    passed: bool
    case: str = ""
    hidden: bool = False
    expected: str = ""
    seen: str = ""
    misconception: str = ""
    trouble: str = ""
    odd: str = ""


@dataclass(frozen=True)
class Picture:
    """What was expected and what was seen on one public case, drawn by the judge.

    Attributes:
        png: The file.
        caption: One sentence below it.
        alt: What those who cannot see it should know.
    """

    png: bytes = field(repr=False)
    caption: str
    alt: str

    @property
    def data_uri(self) -> str:
        """The picture as the source of an `img`."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    def to_json(self) -> dict[str, str]:
        """Return plain values for JSON."""
        return {"png": base64.b64encode(self.png).decode(), "caption": self.caption, "alt": self.alt}

    @classmethod
    def from_json(cls, content: object) -> Picture:
        """Return the picture that `to_json` wrote.

        Raises:
            TypeError, ValueError, KeyError: The content is something else.
        """
        fields = dict(content)  # type: ignore[call-overload]
        return cls(base64.b64decode(fields["png"], validate=True), str(fields["caption"]), str(fields["alt"]))


@dataclass(frozen=True)
class ExerciseResult:
    """The verdict of one exercise.

    Attributes:
        exercise_id: "lab4.kl_threshold".
        title: The exercise's title.
        state: How it came out.
        tests: The tests in the order of the file.
        note: One sentence for the student where there is more to say than the tests do.
        reading: Where to read when stuck.
        picture: What was expected and seen, where a picture says more.
    """

    exercise_id: str
    title: str
    state: State
    tests: tuple[TestResult, ...]
    note: str = ""
    reading: str = ""
    picture: Picture | None = None

    @property
    def points(self) -> int:
        """The most that can be earned."""
        return sum(test.points for test in self.tests)

    @property
    def score(self) -> int:
        """The points earned, from 0 to `points`."""
        return sum(test.points for test in self.tests if test.passed)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = asdict(replace(self, picture=None))
        plain |= {"state": self.state.value, "tests": [asdict(test) for test in self.tests]}
        return {**plain, "picture": None if self.picture is None else self.picture.to_json()}

    @classmethod
    def from_json(cls, content: object) -> ExerciseResult:
        """Return the result that `to_json` wrote.

        Raises:
            InputError: The content is something else.
        """
        try:
            fields = dict(content)  # type: ignore[call-overload]
            fields["state"] = State(fields["state"])
            fields["tests"] = tuple(TestResult(**test) for test in fields["tests"])
            drawn = fields.get("picture")
            fields["picture"] = None if drawn is None else Picture.from_json(drawn)
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "This is not the result of an exercise.", expected="what to_json wrote", got=error
            ) from error
