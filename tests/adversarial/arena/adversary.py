"""How an adversary is declared: what it tries, what it hands in, what its honest twin would, and what must hold.

@adversary(tries="Print a score of one's own", twin={DOUBLE: NOTHING})
def a_negative_score(work):
    work.answer(DOUBLE, "def check(name):\\n    return -5")
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arena.first_lab import FIRST_LAB
from arena.target import TargetLab

__all__ = ["NOTHING", "Adversary", "Work", "adversaries_in", "adversary", "correct"]

NOTHING = None
"""Stands for an answer cell that is left as it was released."""


@dataclass
class Work:
    """What is handed in, to be changed by the adversary.

    Attributes:
        lab: The lab.
        notebook: The notebook as JSON; bytes to write something else; None for no notebook.
        folder: The submission's folder. It is there; the notebook is written into it afterwards.
        known: What the attacker knows of the host, by the names that texts may use as $REPO, $COURSE, $HOME …
        file: The notebook's name.
        answered: The answer cells that the adversary wrote itself.
    """

    lab: TargetLab
    notebook: Any
    folder: Path
    known: Mapping[str, str]
    file: str = ""
    answered: list[str] = field(default_factory=list)

    def text(self, template: str) -> str:
        """Return a text with what the attacker knows in the place of $NAMES."""
        return string.Template(template).safe_substitute(self.known)

    def cell(self, grade_id: str) -> dict[str, Any]:
        """Return the cell with a grade id."""
        found: dict[str, Any] = next(
            cell for cell in self.notebook["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") == grade_id
        )
        return found

    def answer(self, grade_id: str, text: str) -> None:
        """Write an answer cell."""
        self.cell(grade_id)["source"] = self.text(text)
        self.answered.append(grade_id)

    def before(self, grade_id: str, text: str) -> None:
        """Put code before the answer that the twin gives."""
        self.answer(grade_id, f"{text}\n{self.cell(grade_id)['source']}")

    def after(self, grade_id: str, text: str) -> None:
        """Put code after the answer that the twin gives."""
        self.answer(grade_id, f"{self.cell(grade_id)['source']}\n{text}")

    def insert(self, index: int, text: str, *, cell_type: str = "code", **metadata: Any) -> dict[str, Any]:
        """Put a cell of one's own into the notebook."""
        cell: dict[str, Any] = {"cell_type": cell_type, "metadata": metadata, "source": self.text(text)}
        cell |= {"outputs": [], "execution_count": None} if cell_type == "code" else {}
        self.notebook["cells"].insert(index, cell)
        return cell

    def beside(self, name: str, content: str | bytes) -> Path:
        """Put a file beside the notebook."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.text(content).encode() if isinstance(content, str) else content)
        return path


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """One submission that the grader must withstand.

    Attributes:
        name: Also the student's name.
        group: What kind of attack it is.
        tries: What it is after, in a few words.
        lab: The lab it is handed in for.
        twin: What the honest twin answers, by grade id, where that is not the right answer.
        make: Changes the twin's work into the adversary's.
        flagged: Kinds of findings that must be there.
        costs: Answer cells, beside those that `make` wrote, whose points the attack may lose through its own fault.
        is_correct: Whether it is right work that must lose nothing and not be suspected.
    """

    name: str
    group: str
    tries: str
    lab: TargetLab
    twin: Mapping[str, str | None]
    make: Callable[[Work], None]
    flagged: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    is_correct: bool = False

    @property
    def twin_name(self) -> str:
        """The student who hands in what the twin would: adversaries with the same answers share one."""
        content = json.dumps([self.lab.name, sorted(self.twin.items(), key=str)])
        return f"twin-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    def twins_notebook(self, released: Mapping[str, Any]) -> dict[str, Any]:
        """Return the released notebook with the twin's answers."""
        work = Work(self.lab, copy.deepcopy(dict(released)), Path(), {})
        for grade_id, text in {**self.lab.answers, **self.twin}.items():
            if text is not NOTHING:
                work.cell(grade_id)["source"] = text
        return dict(work.notebook)

    def hand_in(self, folder: Path, released: Mapping[str, Any], known: Mapping[str, str]) -> Work:
        """Write the submission into a new folder, and return it."""
        folder.mkdir(parents=True)
        work = Work(self.lab, self.twins_notebook(released), folder, known, self.lab.file)
        self.make(work)
        write_notebook(folder / work.file, work.notebook)
        return work


def write_notebook(path: Path, notebook: dict[str, Any] | bytes | None) -> None:
    """Write what is handed in as a notebook."""
    if notebook is not None:
        path.write_bytes(notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode())


_Make = Callable[[Work], None]


def adversary(
    *,
    tries: str,
    twin: Mapping[str, str | None] | None = None,
    flagged: Sequence[str] = (),
    costs: Sequence[str] = (),
    lab: TargetLab = FIRST_LAB,
) -> Callable[[_Make], Adversary]:
    """Declare the decorated function an attack; without `twin`, one of an otherwise right submission."""

    def declare(make: _Make) -> Adversary:
        return Adversary(
            name=make.__name__,
            group=make.__module__.removeprefix("yolotrt_adversaries_"),
            tries=tries,
            lab=lab,
            twin=dict(twin or {}),
            make=make,
            flagged=tuple(flagged),
            costs=tuple(costs),
        )

    return declare


def correct(*, tries: str, lab: TargetLab = FIRST_LAB) -> Callable[[_Make], Adversary]:
    """Declare the decorated function right work that looks odd: it must lose nothing."""

    def declare(make: _Make) -> Adversary:
        group = make.__module__.removeprefix("yolotrt_adversaries_")
        return Adversary(name=make.__name__, group=group, tries=tries, lab=lab, twin={}, make=make, is_correct=True)

    return declare


def adversaries_in(folder: Path) -> dict[str, Adversary]:
    """Return the adversaries that the files of a folder declare, by name."""
    found: dict[str, Adversary] = {}
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"yolotrt_adversaries_{path.stem}", path)
        if spec is None or spec.loader is None or path.stem.startswith(("test_", "conftest")):
            continue
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for value in vars(module).values():
            if isinstance(value, Adversary):
                if value.name in found:
                    raise ValueError(f"{path.name}: there are two adversaries called {value.name}")
                found[value.name] = value
    return found
