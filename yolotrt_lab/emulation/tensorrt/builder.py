"""The emulated builder: from a network and a configuration to a plan."""

from __future__ import annotations

import os
from typing import Any

from yolotrt_lab.emulation.tensorrt.classic_int8 import CalibrationFailed, quantize_classically
from yolotrt_lab.emulation.tensorrt.compiler import (
    CompiledNetwork,
    ShapeProblem,
    onnx_of_network,
)
from yolotrt_lab.emulation.tensorrt.layers import kernel_choices
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ContextManaged
from yolotrt_lab.emulation.tensorrt.plan_format import NodeRecord, PlanHead, TensorRecord, pack
from yolotrt_lab.emulation.tensorrt.precision_choice import choose_precision
from yolotrt_lab.emulation.tensorrt.profile import ShapeRange, check_profiles
from yolotrt_lab.emulation.tensorrt.progress import Cancelled, Progress
from yolotrt_lab.emulation.tensorrt.runtime import load_plan
from yolotrt_lab.emulation.tensorrt.target import CompileOrder, target
from yolotrt_lab.errors import EmulationError

__all__ = ["Builder"]

_WHERE = "IBuilder::buildSerializedNetwork"


class Builder(ContextManaged):
    """Makes networks, configurations and plans."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._reporter = Reporter(self._api, logger)
        self._max_threads = os.cpu_count() or 1

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
    def max_threads(self) -> int:
        """How many threads the builder may use."""
        return self._max_threads

    @max_threads.setter
    def max_threads(self, value: int) -> None:
        self._max_threads = int(value)

    @property
    def num_DLA_cores(self) -> int:
        """The number of deep learning accelerators: none."""
        return 0

    @property
    def max_DLA_batch_size(self) -> int:
        """The greatest batch of a deep learning accelerator: there is none."""
        return 0

    @property
    def platform_has_fast_fp16(self) -> bool:
        """Whether the device computes in 16 bits, FP16 or, a processor, BF16."""
        return target().has_fast("FP16")

    @property
    def platform_has_fast_int8(self) -> bool:
        """Whether the device computes in INT8."""
        return target().has_fast("INT8")

    @property
    def platform_has_tf32(self) -> bool:
        """Whether there is TF32: not on a processor."""
        return target().has_fast("TF32")

    def create_network(self, flags: int = 0) -> Any:
        """Return an empty network; in TensorRT 11 it is always strongly typed."""
        strong = 1 << int(self._api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        if self._api.major >= 11:
            flags |= strong
        return self._api.INetworkDefinition._create(
            self, self._reporter.child(), flags, strongly_typed=bool(flags & strong)
        )

    def create_builder_config(self) -> Any:
        """Return a configuration with the defaults."""
        return self._api.IBuilderConfig._create(self._reporter.child())

    def create_optimization_profile(self) -> Any:
        """Return an empty optimization profile."""
        return self._api.IOptimizationProfile._create()

    def is_network_supported(self, network: Any, config: Any) -> bool:
        """Return whether a network may be built with a configuration, and log why not."""
        return self._complaint(network, config) is None

    def build_serialized_network(self, network: Any, config: Any, kernel_text: Any = None) -> Any:
        """Return the plan, None if it cannot be built; the reasons are in the log."""
        plan = self._build(network, config)
        return None if plan is None else self._api.IHostMemory._of(plan)

    def build_engine_with_config(self, network: Any, config: Any) -> Any:
        """Return the engine, None if it cannot be built; the reasons are in the log."""
        plan = self._build(network, config)
        return None if plan is None else load_plan(self._api, self._reporter, plan)

    def reset(self) -> None:
        """Go back to the defaults."""
        self._max_threads = os.cpu_count() or 1

    def _complaint(self, network: Any, config: Any) -> str | None:
        if network._model is None or not network._outputs:
            return "Network must have at least one output"
        unnamed = check_profiles(network, config._profiles)
        return unnamed or choose_precision(network, config).complaint

    def _build(self, network: Any, config: Any) -> bytes | None:
        complaint = self._complaint(network, config)
        if complaint is not None:
            self._reporter.internal_error(_WHERE, complaint)
            return None
        progress = Progress(config.progress_monitor, "Building Engine", steps=4)
        try:
            with progress:
                return self._build_steps(network, config, progress)
        except Cancelled:
            self._reporter.internal_error(_WHERE, "Build was cancelled by the progress monitor.")
        except CalibrationFailed as problem:
            self._reporter.error(_WHERE, f"Calibration failure occurred: {problem}", code=2, kind="Internal Error")
        except ShapeProblem as problem:
            self._reporter.internal_error(_WHERE, f"Shapes do not fit the network: {problem}")
        return None

    def _build_steps(self, network: Any, config: Any, progress: Progress) -> bytes:
        choice = choose_precision(network, config)
        for text in choice.warnings:
            self._reporter.warning(text)
        onnx_bytes, digest = onnx_of_network(network)
        if choice.calibrate:
            onnx_bytes = quantize_classically(onnx_bytes, network, config, self._reporter, progress)
        progress.step()
        ranges = _union([profile._shapes for profile in config._profiles])
        changed = {t.name: t._dtype for t in [*network._inputs, *network._outputs] if t._dtype_changed}
        self._reporter.info(f"[emulation] {target().describe()}")
        names = [tensor.name for tensor in [*network._inputs, *network._outputs]]
        compiled = target().compile(
            CompileOrder(
                onnx_bytes,
                names=names,
                ranges=ranges,
                io_types=changed,
                hint=choice.hint,
                strongly_typed=network._strongly_typed,
                tf32=config._has_flag("TF32"),
            )
        )
        progress.step()
        head = self._head(network, config, compiled, hint=choice.hint, digest=digest)
        self._note_kernels(head, compiled.blob, config)
        progress.step()
        plan = pack(head, compiled.blob)
        progress.step()
        self._reporter.info(f"Engine generation completed; plan size {len(plan)} bytes.")
        return plan

    def _head(self, network: Any, config: Any, compiled: CompiledNetwork, *, hint: str, digest: str) -> PlanHead:
        by_name = {name: (dtype, shape) for name, dtype, shape in (*compiled.inputs, *compiled.outputs)}
        records = []
        for mode, tensors in (("INPUT", network._inputs), ("OUTPUT", network._outputs)):
            for tensor in tensors:
                if tensor.name not in by_name:
                    raise EmulationError(f"The compiler lost the tensor {tensor.name}.", got=sorted(by_name))
                dtype, shape = by_name[tensor.name]
                records.append(TensorRecord(tensor.name, mode, dtype, shape))
        profiles = [dict(profile._shapes) for profile in config._profiles] or [{}]
        for profile in profiles:
            for tensor in network._inputs:
                profile.setdefault(tensor.name, (tensor._shape, tensor._shape, tensor._shape))
        return PlanHead(
            tensorrt_version=self._api.version,
            compute=target().compute(),
            software=target().software(),
            network_name=network.name,
            onnx_sha256=digest,
            precision_hint=hint,
            verbosity=config.profiling_verbosity.name,
            tensors=tuple(records),
            profiles=tuple(profiles),
            shape_rules=dict(compiled.shape_rules),
            nodes=tuple(
                NodeRecord(node.name, node.op_type, tuple(node.input), tuple(node.output))
                for node in network._model.graph.node
            ),
        )

    def _note_kernels(self, head: PlanHead, blob: bytes, config: Any) -> None:
        """Write the kernels that were chosen into the timing cache."""
        cache = config.get_timing_cache()
        if cache is None or config._has_flag("DISABLE_TIMING_CACHE"):
            return
        cache._entries.update(kernel_choices(head, blob))


def _union(profiles: list[dict[str, ShapeRange]]) -> dict[str, ShapeRange]:
    """Return the ranges that hold all profiles; the first profile's preferred shapes stay."""
    union: dict[str, ShapeRange] = {}
    for profile in profiles:
        for name, (low, preferred, high) in profile.items():
            if name in union:
                earlier = union[name]
                low = tuple(map(min, low, earlier[0]))
                preferred = earlier[1]
                high = tuple(map(max, high, earlier[2]))
            union[name] = (low, preferred, high)
    return union
