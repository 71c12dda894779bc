"""TensorRT engines, on a GPU or in the emulation, by one and the same code.

The pattern is the one every fast TensorRT client uses: allocate pinned host and device memory once, at the largest
shape; then per frame copy in, enqueue and copy out on an own stream, and synchronise once (`EngineSession`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolotrt_lab.engines.inspect import EngineReport, report_from_engine
from yolotrt_lab.engines.plan import LoadedEngine, load_engine
from yolotrt_lab.errors import InputError
from yolotrt_lab.export.properties import class_names_from_metadata, input_hw_from_metadata
from yolotrt_lab.runtimes.base import LayerTime, Runtime
from yolotrt_lab.runtimes.requests import InferenceRequest
from yolotrt_lab.runtimes.tensorrt_session import EngineSession
from yolotrt_lab.types import Array, Precision

__all__ = ["TensorRTRuntime"]


# One frame is copied while another one computes.
_PARALLEL_REQUESTS = 2


class TensorRTRuntime(Runtime):
    """A TensorRT engine with its memory.

    Args:
        path: A .engine or .plan file; a header by Ultralytics in front of the plan is fine.
        batch: Largest batch to allocate for; None takes the largest the engine's profile allows.

    Attributes:
        report: What the inspector says about the engine; None when it was built without detailed verbosity.
        device_memory_bytes: Memory the engine needs on the device for intermediate tensors.

    Raises:
        InputError: No such file, not a plan, one for another device or version, or a batch outside its profile.
        LabError: Out of memory.
    """

    def __init__(self, path: Path, *, batch: int | None = None) -> None:
        loaded = load_engine(path)
        platform = loaded.platform
        self._loaded: LoadedEngine | None = loaded  # engine and logger must outlive the sessions
        self._session = EngineSession(platform.trt, loaded.engine, batch=batch, explain=loaded.logger.take)
        self._profiled: tuple[EngineSession, Any] | None = None
        self.report = _report(loaded)
        self.device_memory_bytes = int(getattr(loaded.engine, "device_memory_size_v2", 0))
        metadata = loaded.plan.metadata
        super().__init__(
            name=f"TensorRT {platform.tensorrt_version}, {platform.device_name}",
            backend="tensorrt",
            platform=platform.kind,
            inputs=self._session.inputs,
            outputs=self._session.outputs,
            executed_precision=_executed_precision(loaded, self.report),
            class_names=class_names_from_metadata(metadata),
            max_batch=self._session.max_batch,
            parallel_requests=_PARALLEL_REQUESTS,
        )
        self.input_hw = self.input_hw or input_hw_from_metadata(metadata)

    def _infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self._session.check_shapes(feeds)
        return self._session.run(feeds)

    def _create_request(self, shapes: Mapping[str, tuple[int, ...]]) -> InferenceRequest:
        batch = max(shape[0] for shape in shapes.values())
        return _SessionRequest(self._another_session(batch), shapes)

    def _layer_times(self, feeds: Mapping[str, Array]) -> tuple[LayerTime, ...]:
        self._session.check_shapes(feeds)
        if self._profiled is None:
            self._profiled = self._profiling_session()
        session, profiler = self._profiled
        profiler.times_ms.clear()
        session.run(feeds)
        known = {layer.name: layer for layer in self.report.layers} if self.report else {}
        return tuple(
            LayerTime(
                name=name,
                kind=known[name].kind if name in known else "",
                precision=str(known[name].precision or "") if name in known else "",
                time_ms=time_ms,
                origins=known[name].origins if name in known else (),
            )
            for name, time_ms in profiler.times_ms
        )

    def _profiling_session(self) -> tuple[EngineSession, Any]:
        """Return a second session with a profiler, so that profiling never slows `infer`."""
        session = self._another_session(self._session.max_batch)
        profiler = _make_profiler(self._require_loaded().platform.trt)
        session.context.profiler = profiler
        return session, profiler

    def _require_loaded(self) -> LoadedEngine:
        if self._loaded is None:
            raise InputError(f"{self.name}: the runtime is closed.")
        return self._loaded

    def _another_session(self, batch: int) -> EngineSession:
        loaded = self._require_loaded()
        return EngineSession(loaded.platform.trt, loaded.engine, batch=batch, explain=loaded.logger.take)

    def _close(self) -> None:
        if self._profiled is not None:
            self._profiled[0].close()
        self._profiled = None
        self._session.close()
        self._loaded = None


class _SessionRequest(InferenceRequest):
    """An execution context and stream of its own, with inputs written straight into pinned memory."""

    def __init__(self, session: EngineSession, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__({name: session.host_input(name, shape) for name, shape in shapes.items()})
        self._session = session
        self._shapes = dict(shapes)
        self._outputs: dict[str, tuple[int, ...]] = {}

    def _submit(self) -> None:
        self._outputs = self._session.enqueue(self._shapes)

    def _wait(self) -> dict[str, Array]:
        return self._session.wait(self._outputs)

    def _close(self) -> None:
        self._session.close()


def _make_profiler(trt: Any) -> Any:
    """Return a TensorRT profiler that keeps the layers' names and times in `times_ms`."""

    class _Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times_ms: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times_ms.append((layer_name, float(ms)))

    return _Profiler()


def _report(loaded: LoadedEngine) -> EngineReport | None:
    """Return the inspector's report, or None for an engine that was built without detailed verbosity."""
    try:
        return report_from_engine(
            loaded.engine, loaded.platform.trt, platform=loaded.platform.kind, name=str(loaded.plan.path)
        )
    except InputError:
        return None


def _executed_precision(loaded: LoadedEngine, report: EngineReport | None) -> Precision:
    """Return what the inspector found, now or at build time; FP32 is TensorRT's default where neither says."""
    if report is not None:
        return report.executed_precision
    provenance = loaded.plan.provenance
    return Precision(provenance.precision_found) if provenance is not None else Precision.FP32
