"""One training run from configuration to a finished folder."""

from __future__ import annotations

import errno
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, LabError, OutputError
from yolotrt_lab.files import sha256_of, write_json
from yolotrt_lab.optional import package_version
from yolotrt_lab.training.checkpoint import publish_checkpoint
from yolotrt_lab.training.config import TrainConfig
from yolotrt_lab.training.environment import import_ultralytics, silence
from yolotrt_lab.training.plots import plot_training
from yolotrt_lab.training.selection import TrainingData, select_data
from yolotrt_lab.training.weights import check_checkpoint, resolve_weights
from yolotrt_lab.types import ProgressCallback

__all__ = ["PROVENANCE_NAME", "TrainResult", "train"]

PROVENANCE_NAME = "training.json"
_NEEDED_BYTES = 200 * 2**20  # two checkpoints with optimizer state, twice while they are written, and the logs


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        best_weights: The checkpoint with the best validation mAP50-95, half precision, without optimizer state.
        last_weights: The checkpoint of the last epoch.
        run_dir: The folder with everything the run wrote.
        metrics: map50, map50_95, precision and recall of the best weights on the validation images.
        epochs: Epochs done.
        seconds: Wall-clock time, validation included.
        provenance: How the weights came to be; also in `training.json` beside them.
    """

    best_weights: Path
    last_weights: Path
    run_dir: Path
    metrics: dict[str, float]
    epochs: int
    seconds: float
    provenance: dict[str, Any]


def train(config: TrainConfig, *, on_progress: ProgressCallback | None = None) -> TrainResult:
    """Train or fine-tune a YOLO detector.

    The run happens in a temporary folder beside `config.output` and is moved there when it is complete: after an
    interrupt or a failure an earlier run stands untouched. The same configuration, data and machine give the same
    weights. A checkpoint with other classes keeps its backbone and gets a new head; rows of classes with the same
    name are kept.

    Args:
        config: What to train.
        on_progress: Called after every batch with (batches done, batches in all).

    Raises:
        InputError: The dataset or the weights are missing or broken, or the device is not there.
        LabError: The loss stopped being finite, or memory ran out.
        OutputError: The output folder cannot be written or is not a training run.
        MissingDependencyError: Ultralytics is missing, or weights cannot be downloaded.
    """
    start = time.perf_counter()
    data = select_data(config)
    weights = resolve_weights(config.weights)
    if weights.suffix == ".pt":
        check_checkpoint(weights)
    _check_output(config.output)
    import_ultralytics(purpose="train")
    with _run_folder(config.output) as folder, silence(folder / "train.log"), _plain_errors(config):
        trainer = _run_trainer(config, data=data, weights=weights, folder=folder, on_progress=on_progress)
        for name in ("best", "last"):
            publish_checkpoint(folder / "weights" / f"{name}.pt", folder / f"{name}.pt", data_name=data.name)
        shutil.rmtree(folder / "weights")
        for name in ("args.yaml", "data.yaml", "train.txt", "val.txt"):  # they hold this machine's paths
            (folder / name).unlink(missing_ok=True)
        metrics = _metrics(trainer.metrics)
        seconds = time.perf_counter() - start
        provenance = _provenance(config, data=data, weights=weights, trainer=trainer) | {
            "metrics": metrics,
            "epochs": trainer.completed_epochs,
            "seconds": round(seconds, 1),
            "sha256": sha256_of(folder / "best.pt"),
            "bytes": (folder / "best.pt").stat().st_size,
        }
        write_json(folder / PROVENANCE_NAME, provenance)
        plot_training(folder).savefig(folder / "curves.png", dpi=120)
    output = config.output
    return TrainResult(
        best_weights=output / "best.pt",
        last_weights=output / "last.pt",
        run_dir=output,
        metrics=metrics,
        epochs=trainer.completed_epochs,
        seconds=seconds,
        provenance=provenance,
    )


def _run_trainer(
    config: TrainConfig, *, data: TrainingData, weights: Path, folder: Path, on_progress: ProgressCallback | None
) -> Any:
    from yolotrt_lab.training.lab_trainer import LabTraining

    device = _device(config.device)
    settings = config.hyperparameters() | {
        "task": "detect",
        "mode": "train",
        "model": str(weights),
        "pretrained": weights.suffix == ".pt",
        "data": str(data.write_yaml(folder)),
        "device": device,
        "project": str(folder.parent),
        "name": folder.name,
        "exist_ok": True,
        "save_dir": str(folder),
        "plots": False,
        "deterministic": True,
        "cache": data.fits_in_memory(image_size=config.image_size or config.recipe.image_size),
        "amp": _mixed_precision(device),
    }
    settings["nbs"] = nominal_batch(images=len(data.train), batch=settings["batch"])
    import torch

    threads = torch.get_num_threads()
    try:
        trainer = LabTraining(
            settings,
            threads=config.threads or _usable_cores(),
            on_progress=on_progress or (lambda _done, _total: None),
        )
        trainer.train()
    finally:
        torch.set_num_threads(threads)
    return trainer


def nominal_batch(*, images: int, batch: int) -> int:
    """Return over how many images to gather gradients before a step.

    Ultralytics gathers them over 64 images. On a small dataset that leaves an epoch one or two steps, and a short run
    none at all; so gather less where an epoch would have fewer than eight steps.

    Args:
        images: Training images.
        batch: Images per batch.

    Example:
        >>> nominal_batch(images=1200, batch=16), nominal_batch(images=205, batch=16)
        (64, 16)
    """
    batches = math.ceil(images / batch)
    return batch * max(1, min(round(64 / batch), batches // 8))


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _device(name: str) -> str:
    """Return the device by Ultralytics' name, after checking that it is there."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "0" if gpus else "cpu"
    if name == "cpu":
        return name
    if name == "mps":
        if torch.backends.mps.is_available():
            return name
        raise InputError("There is no Apple GPU.", expected="a device that PyTorch sees", fix="Use --device cpu.")
    index = name.removeprefix("cuda").removeprefix(":") or "0"
    if int(index) >= gpus:
        raise InputError(
            f"There is no GPU {index}.",
            expected="a device that PyTorch sees",
            got=f"{gpus} GPUs; PyTorch {torch.__version__}",
            fix="Use --device auto or cpu; `yolotrt doctor` says why PyTorch does not see a GPU.",
        )
    return index


def _mixed_precision(device: str) -> str | bool:
    """Return "bf16" where the GPU has it: unlike FP16 it needs no trial run, for which Ultralytics would download."""
    import torch

    if not device.isdigit():
        return False
    return "bf16" if torch.cuda.get_device_capability(int(device)) >= (8, 0) else False


def _metrics(results: dict[str, float]) -> dict[str, float]:
    names = {
        "map50": "metrics/mAP50(B)",
        "map50_95": "metrics/mAP50-95(B)",
        "precision": "metrics/precision(B)",
        "recall": "metrics/recall(B)",
    }
    return {name: round(float(results[key]), 5) for name, key in names.items()}


def _provenance(config: TrainConfig, *, data: TrainingData, weights: Path, trainer: Any) -> dict[str, Any]:
    """Return how the weights came to be, without anything that only concerns this machine's folders."""
    import torch

    packages = ("yolotrt-lab", "ultralytics", "torch", "torchvision", "numpy", "opencv-python")
    on_gpu = trainer.device.type == "cuda"
    return {
        "command": ["yolotrt", *sys.argv[1:]] if Path(sys.argv[0]).stem in ("main", "yolotrt") else None,
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()},
        "hyperparameters": config.hyperparameters() | {"amp": str(trainer.args.amp), "nbs": trainer.args.nbs},
        "start": {
            "weights": str(config.weights) if weights.suffix != ".pt" else weights.name,
            "sha256": sha256_of(weights) if weights.suffix == ".pt" else None,
        },
        "seed": config.seed,
        "data": data.summary(),
        "device": torch.cuda.get_device_name(trainer.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        "versions": {
            "python": ".".join(map(str, sys.version_info[:3])),
            **{name: version for name in packages if (version := package_version(name))},
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _check_output(output: Path) -> None:
    """Refuse to replace a folder that does not hold a training run, and to start on a full disk."""
    if output.is_dir():
        if any(output.iterdir()) and not (output / PROVENANCE_NAME).is_file():
            raise OutputError(
                f"{output} holds something else than a training run.",
                expected=f"a new or empty folder, or one with {PROVENANCE_NAME}",
                fix="Choose another --output.",
            )
    elif output.exists():
        raise OutputError(f"{output} is a file.", expected="a folder", fix="Choose another --output.")
    parent = output.absolute().parent
    while not parent.exists():
        parent = parent.parent
    free = shutil.disk_usage(parent).free
    if free < _NEEDED_BYTES:
        raise OutputError(
            f"There is too little space for a training run in {output}.",
            expected=f"{_NEEDED_BYTES // 2**20} MiB free",
            got=f"{free // 2**20} MiB",
            fix="Free some space or choose another --output.",
        )


@contextmanager
def _run_folder(output: Path) -> Iterator[Path]:
    """Give a temporary folder beside `output` and put it in place if the block ends well."""
    parent = output.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=parent))
    except OSError as error:
        raise OutputError(
            f"Cannot write to {parent}.",
            expected="a writable folder",
            got=error.strerror,
            fix="Choose another --output.",
        ) from error
    try:
        yield folder
        folder.chmod(0o755)
        earlier = folder.with_name(f"{folder.name}-earlier")
        if output.exists():
            output.replace(earlier)
        folder.replace(output)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _plain_errors(config: TrainConfig) -> Iterator[None]:
    """Turn what PyTorch and Ultralytics raise for causes outside this program into errors a user can act on."""
    try:
        yield
    except LabError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                "The disk filled up while training.", got=error.strerror, fix="Free some space and run again."
            ) from error
        raise
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate" in str(error):
            size = config.batch or config.recipe.batch
            raise LabError(
                "Memory ran out while training.",
                got=str(error).splitlines()[0] if str(error) else "MemoryError",
                fix=f"Use a smaller --batch (now {size}) or --imgsz.",
            ) from error
        raise
