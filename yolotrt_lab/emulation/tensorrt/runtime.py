"""The emulated runtime: from a plan to an engine."""

from __future__ import annotations

from typing import Any, NoReturn

from yolotrt_lab.emulation.counters import recorder
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ContextManaged
from yolotrt_lab.emulation.tensorrt.plan_format import PlanError, PlanHead, unpack
from yolotrt_lab.emulation.tensorrt.plan_refusals import refuse_empty_plan, refuse_plan
from yolotrt_lab.emulation.tensorrt.plan_streams import IStreamReader, IStreamReaderV2, read_from_stream
from yolotrt_lab.emulation.tensorrt.plugin_registry import UsesPlugins
from yolotrt_lab.emulation.tensorrt.presence import need_device
from yolotrt_lab.emulation.tensorrt.properties import error_recorder, fixed, gpu_allocator, kept, max_threads
from yolotrt_lab.emulation.tensorrt.target import target
from yolotrt_lab.errors import EmulationError

__all__ = ["Runtime", "load_plan"]

_WHERE = "IRuntime::deserializeCudaEngine"


class Runtime(UsesPlugins, ContextManaged):
    """Loads plans."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._reporter = Reporter(self._api, logger)
        need_device(self._reporter, "createInferRuntime")
        self._max_threads = 1
        self._temporary_directory: str | None = None
        self._tempfile_control_flags = 3
        self._engine_host_code_allowed = False

    def deserialize_cuda_engine(
        self, serialized_engine: Any = None, *, stream_reader: Any = None, stream_reader_v2: Any = None
    ) -> Any:
        """Return the engine in a plan, None if it is no plan or one for elsewhere; the reason is in the log."""
        source = next(item for item in (serialized_engine, stream_reader, stream_reader_v2) if item is not None)
        streamed = isinstance(source, (IStreamReader, IStreamReaderV2))
        data = read_from_stream(source) if streamed else bytes(source)
        return load_plan(self._api, self._reporter, data, trusted=self._engine_host_code_allowed)

    @property
    def logger(self) -> Any:
        """The program's logger."""
        return self._reporter.logger

    error_recorder = error_recorder()
    gpu_allocator = gpu_allocator("Runtime")
    max_threads = max_threads("IRuntime")
    temporary_directory = kept("temporary_directory", "Where temporary files would go.")
    tempfile_control_flags = kept("tempfile_control_flags", "Which temporary files are allowed, as bits.", convert=int)
    engine_host_code_allowed = kept(
        "engine_host_code_allowed", "Whether plans may bring their own runtime.", convert=bool
    )

    @property
    def num_DLA_cores(self) -> int:
        """The number of deep learning accelerators: none."""
        return 0

    DLA_core = fixed("Runtime", "DLA_core", -1, "The deep learning accelerator (DLA) to use: none.")
    dla_workspace_allocation_strategy = fixed(
        "Runtime",
        "dla_workspace_allocation_strategy",
        ("DLAWorkspaceAllocationStrategy", "DEFAULT"),
        "How a DLA gets its workspace; there is none.",
    )

    def load_runtime(self, path: str) -> NoReturn:
        """Refuse: runtimes are NVIDIA's libraries.

        Raises:
            EmulationError: Always.
        """
        raise EmulationError(
            f"Loading a runtime library ({path}) is not emulated; TensorRT runs plans of its version with it.",
            fix="Leave BuilderFlag.EXCLUDE_LEAN_RUNTIME away, and the plan brings its runtime.",
        )


def load_plan(api: Any, reporter: Reporter, data: bytes, *, trusted: bool) -> Any:
    """Return the engine in a plan; None, with the reason in the log, if it cannot be loaded.

    Args:
        api: The namespace of the TensorRT version.
        reporter: Where the log goes.
        data: The plan.
        trusted: Whether the plan may bring its own runtime.
    """
    if not data:
        refuse_empty_plan(api, reporter)
        return None
    reporter.info(f"Loaded engine size: {len(data) >> 20} MiB")
    try:
        plan = unpack(data)
    except PlanError as error:
        refuse_plan(api, reporter, error)
        return None
    complaint = _version_complaint(api, plan.head) or _device_complaint(plan.head)
    if complaint is not None:
        reporter.error(_WHERE, complaint, code=6, kind="API Usage Error")
        return None
    if plan.head.lean_runtime and not trusted:
        reporter.usage_error(
            _WHERE,
            "The engine plan contains host executable code, and engineHostCodeAllowed is false. If the plan is "
            "trusted, call IRuntime::setEngineHostCodeAllowed(true).",
        )
        return None
    try:
        loaded = None if plan.head.stripped else target().load(plan.head, plan.blob)
    except RuntimeError as error:
        reporter.internal_error(_WHERE, f"Engine deserialization failed. [emulation: {error}]")
        return None
    recorder.add("engines_loaded")
    return api.ICudaEngine._create(reporter.child(), plan, loaded, data)


def _version_complaint(api: Any, head: PlanHead) -> str | None:
    """Return why a plan is of no use to this TensorRT version, None if it is.

    A version compatible plan may be older, if it brings its own runtime.
    """
    older = _numbers(head.tensorrt_version) <= _numbers(api.version)
    if head.tensorrt_version == api.version or (head.lean_runtime and older):
        return None
    return (
        f"The engine plan file is not compatible with this version of TensorRT, expecting library version "
        f"{api.version} got {head.tensorrt_version}, please rebuild."
    )


def _device_complaint(head: PlanHead) -> str | None:
    here, software = target().compute(), target().software()
    if (head.compute, head.software) == (here, software):
        return None
    return (
        f"The engine plan file is generated on an incompatible device, expecting compute {here} ({software}) "
        f"got compute {head.compute} ({head.software}), please rebuild."
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
