"""The errors users see: what happened, what was expected, what was there instead, and how to fix it.

Raise a subclass for anything a user can cause. The command line prints the message without a traceback and exits
with the class's `exit_code`.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "EmulationError",
    "EngineBuildError",
    "InputError",
    "LabError",
    "LabWarning",
    "MissingDependencyError",
    "OutputError",
    "VerificationError",
]


class LabError(Exception):
    """A problem the user can act on.

    Args:
        what: One sentence that says what went wrong, naming the file or value.
        expected: What would have been right.
        got: What was there instead.
        fix: What to do about it, as a command where there is one.

    Example:
        >>> print(LabError("Label has 4 fields.", expected="5 fields", got="4", fix="Add the class id."))
        Label has 4 fields.
          expected: 5 fields
          got:      4
          fix:      Add the class id.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, expected: object = None, got: object = None, fix: str | None = None) -> None:
        self.what = what
        self.expected = None if expected is None else str(expected)
        self.got = None if got is None else str(got)
        self.fix = fix
        lines = [what]
        lines += [f"  {label:<9} {text}" for label, text in self.details()]
        super().__init__("\n".join(lines))

    def details(self) -> list[tuple[str, str]]:
        """Return the (label, text) pairs that are set, in reading order."""
        pairs = (("expected:", self.expected), ("got:", self.got), ("fix:", self.fix))
        return [(label, text) for label, text in pairs if text is not None]

    @property
    def one_line(self) -> str:
        """What happened, with what was expected and found, for lists of several errors."""
        rest = "; ".join(f"{label} {text}" for label, text in self.details() if label != "fix:")
        return f"{self.what} ({rest})" if rest else self.what


class InputError(LabError):
    """A file, folder or value handed in is missing, broken or out of range."""


class OutputError(LabError):
    """A result could not be written; nothing half-written is left behind."""


class MissingDependencyError(LabError):
    """A package, driver or device that this step needs is not there."""

    exit_code = 3


class EngineBuildError(LabError):
    """TensorRT (or its emulation) refused to parse the network or to build the plan."""


class EmulationError(LabError):
    """The program asked the TensorRT emulation for something it does not emulate."""


class VerificationError(LabError):
    """A check ran to its end and its verdict is negative."""

    exit_code = 1


class LabWarning(UserWarning):
    """Something worth knowing that does not stop the work."""
