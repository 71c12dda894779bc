"""Show that emulated TensorRT runs on a real GPU's memory, and measure it, on a machine without TensorRT's libraries.

    python benchmarks/gpu_device_memory.py model.onnx image.jpg... --output results.json

Needs an NVIDIA GPU with driver, onnxruntime-gpu, cuda-python and PyCUDA. Each part is measured by itself; one that
fails is written down with its error, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import os
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("YOLOTRT_PLATFORM", "emulated-on-gpu")

from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.detection.pipeline import Detector
from yolotrt_lab.engines.build import build_engine
from yolotrt_lab.engines.calibrator import ClassicCalibration
from yolotrt_lab.engines.call_trace import record_calls
from yolotrt_lab.engines.options import EngineOptions
from yolotrt_lab.engines.plan import load_engine
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.evaluation.box_agreement import compare_boxes
from yolotrt_lab.evaluation.tensor_agreement import compare_tensors
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.fp16 import convert_to_fp16
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.profiling.timing import time_call_ms
from yolotrt_lab.runtimes import tensorrt_buffers
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.types import Array, Precision

_NOTEBOOK = Path(__file__).parents[1] / "course" / "notebooks" / "lab5_inference_profiling.py"
_BATCH = 4
_LIMITS = {"FP32": (0.99, 0.005), "FP16": (0.95, 0.02), "FP16 by flag": (0.95, 0.02)}  # IoU and score of matching boxes


@dataclass
class Bench:
    """What the parts share: the ONNX models and engines by name, and the preprocessed images."""

    onnx: dict[str, Path]
    engines: dict[str, Path]
    frames: list[Array]
    folder: Path
    images: list[Path]


def main() -> int:
    """Run every part and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a detector with dynamic batch")
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        frames = [preprocess(read_image(path), input_hw=(640, 640))[0] for path in options.images]
        bench = Bench({"FP32": options.model}, {}, frames, Path(folder), options.images)
        for part in _PARTS:
            clock = time.perf_counter()
            try:
                found = part(bench)
            except Exception as error:
                traceback.print_exc()
                found = {"error": f"{type(error).__name__}: {error}"}
            results[part.__name__] = {**found, "seconds": round(time.perf_counter() - clock, 2)}
            print(part.__name__, json.dumps(results[part.__name__], indent=1), flush=True)
            options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return int(any("error" in found for found in results.values()))


def environment(bench: Bench) -> dict[str, Any]:
    """The platform and the versions."""
    import onnxruntime
    import pycuda

    platform = activate()
    return {
        "platform": platform.kind,
        "device_name": platform.device_name,
        "tensorrt": platform.tensorrt_version,
        "onnxruntime": onnxruntime.__version__,
        "pycuda": ".".join(map(str, pycuda.VERSION)),
        "openvino_imported": "openvino" in sys.modules,
        "pycuda_is_real": not str(pycuda.__spec__.origin).startswith("yolotrt_lab"),
    }


def builds(bench: Bench) -> dict[str, Any]:
    """FP32, FP16 by the graph, FP16 by the builder flag, and Q/DQ; what the inspector says runs."""
    bench.onnx["FP16"] = bench.folder / "fp16.onnx"
    convert_to_fp16(bench.onnx["FP32"], bench.onnx["FP16"])
    bench.onnx["Q/DQ"] = bench.folder / "qdq.onnx"
    quantize_onnx(bench.onnx["FP32"], bench.onnx["Q/DQ"], table=calibrate(bench.onnx["FP32"], bench.frames))
    asked = {"FP32": "fp32", "FP16": "fp16", "Q/DQ": "int8", "FP16 by flag": "fp16", "INT8 by calibrator": "int8"}
    found = {}
    for name, precision in asked.items():
        source = bench.onnx.get(name, bench.onnx["FP32"])
        classic = name not in bench.onnx
        options = EngineOptions(precision=Precision(precision), max_batch=_BATCH, classic=classic)
        calibration = ClassicCalibration(bench.frames) if classic and precision == "int8" else None
        target = bench.folder / f"{name.replace('/', '')}.engine"
        built = build_engine(source, target, options=options, calibration=calibration)
        bench.engines[name] = built.path
        found[name] = {
            "runs": str(built.report.executed_precision),
            "share": {str(kind): round(part, 3) for kind, part in built.report.precision_share.items()},
            "layers": len(built.report.layers),
            "providers": sorted({layer.tactic.split("_")[1] for layer in built.report.layers}),
            "build_s": round(built.seconds, 2),
        }
    return found


def accuracy(bench: Bench) -> dict[str, Any]:
    """Outputs and boxes against FP32 by ONNX Runtime on the CPU; the package's runtime: pinned memory, own stream."""
    found = {}
    pictures = [read_image(path) for path in bench.images]
    with open_runtime(bench.onnx["FP32"], device="cpu") as runtime:
        expected = [runtime.infer({"images": frame})["output0"] for frame in bench.frames]
        boxes = _detect(runtime, pictures)
    for name in ("FP32", "FP16", "FP16 by flag", "Q/DQ", "INT8 by calibrator"):
        with open_runtime(bench.engines[name]) as runtime:
            single = [runtime.infer({"images": frame})["output0"] for frame in bench.frames]
            batch = runtime.infer({"images": np.concatenate(bench.frames[:_BATCH])})["output0"]
            agreements = [compare_tensors(a, e) for a, e in zip(single, expected, strict=True)]
            iou, delta = _LIMITS.get(name, (0.8, 0.1))
            agreement = compare_boxes(
                _detect(runtime, pictures), boxes, match_iou=iou, score_delta=delta, conf_threshold=0.25
            )
            found[name] = {
                "relative_l2": max(item.relative_l2 for item in agreements),
                "cosine": min(item.cosine for item in agreements),
                "batch_relative_l2": compare_tensors(batch, np.concatenate(expected[:_BATCH])).relative_l2,
                "boxes_matched": agreement.matched_fraction,
                "boxes_compared": agreement.compared,
                "latency_ms": _median_ms(functools.partial(runtime.infer, {"images": bench.frames[0]})),
            }
    return found


def _detect(runtime: Any, pictures: Sequence[Any]) -> Any:
    detector = Detector(runtime, class_names=tuple(f"class {index}" for index in range(8)))
    return [detector.detect(picture) for picture in pictures]


def _median_ms(call: Callable[[], object], repeats: int = 50) -> float:
    return float(np.median([time_call_ms(call) for _ in range(repeats + 5)][5:]))


class Hand:
    """One context with pinned and device memory through PyCUDA, step by step."""

    def __init__(self, engine: Any, batch: int = 1) -> None:
        import pycuda.driver as cuda

        tensorrt_buffers.use_primary_context()
        self.cuda, self.stream = cuda, cuda.Stream()
        self.context = engine.create_execution_context()
        self.context.set_input_shape("images", (batch, 3, 640, 640))
        shapes = {name: tuple(self.context.get_tensor_shape(name)) for name in ("images", "output0")}
        self.host = {name: cuda.pagelocked_zeros(shape, np.float32) for name, shape in shapes.items()}
        self.device = {name: cuda.mem_alloc(array.nbytes) for name, array in self.host.items()}
        for name, memory in self.device.items():
            self.context.set_tensor_address(name, int(memory))

    def submit(self, frame: Array, events: Sequence[Any] = ()) -> bool:
        """Queue copy, inference and copy, with events around the inference."""
        self.host["images"][:] = frame
        self.cuda.memcpy_htod_async(self.device["images"], self.host["images"], self.stream)
        for event in events[:1]:
            event.record(self.stream)
        done = self.context.execute_async_v3(self.stream.handle)
        for event in events[1:]:
            event.record(self.stream)
        self.cuda.memcpy_dtoh_async(self.host["output0"], self.device["output0"], self.stream)
        return bool(done)


def asynchrony(bench: Bench) -> dict[str, Any]:
    """How long enqueuing takes the host, and the inference the GPU, by events; ten inferences in a row of batch 4."""
    found = {}
    for name in ("FP32", "FP16"):
        loaded = load_engine(bench.engines[name])
        hand = Hand(loaded.engine, _BATCH)
        frame = np.concatenate(bench.frames[:_BATCH])
        for _ in range(3):
            hand.submit(frame)
        hand.stream.synchronize()
        start, end = hand.cuda.Event(), hand.cuda.Event()
        host_ms, gpu_ms, done_at_return = [], [], 0
        for _ in range(20):
            clock = time.perf_counter()
            hand.submit(frame, (start, end))
            host_ms.append((time.perf_counter() - clock) * 1e3)
            done_at_return += hand.stream.is_done()
            hand.stream.synchronize()
            gpu_ms.append(start.time_till(end))
        clock = time.perf_counter()
        for _ in range(10):
            hand.context.execute_async_v3(hand.stream.handle)
        queued = time.perf_counter() - clock
        hand.stream.synchronize()
        total = time.perf_counter() - clock
        found[name] = {
            "host_submit_ms": float(np.median(host_ms)),
            "gpu_inference_ms": float(np.median(gpu_ms)),
            "done_when_submit_returned": f"{done_at_return} of 20",
            "ten_enqueued_ms": queued * 1e3,
            "ten_done_ms": total * 1e3,
        }
    return found


def streams(bench: Bench) -> dict[str, Any]:
    """Two contexts of one engine in two streams, work in both at once: each must get its own results."""
    loaded = load_engine(bench.engines["FP32"])
    hands = [Hand(loaded.engine), Hand(loaded.engine)]
    frames = [bench.frames[0], bench.frames[-1]]
    alone = []
    for hand, frame in zip(hands, frames, strict=True):
        hand.submit(frame)
        hand.stream.synchronize()
        alone.append(hand.host["output0"].copy())
    worst = 0.0
    for _ in range(30):
        for hand, frame in zip(hands, frames, strict=True):
            hand.submit(frame)
        for hand, expected in zip(hands, alone, strict=True):
            hand.stream.synchronize()
            worst = max(worst, float(np.abs(hand.host["output0"] - expected).max()))
    return {"rounds": 30, "largest_difference": worst, "results_differ": bool((alone[0] != alone[1]).any())}


def threads(bench: Bench) -> dict[str, Any]:
    """Four threads, each with an engine of its own in the package's runtime: each must get its own results."""
    runtimes = [open_runtime(bench.engines["FP32"]) for _ in range(4)]
    expected = [runtimes[0].infer({"images": frame})["output0"] for frame in bench.frames]
    jobs = [(runtime, frame, e) for runtime, frame, e in zip(runtimes, bench.frames, expected, strict=False)]

    def work(job: tuple[Any, Array, Array]) -> float:
        runtime, frame, wanted = job
        return max(float(np.abs(runtime.infer({"images": frame})["output0"] - wanted).max()) for _ in range(20))

    with ThreadPoolExecutor(len(jobs)) as pool:
        worst = max(pool.map(work, jobs))
    for runtime in runtimes:
        runtime.close()
    return {"threads": len(jobs), "inferences": 20 * len(jobs), "largest_difference": worst}


def labs(bench: Bench) -> dict[str, Any]:
    """Lab 5's own class and generator, taken from its notebook, and what they ask of the device."""
    import pycuda.driver as cuda
    import tensorrt as trt

    tensorrt_buffers.use_primary_context()
    names: dict[str, Any] = {"np": np, "cuda": cuda, "trt": trt, "deque": deque, "tensorrt_buffers": tensorrt_buffers}
    wanted = ("EngineBuffers", "double_buffered")
    for node in ast.parse(_NOTEBOOK.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in wanted:
            exec(compile(ast.Module([node], []), str(_NOTEBOOK), "exec"), names)
    with open_runtime(bench.onnx["FP32"], device="cpu") as runtime:
        expected = [runtime.infer({"images": frame})["output0"] for frame in bench.frames]
    loaded = load_engine(bench.engines["FP32"])
    with record_calls() as trace:
        buffers = names["EngineBuffers"](loaded.engine, _BATCH)
        buffers.submit({"images": np.concatenate(bench.frames[:_BATCH])})
        batch = buffers.wait()["output0"]
        results = list(names["double_buffered"](loaded.engine, iter(bench.frames)))
    return {
        "buffers_relative_l2": compare_tensors(batch, np.concatenate(expected[:_BATCH])).relative_l2,
        "double_buffered_relative_l2": max(
            compare_tensors(found["output0"], e).relative_l2 for found, e in zip(results, expected, strict=True)
        ),
        "copies": trace.count("copy"),
        "pinned_and_async": trace.count("copy", pinned=True, is_async=True),
        "inferences": trace.count("infer"),
        "allocations": trace.count("allocate"),
        "waits": trace.count("wait"),
    }


def mistakes(bench: Bench) -> dict[str, Any]:
    """Wrong uses, one after the other on one context; each is refused with its reason, and the next inference works.

    The last two are right, though not common.
    """
    from cuda.bindings import runtime as cudart

    found: dict[str, Any] = {}
    loaded = load_engine(bench.engines["FP32"])
    hand = Hand(loaded.engine)
    cuda, context = hand.cuda, hand.context
    hand.submit(bench.frames[0])
    hand.stream.synchronize()
    right = hand.host["output0"].copy()

    def attempt(name: str, tensor: str | None, address: int, handle: int | None = None) -> None:
        if tensor is not None:
            context.set_tensor_address(tensor, address)
        loaded.logger.take()
        outcome = str(context.execute_async_v3(hand.stream.handle if handle is None else handle))
        for key, memory in hand.device.items():
            context.set_tensor_address(key, int(memory))
        hand.submit(bench.frames[0])
        hand.stream.synchronize()
        works = bool(np.array_equal(hand.host["output0"], right))
        found[name] = {"returned": outcome, "log": str(loaded.logger.take()), "works_afterwards": works}

    small = cuda.mem_alloc(hand.host["images"].nbytes // 2)
    freed = cuda.mem_alloc(64 << 20)
    freed_address = int(freed)
    freed.free()
    attempt("input buffer too small", "images", int(small))
    attempt("output buffer too small", "output0", int(hand.device["output0"]) + 4096)
    attempt("freed memory", "images", freed_address)
    attempt("pinned host memory", "images", hand.host["images"].ctypes.data)
    attempt("pageable host memory", "images", right.ctypes.data)
    attempt("no address", "images", 0)
    other = cuda.Device(0).make_context()
    theirs, their_stream = cuda.mem_alloc(hand.host["images"].nbytes), cuda.Stream()
    other.pop()
    attempt("memory of another context", "images", int(theirs))
    attempt("stream of another context", None, 0, their_stream.handle)
    attempt("default stream", None, 0, 0)
    pool = cudart.cudaMallocAsync(hand.host["images"].nbytes, hand.stream.handle)[1]
    attempt("memory from a pool", "images", int(pool))
    cudart.cudaFreeAsync(pool, hand.stream.handle)
    found["shape outside the profile"] = str(context.set_input_shape("images", (9, 3, 640, 640)))
    other.push()
    del theirs, their_stream
    other.detach()
    return found


def cost(bench: Bench) -> dict[str, Any]:
    """Batch 1: an enqueued inference and ONNX Runtime's own `run_with_iobinding`, taking turns; and TF32's error."""
    import onnxruntime

    with open_runtime(bench.onnx["FP32"], device="cpu") as runtime:
        expected = runtime.infer({"images": bench.frames[0]})["output0"]
    options = {"device_id": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    sessions = {
        tf32: onnxruntime.InferenceSession(
            str(bench.onnx["FP32"]), providers=[("CUDAExecutionProvider", {**options, "use_tf32": tf32})]
        )
        for tf32 in ("0", "1")
    }
    errors = {
        tf32: compare_tensors(session.run(None, {"images": bench.frames[0]})[0], expected).relative_l2
        for tf32, session in sessions.items()
    }
    loaded = load_engine(bench.engines["FP32"])
    hand = Hand(loaded.engine)
    hand.submit(bench.frames[0])
    hand.stream.synchronize()
    binding = sessions["0"].io_binding()
    for name, bind in (("images", binding.bind_input), ("output0", binding.bind_output)):
        bind(name, "cuda", 0, np.float32, hand.host[name].shape, int(hand.device[name]))

    def emulated() -> None:
        hand.context.execute_async_v3(hand.stream.handle)
        hand.stream.synchronize()

    pairs = [
        (_median_ms(emulated, 20), _median_ms(lambda: sessions["0"].run_with_iobinding(binding), 20)) for _ in range(10)
    ]
    return {
        "emulated_ms": float(np.median([pair[0] for pair in pairs])),
        "onnxruntime_ms": float(np.median([pair[1] for pair in pairs])),
        "ratio": float(np.median([pair[0] / pair[1] for pair in pairs])),
        "relative_l2_without_tf32": errors["0"],
        "relative_l2_with_tf32": errors["1"],
    }


_PARTS = (environment, builds, accuracy, asynchrony, streams, threads, labs, mistakes, cost)

if __name__ == "__main__":
    sys.exit(main())
