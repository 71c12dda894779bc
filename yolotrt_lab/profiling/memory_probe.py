"""The process `measure_runtime_memory` starts: load, run, print one JSON line. Not imported by anything."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from yolotrt_lab.errors import LabError
from yolotrt_lab.profiling.memory import sample_memory
from yolotrt_lab.profiling.throughput import random_feeds
from yolotrt_lab.runtimes.open import backend_for_path, open_runtime

_FRAMEWORKS = {
    "pytorch": ("torch", "ultralytics"),
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "tensorrt": ("yolotrt_lab.runtimes.tensorrt",),
}


def _rss_mib() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def probe(path: Path, *, batch: int, runs: int, backend: str | None) -> dict[str, float | None]:
    """Return the fields of `RuntimeMemory` for this process."""
    for module in _FRAMEWORKS[backend_for_path(path, backend=backend)]:
        importlib.import_module(module)
    framework_mib = _rss_mib()
    with sample_memory() as use, open_runtime(path, backend=backend, batch=batch) as runtime:
        loaded_mib = _rss_mib() - framework_mib
        feeds = random_feeds(runtime, batch=batch)
        for _ in range(runs):
            runtime.infer(feeds)
        device_bytes = getattr(runtime, "device_memory_bytes", None)
    return {
        "framework_mib": framework_mib,
        "loaded_mib": max(loaded_mib, 0.0),
        "peak_mib": use.delta_mib,
        "device_mib": None if device_bytes is None else device_bytes / 2**20,
    }


def main(arguments: Sequence[str]) -> int:
    """Run the probe: PATH BATCH RUNS [BACKEND]."""
    path, batch, runs, *backend = arguments
    try:
        found = probe(Path(path), batch=int(batch), runs=int(runs), backend=backend[0] if backend else None)
    except LabError as error:
        sys.stderr.write(f"{error.what}\n")
        return error.exit_code
    sys.stdout.write(f"\n{json.dumps(found)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
