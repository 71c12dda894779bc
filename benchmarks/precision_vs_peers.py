"""Compare our engines with what others make of the same detector, in one run and on the same images.

The others are OpenVINO INT8 by Ultralytics and by NNCF, NVIDIA ModelOpt and ONNX Runtime; measured are the accuracy on
the test split and the latency at 640, batch 1.

    python benchmarks/precision_vs_peers.py --output runs/peers
    python benchmarks/precision_vs_peers.py --output runs/peers --peers-python peers/bin/python --bccd-weights best.pt

The peers' packages are not the lab's; they want a Python of their own:

    uv venv peers --python 3.11 && uv pip install --python peers/bin/python -r benchmarks/peers-requirements.txt

Models are made once, which takes minutes each, and kept in the output folder; a second run only measures. All calibrate
on the same images, all are judged by the same evaluation, and all take turns in random order, so a busy machine moves
all sides alike: compare ratios, not milliseconds. A peer that is missing or fails is a row that says why.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from peers.artifacts import Workshop
from peers.bootstrap import draw_images
from peers.measure import Accuracy, Contender, SplitImages, measure_accuracy, measure_times, open_contender
from peers.plot import tradeoff_figure
from peers.recipes import Recipe, select_recipes
from peers.results import goals, make_rows
from peers.table import markdown

from yolotrt_lab.cli.console import note, print_error, progress_bar
from yolotrt_lab.data.datasets import Dataset, prepare_dataset
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.files import require_file, write_bytes, write_json, write_text
from yolotrt_lab.precision.calibration_images import pick_images
from yolotrt_lab.profiling.machine import machine_description
from yolotrt_lab.report.plots.style import figure_to_png
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.training import base_checkpoint

PARTS_COUNTS = {"train": 128, "val": 40, "test": 100}
PARTS_SEED = 6  # drawings that no default was chosen on, and other than those the base checkpoint was trained on
CPU_FLAGS = ("avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _arguments().parse_args()
    try:
        with contextlib.ExitStack() as stack:
            if options.output is None:
                options.output = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            print(_run(options))
    except LabError as error:
        print_error(error)
        return error.exit_code
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bccd-weights", type=Path, help="a checkpoint trained on BCCD; without it only `parts` is used"
    )
    parser.add_argument("--parts-weights", type=Path, default=base_checkpoint(), help="default: the base checkpoint")
    parser.add_argument(
        "--peers-python", type=Path, help="interpreter with benchmarks/peers-requirements.txt installed"
    )
    parser.add_argument("--output", type=Path, help="folder for models, JSON, table and plot (default: temporary)")
    parser.add_argument("--data-root", type=Path, default=Path("datasets"), help="folder of data sets")
    parser.add_argument("--only", default="", help="models to take part, as beginnings of their keys: int8,nncf")
    parser.add_argument("--calibration-images", type=int, default=128, help="of the training split (default 128)")
    parser.add_argument("--test-images", type=int, help="use only the first so many (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of the timing (default 3)")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each model in a repeat (default 8)")
    parser.add_argument("--resamples", type=int, default=200, help="draws of images for the intervals (default 200)")
    return parser


def _run(options: argparse.Namespace) -> str:
    """Measure everything, write the files and return the table."""
    recipes = _recipes(options.only)
    if options.peers_python is not None:
        require_file(options.peers_python, kind="a Python interpreter")
        options.peers_python = options.peers_python.absolute()  # not resolved: a venv's Python is a link
    started, load_before = datetime.now(UTC), os.getloadavg()[0]
    weights = {"parts": options.parts_weights, "bccd": options.bccd_weights}
    datasets, platforms = {}, set()
    for name, checkpoint in weights.items():
        if checkpoint is None:
            note(f"{name} is left out: no --{name}-weights.")
            continue
        require_file(checkpoint, kind="checkpoint (.pt)")
        datasets[name] = _measure(_dataset(name, options), checkpoint, recipes, options)
        platforms.add(datasets[name].pop("tensorrt_platform"))
    results = {
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {
            name: getattr(options, name) for name in ("calibration_images", "repeats", "rounds", "resamples", "only")
        },
        "tensorrt_platform": " and ".join(sorted(platforms)),
        **_provenance(datasets),
        "load_average": {"before": load_before, "after": os.getloadavg()[0]},
        "datasets": datasets,
    }
    text = markdown(results)
    write_json(options.output / "precision_vs_peers.json", results)
    write_text(options.output / "precision_vs_peers.md", text)
    write_bytes(options.output / "precision_vs_peers.png", figure_to_png(tradeoff_figure(results)))
    return text


def _recipes(words: str) -> tuple[Recipe, ...]:
    try:
        return select_recipes(words)
    except ValueError as error:
        keys = ", ".join(recipe.key for recipe in select_recipes(""))
        raise InputError("No such model.", expected=keys, got=error) from error


def _dataset(name: str, options: argparse.Namespace) -> Dataset:
    if name == "bccd":
        return prepare_dataset("bccd", root=options.data_root)
    root = options.data_root / f"peers-{sum(PARTS_COUNTS.values())}-seed{PARTS_SEED}"
    with progress_bar("Drawing parts") as on_progress:
        return prepare_dataset("parts", root=root, seed=PARTS_SEED, counts=PARTS_COUNTS, on_progress=on_progress)


def _measure(dataset: Dataset, weights: Path, recipes: Sequence[Recipe], options: argparse.Namespace) -> dict[str, Any]:
    """Return the part of the results that belongs to a data set."""
    workshop = Workshop(
        options.output / dataset.name,
        weights=weights,
        dataset=dataset,
        images=pick_images(dataset.images("train"), count=options.calibration_images),
        peers_python=options.peers_python,
        say=note,
    )
    artifacts = {recipe.key: workshop.make(recipe) for recipe in recipes}
    contenders = [Contender(recipe, run, artifacts[recipe.key]) for recipe in recipes for run in recipe.runs]
    images = SplitImages.read(dataset, limit=options.test_images)
    with contextlib.ExitStack() as stack:
        runtimes, accuracy, reasons = _judge(contenders, images, options, stack)
        with progress_bar(f"{dataset.name}: timing in turns") as on_progress:
            timings = measure_times(
                runtimes,
                images,
                repeats=options.repeats,
                rounds=options.rounds,
                on_repeat=lambda done: on_progress(done, options.repeats),
            )
        rows = make_rows(contenders, accuracy, timings, reasons)
        platform = runtimes[contenders[0].name].platform
    return {
        "test_images": len(images.batches),
        "weights": weights.name,
        "calibration_images": len(workshop.images),
        "tensorrt_platform": platform,
        "rows": rows,
        "goals": goals(rows),
    }


def _judge(
    contenders: Sequence[Contender], images: SplitImages, options: argparse.Namespace, stack: contextlib.ExitStack
) -> tuple[dict[str, Runtime], dict[str, Accuracy], dict[str, str]]:
    """Open all models and measure their accuracy; say of those that fail why."""
    runtimes: dict[str, Runtime] = {}
    accuracy: dict[str, Accuracy] = {}
    reasons: dict[str, str] = {}
    draws = draw_images(len(images.batches), resamples=options.resamples)
    with progress_bar("Evaluating") as on_progress:
        for done, contender in enumerate(contenders, start=1):
            try:
                runtime = stack.enter_context(open_contender(contender))
                accuracy[contender.name] = measure_accuracy(runtime, images, draws)
                runtimes[contender.name] = runtime
            except LabError as error:
                if contender.is_reference:
                    raise
                reasons[contender.name] = error.one_line
            on_progress(done, len(contenders))
    return runtimes, accuracy, reasons


def _provenance(datasets: dict[str, Any]) -> dict[str, Any]:
    machine = machine_description()
    versions = dict(machine.pop("versions"))
    for content in datasets.values():
        for row in content["rows"]:
            made = row["made"].get("versions", {})
            versions |= {f"{name} ({row['maker']})": version for name, version in made.items()}
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    machine["cpu_flags"] = [flag for flag in CPU_FLAGS if flag in flags]
    return {"machine": machine, "versions": versions}


if __name__ == "__main__":
    sys.exit(main())
