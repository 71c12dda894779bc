"""What the proctor's notes mean, for the instructor who reads the report.

The notes were written where the student's code runs, so they are read as anybody's text: few, short, plain. Somebody
who can forge them can only accuse, or clear, the submission they come with; and no note costs a point.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.integrity.notes import EVIDENCE_FILE, MAX_NOTES, MAX_TEXT, Note
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.untrusted_files import read_regular

__all__ = ["evidence_findings", "read_notes"]

_MAX_BYTES = 1_000_000
_MAX_FILES = 20
_MAX_FINDINGS = 20
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\uffff]+")

_MEANINGS = {
    "replaced": "Something that grading relies on was replaced: {what}. It was put back.",
    "frames": "The code looked into the frames of whoever called it ({what}).",
    "heap": "The code searched the memory of the process for objects of others ({what}).",
    "tracing": "The code set a hook that watches what Python does ({what}).",
    "grader files": "The code opened a file of the grader's: {what}.",
    "package source": "The code read the package's source while it ran: {what}.",
    "code object": "The code took the code object out of {what}.",
    "process": "The code started another process: {what}.",
    "counters": "The code called the emulation's own counters ({what}). That was not counted.",
    "records": "There were records of {what} before its check ran. They were thrown away.",
}
_PYTHON = re.compile(r"(^|[/ ])(python|pypy)[\d.]*( |$)|^a copy of the kernel")


def evidence_findings(recorded: Path) -> list[Finding]:
    """Return a finding for each kind of thing that was noticed in each exercise.

    Args:
        recorded: The folder of the records.
    """
    notes = [note for note in read_notes(recorded) if note.kind != "process" or _PYTHON.search(note.what)]
    places = dict.fromkeys((note.kind, note.exercise) for note in notes)
    findings = []
    for kind, exercise in places:
        same = [note for note in notes if (note.kind, note.exercise) == (kind, exercise)]
        what = ", ".join(dict.fromkeys(note.what for note in same[:5])) + (", …" if len(same) > 5 else "")
        lines = [note.by for note in same if note.by]
        text = _MEANINGS[kind].format(what=what) + (f" By {lines[0]}." if lines else "")
        where = f" (while `{exercise}` was checked)" if exercise else ""
        findings.append(Finding(f"integrity: {kind}", f"{text}{where}", suspicious=True))
    return findings[:_MAX_FINDINGS]


def read_notes(recorded: Path) -> list[Note]:
    """Return the notes of all kernels that a run took; what is no note is left out."""
    stem = EVIDENCE_FILE.removesuffix(".json")
    names = [EVIDENCE_FILE, *(f"{stem}-{number}.json" for number in range(2, _MAX_FILES))]
    found = [note for name in names for note in _notes_in(recorded / name)]
    return list(dict.fromkeys(found))[:MAX_NOTES]


def _notes_in(path: Path) -> Iterator[Note]:
    try:
        content = json.loads(read_regular(path, max_bytes=_MAX_BYTES))
    except (InputError, OSError, ValueError, RecursionError):
        return
    entries = content.get("notes") if isinstance(content, dict) else None
    for entry in entries[:MAX_NOTES] if isinstance(entries, list) else ():
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if isinstance(kind, str) and kind in _MEANINGS:
            yield Note(kind, *(_plain(entry.get(name)) for name in ("what", "by", "exercise")))


def _plain(value: Any) -> str:
    text = _UNPRINTABLE.sub(" ", value[: 4 * MAX_TEXT]).strip() if isinstance(value, str) else ""
    return text[:MAX_TEXT]
