"""The emulated runtime: from a plan to an engine."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.counters import recorder
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ContextManaged
from yolotrt_lab.emulation.tensorrt.plan_format import PlanError, unpack
from yolotrt_lab.emulation.tensorrt.target import target
from yolotrt_lab.errors import EmulationError

__all__ = ["Runtime", "load_plan"]

_WHERE = "IRuntime::deserializeCudaEngine"


class Runtime(ContextManaged):
    """Loads plans."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._reporter = Reporter(self._api, logger)
        self._max_threads = 1
        self._temporary_directory: str | None = None
        self._tempfile_control_flags = 3
        self._host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        """Return the engine in a plan, None if it is no plan or one for elsewhere; the reason is in the log."""
        return load_plan(self._api, self._reporter, bytes(serialized_engine))

    @property
    def logger(self) -> Any:
        """The program's logger."""
        return self._reporter.logger

    @property
    def error_recorder(self) -> Any:
        """The error recorder."""
        return self._reporter.recorder

    @error_recorder.setter
    def error_recorder(self, value: Any) -> None:
        self._reporter.own_recorder = value

    @property
    def num_DLA_cores(self) -> int:
        """The number of deep learning accelerators: none."""
        return 0

    @property
    def DLA_core(self) -> int:
        """The deep learning accelerator to use: none."""
        return -1

    @DLA_core.setter
    def DLA_core(self, value: int) -> None:
        raise EmulationError("A deep learning accelerator (DLA) is not emulated.", fix="Leave DLA_core alone.")

    @property
    def engine_host_code_allowed(self) -> bool:
        """Whether plans may bring their own runtime; emulated plans never do, so nothing depends on it."""
        return self._host_code_allowed

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, value: bool) -> None:
        self._host_code_allowed = bool(value)

    @property
    def max_threads(self) -> int:
        """How many threads the runtime may use."""
        return self._max_threads

    @max_threads.setter
    def max_threads(self, value: int) -> None:
        self._max_threads = int(value)

    @property
    def temporary_directory(self) -> str | None:
        """Where temporary files would go."""
        return self._temporary_directory

    @temporary_directory.setter
    def temporary_directory(self, value: str) -> None:
        self._temporary_directory = value

    @property
    def tempfile_control_flags(self) -> int:
        """Which temporary files are allowed, as bits."""
        return self._tempfile_control_flags

    @tempfile_control_flags.setter
    def tempfile_control_flags(self, value: int) -> None:
        self._tempfile_control_flags = int(value)


def load_plan(api: Any, reporter: Reporter, data: bytes) -> Any:
    """Return the engine in a plan; None, with the reason in the log, if it cannot be loaded."""
    if not data:
        reporter.usage_error(_WHERE, "Cannot deserialize with an empty memory buffer.")
        return None
    reporter.info(f"Loaded engine size: {len(data) >> 20} MiB")
    try:
        head, blob = unpack(data)
    except PlanError as error:
        reporter.error(_WHERE, str(error), code=1, kind="Serialization", recorder_code="INTERNAL_ERROR")
        return None
    if head.tensorrt_version != api.version:
        text = (
            f"The engine plan file is not compatible with this version of TensorRT, expecting library version "
            f"{api.version} got {head.tensorrt_version}, please rebuild."
        )
        reporter.error(_WHERE, text, code=6, kind="API Usage Error")
        return None
    here, software = target().compute(), target().software()
    if (head.compute, head.software) != (here, software):
        text = (
            f"The engine plan file is generated on an incompatible device, expecting compute {here} ({software}) "
            f"got compute {head.compute} ({head.software}), please rebuild."
        )
        reporter.error(_WHERE, text, code=6, kind="API Usage Error")
        return None
    try:
        loaded = target().load(head, blob)
    except RuntimeError as error:
        reporter.internal_error(_WHERE, f"Engine deserialization failed. [emulation: {error}]")
        return None
    recorder.add("engines_loaded")
    return api.ICudaEngine._create(reporter.child(), head, loaded, data)
