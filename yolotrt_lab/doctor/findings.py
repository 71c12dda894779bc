"""One finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Status", "absent", "fail", "good", "warn"]


class Status(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    """Required, and missing or broken: the course does not run here."""
    ABSENT = "absent"
    """Optional, and not there."""


@dataclass(frozen=True)
class Finding:
    """What the doctor says about one thing.

    Attributes:
        name: The thing.
        status: How it is.
        found: What is there.
        meaning: What follows from it, where that is not plain.
        fix: What to type, where something should be done.
    """

    name: str
    status: Status
    found: str
    meaning: str = ""
    fix: str = ""


def good(name: str, found: str, meaning: str = "") -> Finding:
    """Return a finding that all is well."""
    return Finding(name, Status.OK, found, meaning)


def warn(name: str, found: str, meaning: str, fix: str = "") -> Finding:
    """Return a finding that something will disappoint."""
    return Finding(name, Status.WARN, found, meaning, fix)


def fail(name: str, found: str, meaning: str, fix: str) -> Finding:
    """Return a finding that something required is missing or broken."""
    return Finding(name, Status.FAIL, found, meaning, fix)


def absent(name: str, meaning: str, fix: str = "") -> Finding:
    """Return a finding that something optional is not there."""
    return Finding(name, Status.ABSENT, "not here", meaning, fix)
