"""What grading noticed about a submission beyond its score: in words for the student, kept as evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed.

    Attributes:
        kind: A fixed word, for reports and tests: "edited cell", "link", …
        text: What happened and what it means, in one or two sentences that the student may read.
        cell: The grade id of the cell, if it is about one.
        suspicious: Whether an instructor should have a look.
    """

    kind: str
    text: str
    cell: str = ""
    suspicious: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Finding:
        """Return the finding that `to_json` wrote."""
        return cls(**{key: content[key] for key in ("kind", "text", "cell", "suspicious") if key in content})
