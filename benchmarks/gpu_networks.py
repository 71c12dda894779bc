"""The networks that the GPU benchmarks time, each as a PyTorch module, as ONNX models and as engines."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import platform
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from yolotrt_lab.export.onnx_export import export_onnx, load_detector
from yolotrt_lab.gpu.networks import BoundNetwork, DeviceNetwork, OnnxRuntimeNetwork, TensorRTNetwork, TorchNetwork
from yolotrt_lab.optional import package_version
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.training.environment import import_ultralytics
from yolotrt_lab.training.weights import base_checkpoint
from yolotrt_lab.types import Array, TensorSpec

IMAGE_SIZE = 640
SEED = 0
NO_TENSORRT = "not measured here: TensorRT is not installed on this machine; the same command fills the row where it is"
_PACKAGES = ("torch", "triton", "ultralytics", "onnx", "numpy", "tensorrt-cu13")


@dataclass(frozen=True)
class Model:
    """A detector in the two forms that everything else is made of."""

    name: str
    checkpoint: Path
    onnx: Path
    class_names: tuple[str, ...]
    is_trained: bool


def make_model(name: str, folder: Path) -> Model:
    """Return the package's own YOLOv5n, or an architecture of Ultralytics' with random weights, and its ONNX export."""
    is_trained = name == "yolov5n"
    if is_trained:
        checkpoint = base_checkpoint()
    else:
        checkpoint = folder / f"{name}.pt"
        if not checkpoint.exists():
            torch.manual_seed(SEED)
            yolo = import_ultralytics(purpose="build the networks to time").YOLO(f"{name}.yaml")
            _liven(yolo.model)
            yolo.save(checkpoint)
    onnx = folder / f"{name}.onnx"
    export_onnx(checkpoint, onnx, image_size=IMAGE_SIZE)
    names = tuple(load_detector(checkpoint, folder=folder).names.values())
    return Model(name, checkpoint, onnx, names, is_trained)


def _liven(model: Any) -> None:
    """Give random weights activations like a trained network's; else all fade to zero, which a GPU computes faster.

    The batch norms' statistics are those of a few noisy pictures, as after training.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over all pictures
    noise = torch.rand(4, 3, IMAGE_SIZE // 16, IMAGE_SIZE // 16)
    with torch.no_grad():
        model((torch.nn.functional.interpolate(noise, scale_factor=8) + torch.rand(4, 3, 320, 320) / 4).clamp(0, 1))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.03
    model.eval()


def torch_network(model: Model, folder: Path, **options: Any) -> TorchNetwork:
    """Return the model, batch norms fused, as PyTorch runs it."""
    module = load_detector(model.checkpoint, folder=folder).model.float().eval().fuse(verbose=False)
    return TorchNetwork(module, **options)


def half_onnx(model: Model, folder: Path) -> Path:
    """Return the ONNX model in FP16, inputs and outputs included."""
    path = folder / f"{model.name}.fp16.onnx"
    if not path.exists():
        convert_to_fp16(model.onnx, path, keep_io=False)
    return path


def tensorrt_network(onnx: Path, precision: str, *, batch: int, folder: Path) -> TensorRTNetwork | None:
    """Return an engine built here, or None without TensorRT: an emulated one has no place among GPU timings."""
    if importlib.util.find_spec("tensorrt") is None:
        return None
    from yolotrt_lab.engines.build import EngineOptions, build_engine
    from yolotrt_lab.engines.plan import load_engine
    from yolotrt_lab.types import Precision

    options = EngineOptions(precision=Precision(precision), opt_batch=batch, max_batch=batch)
    built = build_engine(onnx, folder / f"{onnx.stem}.{precision}.{batch}.engine", options=options)
    return TensorRTNetwork(load_engine(built.path).engine)


class Contender:
    """A network with its own input and stream; one call is one run with a wait."""

    def __init__(self, network: DeviceNetwork, images: Array, *, use_graph: bool, tf32: bool) -> None:
        self.tf32, self.network = tf32, network
        self.stream = torch.cuda.Stream()
        layout = torch.channels_last if network.channels_last else torch.contiguous_format
        self.images = torch.from_numpy(images).to("cuda", getattr(torch, network.dtype)).to(memory_format=layout)
        torch.cuda.synchronize()
        self._apply_tf32()
        self.bound: BoundNetwork = network.bind(self.images, self.stream)
        for _ in range(5):
            self.output = self.bound.enqueue()
        self.stream.synchronize()
        self._enqueue: Callable[[], Any] = self.bound.enqueue
        if use_graph:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self.stream, capture_error_mode="thread_local"):
                self.output = self.bound.enqueue()
            self._enqueue = self._replay

    def _replay(self) -> None:
        with torch.cuda.stream(self.stream):
            self._graph.replay()

    def _apply_tf32(self) -> None:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.tf32

    def milliseconds(self, calls: int) -> float:
        """Return the median host time of a call: asked for, run, waited for."""
        self._apply_tf32()
        taken = []
        for _ in range(calls):
            start = time.perf_counter_ns()
            self._enqueue()
            self.stream.synchronize()
            taken.append(time.perf_counter_ns() - start)
        return float(np.median(taken)) / 1e6

    def result(self) -> Array:
        """Return the output for the contender's images, as float32."""
        self._apply_tf32()
        returned = self._enqueue()
        self.stream.synchronize()
        output = self.output if returned is None else returned
        found: Array = output.float().cpu().numpy()
        return found


class HostBackend:
    """A device network as the CPU detector's backend: NumPy in, NumPy out, a pageable copy each way."""

    def __init__(self, network: DeviceNetwork, *, output_shape: tuple[int, ...], tf32: bool = True) -> None:
        zeros = np.zeros((1, 3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
        self._contender = Contender(network, zeros, use_graph=False, tf32=tf32)
        self.inputs = (TensorSpec("images", network.dtype, (1, 3, IMAGE_SIZE, IMAGE_SIZE)),)
        self.outputs = (TensorSpec("output0", "float32", output_shape),)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network on one preprocessed image."""
        self._contender.images.copy_(torch.from_numpy(feeds["images"]))
        torch.cuda.synchronize()
        return {"output0": self._contender.result()}


def summary(samples: list[float]) -> dict[str, Any]:
    """Return min, median and max over rounds."""
    return {
        "min": round(min(samples), 5),
        "median": round(float(np.median(samples)), 5),
        "max": round(max(samples), 5),
        "rounds": len(samples),
    }


@contextlib.contextmanager
def provenance(arguments: Sequence[str], commit: str | None) -> Iterator[dict[str, Any]]:
    """Yield what a reader must know of the machine; the state of the device is read before and after."""
    facts: dict[str, Any] = {
        "command": " ".join(["python", *(Path(word).name if word.endswith(".json") else word for word in arguments)]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_commit": commit or _output_of("git", "rev-parse", "HEAD") or "unknown",
        "device": torch.cuda.get_device_name(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "versions": {name: version for name in _PACKAGES if (version := package_version(name))}
        | {"onnxruntime": onnxruntime.__version__},
        "seed": SEED,
        "before": device_state(),
    }
    yield facts
    facts["after"] = device_state()


def device_state() -> dict[str, str]:
    """Return driver, clocks, temperature and power as nvidia-smi gives them; the clocks are left as they are."""
    query = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.draw,power.limit,pstate"
    values = _output_of("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0")
    return dict(zip(query.split(","), [value.strip() for value in values.split(",")], strict=False))


def _output_of(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


__all__ = [
    "IMAGE_SIZE", "NO_TENSORRT", "SEED", "Contender", "HostBackend", "Model", "OnnxRuntimeNetwork",
    "half_onnx", "make_model", "provenance", "summary", "tensorrt_network", "torch_network",
]  # fmt: skip
