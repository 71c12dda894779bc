import json
import re

import cv2
import numpy as np
import pytest
import typer

from yolotrt_lab.cli import data, main
from yolotrt_lab.data.datasets import load_dataset
from yolotrt_lab.data.images import read_image

COMMANDS = ("make", "convert", "validate", "split", "stats", "sheet")


@pytest.fixture
def yolotrt(monkeypatch, capsys):
    """Run the program and return (exit code, stdout, stderr)."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    data.register(app)
    monkeypatch.setattr(main, "app", app)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        code = main.main(["data", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def dataset_root(tmp_path):
    root = tmp_path / "set"
    for split, count in (("train", 8), ("val", 2)):
        for index in range(count):
            cells = np.random.default_rng(index + 100 * count).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            path = root / f"images/{split}/{split}{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.resize(cells, (64, 48), interpolation=cv2.INTER_CUBIC))
            labels = root / f"labels/{split}/{split}{index}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text(f"{index % 2} 0.5 0.5 0.25 0.5\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [nut, bolt]\n")
    return root


class TestMake:
    def test_parts(self, yolotrt, tmp_path):
        options = ("--root", tmp_path, "--train", 2, "--val", 1, "--test", 0, "--imgsz", 96, "--workers", 1)
        code, out, err = yolotrt("make", "parts", *options)
        assert code == 0
        assert str(tmp_path / "parts/data.yaml") in out
        assert "train 2, val 1" in out
        assert "Making parts" in err
        code, out, _ = yolotrt("make", "parts", *options, "--json")
        result = json.loads(out)
        assert code == 0
        assert result["images"] == {"train": 2, "val": 1}
        assert result["class_names"][:2] == ["bolt", "nut"]
        assert load_dataset(result["data_yaml"]).splits["val"]

    def test_a_different_one_there(self, yolotrt, tmp_path):
        options = (
            "make",
            "parts",
            "--root",
            tmp_path,
            "--train",
            1,
            "--val",
            0,
            "--test",
            0,
            "--imgsz",
            64,
            "--workers",
            1,
        )
        assert yolotrt(*options)[0] == 0
        code, out, err = yolotrt(*options, "--seed", 3)
        assert code == 2
        assert out == ""
        assert "a different data set" in err
        assert "fix:" in err
        assert "Traceback" not in err

    def test_bccd_without_a_copy(self, yolotrt, tmp_path, monkeypatch):
        monkeypatch.setenv("YOLOTRT_DATA_MIRROR", str(tmp_path))
        code, _, err = yolotrt("make", "bccd", "--root", tmp_path / "sets")
        assert code == 2
        assert "YOLOTRT_DATA_MIRROR" in err

    def test_an_unknown_name(self, yolotrt):
        assert yolotrt("make", "coco")[0] == 2


class TestValidate:
    def test_sound(self, yolotrt, dataset_root):
        code, out, _ = yolotrt("validate", dataset_root)
        assert code == 0
        assert "No problems." in out
        assert "10 images, 10 sound boxes" in out

    def test_problems_are_listed_and_the_exit_code_is_1(self, yolotrt, dataset_root):
        (dataset_root / "labels/train/train0.txt").write_text("7 0.5 0.5 0.1 0.1\n0 0.5 0.5 0 0\n")
        (dataset_root / "images/val/val0.png").write_bytes(b"")
        code, out, _ = yolotrt("validate", dataset_root)
        assert code == 1
        assert "train0.txt:1: class-id" in out
        assert "train0.txt:2: zero-size" in out
        assert "val0.png: unreadable-image" in out
        assert "3 problems: 1 class-id, 1 unreadable-image, 1 zero-size" in out
        code, out, _ = yolotrt("validate", dataset_root, "--json")
        result = json.loads(out)
        assert code == 1
        assert result["ok"] is False
        assert [(p["line"], p["kind"]) for p in result["problems"]] == [
            (1, "class-id"),
            (2, "zero-size"),
            (None, "unreadable-image"),
        ]

    def test_near_duplicates(self, yolotrt, dataset_root):
        picture = read_image(dataset_root / "images/train/train0.png")
        cv2.imwrite(str(dataset_root / "images/val/val0.png"), cv2.GaussianBlur(picture, (0, 0), 1))
        assert yolotrt("validate", dataset_root)[0] == 0
        code, out, _ = yolotrt("validate", dataset_root, "--near-duplicates")
        assert code == 1
        assert "leakage" in out

    def test_nothing_there(self, yolotrt, tmp_path):
        code, _, err = yolotrt("validate", tmp_path / "nope")
        assert code == 2
        assert "No such file" in err


class TestConvert:
    @pytest.fixture
    def coco(self, dataset_root, tmp_path):
        names = sorted(path.name for path in (dataset_root / "images/train").iterdir())
        content = {
            "images": [{"id": k, "file_name": name, "height": 48, "width": 64} for k, name in enumerate(names)],
            "categories": [{"id": 1, "name": "nut"}],
            "annotations": [{"image_id": k, "category_id": 1, "bbox": [4, 4, 20, 20]} for k in range(8)]
            + [{"image_id": 0, "category_id": 1, "bbox": [4, 4, 0, 20]}],
        }
        (tmp_path / "coco.json").write_text(json.dumps(content))
        return tmp_path / "coco.json"

    def test_everything_goes_to_train_unless_asked(self, yolotrt, coco, dataset_root, tmp_path):
        options = ("--images", dataset_root / "images/train", "--output", tmp_path / "out")
        code, out, err = yolotrt("convert", "coco", coco, *options)
        assert code == 0
        assert "annotations[8]: zero-size" in err
        assert "8 boxes; 1 problems." in out
        assert {split: len(paths) for split, paths in load_dataset(tmp_path / "out").splits.items()} == {"train": 8}
        assert yolotrt("validate", tmp_path / "out")[0] == 0

    def test_shares(self, yolotrt, coco, dataset_root, tmp_path):
        options = (
            "--images",
            dataset_root / "images/train",
            "--output",
            tmp_path / "out",
            "--train",
            0.5,
            "--val",
            0.5,
        )
        code, out, _ = yolotrt("convert", "coco", coco, *options, "--json")
        result = json.loads(out)
        assert code == 0
        assert result["images"] == {"train": 4, "val": 4}
        assert result["problems"][0]["element"] == "annotations[8]"
        assert result["problems_by_kind"] == {"zero-size": 1}

    def test_voc_and_cvat(self, yolotrt, dataset_root, tmp_path):
        images = dataset_root / "images/val"
        (tmp_path / "voc").mkdir()
        bndbox = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
        text = f"<annotation><filename>val0.png</filename><object><name>nut</name>{bndbox}</object></annotation>"
        (tmp_path / "voc/val0.xml").write_text(text)
        code, out, _ = yolotrt(
            "convert",
            "voc",
            tmp_path / "voc",
            "--images",
            images,
            "--output",
            tmp_path / "a",
            "--names",
            "bolt, nut",
            "--json",
        )
        assert (code, json.loads(out)["class_names"], json.loads(out)["boxes"]) == (0, ["bolt", "nut"], 1)
        box = '<box label="nut" xtl="1" ytl="2" xbr="30" ybr="40"/>'
        (tmp_path / "cvat.xml").write_text(f'<annotations><image name="val0.png">{box}</image></annotations>')
        code, out, _ = yolotrt(
            "convert", "cvat", tmp_path / "cvat.xml", "--images", images, "--output", tmp_path / "b", "--json"
        )
        assert (code, json.loads(out)["class_names"], json.loads(out)["boxes"]) == (0, ["nut"], 1)
        first, second = (next((tmp_path / x / "labels/train").iterdir()).read_text().split()[1:] for x in "ab")
        assert first == second

    def test_nothing_to_convert(self, yolotrt, dataset_root, tmp_path):
        (tmp_path / "cvat.xml").write_text("<annotations></annotations>")
        code, _, err = yolotrt(
            "convert", "cvat", tmp_path / "cvat.xml", "--images", dataset_root, "--output", tmp_path / "b"
        )
        assert code == 2
        assert "No objects" in err
        assert not (tmp_path / "b").exists()


class TestSplit:
    def test_a_new_data_set(self, yolotrt, dataset_root, tmp_path):
        code, out, _ = yolotrt(
            "split", dataset_root, "--output", tmp_path / "out", "--train", 0.6, "--val", 0.2, "--test", 0.2
        )
        assert code == 0
        assert re.search(r"train .* 6 ", out)
        dataset = load_dataset(tmp_path / "out")
        assert {split: len(paths) for split, paths in dataset.splits.items()} == {"train": 6, "val": 2, "test": 2}
        assert yolotrt("validate", tmp_path / "out", "--near-duplicates")[0] == 0

    def test_json(self, yolotrt, dataset_root, tmp_path):
        code, out, _ = yolotrt("split", dataset_root, "--output", tmp_path / "out", "--json")
        assert code == 0
        result = json.loads(out)
        assert result["near_duplicate_groups"] == 0
        assert sum(map(sum, result["objects"].values())) == 10

    def test_a_place_in_use(self, yolotrt, dataset_root):
        code, _, err = yolotrt("split", dataset_root, "--output", dataset_root)
        assert code == 2
        assert "in use" in err

    def test_bad_shares(self, yolotrt, dataset_root, tmp_path):
        code, _, err = yolotrt("split", dataset_root, "--output", tmp_path / "out", "--train", 0.9)
        assert code == 2
        assert "add up to 1" in err


class TestStats:
    def test_table_and_figure(self, yolotrt, dataset_root, tmp_path):
        code, out, _ = yolotrt("stats", dataset_root, "--figure", tmp_path / "a.png")
        assert code == 0
        assert re.search(r"nut\W+4\W+1\W+5", out)
        assert read_image(tmp_path / "a.png").shape[1] > 1000

    def test_json(self, yolotrt, dataset_root, tmp_path):
        code, out, _ = yolotrt("stats", dataset_root, "--json", "--figure", tmp_path / "a.svg")
        assert code == 0
        result = json.loads(out)
        assert result["boxes_per_class"] == {"nut": 5, "bolt": 5}
        assert result["figure"] == str(tmp_path / "a.svg")

    def test_a_figure_of_an_unknown_kind(self, yolotrt, dataset_root, tmp_path):
        code, _, err = yolotrt("stats", dataset_root, "--figure", tmp_path / "a.docx")
        assert code == 2
        assert ".png" in err
        assert not (tmp_path / "a.docx").exists()


class TestSheet:
    def test_a_page(self, yolotrt, dataset_root, tmp_path):
        options = ("--output", tmp_path / "page.png", "--count", 4, "--columns", 2, "--cell", 100)
        code, out, _ = yolotrt("sheet", dataset_root, *options)
        assert code == 0
        assert "page.png" in out
        code, out, _ = yolotrt("sheet", dataset_root, *options, "--json", "--split", "val")
        result = json.loads(out)
        assert read_image(tmp_path / "page.png").shape == (result["height"], result["width"], 3)

    def test_an_unknown_split(self, yolotrt, dataset_root):
        code, _, err = yolotrt("sheet", dataset_root, "--split", "test")
        assert code == 2
        assert "one of train, val" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(yolotrt, command):
    code, out, _ = yolotrt(command, "--help")
    assert code == 0
    assert f"yolotrt data {command}" in out
    assert "Examples" in out
    assert "--json" in out


def test_the_group_lists_its_commands(yolotrt):
    _, out, err = yolotrt("--help")
    assert all(command in out + err for command in COMMANDS)


def test_loading_the_commands_loads_nothing_heavy():
    import subprocess
    import sys

    program = "import sys, yolotrt_lab.cli.data; print([m for m in ('cv2', 'matplotlib', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
