import dataclasses
import html.parser
from datetime import datetime

import pytest

from yolotrt_lab.grading.nbgrader.feedback_page import FeedbackPage, GradedPart, render_feedback
from yolotrt_lab.grading.results import ExerciseResult, Picture, State, TestResult

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"


class _Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data + " "


def parsed(page):
    parser = _Page()
    parser.feed(render_feedback(page))
    parser.text = " ".join(parser.text.split())
    return parser


def result(state=State.FAILED, **more):
    tests = (
        TestResult("test_shape", "The shape is right", 2, True),
        TestResult("test_value", "The value is right", 4, False, **more),
    )
    return ExerciseResult("lab0.double", "Doubling", state, tests, reading="https://numpy.org/doc")


def exercise(**more):
    settings = {"score": 2.0, "points": 6.0, "result": result(), "code": ("def double(x):\n    return x",), **more}
    return GradedPart("lab0-double-check", "Doubling", **settings)


def written(**more):
    return GradedPart(
        "lab0-written", "Why?", score=7.0, points=10.0, **{"text": "Because.", "question": "*Why?*", **more}
    )


def page(*parts, **more):
    return FeedbackPage("Lab 0", "ada", parts, **{"score": 9.0, "points": 16.0, **more})


def test_what_a_student_reads():
    part = exercise(
        result=result(case="small", expected="4", seen="2", misconception="Is `x` added once?"),
        comments=("Nearly!",),
        notes=("The cell `lab0-double-check` had been edited.",),
    )
    text = parsed(page(part, written(), submitted=datetime(2026, 1, 2, 3, 4), due=datetime(2026, 1, 1))).text
    for words in (
        "ada · submitted 2026-01-02 03:04 UTC · due 2026-01-01 00:00 UTC",
        "9 / 16 points",
        "Doubling partly solved 2 / 6",
        "The value is right on “small” 4 2 Is x added once?",
        "Nearly!",
        "had been edited",
        "Your answer Because.",
    ):
        assert words in text


def test_nothing_of_unseen_inputs_but_the_hint():
    text = parsed(page(exercise(result=result(case="unseen: negative", hidden=True, misconception="The sign?")))).text
    assert "on an input you have not seen" in text
    assert "The sign?" in text
    assert "negative" not in text


@pytest.mark.parametrize(
    "evil",
    [
        exercise(code=(EVIL,)),
        exercise(notes=(EVIL,)),
        exercise(comments=(EVIL,)),
        exercise(result=result(case=EVIL, expected=EVIL, seen=EVIL, misconception=EVIL)),
        exercise(result=dataclasses.replace(result(), note=EVIL)),
        dataclasses.replace(exercise(), title=EVIL),
        written(text=EVIL),
        written(text="[x](javascript:alert(1))"),
        written(text="![x](attachment:p)", pictures={"p": ("image/png", 'AA" onerror="alert(1)')}),
    ],
)
def test_everything_is_escaped(evil):
    seen = parsed(page(evil))
    assert "script" not in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert not [value for name, value in seen.attributes if name == "href" and "javascript" in value]


def test_students_and_titles_are_escaped():
    seen = parsed(FeedbackPage(EVIL, EVIL, (), 0, 0, notes=[EVIL], unreadable=EVIL))
    assert "script" not in seen.tags
    assert "img" not in seen.tags


def test_the_page_may_load_and_run_nothing():
    text = render_feedback(page(exercise()))
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in text
    assert not [value for name, value in parsed(page(exercise())).attributes if name == "src"]


def test_pictures_of_an_answer_are_in_the_page():
    part = written(text="See ![plot](attachment:p.png)", pictures={"p.png": ("image/png", "AAAA")})
    assert ("src", "data:image/png;base64,AAAA") in parsed(page(part)).attributes


def test_the_labs_question_may_use_html():
    assert "kbd" in parsed(page(written(question="Press <kbd>x</kbd>"))).tags


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (exercise(), "partly solved"),
        (exercise(result=dataclasses.replace(result(), tests=result().tests[1:])), "not solved"),
        (exercise(result=result(State.PASSED)), "solved"),
        (exercise(result=result(State.UNFINISHED)), "waiting for you"),
        (exercise(result=result(State.MISSING)), "not defined"),
        (exercise(is_open=True), "waits for your instructor"),
        (exercise(by_hand=True), "graded by hand"),
        (written(by_hand=True), "graded by hand"),
        (written(), "waiting for you"),
        (written(is_open=True), "waits for your instructor"),
    ],
)
def test_how_a_part_came_out(part, words):
    assert part.words == words
    assert f"{part.title} {words}" in parsed(page(part)).text


def test_open_parts_show_no_points():
    text = parsed(page(exercise(is_open=True, score=0.0), score=0.0)).text
    assert "\N{EN DASH} / 6" in text
    assert "Some parts wait" in text


def test_lateness_is_shown_and_never_goes_below_zero():
    assert "7.5 / 16 points (9 \N{MINUS SIGN} 1.5 for lateness)" in parsed(page(exercise(), penalty=1.5)).text
    assert page(penalty=20.0).total == 0


def test_the_picture_is_in_the_page_and_escaped():
    drawn = Picture(b"\x89PNG", caption=f"`x` {EVIL}", alt=f'">{EVIL}')
    seen = parsed(page(exercise(result=dataclasses.replace(result(), picture=drawn))))
    assert ("src", "data:image/png;base64,iVBORw==") in seen.attributes
    assert ("alt", f'">{EVIL}') in seen.attributes
    assert "script" not in seen.tags


def test_a_notebook_that_could_not_be_read():
    seen = parsed(page(exercise(is_open=True), unreadable="lab.ipynb is not a notebook."))
    assert "Not graded yet, of 16 points" in seen.text
    assert "9 / 16" not in seen.text
    assert "could not be graded. lab.ipynb is not a notebook." in seen.text
    assert "#lab0-double-check" not in dict(seen.attributes).get("href", "")
