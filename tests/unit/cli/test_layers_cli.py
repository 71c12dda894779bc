import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.cli.main import main
from yolotrt_lab.engines import platform
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.profiling.layer_view import onnx_behind

ROOF = ["--roof", "fp32=100,int8=400,gb_s=20"]
FLOPS = 2 * 8 * 32 * 32 * 27 + 2 * 8 * 32 * 32 * 72 + 8 * 32 * 32


def write_model(path):
    """images (3, 32, 32) -> Conv -> Relu -> Conv -> output0."""
    random = np.random.default_rng(0)
    weights = {"w0": random.normal(size=(8, 3, 3, 3)), "w1": random.normal(size=(8, 8, 3, 3))}
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["a"], name="/model.0/conv/Conv", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], name="/model.0/act/Relu"),
        helper.make_node("Conv", ["b", "w1"], ["output0"], name="/model.1/conv/Conv", pads=[1] * 4),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "tiny",
        [value("images", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [value("output0", TensorProto.FLOAT, ["batch", 8, 32, 32])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An ONNX model and an emulated engine built from it."""
    folder = tmp_path_factory.mktemp("layers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOTRT_EMULATION_THREADS", "1")
        patch.setenv("YOLOTRT_PLATFORM", "emulated")
        model = write_model(folder / "model.onnx")
        yield build_engine(model, folder / "m.engine", options=EngineOptions(max_batch=2)).path
        platform.deactivate()


def test_an_engine_and_its_onnx_file(built, capsys):
    models = [str(built), str(built.with_name("model.onnx"))]
    arguments = [*models, *ROOF, "--repeats", "2", "--batch", "2", "--threads", "1"]
    assert main(["layers", *arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert "not GPU timings" in " ".join(err.split())
    engine, model = result["models"]
    assert (engine["platform"], engine["batch"], engine["executed_precision"]) == ("emulated", 2, "fp32")
    assert engine["counted_share"] == model["counted_share"] == 1.0
    for found in result["models"]:
        convolutions = {layer["name"]: layer for layer in found["layers"] if layer["nodes"]}
        assert set(convolutions) == {"/model.0/conv/Conv", "/model.1/conv/Conv"}
        assert sum(layer["flops"] or 0 for layer in found["layers"]) == 2 * FLOPS
        assert convolutions["/model.0/conv/Conv"]["nodes"] == ["/model.0/conv/Conv", "/model.0/act/Relu"]
        assert found["advice"][0]["time_ms"] > 0
        assert found["spread"] >= 1


def test_the_table_the_advice_and_the_pictures(built, tmp_path, capsys):
    assert main(["layers", str(built), "--repeats", "1", *ROOF, "--advice", "1", "-o", str(tmp_path / "out")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "mostly FP32" in text
    assert "Roof: FP32 100, INT8 400 GFLOP/s, 20 GB/s" in text
    assert "What to do: 1. /model." in text
    assert "% of the engine. In FP32 it does" in text
    pictures = {"heatmap.png", "network.png", "roofline-m.engine.png", "fusion-hottest-m.engine.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"layers.json", *pictures}
    (saved,) = json.loads((tmp_path / "out" / "layers.json").read_text())["models"]
    assert len(saved["advice"]) >= 1


def test_a_busy_machine_is_told(built, capsys, monkeypatch):
    """Every other run is slow: the median lies between, the fastest run far below."""
    from yolotrt_lab.profiling import layer_view
    from yolotrt_lab.profiling.layers import LayerTime

    layer = LayerTime("/model.0/conv/Conv", "", "fp32", 1.0, ("/model.0/conv/Conv",))
    monkeypatch.setattr(layer_view, "layer_samples", lambda *_, **__: ((layer,), {layer.name: [1.0, 3.0, 3.0]}))
    assert main(["layers", str(built), *ROOF]) == 0
    out, err = capsys.readouterr()
    assert "3.0 times as long in the median as in their fastest run" in " ".join(err.split())
    assert "model.0" in out
    monkeypatch.setattr(layer_view, "layer_samples", lambda *_, **__: ((layer,), {layer.name: [1.0, 1.1, 1.2]}))
    assert main(["layers", str(built), *ROOF]) == 0
    assert "busy" not in capsys.readouterr().err


def test_an_engine_whose_graph_is_gone(built, tmp_path, capsys):
    for name in ("m.engine", "m.engine.json"):
        shutil.copy(built.with_name(name), tmp_path / name)
    sidecar = tmp_path / "m.engine.json"
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "onnx_path": "elsewhere.onnx"}))
    assert onnx_behind(tmp_path / "m.engine") is None
    assert main(["layers", str(tmp_path / "m.engine"), "--repeats", "1"]) == 0
    out, err = capsys.readouterr()
    assert "Pass it with --onnx" in " ".join(err.split())
    assert "Convolution" in out
    other = write_model(tmp_path / "other.onnx")
    arguments = ["layers", str(tmp_path / "m.engine"), "--onnx", str(other), "--repeats", "1", *ROOF, "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["counted_share"] == 1.0


def test_the_engines_own_graph_is_found_beside_it_and_only_unchanged(built, tmp_path):
    assert onnx_behind(built) == built.with_name("model.onnx")
    for name in ("m.engine", "m.engine.json"):
        shutil.copy(built.with_name(name), tmp_path / name)
    sidecar = tmp_path / "m.engine.json"
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "onnx_path": "away/model.onnx"}))
    shutil.copy(built.with_name("model.onnx"), tmp_path / "model.onnx")
    assert onnx_behind(tmp_path / "m.engine") == tmp_path / "model.onnx"
    (tmp_path / "model.onnx").write_bytes(b"changed")
    assert onnx_behind(tmp_path / "m.engine") is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["missing.engine"], "missing.engine"),
        (["model.pt"], "does not tell the time of single layers"),
        (["{onnx}@onnxruntime"], "does not tell the time of single layers"),
        (["{onnx}", "--onnx", "{onnx}", "--onnx", "{onnx}"], "once for each of the 1 models"),
        (["{onnx}", "--roof", "h100", "--repeats", "1"], "measured, h200"),
        (["{onnx}", *ROOF, "--block", "/model.7", "--repeats", "1", "-o", "{out}"], "no block '/model.7'"),
    ],
)
def test_bad_input(built, tmp_path, capsys, options, words):
    filled = [option.format(onnx=built.with_name("model.onnx"), out=tmp_path / "out") for option in options]
    assert main(["layers", *filled]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
