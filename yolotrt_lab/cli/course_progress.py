"""The progress bar of a batch: how many are through, under way, taken from what was kept, and in trouble."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from yolotrt_lab.grading.course.batch import Counts

__all__ = ["counting_bar"]


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
