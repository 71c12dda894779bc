import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from yolotrt_lab.cli.main import main
from yolotrt_lab.data.images import read_image
from yolotrt_lab.precision.rules import check_qdq_rules
from yolotrt_lab.runtimes.accuracy import MAP_CONFIG
from yolotrt_lab.runtimes.detector import open_detector


def from_precision_tests(file, name):
    """Return a function of the precision tests, which build the same small graph."""
    path = Path(__file__).parents[1] / "precision" / file
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector whose second convolution has an input channel of huge range."""
    path = tmp_path_factory.mktemp("model") / "bad.onnx"
    build = from_precision_tests("conftest.py", "build_detector")
    onnx.save(from_precision_tests("test_sensitivity.py", "planted")(build()), path)
    return path


@pytest.fixture(scope="module")
def data(detector, tmp_path_factory):
    """A data set whose labels are what the FP32 detector finds, so that its own mAP is 1."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "images" / "train"
    folder.mkdir(parents=True)
    (root / "labels" / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with open_detector(detector, config=MAP_CONFIG, backend="openvino", batch=1) as find:
        for index in range(8):
            coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            path = folder / f"{index}.png"
            cv2.imwrite(str(path), cv2.resize(coarse, (32, 32)))
            found = find.detect(read_image(path))
            lines = [
                f"{class_id} {(x0 + x1) / 64:.6f} {(y0 + y1) / 64:.6f} {(x1 - x0) / 32:.6f} {(y1 - y0) / 32:.6f}"
                for (x0, y0, x1, y1), class_id in zip(
                    found.xyxy[:4].tolist(), found.class_ids[:4].tolist(), strict=True
                )
            ]
            (root / "labels" / "train" / f"{index}.txt").write_text("\n".join(dict.fromkeys(lines)) + "\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [a, b, c]\n")
    return root / "data.yaml"


def test_the_bad_layer_is_found_and_kept(detector, data, tmp_path, capsys):
    output, folder = tmp_path / "mixed.onnx", tmp_path / "report"
    arguments = ["sensitivity", str(detector), "--data", str(data), "-o", str(output), "--report", str(folder)]
    options = ["--method", "minmax", "--base", "fp32", "--budget", "0.005", "--greedy", "1", "--json"]
    assert main([*arguments, *options]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["chosen"]["kept"] == ["/body/Conv"]
    assert result["within_budget"] is True
    assert result["greedy"][0]["node"] == "/body/Conv"
    assert max(result["layers"], key=lambda layer: layer["share"])["node"] == "/body/Conv"
    assert check_qdq_rules(output) == ()
    body = next(node for node in onnx.load(output).graph.node if node.name == "/body/Conv")
    assert not any("dequantized" in name for name in body.input)
    assert (tmp_path / "mixed.calibration").exists()
    assert json.loads((folder / "sensitivity.json").read_text())["chosen"] == result["chosen"]
    for name in ("layer_damage.png", "mixed_precision.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_in_words(detector, data, tmp_path, capsys):
    """With much allowed nothing is kept; costs from measured layer times."""
    output = tmp_path / "out.onnx"
    arguments = ["sensitivity", str(detector), "--data", str(data), "-o", str(output), "--budget", "1"]
    assert main([*arguments, "--costs", "measured", "--base", "fp32"]) == 0
    out, err = capsys.readouterr()
    assert "every layer may stay in INT8" in out
    assert "/body/Conv" in out
    assert "INT8 in every layer that can be quantized." in out
    assert "mAP is judged on 4 images only" in err
    assert output.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "test"], "must not be chosen by the test split"),
        (["--base", "int4"], "No such base precision"),
        (["--costs", "guessed"], "No such costs"),
        (["--method", "magic"], "magic"),
        (["--split", "nowhere"], "no images in split"),
    ],
)
def test_bad_input(detector, data, tmp_path, capsys, options, message):
    arguments = ["sensitivity", str(detector), "--data", str(data), "-o", str(tmp_path / "m.onnx")]
    assert main([*arguments, *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
