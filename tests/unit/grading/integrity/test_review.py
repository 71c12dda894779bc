"""Notes of a kernel are read as anybody's text, and copies are told from answers that do the same."""

import inspect
import json
from types import SimpleNamespace

import pytest

from yolotrt_lab.detection import nms
from yolotrt_lab.grading.integrity.evidence import evidence_findings
from yolotrt_lab.grading.integrity.review import graders_names, review
from yolotrt_lab.grading.integrity.similarity import copied_reference

SUITE_FILE = (
    "from yolotrt_lab.grading import Exercise\nEXERCISE = Exercise(forbidden=('yolotrt_lab.detection.nms.nms',))"
)


@pytest.fixture
def suite_file(tmp_path):
    path = tmp_path / "lab9" / "test_suppress.py"
    path.parent.mkdir()
    path.write_text(SUITE_FILE)
    return path


def write(folder, notes, name="_evidence.json"):
    (folder / name).write_text(json.dumps({"notes": notes}))


def test_notes_become_findings(tmp_path):
    write(tmp_path, [{"kind": "replaced", "what": "numpy.allclose", "by": "line 3", "exercise": "lab0.clip"}])
    write(tmp_path, [{"kind": "process", "what": "python -c 1"}, {"kind": "process", "what": "nvidia-smi"}],
          "_evidence-2.json")  # fmt: skip
    replaced, process = evidence_findings(tmp_path)
    assert replaced.suspicious
    assert replaced.text == (
        "Something that grading relies on was replaced: numpy.allclose. It was put back. By line 3."
        " (while `lab0.clip` was checked)"
    )
    assert "nvidia-smi" not in process.text


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"notes": 3}', '{"notes": [1, {"kind": "unknown"}, {"kind": []}]}', "[" * 100_000, "\0"],
)
def test_what_is_no_evidence_is_none(tmp_path, content):
    (tmp_path / "_evidence.json").write_text(content)
    assert evidence_findings(tmp_path) == []


def test_evidence_by_a_link_large_or_with_control_characters(tmp_path):
    write(tmp_path, [{"kind": "heap", "what": "a\x1b[2Jb\n" + "c" * 10_000, "by": 5}] * 5_000, "other.json")
    (tmp_path / "_evidence.json").symlink_to("other.json")
    assert evidence_findings(tmp_path) == []
    write(tmp_path, [{"kind": "heap", "what": "a\x1b[2Jb\n" + "c" * 1000, "by": 5}] * 500, "_evidence-2.json")
    (finding,) = evidence_findings(tmp_path)
    assert len(finding.text) < 1000
    assert finding.text.isprintable()


class TestCopies:
    SOURCE = inspect.getsource(nms._suppress)

    def test_the_packages_own_text(self, suite_file):
        (finding,) = copied_reference(self.SOURCE, suite_file=suite_file, cell="x")
        assert "nms._suppress (100%" in finding.text
        assert (finding.cell, finding.suspicious) == ("x", True)

    def test_renamed_and_without_annotations_and_docstring(self, suite_file):
        text = self.SOURCE.replace('"""', '"""Other words. ', 1)
        for name in ("xyxy", "scores", "class_ids", "iou_threshold", "max_detections"):
            text = text.replace(name, f"my_{name}")
        assert copied_reference(text.replace("_suppress", "suppress"), suite_file=suite_file)

    def test_another_way_to_the_same(self, suite_file):
        own = """
def suppress(boxes, scores, threshold):
    order, kept = list(np.argsort(-scores)), []
    while order:
        best = order.pop(0)
        kept.append(best)
        order = [other for other in order if iou(boxes[best], boxes[other]) <= threshold]
    area = lambda box: max(box[2] - box[0], 0) * max(box[3] - box[1], 0)
    for one in kept:
        print(one, area(boxes[one]), scores[one] > 0.5 and "sure" or "unsure")
    return kept
"""
        assert copied_reference(own, suite_file=suite_file) == []

    @pytest.mark.parametrize("text", ["def f(:", "\0", "(" * 5000, "x = 1", "def f(): pass"])
    def test_what_is_no_program(self, suite_file, text):
        assert copied_reference(text, suite_file=suite_file) == []


def test_an_answer_is_reviewed_by_its_name(suite_file, monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOTRT_GRADING_SUITE", str(suite_file.parent.parent))
    source = TestCopies.SOURCE.replace("_suppress", "suppress")
    cells = [SimpleNamespace(id="a", source=source, answer=True), SimpleNamespace(id="b", source=source, answer=False)]
    plans = [SimpleNamespace(id="lab9.suppress", answer="suppress")]
    assert [finding.cell for finding in review(cells, plans, tmp_path)] == ["a"]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import sys\nsys._getframe(1)", ["_getframe"]),
        ("from gc import get_objects as g", ["get_objects"]),
        ("os.environ.get('YOLOTRT_CASE_SEEDS')", ["YOLOTRT_CASE_SEEDS"]),
        ("from yolotrt_lab.emulation.counters import recorder", ["yolotrt_lab.emulation.counters.recorder"]),
        ("yolotrt_lab.grading.recording.encode = 1", ["yolotrt_lab.grading.recording"]),
        ("import numpy as np\nfrom yolotrt_lab.grading import check\nframe = 1  # _getframe", []),
        ("def broken(", []),
    ],
)
def test_names_that_tell(source, names):
    found = graders_names(source)
    assert found[: len(names)] == names or set(names) & set(found) == set(names)
    assert bool(found) == bool(names)
