"""Digests of what a grade depends on besides the submission: the package, the suite, the versions of what they use.

Equal digests mean equal results; so they are part of the keys under which results are kept.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.suite import suite_root

__all__ = [
    "digest_of_files",
    "environment_digest",
    "exercise_digest",
    "package_digest",
    "sibling_files",
    "suite_digest",
]

_PACKAGE = Path(__file__).resolve().parents[1]
# What computes references, inputs and students' results.
_DISTRIBUTIONS = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "opencv-python-headless",
    "opencv-python",
    "torch",
    "ultralytics",
    "tensorrt",
    "pycuda",
    "cuda-python",
    "pytest",
    "ipykernel",
)


@lru_cache(maxsize=1)
def package_digest() -> str:
    """Return the digest of the package's files, taken once per process."""
    return digest_of_files(_PACKAGE, _plain_files(_PACKAGE))


@lru_cache(maxsize=1)
def environment_digest() -> str:
    """Return the digest of Python's version and of the libraries' that results depend on."""
    versions = [f"python {platform.python_version()} {platform.machine()}"]
    for name in _DISTRIBUTIONS:
        # What is installed, not what the emulation answers for while it is active.
        context = metadata.DistributionFinder.Context(name=name)
        found = next(iter(metadata.MetadataPathFinder.find_distributions(context)), None)
        if found is not None:
            versions.append(f"{name} {found.version}")
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()


def suite_digest(lab: str, *, root: Path | None = None) -> str:
    """Return the digest of all files that grade a lab ("lab4").

    Raises:
        InputError: There is no such lab.
    """
    folder = (root or suite_root()) / lab
    if not lab.isidentifier() or not folder.is_dir():
        raise InputError(f"The grading suite has no lab {lab!r}.", expected="lab1, lab2, …", got=lab)
    return digest_of_files(folder, _plain_files(folder))


def exercise_digest(exercise_id: str, *, root: Path | None = None) -> str:
    """Return the digest of an exercise's file, of the modules beside it that it loads, and of the lab's data files.

    Raises:
        InputError: There is no such exercise, or its file is not Python.
    """
    lab, _, name = exercise_id.partition(".")
    folder = (root or suite_root()) / lab
    path = folder / f"test_{name}.py"
    if not lab.isidentifier() or not name.isidentifier() or not path.is_file():
        raise InputError(f"There is no exercise {exercise_id!r}.", expected="an exercise of the suite", got=exercise_id)
    data = [file for file in _plain_files(folder) if file.suffix != ".py"]
    return digest_of_files(folder, [path, *sibling_files(path), *data])


def sibling_files(path: Path) -> list[Path]:
    """Return the modules beside a file of the suite that it loads with `sibling`, theirs included, sorted.

    Raises:
        InputError: One is missing or is not Python, or its name is not written as text.
    """
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        current = waiting.pop()
        for name in _sibling_names(current):
            beside = path.with_name(f"{name}.py")
            if beside not in found and beside != path:
                found[beside] = None
                waiting.append(beside)
    return sorted(found)


def _sibling_names(path: Path) -> list[str]:
    try:
        return _names_in(path, path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path.name} of the suite cannot be read.", expected="a Python file", got=error) from error


@lru_cache(maxsize=256)
def _names_in(path: Path, content: bytes) -> list[str]:
    """Return the modules that a file loads; for a class this is asked again and again."""
    tree = ast.parse(content)
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sibling":
            name = node.args[1] if len(node.args) == 2 else None
            if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
                raise InputError(
                    f"{path.name}, line {node.lineno}: which module is loaded is not to be seen.",
                    expected='sibling(__file__, "name")',
                    got=ast.unparse(node),
                )
            names.append(name.value)
    return names


def digest_of_files(folder: Path, files: Iterable[Path]) -> str:
    """Return a digest of the names and contents of files below a folder, whatever their order."""
    digest = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()


def _plain_files(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]
