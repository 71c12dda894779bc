import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from yolotrt_lab.data.colours import class_colours
from yolotrt_lab.data.contact_sheet import annotate_image, contact_sheet, dataset_sheet
from yolotrt_lab.data.datasets import load_dataset
from yolotrt_lab.data.labels import LabeledImage
from yolotrt_lab.errors import InputError

NAMES = ("nut", "bolt")


def has_colour(image, class_id):
    blue_green_red = class_colours(len(NAMES))[class_id][::-1]
    return (np.abs(image.astype(int) - blue_green_red) <= 3).all(axis=2)


def annotated(boxes, ids, *, shape=(100, 200, 3), scale=1.0):
    image = np.full(shape, 255, np.uint8)
    return annotate_image(
        image, xyxy=np.array(boxes, float).reshape(-1, 4), class_ids=ids, class_names=NAMES, scale=scale
    )


class TestAnnotateImage:
    def test_the_box_is_where_it_should_be(self):
        image = annotated([[50, 40, 150, 90]], [0])
        where = has_colour(image, 0)
        assert where[65, 50]
        assert where[65, 149]
        assert where[89, 100]
        assert not where[65, 100]
        assert not where[65, 30]

    def test_colours_follow_the_class(self):
        image = annotated([[10, 40, 60, 90], [120, 40, 170, 90]], [0, 1])
        assert has_colour(image, 0)[:, :90].any()
        assert not has_colour(image, 0)[:, 90:].any()
        assert has_colour(image, 1)[:, 90:].any()

    @pytest.mark.parametrize("box", [[0, 0, 40, 30], [150, 0, 200, 40], [190, 2, 200, 99], [-5, -5, 30, 30]])
    def test_names_stay_inside_at_the_border(self, box):
        """At the upper border the name's patch moves into the box; at the right one, to the left."""
        free = has_colour(annotated([[90, 50, 92, 52]], [1]), 1).sum()  # hardly more than the name's patch
        assert has_colour(annotated([box], [1]), 1).sum() >= free
        assert free > 150

    def test_a_name_at_the_right_border_moves_to_the_left(self):
        where = has_colour(annotated([[194, 40, 199, 90]], [1]), 1)
        assert where[28:38, 176:190].mean() > 0.3
        assert not where[:, :160].any()

    def test_scale_comes_before_drawing(self):
        small, large = annotated([[50, 40, 150, 90]], [0], scale=0.5), annotated([[50, 40, 150, 90]], [0], scale=3)
        assert small.shape == (50, 100, 3)
        assert large.shape == (300, 600, 3)
        assert has_colour(small, 0)[32, 25]
        assert has_colour(large, 0)[200, 150]
        assert not has_colour(large, 0)[200, 154]

    def test_no_objects_and_the_input_is_untouched(self):
        image = np.full((50, 60, 3), 7, np.uint8)
        result = annotate_image(image, xyxy=np.zeros((0, 4)), class_ids=np.zeros(0, int), class_names=NAMES)
        assert (result == 7).all()
        annotate_image(image, xyxy=np.array([[1, 1, 40, 40]]), class_ids=np.array([0]), class_names=NAMES)
        assert (image == 7).all()

    def test_names_beyond_ascii_do_not_fail(self):
        image = np.zeros((50, 60, 3), np.uint8)
        result = annotate_image(image, xyxy=np.array([[1, 20, 40, 40]]), class_ids=[0], class_names=["größe 螺母"])
        assert result.any()


class TestContactSheet:
    @pytest.fixture
    def items(self, tmp_path, draw):
        box, ids = np.array([[5.0, 5, 30, 30]]), np.array([1])
        return [LabeledImage(draw(tmp_path / f"{k}.png", seed=k), (48, 64), ids, box) for k in range(5)]

    @pytest.mark.parametrize(("columns", "rows"), [(1, 5), (2, 3), (5, 1), (9, 1)])
    def test_the_grid(self, items, columns, rows):
        sheet = contact_sheet(items, class_names=NAMES, columns=columns, cell_px=128)
        columns = min(columns, 5)
        assert sheet.shape == (rows * (96 + 24 + 8) + 8, columns * (128 + 8) + 8, 3)

    def test_the_pictures_are_on_it(self, items):
        sheet = contact_sheet(items, class_names=NAMES, columns=5, cell_px=64)
        for index, item in enumerate(items):
            cell = sheet[8 : 8 + 48, 8 + index * 72 : 72 + index * 72]
            difference = np.abs(cell.astype(int) - cv2.imread(str(item.path)))
            assert np.median(difference) == 0

    def test_mixed_sizes(self, items, tmp_path, draw):
        tall = LabeledImage(
            draw(tmp_path / "tall.png", image_hw=(90, 30)), (90, 30), np.zeros(0, int), np.zeros((0, 4))
        )
        sheet = contact_sheet([items[0], tall], class_names=NAMES, columns=2, cell_px=100)
        assert sheet.shape == (100 + 24 + 16, 2 * 108 + 8, 3)

    def test_one(self, items):
        assert contact_sheet(items[:1], class_names=NAMES).shape[1] == 416

    @pytest.mark.parametrize("options", [{"columns": 0}, {"cell_px": 10}, {"cell_px": 9999}])
    def test_impossible(self, items, options):
        with pytest.raises(InputError, match="contact sheet"):
            contact_sheet(items, class_names=NAMES, **options)
        with pytest.raises(InputError, match="contact sheet"):
            contact_sheet([], class_names=NAMES)

    def test_a_name_that_is_not_utf8(self, items, tmp_path):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
        try:
            path.write_bytes(items[0].path.read_bytes())
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        item = LabeledImage(path, (48, 64), items[0].class_ids, items[0].xyxy)
        assert contact_sheet([item], class_names=NAMES).any()


class TestDatasetSheet:
    def test_the_seed_chooses(self, dataset_root):
        dataset = load_dataset(dataset_root)
        first, again, other = (
            dataset_sheet(dataset, split="train", count=2, seed=seed, columns=2, cell_px=64) for seed in (0, 0, 1)
        )
        assert (first == again).all()
        assert (first != other).any()

    def test_more_than_there_are(self, dataset_root):
        assert dataset_sheet(load_dataset(dataset_root), split="val", count=50, cell_px=64).shape[1] == 2 * 72 + 8

    def test_an_unknown_split(self, dataset_root):
        with pytest.raises(InputError, match="'test'"):
            dataset_sheet(load_dataset(dataset_root), split="test")


def test_twelve_different_colours():
    assert len(set(class_colours(12))) == 12
    assert class_colours(14)[12:] == class_colours(2)
    assert class_colours(0) == ()
