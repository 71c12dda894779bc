"""What the reference solution of lab 2 hands in beside its notebook: the fine-tuned model.

It is really trained, with the solution's own settings, by the notebook's own functions, in about a minute on two cores,
and kept in `runs/` (which Git ignores) until the solution, the package or the pictures change.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from pathlib import Path

from lab_solutions import cells_of, solution_namespace

from yolotrt_lab.data.parts import GENERATOR_VERSION
from yolotrt_lab.files import sha256_of
from yolotrt_lab.training import base_checkpoint

__all__ = ["make_artifacts"]

_CACHE = Path(__file__).parents[3] / "runs" / "tests" / "lab2"


def make_artifacts(folder: Path) -> tuple[Path, ...]:
    """Put the files into `folder`, and return them.

    Args:
        folder: Where the reference solution runs, or its notebook is submitted.
    """
    graded = [cell.source for cell in cells_of("lab2") if "station_b" in cell.source and cell.cell_type == "code"]
    parts = [*graded, sha256_of(base_checkpoint()), str(GENERATOR_VERSION)]
    kept = _CACHE / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    solution = solution_namespace("lab2")
    name = solution["fine_tuned_model"]()
    with _only_one():
        if not (kept / name).is_file():
            _train(solution, kept / name)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kept / name, folder / name)
    return (folder / name,)


@contextlib.contextmanager
def _only_one():
    """Let one process train, and the others wait for what it makes."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _train(solution: dict, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("YOLOTRT_WORKSPACE")
    os.environ["YOLOTRT_WORKSPACE"] = str(target.parent / "workspace")
    try:
        _, solution["station_b"] = solution["draw_stations"](solution["workspace"]() / "datasets")
        partial = target.with_name(f"unfinished-{target.name}")
        solution["fine_tune"](solution["training_settings"](), partial)
        partial.replace(target)
    finally:
        if before is None:
            del os.environ["YOLOTRT_WORKSPACE"]
        else:
            os.environ["YOLOTRT_WORKSPACE"] = before
    shutil.rmtree(target.parent / "workspace", ignore_errors=True)
