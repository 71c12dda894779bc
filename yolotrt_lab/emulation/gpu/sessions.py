"""ONNX Runtime sessions that read and write the program's device memory, in the program's stream."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.emulation.gpu.memory import DeviceMemory
from yolotrt_lab.emulation.tensorrt.plan_format import TensorRecord
from yolotrt_lab.emulation.tensorrt.profile import Shape
from yolotrt_lab.errors import EmulationError
from yolotrt_lab.optional import require

__all__ = ["ITEM_BYTES", "ONNX_TYPES", "Place", "SessionPool", "make_session", "run_on_zeros"]

ITEM_BYTES = {"FLOAT": 4, "HALF": 2, "BF16": 2, "INT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1, "UINT8": 1}
ONNX_TYPES = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "INT32": 6, "INT64": 7, "BOOL": 9, "HALF": 10, "BF16": 16}

_MOST_SESSIONS = 8


@dataclass(frozen=True)
class Place:
    """Where a tensor of one inference is."""

    record: TensorRecord
    shape: Shape
    address: int

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * ITEM_BYTES[self.record.dtype]


def make_session(
    onnx_bytes: bytes,
    memory: DeviceMemory,
    *,
    stream_handle: int | None = None,
    profile_in: Path | None = None,
) -> Any:
    """Return an ONNX Runtime session on the device.

    Q/DQ nodes are executed as written, in floating point: ONNX Runtime has INT8 convolutions for processors only.

    Args:
        onnx_bytes: The model.
        memory: The device.
        stream_handle: The stream it works in; None for one of its own.
        profile_in: A folder for the optimized graph and the times of its nodes.

    Raises:
        EmulationError: ONNX Runtime cannot run the model, or not on this device.
    """
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if profile_in is not None:
        options.optimized_model_filepath = str(profile_in / "optimized.onnx")
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_in / "profile")
    providers: list[Any] = [(memory.provider, memory.provider_options(stream_handle))]
    if memory.provider != "CPUExecutionProvider":
        providers.append("CPUExecutionProvider")  # for the few operations on shapes
    try:
        with memory.current():
            session = onnxruntime.InferenceSession(onnx_bytes, options, providers=providers)
    except Exception as error:  # ONNX Runtime's own classes have no other base
        raise EmulationError(
            "ONNX Runtime cannot run this network.",
            got=_first_line(error),
            fix="Export it with other operators.",
        ) from error
    if session.get_providers()[0] != memory.provider:
        raise EmulationError(
            "ONNX Runtime cannot use this GPU.",
            expected=memory.provider,
            got=", ".join(session.get_providers()),
            fix="Install onnxruntime-gpu with the CUDA and cuDNN libraries of its CUDA version.",
        )
    session.disable_fallback()
    return session


def run_on_zeros(session: Any, memory: DeviceMemory, shapes: Mapping[str, Shape]) -> list[Any]:
    """Run once on zeros and return the outputs.

    Raises:
        ValueError: The network cannot have these shapes.
    """
    import numpy as np

    feeds = {value.name: np.zeros(shapes[value.name], _NUMPY_NAMES[value.type]) for value in session.get_inputs()}
    try:
        with memory.current():
            outputs: list[Any] = session.run(None, feeds)
    except Exception as error:  # ONNX Runtime's own classes have no other base
        raise ValueError(_first_line(error)) from error
    return outputs


class SessionPool:
    """One session per stream for one engine, each with memory of its own for what lies between the layers.

    Args:
        onnx_bytes: The model.
        memory: The device.
    """

    def __init__(self, onnx_bytes: bytes, memory: DeviceMemory) -> None:
        self._onnx_bytes = onnx_bytes
        self._memory = memory
        self._lock = threading.Lock()
        self._sessions: OrderedDict[int, _StreamSession] = OrderedDict()

    def run(self, places: Sequence[Place], stream_handle: int) -> None:
        """Enqueue one inference.

        Raises:
            EmulationError: ONNX Runtime refuses.
        """
        with self._lock:
            session = self._sessions.get(stream_handle)
            if session is None:
                session = _StreamSession(self._onnx_bytes, self._memory, stream_handle)
                self._sessions[stream_handle] = session
                while len(self._sessions) > _MOST_SESSIONS:
                    self._sessions.popitem(last=False)
            self._sessions.move_to_end(stream_handle)
        session.run(tuple(places))


class _StreamSession:
    """A session that works in one stream. Whoever enqueues waits for whoever is enqueuing, not for the device."""

    def __init__(self, onnx_bytes: bytes, memory: DeviceMemory, stream_handle: int) -> None:
        self._memory = memory
        self._session = make_session(onnx_bytes, memory, stream_handle=stream_handle)
        self._lock = threading.Lock()
        self._bound: tuple[tuple[Place, ...], Any] | None = None
        self._options = _onnxruntime().RunOptions()
        # Return when the work is enqueued, not when it is done.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def run(self, places: tuple[Place, ...]) -> None:
        with self._lock:
            if self._bound is None or self._bound[0] != places:
                self._bound = (places, self._bind(places))
            try:
                with self._memory.current():
                    self._session.run_with_iobinding(self._bound[1], self._options)
            except Exception as error:  # ONNX Runtime's own classes have no other base
                self._bound = None
                raise EmulationError("ONNX Runtime cannot run this engine.", got=_first_line(error)) from error

    def _bind(self, places: tuple[Place, ...]) -> Any:
        binding = self._session.io_binding()
        for place in places:
            bind = binding.bind_input if place.record.mode == "INPUT" else binding.bind_output
            bind(
                place.record.name,
                self._memory.kind,
                self._memory.ordinal,
                ONNX_TYPES[place.record.dtype],
                list(place.shape),
                place.address,
            )
        return binding


_NUMPY_NAMES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


@functools.cache
def _onnxruntime() -> Any:
    """Return ONNX Runtime, with the CUDA and cuDNN libraries loaded that came as Python packages, if any did.

    On a GPU it is told to log nothing but what ends the process: real errors are raised, and it would write an error to
    the terminal for every FP16 convolution that cuDNN's first choice does not fit, before it takes the second.
    """
    onnxruntime: Any = require("onnxruntime", purpose="run emulated engines on a GPU")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find; the session will say more
            onnxruntime.preload_dlls()
        onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
