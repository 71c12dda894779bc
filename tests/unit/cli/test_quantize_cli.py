import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from yolotrt_lab.cli.main import main
from yolotrt_lab.export.findings import graph_precision
from yolotrt_lab.precision.rules import check_qdq_rules
from yolotrt_lab.precision.table import read_calibration_cache
from yolotrt_lab.types import Precision


def hand_built_detector():
    """Return the small graph the precision tests use."""
    path = Path(__file__).parents[1] / "precision" / "conftest.py"
    spec = importlib.util.spec_from_file_location("precision_graphs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_detector()


@pytest.fixture
def detector(tmp_path):
    onnx.save(hand_built_detector(), tmp_path / "detector.onnx")
    return tmp_path / "detector.onnx"


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "data" / "images" / "train"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(8):
        coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (40, 30)))
    (tmp_path / "data" / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a, b, c]\n")
    return folder


def test_fp16(detector, tmp_path, capsys):
    output = tmp_path / "half.onnx"
    assert main(["quantize", str(detector), "--precision", "fp16", "-o", str(output), "--keep", "/stem/Conv"]) == 0
    assert graph_precision(onnx.load(output)) is Precision.FP16
    assert "kept in FP32" in capsys.readouterr().out
    assert main(["quantize", str(detector), "--precision", "fp16", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == str(tmp_path / "detector-fp16.onnx")
    assert result["cast_count"] == 3


def test_fp16_looks_for_overflow(detector, pictures, tmp_path, capsys):
    output = tmp_path / "half.onnx"
    arguments = ["quantize", str(detector), "--precision", "fp16", "-o", str(output), "--half-io"]
    assert main(arguments) == 0
    assert "Not checked for overflow: pass --data or --images." in capsys.readouterr().out
    assert onnx.load(output).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert main([*arguments, "--images", str(pictures), "--check-images", "2"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "No overflow on 2 images: the largest value is" in text
    assert "Rounded to FP16 after every node, the output is" in text
    model = onnx.load(detector)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.weight")
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * np.float32(1e5), weights.name))
    onnx.save(model, detector)
    assert main([*arguments, "--data", str(pictures.parents[1] / "data.yaml"), "--check-images", "1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "/stem/Conv makes values up to" in text
    assert "kept in FP32 with what reads it: /stem/Conv, /stem/Sigmoid, /stem/Mul" in text


def test_int8_from_a_folder(detector, pictures, tmp_path, capsys):
    output = tmp_path / "int8.onnx"
    arguments = ["quantize", str(detector), "--images", str(pictures), "--count", "6", "-o", str(output)]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "8 convolutions and 1 residual additions in INT8, the rest in fp16" in out
    assert "/box_last/Conv" in out
    assert "Only 6 calibration images" in err
    assert check_qdq_rules(output) == ()
    table = read_calibration_cache(tmp_path / "int8.calibration")
    assert (table.method, table.image_count) == ("mse", 6)
    assert (tmp_path / "int8.calibration").read_text().startswith("TRT-")
    assert (tmp_path / "int8.calibration.json").exists()


def test_int8_from_a_data_set_and_from_a_cache(detector, pictures, tmp_path, capsys):
    data = pictures.parents[1] / "data.yaml"
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    options = ["--base", "fp32", "--method", "entropy", "--keep", "/stem/Conv", "--json"]
    assert main(["quantize", str(detector), "--data", str(data), "-o", str(first), *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["method"], result["image_count"], result["base"]) == ("entropy", 8, "fp32")
    assert result["kept"]["/stem/Conv"] == "kept by request"
    cache = result["calibration_cache"]
    assert main(["quantize", str(detector), "--cache", cache, "-o", str(second), *options]) == 0
    # The cache holds float32 steps, so the graphs agree to the last bit but one.
    assert len(onnx.load(first).graph.node) == len(onnx.load(second).graph.node)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "exactly one of --data"),
        (["--images", "a", "--data", "b"], "--data and --images"),
        (["--precision", "fp8"], "fp16 or int8"),
        (["--images", "{folder}", "--base", "int8"], "fp16 or fp32"),
        (["--images", "{folder}", "--method", "best"], "mse, minmax"),
        (["--images", "missing"], "No such folder"),
        (["--images", "{empty}"], "no calibration images"),
        (["--data", "missing.yaml"], "missing.yaml"),
        (["--cache", "missing"], "missing"),
        (["--images", "{folder}", "--keep", "/nothing"], "no node"),
    ],
)
def test_bad_input_gives_a_message(detector, pictures, tmp_path, capsys, options, words):
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    filled = [option.format(folder=pictures, empty=tmp_path / "empty") for option in options]
    assert main(["quantize", str(detector), *filled]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in " ".join(err.split())
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before
