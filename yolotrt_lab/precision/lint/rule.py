"""What a rule is, what breaking one is, and how bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from yolotrt_lab.precision.lint.graph import QdqGraph

__all__ = ["Check", "Finding", "Rule", "RuleViolation", "Severity"]


class Severity(StrEnum):
    """What breaking a rule costs, worst first."""

    REFUSED = "refused"
    """The parser or the builder stops with an error."""

    SLOW = "slow"
    """It builds, but something runs in high precision, or is converted back and forth."""

    INACCURATE = "inaccurate"
    """It builds, and boxes or scores are worse than they need to be, or not what other runtimes compute."""


@dataclass(frozen=True)
class Finding:
    """What a check says of one node.

    Attributes:
        node: The node's label.
        message: What is there, and what TensorRT makes of it.
        answer: TensorRT's own words, if the rule's general ones do not fit.
        severity: If it differs from the rule's.
    """

    node: str
    message: str
    answer: str | None = None
    severity: Severity | None = None


Check = Callable[[QdqGraph], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: Short and stable, for scripts.
        title: The rule in a few words, for tables.
        severity: What breaking it costs, unless a finding says otherwise.
        explanation: Why, for someone who sees it for the first time.
        remedy: What to do about it.
        source: Where TensorRT says so.
        check: The function that looks for it.
        answer: What TensorRT says, in its words where they are known; empty where it says nothing.
        repair: What `fix_qdq` does about it; empty where nothing can be done without quantizing again.
        lesson: Name under which the course's exercises know the rule; empty for those they do not ask for.
    """

    id: str
    title: str
    severity: Severity
    explanation: str
    remedy: str
    source: str
    check: Check
    answer: str = ""
    repair: str = ""
    lesson: str = ""


@dataclass(frozen=True)
class RuleViolation:
    """One rule broken at one node.

    Attributes:
        node: Name of the node.
        rule: Short name of the rule: in the course's words where it teaches it, else its title.
        message: What is there, and what TensorRT makes of it.
        id: Identifier of the rule.
        severity: "refused", "slow" or "inaccurate".
        answer: What TensorRT's parser or builder says, in its words as far as they are known; empty if nothing.
        fixable: Whether `fix_qdq` can repair it.
    """

    node: str
    rule: str
    message: str
    id: str
    severity: Severity
    answer: str
    fixable: bool
