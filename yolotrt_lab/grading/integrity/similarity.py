"""Tell an answer that is the package's own code from one that does the same.

Functions are compared as trees in which local names, texts and annotations do not count, so renaming and reformatting
hide nothing. Only the modules of the functions that an exercise forbids are looked at, and the exercise's own file:
that is where the answer could be copied from. A finding is a reason to look, and costs nothing.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.util
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from yolotrt_lab.grading.nbgrader.findings import Finding

__all__ = ["Copy", "copied_reference", "copies_in"]

_LEAST = 90  # nodes: about seven lines, below which everybody writes the same
_SHARE = 0.97
_PREFILTER = 0.5
_MAX_SOURCE = 200_000
_LINES = 6


@dataclass(frozen=True)
class Copy:
    """A function of an answer that is one of the course's own.

    Attributes:
        function: Its name in the answer.
        original: "yolotrt_lab.detection.nms.nms".
        share: How much of the two trees is the same, 0 to 1.
        lines: The lines that both have, word for word.
    """

    function: str
    original: str
    share: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Function:
    name: str
    tokens: tuple[str, ...]
    grams: frozenset[tuple[str, ...]]
    lines: tuple[str, ...]


def copied_reference(source: str, *, suite_file: Path, cell: str = "") -> list[Finding]:
    """Return a finding for each function of an answer that is the course's own code.

    Args:
        source: The answer cell's text.
        suite_file: The exercise's file in the suite, which is read and not run.
        cell: The answer's grade id.
    """
    originals = _originals(suite_file) if suite_file.is_file() else ()
    return [
        Finding(
            "copied reference",
            f"`{copy.function}` is, but for names, {copy.original} ({copy.share:.0%} the same). "
            + (f"Both have: {' / '.join(copy.lines)}" if copy.lines else "Every name was changed."),
            cell,
            suspicious=True,
        )
        for copy in copies_in(source, originals)
    ]


def copies_in(source: str, originals: Iterable[_Function]) -> list[Copy]:
    """Return the functions of a text that are copies; a text that is no Python has none."""
    known = list(originals)
    found = []
    for function in _functions_in(source[:_MAX_SOURCE], ""):
        best = max(known, key=lambda other: _overlap(function, other), default=None)
        if best is None or _overlap(function, best) < _PREFILTER:
            continue
        share = difflib.SequenceMatcher(None, function.tokens, best.tokens, autojunk=False).ratio()
        if share >= _SHARE:
            same = [line for line in function.lines if len(line) > 12 and line in best.lines]
            found.append(Copy(function.name, best.name, share, tuple(same[:_LINES])))
    return found


@functools.lru_cache(maxsize=128)
def _originals(suite_file: Path) -> tuple[_Function, ...]:
    """Return the functions of an exercise's file, and of the modules that hold what it forbids."""
    tree = ast.parse(suite_file.read_text(encoding="utf-8"))
    declared = (node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "forbidden")
    names = [part.value for node in declared for part in ast.walk(node) if isinstance(part, ast.Constant)]
    places = (_file_of(name) for name in names if isinstance(name, str))
    files = dict.fromkeys([*(path for path in places if path is not None), suite_file])
    return tuple(entry for path in files for entry in _functions_of(path))


def _overlap(one: _Function, other: _Function) -> float:
    return len(one.grams & other.grams) / max(len(one.grams), len(other.grams))


def _file_of(name: str) -> Path | None:
    """Return the file of a function of this package's, by its dotted name."""
    if not name.startswith("yolotrt_lab."):
        return None
    module = name.rpartition(".")[0]
    while module:
        try:
            spec = importlib.util.find_spec(module)
        except ImportError:
            spec = None
        if spec is not None and spec.origin:
            return Path(spec.origin)
        module = module.rpartition(".")[0]
    return None


@functools.lru_cache(maxsize=64)
def _functions_of(path: Path) -> tuple[_Function, ...]:
    parts = path.with_suffix("").parts
    begin = next((index for index, part in enumerate(parts) if part in ("yolotrt_lab", "tests")), len(parts) - 1)
    return tuple(_functions_in(path.read_text(encoding="utf-8"), ".".join(parts[begin:])))


def _functions_in(source: str, module: str) -> Iterator[_Function]:
    try:
        tree = ast.parse(textwrap.dedent(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            tokens = tuple(_tokens(node))
            if len(tokens) >= _LEAST:
                grams = frozenset(zip(*(tokens[start:] for start in range(5)), strict=False))
                lines = tuple(line.strip() for part in node.body for line in ast.unparse(part).splitlines())
                yield _Function(f"{module}.{node.name}" if module else node.name, tokens, grams, lines)


def _tokens(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield the kinds of a function's nodes, with what cannot be renamed: attributes, numbers, operators."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    waiting: list[ast.AST] = list(reversed(body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Attribute):
            yield f".{node.attr}"
        elif isinstance(node, ast.Constant):
            yield repr(node.value) if isinstance(node.value, int | float | bool | None) else "text"
        elif isinstance(node, ast.AnnAssign):
            yield "Assign"
            waiting += [part for part in (node.value, node.target) if part is not None]
            continue
        elif not isinstance(node, ast.expr_context):
            yield type(node).__name__
        waiting += [
            child for child in reversed(list(ast.iter_child_nodes(node))) if not isinstance(child, ast.expr_context)
        ]
