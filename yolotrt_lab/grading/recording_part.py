"""The part of the suite that a student's kernel needs: declarations, inputs and how answers are called; no tests.

An exercise's file also holds tests and references. They stay out of the kernel, and out of the key under which a run
is kept: changing a test re-judges what was recorded, and runs nothing again.
"""

from __future__ import annotations

import ast
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import write_text
from yolotrt_lab.grading.suite import exercise_ids, suite_root

__all__ = ["recording_digest", "recording_sources", "write_recording_suite"]

_ROOTS = ("EXERCISE", "inputs", "run")
_EVERYTHING = "*"
_FUTURE = "__future__"


def write_recording_suite(lab: str, folder: Path, *, root: Path | None = None) -> str:
    """Write a suite for the kernel, with nothing in it that judges, and return its digest.

    Args:
        lab: "lab4".
        folder: Where it goes; `YOLOTRT_GRADING_SUITE` of the kernel.
        root: The grading suite; by default the course's.

    Raises:
        InputError: There is no such lab, or a file of it is not Python that can be followed.
        OutputError: The folder cannot be written.
    """
    sources = recording_sources(lab, root=root)
    for name, source in sources.items():
        write_text(folder / lab / name, source)
    data = _data_files(lab, sources, root=root)
    for path in data:
        shutil.copyfile(path, folder / lab / path.name)
    return _digest(sources, data)


def recording_digest(lab: str, *, root: Path | None = None) -> str:
    """Return the digest of what `write_recording_suite` would write.

    Raises:
        InputError: There is no such lab, or a file of it is not Python that can be followed.
    """
    sources = recording_sources(lab, root=root)
    return _digest(sources, _data_files(lab, sources, root=root))


def recording_sources(lab: str, *, root: Path | None = None) -> dict[str, str]:
    """Return the sources of a lab's files for the kernel, by file name: what `EXERCISE`, `inputs` and `run` use.

    Raises:
        InputError: There is no such lab, or a file of it is not Python that can be followed.
    """
    suite = root or suite_root()
    ids = exercise_ids(lab, root=suite)
    if not ids:
        raise InputError(f"The grading suite has no lab {lab!r}.", expected="lab1, lab2, …", got=lab)
    parts: dict[str, _Part] = {}
    waiting: list[tuple[str, str]] = []
    for exercise_id in ids:
        name = f"test_{exercise_id.split('.', 1)[1]}"
        waiting += [(name, wanted) for wanted in _ROOTS]
    while waiting:
        file, wanted = waiting.pop()
        if file not in parts:
            parts[file] = _Part.read(suite / lab / f"{file}.py")
        waiting += [(other or file, name) for other, name in parts[file].take(wanted)]
    return {f"{name}.py": part.source() for name, part in sorted(parts.items())}


def _digest(sources: dict[str, str], data: list[Path]) -> str:
    contents = {name: source.encode() for name, source in sources.items()}
    contents |= {path.name: path.read_bytes() for path in data}
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
    return digest.hexdigest()


def _data_files(lab: str, sources: dict[str, str], *, root: Path | None) -> list[Path]:
    """Return the lab's files that the sources name, and that are not Python."""
    texts = {
        node.value
        for source in sources.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    folder = (root or suite_root()) / lab
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".py" and path.name in texts)


@dataclass
class _Part:
    """One file of the suite, and which of its names are wanted.

    Attributes:
        tree: The file.
        bound: Statements that give a name its meaning, by name.
        siblings: Files beside it, by the name that it knows them by.
        taken: The names that are wanted.
    """

    tree: ast.Module
    bound: dict[str, list[ast.stmt]] = field(default_factory=dict)
    siblings: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> _Part:
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{path.name} of the suite cannot be read.", expected="Python", got=error) from error
        part = cls(tree)
        for statement in tree.body:
            for name in _names_bound(statement, path.name):
                part.bound.setdefault(name, []).append(statement)
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and (beside := _sibling_of(node.value)):
                part.siblings |= {target.id: beside for target in node.targets if isinstance(target, ast.Name)}
        return part

    def take(self, name: str) -> Iterator[tuple[str, str]]:
        """Want a name; yield what it uses: (file beside this one or "", name)."""
        if name in self.taken:
            return
        self.taken.add(name)
        for wanted in list(self.bound) if name == _EVERYTHING else [name]:
            for statement in self.bound.get(wanted, ()):
                yield from self._uses(statement, wanted)

    def _uses(self, statement: ast.stmt, wanted: str) -> Iterator[tuple[str, str]]:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield "", wanted
            return
        qualified: set[ast.AST] = set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute):
                beside = _sibling_of(node.value)
                if isinstance(node.value, ast.Name) and node.value.id in self.siblings:
                    beside = self.siblings[node.value.id]
                    yield "", node.value.id
                if beside:
                    qualified.add(node.value)
                    yield beside, node.attr
            elif isinstance(node, ast.Name) and node.id in self.siblings and isinstance(node.ctx, ast.Load):
                if node not in qualified:
                    yield self.siblings[node.id], _EVERYTHING
                    yield "", node.id
            elif isinstance(node, ast.Name) and node.id in self.bound:
                yield "", node.id

    def source(self) -> str:
        """Return the wanted part, without comments and docstrings."""
        everything = _EVERYTHING in self.taken
        body: list[ast.stmt] = []
        for statement in self.tree.body:
            if isinstance(statement, ast.ImportFrom) and statement.module == _FUTURE:
                body.append(statement)
            elif isinstance(statement, (ast.Import, ast.ImportFrom)):
                names = [alias for alias in statement.names if everything or _bound_by(alias) in self.taken]
                if names:
                    body.append(_with_names(statement, names))
            elif everything or any(statement in self.bound.get(name, ()) for name in self.taken):
                body.append(statement)
        module = ast.Module(body=[*body], type_ignores=[])
        return ast.unparse(ast.fix_missing_locations(_without_docstrings(module))) + "\n"


def _names_bound(statement: ast.stmt, file: str) -> set[str]:
    """Return the module's names that a statement binds or changes."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {_bound_by(alias) for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            found.add(node.id)
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            found |= {inner.id for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
    if _EVERYTHING in found:
        raise InputError(f"{file} of the suite imports *.", expected="imports by name", got="from … import *")
    return found


def _bound_by(alias: ast.alias) -> str:
    return alias.asname or alias.name.split(".")[0]


def _with_names(statement: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> ast.stmt:
    if isinstance(statement, ast.Import):
        return ast.Import(names=names)
    return ast.ImportFrom(module=statement.module, names=names, level=statement.level)


def _sibling_of(node: ast.expr) -> str:
    """Return the file that an expression `sibling(__file__, "name")` loads, or ""."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sibling" and len(node.args) == 2:
        name = node.args[1]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            return name.value
    return ""


def _without_docstrings(module: ast.Module) -> ast.Module:
    """Return a copy; what a docstring says of tests is nobody's in the kernel."""
    copy = ast.parse(ast.unparse(module))
    for node in ast.walk(copy):
        if (
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return copy
