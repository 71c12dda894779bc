"""What the proctor noticed, collected in the student's kernel and written beside the records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from yolotrt_lab.files import write_json

__all__ = ["EVIDENCE_FILE", "MAX_NOTES", "MAX_TEXT", "Note", "Notebook"]

EVIDENCE_FILE = "_evidence.json"
MAX_NOTES = 100
MAX_TEXT = 300


@dataclass(frozen=True)
class Note:
    """One thing that was noticed.

    Attributes:
        kind: "replaced", "frames", "heap", "grader files", "package source", "code object", "process", "records",
            "tracing" or "counters".
        what: What it was done to: "numpy.allclose", a path, a command.
        by: The student's line that did it, or that defines what was put in, where one can tell.
        exercise: The exercise whose check was under way; "" for other cells.
    """

    kind: str
    what: str
    by: str = ""
    exercise: str = ""


class Notebook:
    """Collects notes, each once, and no more than `MAX_NOTES`."""

    def __init__(self) -> None:
        self._notes: dict[Note, None] = {}
        self.exercise = ""

    def add(self, kind: str, what: str, by: str = "") -> None:
        """Note something about the exercise at hand."""
        if len(self._notes) < MAX_NOTES:
            self._notes[Note(kind, what[:MAX_TEXT], by[:MAX_TEXT], self.exercise)] = None

    @property
    def notes(self) -> tuple[Note, ...]:
        """All notes, in the order in which they were made."""
        return tuple(self._notes)

    def write(self, folder: Path) -> None:
        """Write the notes into the folder of the records; nothing where there are none.

        Raises:
            OutputError: They cannot be written.
        """
        if self._notes:
            write_json(folder / EVIDENCE_FILE, {"notes": [asdict(note) for note in self._notes]})
