import pytest

from yolotrt_lab.grading.execution.job import CodeCell
from yolotrt_lab.grading.execution.materials import Materials, WorkspaceError, prepare_workspace, workspace_digest

PREPARING = """
from yolotrt_lab.grading import workspace
folder = workspace() / "lab0"
folder.mkdir(exist_ok=True)
%time (folder / "data.txt").write_text("some data")
"""


def cells(first, student="raise RuntimeError('a student\\'s cell was run')"):
    return (CodeCell("a", first), CodeCell("b", student, answer=True), CodeCell("c", "1 / 0"))


def test_a_workspace_is_what_the_labs_first_cells_write(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOTRT_HIDDEN_SEED", "5")
    place = prepare_workspace(
        cells("import os; assert 'YOLOTRT_HIDDEN_SEED' not in os.environ\n" + PREPARING), tmp_path
    )
    assert (place / "lab0" / "data.txt").read_text() == "some data"
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_it_is_made_once(tmp_path, monkeypatch):
    first = prepare_workspace(cells(PREPARING), tmp_path)
    monkeypatch.setattr("yolotrt_lab.grading.execution.materials._run_cells", None)
    assert prepare_workspace(cells(PREPARING, student="something else"), tmp_path) == first
    with pytest.raises(TypeError):
        prepare_workspace(cells(PREPARING + "\n"), tmp_path)


@pytest.mark.parametrize("broken", ["raise ValueError('no data')", "1 +"])
def test_a_lab_that_does_not_run_is_told(tmp_path, broken):
    with pytest.raises(WorkspaceError, match="first cells fail"):
        prepare_workspace(
            (CodeCell("a", "from yolotrt_lab.grading import workspace\nworkspace()\n" + broken),), tmp_path
        )
    assert list(tmp_path.iterdir()) == []


def test_a_digest_of_a_workspace_is_of_its_names_and_contents(tmp_path):
    seen = {workspace_digest(tmp_path)}
    (tmp_path / "lab3").mkdir()
    seen.add(workspace_digest(tmp_path))
    (tmp_path / "lab3" / "a.txt").write_text("one")
    seen.add(workspace_digest(tmp_path))
    (tmp_path / "lab3" / "a.txt").write_text("two")
    seen.add(workspace_digest(tmp_path))
    assert len(seen) == 4


def test_materials_hold_no_tests(tmp_path):
    materials = Materials.prepared("lab0_sample", (), tmp_path)
    assert materials == Materials.prepared("lab0_sample", (), tmp_path)
    text = (materials.suite / "lab0" / "test_clip.py").read_text()
    assert "def inputs" in text
    assert "def test_" not in text
