"""The emulated builder: from a network and a configuration to a plan."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.tensorrt.building import BUILD_STEPS, CacheMiss, build_plan
from yolotrt_lab.emulation.tensorrt.classic_int8 import CalibrationFailed
from yolotrt_lab.emulation.tensorrt.compiler import ShapeProblem
from yolotrt_lab.emulation.tensorrt.layer_precision import Unobeyed
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import ContextManaged
from yolotrt_lab.emulation.tensorrt.plan_format import pack
from yolotrt_lab.emulation.tensorrt.plan_streams import write_to_stream
from yolotrt_lab.emulation.tensorrt.plugin_registry import UsesPlugins
from yolotrt_lab.emulation.tensorrt.precision_choice import choose_precision
from yolotrt_lab.emulation.tensorrt.presence import need_device
from yolotrt_lab.emulation.tensorrt.profile import check_profiles
from yolotrt_lab.emulation.tensorrt.progress import Cancelled, Progress
from yolotrt_lab.emulation.tensorrt.properties import error_recorder, gpu_allocator, max_threads
from yolotrt_lab.emulation.tensorrt.runtime import load_plan
from yolotrt_lab.emulation.tensorrt.target import target

__all__ = ["Builder"]

_WHERE = "IBuilder::buildSerializedNetwork"


class Builder(UsesPlugins, ContextManaged):
    """Makes networks, configurations and plans."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._reporter = Reporter(self._api, logger)
        need_device(self._reporter, "createInferBuilder")
        self._max_threads = 1

    @property
    def logger(self) -> Any:
        """The program's logger."""
        return self._reporter.logger

    error_recorder = error_recorder()
    gpu_allocator = gpu_allocator("Builder")
    max_threads = max_threads("IBuilder")

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

    def build_serialized_network_to_stream(self, network: Any, config: Any, writer: Any) -> bool:
        """Hand the plan to a stream writer; return whether it could be built and was written whole."""
        plan = self._build(network, config)
        return plan is not None and write_to_stream(writer, plan)

    def build_engine_with_config(self, network: Any, config: Any) -> Any:
        """Return the engine, None if it cannot be built; the reasons are in the log."""
        plan = self._build(network, config)
        return None if plan is None else load_plan(self._api, self._reporter, plan, trusted=True)

    def reset(self) -> None:
        """Go back to the defaults."""
        self._max_threads = 1

    def _complaint(self, network: Any, config: Any) -> str | None:
        invalid: str | None = network._complaint()
        if invalid is not None:
            return invalid
        unnamed = check_profiles(network, config._profiles)
        return unnamed or choose_precision(network, config).complaint

    def _build(self, network: Any, config: Any) -> bytes | None:
        complaint = self._complaint(network, config)
        if complaint is not None:
            self._reporter.internal_error(_WHERE, complaint)
            return None
        progress = Progress(config.progress_monitor, "Building Engine", steps=BUILD_STEPS)
        try:
            with progress:
                plan = pack(build_plan(network, config, self._reporter, progress))
        except Cancelled:
            self._reporter.internal_error(_WHERE, "Build was cancelled by the progress monitor.")
        except CalibrationFailed as problem:
            self._reporter.error(_WHERE, f"Calibration failure occurred: {problem}", code=2, kind="Internal Error")
        except Unobeyed as problem:
            self._reporter.error(_WHERE, str(problem), code=10, kind="Internal Error")
        except ShapeProblem as problem:
            self._reporter.internal_error(_WHERE, f"Shapes do not fit the network: {problem}")
        except CacheMiss as miss:
            text = f"BuilderFlag::kERROR_ON_TIMING_CACHE_MISS is set, and the timing cache has no entry 0x{miss}."
            self._reporter.internal_error(_WHERE, text)
        else:
            self._reporter.info(f"Engine generation completed; plan size {len(plan)} bytes.")
            return plan
        return None
