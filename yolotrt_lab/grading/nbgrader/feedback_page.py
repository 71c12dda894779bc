"""The page that a student gets back: score, what each exercise's tests said, comments. One file, no scripts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jinja2
import mistune
from markupsafe import Markup
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import PythonLexer  # type: ignore[import-untyped]

from yolotrt_lab.grading.results import ExerciseResult, State
from yolotrt_lab.report.html import page_environment

__all__ = ["FeedbackPage", "GradedPart", "render_feedback"]

_STATE_WORDS = {
    State.PASSED: "solved",
    State.UNFINISHED: "waiting for you",  # as `check` calls it
    State.MISSING: "not defined",
    State.TROUBLE: "graded by hand",
}


@dataclass(frozen=True)
class GradedPart:
    """One graded cell with the answers it is about.

    Attributes:
        grade_id: nbgrader's id, also the anchor in the page.
        title: What it is called.
        score: The points, those by hand included.
        points: The most that can be earned.
        is_open: Whether it still waits for a grade by hand.
        by_hand: Whether an instructor set the score.
        result: The tests' verdict; None for a written answer.
        code: The answer cells' code.
        question: The question of a written answer, in the lab's own Markdown, which may use HTML.
        text: The written answer, in the student's Markdown.
        pictures: Attached pictures of the written answer, by name: (media type, base64).
        comments: What the instructor wrote.
        notes: What was noticed about its cells.
    """

    grade_id: str
    title: str
    score: float
    points: float
    is_open: bool = False
    by_hand: bool = False
    result: ExerciseResult | None = None
    code: tuple[str, ...] = ()
    question: str = ""
    text: str | None = None
    pictures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    comments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_written(self) -> bool:
        """Whether the answer is prose."""
        return self.text is not None

    @property
    def words(self) -> str:
        """How it came out, in the overview."""
        if self.is_open:
            return "waits for your instructor"
        if self.by_hand:
            return "graded by hand"
        if self.result is None:
            return _STATE_WORDS[State.UNFINISHED]
        return _STATE_WORDS.get(self.result.state, "partly solved" if self.result.score else "not solved")

    @property
    def details(self) -> bool:
        """Whether a test has more to say than that it passed or not."""
        tests = self.result.tests if self.result else ()
        return any(test.case or test.expected or test.seen or test.misconception for test in tests)


@dataclass(frozen=True)
class FeedbackPage:
    """What a feedback page shows.

    Attributes:
        title: The lab's title.
        student: Whose page it is.
        parts: The graded parts in the notebook's order.
        score: Points in all, before the penalty.
        points: The most that can be earned.
        penalty: Points taken for lateness.
        submitted: When it came, UTC.
        due: When it was due, UTC.
        notes: What was noticed about the submission as a whole.
        unreadable: Why there was nothing to grade; "" if there was.
    """

    title: str
    student: str
    parts: Sequence[GradedPart]
    score: float
    points: float
    penalty: float = 0.0
    submitted: dt.datetime | None = None
    due: dt.datetime | None = None
    notes: Sequence[str] = ()
    unreadable: str = ""

    @property
    def total(self) -> float:
        """Points in all."""
        return max(0.0, self.score - self.penalty)

    @property
    def is_open(self) -> bool:
        """Whether a part still waits for a grade by hand."""
        return any(part.is_open for part in self.parts)


def render_feedback(page: FeedbackPage) -> str:
    """Return the page as HTML; all of the student's text is escaped, and the page may load and run nothing."""
    return _environment().get_template("feedback.html.j2").render(page=page)


def _environment() -> jinja2.Environment:
    environment = page_environment("yolotrt_lab.grading.nbgrader")
    environment.filters |= {
        "code": _code_html,
        "students_text": _students_html,
        "labs_text": _labs_html,
        "inline": _inline_html,
        "number": lambda value: f"{value:.2f}".rstrip("0").rstrip("."),
        "time": lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC",
    }
    formatter = HtmlFormatter(style="default")
    dark = HtmlFormatter(style="github-dark")
    environment.globals["code_css"] = Markup(formatter.get_style_defs(".highlight"))
    environment.globals["dark_code_css"] = Markup(dark.get_style_defs(".highlight"))
    return environment


def _code_html(source: str) -> Markup:
    return Markup(highlight(source, PythonLexer(), HtmlFormatter(style="default")))


def _inline_html(text: str) -> Markup:
    """Escape, and set `code` in its own font."""
    pieces = str(Markup.escape(text)).split("`")
    if len(pieces) % 2 == 0:
        return Markup("`".join(pieces))
    return Markup("".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces)))


def _labs_html(text: str) -> Markup:
    return Markup(mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])(text))


def _students_html(text: str, pictures: Mapping[str, tuple[str, str]] | None = None) -> Markup:
    for name, (kind, data) in (pictures or {}).items():
        text = text.replace(f"(attachment:{name})", f"(data:{kind};base64,{''.join(data.split())})")
    return Markup(mistune.create_markdown(escape=True, plugins=["table", "strikethrough"])(text))
