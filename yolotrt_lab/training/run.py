"""One training run from configuration to a finished folder."""

from __future__ import annotations

import errno
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, LabError, OutputError
from yolotrt_lab.files import sha256_of, write_json
from yolotrt_lab.system import usable_cores
from yolotrt_lab.training.checkpoint import publish_checkpoint
from yolotrt_lab.training.config import TrainConfig
from yolotrt_lab.training.device import choose_device, mixed_precision
from yolotrt_lab.training.environment import import_ultralytics, silence
from yolotrt_lab.training.plots import plot_training
from yolotrt_lab.training.provenance import PROVENANCE_NAME, training_provenance
from yolotrt_lab.training.run_folder import check_output, run_folder
from yolotrt_lab.training.selection import TrainingData, select_data
from yolotrt_lab.training.weights import check_checkpoint, resolve_weights
from yolotrt_lab.types import ProgressCallback

__all__ = ["TrainResult", "nominal_batch", "train"]


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
    check_output(config.output)
    import_ultralytics(purpose="train")
    with run_folder(config.output) as folder, silence(folder / "train.log"), _plain_errors(config):
        trainer = _run_trainer(config, data=data, weights=weights, folder=folder, on_progress=on_progress)
        for name in ("best", "last"):
            publish_checkpoint(folder / "weights" / f"{name}.pt", folder / f"{name}.pt", data_name=data.name)
        shutil.rmtree(folder / "weights")
        for name in ("args.yaml", "data.yaml", "train.txt", "val.txt"):  # they hold this machine's paths
            (folder / name).unlink(missing_ok=True)
        metrics = _metrics(trainer.metrics)
        seconds = time.perf_counter() - start
        provenance = training_provenance(config, data=data, weights=weights, trainer=trainer) | {
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

    device = choose_device(config.device)
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
        "amp": mixed_precision(device),
    }
    settings["nbs"] = nominal_batch(images=len(data.train), batch=settings["batch"])
    import torch

    threads = torch.get_num_threads()
    try:
        trainer = LabTraining(
            settings,
            threads=config.threads or usable_cores(),
            keep_statistics=config.recipe.keep_statistics,
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


def _metrics(results: dict[str, float]) -> dict[str, float]:
    names = {
        "map50": "metrics/mAP50(B)",
        "map50_95": "metrics/mAP50-95(B)",
        "precision": "metrics/precision(B)",
        "recall": "metrics/recall(B)",
    }
    return {name: round(float(results[key]), 5) for name, key in names.items()}


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
        if "froze the entire model" in str(error):
            raise InputError(
                f"The preset {config.preset} freezes every layer of this network.",
                expected=f"more than {config.recipe.hyperparameters['freeze']} layers",
                fix="Use --preset plain or augmented.",
            ) from error
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate" in str(error):
            size = config.batch or config.recipe.batch
            raise LabError(
                "Memory ran out while training.",
                got=str(error).splitlines()[0] if str(error) else "MemoryError",
                fix=f"Use a smaller --batch (now {size}) or --imgsz.",
            ) from error
        raise
