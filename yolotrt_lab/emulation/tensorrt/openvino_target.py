"""The processor as what networks are compiled for, by OpenVINO, with the emulation's own device memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from yolotrt_lab.emulation.device import core, device, isa
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.tensorrt.compiler import CompiledNetwork, compile_model, compile_settings, read_network
from yolotrt_lab.emulation.tensorrt.execution import OpenvinoExecutor
from yolotrt_lab.emulation.tensorrt.layers import EngineLayer, engine_layers
from yolotrt_lab.emulation.tensorrt.openvino_lowering import lower_all_but, spare_expectations
from yolotrt_lab.emulation.tensorrt.plan_format import NodeRecord, PlanHead, TensorRecord
from yolotrt_lab.emulation.tensorrt.profile import Shape
from yolotrt_lab.emulation.tensorrt.target import CompileOrder
from yolotrt_lab.optional import package_version

__all__ = ["OpenvinoNetwork", "OpenvinoTarget"]


class OpenvinoTarget:
    """Implements `Target`."""

    def compute(self) -> str:
        """Return the instruction set."""
        return isa()

    def software(self) -> str:
        """Return OpenVINO's version."""
        return f"OpenVINO {package_version('openvino')}"

    def describe(self) -> str:
        """Return how the builder names what it does."""
        return "Compiling for the CPU with OpenVINO."

    def memory_bytes(self) -> int:
        """Return how much memory the emulated device has."""
        return device().heap.capacity

    def has_fast(self, precision: str) -> bool:
        """Return whether the processor computes in this precision; BF16 is its 16 bits too, and it has no TF32."""
        wanted = {"FP16": {"FP16", "BF16"}, "INT8": {"INT8"}}.get(precision, set())
        return bool(wanted & set(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")))

    def arithmetic(self, hint: str) -> str:
        """Return what is really computed in: BF16 for FP16 if the processor has only that, FP32 if it has neither."""
        native = set(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        order = {"f16": ("FP16", "BF16"), "bf16": ("BF16",)}.get(hint, ())
        return next(({"FP16": "f16", "BF16": "bf16"}[name] for name in order if name in native), "f32")

    def compile(self, order: CompileOrder) -> CompiledNetwork:
        """Compile a network; see `Target`."""
        model, hint = read_network(order.onnx_bytes, order.names), order.hint
        if order.fp32_layers is not None:
            low, hint = self.arithmetic(hint), "f32"
            quantized = any(operation.get_type_name() == "FakeQuantize" for operation in model.get_ops())
            if low != "f32" and not quantized:
                asked = "f16" if order.strongly_typed else "f32"
                lower_all_but(model, order.fp32_layers, element_type=low, instead_of=asked)
        elif order.strongly_typed and hint != "f32":
            spare_expectations(model)
        return compile_model(model, names=order.names, ranges=order.ranges, io_types=order.io_types, hint=hint)

    def load(self, head: PlanHead, blob: bytes) -> OpenvinoNetwork:
        """Return what `compile` made; see `Target`."""
        return OpenvinoNetwork(blob, head.precision_hint, head.nodes, name=head.network_name)

    def read_memory(self, address: int, nbytes: int, *, what: str) -> bytes:
        """Return the content of emulated device memory; see `Target`."""
        scheduler = device().scheduler
        with scheduler.lock:
            scheduler.run_now(lambda: None)
            allocation, offset = device().heap.locate(address, nbytes, what=what)
            if not allocation.is_written(offset, nbytes):
                raise DeviceFault("uninitialised", f"{what}: nothing was copied to its device memory")
            return allocation.payload[offset : offset + nbytes].tobytes()


class OpenvinoNetwork:
    """A blob imported by OpenVINO.

    Attributes:
        name: The network's name.
        compiled: OpenVINO's compiled model.
    """

    def __init__(self, blob: bytes, hint: str, nodes: Sequence[NodeRecord], *, name: str = "") -> None:
        self.name = name
        self._blob = blob
        self._nodes = nodes
        self._hint = hint
        self._lock = threading.Lock()
        self._profiling_model: Any = None
        self._layers: tuple[EngineLayer, ...] | None = None
        self.compiled = core().import_model(blob, "CPU", compile_settings(hint))

    def profiling(self) -> Any:
        """Return a second compiled model that measures its layers; measuring costs time, so it is made on demand."""
        with self._lock:
            if self._profiling_model is None:
                settings = compile_settings(self._hint, profiling=True)
                self._profiling_model = core().import_model(self._blob, "CPU", settings)
            return self._profiling_model

    def layers(self) -> tuple[EngineLayer, ...]:
        """Return the executed layers; see `LoadedNetwork`."""
        with self._lock:
            if self._layers is None:
                self._layers = engine_layers(self.compiled, self._nodes)
            return self._layers

    def output_shapes(self, inputs: Mapping[str, Shape], names: Sequence[str]) -> dict[str, Shape]:
        """Return the shapes of outputs, by running the network once on zeros."""
        import openvino

        request = self.compiled.create_infer_request()
        for name, shape in inputs.items():
            element_type = self.compiled.input(name).get_element_type()
            tensor = openvino.Tensor(element_type, openvino.Shape(list(shape)))
            tensor.data[...] = 0  # also of scalars
            request.set_tensor(name, tensor)
        request.infer()
        return {name: tuple(request.get_tensor(name).get_shape()) for name in names}

    def executor(self, tensors: Sequence[TensorRecord]) -> OpenvinoExecutor:
        """Return what runs the inferences of one execution context."""
        return OpenvinoExecutor(self, tensors)
