"""Small things to do with a TensorRT module that need no device, and what came of each, as text.

Run as a program this probes NVIDIA's bindings and prints JSON; the test runs the same probes on the emulation.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
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


def run(module: Any) -> dict[str, str]:
    """Return the outcome of every probe: its value, or the exception's type and text."""
    return {name: outcome(probe, module) for name, probe in PROBES.items()}


def outcome(probe: Callable[[Any], Any], module: Any) -> str:
    """Return what a probe came to."""
    try:
        return tidy(repr(probe(module)))
    except Exception as error:
        return tidy(f"{type(error).__name__}: {error}")


def tidy(text: str) -> str:
    """Remove what differs without meaning: addresses, package names, and how Python names types of C and of Python."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text.replace("tensorrt_bindings", "tensorrt"))
    text = re.sub(r"<(?:[\w.]+\.)?(Mine|Logger) object at 0x>", r"<\1>", text)
    text = re.sub(r"'tensorrt\.tensorrt\.(\w+)'", r"'\1'", text)
    # Where a name used to exist, the emulation adds what replaced it.
    return re.sub(r"\b(?:typing|typing_extensions|collections\.abc)\.", "", text).split(". TensorRT no longer")[0]


if __name__ == "__main__":
    import tensorrt_bindings  # type: ignore[import-not-found]

    json.dump(run(tensorrt_bindings), sys.stdout)
