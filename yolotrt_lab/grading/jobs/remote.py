"""What runs on a cluster's worker. Sent there as source, so it uses nothing but Python and Dask.

A worker has no credentials: no gradebook, no secret, no student's name. Code and data reach it as parcels, which go by
the digest of their content; what it does not have yet it asks for. Where the worker's own installation is the very code
that is asked for, the work is done in its process, which stays warm; otherwise in a process of that code's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

__all__ = ["keep_parcel", "run"]

_RUN_S = 7_200


def run(kind: str, content: bytes, needs: dict, settings: dict) -> tuple:  # type: ignore[type-arg]
    """Do some work: ("done", result), ("missing", digests, address), or ("failed", reason).

    Args:
        kind: What to do.
        content: What about.
        needs: Digest of the parcel, or path on this machine, by name: "code", "suite", …
        settings: `code` and `environment`, the digests of the package and of its libraries' versions, and what
            `perform` reads.
    """
    mine = "code" not in needs or settings["code"] == _own_code()
    missing = [
        digest
        for name, digest in needs.items()
        if not (name == "code" and mine) and not os.path.isabs(digest) and not _place(digest).is_dir()
    ]
    if missing:
        from distributed import get_worker

        return "missing", missing, get_worker().address
    folders = {
        name: digest if os.path.isabs(digest) else str(_place(digest))
        for name, digest in needs.items()
        if name != "code"
    }
    try:
        if mine:
            from yolotrt_lab.grading.jobs.perform import perform

            return "done", perform(kind, content, folders=folders, settings=settings)
        return "done", _in_process_of(_place(needs["code"]), kind, content, folders, settings)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"


def keep_parcel(digest: str, content: bytes) -> bool:
    """Unpack a parcel, whole or not at all; return whether it is there."""
    if hashlib.sha256(content).hexdigest() != digest:
        return False
    place = _place(digest)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="new-") as name:
        new = Path(name) / "parcel"
        new.mkdir()
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for entry in archive:
                target = new / entry.name
                if not entry.isreg() or ".." in target.parts or os.path.isabs(entry.name):
                    return False
                target.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(entry)
                target.write_bytes(source.read() if source else b"")
        try:
            new.rename(place)
        except OSError:
            return place.is_dir()  # another worker of this machine was quicker
    return True


def _place(digest: str) -> Path:
    if len(digest) != 64 or not digest.isalnum():
        raise ValueError("not a digest")
    base = Path(os.environ.get("YOLOTRT_PARCELS") or Path(tempfile.gettempdir()) / f"yolotrt-parcels-{os.getuid()}")
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = base.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise PermissionError(f"{base} can be written by others, who could put code there; set YOLOTRT_PARCELS")
    return base / digest


def _own_code() -> str:
    try:
        from yolotrt_lab.grading.digests import package_digest
    except ImportError:
        return ""
    return str(package_digest())


def _in_process_of(code: Path, kind: str, content: bytes, folders: dict, settings: dict) -> bytes:  # type: ignore[type-arg]
    """Do the work under other code than this process has."""
    with tempfile.TemporaryDirectory(prefix="yolotrt-work-") as name:
        folder = Path(name)
        (folder / "content").write_bytes(content)
        settings = {**settings, "preload": ()}  # nothing stays warm in a process for one piece of work
        (folder / "work.json").write_text(json.dumps({"kind": kind, "folders": folders, "settings": settings}))
        environment = {**os.environ, "PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-m", "yolotrt_lab.grading.jobs.perform", str(folder)]
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_RUN_S
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise RuntimeError(f"exit code {done.returncode}: {lines[-1] if lines else 'no message'}")
        return (folder / "result").read_bytes()
