import html.parser
import re
import urllib.parse

import pytest
from nbconvert.exporters import HTMLExporter

from yolotrt_lab.grading.nbgrader.escape_answers import EscapeAnswers
from yolotrt_lab.grading.nbgrader.release import empty_notebook, node_from


class _Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tags(source, attachments=None, **marks):
    """Return the tags that formgrader's way of rendering makes of a Markdown cell."""
    notebook = empty_notebook()
    content = {"cell_type": "markdown", "source": source, "metadata": {"nbgrader": marks}}
    notebook.cells = [node_from({**content, "attachments": attachments or {}})]
    cell = EscapeAnswers().preprocess(notebook, {})[0].cells[0]
    rendered = HTMLExporter().markdown2html({"cell": cell}, cell.source)
    parser = _Tags()
    parser.feed(rendered)
    return [(tag, attrs) for tag, attrs in parser.found if tag != "p"]


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        "text <img src=x onerror=alert(1)> text",
        "<svg/onload=alert(1)>",
        "<!-- --><iframe src=//evil>",
        "<IMG SRC=x ONERROR=alert(1)>",
        "a\n\n<div onclick='x'>\n\nb",
        "<https-like onclick=x>",
    ],
)
def test_html_in_an_answer_has_no_effect(source):
    assert tags(source, solution=True) == []


def test_without_escaping_it_would_have():
    assert [tag for tag, _ in tags("<script>alert(1)</script>", solution=False)] == ["script"]


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "&#106;avascript:alert(1)",
        "javascript&colon;alert(1)",
        "javascript\\:alert(1)",
        "<java\tscript:alert(1)>",
        "data:text/html;base64,PHNjcmlwdD4=",
        "vbscript:x",
        "xhttp-javascript:x",
    ],
)
@pytest.mark.parametrize("link", ["[x]({})", "![x]({})", "[x][y]\n\n[y]: {}"])
def test_addresses_that_are_programs_are_none(link, address):
    for tag, attributes in tags(link.format(address), solution=True):
        target = attributes.get("href") or attributes.get("src") or ""
        scheme = re.sub(r"[\x00-\x20]", "", urllib.parse.unquote(target)).partition(":")[0].lower()
        assert scheme not in ("javascript", "data", "vbscript"), tag


def test_markdown_works():
    assert [tag for tag, _ in tags("**bold** and `a < b` and 1 < 2\n\n- x", solution=True)] == [
        "strong",
        "code",
        "ul",
        "li",
    ]
    for source in ("see <https://onnx.ai>", "[onnx](https://onnx.ai)"):
        assert tags(source, solution=True) == [("a", {"href": "https://onnx.ai"})]


def test_attached_pictures_are_shown_and_missing_ones_stop_nothing():
    picture = {"p.png": {"image/png": "AAAA"}}
    ((tag, attributes),) = tags("![p](attachment:p.png)", solution=True, attachments=picture)
    assert (tag, attributes["src"]) == ("img", "data:image/png;base64,AAAA")
    for attachments in (picture, {}):
        for source in ("![p](attachment:q.png)", "![p](attachment:)", "[q]: attachment:q.png\n\n![q]"):
            tags(source, solution=True, attachments=attachments)


def test_the_labs_own_html_stays():
    assert [tag for tag, _ in tags("<details><summary>Answer</summary>x</details>")][:2] == ["details", "summary"]
