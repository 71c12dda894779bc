"""Results of a whole run, small but complete, as they stand in results.json."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


def latency(p50_ms: float, *, count: int = 60, seed: int = 0) -> dict[str, Any]:
    """A latency with a tail, from samples."""
    random = np.random.default_rng(seed)
    samples = p50_ms * (1 + np.abs(random.normal(0, 0.04, count)))
    samples[:: max(count // 5, 1)] *= 1.3
    return {
        "p50": float(np.median(samples)),
        "p90": float(np.quantile(samples, 0.9)),
        "p99": float(np.quantile(samples, 0.99)),
        "mean": float(samples.mean()),
        "min": float(samples.min()),
        "samples": samples.tolist(),
    }


def _layers(scale: float, precision: str) -> list[dict[str, Any]]:
    random = np.random.default_rng(1)
    nodes = [f"/model.{block}/cv{part}/conv/Conv" for block in range(10) for part in (1, 2)]
    layers = [
        {
            "name": f"{node} + {node.replace('conv/Conv', 'act/Mul')}",
            "kind": "Convolution",
            "precision": precision,
            "time_ms": float(scale * random.gamma(2, 0.3)),
            "origins": [node, node.replace("conv/Conv", "act/Mul")],
        }
        for node in nodes
    ]
    reformat = {"name": "reformat input", "kind": "Reorder", "precision": "fp32", "time_ms": 0.1, "origins": []}
    return [reformat, *layers]


def _timeline(*, pipelined: bool) -> list[dict[str, Any]]:
    events, free = [], [0.0, 0.0, 0.0]
    for frame in range(6):
        start = 0.0 if pipelined else max(free)
        for lane, (name, duration) in enumerate(
            (("preprocess", 2000.0), ("inference", 12000.0), ("postprocess", 800.0))
        ):
            start = max(start, free[lane])
            events.append({"name": name, "lane": name, "frame": frame, "start_us": start, "duration_us": duration})
            start = free[lane] = start + duration
    return events


def _engine(requested: str, executed: str, *, map50_95: float, p50_ms: float, verdict: str) -> dict[str, Any]:
    recall = [index / 100 for index in range(101)]
    return {
        "requested_precision": requested,
        "executed_precision": executed,
        "precision_share": {executed: 0.9, "fp32": 0.1} if executed != "fp32" else {"fp32": 1.0},
        "map50": map50_95 + 0.28,
        "map50_95": map50_95,
        "map50_95_interval": [map50_95 - 0.02, map50_95 + 0.02],
        "delta_to_fp32": map50_95 - 0.613,
        "per_class_map50_95": {"bolt": map50_95 + 0.05, "nut": map50_95 - 0.05},
        "curves": {
            name: {"recall": recall, "precision": [1 - r**power for r in recall]}
            for name, power in (("bolt", 8), ("nut", 5))
        },
        "latency_ms": latency(p50_ms),
        "size_mb": p50_ms / 2,
        "build_s": 12.5,
        "layer_count": 21,
        "memory_mb": 14.2,
        "agreement_with_onnxruntime": {
            "verdict": verdict,
            "reasons": [] if verdict == "pass" else ["boxes relative L2 error: measured 0.4, allowed at most 0.15"],
            "tensor": {"relative_l2": 0.002, "cosine": 0.999998, "max_abs": 0.8, "finite": True},
            "boxes": {"matched_fraction": 0.985, "missing": 2, "extra": 1, "max_score_delta": 0.01},
        },
    }


@pytest.fixture(scope="session")
def _results() -> dict[str, Any]:
    times_ms = {"fp32": 18.0, "fp16": 12.0, "int8": 12.5}
    executed = {"fp32": "fp32", "fp16": "bf16", "int8": "int8"}
    boxes = {"xyxy": [[10, 12, 60, 50], [80, 30, 120, 70]], "scores": [0.9, 0.4], "class_ids": [0, 1]}
    return {
        "schema_version": 1,
        "started": "2026-11-20T09:00:00+00:00",
        "finished": "2026-11-20T09:10:00+00:00",
        "seconds": 600.0,
        "platform": {
            "kind": "emulated",
            "tensorrt_version": "10.16.1",
            "device": "AMD EPYC, 2 cores",
            "note": "no GPU found",
        },
        "dataset": {
            "name": "parts",
            "split": "test",
            "images": 40,
            "classes": ["bolt", "nut"],
            "digest": "ab12",
            "objects": 320,
        },
        "weights": {"name": "best.pt", "sha256": "cd34"},
        "training": {
            "preset": "demo",
            "epochs": 3,
            "seconds": 95.2,
            "history": [
                {"epoch": n, "train box_loss": 2 / n, "val box_loss": 2.2 / n, "mAP50": 0.9 - 0.5 / n}
                for n in (1, 2, 3)
            ],
        },
        "onnx_report": {
            "opset": 17,
            "checker": "passed",
            "inputs": [{"name": "images", "dtype": "float32", "shape": ["batch", 3, 640, 640]}],
            "comparisons": [{"input": "noise", "relative_l2": 2e-6, "passed": True}],
            "unexpected_ops": [],
        },
        "engines": {
            name: _engine(
                name,
                executed[name],
                map50_95=0.613 - 0.004 * index,
                p50_ms=times_ms[name],
                verdict="fail" if name == "int8" else "pass",
            )
            for index, name in enumerate(times_ms)
        },
        "frameworks": {
            "PyTorch": {"latency_ms": latency(41), "precision": "fp32", "version": "2.15", "device": "CPU"},
            "ONNX Runtime": {"latency_ms": latency(21), "precision": "fp32", "version": "1.31"},
            "OpenVINO": {"latency_ms": latency(18.5), "precision": "fp32", "map50_95": 0.613},
        },
        "stages": {
            name: {"preprocess": latency(2), "inference": latency(ms), "postprocess": latency(0.7)}
            for name, ms in times_ms.items()
        },
        "throughput": {
            name: [{"batch": b, "latency_ms": latency(ms * b**0.85, count=20)} for b in (1, 2, 4)]
            for name, ms in times_ms.items()
        },
        "layers": {name: _layers(times_ms[name] / 18, executed[name]) for name in times_ms},
        "structure": {
            name: [{k: v for k, v in layer.items() if k != "time_ms"} for layer in _layers(1, executed[name])]
            for name in times_ms
        },
        "timeline": {
            "One after the other": _timeline(pipelined=False),
            "Pipelined": _timeline(pipelined=True),
        },
        "samples": [{"image": "samples/a.png", "detections": {"fp32": boxes, "int8": boxes}}],
        "environment": {"cores": 2, "versions": {"torch": "2.15.0", "openvino": "2026.4"}},
    }


@pytest.fixture
def results(_results: dict[str, Any]) -> dict[str, Any]:
    """A copy of one's own."""
    return json.loads(json.dumps(_results))


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Where the results lie, with the example image."""
    (tmp_path / "samples").mkdir()
    image = np.random.default_rng(0).integers(80, 160, (90, 140, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "samples" / "a.png"), image)
    return tmp_path
