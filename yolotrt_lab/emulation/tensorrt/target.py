"""What networks are compiled for and run on: the processor, through OpenVINO, or a GPU, through ONNX Runtime.

Builder, runtime and engine know no more of it than the protocols here. The processor is the default; the GPU is chosen
when the emulation is activated for the GPU's own memory (`yolotrt_lab.emulation.modules.activate`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from yolotrt_lab.emulation.tensorrt.plan_format import PlanHead, TensorRecord
from yolotrt_lab.emulation.tensorrt.profile import Shape, ShapeRange

if TYPE_CHECKING:
    from yolotrt_lab.emulation.tensorrt.compiler import CompiledNetwork
    from yolotrt_lab.emulation.tensorrt.layers import EngineLayer

__all__ = ["CompileOrder", "Execution", "Executor", "LayerTimes", "LoadedNetwork", "Target", "target", "use_target"]

LayerTimes = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class CompileOrder:
    """What is to be compiled.

    Attributes:
        onnx_bytes: The network, quantized if that was asked for.
        names: The names of its inputs and outputs.
        ranges: Least, preferred and greatest shape of inputs with dynamic dimensions.
        io_types: Data types that inputs and outputs were changed to, by name.
        hint: The arithmetic: "f32", "f16" or "bf16".
        strongly_typed: Whether the types in the network decide, rather than the hint.
        tf32: Whether FP32 may be computed in TF32 where the device has it.
        fp32_layers: Where layers were given precisions: the ONNX nodes, and tensors they write, to be computed in FP32;
            everything else is to be computed as `hint` says. Empty in a strongly typed network that says itself what is
            computed how. None where `hint` is for the whole network.
    """

    onnx_bytes: bytes
    names: Sequence[str]
    ranges: Mapping[str, ShapeRange]
    io_types: Mapping[str, str]
    hint: str
    strongly_typed: bool = True
    tf32: bool = False
    fp32_layers: Sequence[str] | None = None


@dataclass(frozen=True)
class Execution:
    """One enqueued inference: the shapes and device addresses of all tensors as they were when it was enqueued.

    `scratch` is address and size of the memory that the program gave for intermediate tensors, if it did.
    """

    shapes: dict[str, Shape]
    addresses: dict[str, int]
    scratch: tuple[int, int] | None = None


class Executor(Protocol):
    """Runs the inferences of one execution context."""

    def enqueue(
        self, execution: Execution, stream_handle: int, *, on_times: Callable[[LayerTimes], None] | None
    ) -> None:
        """Enqueue one inference in a stream, and count it.

        Args:
            execution: What to run.
            stream_handle: The stream.
            on_times: Is told every layer's milliseconds, when they are known; None leaves them unmeasured.

        Raises:
            DeviceFault: It cannot be enqueued. Other faults show when the stream is waited for.
        """

    def run(self, execution: Execution, *, on_times: Callable[[LayerTimes], None] | None) -> None:
        """Run one inference in the default stream and wait for it.

        Raises:
            DeviceFault: An address is not usable device memory, or something enqueued earlier was at fault.
        """

    def sizes_from_data(self, execution: Execution, stream_handle: int) -> dict[str, Shape]:
        """Wait for a stream and return the shapes of all outputs for the inputs' values; for outputs of unknown size.

        Raises:
            DeviceFault: An input's address is not usable device memory, or something enqueued earlier was at fault.
        """

    def check_stream(self, stream_handle: int) -> None:
        """Make sure that there is such a stream.

        Raises:
            DeviceFault: There is not.
        """

    def check_events(self) -> None:
        """Make sure that events can be recorded.

        Raises:
            EmulationError: They cannot.
        """

    def record_event(self, event_handle: int, stream_handle: int) -> None:
        """Mark the present end of a stream.

        Raises:
            DeviceFault: The event was destroyed, or the stream.
        """

    def check_profiler(self) -> None:
        """Make sure that layers can be timed.

        Raises:
            EmulationError: They cannot.
        """


class LoadedNetwork(Protocol):
    """A compiled network, ready to run."""

    def layers(self) -> tuple[EngineLayer, ...]:
        """Return the executed layers in execution order."""

    def output_shapes(self, inputs: Mapping[str, Shape], names: Sequence[str]) -> dict[str, Shape]:
        """Return the shapes of the outputs `names` for concrete input shapes, by running the network once on zeros."""

    def executor(self, tensors: Sequence[TensorRecord]) -> Executor:
        """Return what runs the inferences of one execution context."""


class Target(Protocol):
    """A device and the software that compiles for it."""

    def compute(self) -> str:
        """Return the kind of device, for which a plan is built."""

    def software(self) -> str:
        """Return name and version of the compiler, by which a plan is built."""

    def describe(self) -> str:
        """Return how the builder names what it does."""

    def memory_bytes(self) -> int:
        """Return how much memory the device has."""

    def has_fast(self, precision: str) -> bool:
        """Return whether "FP16", "INT8" or "TF32" is computed natively."""

    def arithmetic(self, hint: str) -> str:
        """Return what "f32", "f16" or "bf16" is really computed in, in the same words."""

    def compile(self, order: CompileOrder) -> CompiledNetwork:
        """Compile a network.

        Raises:
            ShapeProblem: The network cannot have these shapes.
            EmulationError: The compiler cannot do it.
        """

    def load(self, head: PlanHead, blob: bytes) -> LoadedNetwork:
        """Return what `compile` made.

        Raises:
            RuntimeError: The blob is damaged.
        """

    def read_memory(self, address: int, nbytes: int, *, what: str) -> bytes:
        """Return the content of device memory, after the default stream's work.

        Raises:
            DeviceFault: It is not readable, or nothing was written there.
        """


_active: Target | None = None


def target() -> Target:
    """Return what networks are compiled for; the processor, unless `use_target` chose something else."""
    global _active
    if _active is None:
        from yolotrt_lab.emulation.tensorrt.openvino_target import OpenvinoTarget

        _active = OpenvinoTarget()
    return _active


def use_target(chosen: Target | None) -> None:
    """Choose what networks are compiled for; None is the processor. Engines that are loaded stay what they are."""
    global _active
    _active = chosen
