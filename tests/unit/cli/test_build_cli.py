import json

import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from yolotrt_lab.cli.build import register
from yolotrt_lab.engines import platform
from yolotrt_lab.errors import EngineBuildError, InputError


@pytest.fixture(autouse=True)
def _emulated(monkeypatch):
    monkeypatch.setenv("YOLOTRT_EMULATION_THREADS", "1")
    monkeypatch.setenv("YOLOTRT_PLATFORM", "emulated")
    yield
    platform.deactivate()


@pytest.fixture
def model(tmp_path):
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["images", "w"], ["output0"], name="/conv/Conv")],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 4, 6, 6])],
        [weight],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def run(*arguments):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_json(model, tmp_path):
    output = tmp_path / "out" / "m.engine"
    cache = tmp_path / "timing.bin"
    done = run(
        model, "-o", output, "--precision", "fp32", "--min-batch", 1, "--opt-batch", 2, "--max-batch", 4,
        "--workspace-mib", 64, "--timing-cache", cache, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["engine"] == str(output)
    assert result["executed_precision"] == "fp32"
    assert result["precision_share"] == {"fp32": 1.0}
    assert result["platform"] == "emulated"
    assert result["size_bytes"] == output.stat().st_size
    assert result["provenance"]["options"] == {
        "precision": "fp32", "min_batch": 1, "opt_batch": 2, "max_batch": 4, "workspace_bytes": 64 << 20,
        "timing_cache": "timing.bin", "classic": False,
    }  # fmt: skip
    assert cache.exists()
    assert output.with_name("m.engine.json").exists()


def test_table_and_default_place(model):
    done = run(model)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "emulated on this CPU" in text
    assert "FP32 100%" in text
    assert model.with_suffix(".engine").exists()


@pytest.mark.parametrize(
    ("arguments", "batches"),
    [
        ((), (1, 1, 1)),
        (("--max-batch", 4), (1, 1, 4)),
        (("--opt-batch", 3), (1, 3, 3)),
        (("--min-batch", 2), (2, 2, 2)),
    ],
)
def test_batches_left_out_follow_the_others(model, arguments, batches):
    options = json.loads(run(model, *arguments, "--json").stdout)["provenance"]["options"]
    assert (options["min_batch"], options["opt_batch"], options["max_batch"]) == batches


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("--precision", "int8"), EngineBuildError), (("--min-batch", 4, "--max-batch", 2), InputError)],
)
def test_what_cannot_be_built(model, arguments, error):
    done = run(model, *arguments)
    assert isinstance(done.exception, error)
    assert not model.with_suffix(".engine").exists()


@pytest.mark.parametrize("arguments", [("--precision", "fp8"), ("--max-batch", 0), ("--workspace-mib", 0)])
def test_wrong_usage(model, arguments):
    assert run(model, *arguments).exit_code == 2
