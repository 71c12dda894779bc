"""Measure what an emulated timing cache spares: build time without one, with a new one, and with a filled one.

    python benchmarks/timing_cache.py
    python benchmarks/timing_cache.py model.onnx --api 11 --json

The three builds alternate in one process, so a busy machine slows them alike; the filled cache has been through
`serialize` and `create_timing_cache`. At last an interpreter of its own builds with the cache from a file. Compare
ratios between machines, not milliseconds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from yolotrt_lab.cli.console import emit, note, print_error, table
from yolotrt_lab.emulation import modules
from yolotrt_lab.errors import LabError
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import require_file
from yolotrt_lab.training import base_checkpoint

CASES = ("no cache", "new cache", "filled cache")


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.model is None:
                options.model = export_onnx(base_checkpoint(), Path(folder) / "yolov5n-parts.onnx").path
            _run(options, Path(folder))
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="an ONNX model (default: the base checkpoint, exported)")
    parser.add_argument("--api", type=int, choices=(10, 11), default=10, help="TensorRT version (default 10)")
    parser.add_argument("--repeats", type=int, default=5, help="builds of each kind (default 5)")
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)  # for the interpreter that this one starts
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run(options: argparse.Namespace, folder: Path) -> None:
    builder = _Builder(require_file(options.model, kind="ONNX model"), api=options.api)
    if options.cache is not None:
        cold_ms, _ = builder.build(options.cache.read_bytes() or None)
        print(cold_ms)
        return
    builder.build(None)  # loads OpenVINO and warms it up
    _, filled = builder.build(b"")
    samples_ms: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(options.repeats):
        for case, content in zip(CASES, (None, b"", filled), strict=True):
            samples_ms[case].append(builder.build(content)[0])
    other_process_ms = {}
    for case, content in (("no cache", b""), ("filled cache", filled)):
        (folder / "timing.cache").write_bytes(content)
        command = [sys.executable, __file__, str(options.model), "--api", str(options.api)]
        done = subprocess.run(
            [*command, "--cache", str(folder / "timing.cache")], capture_output=True, text=True, check=True
        )
        other_process_ms[case] = float(done.stdout.split()[-1])
    _report(options, samples_ms, other_process_ms, cache_bytes=len(filled))


class _Builder:
    """Builds one model again and again."""

    def __init__(self, model: Path, *, api: int) -> None:
        modules.activate(api)
        import tensorrt

        self._trt: Any = tensorrt
        self._model = model
        self._log = tensorrt.Logger(tensorrt.Logger.ERROR)

    def build(self, cache_content: bytes | None) -> tuple[float, bytes]:
        """Return the milliseconds of one build with a timing cache, or without for None, and the cache afterwards."""
        trt = self._trt
        builder = trt.Builder(self._log)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        if not trt.OnnxParser(network, self._log).parse_from_file(str(self._model)):
            raise LabError(f"{self._model} cannot be parsed.")
        config = builder.create_builder_config()
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            shape = [1 if size == -1 else size for size in network.get_input(index).shape]
            profile.set_shape(network.get_input(index).name, shape, shape, shape)
        config.add_optimization_profile(profile)
        start = time.perf_counter()
        cache = None if cache_content is None else config.create_timing_cache(cache_content)
        if cache is not None:
            config.set_timing_cache(cache, False)
        plan = builder.build_serialized_network(network, config)
        content = b"" if cache is None else bytes(cache.serialize())
        elapsed_ms = 1000 * (time.perf_counter() - start)
        if plan is None:
            raise LabError(f"{self._model} cannot be built.")
        return elapsed_ms, content


def _report(
    options: argparse.Namespace,
    samples_ms: dict[str, list[float]],
    other_process_ms: dict[str, float],
    *,
    cache_bytes: int,
) -> None:
    medians = {case: statistics.median(values) for case, values in samples_ms.items()}
    ratio = medians["new cache"] / medians["filled cache"]
    other_ratio = other_process_ms["no cache"] / other_process_ms["filled cache"]
    result = {
        "model": options.model.name, "api": options.api, "repeats": options.repeats, "cache_bytes": cache_bytes,
        "build_ms": {case: {"min": min(v), "median": medians[case], "max": max(v)} for case, v in samples_ms.items()},
        "ratio": ratio, "other_process_ms": other_process_ms, "other_process_ratio": other_ratio,
    }  # fmt: skip
    rows = [[case, min(values), medians[case], max(values)] for case, values in samples_ms.items()]
    rows += [[f"{case}, new process", *[value] * 3] for case, value in other_process_ms.items()]
    title = "Milliseconds per build, without parsing"
    emit(result, as_json=options.json, human=table(title, ["build", "min", "median", "max"], rows))
    note(f"A filled cache ({cache_bytes} bytes) builds {ratio:.1f} times as fast; in a new process, {other_ratio:.1f}.")


if __name__ == "__main__":
    sys.exit(main())
