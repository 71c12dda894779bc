import json
from pathlib import Path

import pytest

from yolotrt_lab.cli.main import main
from yolotrt_lab.export import onnx_export
from yolotrt_lab.export.onnx_export import OnnxExport
from yolotrt_lab.types import TensorSpec


@pytest.fixture
def asked(monkeypatch):
    """Replace the export by a note of what was asked for."""
    calls = []

    def export_onnx(weights, output, **options):
        calls.append((weights, output, options))
        return OnnxExport(
            path=output,
            weights=Path(weights),
            opset=options["opset"],
            inputs=(TensorSpec("images", "float32", (None, 3, 320, 640)),),
            outputs=(TensorSpec("output0", "float32", (None, 7, 4200)),),
            class_names=("bolt", "nut", "gear"),
            node_count=262,
            size_bytes=10_200_000,
            sha256="ab" * 32,
            seconds=2.0,
        )

    monkeypatch.setattr(onnx_export, "export_onnx", export_onnx)
    return calls


def test_defaults(asked, capsys):
    assert main(["export", "runs/train/best.pt"]) == 0
    options = {"image_size": (640, 640), "opset": 17, "dynamic_batch": True, "simplify": True}
    assert asked == [("runs/train/best.pt", Path("best.onnx"), options)]
    out, err = capsys.readouterr()
    assert "262 nodes, operator set 17, 10.2 MB" in out
    assert "N x 3 x 320 x 640" in out
    assert "bolt, nut, gear" in out
    assert "Exporting" in err


def test_every_option_arrives(asked):
    arguments = ["export", "base", "-o", "m.onnx", "--imgsz", "320", "--width", "640", "--opset", "19"]
    assert main([*arguments, "--fixed-batch", "--no-simplify"]) == 0
    options = {"image_size": (320, 640), "opset": 19, "dynamic_batch": False, "simplify": False}
    assert asked == [("base", Path("m.onnx"), options)]


def test_json(asked, capsys):
    assert main(["export", "base", "-o", "m.onnx", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["path"] == "m.onnx"
    assert result["inputs"] == [{"name": "images", "dtype": "float32", "shape": [None, 3, 320, 640]}]
    assert result["class_names"] == ["bolt", "nut", "gear"]


@pytest.mark.parametrize(
    "arguments", [["missing.pt"], ["model.onnx"], ["base", "--opset", "9"], ["base", "-o", "m.txt"]]
)
def test_bad_input_gives_a_message(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error:" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
