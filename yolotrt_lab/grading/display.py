"""Show the verdict on an exercise: as text in a terminal, as a table in Jupyter and in feedback pages."""

from __future__ import annotations

import html
import textwrap

from yolotrt_lab.grading.results import ExerciseResult, State, TestResult

__all__ = ["html_table", "text_table"]

_WIDTH = 100
_WORDS = {
    State.PASSED: "solved",
    State.FAILED: "not there yet",
    State.UNFINISHED: "waiting for you",
    State.MISSING: "waiting for you",
    State.TROUBLE: "the check failed",
}
# Readable on white and on black.
_COLOURS = {
    State.PASSED: "#2a9d4a",
    State.FAILED: "#d9730d",
    State.UNFINISHED: "#808890",
    State.MISSING: "#808890",
    State.TROUBLE: "#a371f7",
}
_UNSEEN = "an input you have not seen"


def text_table(result: ExerciseResult) -> str:
    """Return the verdict as lines of text of at most 100 characters."""
    head = f"{result.exercise_id} · {result.title} · {result.score} / {result.points} points · {_WORDS[result.state]}"
    lines = textwrap.wrap(head, _WIDTH)
    if result.note:
        lines += textwrap.wrap(result.note, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    for test in result.tests:
        lines += textwrap.wrap(
            f"{_mark(result, test)} {_points(test)}  {test.title}", _WIDTH, subsequent_indent=" " * 9
        )
        for label, text in _details(test):
            lines += textwrap.wrap(f"{label:<9} {text}", _WIDTH, initial_indent=" " * 9, subsequent_indent=" " * 19)
    if result.state is State.FAILED and result.reading:
        lines.append(f"Read: {result.reading}")
    return "\n".join(lines)


def html_table(result: ExerciseResult) -> str:
    """Return the verdict as HTML that needs no style sheet and fits light and dark themes; all text is escaped."""
    colour = _COLOURS[result.state]
    head = (
        f"<strong>{_text(result.title)}</strong> <code>{_text(result.exercise_id)}</code> "
        f'<span style="color:{colour};font-weight:600">{result.score} / {result.points} points · '
        f"{_WORDS[result.state]}</span>"
    )
    parts = [f'<div style="margin:2px 0 6px 0">{head}</div>']
    if result.note:
        parts.append(f'<div style="margin:2px 0 6px 0">{_text(result.note)}</div>')
    show_details = any(_details(test) for test in result.tests)
    columns = _COLUMNS if show_details else (_COLUMNS[0], ("Test", "auto"), ("Points", "5em"))
    cells = "".join(f'<th style="{_CELL};font-weight:600;width:{width}">{title}</th>' for title, width in columns)
    rows = "".join(_row(result, test, show_details) for test in result.tests)
    parts.append(
        '<table style="border-collapse:collapse;width:100%;margin:0;font-size:13px">'
        f"<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"
    )
    if result.picture:
        source, alt = result.picture.data_uri, html.escape(result.picture.alt, quote=True)
        parts.append(
            f'<figure style="margin:8px 0 4px 0"><img src="{source}" alt="{alt}" style="{_PICTURE}">'
            f'<figcaption style="font-size:13px">{_text(result.picture.caption)}</figcaption></figure>'
        )
    if result.state is State.FAILED and result.reading:
        link = html.escape(result.reading, quote=True)
        parts.append(f'<div style="margin-top:4px">Stuck? Read <a href="{link}" target="_blank">{link}</a></div>')
    return f'<div style="border-left:4px solid {colour};padding:4px 0 4px 10px">{"".join(parts)}</div>'


# Jupyter lays tables out by the widths of their first row.
_COLUMNS = (
    ("", "1.5em"),
    ("Test", "21%"),
    ("Points", "4em"),
    ("Expected", "23%"),
    ("Seen", "23%"),
    ("Perhaps", "auto"),
)
_PICTURE = "display:block;max-width:min(100%,760px);height:auto;background:#fff;border-radius:6px;padding:6px"
_CELL = "text-align:left;vertical-align:top;padding:3px 8px;border:0;white-space:normal;overflow-wrap:anywhere"


def _row(result: ExerciseResult, test: TestResult, show_details: bool) -> str:
    mark = f'<span style="color:{_COLOURS[State.PASSED if test.passed else result.state]}">{_mark(result, test)}</span>'
    cells = [mark, _text(test.title), _points(test)]
    if show_details:
        found = dict(_details(test))
        case = f"<em>{_text(found['case'])}</em>: " if found.get("case") else ""
        cells += [
            case + _text(found.get("expected", "")),
            _text(found.get("seen", "")),
            _text(found.get("perhaps", "")),
        ]
    return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"


def _mark(result: ExerciseResult, test: TestResult) -> str:
    if test.passed:
        return "✔"
    return "○" if result.state in (State.UNFINISHED, State.MISSING) else "✘"


def _points(test: TestResult) -> str:
    return f"{test.points if test.passed else 0} / {test.points}"


def _details(test: TestResult) -> list[tuple[str, str]]:
    """Return (label, text) of what there is to say about a failed test."""
    if test.trouble:
        return [("trouble", test.trouble)]
    if test.passed or not (test.case or test.expected or test.seen or test.misconception):
        return []
    case = _UNSEEN if test.hidden else test.case
    pairs = (("case", case), ("expected", test.expected), ("seen", test.seen), ("perhaps", test.misconception))
    return [(label, text) for label, text in pairs if text]


def _text(text: str) -> str:
    """Escape, and set `code` in its own font."""
    pieces = html.escape(text).split("`")
    if len(pieces) % 2 == 0:
        return "`".join(pieces)
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))
