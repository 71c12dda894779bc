import json

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from yolotrt_lab.cli.inspect import register
from yolotrt_lab.engines import platform
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Precision


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """An engine of a convolution with a ReLU, asked to be FP16 by a flag."""
    monkeypatch.setenv("YOLOTRT_EMULATION_THREADS", "1")
    monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated")
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "w"], ["c"], name="/conv/Conv"),
            helper.make_node("Relu", ["c"], ["output0"], name="/conv/act/Relu"),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4, 6, 6])],
        [weight],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    yield build_engine(path, tmp_path / "m.engine", options=EngineOptions(precision=Precision.FP32)).path
    platform.deactivate()


def run(*arguments):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def claim(engine, precision):
    """Let the engine's description claim another precision."""
    sidecar = engine.with_name("m.engine.json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "precision_requested": precision}))


def test_json(engine):
    done = run(engine, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["executed_precision"] == result["requested_precision"] == "fp32"
    assert result["precision_share"] == {"fp32": 1.0}
    assert [tensor["name"] for tensor in result["io"]] == ["images", "output0"]
    assert result["io"][0]["shape"] == [1, 3, 8, 8]
    (conv,) = [layer for layer in result["layers"] if layer["is_compute"]]
    assert conv["origins"] == ["/conv/Conv", "/conv/act/Relu"]
    assert result["warnings"] == []


def test_tables(engine):
    text = " ".join(run(engine).stdout.split())
    assert "Convolution" in text
    assert "1x3x8x8" in text
    assert "runs in FP32; compute layers: FP32 100%" in text
    assert "1 fused from several nodes" in text
    assert "emulated on a CPU" in text


def test_a_false_claim_is_told(engine):
    claim(engine, "int8")
    done = run(engine, "--json")
    (warning,) = json.loads(done.stdout)["warnings"]
    assert "Asked for INT8, but only 0% of the compute layers are" in warning
    assert "Asked for INT8" in " ".join(done.stderr.split())


def test_no_engine(tmp_path):
    done = run(tmp_path / "none.engine")
    assert isinstance(done.exception, InputError)
