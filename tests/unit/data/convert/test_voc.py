import os
from pathlib import Path

import numpy as np
import pytest

from yolotrt_lab.data.convert import read_voc, write_yolo
from yolotrt_lab.data.labels import ProblemKind
from yolotrt_lab.errors import InputError


def voc_object(name, box, extra=""):
    edges = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"  <object>\n    <name>{name}</name>{extra}\n    <bndbox>{edges}</bndbox>\n  </object>\n"


@pytest.fixture
def annotate(tmp_path):
    folder = tmp_path / "Annotations"
    folder.mkdir()

    def write(stem, *objects, size=(60, 80), filename=None, raw=None):
        path = folder / f"{stem}.xml"
        stated = "" if size is None else f"  <size><width>{size[1]}</width><height>{size[0]}</height></size>\n"
        text = (
            f"<annotation>\n  <filename>{filename or stem + '.png'}</filename>\n{stated}{''.join(objects)}</annotation>"
        )
        path.write_bytes(text.encode() if raw is None else raw)
        return path

    write.folder = folder
    return write


def found(conversion):
    return [(problem.path.name, problem.line, problem.element, problem.kind) for problem in conversion.problems]


class TestSoundFiles:
    def test_boxes_are_edges_in_pixels(self, annotate, images):
        annotate("a", voc_object("nut", (10, 20, 30, 50)), voc_object("bolt", (0, 0, 80, 60)))
        annotate("b")
        conversion = read_voc(annotate.folder, images=images)
        assert conversion.class_names == ("bolt", "nut")
        first, second = conversion.images
        assert first.path == images / "a.png"
        assert first.image_hw == (60, 80)
        assert first.class_ids.tolist() == [1, 0]
        assert first.xyxy.tolist() == [[10, 20, 30, 50], [0, 0, 80, 60]]
        assert len(second.class_ids) == 0
        assert conversion.problems == ()
        assert conversion.boxes == 2

    def test_counted_from_one(self, annotate, images):
        annotate("a", voc_object("nut", (1, 1, 80, 60)), voc_object("nut", (11, 21, 30, 50)))
        conversion = read_voc(annotate.folder, images=images, one_based=True)
        assert conversion.images[0].xyxy.tolist() == [[0, 0, 80, 60], [10, 20, 30, 50]]
        assert conversion.problems == ()

    def test_it_agrees_with_supervision(self, annotate, images):
        """supervision reads boxes as the VOC devkit does: counted from 1."""
        import supervision

        rng = np.random.default_rng(0)
        for stem in ("a", "b"):
            corners = np.sort(rng.integers(1, 60, (5, 2, 2)), axis=1).reshape(5, 4)
            corners[:, 2:] += 1
            annotate(stem, *(voc_object(rng.choice(["nut", "bolt"]), box) for box in corners.tolist()))
        theirs = supervision.DetectionDataset.from_pascal_voc(str(images), str(annotate.folder))
        ours = read_voc(annotate.folder, images=images, one_based=True, class_names=theirs.classes)
        assert ours.problems == ()
        for image in ours.images:
            expected = theirs.annotations[str(image.path)]
            np.testing.assert_allclose(image.xyxy, expected.xyxy)
            assert image.class_ids.tolist() == expected.class_id.tolist()

    def test_names_fix_the_ids(self, annotate, images):
        annotate("a", voc_object("nut", (10, 20, 30, 50)), voc_object("cat", (10, 20, 30, 50)))
        conversion = read_voc(annotate.folder, images=images, class_names=("cog", "nut"))
        assert conversion.images[0].class_ids.tolist() == [1]
        assert [problem.kind for problem in conversion.problems] == [ProblemKind.CLASS_ID]
        assert "'cat' is not one of cog, nut" in conversion.problems[0].message

    def test_stems_choose_and_order(self, annotate, images):
        for stem in "abc":
            annotate(stem, size=None)
        conversion = read_voc(annotate.folder, images=images, stems=["c", "a", "nope"])
        assert [image.path.stem for image in conversion.images] == ["c", "a"]
        assert found(conversion) == [("nope.xml", None, None, ProblemKind.MISSING_LABELS)]

    @pytest.mark.parametrize("filename", ["wrong.jpg", "", "C:\\photos\\a.png", "../../etc/passwd"])
    def test_a_wrong_file_name_falls_back_to_the_annotation_s_own(self, annotate, images, filename):
        annotate("a", filename=filename or " ")
        conversion = read_voc(annotate.folder, images=images)
        assert [image.path for image in conversion.images] == [images / "a.png"]

    def test_unknown_sizes_are_measured(self, annotate, images):
        annotate("a", voc_object("nut", (10, 20, 30, 50)), size=(0, 0))
        assert read_voc(annotate.folder, images=images).images[0].image_hw == (60, 80)


class TestProblems:
    def test_bccd_s_two_defects(self, annotate, images):
        """The two broken boxes of BCCD end where they begin; the sound ones around them are kept."""
        annotate(
            "a",
            voc_object("RBC", (5, 5, 20, 20)),
            voc_object("RBC", (50, 33, 50, 33)),
            voc_object("WBC", (30, 5, 60, 50)),
        )
        annotate("b", voc_object("RBC", (18, 32, 18, 32)))
        for one_based in (False, True):
            conversion = read_voc(annotate.folder, images=images, one_based=one_based)
            assert conversion.boxes == 2
            assert found(conversion) == [
                ("a.xml", 10, "object 1", ProblemKind.ZERO_SIZE),
                ("b.xml", 6, "object 0", ProblemKind.ZERO_SIZE),
            ]
            assert "50 33 50 33" in conversion.problems[0].message
            assert len(conversion.images) == 2

    def test_the_line_is_where_the_box_stands(self, annotate, images):
        path = annotate("a", voc_object("nut", (5, 5, 20, 20)), voc_object("nut", (9, 9, 9, 30)))
        (problem,) = read_voc(annotate.folder, images=images).problems
        assert "<bndbox>" in path.read_text().splitlines()[problem.line - 1]
        assert "<xmin>9</xmin>" in path.read_text().splitlines()[problem.line - 1]

    @pytest.mark.parametrize(
        ("box", "kind", "kept"),
        [
            ((30, 20, 10, 50), ProblemKind.NEGATIVE_SIZE, None),
            ((10, 20, 10, 50), ProblemKind.ZERO_SIZE, None),
            (("nan", 20, 30, 50), ProblemKind.NOT_FINITE, None),
            ((10, 20, "inf", 50), ProblemKind.NOT_FINITE, None),
            (("ten", 20, 30, 50), ProblemKind.MALFORMED, None),
            (("", 20, 30, 50), ProblemKind.MALFORMED, None),
            ((90, 20, 99, 50), ProblemKind.OUT_OF_RANGE, None),
            ((-30, 20, -10, 50), ProblemKind.OUT_OF_RANGE, None),
            ((79.5, 20, 99, 50), ProblemKind.OUT_OF_RANGE, None),
            ((-5, 20, 30, 50), ProblemKind.OUT_OF_RANGE, [0, 20, 30, 50]),
            ((10, 20, 99, 99), ProblemKind.OUT_OF_RANGE, [10, 20, 80, 60]),
        ],
    )
    def test_broken_boxes(self, annotate, images, box, kind, kept):
        annotate("a", voc_object("nut", (1, 2, 3, 4)), voc_object("nut", box))
        conversion = read_voc(annotate.folder, images=images)
        assert [(problem.element, problem.kind) for problem in conversion.problems] == [("object 1", kind)]
        assert conversion.images[0].xyxy.tolist()[1:] == ([] if kept is None else [kept])
        assert ("cut to" if kept else "skipped") in conversion.problems[0].message

    def test_duplicates(self, annotate, images):
        annotate(
            "a",
            voc_object("nut", (1, 2, 30, 40)),
            voc_object("bolt", (1, 2, 30, 40)),
            voc_object("nut", (1, 2, 30, 40)),
        )
        conversion = read_voc(annotate.folder, images=images)
        assert conversion.boxes == 2
        assert [(p.element, p.kind) for p in conversion.problems] == [("object 2", ProblemKind.DUPLICATE)]
        assert "object 0" in conversion.problems[0].message

    def test_objects_without_name_or_box(self, annotate, images):
        annotate("a", "<object><bndbox/></object>", "<object><name>nut</name><polygon/></object>")
        conversion = read_voc(annotate.folder, images=images)
        assert [problem.kind for problem in conversion.problems] == [
            ProblemKind.MALFORMED,
            ProblemKind.UNSUPPORTED_SHAPE,
        ]

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"", "not well-formed"),
            (b"<annotation><object>", "not well-formed"),
            (b"<html></html>", "expected <annotation>"),
            (b"\xff\xfe\x00garbage", "not well-formed"),
            (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "boom">]><annotation>&b;</annotation>', "unsafe"),
        ],
    )
    def test_files_that_are_not_voc(self, annotate, images, raw, message):
        annotate("a", raw=raw)
        annotate("b", voc_object("nut", (1, 2, 30, 40)))
        conversion = read_voc(annotate.folder, images=images)
        assert [(problem.path.name, problem.kind) for problem in conversion.problems] == [
            ("a.xml", ProblemKind.MALFORMED)
        ]
        assert message in conversion.problems[0].message
        assert conversion.boxes == 1

    def test_images_that_cannot_be_used(self, annotate, images):
        annotate("a", voc_object("nut", (1, 2, 30, 40)), size=(80, 60))
        annotate("b", voc_object("nut", (1, 2, 30, 40)))
        (images / "b.png").write_bytes(b"no image")
        annotate("z", voc_object("nut", (1, 2, 30, 40)))
        conversion = read_voc(annotate.folder, images=images)
        assert conversion.images == ()
        assert [(problem.path.name, problem.kind) for problem in conversion.problems] == [
            ("a.xml", ProblemKind.SIZE_MISMATCH),
            ("b.xml", ProblemKind.UNREADABLE_IMAGE),
            ("z.xml", ProblemKind.MISSING_IMAGE),
        ]
        assert "60 x 80" in conversion.problems[0].message
        assert "80 x 60" in conversion.problems[0].message

    def test_missing_folders(self, annotate, images, tmp_path):
        with pytest.raises(InputError, match="No such folder of VOC annotations"):
            read_voc(tmp_path / "nope", images=images)
        with pytest.raises(InputError, match="No such folder of images"):
            read_voc(annotate.folder, images=tmp_path / "nope")
        with pytest.raises(InputError, match="No VOC annotations"):
            read_voc(annotate.folder, images=images)


@pytest.mark.bccd
class TestRealBccd:
    @pytest.fixture
    def bccd(self):
        mirror = os.environ.get("YOLOTRT_DATA_MIRROR", "")
        folder = Path(mirror) / "BCCD"
        if not mirror or not folder.is_dir():
            pytest.skip("needs the real BCCD images: set YOLOTRT_DATA_MIRROR to a folder that holds BCCD/")
        return folder

    def test_its_two_broken_boxes_are_found(self, bccd):
        conversion = read_voc(bccd / "Annotations", images=bccd / "JPEGImages", class_names=("RBC", "WBC", "Platelets"))
        assert [(p.path.name, p.line, p.element, p.kind) for p in conversion.problems] == [
            ("BloodImage_00338.xml", 163, "object 12", ProblemKind.ZERO_SIZE),
            ("BloodImage_00343.xml", 55, "object 3", ProblemKind.ZERO_SIZE),
        ]
        assert len(conversion.images) == 364
        counts = np.bincount(np.concatenate([image.class_ids for image in conversion.images]))
        assert counts.tolist() == [4153, 372, 361]

    def test_it_agrees_with_supervision(self, bccd):
        import supervision

        names = ["RBC", "WBC", "Platelets"]
        theirs = supervision.DetectionDataset.from_pascal_voc(str(bccd / "JPEGImages"), str(bccd / "Annotations"))
        ours = read_voc(bccd / "Annotations", images=bccd / "JPEGImages", class_names=names, one_based=True)
        for image in ours.images:
            expected = theirs.annotations[str(image.path)]
            sound = (expected.xyxy[:, 2:] - expected.xyxy[:, :2] > 1).all(axis=1)
            np.testing.assert_allclose(image.xyxy, expected.xyxy[sound])
            assert [names[k] for k in image.class_ids] == [theirs.classes[k] for k in expected.class_id[sound]]


def test_what_is_written_is_read_back(annotate, images, tmp_path):
    annotate("a", voc_object("nut", (10, 20, 30, 50)), voc_object("bolt", (0, 0, 80, 60)))
    annotate("b")
    conversion = read_voc(annotate.folder, images=images)
    dataset = write_yolo({"train": conversion.images}, tmp_path / "yolo", class_names=conversion.class_names)
    assert dataset.class_names == ("bolt", "nut")
    assert [path.name for path in dataset.splits["train"]] == ["a.png", "b.png"]
    assert dataset.labels_path(dataset.splits["train"][0]).read_text().splitlines() == [
        "1 0.250000 0.583333 0.250000 0.500000",
        "0 0.500000 0.500000 1.000000 1.000000",
    ]
    assert dataset.labels_path(dataset.splits["train"][1]).read_text() == ""
