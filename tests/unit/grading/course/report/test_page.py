"""The page escapes whatever students wrote, loads and runs nothing, and claims no more than there is."""

import html.parser
import json

import pytest

from yolotrt_lab.grading.course.report.class_report import summarize, write_class_report
from yolotrt_lab.grading.course.report.page import render_class_report
from yolotrt_lab.grading.nbgrader.findings import Finding

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>"
LOOP = (
    "def first():\n    total = 0\n    for index, (low, high) in enumerate(zip(range(9), range(3, 12))):\n"
    "        if high < low:\n            low, high = high, low\n        total += (high - low) * index if index else 1\n"
    "    return max(total, 0)  # </pre>" + EVIL
)

OTHER = (
    "def first():\n    import statistics\n    values = {k: [k ** 2, k ** 3] for k in (1, 5, 7)}\n    try:\n"
    "        return statistics.mean(sum(values.values(), []))\n    except statistics.StatisticsError as error:\n"
    "        raise ValueError('nothing there') from error\n"
)


class _Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + " "


def parsed(records, **more):
    page = _Page()
    page.feed(render_class_report(summarize(records, **more)))
    page.text = " ".join(page.text.split())
    assert not page.open
    return page


def test_nothing_of_a_students_runs(class_of, submission):
    evil = submission(EVIL, first=(False, False), says=EVIL, findings=(Finding(EVIL, EVIL, EVIL, True),),
                      answers={"a-check": LOOP, "written": EVIL}, scores={"b-check": None},
                      waiting={"b-check": EVIL, EVIL: EVIL})  # fmt: skip
    copy = submission("ben", first=(False, False), says=EVIL, answers={"a-check": LOOP})
    page = parsed(class_of(evil, copy, submission("eve", unreadable=EVIL), ungraded=(EVIL,)))
    assert {"script", "img", "link", "iframe", "object"}.isdisjoint(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert page.text.count("<script>alert(1)</script>") > 8


def test_pairs_are_shown_side_by_side_with_what_they_share(class_of, submission):
    renamed = LOOP.replace("total", "summe").replace("low", "a").replace("high", "b")
    pair = [submission(name, first=(False, True), answers={"a-check": text})
            for name, text in (("ada", LOOP), ("ben", renamed))]  # fmt: skip
    page = parsed(class_of(*pair, submission("cleo")))
    assert "ada and ben : 100 % · the same mistakes in First" in page.text
    assert page.tags.count("mark") >= 2
    assert page.tags.count("pre") == 2
    assert "No pair shares that much" in parsed(class_of(pair[0], submission("cleo", answers={"a-check": OTHER}))).text


@pytest.mark.parametrize(("count", "shows"), [(9, False), (10, True)])
def test_small_classes_get_counts_only(class_of, submission, count, shows):
    page = parsed(class_of(*(submission(f"s{n}", first=(n % 2 == 0, True)) for n in range(count))))
    assert ("mostly chance" in page.text) is not shows
    assert ("Correlation" in page.text) is shows
    assert f"{(count + 1) // 2} all points" in " ".join(value or "" for _, value in page.attributes)


def test_full_marks_are_in_the_last_column(class_of, submission):
    page = parsed(class_of(submission("ada", written=10.0), submission("ben", written=9.0)))
    titles = [value for name, value in page.attributes if name == "title" and value and "from" in value]
    assert titles[-1] == "2 from 90 %"


def test_an_empty_class(class_of):
    assert "There is nothing to compare" in parsed(class_of()).text


def test_the_file_is_the_instructors_alone(class_of, submission, tmp_path):
    report = summarize(class_of(submission("ada")))
    path = write_class_report(report, tmp_path / "reports" / "lab0.html")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_json_has_everything_but_the_answers(class_of, submission):
    records = class_of(submission("ada", first=(False, True), answers={"a-check": LOOP, "written": "my secret"}))
    content = json.loads(json.dumps(summarize(records).to_json()))
    assert content["items"][0]["outcomes"]["less than half"] == 1
    assert content["misconceptions"][0]["students"] == ["ada"]
    assert "secret" not in json.dumps(content)
