"""Make a submission ready for grading: cleaned, rebuilt from the release, with the files that belong to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.utils import find_all_files  # type: ignore[import-untyped]

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.course.session import Course
from yolotrt_lab.grading.nbgrader.intake import admit, limits_of, note_findings
from yolotrt_lab.grading.nbgrader.private_folder import StudentFolder
from yolotrt_lab.grading.nbgrader.rebuild_from_release import rebuild_submission
from yolotrt_lab.grading.nbgrader.release import released_notebook
from yolotrt_lab.grading.suite import suite_root

__all__ = ["LabMaterial", "Prepared", "grading_digest"]


@dataclass(frozen=True)
class Prepared:
    """A submission that is ready to be run and judged.

    Attributes:
        student: Whose it is.
        folder: What becomes its folder in `course/autograded`; the rebuilt notebooks come later.
        notebooks: The rebuilt notebooks by name.
        digest: Of all that its grade depends on.
        timestamp: When it was handed in, if somebody wrote it down.
        kept: The records about it.
    """

    student: str
    folder: Path
    notebooks: Mapping[str, NotebookNode]
    digest: str
    timestamp: Any
    kept: StudentFolder


@dataclass
class LabMaterial:
    """What grading a lab takes that is the same for all submissions, read once.

    Attributes:
        course: The course.
        lab: The lab's full name.
        parent: A converter of nbgrader's, never started: it gives its configuration to the steps.
        staging: A folder for submissions that are being graded, on the disk of `course/autograded`.
    """

    course: Course
    lab: str
    parent: Any
    staging: Path
    _releases: dict[str, NotebookNode] = field(default_factory=dict)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The lab's notebooks, without suffix."""
        return tuple(path.stem for path in sorted(self.course.folder("source", self.lab).glob("*.ipynb")))

    def release(self, name: str) -> NotebookNode:
        """Return a notebook as it was released.

        Raises:
            InputError: There is no such solution, or it is broken.
        """
        if name not in self._releases:
            self._releases[name] = released_notebook(self.parent.coursedir, self.lab, name, parent=self.parent)
        return self._releases[name]

    def prepare(self, student: str) -> Prepared:
        """Take a submission in, rebuild it, and lay its files ready.

        Raises:
            InputError: Its folder is a link, or the solution is missing.
            OSError: A file cannot be read or written.
        """
        source, kept = (
            self.course.folder("submitted", self.lab, student),
            self.course.private.student(self.lab, student),
        )
        note_findings(kept, admit(source, kept, limits_of(self.parent.coursedir)))
        # Before anything is read: what changes from here on is graded again another time.
        digest = grading_digest(self.course, self.lab, student)
        notebooks = {name: rebuild_submission(self.release(name), source, name, kept) for name in self.names}
        folder = self.staged(student)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._lay_out(source, folder)
        timestamp = self.parent.coursedir.get_existing_timestamp(str(source))
        return Prepared(student, folder, notebooks, digest, timestamp, kept)

    def staged(self, student: str) -> Path:
        """Return where a submission's files are laid ready."""
        return self.staging / hashlib.sha256(student.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def _lay_out(self, submitted: Path, folder: Path) -> None:
        """Copy the submission's other files, and the lab's own over them, as nbgrader does."""
        ignored = [*self.parent.coursedir.ignore, "*.ipynb"]
        solution = self.course.folder("source", self.lab)
        spared = {str(solution / name) for name in self.parent.exclude_overwriting.get(self.lab, [])}
        own = [name for name in find_all_files(str(solution), ignored) if name not in spared]
        for origin, names in ((submitted, find_all_files(str(submitted), ignored)), (solution, own)):
            for name in names:
                target = folder / os.path.relpath(name, origin)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                shutil.copy(name, target)


def grading_digest(course: Course, lab: str, student: str) -> str:
    """Return a digest of all that a grade depends on: submission, solution, suite and secret."""
    digest = hashlib.sha256(str(course.private.hidden_seed(lab)).encode())
    with contextlib.suppress(LabError):
        suite = suite_root() / lab.split("_")[0]
        folders = (course.folder("submitted", lab, student), course.folder("source", lab), suite)
        for folder in folders:
            for path in _plain_files(folder):
                digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode(errors="replace"))
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _plain_files(folder: Path) -> Iterable[Path]:
    """Yield the regular files of a folder, sorted; links are not followed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
            yield path
