"""Keep an answer from being one call of the function it should replace.

A function that is forbidden loses its code, not its name: whatever refers to it, a partial, an alias, another module, a
pickled reference, finds the same function object, which now refuses. Classes lose the code of their methods. What has
no Python code, such as OpenCV's functions, is replaced wherever a namespace refers to it. A module that is first
imported by the answer is treated as soon as it has been loaded.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

__all__ = ["ShortcutError", "Shortcuts", "without_shortcuts"]


class ShortcutError(Exception):
    """The answer called something that the exercise is about writing."""


@contextlib.contextmanager
def without_shortcuts(answer: object, forbidden: tuple[str, ...]) -> Iterator[Shortcuts]:
    """Within the block, the forbidden callables raise `ShortcutError`, however the answer gets at them."""
    shortcuts = Shortcuts(answer, forbidden)
    with shortcuts.refused():
        yield shortcuts


class Shortcuts:
    """The forbidden callables of an exercise.

    Args:
        answer: The student's function or class.
        forbidden: Dotted names: "torchvision.ops.nms", "package.module.Class.method".

    Attributes:
        called: Names of those that were called, even if the answer caught the refusal.
    """

    def __init__(self, answer: object, forbidden: tuple[str, ...]) -> None:
        self.called: list[str] = []
        self._forbidden = forbidden
        self._namespace = _globals_of(answer)
        for name in forbidden:
            _import_own(name)

    @contextlib.contextmanager
    def refused(self) -> Iterator[None]:
        """Refuse them within the block."""
        with contextlib.ExitStack() as undo:
            self._refuse(undo)
            finder = _LateFinder(self._forbidden, lambda: self._refuse(undo))
            sys.meta_path.insert(0, finder)
            undo.callback(_remove, sys.meta_path, finder)
            yield

    def among(self, codes: Iterable[CodeType]) -> list[str]:
        """Return names of forbidden functions whose code is among these: somebody made functions of it."""
        kept = list(codes)
        targets = {name: _functions_of(_resolve(name)) for name in self._forbidden}
        return [name for name, made in targets.items() if any(part.__code__ == code for part in made for code in kept)]

    def _refuse(self, undo: contextlib.ExitStack) -> None:
        """Refuse what is loaded by now."""
        without_code = {}
        for name in self._forbidden:
            target = _resolve(name)
            functions = _functions_of(target)
            for function in [*self._twins(functions), *functions]:
                _swap_code(function, self._refusal(name), undo)
            if target is not None and not functions:
                without_code[name] = target
        if without_code:
            self._replace(without_code, undo)

    def _twins(self, functions: Sequence[FunctionType]) -> list[FunctionType]:
        """Return functions of the notebook that have the same code: loaded again, or made of the code object."""
        codes = [function.__code__ for function in functions]
        values = list((self._namespace or {}).values())
        return [v for v in values if isinstance(v, FunctionType) and v not in functions and v.__code__ in codes]

    def _replace(self, targets: dict[str, Any], undo: contextlib.ExitStack) -> None:
        """Put refusals into all namespaces and closures that hold one of the targets."""
        for name, target in targets.items():
            substitute = self._refusal(name)
            # What the collector was told to leave alone it does not find: the likely places are named.
            likely = [vars(owner) for owner in _owners(name)] + [self._namespace or {}]
            for holder in [*likely, *gc.get_referrers(target)]:
                if isinstance(holder, CellType):
                    holder.cell_contents = substitute
                    undo.callback(setattr, holder, "cell_contents", target)
                elif isinstance(holder, dict) and holder is not targets:
                    for key in [key for key, value in list(holder.items()) if value is target]:
                        holder[key] = substitute
                        undo.callback(holder.__setitem__, key, target)

    def _refusal(self, name: str) -> Callable[..., NoReturn]:
        def refuse(*_: object, **__: object) -> NoReturn:
            self.called.append(name)
            raise ShortcutError(name)

        return refuse


def _remove(items: list[Any], item: object) -> None:
    with contextlib.suppress(ValueError):  # the student's code may have been there before
        items.remove(item)


def _resolve(name: str) -> Any:
    """Return what a dotted name stands for, or None where its module has not been imported yet."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:length]))
        if module is None:
            continue
        found: Any = module
        for part in parts[length:]:
            found = vars(found).get(part) if isinstance(found, (type, ModuleType)) else None
        return None if isinstance(found, ModuleType) else found
    return None


def _owners(name: str) -> list[ModuleType]:
    module = sys.modules.get(name.rpartition(".")[0])
    return [] if module is None else [module]


def _import_own(name: str) -> None:
    """Import our own light modules; others, such as torchvision, are waited for."""
    if name.startswith("yolotrt_lab."):
        with contextlib.suppress(ImportError):
            __import__(name.rpartition(".")[0])


def _globals_of(answer: object) -> dict[str, Any] | None:
    functions = [answer] if not isinstance(answer, type) else list(vars(answer).values())
    for function in functions:
        namespace = getattr(getattr(function, "__func__", function), "__globals__", None)
        if isinstance(namespace, dict):
            return namespace
    return None


def _functions_of(target: object) -> list[FunctionType]:
    """Return the Python functions to disable; none for what has no Python code."""
    if isinstance(target, FunctionType):
        wrapped = getattr(target, "__wrapped__", None)
        return [target, wrapped] if isinstance(wrapped, FunctionType) else [target]
    if isinstance(target, type):
        inner = (getattr(value, "__func__", value) for value in vars(target).values())
        return [value for value in inner if isinstance(value, FunctionType) and value.__name__ not in _HARMLESS]
    return []


# What printing, comparing and clearing away call on instances that exist already.
_HARMLESS = frozenset({"__repr__", "__str__", "__eq__", "__hash__", "__del__", "__exit__"})


def _swap_code(function: FunctionType, refusal: Callable[..., NoReturn], undo: contextlib.ExitStack) -> None:
    original = function.__code__
    if original.co_consts and original.co_consts[0] is _MARK:
        return  # refuses already: two names for one function
    consts = tuple(refusal if value == _PLACE else value for value in _TEMPLATE.co_consts)
    function.__code__ = _TEMPLATE.replace(
        co_consts=(_MARK, *consts[1:]), co_freevars=original.co_freevars, co_filename=__file__
    )
    undo.callback(setattr, function, "__code__", original)


_MARK = "a function that an exercise forbids"
_PLACE = "what refuses"


def _template() -> CodeType:
    """Return the code of a function that calls a constant, so that it needs nothing from its function's globals."""
    made: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # a text is not callable; the constant will be
        exec(f"def refuse(*_, **__):\n    {_MARK!r}\n    return {_PLACE!r}()\n", made)
    code: CodeType = made["refuse"].__code__
    return code


_TEMPLATE = _template()


class _LateFinder(importlib.abc.MetaPathFinder):
    """Has modules treated before anybody who imports them sees them."""

    def __init__(self, names: Sequence[str], treat: Callable[[], None]) -> None:
        self._modules = {
            ".".join(name.split(".")[:length]) for name in names for length in range(1, name.count(".") + 1)
        }
        self._treat = treat

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec that Python's own finder gives, with a loader that has the module treated."""
        if fullname not in self._modules:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _TreatingLoader(spec.loader, self._treat)
        return spec


class _TreatingLoader(importlib.abc.Loader):
    def __init__(self, loader: Any, loaded: Callable[[], None]) -> None:
        self._loader = loader
        self._loaded = loaded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._loaded()
