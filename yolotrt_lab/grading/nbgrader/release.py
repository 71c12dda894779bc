"""The released notebook, made from the solution at the moment of grading: what a student may have edited is not used.

On a machine where somebody is student and instructor at once, `labs/` holds a student's work. So the grader never reads
it: it makes the release again, with nbgrader's own preprocessors, in memory.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import nbformat
from nbformat import NotebookNode
from traitlets.config import Configurable
from traitlets.utils.importstring import import_item

from yolotrt_lab.errors import InputError

__all__ = [
    "RELEASE_STEPS",
    "coursedir_of",
    "empty_notebook",
    "exercise_of",
    "node_from",
    "read_notebook",
    "release_from_solution",
    "released_notebook",
]

RELEASE_STEPS = (
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearSolutions",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.ClearHiddenTests",
    "nbgrader.preprocessors.ClearMarkScheme",
    "nbgrader.preprocessors.ComputeChecksums",
)
"""What turns a solution into a release, in order. nbgrader also saves the cells to the gradebook."""


def release_from_solution(solution: NotebookNode, *, parent: Configurable | None = None) -> NotebookNode:
    """Return the students' notebook.

    Args:
        solution: The instructors' notebook, which stays as it is.
        parent: Whose configuration counts (the text of stubs, the delimiters of solutions).
    """
    notebook = copy.deepcopy(solution)
    resources: dict[str, Any] = {}
    for name in RELEASE_STEPS:
        step: Any = import_item(name)(parent=parent)
        notebook, resources = step.preprocess(notebook, resources)
    return notebook


def released_notebook(coursedir: Any, lab: str, name: str, *, parent: Configurable | None = None) -> NotebookNode:
    """Return a lab's notebook as it was released.

    Args:
        coursedir: nbgrader's CourseDirectory.
        lab: The assignment, "lab4_engines".
        name: The notebook's name without its suffix.
        parent: Whose configuration counts.

    Raises:
        InputError: There is no such solution, or it is broken.
    """
    path = Path(coursedir.format_path(coursedir.source_directory, ".", lab)) / f"{name}.ipynb"
    if not path.is_file():
        raise InputError(
            f"The solution of {lab} is not there.",
            expected=path,
            got="no such file",
            fix="make notebooks, then yolotrt course release",
        )
    return release_from_solution(read_notebook(path), parent=parent)


def read_notebook(path: Path) -> NotebookNode:
    """Return a notebook of the course's own.

    Raises:
        InputError: It is missing or broken.
    """
    try:
        return cast(NotebookNode, nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise InputError(f"{path} is no notebook.", expected="what `make notebooks` writes", got=error) from error


def empty_notebook() -> NotebookNode:
    """Return a notebook without cells."""
    return cast(NotebookNode, nbformat.v4.new_notebook())  # type: ignore[no-untyped-call]


def node_from(content: dict[str, Any]) -> NotebookNode:
    """Return plain values in the form of cells and outputs."""
    return cast(NotebookNode, nbformat.from_dict(content))  # type: ignore[no-untyped-call]


def exercise_of(source: str) -> str | None:
    """Return the exercise that a check cell checks, or None if it is no check cell.

    Example:
        >>> exercise_of('check("lab4.kl_threshold")')
        'lab4.kl_threshold'
    """
    text = source.strip()
    for quote in "\"'":
        if text.startswith(f"check({quote}") and text.endswith(f"{quote})"):
            name = text[len("check(") + 1 : -2]
            return name if name.replace(".", "").replace("_", "").isalnum() else None
    return None


def coursedir_of(configurable: Configurable) -> Any:
    """Return nbgrader's CourseDirectory: converters have it, exporters and preprocessors have a converter as parent.

    Raises:
        InputError: Nobody among the parents has one.
    """
    place: Any = configurable
    while place is not None:
        coursedir = getattr(place, "coursedir", None)
        if coursedir is not None:
            return coursedir
        place = getattr(place, "parent", None)
    raise InputError(
        f"{type(configurable).__name__} runs outside of a course.", fix="Call it through nbgrader or `yolotrt course`."
    )
