import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolotrt_lab.data.labels import (
    LabeledImage,
    LabelProblem,
    ProblemKind,
    YoloLabels,
    parse_labels,
    problem_summary,
    read_labeled_image,
    read_labels,
    write_labels,
)
from yolotrt_lab.errors import InputError


@pytest.fixture
def write(tmp_path):
    def save(content: str | bytes) -> Path:
        path = tmp_path / "a.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return save


def kinds(path, num_classes=3):
    return [(problem.line, problem.kind) for problem in parse_labels(path, num_classes=num_classes)[1]]


class TestReadLabels:
    @pytest.mark.parametrize("content", ["", "\n", "  \n\t\n", b"\xef\xbb\xbf"])
    def test_an_empty_file_is_an_image_without_objects(self, write, content):
        labels = read_labels(write(content), num_classes=3)
        assert len(labels) == 0
        assert labels.cxcywh.shape == (0, 4)
        assert labels.xyxy((10, 10)).shape == (0, 4)

    def test_no_file_is_an_image_without_objects(self, tmp_path):
        assert len(read_labels(tmp_path / "none.txt", num_classes=3)) == 0

    @pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", ""])
    def test_rows(self, write, ending):
        path = write(f"0 0.5 0.5 0.2 0.4{ending or chr(10)}2\t0.25  0.75 0.1 0.1{ending}")
        labels = read_labels(path, num_classes=3)
        assert labels.class_ids.tolist() == [0, 2]
        np.testing.assert_allclose(labels.xyxy((100, 200)), [[80, 30, 120, 70], [40, 70, 60, 80]])

    def test_a_whole_number_written_as_a_float(self, write):
        assert read_labels(write("1.0 0.5 0.5 0.1 0.1"), num_classes=2).class_ids.tolist() == [1]

    @pytest.mark.parametrize(
        ("row", "kind"),
        [
            ("0 0.5 0.5 0.1", ProblemKind.FIELD_COUNT),
            ("0 0.5 0.5 0.1 0.1 0.9", ProblemKind.FIELD_COUNT),
            ("0 0.1 0.1 0.2 0.1 0.2 0.2", ProblemKind.FIELD_COUNT),
            ("hello", ProblemKind.FIELD_COUNT),
            ("bolt 0.5 0.5 0.1 0.1", ProblemKind.CLASS_ID),
            ("1.5 0.5 0.5 0.1 0.1", ProblemKind.CLASS_ID),
            ("nan 0.5 0.5 0.1 0.1", ProblemKind.CLASS_ID),
            ("1e400 0.5 0.5 0.1 0.1", ProblemKind.CLASS_ID),
            ("-1 0.5 0.5 0.1 0.1", ProblemKind.CLASS_ID),
            ("3 0.5 0.5 0.1 0.1", ProblemKind.CLASS_ID),
            ("0 0,5 0.5 0.1 0.1", ProblemKind.MALFORMED),
            ("0 0.5 x 0.1 0.1", ProblemKind.MALFORMED),
            ("0 nan 0.5 0.1 0.1", ProblemKind.NOT_FINITE),
            ("0 0.5 0.5 inf 0.1", ProblemKind.NOT_FINITE),
            ("0 0.5 0.5 -0.1 0.1", ProblemKind.NEGATIVE_SIZE),
            ("0 0.5 0.5 0 0.1", ProblemKind.ZERO_SIZE),
            ("0 0.5 0.5 0.1 0.0", ProblemKind.ZERO_SIZE),
            ("0 1.2 0.5 0.1 0.1", ProblemKind.OUT_OF_RANGE),
            ("0 0.02 0.5 0.1 0.1", ProblemKind.OUT_OF_RANGE),
            ("0 0.5 0.98 0.1 0.1", ProblemKind.OUT_OF_RANGE),
            ("0 320 240 64 48", ProblemKind.OUT_OF_RANGE),
        ],
    )
    def test_each_problem(self, write, row, kind):
        path = write(f"0 0.5 0.5 0.1 0.1\n{row}\n")
        assert kinds(path) == [(2, kind)]
        with pytest.raises(InputError) as error:
            read_labels(path, num_classes=3)
        assert f"a.txt:2: {kind}" in error.value.got
        assert "validate" in error.value.fix

    @pytest.mark.parametrize("row", ["0 0.05 0.5 0.1 1.0", "0 0.5 0.5 1 1", "0 0.0495 0.5 0.1 0.1"])
    def test_boxes_at_the_border_are_fine(self, write, row):
        """The last one overhangs by half a thousandth: rounding, not a mistake."""
        assert kinds(write(row)) == []

    def test_bytes_that_are_not_utf8(self, write):
        path = write(b"0 0.5 0.5 0.1 0.1\n\xff\xfe0 0.5\n1 0.2 0.2 0.1 0.1")
        labels, problems = parse_labels(path, num_classes=3)
        assert labels.class_ids.tolist() == [0, 1]
        assert [(problem.line, problem.kind) for problem in problems] == [(2, ProblemKind.ENCODING)]
        assert "0xff" in problems[0].message

    def test_duplicates_name_the_first(self, write):
        labels, problems = parse_labels(
            write("0 0.5 0.5 0.1 0.1\n\n0 0.50 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1"), num_classes=2
        )
        assert labels.class_ids.tolist() == [0, 1]
        assert [(problem.line, problem.kind) for problem in problems] == [(3, ProblemKind.DUPLICATE)]
        assert "line 1" in problems[0].message

    def test_all_problems_are_found_and_the_sound_rows_kept(self, write):
        path = write("x\n0 0.5 0.5 0.1 0.1\n9 0.5 0.5 0.1 0.1\n0 0.5 0.5 0 0\n0 2 2 1 1\n")
        labels, problems = parse_labels(path, num_classes=3)
        assert len(labels) == 1
        assert [problem.line for problem in problems] == [1, 3, 4, 5]
        with pytest.raises(InputError, match="4 problem") as error:
            read_labels(path, num_classes=3)
        assert "and 1 more" in error.value.got

    def test_hints(self, write):
        _, (polygon, pixels) = parse_labels(write("0 .1 .1 .2 .1 .2 .2\n0 320 240 64 48"), num_classes=1)
        assert "polygon" in polygon.message
        assert "pixels" in pixels.message

    def test_a_folder_in_the_file_s_place(self, tmp_path):
        (tmp_path / "a.txt").mkdir()
        assert kinds(tmp_path / "a.txt") == [(None, ProblemKind.UNREADABLE_LABELS)]
        with pytest.raises(InputError):
            read_labels(tmp_path / "a.txt", num_classes=1)


class TestWriteLabels:
    def test_text(self, tmp_path):
        write_labels(tmp_path / "new/a.txt", YoloLabels.from_rows([2], [(0.5, 0.25, 1 / 3, 0.1)]))
        assert (tmp_path / "new/a.txt").read_text() == "2 0.500000 0.250000 0.333333 0.100000\n"

    def test_none(self, tmp_path):
        write_labels(tmp_path / "a.txt", YoloLabels.from_rows([], []))
        assert (tmp_path / "a.txt").read_bytes() == b""

    @pytest.mark.parametrize(
        ("class_id", "box"),
        [
            (-1, (0.5, 0.5, 0.1, 0.1)),
            (0, (math.nan, 0.5, 0.1, 0.1)),
            (0, (0.5, 0.5, 1e-9, 0.1)),
            (0, (0.5, 0.5, 0.1, -0.1)),
            (0, (1.5, 0.5, 0.1, 0.1)),
        ],
    )
    def test_what_could_not_be_read_back_is_refused(self, tmp_path, class_id, box):
        with pytest.raises(InputError, match="object 1 is broken"):
            write_labels(tmp_path / "a.txt", YoloLabels.from_rows([0, class_id], [(0.5, 0.5, 0.2, 0.2), box]))
        assert list(tmp_path.iterdir()) == []


@st.composite
def label_rows(draw):
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        width, height = draw(st.floats(1e-5, 1)), draw(st.floats(1e-5, 1))
        cx = draw(st.floats(width / 2, 1 - width / 2))
        cy = draw(st.floats(height / 2, 1 - height / 2))
        rows.append((draw(st.integers(0, 99)), (cx, cy, width, height)))
    unique = {(class_id, tuple(round(value, 6) for value in box)): (class_id, box) for class_id, box in rows}
    return list(unique.values())


@settings(max_examples=80, deadline=None)
@given(label_rows())
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("labels") / "a.txt"
    labels = YoloLabels.from_rows([row[0] for row in rows], [row[1] for row in rows])
    write_labels(path, labels)
    back = read_labels(path, num_classes=100)
    assert back.class_ids.tolist() == labels.class_ids.tolist()
    np.testing.assert_allclose(back.cxcywh, labels.cxcywh, atol=5.1e-7)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_reported(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("labels") / "a.txt"
    path.write_bytes(content)
    labels, problems = parse_labels(path, num_classes=3)
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    assert len(labels) + len(problems) <= len(lines)
    assert all(problem.line is not None and 1 <= problem.line <= len(lines) for problem in problems)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5),
)
def test_pixels_and_shares_are_inverse(image_hw, corners):
    scale = np.array([image_hw[1], image_hw[0]] * 2)
    xyxy = np.array([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners]).reshape(-1, 4) * scale
    image = LabeledImage(Path("a.jpg"), image_hw, np.zeros(len(xyxy), np.int64), xyxy)
    np.testing.assert_allclose(image.yolo_labels().xyxy(image_hw), xyxy, atol=1e-9 * max(image_hw))


def test_problems_print_their_place():
    path = Path("labels/a.txt")
    problem = LabelProblem(path, 3, ProblemKind.ZERO_SIZE, "covers nothing")
    assert str(problem) == "labels/a.txt:3: zero-size: covers nothing"
    problem = LabelProblem(path, None, ProblemKind.MALFORMED, "no id", "images[2]")
    assert str(problem) == "labels/a.txt: images[2]: malformed: no id"


def test_summary_counts_by_kind():
    problems = [LabelProblem(Path("a"), 1, kind, "") for kind in ("zero-size", "encoding", "zero-size")]
    assert problem_summary(problems) == {"zero-size": 2, "encoding": 1}
    assert problem_summary([]) == {}


def test_one_image_in_pixels(dataset_root):
    image = read_labeled_image(dataset_root / "images/train/train1.png", num_classes=2)
    assert image.image_hw == (48, 64)
    assert image.class_ids.tolist() == [1, 1]
    np.testing.assert_allclose(image.xyxy, [[24, 12, 40, 36], [12, 9, 20, 15]])
