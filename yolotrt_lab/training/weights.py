"""Where training starts: the checkpoint that ships with the package, a file, random weights, or published weights."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

from yolotrt_lab.errors import InputError, MissingDependencyError
from yolotrt_lab.files import read_json, require_file, sha256_of
from yolotrt_lab.training.environment import import_ultralytics

__all__ = ["BASE_NAME", "base_checkpoint", "check_checkpoint", "resolve_weights"]

BASE_NAME = "yolov5n-parts"
_WEIGHTS_FOLDER = Path(__file__).resolve().parents[1] / "weights"
_PUBLISHED = re.compile(r"(yolo|rtdetr)[\w.-]*\.pt", re.IGNORECASE)


def base_checkpoint(*, folder: Path = _WEIGHTS_FOLDER) -> Path:
    """Return the checkpoint that ships with the package: YOLOv5n trained on `parts` by the package's own command.

    Its provenance (command, seed, versions, data digest, metrics) is in the `.json` beside it.

    Args:
        folder: Where the checkpoint and its provenance are.

    Raises:
        InputError: The file is missing or is not the one its provenance describes.
    """
    checkpoint = require_file(folder / f"{BASE_NAME}.pt", kind="the base checkpoint")
    expected = read_json(checkpoint.with_suffix(".json")).get("sha256")
    found = sha256_of(checkpoint)
    if found != expected:
        raise InputError(
            f"{checkpoint} is not the checkpoint that its provenance describes.",
            expected=f"SHA-256 {expected}",
            got=found,
            fix="Install the package again, or restore the file with `git checkout yolotrt_lab/weights`.",
        )
    return checkpoint


def resolve_weights(name_or_path: str | Path) -> Path:
    """Return the file to start from.

    Args:
        name_or_path: "base"; the path of a `.pt` checkpoint; the name or path of a model YAML ("yolov5n.yaml": random
            weights); or the name of published weights ("yolov5nu.pt"), which Ultralytics downloads.

    Returns:
        A `.pt` checkpoint, or a model YAML (possibly only its name, which Ultralytics knows).

    Raises:
        InputError: There is no such file or model.
        MissingDependencyError: The weights are not here and cannot be downloaded.

    Example:
        >>> resolve_weights("yolov5n.yaml").name
        'yolov5n.yaml'
    """
    text = str(name_or_path)
    if text == "base":
        return base_checkpoint()
    path = Path(text)
    if path.suffix in (".yaml", ".yml"):
        return _model_yaml(path)
    if path.suffix != ".pt":
        raise InputError(
            f"{text} is not something to train from.",
            expected='"base", a .pt checkpoint, or a model name such as yolov5n.yaml',
        )
    if not path.exists() and path.name == text and _PUBLISHED.fullmatch(text):
        return _published(text)
    return require_file(path, kind="a .pt checkpoint")


def check_checkpoint(path: Path) -> None:
    """Make sure that a file is a YOLO detection checkpoint.

    Like every PyTorch checkpoint it is a pickle, and loading it runs what it says: use files you trust.

    Raises:
        InputError: It is broken, not an Ultralytics checkpoint, or made for another task.
    """
    import_ultralytics(purpose="load a checkpoint")
    import torch

    fix = "Pass a checkpoint that Ultralytics trained for detection, or 'base'."
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=False)
        model = checkpoint.get("ema") or checkpoint["model"]
        task = getattr(model, "task", None) or checkpoint.get("train_args", {}).get("task", "detect")
        module = type(model).__module__
    except Exception as error:  # a broken pickle raises almost anything
        raise InputError(
            f"{path} is not a YOLO checkpoint.",
            expected="a .pt file written by Ultralytics",
            got=f"{type(error).__name__}: {error}".splitlines()[0][:200],
            fix=fix,
        ) from error
    if not module.startswith("ultralytics.") or task != "detect":
        raise InputError(
            f"{path} is not a YOLO detection checkpoint.",
            expected="an Ultralytics detection model",
            got=f"{module}.{type(model).__name__}, task {task}",
            fix=fix,
        )


def _model_yaml(path: Path) -> Path:
    if path.exists():
        return require_file(path, kind="a model YAML")
    import_ultralytics(purpose="build a model from its YAML")
    from ultralytics.nn.tasks import yaml_model_load  # knows where the scales (n, s, m ...) of a family are

    try:
        if path.name == str(path):
            yaml_model_load(str(path))
            return path
    except (OSError, ValueError, KeyError, SyntaxError):
        pass
    raise InputError(
        f"No such model: {path}", expected="a model YAML that Ultralytics knows, such as yolov5n.yaml, or a file"
    )


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolotrt-lab" / "weights"


def _published(name: str) -> Path:
    """Return published weights from the user's cache, downloading them the first time."""
    cached = _cache_folder() / name
    if cached.is_file():
        return require_file(cached, kind="downloaded weights")
    import_ultralytics(purpose="download weights")
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if name not in GITHUB_ASSETS_NAMES:
        raise InputError(
            f"No such weights: {name}",
            expected='a file, "base", or weights that Ultralytics publishes',
            got="neither a file here nor a published name",
        )
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=cached.parent) as folder,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            partial = Path(folder) / name
            attempt_download_asset(partial)
            require_file(partial, kind="downloaded weights").replace(cached)
    except Exception as error:  # Ultralytics raises plain ConnectionError, URLError, OSError, RuntimeError ...
        raise MissingDependencyError(
            f"{name} is not on this machine and could not be downloaded.",
            expected="internet access, or the file",
            got=f"{type(error).__name__}: {error}".splitlines()[0],
            fix=f"Download it elsewhere and pass its path, or train from 'base'. It may also be put at {cached}.",
        ) from error
    return cached
