from pathlib import Path

import pytest
import yaml

from yolotrt_lab.data.datasets import Dataset, labels_path, load_dataset, prepare_dataset, write_data_yaml
from yolotrt_lab.errors import InputError


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("set/images/train/a.jpg", "set/labels/train/a.txt"),
        ("images/images/a.b.png", "images/labels/a.b.txt"),
        ("photos/a.jpg", "photos/a.txt"),
        ("set/images", "set/images.txt"),
        ("/images/x/images.jpg", "/labels/x/images.txt"),
    ],
)
def test_labels_path(image, labels):
    assert labels_path(Path(image)) == Path(labels)


class TestLoadDataset:
    @pytest.mark.parametrize("place", ["", "data.yaml"])
    def test_folders(self, dataset_root, place):
        dataset = load_dataset(dataset_root / place)
        assert dataset.name == "set"
        assert dataset.class_names == ("nut", "bolt")
        assert [path.name for path in dataset.splits["train"]] == [f"train{k}.png" for k in range(4)]
        assert list(dataset.splits) == ["train", "val"]
        assert dataset.data_yaml == dataset_root / "data.yaml"
        assert dataset.labels_path(dataset.splits["val"][0]).read_text()

    @pytest.mark.slow
    def test_it_agrees_with_ultralytics(self, dataset_root, monkeypatch):
        monkeypatch.setenv("YOLO_OFFLINE", "True")
        monkeypatch.setenv("YOLO_AUTOINSTALL", "False")
        from ultralytics.data.utils import check_det_dataset, img2label_paths

        dataset = load_dataset(dataset_root)
        theirs = check_det_dataset(str(dataset.data_yaml), autodownload=False)
        assert Path(theirs["train"]).samefile(dataset.splits["train"][0].parent)
        assert list(theirs["names"].values()) == list(dataset.class_names)
        images = list(dataset.splits["train"])
        assert img2label_paths([str(path) for path in images]) == [str(labels_path(path)) for path in images]

    def test_names_as_a_mapping_in_any_order(self, dataset_root):
        (dataset_root / "data.yaml").write_text("train: images/train\nnames: {1: b, 0: a}\n")
        assert load_dataset(dataset_root).class_names == ("a", "b")

    def test_lists_and_text_files(self, dataset_root):
        (dataset_root / "list.txt").write_text("images/train/train0.png\n\nimages/val/val1.png\n")
        (dataset_root / "data.yaml").write_text("train: [list.txt, images/val]\nnames: [a, b]\n")
        names = [path.name for path in load_dataset(dataset_root).splits["train"]]
        assert names == ["train0.png", "val1.png", "val0.png", "val1.png"]

    def test_a_path_entry(self, dataset_root, tmp_path):
        for given in (str(dataset_root), "set"):
            (tmp_path / "other.yaml").write_text(yaml.safe_dump({"path": given, "val": "images/val", "names": ["a"]}))
            dataset = load_dataset(tmp_path / "other.yaml")
            assert len(dataset.splits["val"]) == 2
            assert dataset.data_yaml == tmp_path / "other.yaml"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("train: images/train\nnames: []", "names no classes"),
            ("train: images/train", "names no classes"),
            ("train: images/train\nnames: {0: a, 2: b}", "numbers its classes with gaps"),
            ("train: images/train\nnames: [a]\nnc: 2", "contradicts itself"),
            ("train: nowhere\nnames: [a]", "are not there"),
            ("train: 7\nnames: [a]", "is not a path"),
            ("names: [a]", "leads to no images"),
            ("- a\n- b", "describes no data set"),
            ("a: [", "not valid YAML"),
            (b"\xff\xfe\xff", "not valid YAML"),
            ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ],
    )
    def test_broken(self, dataset_root, content, message):
        (dataset_root / "data.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError, match=message):
            load_dataset(dataset_root)

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="No such file"):
            load_dataset(tmp_path)


def test_an_unknown_split_names_the_others(dataset_root):
    dataset = load_dataset(dataset_root)
    assert len(dataset.images("val")) == 2
    with pytest.raises(InputError, match="'test'") as error:
        dataset.images("test")
    assert error.value.expected == "one of train, val"


def test_data_yaml_round_trip(tmp_path):
    (tmp_path / "images/val").mkdir(parents=True)
    (tmp_path / "images/val/a.png").write_bytes(b"x")
    path = write_data_yaml(tmp_path, class_names=["größe: 1", "no", "- x"], splits=["val"])
    assert load_dataset(path).class_names == ("größe: 1", "no", "- x")


def test_the_default_place_of_data_yaml():
    assert Dataset("a", Path("x"), ("b",), {}).data_yaml == Path("x/data.yaml")


class TestPrepareDataset:
    def test_parts(self, tmp_path):
        seen = []
        arguments = {"root": tmp_path, "counts": {"train": 2, "val": 1}, "image_hw": (96, 128)}
        dataset = prepare_dataset("parts", **arguments, on_progress=lambda *step: seen.append(step))
        assert {split: len(paths) for split, paths in dataset.splits.items()} == {"train": 2, "val": 1}
        assert dataset.root == tmp_path / "parts"
        assert seen == [(1, 3), (2, 3), (3, 3)]
        assert prepare_dataset("parts", **arguments).splits == dataset.splits

    def test_an_unknown_name(self, tmp_path):
        with pytest.raises(InputError, match="'coco'") as error:
            prepare_dataset("coco", root=tmp_path)
        assert error.value.expected == "parts or bccd"
