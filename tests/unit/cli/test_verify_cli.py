import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from yolotrt_lab.cli.main import main
from yolotrt_lab.export import verify
from yolotrt_lab.export.verify import verify_onnx
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.qdq import quantize_onnx


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


def test_a_sound_model(detector, capsys):
    assert main(["verify", str(detector)]) == 0
    out, err = capsys.readouterr()
    assert "fp32, operator set 17" in out
    assert "images float32 N x 3 x 32 x 32 → output0 float32 N x 7 x 16" in out
    assert "Verdict: passed" in out
    assert "Error" not in err


def test_json(detector, capsys):
    assert main(["verify", str(detector), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is True
    assert result["operators"]["Conv"] == 11
    assert result["rule_violations"] == []


def test_a_broken_model_exits_with_1_and_its_reasons(detector, capsys):
    model = onnx.load(detector)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "p3.weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.nan, tensor.name))
    onnx.save(model, detector)
    assert main(["verify", str(detector), "--json"]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["passed"] is False
    assert any("NaN" in reason for reason in result["reasons"])
    assert "did not pass" in " ".join(err.split())
    assert "NaN" in err
    assert main(["verify", str(detector)]) == 1
    assert "Verdict: failed" in capsys.readouterr().out


def test_quantized_models_must_keep_the_rules(detector, tmp_path, capsys):
    images = np.random.default_rng(0).random((4, 3, 32, 32)).astype(np.float32)
    table = calibrate(detector, [images], threads=1)
    path = quantize_onnx(detector, tmp_path / "int8.onnx", table=table).path
    assert main(["verify", str(path)]) == 0
    model = onnx.load(path)
    zero_point = next(tensor for tensor in model.graph.initializer if tensor.name == "images_zero_point")
    zero_point.CopyFrom(numpy_helper.from_array(np.int8(3), zero_point.name))
    onnx.save(model, path)
    capsys.readouterr()
    assert main(["verify", str(path)]) == 1
    out, err = capsys.readouterr()
    assert "rule: images_QuantizeLinear: zero point 3" in out
    assert "zero point 3" in err


def test_weights_and_images_arrive(detector, tmp_path, monkeypatch):
    asked = []

    def noted(path, **options):
        asked.append((path, options))
        return verify_onnx(path)

    monkeypatch.setattr(verify, "verify_onnx", noted)
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(5):
        (folder / f"{index}.jpg").write_bytes(b"not opened here")
    assert main(["verify", str(detector), "--weights", "w.pt", "--images", str(folder), "--count", "3"]) == 0
    ((path, options),) = asked
    assert path == detector
    assert options["weights"] == "w.pt"
    assert len(options["images"]) == 3
    assert callable(options["on_progress"])


@pytest.mark.parametrize(
    "arguments", [["missing.onnx"], ["{detector}", "--images", "."], ["{detector}", "--weights", "w.pt"]]
)
def test_bad_input_gives_a_message(detector, arguments, capsys):
    assert main(["verify", *(argument.format(detector=detector) for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error:" in err
    assert "Traceback" not in err
