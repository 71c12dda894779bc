"""The page of a class report: one HTML file that loads and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from yolotrt_lab.grading.course.report.class_report import ClassReport
from yolotrt_lab.grading.course.report.items import FEWEST
from yolotrt_lab.grading.course.report.similarity import MatchingPart
from yolotrt_lab.grading.course.report.summary import OUTCOMES
from yolotrt_lab.report.html import page_environment

__all__ = ["render_class_report"]

_BINS = 10
_MOST_PAIRS = 25
_MOST_ROWS = 20


def render_class_report(report: ClassReport) -> str:
    """Return the page; all text of students is escaped."""
    environment = page_environment("yolotrt_lab.grading.course.report")
    environment.filters |= {
        "percent": _percent,
        "signed": lambda value: "\N{EN DASH}" if value is None else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}"),
        "number": lambda value: f"{value:.1f}".removesuffix(".0"),
        "inline": _inline,
        "time": lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC",
    }
    return environment.get_template("class_report.html.j2").render(
        report=report,
        records=report.records,
        titles={part.grade_id: part.title for part in report.records.parts},
        bins=_histogram(report.shares.values()),
        outcomes=OUTCOMES,
        fewest=FEWEST,
        most_pairs=_MOST_PAIRS,
        most_rows=_MOST_ROWS,
        marked=_marked,
        same_mistakes=lambda students: _same_mistakes(report, students),
    )


def _histogram(shares: Iterable[float]) -> list[tuple[str, int]]:
    """Return (label, number of students) for tenths of the points; all points fall into the last."""
    counts = [0] * _BINS
    for share in shares:
        counts[min(int(share * _BINS + 1e-9), _BINS - 1)] += 1
    return [(f"{100 * place // _BINS}", count) for place, count in enumerate(counts)]


def _percent(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{100 * value:.0f} %"


def _inline(text: str) -> Markup:
    """Escape, and set `code` in its own font."""
    pieces = str(escape(text)).split("`")
    if len(pieces) % 2 == 0:
        return Markup("`".join(pieces))
    return Markup("".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces)))


def _marked(part: MatchingPart, side: int) -> Markup:
    """Return one of the two answers, escaped, with the shared passages marked."""
    text, done, pieces = part.texts[side], 0, []
    for begin, end in part.places[side]:
        pieces += [str(escape(text[done:begin])), "<mark>", str(escape(text[begin:end])), "</mark>"]
        done = end
    return Markup("".join([*pieces, str(escape(text[done:]))]))


def _same_mistakes(report: ClassReport, students: tuple[str, str]) -> list[str]:
    """Return the titles of exercises in which both failed the same tests and heard the same about them.

    Right answers have to be alike; the same mistakes need not.
    """
    by_name = {item.student: item for item in report.records.submissions}
    first, second = (by_name[student].results for student in students)
    found = []
    for part in report.records.parts:
        if part.exercise_id in first and part.exercise_id in second:
            mistakes = [
                [(test.name, test.misconception, test.seen) for test in results[part.exercise_id].tests
                 if not test.passed and (test.misconception or test.seen)]
                for results in (first, second)
            ]  # fmt: skip
            if mistakes[0] and mistakes[0] == mistakes[1]:
                found.append(part.title)
    return found
