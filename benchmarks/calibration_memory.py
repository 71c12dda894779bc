"""Memory and time of entropy calibration over the number of images: this package and ONNX Runtime's own calibrator.

    python benchmarks/calibration_memory.py --output results
    python benchmarks/calibration_memory.py model.onnx --images photos --counts 8 1000 --memory-gib 8 --output results

Every run has a process of its own with a limit on its address space. Both calibrators get the same files, preprocessed
one by one in the same way, and watch the same tensors: those that INT8 needs ranges for, and again all. ONNX Runtime's
choice of tensors is overridden for the former, which spares it memory. "Fed in pieces" is ONNX Runtime with
`collect_data` called for every eight images, which its users can do, but `quantize_static` does not. A calibrator that
fails is not tried with more images.

Peak memory is the kernel's high-water mark of resident memory (VmHWM). Files repeat when more images are asked for than
there are; fewer are taken when the time would not do. Writes calibration_memory.json, .md and .png. Linux only; about
ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.cli.console import emit, note, print_error, table
from yolotrt_lab.data.datasets import prepare_dataset
from yolotrt_lab.data.images import list_images
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.graph import float_tensors
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.export.metadata import onnx_metadata
from yolotrt_lab.files import require_file, write_bytes, write_json, write_text
from yolotrt_lab.precision.calibration_images import ImageBatches
from yolotrt_lab.precision.placement import plan_placement

OURS, THEIRS, PIECES = "yolotrt-lab", "ONNX Runtime", "ONNX Runtime, fed in pieces"
CALIBRATORS = (OURS, THEIRS, PIECES)
COUNTS = (8, 32, 128, 256, 512, 1000)
PIECE = 8
GIB = 2**30


@dataclass(frozen=True)
class Run:
    """One calibrator on one number of images.

    Attributes:
        calibrator: Whose.
        tensors: "int8", those that INT8 needs ranges for, or "all" float tensors.
        images: How many.
        outcome: "done", "out of memory", "out of time" or "failed".
        peak_mib: Largest resident memory of the process.
        seconds: From the first image to the thresholds; None when it did not get there.
    """

    calibrator: str
    tensors: str
    images: int
    outcome: str
    peak_mib: float
    seconds: float | None


def main() -> int:
    """Run the benchmark, or one calibrator of it, and return the exit code."""
    options = _arguments().parse_args()
    try:
        if options.worker is not None:
            _work(options)
            return 0
        with tempfile.TemporaryDirectory() as folder:
            _run(options, Path(folder))
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", type=Path, nargs="?", help="an FP32 ONNX file (default: the base checkpoint, exported)"
    )
    parser.add_argument("--images", type=Path, help="a folder of images (default: 32 drawn ones of `parts`)")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of images, ascending")
    parser.add_argument("--memory-gib", type=float, default=16.0, help="address space of a process (default 16)")
    parser.add_argument("--minutes", type=float, default=11.0, help="start nothing after so long (default 11)")
    parser.add_argument("--output", type=Path, help="folder for the table and the picture")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", choices=CALIBRATORS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--tensors", choices=("int8", "all"), default="int8", help=argparse.SUPPRESS)
    return parser


def _run(options: argparse.Namespace, folder: Path) -> None:
    if options.model is None:
        from yolotrt_lab.export.onnx_export import export_onnx
        from yolotrt_lab.training import base_checkpoint

        options.model = export_onnx(base_checkpoint(), folder / "yolov5n-parts.onnx").path
    require_file(options.model, kind="ONNX model")
    if options.images is None:
        note("Drawing images")
        drawn = prepare_dataset("parts", root=folder, counts={"train": 32, "val": 1, "test": 1})
        options.images = drawn.images("train")[0].parent
    counts = sorted(set(options.counts))
    if counts[0] < 1:
        raise InputError("No images to calibrate with.", expected="--counts of 1 or more", got=counts[0])
    deadline = time.monotonic() + 60 * options.minutes
    runs = list(_ladders(options, counts, deadline))
    _report(options, runs)


def _ladders(options: argparse.Namespace, counts: list[int], deadline: float) -> Iterator[Run]:
    """Yield the runs, the most important ones first, until one of a ladder fails or the time is up."""
    most, few = counts[-1:], counts[:2]
    plan = [(OURS, "int8", few), (OURS, "int8", most), (THEIRS, "int8", counts), (OURS, "all", few),
            (THEIRS, "all", counts), (PIECES, "int8", few)]  # fmt: skip
    rates: dict[tuple[str, str], float] = {}
    for calibrator, tensors, ladder in plan:
        for wanted in ladder:
            left = deadline - time.monotonic()
            rate = rates.get((calibrator, tensors), 0.0)
            count = min(wanted, int(0.75 * left / rate)) if rate else wanted
            if count < counts[0] or left <= 0:
                note(f"No time left for {calibrator}, {tensors} tensors, {wanted} images")
                break
            run = _measured(options, calibrator, tensors, count, seconds=left)
            seconds = "" if run.seconds is None else f", {run.seconds / count:.2f} s per image"
            note(f"{calibrator}, {tensors} tensors, {count} images: {run.outcome}, {run.peak_mib:.0f} MiB{seconds}")
            yield run
            if run.outcome != "done" or count < wanted:
                break
            rates[calibrator, tensors] = (run.seconds or 0.0) / count


def _measured(options: argparse.Namespace, calibrator: str, tensors: str, count: int, *, seconds: float) -> Run:
    """Run one calibrator in a process of its own and watch its memory."""
    command = [sys.executable, __file__, str(options.model), "--images", str(options.images), "--worker", calibrator]
    command += ["--count", str(count), "--tensors", tensors, "--memory-gib", str(options.memory_gib)]
    started, peak_mib, outcome = time.monotonic(), 0.0, ""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err)
        while child.poll() is None:
            peak_mib = max(peak_mib, _peak_mib(str(child.pid)))
            if time.monotonic() - started > seconds:
                child.kill()
                child.wait()
                outcome = "out of time"
            time.sleep(0.02)
        out.seek(0)
        err.seek(0)
        printed, complaint = out.read().strip().splitlines(), err.read()
    if outcome:
        return Run(calibrator, tensors, count, outcome, peak_mib, None)
    if child.returncode == 0 and printed:
        facts = json.loads(printed[-1])
        return Run(calibrator, tensors, count, "done", facts["peak_mib"], facts["seconds"])
    killed = child.returncode == -signal.SIGKILL  # by the kernel, when the machine itself has no memory left
    memory = killed or any(word in complaint for word in ("MemoryError", "bad_alloc", "allocat", "BFCArena"))
    if not memory:
        note(complaint[-2000:])
    return Run(calibrator, tensors, count, "out of memory" if memory else "failed", peak_mib, None)


def _peak_mib(pid: str) -> float:
    """Return the high-water mark of a process, which, unlike `getrusage`, does not count its parent's before exec."""
    try:
        for line in Path("/proc", pid, "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:  # it has just ended
        pass
    return 0.0


def _work(options: argparse.Namespace) -> None:
    """Be one calibrator, and print what it took."""
    limit = int(options.memory_gib * GIB)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    model = load_onnx_checked(options.model)
    names = list(plan_placement(model).activations) if options.tensors == "int8" else float_tensors(model)
    files = tuple(itertools.islice(itertools.cycle(list_images(options.images)), options.count))
    input_hw = onnx_metadata(options.model).input_hw
    if input_hw is None:
        raise InputError(f"{options.model} does not fix its input size.", expected="height and width", got="dynamic")
    started = time.perf_counter()
    if options.worker == OURS:
        from yolotrt_lab.precision.calibration import calibrate

        thresholds = dict(
            calibrate(options.model, ImageBatches(files, input_hw=input_hw), method="entropy", tensors=names).amax
        )
    else:
        piece = PIECE if options.worker == PIECES else len(files)
        thresholds = _their_thresholds(options.model, files, names, input_hw=input_hw, piece=piece)
    seconds = time.perf_counter() - started
    if len(thresholds) != len(names) or not all(map(math.isfinite, thresholds.values())):
        raise LabError("Thresholds are missing.", expected=len(names), got=len(thresholds))
    print(json.dumps({"seconds": seconds, "peak_mib": _peak_mib("self")}))


def _their_thresholds(
    model: Path, files: tuple[Path, ...], names: list[str], *, input_hw: tuple[int, int], piece: int
) -> dict[str, float]:
    """Calibrate with ONNX Runtime, its defaults for entropy but for the choice of tensors."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader, EntropyCalibrater

    class Chosen(EntropyCalibrater):  # type: ignore[misc]
        def select_tensors_to_calibrate(self, model: Any) -> tuple[set[str], dict[str, Any]]:
            from onnx import TensorProto, helper

            infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names}
            return set(names), infos

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, files: tuple[Path, ...]) -> None:
            self._batches = iter(ImageBatches(files, input_hw=input_hw))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {input_name: batch}

    with tempfile.TemporaryDirectory() as folder:
        calibrator = Chosen(str(model), augmented_model_path=str(Path(folder) / "augmented.onnx"))
        input_name = calibrator.model.graph.input[0].name
        calibrator.augment_graph()
        calibrator.create_inference_session()
        for start in range(0, len(files), piece):
            calibrator.collect_data(Reader(files[start : start + piece]))
        found = calibrator.compute_data()
        return {name: float(max(map(abs, found[name].range_value))) for name in found.keys()}  # noqa: SIM118


def _report(options: argparse.Namespace, runs: list[Run]) -> None:
    result = {
        "model": options.model.name,
        "machine": f"{platform.machine()}, {platform.system()}",
        "memory_limit_gib": options.memory_gib,
        "runs": [asdict(run) for run in runs],
    }
    columns = ("calibrator", "tensors", "images", "outcome", "peak MiB", "s per image")
    ordered = sorted(runs, key=lambda run: (CALIBRATORS.index(run.calibrator), run.tensors != "int8", run.images))
    rows = [
        (run.calibrator, run.tensors, run.images, run.outcome, round(run.peak_mib),
         "-" if run.seconds is None else f"{run.seconds / run.images:.3f}")
        for run in ordered
    ]  # fmt: skip
    if options.output is not None:
        lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
        write_json(options.output / "calibration_memory.json", result)
        write_text(options.output / "calibration_memory.md", "\n".join(lines) + "\n")
        write_bytes(options.output / "calibration_memory.png", _picture(options, ordered))
    emit(result, as_json=options.json, human=table("Entropy calibration", columns, rows))


def _picture(options: argparse.Namespace, runs: list[Run]) -> bytes:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    from yolotrt_lab.report.plots.style import INK, figure_to_png, finish_axes, new_figure

    colors = {OURS: "#009E73", THEIRS: "#D55E00", PIECES: "#E69F00"}
    figure = new_figure(height=4.8)
    axes = figure.add_subplot()
    for calibrator in CALIBRATORS:
        for tensors, style in (("int8", "-"), ("all", "--")):
            chosen = [run for run in runs if (run.calibrator, run.tensors) == (calibrator, tensors)]
            if not chosen:
                continue
            what = "tensors of INT8" if tensors == "int8" else "all tensors"
            points = [(run.images, run.peak_mib / 1024) for run in chosen]
            axes.plot(*zip(*points, strict=True), linewidth=2, linestyle=style, color=colors[calibrator],
                      label=f"{calibrator}: {what}")  # fmt: skip
            for run, (x, y) in zip(chosen, points, strict=True):
                done = run.outcome == "done"
                axes.plot(x, y, marker="o" if done else "x", markersize=6 if done else 11, markeredgewidth=2.5,
                          color=colors[calibrator])  # fmt: skip
                if not done:
                    axes.annotate(run.outcome, (x, y), xytext=(0, -19), ha="center", textcoords="offset points",
                                  fontsize=10, color=INK, bbox={"facecolor": "white", "edgecolor": "none"})  # fmt: skip
    axes.axhline(options.memory_gib, color=INK, linewidth=1, linestyle=":")
    axes.annotate(f"limit {options.memory_gib:g} GiB", (0.99, options.memory_gib), xytext=(0, 3), ha="right",
                  xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=10, color=INK)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, ticks in ((axes.xaxis, sorted({run.images for run in runs})), (axes.yaxis, [0.25, 0.5, 1, 2, 4, 8, 16])):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.margins(x=0.08)
    axes.set_ylim(0.2, 1.6 * max(options.memory_gib, 1.0))
    finish_axes(axes, title=f"Peak memory of entropy calibration, {options.model.stem}", xlabel="calibration images",
                ylabel="peak resident memory (GiB)", grid="both")  # fmt: skip
    figure.legend(loc="outside lower center", ncols=2, fontsize=10, frameon=False, handlelength=3.5,
                  labelcolor=INK)  # fmt: skip
    return figure_to_png(figure)


if __name__ == "__main__":
    sys.exit(main())
