"""A GPU as what networks are compiled for, by ONNX Runtime, with the GPU's own memory and streams."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolotrt_lab.emulation.counters import recorder
from yolotrt_lab.emulation.gpu.graphs import prepared_graph
from yolotrt_lab.emulation.gpu.layers import executed_layers
from yolotrt_lab.emulation.gpu.memory import DeviceMemory
from yolotrt_lab.emulation.gpu.sessions import ONNX_TYPES, Place, SessionPool, make_session, run_on_zeros
from yolotrt_lab.emulation.tensorrt.compiler import CompiledNetwork, ShapeProblem
from yolotrt_lab.emulation.tensorrt.layers import EngineLayer, LayerTensor
from yolotrt_lab.emulation.tensorrt.plan_format import PlanHead, TensorRecord
from yolotrt_lab.emulation.tensorrt.profile import Shape, ShapeRange
from yolotrt_lab.emulation.tensorrt.target import CompileOrder, Execution, LayerTimes
from yolotrt_lab.errors import EmulationError
from yolotrt_lab.optional import require

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["GpuTarget"]

_HEAD = struct.Struct("<Q")  # bytes of the JSON in front of the ONNX model

_Seen = Sequence[tuple[dict[str, Shape], dict[str, Shape]]]


class GpuTarget:
    """Implements `Target`.

    Args:
        memory: The device.
    """

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory

    def compute(self) -> str:
        """Return the compute capability."""
        return self._memory.compute()

    def software(self) -> str:
        """Return ONNX Runtime's version."""
        onnxruntime: Any = require("onnxruntime", purpose="run emulated engines on a GPU")
        return f"ONNX Runtime {onnxruntime.__version__} {self._memory.provider}"

    def describe(self) -> str:
        """Return how the builder names what it does."""
        return (
            f"Compiling for {self._memory.name} with ONNX Runtime. FP32 is full FP32: TF32 is not used. Q/DQ nodes are "
            f"executed in floating point: no INT8 arithmetic."
        )

    def memory_bytes(self) -> int:
        """Return how much memory the GPU has."""
        return self._memory.total_bytes

    def has_fast(self, precision: str) -> bool:
        """Return whether engines run in this precision here: in FP16, but neither in INT8 nor in TF32."""
        return precision == "FP16"

    def arithmetic(self, hint: str) -> str:
        """Return what is really computed in: what was asked for."""
        return hint

    def compile(self, order: CompileOrder) -> CompiledNetwork:
        """Compile a network: let ONNX Runtime optimize it, run it on zeros, and write down what it does."""
        model = prepared_graph(order)
        onnx_bytes = model.SerializeToString()
        with tempfile.TemporaryDirectory(prefix="yolotrt-") as folder:
            session = make_session(onnx_bytes, self._memory, profile_in=Path(folder))
            outputs = [value.name for value in session.get_outputs()]
            seen: list[tuple[dict[str, Shape], dict[str, Shape]]] = []
            for inputs in _trials(model, order.ranges):
                try:
                    arrays = run_on_zeros(session, self._memory, inputs)
                except ValueError as error:
                    raise ShapeProblem(str(error)) from error
                seen.append((inputs, {name: tuple(a.shape) for name, a in zip(outputs, arrays, strict=True)}))
            layers = _read_layers(model, Path(folder), Path(session.end_profiling()))
        facts = json.dumps({"layers": [asdict(layer) for layer in layers]}).encode()
        return CompiledNetwork(
            _HEAD.pack(len(facts)) + facts + onnx_bytes,
            _describe(model.graph.input, [inputs for inputs, _ in seen]),
            _describe(model.graph.output, [shapes for _, shapes in seen]),
            _shape_rules(seen),
        )

    def load(self, head: PlanHead, blob: bytes) -> GpuNetwork:
        """Return what `compile` made; see `Target`."""
        return GpuNetwork(blob, self._memory)

    def read_memory(self, address: int, nbytes: int, *, what: str) -> bytes:
        """Return the content of device memory; see `Target`."""
        self._memory.check(address, nbytes, what=what)
        return self._memory.read(address, nbytes)


class GpuNetwork:
    """A network and what was found out about it; implements `LoadedNetwork`."""

    def __init__(self, blob: bytes, memory: DeviceMemory) -> None:
        (length,) = _HEAD.unpack_from(blob)
        content = json.loads(blob[_HEAD.size : _HEAD.size + length])
        self._layers = tuple(_layer_from_json(layer) for layer in content["layers"])
        self._onnx_bytes = blob[_HEAD.size + length :]
        self._memory = memory
        self._sessions = SessionPool(self._onnx_bytes, memory)
        self._shaping: Any = None

    def layers(self) -> tuple[EngineLayer, ...]:
        """Return the layers as they were executed when the plan was built."""
        return self._layers

    def output_shapes(self, inputs: Mapping[str, Shape], names: Sequence[str]) -> dict[str, Shape]:
        """Return the shapes of outputs, by running the network once on zeros."""
        if self._shaping is None:
            self._shaping = make_session(self._onnx_bytes, self._memory)
        arrays = run_on_zeros(self._shaping, self._memory, inputs)
        known = [value.name for value in self._shaping.get_outputs()]
        shapes = {name: tuple(array.shape) for name, array in zip(known, arrays, strict=True)}
        return {name: shapes[name] for name in names}

    def executor(self, tensors: Sequence[TensorRecord]) -> GpuExecutor:
        """Return what runs the inferences of one execution context."""
        return GpuExecutor(self._sessions, self._memory, tensors)


class GpuExecutor:
    """Runs the inferences of one execution context; implements `Executor`."""

    def __init__(self, sessions: SessionPool, memory: DeviceMemory, tensors: Sequence[TensorRecord]) -> None:
        self._sessions = sessions
        self._memory = memory
        self._tensors = tensors

    def enqueue(
        self, execution: Execution, stream_handle: int, *, on_times: Callable[[LayerTimes], None] | None
    ) -> None:
        """Enqueue one inference in a stream; it returns before the GPU is done.

        Raises:
            DeviceFault: An address or the stream cannot be used. Here that shows at once: on a GPU, an illegal access
                would end the CUDA context.
        """
        places = [Place(r, execution.shapes[r.name], execution.addresses[r.name]) for r in self._tensors]
        for place in places:
            what = f"{place.record.mode.lower()} tensor '{place.record.name}'"
            self._memory.check(place.address, place.nbytes, what=what)
        if execution.scratch is not None:
            self._memory.check(*execution.scratch, what="memory for intermediate tensors")
        self._memory.check_stream(stream_handle)
        self._sessions.run(places, stream_handle)
        recorder.enqueued(0 if stream_handle == 1 else stream_handle)

    def run(self, execution: Execution, *, on_times: Callable[[LayerTimes], None] | None) -> None:
        """Run one inference in the default stream and wait for it."""
        self.enqueue(execution, 0, on_times=on_times)
        self._memory.synchronize(0)

    def sizes_from_data(self, execution: Execution, stream_handle: int) -> dict[str, Shape]:
        """Refuse: see `Executor`; such networks are refused when they are built."""
        raise EmulationError("Outputs whose size depends on the data are not emulated on a GPU's memory.")

    def check_stream(self, stream_handle: int) -> None:
        """Make sure that there is such a stream."""
        self._memory.check_stream(stream_handle)

    def check_events(self) -> None:
        """Refuse: ONNX Runtime does not tell when it has read the inputs."""
        raise EmulationError(
            "Events for consumed inputs are not emulated on a GPU's memory.",
            fix="Record an event behind execute_async_v3 instead.",
        )

    def record_event(self, event_handle: int, stream_handle: int) -> None:
        """Do nothing: `check_events` lets no event through."""

    def check_profiler(self) -> None:
        """Refuse: ONNX Runtime tells when it enqueued a layer, not how long the GPU took for it."""
        raise EmulationError(
            "Layers of emulated engines are not timed on a GPU.",
            fix="Time whole inferences with CUDA events, or set YOLOTRT_PLATFORM=emulated to time layers on the CPU.",
        )


def _trials(model: ModelProto, ranges: Mapping[str, ShapeRange]) -> list[dict[str, Shape]]:
    """Return the input shapes to try: the least, the preferred, the greatest, and one just above the least."""
    fixed = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in model.graph.input
    }
    moving = {name: shapes for name, shapes in ranges.items() if shapes[0] != shapes[2]}
    trials = [fixed | {name: shapes[which] for name, shapes in ranges.items()} for which in (0, 1, 2)]
    if _moving_axes(moving) == 1:
        ((name, (low, _, high)),) = moving.items()
        trials.append(trials[0] | {name: tuple(min(a + 1, b) for a, b in zip(low, high, strict=True))})
    return [trial for index, trial in enumerate(trials) if trial not in trials[:index]]


def _moving_axes(ranges: Mapping[str, ShapeRange]) -> int:
    return sum(a != b for low, _, high in ranges.values() for a, b in zip(low, high, strict=True))


def _shape_rules(seen: _Seen) -> dict[str, tuple[tuple[int, int], ...]]:
    """Find how output shapes follow the one dynamic dimension; see `PlanHead.shape_rules`."""
    first_inputs, first = seen[0]
    moving = [
        (name, axis)
        for name, shape in first_inputs.items()
        for axis in range(len(shape))
        if any(inputs[name][axis] != shape[axis] for inputs, _ in seen)
    ]
    if len(moving) != 1:
        return {}
    ((name, axis),) = moving
    by_size = sorted((inputs[name][axis], outputs) for inputs, outputs in seen)
    (low, least), (high, greatest) = by_size[0], by_size[-1]
    rules = {}
    for output in first:
        slopes = [(b - a) // (high - low) for a, b in zip(least[output], greatest[output], strict=True)]
        rule = tuple((slope, a - slope * low) for slope, a in zip(slopes, least[output], strict=True))
        if any(shapes[output] != tuple(slope * size + start for slope, start in rule) for size, shapes in by_size):
            return {}
        rules[output] = rule
    return rules


def _describe(values: Any, seen: Sequence[Mapping[str, Shape]]) -> tuple[tuple[str, str, Shape], ...]:
    """Return name, data type and shape of inputs or outputs; -1 where their shapes differed."""
    types = {number: name for name, number in ONNX_TYPES.items()}
    described = []
    for value in values:
        shapes = [shapes[value.name] for shapes in seen]
        shape = tuple(sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*shapes, strict=True))
        described.append((value.name, types[value.type.tensor_type.elem_type], shape))
    return tuple(described)


def _read_layers(model: ModelProto, folder: Path, profile: Path) -> tuple[EngineLayer, ...]:
    import onnx

    return executed_layers(onnx.load(folder / "optimized.onnx"), model, profile)


def _layer_from_json(content: dict[str, Any]) -> EngineLayer:
    for key in ("inputs", "outputs"):
        content[key] = tuple(
            LayerTensor(**{**tensor, "dimensions": tuple(tensor["dimensions"])}) for tensor in content[key]
        )
    return EngineLayer(**{**content, "origins": tuple(content["origins"])})
