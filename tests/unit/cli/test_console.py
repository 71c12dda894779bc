import json
from pathlib import Path

import numpy as np
import pytest

from yolotrt_lab.cli import console
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Precision


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    for name in ("_out", "_err"):
        monkeypatch.setattr(getattr(console, name), "_width", 200)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Path("a/b"), "a/b"),
        (float("nan"), None),
        ([float("inf"), 1.5], [None, 1.5]),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([np.nan]), [None]),
        ((1, 2), [1, 2]),
        ({1: Path("x")}, {"1": "x"}),
        (Precision.INT8, "int8"),
        (True, True),
        (None, None),
        ("ä", "ä"),
        ([], []),
    ],
)
def test_json_says_anything_a_command_may_return(capsys, value, expected):
    console.emit({"value": value}, as_json=True, human="unused")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"value": expected}
    assert err == ""


def test_human_output_goes_to_stdout_as_it_is(capsys):
    console.emit({}, as_json=False, human=["[bold]not markup[/]", console.table("T", ("a",), [("x",)])])
    out, err = capsys.readouterr()
    assert "[bold]not markup[/]" in out
    assert "T" in out
    assert err == ""


def test_remarks_go_to_stderr(capsys):
    console.note("a [red]remark[/]")
    assert capsys.readouterr() == ("", "a [red]remark[/]\n")


def test_errors_go_to_stderr_with_their_details(capsys):
    console.print_error(InputError("Bad [file].", expected="[good]", got="x", fix="do"))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split() for line in err.splitlines()] == [
        ["Error:", "Bad", "[file]."],
        ["expected:", "[good]"],
        ["got:", "x"],
        ["fix:", "do"],
    ]


@pytest.mark.parametrize(
    ("rows", "justify"),
    [([(1,), (2.5,)], "right"), ([(1,), ("-",)], "left"), ([], "left"), ([("a",)], "left"), ([(0,)], "right")],
)
def test_numbers_are_aligned_right(rows, justify):
    assert console.table("", ("n",), rows).columns[0].justify == justify


def test_numbers_are_rounded_for_reading(capsys):
    console.emit({}, as_json=False, human=console.table("", ("n",), [(0.123456,)]))
    assert "0.1235" in capsys.readouterr().out


def test_progress_is_shown_on_stderr(capsys):
    with console.progress_bar("Working") as move:
        for done in range(1, 4):
            move(done, 3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Working" in err
    assert "3/3" in err
