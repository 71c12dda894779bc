"""Programs of others beside and on the emulation: Ultralytics' exporter, and everything that must not notice it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.device import device

SIZE = 32


def write_model(path: Path, *, quantized: bool = False, batch: int | str = 1) -> Path:
    """Write images (batch, 3, 32, 32) -> [Q/DQ ->] conv (weights Q/DQ) -> output0 (batch, 4, 32, 32)."""
    random = np.random.default_rng(0)
    weights = [numpy_helper.from_array(random.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32), "w")]
    nodes, source, weight = [], "images", "w"
    if quantized:
        for name, step in (("images", 1 / 127), ("w", 0.01)):
            weights += [
                numpy_helper.from_array(np.array(step, np.float32), f"{name}_s"),
                numpy_helper.from_array(np.array(0, np.int8), f"{name}_z"),
            ]
            scale = [f"{name}_s", f"{name}_z"]
            nodes.append(helper.make_node("QuantizeLinear", [name, *scale], [f"{name}_q"], name=f"{name}_Q"))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *scale], [f"{name}_d"], name=f"{name}_DQ"))
        source, weight = "images_d", "w_d"
    nodes.append(helper.make_node("Conv", [source, weight], ["output0"], name="conv", pads=[1] * 4))
    ends = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, channels, *side])]
        for name, channels, side in (("images", 3, ("h", "w") if batch != 1 else (SIZE, SIZE)), ("output0", 4, "hw"))
    ]
    graph = helper.make_graph(nodes, "small", *ends, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def run_plan(plan: bytes, images: np.ndarray) -> np.ndarray:
    import tensorrt as trt
    from cuda.bindings import runtime as cudart

    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    assert context.set_input_shape("images", images.shape)
    output = np.empty(tuple(context.get_tensor_shape("output0")), np.float32)
    (_, source), (_, target) = cudart.cudaMalloc(images.nbytes), cudart.cudaMalloc(output.nbytes)
    cudart.cudaMemcpy(source, images, images.nbytes, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice)
    assert context.execute_v2([source, target])
    cudart.cudaMemcpy(output, target, output.nbytes, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost)
    return output


def reference(path: Path, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


class TestUltralyticsExporter:
    @pytest.fixture(autouse=True)
    def _emulation(self, monkeypatch):
        monkeypatch.setenv("YOLOTRT_EMULATION_THREADS", "1")
        yield
        modules.deactivate()
        device().reset()

    @pytest.mark.parametrize(
        ("api", "model", "options", "least", "most"),
        [
            (10, {}, {}, 0, 1e-5),
            (11, {}, {}, 0, 1e-5),
            (10, {}, {"quantize": 16, "workspace": 1}, 1e-5, 2e-2),
            (10, {"batch": "n"}, {"dynamic": True, "shape": (2, 3, SIZE, SIZE)}, 0, 1e-5),
            (11, {"batch": "n"}, {"dynamic": True, "shape": (2, 3, SIZE, SIZE)}, 0, 1e-5),
            (10, {"quantized": True}, {"quantize": 8}, 0, 2e-2),
        ],
        ids=["fp32-10", "fp32-11", "fp16-10", "dynamic-10", "dynamic-11", "int8-10"],
    )
    def test_engines(self, api, model, options, least, most, tmp_path):
        from ultralytics.utils.export import engine as exporter

        modules.activate(api)
        exporter.get_tensorrt_logger.cache_clear()  # it keeps a logger of the other version
        source, target = write_model(tmp_path / "model.onnx", **model), tmp_path / "model.engine"
        metadata = {"stride": 32, "names": {0: "bolt"}}
        options = {"shape": (1, 3, SIZE, SIZE), **options}
        assert exporter.onnx2engine(str(source), target, metadata=metadata, **options) == str(target)
        content = target.read_bytes()
        length = int.from_bytes(content[:4], "little")
        assert json.loads(content[4 : 4 + length]) == {"stride": 32, "names": {"0": "bolt"}}
        images = np.random.default_rng(1).random((options["shape"][0], 3, SIZE, SIZE), dtype=np.float32)
        expected = reference(source, images)
        distance = np.linalg.norm(run_plan(content[4 + length :], images) - expected) / np.linalg.norm(expected)
        assert least <= distance <= most

    def test_calibration_needs_pytorchs_cuda_and_says_so(self, tmp_path, caplog):
        import torch
        from ultralytics.utils.export import engine as exporter

        class Batches(list):
            batch_size = 1

        if torch.cuda.is_available():
            pytest.skip("PyTorch can move tensors to a GPU here")
        modules.activate(10)
        exporter.get_tensorrt_logger.cache_clear()
        batches = Batches([{"img": torch.zeros(1, 3, SIZE, SIZE)}])
        source = write_model(tmp_path / "model.onnx")
        with pytest.raises(RuntimeError, match="TensorRT engine build failed"):
            exporter.onnx2engine(
                str(source), tmp_path / "x.engine", quantize=8, dataset=batches, shape=(1, 3, SIZE, SIZE)
            )


BESIDE = """
import sys
import numpy as np
import onnxruntime, torch
from ultralytics import YOLO

image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
model = YOLO(sys.argv[1])

def work():
    boxes = model.predict(image, imgsz=64, conf=0.001, device="cpu", verbose=False)[0].boxes.data.numpy()
    session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": np.full((1, 3, 32, 32), 0.5, np.float32)})[0]
    half = float(torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)).sum())
    assert len(boxes)
    return boxes, found, half, torch.cuda.is_available(), len(onnxruntime.get_available_providers())

def imported():
    theirs = ("cuda", "tensorrt", "pycuda")
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] in theirs}

before, finders, real = work(), list(sys.meta_path), imported()
from yolotrt_lab.emulation import modules
assert sys.meta_path == finders and imported() == real
modules.activate(10)
import tensorrt, pycuda.autoinit
from cuda.bindings import runtime
assert runtime.cudaGetDeviceCount()[1] == 1
during = work()
exported = model.export(format="onnx", imgsz=64, device="cpu", simplify=False)
modules.deactivate()
after = work()
assert sys.meta_path == finders and imported() == real, sorted(set(imported()) ^ set(real))
for now in (during, after):
    for then, value in zip(before, now, strict=True):
        assert np.array_equal(then, value)
session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
assert np.isfinite(session.run(None, {"images": np.full((1, 3, 64, 64), 0.5, np.float32)})[0]).all()
print("the same")
"""


@pytest.mark.slow
def test_nobody_else_notices(tmp_path):
    """PyTorch, Ultralytics and ONNX Runtime compute the same before, during and after; imports are as they were."""
    from yolotrt_lab.training import base_checkpoint

    weights = tmp_path / "base.pt"
    weights.write_bytes(base_checkpoint().read_bytes())
    command = [sys.executable, "-c", BESIDE, str(weights), str(write_model(tmp_path / "small.onnx"))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "the same"


NOTEBOOK = """
import importlib, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
cells = [
    "%load_ext autoreload", "%autoreload 2",
    "from yolotrt_lab.emulation import modules; modules.activate(11)",
    "import tensorrt as trt, pycuda.driver; builder = trt.Builder(trt.Logger())",
    "assert isinstance(builder, trt.Builder) and trt.__version__.startswith('11.')",
    "import importlib; assert importlib.reload(trt) is trt and isinstance(builder, trt.Builder)",
    "modules.deactivate(); import sys; assert 'tensorrt' not in sys.modules",
]
for cell in cells:
    shell.run_cell(cell).raise_error()
print("reloaded")
"""


def test_notebooks_that_reload_modules():
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "reloaded"
