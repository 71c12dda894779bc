"""Small things to do with a TensorRT module that need no device, and what came of each, as text.

Run as a program this probes the `tensorrt` it can import, NVIDIA's bindings, and prints JSON; with versions as
arguments it probes the emulation of each and prints the outcomes by version. The probes are the functions below, the
expressions in `behaviour_expressions.txt`, and every method of every interface, called without being implemented.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import importlib
import inspect
import json
import os
import pickle
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


def subclass(base: Any, **members: Any) -> Any:
    """Return an instance of a subclass of `base`."""
    return type("Mine", (base,), members)()


def forgetful(base: Any) -> Any:
    """Construct a subclass that does not call its base's constructor."""
    return subclass(base, __init__=lambda self: None)


PROBES: dict[str, Callable[[Any], Any]] = {
    "severity repr": lambda t: repr(t.Logger.ERROR),
    "severity str": lambda t: str(t.Logger.ERROR),
    "severity is no int": lambda t: t.Logger.ERROR == 1,
    "severity alias": lambda t: t.Logger.Severity is t.ILogger.Severity,
    "logger default": lambda t: str(t.Logger().min_severity),
    "logger keyword": lambda t: str(t.Logger(min_severity=t.Logger.INFO).min_severity),
    "logger number": lambda t: t.Logger(5),
    "logger attribute": lambda t: t.Logger().nope,
    "logger new attribute": lambda t: setattr(t.Logger(), "nope", 1),
    "builder nothing": lambda t: t.Builder(),
    "builder number": lambda t: t.Builder(3),
    "runtime nothing": lambda t: t.Runtime(),
    "parser none": lambda t: t.OnnxParser(None, 1),
    "engine": lambda t: t.ICudaEngine(),
    "config": lambda t: t.IBuilderConfig(),
    "host memory": lambda t: t.IHostMemory(),
    "forgetful logger": lambda t: forgetful(t.ILogger),
    "forgetful profiler": lambda t: forgetful(t.IProfiler),
    "forgetful monitor": lambda t: forgetful(t.IProgressMonitor),
    "forgetful allocator": lambda t: forgetful(t.IOutputAllocator),
    "plain profiler": lambda t: isinstance(subclass(t.IProfiler), t.IProfiler),
    "subclass attribute": lambda t: setattr(subclass(t.IProfiler), "mine", 1),
    "dims repr": lambda t: repr(t.Dims((1, 2, 3))),
    "dims str": lambda t: str(t.Dims([1, 2, 3])),
    "dims tuple": lambda t: (tuple(t.Dims((1, 2))), len(t.Dims((1, 2))), t.Dims((4, 5))[-1], t.Dims((4, 5))[1:]),
    "dims equals": lambda t: (t.Dims((1, 2)) == (1, 2), t.Dims((1, 2)) == [1, 2], t.Dims((1, 2)) != (1,)),
    "dims dims": lambda t: t.Dims((1, 2)) == t.Dims((1, 2)),
    "dims bounds": lambda t: t.Dims((1, 2))[7],
    "dims hash": lambda t: hash(t.Dims((1,))),
    "dims long": lambda t: t.Dims(range(9)),
    "dims max": lambda t: (t.Dims.MAX_DIMS, t.Dims().MAX_DIMS),
    "dims empty": lambda t: (repr(t.Dims()), len(t.Dims())),
    "dims4 short": lambda t: t.Dims4((1, 2)),
    "dims hw": lambda t: (t.DimsHW(3, 4).h, t.DimsHW((3, 4)).w, repr(t.DimsHW(h=1, w=2))),
    "enum repr": lambda t: (repr(t.DataType.HALF), str(t.DataType.HALF), t.DataType.HALF.name, t.DataType.HALF.value),
    "enum unknown": lambda t: repr(t.DataType(77)),
    "enum or": lambda t: t.BuilderFlag.DEBUG | 1,
    "enum shift": lambda t: 1 << t.BuilderFlag.DEBUG,
    "enum shift int": lambda t: 1 << int(t.BuilderFlag.DEBUG),
    "enum order": lambda t: t.DataType.FLOAT < t.DataType.HALF,
    "enum hash": lambda t: {t.DataType.FLOAT: 1}[t.DataType(0)],
    "enum attribute": lambda t: t.DataType.FLOAT.nope,
    "enum index": lambda t: [10, 20, 30][t.DataType.HALF],
    "alias": lambda t: t.float16 == t.DataType.HALF,
    "nptype": lambda t: t.nptype(t.float32),
    "nptype bf16": lambda t: t.nptype(t.bfloat16),
    "volume": lambda t: (t.volume(()), t.volume((2, 3)), t.volume((1, -1, 3)), t.volume(t.Dims((2, 2)))),
    "item sizes": lambda t: [getattr(t, name).itemsize for name in ("float32", "bfloat16", "int4", "bool", "int64")],
    "module attribute": lambda t: t.nosuch,
    "explicit batch": lambda t: hasattr(t.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"),
    "fp16 flag": lambda t: hasattr(t.BuilderFlag, "FP16"),
    "calibrator": lambda t: hasattr(t, "IInt8EntropyCalibrator2"),
    "algorithm": lambda t: str(subclass(t.IInt8EntropyCalibrator2).get_algorithm()),
    "weights": lambda t: (t.Weights(np.ones((2, 3), np.float16)).size, str(t.Weights(np.ones(2, np.int8)).dtype)),
    "old engine": lambda t: hasattr(t.ICudaEngine, "num_bindings"),
    "wrong call": lambda t: subclass(t.ILogger).log(1, 2),
}


# What the class's signature says is passed to its methods.
ARGUMENTS: dict[str, Any] = {
    "SupportsInt": 1, "SupportsFloat": 1.5, "str": "x", "bool": True, "Buffer": b"abc", "Dims": (1, 2), "tuple": (),
}  # fmt: skip
NEED_A_GPU = ("IStreamReaderV2",)
INTERFACES = (
    "IDebugListener", "IErrorRecorder", "IGpuAllocator", "IGpuAsyncAllocator", "ILogger", "IOutputAllocator",
    "IProfiler", "IProgressMonitor", "IStreamReader", "IStreamWriter", "IInt8Calibrator", "IInt8EntropyCalibrator",
    "IInt8EntropyCalibrator2", "IInt8LegacyCalibrator", "IInt8MinMaxCalibrator", "Profiler",
)  # fmt: skip


def run(module: Any) -> dict[str, str]:
    """Return the outcome of every probe: its value, or the exception's type and text, and what it printed."""
    found = {name: outcome(lambda probe=probe: probe(module)) for name, probe in PROBES.items()}
    found |= expressions(module)
    for name in INTERFACES:
        if hasattr(module, name):
            found |= unimplemented(module, name)
    return found | constructed(module)


def expressions(module: Any) -> dict[str, str]:
    """Return the outcome of every expression in the file."""
    names: dict[str, Any] = {"t": module, "np": np, "copy": copy, "pickle": pickle}
    found = {}
    for line in Path(__file__).with_name("behaviour_expressions.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("!"):
            exec(line[1:], names)
        elif line.strip() and not line.startswith("#"):
            found[line] = outcome(lambda text=line: eval(text, names))
    return found


def constructed(module: Any) -> dict[str, str]:
    """Return what comes of calling every class without arguments, and with wrong ones."""
    classes = [name for name in sorted(vars(module)) if inspect.isclass(getattr(module, name))]
    found = {}
    for name in classes:
        if name in NEED_A_GPU:
            continue
        cls = getattr(module, name)
        found[f"{name}()"] = outcome(cls)
        found[f"{name}(one wrong)"] = outcome(lambda cls=cls: cls({"wrong"}))
        found[f"{name}(named)"] = outcome(lambda cls=cls: cls(nosuch=1))
    return found


def unimplemented(module: Any, name: str) -> dict[str, str]:
    """Return what the methods of an interface do that a program did not implement."""
    found = {}
    base = getattr(module, name)
    for method in sorted(member for member in dir(base) if not member.startswith("_")):
        document = getattr(base, method).__doc__ or ""
        if document.startswith(f"{method}(self"):
            kinds = re.findall(r"\w+: (?:[\w.:]+[.:])?(\w+(?:\[.*?\])?)(?= =|, |\))", document.splitlines()[0])[1:]
            arguments = [argument(module, kind) for kind in kinds]
            found[f"{name}.{method}"] = outcome(lambda m=method, a=arguments: getattr(subclass(base), m)(*a))
    return found


def argument(module: Any, kind: str) -> Any:
    """Return a value of a documented type."""
    if kind.startswith("Sequence"):
        return []
    if kind in ARGUMENTS:
        return ARGUMENTS[kind]
    enum = getattr(module, kind, None) or getattr(module.ILogger, kind, None)
    return next(iter(enum.__members__.values())) if hasattr(enum, "__members__") else None


def outcome(probe: Callable[[], Any]) -> str:
    """Return what a probe came to."""
    with captured() as printed, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            text = repr(probe())
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
    said = [f"{item.category.__name__} {item.message}" for item in warned]
    return tidy(" | ".join([text, *printed(), *said]))


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], list[str]]]:
    """Catch what is printed, by Python or by C."""
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile("w+b") as file:
        lines: list[str] = []
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield lambda: lines
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            ctypes.CDLL(None).fflush(None)
            for descriptor, old in zip((1, 2), kept, strict=True):
                os.dup2(old, descriptor)
                os.close(old)
            file.seek(0)
            lines += file.read().decode().splitlines()


def tidy(text: str) -> str:
    """Remove what differs without meaning: addresses, package names, and how Python names types of C and of Python."""
    text = re.sub(r"0x[0-9a-f]{9,}", "0x", text.replace("tensorrt_bindings", "tensorrt"))
    text = re.sub(r"\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\]", "[time]", text)
    text = re.sub(r"\bnvinfer1::(?:\w+::)*(\w+)", r"tensorrt.tensorrt.\1", text)
    text = re.sub(r"<(?:[\w.]+\.)?(Mine|Logger|A|L) object at 0x>", r"<\1>", text)
    text = re.sub(r"<[\w.]*iterator object at 0x>", "<iterator>", text)
    text = re.sub(r"'tensorrt\.tensorrt\.(\w+)'", r"'\1'", text).replace('(not "tensorrt.tensorrt.', '(not "')
    # Where a name used to exist, the emulation adds what replaced it.
    return text.split(". TensorRT no longer")[0]


def run_emulation(major: str) -> dict[str, str]:
    """Return the outcomes in the emulation of a version."""
    from yolotrt_lab.emulation import modules

    modules.activate(int(major))
    return run(importlib.import_module("tensorrt"))


if __name__ == "__main__":
    versions = sys.argv[1:]
    found = {major: run_emulation(major) for major in versions} or run(importlib.import_module("tensorrt"))
    json.dump(found, sys.stdout)
