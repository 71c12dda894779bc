"""Measure what refinements of INT8 bring: bias correction, smoothing, exact weights, and mixed precision, in one run.

    python benchmarks/quantization_refinements.py --bccd-checkpoint yolov5n-bccd.pt --output refinements
    python benchmarks/quantization_refinements.py --parts datasets/parts/data.yaml --subsets 5

On the base checkpoint with `parts`, and with a checkpoint for it on BCCD (found like any data set of `yolotrt data`).
Every refinement is made anew from each of several calibration subsets of the training split; what is printed is the
minimum, median and maximum over the subsets, of the output error on some test images (ONNX Runtime, which computes what
the Q/DQ graph says) and of mAP50-95 on the whole test split (OpenVINO's INT8 kernels, as `yolotrt evaluate --backend
openvino`). All graphs have an FP32 base, so that nothing but INT8 makes a difference.

"Activations only" and "weights only" round one of the two. What the weights alone cost is all that a better rounding of
them (AdaRound) could win back. "Mixed" keeps the cheapest layers that carry half of the damage, ranked on images of the
first subset.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from yolotrt_lab.cli.console import emit, note, print_error, progress_bar, table
from yolotrt_lab.data.datasets import Dataset, load_dataset, prepare_dataset
from yolotrt_lab.errors import LabError
from yolotrt_lab.export.onnx_export import export_onnx
from yolotrt_lab.files import require_file, write_json, write_text
from yolotrt_lab.precision.bias_correction import correct_biases
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.calibration_images import ImageBatches, pick_images
from yolotrt_lab.precision.mixed import cheapest_cover, estimated_work
from yolotrt_lab.precision.output_error import OutputProbe
from yolotrt_lab.precision.qdq import quantize_onnx
from yolotrt_lab.precision.sensitivity import SensitivityReport, rank_layers
from yolotrt_lab.precision.smoothing import smooth_onnx
from yolotrt_lab.precision.switchable import SwitchableGraph
from yolotrt_lab.precision.table import CalibrationTable
from yolotrt_lab.profiling.machine import machine_description
from yolotrt_lab.runtimes.accuracy import MAP_CONFIG, detect_split
from yolotrt_lab.runtimes.detector import detector_from_runtime
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.training import base_checkpoint
from yolotrt_lab.types import FloatArray

FP32 = "FP32"
MIXED_TARGET = 0.5
SMOOTHING = 0.75
"""Strength of smoothing; of 0.25, 0.5 and 0.75 the one with the smallest output error on six images of BCCD."""

INPUT_HW = (640, 640)


@dataclass(frozen=True)
class Case:
    """One detector with its data."""

    name: str
    model: Path
    dataset: Dataset


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        _run(options)
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bccd-checkpoint", type=Path, help="a .pt trained on BCCD; without it BCCD is left out")
    parser.add_argument("--parts", type=Path, help="data.yaml of `parts` (default: drawn for this run)")
    parser.add_argument("--subsets", type=int, default=3, help="calibration subsets (default 3)")
    parser.add_argument("--calibration-images", type=int, default=64, help="images in each (default 64)")
    parser.add_argument("--rank-images", type=int, default=8, help="images to rank layers on (default 8)")
    parser.add_argument("--error-images", type=int, default=8, help="test images for the output error (default 8)")
    parser.add_argument("--limit", type=int, help="test images for mAP (default: all)")
    parser.add_argument("--minutes", type=float, default=12, help="start no further subset that would take longer (12)")
    parser.add_argument("--output", type=Path, help="folder for quantization_refinements.json and .md")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    cases = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in _cases(options, Path(folder)):
            ahead = 1 if case.name == "BCCD" else 0  # this case leaves the other half of the time to the next
            deadline = start + 60 * options.minutes / (1 + ahead)
            cases[case.name] = _Trial(case, options, Path(folder)).run(deadline=deadline)
    payload = {
        "machine": machine_description(),
        "subsets": {name: len(scores["INT8"]) for name, scores in cases.items()},
        "calibration_images": options.calibration_images,
        "seconds": round(time.perf_counter() - start),
        "cases": cases,
    }
    _report(payload, options)


def _cases(options: argparse.Namespace, folder: Path) -> Iterator[Case]:
    if options.bccd_checkpoint is not None:
        checkpoint = require_file(options.bccd_checkpoint, kind="checkpoint trained on BCCD")
        model = export_onnx(checkpoint, folder / "bccd.onnx").path
        yield Case("BCCD", model, prepare_dataset("bccd", root=folder / "datasets"))
    dataset = load_dataset(options.parts) if options.parts is not None else _drawn_parts(folder)
    yield Case("parts", export_onnx(base_checkpoint(), folder / "parts.onnx").path, dataset)


def _drawn_parts(folder: Path) -> Dataset:
    with progress_bar("Drawing parts") as on_progress:
        counts = {"train": 160, "val": 1, "test": 100}
        return prepare_dataset("parts", root=folder / "datasets", counts=counts, workers=2, on_progress=on_progress)


class _Trial:
    """All variants of one detector, from several calibration subsets."""

    def __init__(self, case: Case, options: argparse.Namespace, folder: Path) -> None:
        self._case = case
        self._options = options
        self._folder = folder
        test = case.dataset.images("test")
        self._test = replace(case.dataset, splits={"test": test[: options.limit]})
        probes = test[:: max(len(test) // options.error_images, 1)][: options.error_images]
        self._probe = OutputProbe(onnx.load(case.model), list(ImageBatches(probes, input_hw=INPUT_HW)))
        self._ranking: SensitivityReport | None = None

    def run(self, *, deadline: float) -> dict[str, list[dict[str, float]]]:
        """Return the scores of every variant, by name, one for each calibration subset there was time for."""
        scores = {FP32: [{"error": 0.0, "map50_95": self._map(self._case.model)}]}
        makers = self._makers()
        done, total = 0, self._options.subsets * len(makers)
        with progress_bar(f"{self._case.name}: refining") as on_progress:
            for subset in range(self._options.subsets):
                begin = time.perf_counter()
                images = self._images(seed=subset)
                ranges = calibrate(self._case.model, images)
                for name, make in makers.items():
                    path = make(ranges, images)
                    score = {"error": self._probe.measure(onnx.load(path)).total, "map50_95": self._map(path)}
                    scores.setdefault(name, []).append(score)
                    done += 1
                    on_progress(done, total)
                now = time.perf_counter()
                if now + (now - begin) > deadline:
                    break
        return scores

    def _makers(self) -> dict[str, Callable[[CalibrationTable, list[FloatArray]], Path]]:
        return {
            "INT8": self._int8,
            "bias correction": self._corrected,
            "smoothing": self._smoothed,
            "activations only": lambda ranges, images: self._partly(ranges, weights=False, activations=True),
            "weights only": lambda ranges, images: self._partly(ranges, weights=True, activations=False),
            "mixed": self._mixed,
            "mixed, bias correction": self._mixed_corrected,
        }

    def _images(self, *, seed: int) -> list[FloatArray]:
        chosen = pick_images(self._case.dataset.images("train"), count=self._options.calibration_images, seed=seed)
        return list(ImageBatches(chosen, input_hw=INPUT_HW))

    def _map(self, path: Path) -> float:
        with open_runtime(path, backend="openvino", batch=1) as runtime:
            detector = detector_from_runtime(runtime, config=MAP_CONFIG)
            return detect_split(detector, self._test).metrics().map50_95

    def _int8(self, ranges: CalibrationTable, images: list[FloatArray]) -> Path:
        return quantize_onnx(self._case.model, self._folder / "int8.onnx", table=ranges).path

    def _corrected(self, ranges: CalibrationTable, images: list[FloatArray]) -> Path:
        return self._correct(self._int8(ranges, images), images)

    def _correct(self, path: Path, images: list[FloatArray]) -> Path:
        out = self._folder / "corrected.onnx"
        return correct_biases(path, out, batches=images).path

    def _smoothed(self, ranges: CalibrationTable, images: list[FloatArray]) -> Path:
        """Smooth first: the ranges are those of the smoothed model."""
        smooth = self._folder / "smooth.onnx"
        smooth_onnx(self._case.model, smooth, batches=images[: len(images) // 2], alpha=SMOOTHING)
        return quantize_onnx(smooth, self._folder / "smooth-int8.onnx", table=calibrate(smooth, images)).path

    def _partly(self, ranges: CalibrationTable, *, weights: bool, activations: bool) -> Path:
        graph = SwitchableGraph(onnx.load(self._int8(ranges, [])))
        path = self._folder / "partly.onnx"
        onnx.save(graph.variant(graph.layers, weights=weights, activations=activations), path)
        return path

    def _mixed(self, ranges: CalibrationTable, images: list[FloatArray]) -> Path:
        if self._ranking is None:
            some = images[: self._options.rank_images]
            self._ranking = rank_layers(self._case.model, table=ranges, images=some, leave_one_out=False)
        shares = {layer.node: layer.share for layer in self._ranking.layers}
        kept = cheapest_cover(shares, estimated_work(onnx.load(self._case.model)), target=MIXED_TARGET)
        path = self._folder / "mixed.onnx"
        return quantize_onnx(self._case.model, path, table=ranges, high_precision_nodes=kept).path

    def _mixed_corrected(self, ranges: CalibrationTable, images: list[FloatArray]) -> Path:
        return self._correct(self._mixed(ranges, images), images)


def _spread(values: Sequence[float], digits: int) -> str:
    """Return "median (min to max)"."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _rows(scores: Mapping[str, list[dict[str, float]]]) -> list[tuple[str, str, str, str]]:
    reference = scores[FP32][0]["map50_95"]
    rows = [(FP32, "0", f"{reference:.4f}", "0")]
    for name, each in scores.items():
        if name != FP32:
            values = [score["map50_95"] for score in each]
            losses = [reference - value for value in values]
            rows.append((name, _spread([s["error"] for s in each], 4), _spread(values, 4), _spread(losses, 4)))
    return rows


def _report(payload: dict[str, Any], options: argparse.Namespace) -> None:
    columns = ("variant", "output error", "mAP50-95", "loss to FP32")
    cases = {name: _rows(scores) for name, scores in payload["cases"].items()}
    emit(
        payload,
        as_json=options.json,
        human=[table(f"{name}: median (min to max) over {payload['subsets'][name]} calibration subsets", columns, rows)
               for name, rows in cases.items()],
    )  # fmt: skip
    if options.output is not None:
        lines = [f"Subsets of {payload['calibration_images']} calibration images; "
                 f"{payload['seconds']} s on {payload['machine']['processor']}."]  # fmt: skip
        for name, rows in cases.items():
            lines += [
                "",
                f"| {name}, {payload['subsets'][name]} subsets | " + " | ".join(columns[1:]) + " |",
                "|---|---|---|---|",
            ]
            lines += ["| " + " | ".join(row) + " |" for row in rows]
        write_text(options.output / "quantization_refinements.md", "\n".join(lines) + "\n")
        write_json(options.output / "quantization_refinements.json", payload)
    note(f"Took {payload['seconds']} s.")


if __name__ == "__main__":
    sys.exit(main())
