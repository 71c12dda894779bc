"""Checkpoints fit to be given away: small, and without a trace of the machine they were made on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolotrt_lab.files import atomic_path

__all__ = ["publish_checkpoint"]

_PRIVATE = ("model", "data", "project", "name", "save_dir", "cfg", "pretrained", "resume")


def publish_checkpoint(source: Path, target: Path, *, data_name: str) -> Path:
    """Write a copy of a stripped Ultralytics checkpoint without paths and Git details.

    Args:
        source: The checkpoint that Ultralytics left, in half precision and without optimizer state.
        target: Where the copy goes.
        data_name: What to name as the dataset instead of its path.

    Returns:
        `target`.
    """
    import torch

    # It was written a moment ago by this process, so its pickles are trusted.
    checkpoint: dict[str, Any] = torch.load(source, map_location="cpu", weights_only=False)
    settings = {key: value for key, value in checkpoint["train_args"].items() if key not in _PRIVATE}
    checkpoint["train_args"] = settings | {"data": data_name, "task": "detect"}
    model = checkpoint["model"]
    model.args = {key: value for key, value in dict(model.args).items() if key not in _PRIVATE}
    if "yaml_file" in model.yaml:
        model.yaml["yaml_file"] = Path(model.yaml["yaml_file"]).name
    checkpoint["git"] = None
    with atomic_path(target) as temporary:
        torch.save(checkpoint, temporary)
    return target
