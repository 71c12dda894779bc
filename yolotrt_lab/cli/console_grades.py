"""How grading looks on the screen: the bar with counts while it goes on, the table afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from yolotrt_lab.cli.console import table

if TYPE_CHECKING:
    from rich.table import Table

    from yolotrt_lab.grading.course import ClassGrades
    from yolotrt_lab.grading.course.batch import Counts

__all__ = ["counting_bar", "grades_text"]


@contextlib.contextmanager
def counting_bar(description: str) -> Iterator[Callable[[Counts], None]]:
    """Show a progress bar with counts on stderr, and give the callback that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False)) as progress:
        task = progress.add_task(description, total=None, counts="")

        def move(counts: Counts) -> None:
            parts = (
                (counts.running, "running"),
                (counts.from_cache, "from cache"),
                (counts.checked, "checked twice"),
                (counts.trouble, "set aside"),
            )
            words = ", ".join(f"{number} {what}" for number, what in parts if number)
            progress.update(task, completed=counts.done, total=counts.total, counts=words)

        yield move


def grades_text(result: ClassGrades) -> list[Table | str]:
    """Return how submissions came out, for people: a table, and what there is to say."""
    rows = [
        (item.student, f"{item.score:g} / {item.points:g}", item.state, "unchanged" if item.up_to_date else "")
        for item in result.students
    ]
    parts: list[Table | str] = [table(result.lab, ("student", "points", "state", ""), rows)]
    for item in result.students:
        reasons = sorted({reason for _, reason in item.open_parts if reason and reason != item.unreadable})
        texts = [text for text in (item.failed, item.unreadable) if text] + reasons
        texts += [finding.text for finding in item.findings]
        parts += [f"{item.student}: {text}" for text in texts]
    return parts
