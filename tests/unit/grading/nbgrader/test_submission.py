import json

import pytest

from yolotrt_lab.grading.nbgrader import submission
from yolotrt_lab.grading.nbgrader.submission import read_submission

IDS = frozenset({"lab0-double"})


def cell(grade_id="lab0-double", **more):
    return {"cell_type": "code", "source": "x = 1", "metadata": {"nbgrader": {"grade_id": grade_id}}, **more}


def write(folder, content, name="lab.ipynb"):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / name).write_bytes(data)


def read(folder):
    return read_submission(folder, "lab", answer_ids=IDS)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"cells": [', "JSON"),
        (b"", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        (b"[" * 100_000, "JSON"),
        ({"worksheets": [], "nbformat": 3}, "an old notebook format"),
        ([1, 2], "other JSON"),
        ({"cells": {"a": 1}}, "other JSON"),
        ({"cells": [cell()] * (submission.MAX_CELLS + 1)}, "at most"),
    ],
)
def test_what_is_no_notebook_is_said(tmp_path, content, found):
    write(tmp_path, content)
    result = read(tmp_path)
    assert found in result.unreadable
    assert result.cells == ()


def test_a_notebook_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "MAX_NOTEBOOK_BYTES", 10)
    write(tmp_path, {"cells": [cell()]})
    assert "too large" in read(tmp_path).unreadable


def test_a_notebook_that_is_a_link(tmp_path):
    write(tmp_path, {"cells": [cell()]}, "other.txt")
    (tmp_path / "lab.ipynb").symlink_to(tmp_path / "other.txt")
    assert "a link" in read(tmp_path).unreadable


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a\nb", "a\nb"),
        (["a\n", "b"], "a\nb"),
        (["a", 3, None], "a"),
        (7, ""),
        (None, ""),
        ("a\r\nb", "a\nb"),
        ("\ud800", "�" * 3),
    ],
)
def test_sources_of_every_kind(tmp_path, source, text):
    write(tmp_path, {"cells": [cell(source=source)]})
    (read_cell,) = read(tmp_path).cells
    assert read_cell.source == text
    read_cell.source.encode()


@pytest.mark.parametrize("odd", [3, None, "cell", [], {}, {"metadata": 3}, {"metadata": {"nbgrader": []}}])
def test_odd_cells_do_no_harm(tmp_path, odd):
    write(tmp_path, {"cells": [odd, cell()]})
    assert read(tmp_path).cells[-1].grade_id == "lab0-double"


def test_a_byte_order_mark_is_no_problem(tmp_path):
    write(tmp_path, b"\xef\xbb\xbf" + json.dumps({"cells": [cell()]}).encode())
    assert len(read(tmp_path).cells) == 1


def test_pictures_stay_and_other_attachments_go(tmp_path):
    attachments = {
        "a.png": {"image/png": "AAAA", "text/html": "<script>"},
        "b.svg": {"image/svg+xml": "<svg>"},
        "c": 3,
        "e": {"image/png": 'AAAA" onerror="alert(1)'},
        "d": {"image/png": ["no text"]},
    }
    write(tmp_path, {"cells": [cell(attachments=attachments)]})
    assert read(tmp_path).cells[0].pictures == {"a.png": {"image/png": "AAAA"}}


class TestOtherNames:
    def test_one_that_is_plainly_meant(self, tmp_path):
        write(tmp_path, {"cells": [cell()]}, "lab (1).ipynb")
        write(tmp_path, {"cells": [cell("elsewhere")]}, "scratch.ipynb")
        write(tmp_path, b"broken", "broken.ipynb")
        result = read(tmp_path)
        assert result.unreadable == ""
        assert [finding.kind for finding in result.findings] == ["renamed notebook"]

    def test_two_that_could_be_meant(self, tmp_path):
        for name in ("a.ipynb", "b.ipynb"):
            write(tmp_path, {"cells": [cell()]}, name)
        assert "a.ipynb, b.ipynb" in read(tmp_path).unreadable

    def test_none(self, tmp_path):
        write(tmp_path, {"cells": [cell("elsewhere")]}, "other.ipynb")
        assert "holds other.ipynb" in read(tmp_path).unreadable

    def test_the_right_name_counts_even_if_another_fits(self, tmp_path):
        write(tmp_path, {"cells": [cell(source="right")]})
        write(tmp_path, {"cells": [cell(source="other")]}, "other.ipynb")
        assert read(tmp_path).cells[0].source == "right"

    def test_an_empty_folder(self, tmp_path):
        assert "no notebook" in read(tmp_path).unreadable
