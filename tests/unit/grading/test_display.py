"""The table says all there is to say, fits, and lets no markup through."""

from html.parser import HTMLParser

import pytest

from yolotrt_lab.grading.display import html_table, text_table
from yolotrt_lab.grading.results import ExerciseResult, State, TestResult

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'


def result(state=State.FAILED, **failed):
    tests = (
        TestResult("test_a", "Shapes", 1, True),
        TestResult("test_b", "Values `clip`", 2, False, **failed),
    )
    return ExerciseResult("lab0.clip", "Clip", state, tests, reading="https://numpy.org/doc/")


def test_text_says_what_and_why_within_100_columns():
    text = text_table(result(case="outside", expected="e " * 90, seen="s", misconception="m"))
    parts = (
        "lab0.clip",
        "1 / 3 points",
        "✔ 1 / 1  Shapes",
        "✘ 0 / 2",
        "outside",
        "expected",
        "perhaps   m",
        "numpy.org",
    )
    for part in parts:
        assert part in text
    assert max(map(len, text.splitlines())) <= 100


def test_html_says_the_same_and_is_balanced():
    markup = html_table(result(case="outside", expected="e", seen="s", misconception="use `numpy`"))
    for part in (
        "lab0.clip",
        "1 / 3 points",
        "Shapes",
        "<em>outside</em>",
        "<code>numpy</code>",
        "https://numpy.org/doc/",
    ):
        assert part in markup
    stack = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag, attrs):
            stack.append(tag)

        def handle_endtag(self, tag):
            assert stack.pop() == tag

    Balance().feed(markup)
    assert not stack


def test_markup_in_answers_stays_text():
    markup = html_table(result(case=EVIL, expected=EVIL, seen=EVIL + "`" + EVIL, misconception=EVIL))
    assert "<script" not in markup
    assert "<img" not in markup


def test_unseen_inputs_are_not_named():
    for show in (text_table, html_table):
        shown = show(result(case="unseen: long tail", hidden=True, misconception="m"))
        assert "long tail" not in shown
        assert "you have not seen" in shown


@pytest.mark.parametrize("state", [State.UNFINISHED, State.MISSING])
def test_what_is_not_written_yet_is_not_called_wrong(state):
    for show in (text_table, html_table):
        shown = show(result(state))
        assert "waiting for you" in shown
        assert "✘" not in shown
