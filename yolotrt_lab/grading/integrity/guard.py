"""What stands beside the recorder in the grader's kernel: it compares, puts back and notes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import CodeType

from yolotrt_lab.grading.integrity.baseline import Baseline
from yolotrt_lab.grading.integrity.counters import watch_counters
from yolotrt_lab.grading.integrity.lookout import Lookout
from yolotrt_lab.grading.integrity.notes import Notebook

__all__ = ["Guard"]

_SUITE = "yolotrt_suite_"


class Guard:
    """Keeps what recording depends on as it was before the student's code ran.

    Args:
        private: Folders and files that a student's code has no business in.
    """

    def __init__(self, *, private: tuple[Path, ...] = ()) -> None:
        self.notes = Notebook()
        self._baseline = Baseline()
        self._lookout = Lookout(self.notes, private=private)

    @property
    def made_by_hand(self) -> tuple[CodeType, ...]:
        """The code objects that cells made functions of."""
        return tuple(self._lookout.copied_code)

    def install(self) -> None:
        """Take everything down, and watch from now on."""
        watch_counters(self.notes)  # first: in a kernel from a zygote the counters are there already
        self._baseline.look_at_new_modules(self.notes)
        self._lookout.install()

    def begin(self, exercise_id: str) -> None:
        """Put everything back before an exercise is recorded; modules of the suite that cells loaded are dropped."""
        self.put_back()
        self.notes.exercise = exercise_id
        for name in [name for name in sys.modules if name.startswith(_SUITE) and not self._baseline.knows(name)]:
            del sys.modules[name]

    def put_back(self) -> None:
        """Undo and note what was replaced since the last time, and look at what was imported."""
        self._baseline.put_back(self.notes)
        watch_counters(self.notes)
        self._baseline.look_at_new_modules(self.notes)

    def end(self, folder: Path) -> None:
        """Put back what the last case changed, and write down what was noticed.

        Raises:
            OutputError: The evidence cannot be written.
        """
        self.put_back()
        self.notes.exercise = ""
        self.notes.write(folder)

    def expect_no_records(self, folder: Path) -> None:
        """Note and remove records that somebody wrote before the exercise was called."""
        if folder.is_symlink() or folder.exists():
            self.notes.add("records", folder.name)
            if folder.is_symlink() or not folder.is_dir():
                folder.unlink()
            else:
                shutil.rmtree(folder)
