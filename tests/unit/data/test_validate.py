import os

import cv2
import numpy as np
import pytest

from yolotrt_lab.data.datasets import load_dataset
from yolotrt_lab.data.images import read_image
from yolotrt_lab.data.labels import ProblemKind
from yolotrt_lab.data.validate import validate_dataset
from yolotrt_lab.errors import InputError


def found(report):
    return [(problem.path.name, problem.line, problem.kind) for problem in report.problems]


def test_a_sound_data_set(dataset_root):
    (dataset_root / "labels/val/val1.txt").write_text("")
    seen = []
    report = validate_dataset(dataset_root, near_duplicates=True, on_progress=lambda *step: seen.append(step))
    assert report.ok
    assert (report.images, report.boxes, report.background_images) == (6, 10, 1)
    assert report.by_kind() == {}
    assert seen[-1] == (6, 6)
    assert len(seen) == 6


@pytest.mark.parametrize("form", ["folder", "yaml", "dataset"])
def test_it_takes_a_data_set_in_any_form(dataset_root, form):
    given = {"folder": dataset_root, "yaml": dataset_root / "data.yaml", "dataset": load_dataset(dataset_root)}[form]
    assert validate_dataset(given).images == 6


def test_every_problem_is_reported_not_only_the_first(dataset_root, draw):
    labels, images = dataset_root / "labels/train", dataset_root / "images/train"
    (labels / "train0.txt").write_text("0 0.5 0.5 0.1\n5 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1\n")
    (labels / "train1.txt").unlink()
    (labels / "orphan.txt").write_text("")
    (labels / "train2.txt").write_bytes(b"\xff\n0 nan 0.5 0.1 0.1\n")
    (images / "train2.png").write_bytes(b"")
    data = (images / "train3.png").read_bytes()
    (images / "train3.png").write_bytes(data[: len(data) // 2])
    (dataset_root / "images/val/val1.png").write_bytes((images / "train0.png").read_bytes())
    report = validate_dataset(dataset_root)
    assert not report.ok
    assert found(report) == [
        ("train0.txt", 1, ProblemKind.FIELD_COUNT),
        ("train0.txt", 2, ProblemKind.CLASS_ID),
        ("train0.txt", 4, ProblemKind.DUPLICATE),
        ("train1.txt", None, ProblemKind.MISSING_LABELS),
        ("train2.png", None, ProblemKind.UNREADABLE_IMAGE),
        ("train2.txt", 1, ProblemKind.ENCODING),
        ("train2.txt", 2, ProblemKind.NOT_FINITE),
        ("train3.png", None, ProblemKind.UNREADABLE_IMAGE),
        ("val1.png", None, ProblemKind.LEAKAGE),
        ("orphan.txt", None, ProblemKind.MISSING_IMAGE),
    ]
    assert report.boxes == 1 + 2 + 2 + 2
    assert report.by_kind()["unreadable-image"] == 2


def test_the_same_picture_twice(dataset_root):
    data = (dataset_root / "images/train/train0.png").read_bytes()
    (dataset_root / "images/train/train9.png").write_bytes(data)
    (dataset_root / "labels/train/train9.txt").write_text("")
    assert found(validate_dataset(dataset_root)) == [("train9.png", None, ProblemKind.DUPLICATE)]


def test_two_images_with_one_label_file(dataset_root, draw):
    draw(dataset_root / "images/train/train0.bmp", seed=99)
    assert found(validate_dataset(dataset_root)) == [("train0.txt", None, ProblemKind.DUPLICATE)]


def test_a_list_that_puts_an_image_into_two_splits(dataset_root):
    (dataset_root / "both.txt").write_text("images/train/train0.png\n")
    (dataset_root / "data.yaml").write_text("train: images/train\nval: both.txt\nnames: [a, b]\n")
    assert found(validate_dataset(dataset_root)) == [("train0.png", None, ProblemKind.LEAKAGE)]


def test_a_list_that_names_an_image_which_is_not_there(dataset_root):
    (dataset_root / "list.txt").write_text("images/train/gone.png\n")
    (dataset_root / "data.yaml").write_text("train: list.txt\nnames: [a, b]\n")
    assert ("gone.png", None, ProblemKind.MISSING_IMAGE) in found(validate_dataset(dataset_root))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        lambda image: cv2.convertScaleAbs(image, alpha=0.8, beta=10),
        lambda image: cv2.GaussianBlur(image, (0, 0), 1.5),
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR),
        lambda image: np.roll(image, 1, axis=1),
    ],
    ids=["smaller", "darker", "blurred", "compressed", "shifted"],
)
def test_nearly_the_same_picture_in_two_splits(dataset_root, change):
    picture = change(read_image(dataset_root / "images/train/train0.png"))
    cv2.imwrite(str(dataset_root / "images/val/val0.png"), picture)
    assert validate_dataset(dataset_root).ok
    report = validate_dataset(dataset_root, near_duplicates=True)
    assert found(report) == [("val0.png", None, ProblemKind.LEAKAGE)]
    assert "train0.png (split train)" in report.problems[0].message


def test_near_duplicates_within_a_split_are_fine(dataset_root):
    picture = cv2.GaussianBlur(read_image(dataset_root / "images/train/train0.png"), (0, 0), 1)
    cv2.imwrite(str(dataset_root / "images/train/train1.png"), picture)
    assert validate_dataset(dataset_root, near_duplicates=True).ok


def test_names_that_are_not_utf8(dataset_root):
    raw = os.fsencode(dataset_root / "images/train") + b"/caf\xe9.png"
    try:
        with open(raw, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    report = validate_dataset(dataset_root)
    assert [problem.kind for problem in report.problems] == [ProblemKind.UNREADABLE_IMAGE, ProblemKind.MISSING_LABELS]
    assert "caf\\xe9.png" in str(report.problems[0])
    assert str(report.problems[0]).isprintable()


def test_a_broken_yaml_is_an_error(tmp_path):
    with pytest.raises(InputError):
        validate_dataset(tmp_path)


def test_converters_and_validator_agree(dataset_root):
    """What read_labels refuses, the validator lists; what it lists not, read_labels accepts."""
    from yolotrt_lab.data.labels import read_labels

    path = dataset_root / "labels/train/train0.txt"
    for row in ("0 0.5 0.5 0.1 0.1", "7 0.5 0.5 0.1 0.1", "", "0 0.5 0.5 0.1", "0 0.0495 0.5 0.1 0.1"):
        path.write_text(row)
        report = validate_dataset(dataset_root)
        try:
            read_labels(path, num_classes=2)
        except InputError:
            assert not report.ok
        else:
            assert report.ok
