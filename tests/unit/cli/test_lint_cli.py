import json
from pathlib import Path

import onnx
import pytest

from tests.unit.precision.lint.conftest import clean, clean_bytes, table  # noqa: F401  # fixtures
from tests.unit.precision.lint.mutations import MUTATIONS
from yolotrt_lab.cli.main import main
from yolotrt_lab.precision.lint.linter import lint_qdq


@pytest.fixture
def broken(clean, tmp_path):  # noqa: F811  # fixtures
    """Return a function that writes a graph with these mistakes."""

    def write(*names: str) -> Path:
        for name in names:
            MUTATIONS[name].change(clean)
        onnx.save(clean, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return write


def test_a_clean_model(broken, capsys):
    assert main(["lint", str(broken())]) == 0
    assert "breaks none of the 28 rules" in capsys.readouterr().out


def test_what_would_be_refused(broken, capsys):
    assert main(["lint", str(broken("int32_bias", "concat_of_two_scales"))]) == 1
    out, err = capsys.readouterr()
    text = " ".join(out.split())
    assert text.index("refused int32") < text.index("slow concat-scales")
    assert "TensorRT: p3.bias_DQ: input has type Int32 but must have type" in text
    assert "Why: A bias is added to the INT32 sums" in text
    assert "its inputs have the scales 0.03, 0.05" in text
    assert "What to do:" in text
    error = " ".join(err.split())
    assert "TensorRT would refuse" in error
    assert "Run again with --fix." in error


def test_slow_is_no_failure(broken, capsys):
    assert main(["lint", str(broken("concat_of_two_scales")), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["passed"]
    assert result["counts"] == {"refused": 0, "slow": 1, "inaccurate": 0}
    (violation,) = result["violations"]
    assert (violation["id"], violation["node"]) == ("concat-scales", "/neck/Concat")
    assert result["rules"]["concat-scales"]["source"].startswith("https://docs.nvidia.com/")
    assert result["fix"] is None


def test_repair(broken, tmp_path, capsys):
    path = broken("int32_bias", "logits")
    assert main(["lint", str(path), "--fix", "-o", str(tmp_path / "good.onnx")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "9 nodes read INT8." in text
    assert "Outputs on random inputs, repaired against given: relative L2 0.00" in text
    assert lint_qdq(tmp_path / "good.onnx") == ()
    assert main(["lint", str(path), "--fix", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["fix"]["path"] == str(tmp_path / "model-fixed.onnx")
    assert {repair["rule"] for repair in result["fix"]["repairs"]} == {"int32", "bias", "logits"}
    assert main(["lint", result["fix"]["path"]]) == 0


def test_what_cannot_be_repaired(broken, capsys):
    assert main(["lint", str(broken("qoperator")), "--fix"]) == 1
    out, err = capsys.readouterr()
    assert "Plugin not found" in out
    assert "Quantize the FP32 model again with `yolotrt quantize`." in " ".join(err.split())


def test_bad_input(broken, tmp_path, capsys):
    assert main(["lint", str(tmp_path / "none.onnx")]) == 2
    assert main(["lint", str(broken()), "-o", str(tmp_path / "x.onnx")]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "none.onnx" in err
    assert "--fix with --output" in err
    assert "Traceback" not in err
