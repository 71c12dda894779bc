"""Show what streams, page-locked memory and CUDA graphs gain: modelled makespans of the same frames, as ratios.

    python benchmarks/overlap.py
    python benchmarks/overlap.py model.onnx --gpu pcie3 --frames 12 --figure overlap.png --trace traces

Each program really runs, on the emulation, and its outputs are compared. When its calls would have happened on a GPU is
modelled, from the documented numbers of a preset and the time inferences take on this processor; see
`yolotrt_lab.emulation.cost_model`. Nothing here is a GPU measurement. Every inference is given the shortest time that
one took on this processor, scaled, so that the programs differ in nothing else; on a busy machine, --inference-ms gives
the ratios of a calm one.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import importlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.cli.console import emit, note, print_error, table
from yolotrt_lab.emulation.chrome_trace import write_chrome_trace
from yolotrt_lab.emulation.cost_model import PRESETS
from yolotrt_lab.emulation.timeline import ModelledTimeline, modelled_timeline
from yolotrt_lab.emulation.trace import Record, record_timeline
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.plan import load_engine
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.figures.modelled_timeline import modelled_timelines
from yolotrt_lab.files import require_file, write_bytes
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.training import base_checkpoint
from yolotrt_lab.types import Array


@dataclass(frozen=True)
class Way:
    """One way to run the frames."""

    name: str
    streams: int = 1
    pinned: bool = True
    wait_each_call: bool = False
    graph: bool = False


WAYS = (
    Way("one stream, pinned"),
    Way("two streams, pinned", streams=2),
    Way("two streams, pageable", streams=2, pinned=False),
    Way("two streams, a wait after every call", streams=2, wait_each_call=True),
    Way("one stream, CUDA graph", graph=True),
    Way("two streams, CUDA graphs", streams=2, graph=True),
)


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _run(options, Path(folder))
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="an ONNX file (default: the base checkpoint, exported)")
    parser.add_argument("--gpu", choices=PRESETS, default="h200", help="whose documented numbers to use (default h200)")
    parser.add_argument("--inference-ms", type=float, help="give every inference this long on the modelled GPU instead")
    parser.add_argument("--frames", type=int, default=8, help="frames of each program (default 8)")
    parser.add_argument("--figure", type=Path, help="draw the timelines into this PNG file")
    parser.add_argument("--trace", type=Path, help="write Chrome traces into this folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run(options: argparse.Namespace, folder: Path) -> None:
    if options.frames < 2:
        raise InputError("Nothing to overlap.", expected="--frames of at least 2", got=options.frames)
    os.environ["YOLOTRT_PLATFORM"] = "emulated"  # on a GPU, NVIDIA's Nsight Systems shows the real thing
    activate()
    model = options.model or export_onnx(base_checkpoint(), folder / "yolov5n-parts.onnx").path
    plan = folder / "model.engine"
    build_engine(require_file(model, kind="ONNX model"), plan, options=EngineOptions())
    engine = load_engine(plan).engine
    records, outputs = {}, {}
    for way in WAYS:
        with Program(engine, way) as program:
            program.run(2)  # the first inferences prepare things
            with record_timeline() as recording:
                outputs[way.name] = program.run(options.frames)
            records[way.name] = recording.records
    first = outputs[WAYS[0].name]
    different = [name for name, values in outputs.items() if not np.array_equal(values, first)]
    costs = dataclasses.replace(
        PRESETS[options.gpu], inference_ms=options.inference_ms or _inference_ms(records, options.gpu)
    )
    timelines = {name: modelled_timeline(values, costs) for name, values in records.items()}
    _write(timelines, options)
    _report(timelines, options, different)


def _inference_ms(records: dict[str, tuple[Record, ...]], gpu: str) -> float:
    measured = [
        record.measured_ms
        for values in records.values()
        for record in values
        if record.task is not None and record.task.kind == "inference" and record.measured_ms is not None
    ]
    return min(measured) * PRESETS[gpu].inference_scale


class Program:
    """Runs frames through an engine in one of the ways, with CUDA's own calls."""

    def __init__(self, engine: Any, way: Way) -> None:
        self.way = way
        self._cuda = importlib.import_module("cuda.bindings.runtime")
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        mode = importlib.import_module("tensorrt").TensorIOMode.INPUT
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == mode]
        self._outputs = [name for name in names if name not in self._inputs]
        self._slots = [self._slot(engine) for _ in range(way.streams)]

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._call("cudaDeviceSynchronize")
        for slot in self._slots:
            for address in slot["device"].values():
                self._call("cudaFree", address)
            for address in slot["pinned"]:
                self._call("cudaFreeHost", address)
            self._call("cudaStreamDestroy", slot["stream"])

    def _call(self, function: str, *arguments: Any) -> Any:
        code, *values = getattr(self._cuda, function)(*arguments)
        if int(code) != 0:
            raise LabError(f"{function} failed.", got=code)
        return values[0] if values else None

    def _slot(self, engine: Any) -> dict[str, Any]:
        """Make a stream, a context, and memory on both sides."""
        nptype = importlib.import_module("tensorrt").nptype
        stream = self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)
        slot: dict[str, Any] = {"stream": stream, "device": {}, "host": {}, "pinned": []}
        slot["context"] = engine.create_execution_context()
        for name in [*self._inputs, *self._outputs]:
            shape, dtype = tuple(engine.get_tensor_shape(name)), np.dtype(nptype(engine.get_tensor_dtype(name)))
            if -1 in shape:
                raise InputError(f"The shape of {name} is dynamic.", expected="fixed shapes", got=shape)
            slot["host"][name] = self._host(slot, shape, dtype)
            slot["device"][name] = self._call("cudaMalloc", slot["host"][name].nbytes)
            slot["context"].set_tensor_address(name, slot["device"][name])
        return slot

    def _host(self, slot: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        if not self.way.pinned:
            return np.zeros(shape, dtype)
        nbytes = int(np.prod(shape)) * dtype.itemsize
        address = self._call("cudaMallocHost", nbytes)
        slot["pinned"].append(address)
        memory = (ctypes.c_uint8 * nbytes).from_address(address)
        return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

    def run(self, frames: int) -> Array:
        """Run frames and return the first output of each, stacked."""
        results = []
        for number in range(frames):
            slot = self._slots[number % len(self._slots)]
            if number >= len(self._slots):
                results.append(self._result(slot))
            for name in self._inputs:
                values = np.random.default_rng(number).random(slot["host"][name].shape, np.float32)
                slot["host"][name][...] = values
            self._enqueue(slot)
        for number in range(frames - min(frames, len(self._slots)), frames):
            results.append(self._result(self._slots[number % len(self._slots)]))
        return np.stack(results)

    def _result(self, slot: dict[str, Any]) -> Array:
        self._call("cudaStreamSynchronize", slot["stream"])
        result: Array = slot["host"][self._outputs[0]].copy()
        return result

    def _enqueue(self, slot: dict[str, Any]) -> None:
        if not self.way.graph:
            self._frame(slot)
            return
        if "graph" not in slot:
            mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeGlobal
            self._call("cudaStreamBeginCapture", slot["stream"], mode)
            self._frame(slot)
            slot["graph"] = self._call("cudaGraphInstantiate", self._call("cudaStreamEndCapture", slot["stream"]), 0)
        self._call("cudaGraphLaunch", slot["graph"], slot["stream"])

    def _frame(self, slot: dict[str, Any]) -> None:
        kinds, stream = self._cuda.cudaMemcpyKind, slot["stream"]
        for name in self._inputs:
            host, device = slot["host"][name], slot["device"][name]
            self._step(slot, "cudaMemcpyAsync", device, host, host.nbytes, kinds.cudaMemcpyHostToDevice, stream)
        if not slot["context"].execute_async_v3(int(stream)):
            raise LabError("The inference could not be enqueued.")
        self._wait_if_asked(slot)
        for name in self._outputs:
            host, device = slot["host"][name], slot["device"][name]
            self._step(slot, "cudaMemcpyAsync", host, device, host.nbytes, kinds.cudaMemcpyDeviceToHost, stream)

    def _step(self, slot: dict[str, Any], function: str, *arguments: Any) -> None:
        self._call(function, *arguments)
        self._wait_if_asked(slot)

    def _wait_if_asked(self, slot: dict[str, Any]) -> None:
        if self.way.wait_each_call:
            self._call("cudaStreamSynchronize", slot["stream"])


def _write(timelines: dict[str, ModelledTimeline], options: argparse.Namespace) -> None:
    if options.figure is not None:
        shown = {name: timelines[name] for name in list(timelines)[:3]}
        write_bytes(options.figure, figure_to_png(modelled_timelines(shown)))
    if options.trace is not None:
        for name, timeline in timelines.items():
            write_chrome_trace(options.trace / f"{name.replace(',', '').replace(' ', '-')}.json", timeline)


def _report(timelines: dict[str, ModelledTimeline], options: argparse.Namespace, different: list[str]) -> None:
    serial = timelines[WAYS[0].name].makespan_us
    rows, result = [], {}
    for name, timeline in timelines.items():
        calls_us = sum(span.duration_us for span in timeline.spans if span.kind == "call")
        facts = {
            "modelled_ms_per_frame": timeline.makespan_us / 1e3 / options.frames,
            "ratio_to_serial": timeline.makespan_us / serial,
            "overlap_ms_per_frame": timeline.overlap_us() / 1e3 / options.frames,
            "calls_ms_per_frame": calls_us / 1e3 / options.frames,
        }
        result[name] = facts
        rows.append([name, *facts.values()])
    costs = timelines[WAYS[0].name].costs
    title = f"Modelled, not measured: {costs.name}, inference {costs.inference_ms:.3f} ms, {options.frames} frames"
    columns = ["program", "ms per frame", "ratio to serial", "overlap (ms)", "host's calls (ms)"]
    if different:
        note(f"Different outputs: {', '.join(different)}")
    whole = {"modelled": True, "gpu": costs.name, "source": costs.source, "frames": options.frames}
    outputs = {"outputs_equal": not different, "programs": result}
    emit({**whole, **outputs}, as_json=options.json, human=table(title, columns, rows))


if __name__ == "__main__":
    sys.exit(main())
