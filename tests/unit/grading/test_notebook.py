"""`check`, `using` and `workspace`, in a plain interpreter and in a kernel."""

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from yolotrt_lab.grading.notebook import check, using, workspace

RIGHT = "import numpy as np\ndef clip(values, limit):\n    return np.clip(values, -limit, limit)"
WRONG = "import numpy as np\ndef clip(values, limit):\n    return np.minimum(values, limit)"


def clip(values, limit):
    return np.clip(values, -limit, limit)


def test_check_takes_the_callers_answer():
    result = check("lab0.clip")
    assert result.passed
    assert (result.score, repr(result).splitlines()[0]) == (5, "lab0.clip · Clip values · 5 / 5 points · solved")


def test_check_names_what_is_missing():
    namespace = {"check": check}
    assert "defines no `clip`" in repr(eval("check('lab0.clip')", namespace))
    assert "no exercise 'lab0.clap'" in repr(eval("check('lab0.clap')", namespace)).replace("\n", " ")


def test_a_missing_suite_is_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOTRT_GRADING_SUITE", str(tmp_path / "gone"))
    assert "grading suite is not there" in repr(check("lab0.clip"))


def test_grading_records_and_says_nothing(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("YOLOTRT_RECORD", str(tmp_path))
    monkeypatch.setenv("YOLOTRT_HIDDEN_SEED", "5")
    assert check("lab0.clip") is None
    assert (tmp_path / "lab0.clip" / "hidden-0" / "record.json").is_file()
    assert capfd.readouterr() == ("", "")


def test_using_waits_kindly_for_what_is_unfinished(capsys):
    with using("lab0.clip", "lab0.other"):
        raise NotImplementedError
    assert capsys.readouterr().out == "This appears once lab0.clip and lab0.other are written.\n"
    with pytest.raises(NotImplementedError, match="bfloat16"), using("lab0.clip"):
        raise NotImplementedError("bfloat16 is not supported")
    with pytest.raises(ZeroDivisionError), using("lab0.clip"):
        _ = 1 / 0


def test_workspace_is_the_courses(monkeypatch, tmp_path):
    (tmp_path / "labs" / "lab1").mkdir(parents=True)
    (tmp_path / "nbgrader_config.py").touch()
    monkeypatch.chdir(tmp_path / "labs" / "lab1")
    assert workspace() == tmp_path / "runs" / "labs"
    monkeypatch.setenv("YOLOTRT_WORKSPACE", str(tmp_path / "elsewhere"))
    assert workspace() == tmp_path / "elsewhere"
    assert workspace().is_dir()


def test_in_a_kernel_a_table_and_the_score_nbgrader_reads(tmp_path):
    cells = ["from yolotrt_lab.grading import check", WRONG, 'check("lab0.clip")', RIGHT, 'check("lab0.clip")']
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(book, kernel_name="python3", timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell, score, words in ((book.cells[2], "3.0", "not there yet"), (book.cells[4], "5.0", "solved")):
        (output,) = cell.outputs
        assert output.output_type == "execute_result"
        assert output.data["text/plain"] == score
        assert words in output.data["text/html"]
