"""What a run finds ready to read: the recording part of the suite, and the lab's workspace."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.digests import digest_of_files, package_digest
from yolotrt_lab.grading.execution.job import CodeCell, ExecutionJob
from yolotrt_lab.grading.notebook import WORKSPACE_VARIABLE
from yolotrt_lab.grading.recording_part import recording_digest, write_recording_suite
from yolotrt_lab.grading.seeds import HIDDEN_SEED_VARIABLE

__all__ = ["Materials", "WorkspaceError", "prepare_workspace", "workspace_digest"]

_PREPARATION_S = 900
_EMPTY = "an empty workspace"


class WorkspaceError(LabError):
    """The lab's own first cells do not prepare the workspace."""


@dataclass(frozen=True)
class Materials:
    """Folders that a run reads; they are the same for all submissions of a lab.

    Attributes:
        suite: The suite as `write_recording_suite` wrote it.
        workspace: The lab's datasets and models.
    """

    suite: Path
    workspace: Path

    @classmethod
    def prepared(cls, lab: str, cells: Sequence[CodeCell], folder: Path) -> Materials:
        """Return the materials of a lab, made where they are not there yet.

        Args:
            lab: The lab, "lab4_engines".
            cells: The cells of the lab's release that run when grading.
            folder: Where they are kept, by content.

        Raises:
            WorkspaceError: The lab's own cells fail.
            InputError: The suite has no such lab.
        """
        short = lab.split("_")[0]
        suite = folder / "suite" / recording_digest(short)
        if not suite.is_dir():
            with _made_whole(suite) as place:
                write_recording_suite(short, place)
        return cls(suite, prepare_workspace(cells, folder / "workspace"))

    @classmethod
    @contextlib.contextmanager
    def at_hand(cls, job: ExecutionJob, materials: Materials | None) -> Iterator[Materials]:
        """Give the materials, or the suite of this clone and an empty workspace for as long as the block lasts."""
        if materials is not None:
            yield materials
            return
        with tempfile.TemporaryDirectory(prefix="yolotrt-materials-", ignore_cleanup_errors=True) as name:
            suite, workspace = Path(name) / "suite", Path(name) / "workspace"
            workspace.mkdir()
            write_recording_suite(job.lab.split("_")[0], suite)
            for folder in (name, suite, workspace):
                os.chmod(folder, 0o755)
            yield cls(suite, workspace)


def prepare_workspace(cells: Sequence[CodeCell], folder: Path) -> Path:
    """Return a folder with what the lab's own cells write to the workspace before the first answer.

    They are the release's, not a submission's, and run once, outside of any sandbox: submissions find what they made,
    and cannot change it.

    Args:
        cells: The cells of the release that run when grading.
        folder: Where prepared workspaces are kept.

    Raises:
        WorkspaceError: A cell fails.
    """
    first = next((number for number, cell in enumerate(cells) if cell.answer), len(cells))
    sources = [cell.source for cell in cells[:first] if not cell.exercise]
    target = folder / hashlib.sha256(json.dumps([package_digest(), sources]).encode()).hexdigest()
    if not target.is_dir():
        with _made_whole(target) as place:
            _run_cells(sources, place)
    return target


def workspace_digest(workspace: Path) -> str:
    """Return a digest of a workspace's files and folders."""
    folders = sorted(path.relative_to(workspace).as_posix() for path in workspace.rglob("*") if path.is_dir())
    files = digest_of_files(workspace, [path for path in workspace.rglob("*") if path.is_file()])
    return hashlib.sha256(json.dumps([folders, files]).encode()).hexdigest()


def _run_cells(sources: Sequence[str], workspace: Path) -> None:
    """Run cells one after the other in IPython, in a process and a folder of their own.

    Raises:
        WorkspaceError: One fails.
    """
    if not any(WORKSPACE_MARK in source for source in sources):
        return  # nothing is written there
    environment = {name: value for name, value in os.environ.items() if name != HIDDEN_SEED_VARIABLE}
    environment |= {WORKSPACE_VARIABLE: str(workspace), "MPLBACKEND": "agg", "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryDirectory(prefix="yolotrt-prepare-", ignore_cleanup_errors=True) as name:
        (Path(name) / "cells.json").write_text(json.dumps(list(sources)))
        environment["IPYTHONDIR"] = str(Path(name) / ".ipython")
        command = [sys.executable, "-c", _PROGRAM, "cells.json"]
        try:
            done = subprocess.run(
                command, env=environment, cwd=name, capture_output=True, text=True, timeout=_PREPARATION_S
            )
        except subprocess.TimeoutExpired:
            raise WorkspaceError("The lab's own first cells do not come to an end.") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise WorkspaceError("The lab's own first cells fail.", got=lines[-1] if lines else "no message")


WORKSPACE_MARK = "workspace("

_PROGRAM = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
for source in json.load(open(sys.argv[1])):
    error = shell.run_cell(source).error_before_exec or shell.last_execution_result.error_in_exec
    if error is not None:
        sys.exit(f"{type(error).__name__}: {error}")
"""


@contextlib.contextmanager
def _made_whole(target: Path) -> Iterator[Path]:
    """Give a new folder that takes its place at the end of the block, whole; somebody else may be quicker."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-", ignore_cleanup_errors=True) as name:
        place = Path(name) / "made"
        place.mkdir()
        yield place
        with contextlib.suppress(OSError):
            place.rename(target)
        if not target.is_dir():
            raise WorkspaceError(f"{target} cannot be made.", expected="a writable folder with free space")
