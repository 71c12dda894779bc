import copy
import json

import pytest

from yolotrt_lab.grading.nbgrader.rebuilding import answer_cells, rebuild
from yolotrt_lab.grading.nbgrader.release import node_from
from yolotrt_lab.grading.nbgrader.submission import Submission, read_submission


@pytest.fixture
def release(root, sample):
    return node_from(sample.released(root))


@pytest.fixture
def rebuilt(release, tmp_path, sample):
    """Rebuild what a student handed in; give the result and the kinds of what was noticed."""

    def run(notebook: dict):
        (tmp_path / "x.ipynb").write_text(json.dumps(notebook))
        submission = read_submission(tmp_path, "x", answer_ids=frozenset(answer_cells(release)))
        result = rebuild(release, submission)
        return result, [finding.kind for finding in result.findings]

    return run


def texts(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells]


def test_an_untouched_release_comes_back(rebuilt, release, root, sample):
    result, kinds = rebuilt(sample.released(root))
    assert result.notebook == release
    assert kinds == []


def test_answers_are_taken_and_nothing_else(rebuilt, release, root, sample):
    notebook = sample.answered(root)
    notebook["cells"][1]["source"] = "import sys; sys.exit()"
    notebook["metadata"]["kernelspec"]["name"] = "evil"
    notebook["cells"].append({"cell_type": "code", "source": "evil()", "metadata": {}, "outputs": []})
    result, kinds = rebuilt(notebook)
    assert kinds == []
    changed = [cell for cell, old in zip(result.notebook.cells, release.cells, strict=True) if cell != old]
    assert {cell.metadata.nbgrader.grade_id: cell.source for cell in changed} == sample.ANSWERS
    assert result.notebook.metadata == release.metadata


def test_the_digest_changes_with_the_answer_only(rebuilt, root, sample):
    first = rebuilt(sample.answered(root))[0].answers
    edited = sample.answered(root)
    sample.cell(edited, "lab0-double-check")["source"] = "pass"
    assert rebuilt(edited)[0].answers == first
    other = rebuilt(sample.answered(root, lab0_double="def double(x): return 0"))[0].answers
    assert {name for name in first if first[name] != other[name]} == {"lab0-double"}


@pytest.mark.parametrize("grade_id", ["lab0-double-check", "lab0-question"])
def test_locked_cells_are_the_releases(rebuilt, release, root, sample, grade_id):
    for kind, change in (
        ("edited cell", lambda cells, cell: cell.update(source="pass")),
        ("deleted cell", lambda cells, cell: cells.remove(cell)),
        ("duplicated cell", lambda cells, cell: cells.append(copy.deepcopy(cell))),
        ("retyped cell", lambda cells, cell: cell.update(cell_type="raw")),
        ("edited metadata", lambda cells, cell: cell["metadata"]["nbgrader"].update(points=1000)),
    ):
        notebook = sample.answered(root)
        change(notebook["cells"], sample.cell(notebook, grade_id))
        result, kinds = rebuilt(notebook)
        assert kinds == [kind]
        assert sample.cell(result.notebook, grade_id) == sample.cell(release, grade_id)


def test_only_what_looks_meant_is_suspicious(rebuilt, root, sample):
    notebook = sample.answered(root)
    sample.cell(notebook, "lab0-double-check")["source"] = "pass"
    sample.cell(notebook, "lab0-question")["source"] = "?"
    assert [finding.suspicious for finding in rebuilt(notebook)[0].findings] == [True, False]


def test_a_deleted_answer_is_the_stub(rebuilt, release, root, sample):
    notebook = sample.answered(root)
    notebook["cells"].remove(sample.cell(notebook, "lab0-double"))
    result, kinds = rebuilt(notebook)
    assert kinds == ["deleted answer"]
    assert sample.cell(result.notebook, "lab0-double") == sample.cell(release, "lab0-double")


class TestTheSameAnswerTwice:
    @pytest.fixture
    def twice(self, rebuilt, root, sample):
        def run(first, second):
            notebook = sample.answered(root, lab0_double=first)
            again = copy.deepcopy(sample.cell(notebook, "lab0-double"))
            again["source"] = second
            notebook["cells"].insert(5, again)
            result, kinds = rebuilt(notebook)
            return sample.cell(result.notebook, "lab0-double").source, kinds

        return run

    def test_two_versions_run_one_after_the_other_as_in_the_notebook(self, twice):
        assert twice("a = 1", "b = 2") == ("a = 1\n\nb = 2", ["duplicated answer"])

    def test_equal_ones_count_once(self, twice):
        assert twice("a = 1", "a = 1") == ("a = 1", ["duplicated answer"])

    def test_an_untouched_copy_does_not_undo_the_answer(self, twice, release, sample):
        stub = sample.cell(release, "lab0-double").source
        assert twice("a = 1", stub)[0] == "a = 1"
        assert twice(stub, "a = 1")[0] == "a = 1"


def test_answers_whose_metadata_an_editor_dropped_are_known_by_their_cell(rebuilt, root, sample):
    notebook = sample.answered(root)
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    result, kinds = rebuilt(notebook)
    assert {name: sample.cell(result.notebook, name).source for name in sample.ANSWERS} == sample.ANSWERS
    assert kinds == []


def test_grades_pointed_elsewhere_move_no_points(rebuilt, release, root, sample):
    notebook = sample.answered(root, lab0_smallest=None)
    sample.cell(notebook, "lab0-double-check")["metadata"]["nbgrader"]["grade_id"] = "lab0-smallest-check"
    result, kinds = rebuilt(notebook)
    assert sorted(kinds) == ["deleted cell", "duplicated cell", "edited cell", "edited metadata"]
    points = {
        cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.get("points")
        for cell in release.cells
        if "nbgrader" in cell.metadata
    }
    assert {
        cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.get("points")
        for cell in result.notebook.cells
        if "nbgrader" in cell.metadata
    } == points


def test_an_answer_of_another_type_is_read(rebuilt, root, sample):
    notebook = sample.answered(root)
    sample.cell(notebook, "lab0-double")["cell_type"] = "markdown"
    result, kinds = rebuilt(notebook)
    assert kinds == ["retyped cell"]
    assert sample.cell(result.notebook, "lab0-double").cell_type == "code"
    assert sample.cell(result.notebook, "lab0-double").source == sample.ANSWERS["lab0-double"]


def test_foreign_graded_cells_are_named(rebuilt, root, sample):
    notebook = sample.answered(root)
    notebook["cells"].append({"cell_type": "code", "source": "", "metadata": {"nbgrader": {"grade_id": "free-points"}}})
    result, kinds = rebuilt(notebook)
    assert kinds == ["unknown cell"]
    assert "free-points" in result.findings[0].text


class TestNamesFromElsewhere:
    """Code in other cells is not run when grading; saying so saves a long search."""

    @pytest.mark.parametrize(
        ("own", "answer", "named"),
        [
            ("def helper(x): return x", "def double(x): return helper(x) * 2", "`helper`"),
            ("import math as m", "def double(x): return m.fsum([x, x])", "`m`"),
            ("FACTOR = 2", "def double(x): return FACTOR * x", "`FACTOR`"),
            ("%matplotlib inline\nFACTOR = 2", "def double(x): return FACTOR * x", "`FACTOR`"),
            ("FACTOR = 2", "FACTOR = 2\ndef double(x): return FACTOR * x", ""),
            ("x = 2", "def double(x): return 2 * x", ""),
            ("n = 2", "def double(x): return sum(x for n in range(2))", ""),
            ("import sys", "def double(x): return sys.maxsize and 2 * x", ""),
            ("helper = (", "def double(x): return helper", ""),
            ("helper = 3", "def double(x): return helper(", ""),
        ],
    )
    def test_names(self, rebuilt, root, sample, own, answer, named):
        notebook = sample.answered(root, lab0_double=answer)
        notebook["cells"].insert(2, {"cell_type": "code", "source": own, "metadata": {}, "outputs": []})
        result, kinds = rebuilt(notebook)
        assert kinds == (["name from elsewhere"] if named else [])
        assert named in "".join(finding.text for finding in result.findings)

    def test_demonstrations_are_not_run_either(self, rebuilt, root, sample):
        notebook = sample.answered(root, lab0_double="def double(x): return shown * x")
        demonstration = next(c for c in notebook["cells"] if c["metadata"].get("tags") == ["demonstration"])
        demonstration["source"] = "shown = 2"
        assert rebuilt(notebook)[1] == ["name from elsewhere"]


def test_pictures_of_a_written_answer_come_along(rebuilt, root, sample):
    notebook = sample.answered(root)
    sample.cell(notebook, sample.WRITTEN)["attachments"] = {"a.png": {"image/png": "AAAA"}}
    sample.cell(notebook, "lab0-double")["attachments"] = {"b.png": {"image/png": "AAAA"}}
    result, _ = rebuilt(notebook)
    assert sample.cell(result.notebook, sample.WRITTEN).attachments == {"a.png": {"image/png": "AAAA"}}
    assert "attachments" not in sample.cell(result.notebook, "lab0-double")


def test_an_unreadable_submission_is_the_release_without_complaints(release):
    result = rebuild(release, Submission(unreadable="broken"))
    assert result.notebook == release
    assert result.findings == []
