"""The picture of a failed exercise, where one says more than words: what was expected and what the answer gave.

An exercise may declare `picture(answer)` beside its tests. The judge calls it on the first public case that a test
failed on, and never on a hidden one. It returns a `Drawing`, or None where there is nothing to show. No verdict
depends on it: whatever goes wrong while drawing costs the picture and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from yolotrt_lab.grading.answers import Answer
from yolotrt_lab.grading.exercise import Case
from yolotrt_lab.grading.expectations import Mismatch
from yolotrt_lab.grading.results import ExerciseResult, Picture, State
from yolotrt_lab.grading.scratch import scratch_folder
from yolotrt_lab.grading.suite import LoadedExercise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawing", "draw", "with_picture"]

_MOST_BYTES = 200_000
_RESOLUTIONS = (100, 70)  # dots per inch, tried in turn


class Drawing(NamedTuple):
    """What an exercise's `picture` returns.

    Attributes:
        figure: The figure.
        caption: One sentence below it: what is shown, and what to look at.
        alt: What those who cannot see it should know, numbers included.
    """

    figure: Figure
    caption: str
    alt: str


def with_picture(result: ExerciseResult, loaded: LoadedExercise, recorded: Path) -> ExerciseResult:
    """Return the verdict with its picture, if the exercise draws one and a public case failed.

    Args:
        result: The verdict.
        loaded: The exercise.
        recorded: The folder of the records that were judged.
    """
    if result.state is not State.FAILED or not hasattr(loaded.module, "picture"):
        return result
    for case in _failed_cases(result, loaded):
        answer = Answer(
            case,
            recorded / loaded.exercise.id / case.key,
            inputs=lambda case=case: loaded.inputs(case, hidden_seed=None),  # type: ignore[misc]
        )
        try:
            picture = draw(loaded, answer)
        except Exception:
            picture = None
        if picture is not None:
            return dataclasses.replace(result, picture=picture)
    return result


def draw(loaded: LoadedExercise, answer: Answer) -> Picture | None:
    """Return the picture of an answer to one case; None if there is none, or it would be too large.

    Raises:
        Exception: The exercise's `picture` is broken. That the answer is of no kind to be drawn is no such error.
    """
    from yolotrt_lab.report.plots.style import figure_to_png

    with scratch_folder():
        try:
            drawing: Drawing | None = loaded.module.picture(answer)
        except Mismatch:
            return None
    if drawing is None:
        return None
    for dpi in _RESOLUTIONS:
        png = figure_to_png(drawing.figure, dpi=dpi)
        if len(png) <= _MOST_BYTES:
            return Picture(png, caption=drawing.caption, alt=drawing.alt)
    return None


def _failed_cases(result: ExerciseResult, loaded: LoadedExercise) -> Iterator[Case]:
    """Yield the public cases that tests failed on, in the order of the tests, each once."""
    public = {case.title: case for case in loaded.exercise.all_cases(with_hidden=False)}
    titles = dict.fromkeys(test.case for test in result.tests if not test.passed and not test.hidden)
    yield from (public[title] for title in titles if title in public)
