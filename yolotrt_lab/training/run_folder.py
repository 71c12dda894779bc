"""The folder of a run: made aside, put in place whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yolotrt_lab.errors import OutputError
from yolotrt_lab.training.provenance import PROVENANCE_NAME

__all__ = ["check_output", "run_folder"]

_NEEDED_BYTES = 200 * 2**20  # two checkpoints with optimizer state, twice while they are written, and the logs


def check_output(output: Path) -> None:
    """Refuse to replace a folder that does not hold a training run, and to start on a full disk.

    Raises:
        OutputError: There is something else, or too little space.
    """
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
def run_folder(output: Path) -> Iterator[Path]:
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
        try:
            if output.exists():
                output.replace(earlier)
            folder.replace(output)
        except BaseException:  # an interrupt between the two moves included
            if earlier.exists() and not output.exists():
                earlier.replace(output)
            raise
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
