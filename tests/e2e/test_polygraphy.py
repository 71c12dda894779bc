"""NVIDIA's own client of TensorRT, unchanged, on the emulation: its Python API and its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.device import device

pytestmark = [
    pytest.mark.xdist_group("polygraphy"),  # importing it and ONNX Runtime takes longer than using them
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SHAPE = (3, 16, 16)


@pytest.fixture(autouse=True)
def _emulation(monkeypatch):
    monkeypatch.setenv("YOLOTRT_EMULATION_THREADS", "1")
    modules.activate(10)
    yield
    modules.deactivate()
    device().reset()  # a failed inference leaves work behind


def write_model(path: Path, *, dtype: type = np.float32, batch: int | str = 1) -> Path:
    """Write images (batch, 3, 16, 16) -> conv -> ReLU -> conv -> output0 (batch, 4, 16, 16)."""
    random = np.random.default_rng(0)
    shapes = {"w0": (8, 3, 3, 3), "b0": (8,), "w1": (4, 8, 3, 3), "b1": (4,)}
    weights = [
        numpy_helper.from_array(random.normal(0, 0.3, shape).astype(dtype), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["images", "w0", "b0"], ["c0"], name="conv0", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"], name="relu0"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["output0"], name="conv1", pads=[1] * 4),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ends = [
        [helper.make_tensor_value_info(name, kind, [batch, channels, *SHAPE[1:]])]
        for name, channels in (("images", 3), ("output0", 4))
    ]
    graph = helper.make_graph(nodes, "small", *ends, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model in three forms."""
    root = tmp_path_factory.mktemp("polygraphy")
    write_model(root / "model.onnx")
    write_model(root / "half.onnx", dtype=np.float16)
    write_model(root / "dynamic.onnx", batch="batch")
    return root


def images(batch: int = 1) -> np.ndarray:
    return np.random.default_rng(1).random((batch, *SHAPE), dtype=np.float32)


def reference(path: Path, batch: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": batch})[0]


def distance(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def test_runners_are_compared(folder):
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.backend.trt import EngineFromNetwork, NetworkFromOnnxPath, TrtRunner
    from polygraphy.comparator import Comparator, SimpleCompareFunc

    path = str(folder / "model.onnx")
    runners = [TrtRunner(EngineFromNetwork(NetworkFromOnnxPath(path))), OnnxrtRunner(SessionFromOnnx(path))]
    results = Comparator.run(runners)
    assert bool(Comparator.compare_accuracy(results, compare_func=SimpleCompareFunc(atol=1e-4)))
    (name, (emulated,)), _ = results.items()
    emulated["output0"] = emulated["output0"] + 0.01
    results[name] = [emulated]
    assert not bool(Comparator.compare_accuracy(results, compare_func=SimpleCompareFunc(atol=1e-4)))


def test_profiles_and_device_memory(folder):
    from polygraphy.backend.common import BytesFromPath
    from polygraphy.backend.trt import (
        CreateConfig,
        EngineFromBytes,
        EngineFromNetwork,
        NetworkFromOnnxPath,
        Profile,
        SaveEngine,
        TrtRunner,
    )
    from polygraphy.cuda import DeviceArray, Stream

    path, plan = folder / "dynamic.onnx", str(folder / "profiles.engine")
    profiles = [Profile().add("images", *[(size, *SHAPE) for size in sizes]) for sizes in ((1, 1, 2), (3, 4, 6))]
    SaveEngine(EngineFromNetwork(NetworkFromOnnxPath(str(path)), CreateConfig(profiles=profiles)), plan)()
    with TrtRunner(EngineFromBytes(BytesFromPath(plan)), optimization_profile=1) as runner:
        batch = images(5)
        outputs = runner.infer({"images": batch})
        assert distance(outputs["output0"], reference(path, batch)) < 1e-5
        with Stream() as stream, DeviceArray(shape=batch.shape, dtype=np.float32) as device:
            device.copy_from(batch, stream)
            stream.synchronize()
            there = runner.infer({"images": device}, copy_outputs_to_host=False)["output0"]
            assert distance(there.numpy(), reference(path, batch)) < 1e-5
        with pytest.raises(Exception, match="failed to set shape"):
            runner.infer({"images": images(2)})


@pytest.mark.parametrize(("fp16", "int8", "bound"), [(True, False, 2e-2), (False, True, 0.15)], ids=["fp16", "int8"])
def test_classic_precision(folder, fp16, int8, bound):
    from polygraphy.backend.trt import Calibrator, CreateConfig, EngineFromNetwork, NetworkFromOnnxPath, TrtRunner

    cache = folder / "calibration.cache"
    calibrator = Calibrator([{"images": images()}] * 3, cache=str(cache)) if int8 else None
    config = CreateConfig(fp16=fp16, int8=int8, calibrator=calibrator)
    with TrtRunner(EngineFromNetwork(NetworkFromOnnxPath(str(folder / "model.onnx")), config)) as runner:
        found = runner.infer({"images": images()})["output0"]
    assert 1e-6 < distance(found, reference(folder / "model.onnx", images())) < bound
    if int8:
        assert cache.read_text().startswith("TRT-")


def test_cuda_errors_are_polygraphys():
    from polygraphy.cuda import wrapper
    from polygraphy.exception import PolygraphyException

    with pytest.raises(PolygraphyException, match="CUDA Error: 1"):
        wrapper().free(0x1234)


COMMANDS = [
    ("run model.onnx --trt --onnxrt", 0, "Pass Rate: 100.00%"),
    ("run model.onnx --trt --onnxrt --fp16 --atol 0 --rtol 0", 1, "Pass Rate: 0.00%"),
    ("run model.onnx --trt --onnxrt --fp16 --atol 0.1 --rtol 0.1 --save-engine half.engine", 0, "Pass Rate: 100.00%"),
    ("run model.onnx --trt --onnxrt --int8 --atol 0.5 --rtol 0.5 --save-engine int8.engine", 0, "Pass Rate: 100.00%"),
    ("run half.onnx --trt --strongly-typed --save-inputs in.json --save-outputs out.json", 0, "PASSED"),
    (
        "run half.onnx --trt --load-inputs in.json --load-outputs out.json --atol 0.05 --rtol 0.05",
        0,
        "Pass Rate: 100.00%",
    ),
    ("run model.onnx --trt --onnxrt --trt-outputs mark all --onnx-outputs mark all", 0, "Pass Rate: 100.00%"),
    (
        "run dynamic.onnx --trt --onnxrt --trt-min-shapes images:[1,3,16,16] --trt-opt-shapes images:[2,3,16,16] "
        "--trt-max-shapes images:[4,3,16,16] --input-shapes images:[3,3,16,16] --save-engine dynamic.engine",
        0,
        "Pass Rate: 100.00%",
    ),
    ("run dynamic.engine --model-type engine --trt --input-shapes images:[4,3,16,16]", 0, "PASSED"),
    ("inspect model dynamic.engine", 0, "min=(1, 3, 16, 16), opt=(2, 3, 16, 16), max=(4, 3, 16, 16)"),
    ("inspect model int8.engine --show layers", 0, "Layer 0"),
    ("inspect model model.onnx --display-as=trt --show layers", 0, "relu0"),
    ("inspect capability model.onnx", 0, "Graph is fully supported by TensorRT"),
    ("run model.onnx --trt --onnxrt --allocation-strategy runtime --iterations 2", 0, "Passed: 2/2 iterations"),
    ("convert model.onnx --convert-to trt -o converted.engine", 0, "Finished engine building"),
    ("run nothing.onnx --trt", 1, "nothing.onnx"),
]


def test_the_command_line(folder, monkeypatch, capfd):
    """The commands in their order; later ones take what earlier ones wrote."""
    from polygraphy.tools import main

    monkeypatch.chdir(folder)
    for command, code, said in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["polygraphy", *command.split()])
        status = main(command.split())
        output = "".join(capfd.readouterr())
        assert status == code, f"{command}\n{output}"
        assert said in output, f"{command}\n{output}"
    assert json.loads((folder / "out.json").read_text())


OTHER_VERSION = """
import sys
from polygraphy.tools import main
commands = (
    "run model.onnx --trt --onnxrt",
    "run half.onnx --trt --onnxrt --atol 0.02 --rtol 0.02 --save-engine half11.engine",
    "inspect model half11.engine --show layers",
    "run model.onnx --trt --fp16",
)
print([main(command.split()) for command in commands])
import tensorrt
print(tensorrt.__version__)
"""


def test_version_11(folder):
    script = folder / "version11.py"
    script.write_text(OTHER_VERSION)
    command = [sys.executable, "-m", "yolotrt_lab.emulation", "--api", "11", str(script)]
    environment = {**os.environ, "YOLOTRT_PLATFORM": "emulated"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    *_, codes, version = done.stdout.splitlines()
    assert (codes, version) == ("[0, 0, 0, 1]", "11.4.0.106"), done.stdout + done.stderr
    assert "fp16 in CreateConfig is not available on TensorRT version 11.4" in done.stdout + done.stderr
