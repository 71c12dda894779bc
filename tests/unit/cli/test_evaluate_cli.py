import json

import cv2
import numpy as np
import pytest

from yolotrt_lab.cli.main import main


@pytest.fixture
def data(tmp_path):
    """Four pictures with exactly the bolt and the nut that the fixed detector reports."""
    for index in range(4):
        image = tmp_path / "images" / "test" / f"{index}.png"
        label = tmp_path / "labels" / "test" / f"{index}.txt"
        image.parent.mkdir(parents=True, exist_ok=True)
        label.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.full((64, 64, 3), 200, np.uint8))
        label.write_text("0 0.5 0.5 0.3125 0.15625\n1 0.1875 0.1875 0.125 0.125\n")
    path = tmp_path / "data.yaml"
    path.write_text("path: .\ntrain: images/test\nval: images/test\ntest: images/test\nnames: {0: bolt, 1: nut}\n")
    return path


def run(capsys, *arguments):
    code = main(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_perfect_detector(fixed_detector, data, capsys):
    code, out, _ = run(capsys, fixed_detector, "--data", data, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["map50"], found["map50_95"]) == (pytest.approx(1), pytest.approx(1))
    assert found["per_class_ap50_95"] == {"bolt": pytest.approx(1), "nut": pytest.approx(1)}
    assert (found["images"], found["objects"], found["split"]) == (4, 8, "test")
    assert found["runtime"].startswith("ONNX Runtime")
    assert found["map50_95_interval"] is None


def test_half_the_labels_are_elsewhere(fixed_detector, data, capsys):
    for index in (0, 1):
        label = data.parent / "labels" / "test" / f"{index}.txt"
        label.write_text("0 0.2 0.8 0.1 0.1\n1 0.1875 0.1875 0.125 0.125\n")
    _, out, _ = run(capsys, fixed_detector, "--data", data, "--json")
    found = json.loads(out)
    assert found["per_class_ap50"]["nut"] == pytest.approx(1)
    assert found["per_class_ap50"]["bolt"] < 0.6


def test_a_table_for_people(fixed_detector, data, capsys):
    code, out, err = run(capsys, fixed_detector, "--data", data, "--limit", "2", "--bootstrap", "5")
    assert code == 0
    assert "4 objects in 2 images of split test; mAP50-95 1.000 to 1.000 (95 %)" in " ".join(out.split())
    assert "all classes" in out
    assert "FP32" in err


def test_written_files(fixed_detector, data, tmp_path, capsys):
    code, _, _ = run(capsys, fixed_detector, "--data", data, "-o", tmp_path / "out")
    assert code == 0
    saved = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert saved["map50_95"] == pytest.approx(1)
    assert set(saved["curves"]) == {"bolt", "nut"}
    assert cv2.imread(str(tmp_path / "out" / "pr_curves.png")).shape[1] > 800


def test_an_image_without_labels_has_no_objects(fixed_detector, data, capsys):
    (data.parent / "labels" / "test" / "3.txt").unlink()
    _, out, _ = run(capsys, fixed_detector, "--data", data, "--json")
    found = json.loads(out)
    assert found["objects"] == 6
    assert found["precision"] == pytest.approx(6 / 8)  # two detections find nothing
    assert found["recall"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [
        ("{0: bolt}", 2, "classes are not those of"),
        ("{0: nut, 1: bolt}", 2, "the order of the classes matters"),
        ("{0: bolt, 1: nut, 2: washer}", 2, "classes are not those of"),
    ],
)
def test_classes_that_do_not_fit(fixed_detector, data, capsys, names, code, words):
    data.write_text(data.read_text().replace("{0: bolt, 1: nut}", names))
    got, _, err = run(capsys, fixed_detector, "--data", data)
    assert got == code
    assert words in " ".join(err.split())


def test_other_names_are_worth_a_warning(fixed_detector, data, capsys):
    data.write_text(data.read_text().replace("{0: bolt, 1: nut}", "{0: Bolzen, 1: Mutter}"))
    code, out, err = run(capsys, fixed_detector, "--data", data, "--json")
    assert code == 0
    assert "bolt, nut; the data set calls them Bolzen, Mutter" in " ".join(err.split())
    assert set(json.loads(out)["per_class_ap50"]) == {"Bolzen", "Mutter"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--split", "trial"], "no images in split"),
        (["--data", "gone.yaml"], "gone.yaml"),
        (["--limit", "0"], "limit"),
    ],
)
def test_bad_calls(fixed_detector, data, capsys, change, words):
    got, _, err = run(capsys, fixed_detector, "--data", data, *change)
    assert got == 2
    assert words in " ".join(err.split())
    assert "Traceback" not in err


def test_a_broken_image_stops_the_measurement(fixed_detector, data, capsys):
    (data.parent / "images" / "test" / "2.png").write_bytes(b"\x89PNG broken")
    got, _, err = run(capsys, fixed_detector, "--data", data)
    assert got == 2
    assert "2.png" in err
