import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolotrt_lab.data.convert import read_coco
from yolotrt_lab.data.labels import ProblemKind
from yolotrt_lab.errors import InputError


def image(number, name, height=60, width=80):
    return {"id": number, "file_name": name, "height": height, "width": width}


def annotation(image_id, category_id, bbox, **extra):
    return {"id": 0, "image_id": image_id, "category_id": category_id, "bbox": bbox, **extra}


CATEGORIES = [{"id": 7, "name": "nut"}, {"id": 3, "name": "bolt"}]


@pytest.fixture
def convert(tmp_path, images):
    def run(annotations, *, images_list=None, categories=None, **options):
        content = {
            "images": [image(1, "a.png"), image(2, "b.png")] if images_list is None else images_list,
            "annotations": annotations,
            "categories": CATEGORIES if categories is None else categories,
        }
        (tmp_path / "coco.json").write_text(json.dumps(content))
        return read_coco(tmp_path / "coco.json", images=images, **options)

    return run


def found(conversion):
    return [(problem.element, problem.kind) for problem in conversion.problems]


class TestSoundFiles:
    def test_boxes(self, convert, images):
        conversion = convert([annotation(1, 7, [10, 20, 5, 6.5]), annotation(1, 3, [0, 0, 80, 60])])
        assert conversion.class_names == ("bolt", "nut")
        assert conversion.images[0].path == images / "a.png"
        assert conversion.images[0].xyxy.tolist() == [[10, 20, 15, 26.5], [0, 0, 80, 60]]
        assert conversion.images[0].class_ids.tolist() == [1, 0]
        assert len(conversion.images[1].class_ids) == 0
        assert conversion.problems == ()

    def test_it_agrees_with_pycocotools_and_supervision(self, convert, images, tmp_path):
        import supervision
        from pycocotools.coco import COCO

        rng = np.random.default_rng(0)
        boxes = [[*rng.integers(0, 30, 2).tolist(), *rng.integers(2, 28, 2).tolist()] for _ in range(8)]
        rows = [
            annotation(1 + k % 2, (7, 3)[k % 3 % 2], box, area=1, iscrowd=0) | {"id": k + 1}
            for k, box in enumerate(boxes)
        ]
        ours = convert(rows)
        reference = COCO(str(tmp_path / "coco.json"))
        theirs = supervision.DetectionDataset.from_coco(str(images), str(tmp_path / "coco.json"))
        for number, item in enumerate(ours.images, start=1):
            expected = reference.loadAnns(reference.getAnnIds(imgIds=[number]))
            xywh = np.array([row["bbox"] for row in expected], float)
            np.testing.assert_allclose(item.xyxy, np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]))
            names = [reference.loadCats(row["category_id"])[0]["name"] for row in expected]
            assert [ours.class_names[k] for k in item.class_ids] == names
            np.testing.assert_allclose(theirs.annotations[str(item.path)].xyxy, item.xyxy)

    def test_folders_in_names(self, convert, images):
        (images / "sub").mkdir()
        (images / "a.png").rename(images / "sub/a.png")
        conversion = convert([], images_list=[image(1, "sub/a.png"), image(2, "elsewhere/b.png")])
        assert [item.path for item in conversion.images] == [images / "sub/a.png", images / "b.png"]

    def test_given_names(self, convert):
        conversion = convert([annotation(1, 7, [1, 1, 9, 9]), annotation(1, 3, [1, 1, 9, 9])], class_names=["x", "nut"])
        assert conversion.class_names == ("x", "nut")
        assert conversion.images[0].class_ids.tolist() == [1]
        assert found(conversion) == [("annotations[1]", ProblemKind.CLASS_ID)]


class TestProblems:
    @pytest.mark.parametrize(
        ("row", "kind"),
        [
            (annotation(1, 7, [10, 20, 0, 5]), ProblemKind.ZERO_SIZE),
            (annotation(1, 7, [10, 20, -4, 5]), ProblemKind.NEGATIVE_SIZE),
            (annotation(1, 7, [10, 20, math.nan, 5]), ProblemKind.NOT_FINITE),
            (annotation(1, 7, [10, 20, 10**400, 5]), ProblemKind.NOT_FINITE),
            (annotation(1, 7, [100, 20, 5, 5]), ProblemKind.OUT_OF_RANGE),
            (annotation(1, 7, [10, 20, 5]), ProblemKind.MALFORMED),
            (annotation(1, 7, [10, 20, "5", 5]), ProblemKind.MALFORMED),
            (annotation(1, 7, [10, 20, True, 5]), ProblemKind.MALFORMED),
            (annotation(1, 7, {"x": 1}), ProblemKind.MALFORMED),
            (annotation(1, 7, []), ProblemKind.UNSUPPORTED_SHAPE),
            ({"image_id": 1, "category_id": 7, "segmentation": [[0, 0, 5, 5]]}, ProblemKind.UNSUPPORTED_SHAPE),
            (annotation(1, 7, [1, 1, 5, 5], iscrowd=1), ProblemKind.UNSUPPORTED_SHAPE),
            (annotation(9, 7, [1, 1, 5, 5]), ProblemKind.MISSING_IMAGE),
            (annotation(1, 9, [1, 1, 5, 5]), ProblemKind.CLASS_ID),
            (annotation(None, 7, [1, 1, 5, 5]), ProblemKind.MALFORMED),
            (annotation([1], 7, [1, 1, 5, 5]), ProblemKind.MALFORMED),
            ("text", ProblemKind.MALFORMED),
            (annotation(1, 3, [2, 3, 4, 5]), ProblemKind.DUPLICATE),
        ],
    )
    def test_annotations(self, convert, row, kind):
        conversion = convert([annotation(1, 3, [2, 3, 4, 5]), row])
        assert found(conversion) == [("annotations[1]", kind)]
        assert conversion.boxes == 1
        assert "skipped" in conversion.problems[0].message

    def test_a_box_that_leaves_the_image_is_cut(self, convert):
        conversion = convert([annotation(1, 3, [70, 50, 40, 40])])
        assert found(conversion) == [("annotations[0]", ProblemKind.OUT_OF_RANGE)]
        assert conversion.images[0].xyxy.tolist() == [[70, 50, 80, 60]]

    @pytest.mark.parametrize(
        ("entry", "kind"),
        [
            (image(5, "none.png"), ProblemKind.MISSING_IMAGE),
            (image(5, "../coco.json"), ProblemKind.MISSING_IMAGE),
            (image(5, ""), ProblemKind.MISSING_IMAGE),
            (image(5, "c.png"), ProblemKind.SIZE_MISMATCH),
            (image(1, "b.png"), ProblemKind.DUPLICATE),
            ({"id": 5}, ProblemKind.MALFORMED),
            (17, ProblemKind.MALFORMED),
        ],
    )
    def test_images(self, convert, entry, kind):
        conversion = convert(
            [annotation(5, 7, [1, 1, 5, 5])] if kind in CAUSED_BY_IMAGE else [], images_list=[image(1, "a.png"), entry]
        )
        assert found(conversion) == [("images[1]", kind)]
        assert len(conversion.images) == 1

    @pytest.mark.parametrize(
        ("categories", "kind"),
        [
            ([{"id": 1}], ProblemKind.MALFORMED),
            ([{"id": 7, "name": "x"}, {"id": 7, "name": "y"}], ProblemKind.DUPLICATE),
        ],
    )
    def test_categories(self, convert, categories, kind):
        assert [problem.kind for problem in convert([], categories=categories).problems] == [kind]

    @pytest.mark.parametrize("content", ["[]", "{}", '{"images": [], "annotations": 3, "categories": []}', "7"])
    def test_not_coco(self, tmp_path, images, content):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(InputError, match="not a COCO detection file"):
            read_coco(tmp_path / "x.json", images=images)

    @pytest.mark.parametrize(
        ("content", "message"), [("{", "not valid JSON"), ("", "is empty"), (None, "No such file")]
    )
    def test_not_json(self, tmp_path, images, content, message):
        if content is not None:
            (tmp_path / "x.json").write_text(content)
        with pytest.raises(InputError, match=message):
            read_coco(tmp_path / "x.json", images=images)

    def test_no_images_folder(self, convert, tmp_path):
        convert([])
        with pytest.raises(InputError, match="No such folder of images"):
            read_coco(tmp_path / "coco.json", images=tmp_path / "nope")


# An annotation of an image that could not be used is no second problem.
CAUSED_BY_IMAGE = {ProblemKind.MISSING_IMAGE, ProblemKind.SIZE_MISMATCH}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.floats(0, 70), st.floats(0, 50), st.floats(0.01, 10), st.floats(0.01, 10)),
        max_size=6,
        unique=True,
    )
)
def test_sound_boxes_come_through_unchanged(convert, rows):
    conversion = convert([annotation(1, (3, 7)[k], list(box)) for k, *box in rows])
    assert conversion.problems == ()
    expected = [[x, y, x + w, y + h] for _, x, y, w, h in rows]
    np.testing.assert_allclose(conversion.images[0].xyxy, np.array(expected).reshape(-1, 4))
    back = conversion.images[0].yolo_labels().xyxy((60, 80))
    np.testing.assert_allclose(back, conversion.images[0].xyxy, atol=1e-9)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 100) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "bbox", "name"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries({"image_id": anything, "category_id": anything, "bbox": anything}) | anything, max_size=4
    )
)
def test_any_json_is_converted_or_reported(convert, rows):
    conversion = convert(rows)
    assert conversion.boxes + len(conversion.problems) >= len(rows)
