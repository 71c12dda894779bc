import importlib.util
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from yolotrt_lab.cli.main import main
from yolotrt_lab.precision import calibration, observation, representativeness
from yolotrt_lab.precision.placement import plan_placement
from yolotrt_lab.precision.table import read_calibration_cache


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    path = Path(__file__).parents[1] / "precision" / "conftest.py"
    spec = importlib.util.spec_from_file_location("precision_graphs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target = tmp_path_factory.mktemp("model") / "detector.onnx"
    onnx.save(module.build_detector(), target)
    return target


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two splits; class c is in the validation images only."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count, classes in (("train", 8, "01"), ("val", 5, "012")):
        for index in range(count):
            for folder in ("images", "labels"):
                (root / folder / split).mkdir(parents=True, exist_ok=True)
            coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
            cv2.imwrite(str(root / "images" / split / f"{index}.png"), cv2.resize(coarse, (40, 30)))
            lines = "".join(f"{name} 0.5 0.5 0.{index + 1} 0.4\n" for name in classes)
            (root / "labels" / split / f"{index}.txt").write_text(lines)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [a, b, c]\n")
    return root / "data.yaml"


def test_a_cache_and_words(detector, data, tmp_path, capsys):
    cache = tmp_path / "model.calibration"
    assert main(["calibrate", str(detector), "--data", str(data), "--count", "6", "-o", str(cache)]) == 0
    out, err = capsys.readouterr()
    assert "Ranges from 6 images" in out
    assert "thresholds by mse move by" in out
    assert "Only 6 calibration images" in err
    assert "No calibration image shows class 'c', which has 5 objects in 5 reference images" in err
    table = read_calibration_cache(cache)
    assert tuple(table.amax) == plan_placement(onnx.load(detector)).activations
    assert (table.method, table.image_count) == ("mse", 6)
    quantized = tmp_path / "int8.onnx"
    assert main(["quantize", str(detector), "--cache", str(cache), "-o", str(quantized)]) == 0


def test_all_methods_and_reports(detector, data, tmp_path, capsys):
    options = ["--method", "all", "-o", "m.calibration", "--tensorrt", "10.16.1", "--json"]
    reports = ["--report", "report.png", "--report", "report.json"]
    arguments = [str(tmp_path / item) if item[:2] in ("m.", "re") else item for item in (*options, *reports)]
    assert main(["calibrate", str(detector), "--data", str(data), *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["methods"]) == ["mse", "minmax", "percentile", "entropy", "entropy-one-sided"]
    for method, facts in result["methods"].items():
        assert facts["cache"] == str(tmp_path / f"m-{method}.calibration")
        table = read_calibration_cache(Path(facts["cache"]))
        assert table.method == method
        assert dict(table.amax) == pytest.approx(facts["amax"], rel=1e-6)
    assert (tmp_path / "m-minmax.calibration").read_text().startswith("TRT-101601-MinMaxCalibration\n")
    assert cv2.imread(str(tmp_path / "report.png")).shape[1] == 990
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["calibration_images"] == len(report["images"]) == 8
    assert report["reference_images"] == 5
    assert [item["verdict"] for item in report["classes"]] == ["shown", "shown", "missing"]
    assert {**report, "images": 0} == {**result["representativeness"], "images": 0}


def test_clipping_is_summed_up(detector, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(calibration, "MUCH_SATURATION", 0.0)
    monkeypatch.setattr(representativeness, "_MUCH_SATURATION", 0.0)
    arguments = ["--data", str(data), "--method", "percentile", "-o", str(tmp_path / "c")]
    assert main(["calibrate", str(detector), *arguments]) == 0
    err = " ".join(capsys.readouterr().err.split())
    assert read_calibration_cache(tmp_path / "c").warnings[-1].endswith("are clipped.")
    assert "are clipped." not in err
    assert "of their values clipped, most of all" in err


def test_a_folder_of_images(detector, data, tmp_path, capsys):
    folder = data.parent / "images" / "train"
    cache = tmp_path / "c"
    options = ["--images", str(folder), "--method", "minmax", "-o", str(cache), "--json"]
    assert main(["calibrate", str(detector), *options]) == 0
    alone = json.loads(capsys.readouterr().out)["representativeness"]
    assert (alone["classes"], alone["reference_images"]) == ([], 8)
    report = tmp_path / "r.png"
    against = ["--data", str(data), "--reference", "val", "--report", str(report)]
    assert main(["calibrate", str(detector), *options, *against]) == 0
    compared = json.loads(capsys.readouterr().out)["representativeness"]
    assert (compared["classes"], compared["reference_images"]) == ([], 5)
    assert cv2.imread(str(report)) is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--data, --images or both"),
        (["--data", "{data}", "--method", "best"], "mse, minmax, percentile, entropy, entropy-one-sided or all"),
        (["--data", "{data}", "--report", "report.pdf"], ".png or .json"),
        (["--data", "{data}", "--split", "test"], "no images in split 'test'"),
        (["--data", "{data}", "--reference", "test"], "no images in split 'test'"),
        (["--images", "{images}", "--reference", "val"], "--data as well"),
        (["--images", "missing"], "No such folder"),
        (["--data", "missing.yaml"], "missing.yaml"),
        (["--data", "{data}", "--tensorrt", "ten"], "no version of TensorRT"),
    ],
)
def test_bad_input_gives_a_message(detector, data, tmp_path, capsys, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    filled = [option.format(data=data, images=data.parent / "images" / "val") for option in options]
    assert main(["calibrate", str(detector), "-o", str(tmp_path / "c"), *filled]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in " ".join(err.split())
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_broken_label_is_noticed_first(detector, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(observation, "make_watching_session", None)  # whoever calibrates now, fails
    copy = tmp_path / "data"
    shutil.copytree(data.parent, copy)
    (copy / "labels" / "train" / "3.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    assert main(["calibrate", str(detector), "--data", str(copy / "data.yaml"), "-o", str(tmp_path / "c")]) == 2
    assert "3.txt" in capsys.readouterr().err


def test_a_model_of_any_size(detector, data, tmp_path, capsys):
    model = onnx.load(detector)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "any.onnx")
    assert main(["calibrate", str(tmp_path / "any.onnx"), "--data", str(data)]) == 2
    assert "does not fix its input size" in capsys.readouterr().err
