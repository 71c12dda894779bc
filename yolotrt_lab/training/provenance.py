"""How weights came to be: enough to make them again, and nothing that only concerns this machine's folders."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yolotrt_lab import __version__
from yolotrt_lab.files import sha256_of
from yolotrt_lab.optional import package_version
from yolotrt_lab.training.config import TrainConfig
from yolotrt_lab.training.selection import TrainingData

__all__ = ["PROVENANCE_NAME", "training_provenance"]

PROVENANCE_NAME = "training.json"


def training_provenance(config: TrainConfig, *, data: TrainingData, weights: Path, trainer: Any) -> dict[str, Any]:
    """Return what is known when the epochs are over.

    Args:
        config: What was asked for.
        data: The images used.
        weights: What training started from.
        trainer: The finished Ultralytics trainer: its device and what it settled by itself.
    """
    import torch

    packages = ("ultralytics", "torch", "torchvision", "numpy", "opencv-python")
    on_gpu = trainer.device.type == "cuda"
    return {
        "command": ["yolotrt", *sys.argv[1:]] if Path(sys.argv[0]).stem in ("main", "yolotrt") else None,
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()},
        "hyperparameters": config.hyperparameters()
        | {
            "amp": str(trainer.args.amp),
            "nbs": trainer.args.nbs,
            "keep_statistics": config.recipe.keep_statistics,
        },
        "start": {
            "weights": str(config.weights) if weights.suffix != ".pt" else weights.name,
            "sha256": sha256_of(weights) if weights.suffix == ".pt" else None,
        },
        "seed": config.seed,
        "data": data.summary(),
        "device": torch.cuda.get_device_name(trainer.device) if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        "versions": {
            "yolotrt-lab": __version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            **{name: version for name in packages if (version := package_version(name))},
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
