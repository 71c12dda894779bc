"""Plans that no TensorRT can load, and what a runtime says of each.

Run as a program on a machine with an NVIDIA GPU, with the name of an importable TensorRT, this prints what NVIDIA's
runtime says as JSON; `tensorrt_lean` is enough. The test asks the emulation the same.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import struct
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

REAL_MAGIC, EMULATED_MAGIC = b"ftrt", b"YOLOTRT-EMULATED"


def bad_plans(magic: bytes = REAL_MAGIC, other: bytes = EMULATED_MAGIC) -> dict[str, bytes]:
    """Return the bytes, by what is wrong with them.

    Args:
        magic: What the plans begin with of the runtime that is asked.
        other: What the plans begin with that it cannot load, NVIDIA's or the emulation's.
    """
    header = json.dumps({"names": {"0": "bolt"}}).encode()
    return {
        "empty": b"",
        "one byte": b"\x00",
        "three bytes": magic[:3],
        "zeros": bytes(4096),
        "text": b"This is not a plan, but a text. " * 64,
        "noise": np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes(),
        "ONNX": b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(200),
        "ZIP": b"PK\x03\x04" + bytes(200),
        "other": other + bytes(1024),
        "Ultralytics header": struct.pack("<I", len(header)) + header + magic + bytes(1024),
        "portable magic": b"ptrt" + bytes(1024),
        "magic only": magic,
        "magic and zeros": magic + bytes(4092),
        "magic, few bytes": magic + bytes(12),
    }


def verdict(trt: Any, data: bytes) -> dict[str, Any]:
    """Return what a runtime says: the log, and what log and error recorder are told if there is a recorder."""
    log, recorded = _logger(trt), _recorder(trt)
    runtime = trt.Runtime(log)
    log.texts.clear()
    result = _load(runtime, data)
    alone = list(log.texts)
    log.texts.clear()
    runtime.error_recorder = recorded
    _load(runtime, data)
    return {"result": result, "log": alone, "log beside a recorder": list(log.texts), "recorded": list(recorded.texts)}


def _load(runtime: Any, data: bytes) -> str:
    try:
        return repr(runtime.deserialize_cuda_engine(data))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _logger(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.texts: list[list[str]] = []

        def log(self, severity: Any, msg: str) -> None:
            self.texts.append([severity.name, msg])

    return Log()


def _recorder(trt: Any) -> Any:
    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)
            self.texts: list[list[str]] = []

        def clear(self) -> None:
            self.texts.clear()

        def get_error_code(self, index: int) -> Any:
            return trt.ErrorCodeTRT.SUCCESS

        def get_error_desc(self, index: int) -> str:
            return str(self.texts[index][1])

        def has_overflowed(self) -> bool:
            return False

        def num_errors(self) -> int:
            return len(self.texts)

        def report_error(self, code: Any, desc: str) -> bool:
            self.texts.append([code.name, desc])
            return False

    return Recorder()


def observe(trt: Any, plans: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the verdict on every bad plan."""
    return {name: verdict(trt, data) for name, data in plans.items()}


def facts(trt: Any) -> dict[str, str]:
    """Return what a runtime says of itself."""
    logger = trt.Logger(trt.Logger.VERBOSE)
    runtime = trt.Runtime(logger)
    names = [name for name in sorted(dir(runtime)) if not name.startswith("_")]
    found = {"version": str(trt.__version__)}
    for name in names:
        with contextlib.suppress(Exception):
            value = getattr(runtime, name)
            if not callable(value):
                found[name] = re.sub(r"0x[0-9a-f]+", "0x", repr(value))
    return found


if __name__ == "__main__":
    module = importlib.import_module(sys.argv[1])
    json.dump({"facts": facts(module), "verdicts": observe(module, bad_plans())}, sys.stdout, indent=1)
