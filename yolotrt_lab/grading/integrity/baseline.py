"""What recording depends on, as it was before any of the student's code ran: to compare with, and to go back to."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Iterable, Iterator
from operator import is_
from types import CodeType, FunctionType, ModuleType
from typing import Any

from yolotrt_lab.grading.integrity.notes import Notebook
from yolotrt_lab.grading.integrity.origin import described, is_cell

__all__ = ["Baseline"]

# Modules whose names begin so: of our own and of the vendors, classes included.
_OURS = ("yolotrt_lab", "yolotrt_suite_", "tensorrt", "pycuda", "cuda.bindings", "onnx", "onnxruntime")
_PREFIXES = (*_OURS, "numpy")
_SINGLE = frozenset(
    ("builtins", "contextlib", "functools", "hashlib", "importlib", "io", "json", "json.decoder", "json.encoder",
     "math", "os", "pathlib", "posixpath", "shutil", "signal", "struct", "tempfile", "threading", "time", "traceback",
     "IPython.core.getipython")
)  # fmt: skip
# The shell sets these itself, some of them for each cell.
_FREE = frozenset(
    ("_", "__", "___", "print", "input", "display", "exit", "quit", "help", "breakpoint", "get_ipython", "open")
)
_DESCRIPTORS = (FunctionType, property, classmethod, staticmethod, functools.cached_property)
_map, _get_referents, _get = map, gc.get_referents, dict.get  # as they are now, whatever becomes of builtins


class Baseline:
    """Attributes of modules and classes, and the code of functions, that nobody has a reason to replace.

    Values that are not callable are left out: modules fill caches and switches of their own as they go.
    """

    def __init__(self) -> None:
        self._modules: dict[str, ModuleType] = {}
        self._attributes: list[tuple[str, dict[str, Any], str, Any]] = []
        self._classes: list[tuple[type, str, Any]] = []
        self._functions: list[tuple[str, FunctionType, CodeType, Any, Any]] = []
        self._seen: set[int] = set()
        self._passed_over: set[str] = set()
        self._last_seen: list[object] = []
        self._last_found: list[object] = []

    def look_at_new_modules(self, notes: Notebook) -> None:
        """Take down the modules that were imported since the last time.

        The student's code may have changed those before anybody looked: what comes from a cell is noted.
        """
        for name, module in list(sys.modules.items()):
            if name in self._passed_over:  # thousands, and this runs before every case
                continue
            if not _is_guarded(name):
                self._passed_over.add(name)
            elif isinstance(module, ModuleType) and self._is_new(name, module):
                self._take_down(name, module, notes)

    def _is_new(self, name: str, module: ModuleType) -> bool:
        return name not in self._modules or (_is_made_anew(name) and self._modules[name] is not module)

    def _take_down(self, name: str, module: ModuleType, notes: Notebook) -> None:
        self._modules[name] = module
        for attribute, value in list(vars(module).items()):
            if attribute in _FREE or not (callable(value) or isinstance(value, ModuleType)):
                continue
            if _is_foreign(value):
                notes.add("replaced", f"{name}.{attribute}", described(value))
                continue
            self._attributes.append((name, vars(module), attribute, value))
            if isinstance(value, type) and value.__module__ == name and name.startswith(_OURS):
                self._take_down_class(value)
            self._take_down_functions(f"{name}.{attribute}", value)

    def _take_down_class(self, kind: type) -> None:
        if id(kind) in self._seen:
            return
        self._seen.add(id(kind))
        for attribute, value in list(vars(kind).items()):
            if isinstance(value, _DESCRIPTORS):
                self._classes.append((kind, attribute, value))
                self._take_down_functions(f"{kind.__module__}.{kind.__qualname__}.{attribute}", value)

    def _take_down_functions(self, name: str, value: object) -> None:
        for function in _functions_in(value):
            if id(function) not in self._seen and _is_guarded(function.__module__ or ""):
                self._seen.add(id(function))
                kept = (function.__code__, function.__defaults__, function.__kwdefaults__)
                self._functions.append((name, function, *kept))

    def knows(self, name: str) -> bool:
        """Whether a module of that name was taken down."""
        return name in self._modules

    def put_back(self, notes: Notebook) -> int:
        """Undo what was changed, note it, and return how much it was."""
        changed = [
            *self._put_back_functions(), *self._put_back_modules(), *self._put_back_attributes(),
            *self._put_back_classes(),
        ]  # fmt: skip
        for what, value in changed:
            notes.add("replaced", what, described(value))
        return len(changed)

    def _put_back_functions(self) -> Iterator[tuple[str, object]]:
        # Reading __code__ raises an audit event each time; this is one for all of them, before every case.
        seen = _get_referents(*[entry[1] for entry in self._functions])
        if _are_identical(seen, self._last_seen):
            return
        for name, function, code, defaults, kwdefaults in self._functions:
            if function.__code__ is not code:
                other = function.__code__
                function.__code__ = code
                yield f"the code of {name}", other
            if function.__defaults__ is not defaults or function.__kwdefaults__ is not kwdefaults:
                function.__defaults__, function.__kwdefaults__ = defaults, kwdefaults
                yield f"the defaults of {name}", function
        self._last_seen = _get_referents(*[entry[1] for entry in self._functions])

    def _put_back_modules(self) -> Iterator[tuple[str, object]]:
        for name, module in self._modules.items():
            found = sys.modules.get(name)
            if found is None or found is module or _is_made_anew(name) or _is_the_same(module, found):
                continue
            sys.modules[name] = module
            yield f"the module {name}", found

    def _put_back_attributes(self) -> Iterator[tuple[str, object]]:
        names = [entry[2] for entry in self._attributes]
        found_now = [*_map(_get, [entry[1] for entry in self._attributes], names)]
        if _are_identical(found_now, self._last_found):
            return
        for module, namespace, name, value in self._attributes:
            found = namespace.get(name)
            if found is not value and not _is_the_same(value, found):
                namespace[name] = value
                yield f"{module}.{name}", found
        self._last_found = [*_map(_get, [entry[1] for entry in self._attributes], names)]

    def _put_back_classes(self) -> Iterator[tuple[str, object]]:
        for kind, name, value in self._classes:
            found = vars(kind).get(name)
            if found is not value and not _is_the_same(value, found):
                type.__setattr__(kind, name, value)
                yield f"{kind.__module__}.{kind.__qualname__}.{name}", found


def _are_identical(some: list[object], others: list[object]) -> bool:
    """Whether two lists hold the same objects; objects are not asked, they may be a student's."""
    return some.__len__() == others.__len__() and False not in _map(is_, some, others)


def _is_guarded(name: str) -> bool:
    return name in _SINGLE or name.split(".")[0] in _PREFIXES or name.startswith(("yolotrt_suite_", "cuda.bindings"))


def _is_made_anew(name: str) -> bool:
    """Whether a module comes and goes: the emulation is switched on and off."""
    return name.split(".")[0] in ("tensorrt", "pycuda", "cuda")


def _functions_in(value: object) -> Iterable[FunctionType]:
    """Return the Python functions that a callable or descriptor stands for."""
    if isinstance(value, property):
        parts: tuple[object, ...] = (value.fget, value.fset)
    elif isinstance(value, functools.cached_property):
        parts = (value.func,)
    else:
        inner = value if isinstance(value, type) else getattr(value, "__func__", value)
        parts = (inner, None if isinstance(inner, type) else getattr(inner, "__wrapped__", None))
    return [part for part in parts if isinstance(part, FunctionType)]


def _is_the_same(before: object, now: object) -> bool:
    """Whether a module was only loaded again: the same code, from the same place."""
    if isinstance(before, FunctionType) and isinstance(now, FunctionType):
        return before.__code__ == now.__code__ and before.__code__.co_filename == now.__code__.co_filename
    if isinstance(before, type) and isinstance(now, type):
        return (before.__module__, before.__qualname__) == (now.__module__, now.__qualname__) and all(
            not _is_foreign(entry) for entry in vars(now).values()
        )
    if isinstance(before, ModuleType) and isinstance(now, ModuleType):
        same_file = getattr(before, "__file__", 0) == getattr(now, "__file__", 1)
        return same_file and not any(_is_foreign(value) for value in vars(now).values())
    return False


def _is_foreign(value: object) -> bool:
    return any(is_cell(function.__code__.co_filename) for function in _functions_in(value))
