import numpy as np
import pytest

from yolotrt_lab.data.convert import Conversion, write_yolo
from yolotrt_lab.data.convert.conversion import BoxCollector
from yolotrt_lab.data.labels import LabeledImage, LabelProblem, ProblemKind
from yolotrt_lab.errors import InputError, OutputError


def labeled(path, *boxes):
    return LabeledImage(path, (60, 80), np.zeros(len(boxes), np.int64), np.array(boxes, float).reshape(-1, 4))


class TestBoxCollector:
    @pytest.mark.parametrize(
        ("box", "kept"),
        [
            ((0, 0, 80, 60), [0, 0, 80, 60]),
            ((-1e-9, 0, 80, 60), [0, 0, 80, 60]),
            ((10, 10, 10.5, 10.5), [10, 10, 10.5, 10.5]),
            ((79.4, 10, 79.9, 20), [79.4, 10, 79.9, 20]),
            ((79.6, 10, 80.1, 20), None),
            ((10, 10, 10.00001, 20), None),
        ],
    )
    def test_small_and_touching_boxes(self, tmp_path, box, kept):
        problems = []
        collector = BoxCollector(tmp_path, image_hw=(60, 80), problems=problems)
        collector.add(0, box, source=tmp_path, line=1)
        assert collector.labeled_image().xyxy.tolist() == ([] if kept is None else [kept])
        assert bool(problems) == (kept is None)


class TestWriteYolo:
    def test_pixels_are_the_same_bytes(self, images, tmp_path):
        dataset = write_yolo(
            {"train": [labeled(images / "a.png")], "val": [labeled(images / "b.png", (0, 0, 8, 6))], "test": []},
            tmp_path / "out",
            class_names=["nut"],
        )
        assert list(dataset.splits) == ["train", "val"]
        assert dataset.splits["train"][0].read_bytes() == (images / "a.png").read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out"]

    def test_images_from_a_link_are_not_linked_themselves(self, images, tmp_path):
        (images / "link.png").symlink_to(images / "a.png")
        dataset = write_yolo({"val": [labeled(images / "link.png")]}, tmp_path / "out", class_names=["nut"])
        assert not dataset.splits["val"][0].is_symlink()

    def test_a_place_in_use(self, images, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine").write_text("x")
        with pytest.raises(InputError, match="in use"):
            write_yolo({"train": [labeled(images / "a.png")]}, tmp_path / "out", class_names=["nut"])
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]

    def test_no_images(self, tmp_path):
        with pytest.raises(InputError, match="no images"):
            write_yolo({"train": []}, tmp_path / "out", class_names=["nut"])

    def test_names_that_clash(self, images, tmp_path):
        (images / "sub").mkdir()
        (images / "sub/a.jpg").write_bytes((images / "b.png").read_bytes())
        with pytest.raises(InputError, match="same name"):
            write_yolo(
                {"train": [labeled(images / "a.png"), labeled(images / "sub/a.jpg")]},
                tmp_path / "out",
                class_names=["n"],
            )
        assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]

    def test_a_broken_box_leaves_nothing_behind(self, images, tmp_path):
        with pytest.raises(InputError, match="broken"):
            write_yolo({"train": [labeled(images / "a.png", (0, 0, 0, 0))]}, tmp_path / "out", class_names=["n"])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]

    def test_a_file_in_the_way(self, images, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="Cannot write"):
            write_yolo({"train": [labeled(images / "a.png")]}, tmp_path / "file/out", class_names=["n"])


def test_counts(images, tmp_path):
    problem = LabelProblem(tmp_path, 1, ProblemKind.ZERO_SIZE, "x")
    conversion = Conversion((labeled(images / "a.png", (0, 0, 8, 6)), labeled(images / "b.png")), ("n",), (problem,))
    assert conversion.boxes == 1
    assert conversion.by_kind() == {"zero-size": 1}
