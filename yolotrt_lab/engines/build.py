"""From an ONNX model to a TensorRT engine, by TensorRT's Python API alone.

The same code runs on TensorRT 10.16 and 11, real or emulated: logger, builder, network, ONNX parser (every error
reported), configuration, optimization profile, serialized plan, atomic write with the provenance beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yolotrt_lab.engines.calibrator import ClassicCalibration, make_calibrator
from yolotrt_lab.engines.graph_precision import GraphFacts, check_requested_precision, read_graph_facts
from yolotrt_lab.engines.inspect import EngineReport, report_from_engine
from yolotrt_lab.engines.messages import make_logger
from yolotrt_lab.engines.options import EngineOptions
from yolotrt_lab.engines.platform import Platform, activate
from yolotrt_lab.engines.progress import make_progress_monitor
from yolotrt_lab.engines.provenance import Provenance, sidecar_path
from yolotrt_lab.errors import EngineBuildError, InputError, LabError
from yolotrt_lab.files import atomic_path, require_file, sha256_of, write_bytes, write_json
from yolotrt_lab.types import Precision, ProgressCallback

__all__ = ["EngineBuild", "EngineOptions", "build_engine"]


@dataclass(frozen=True)
class EngineBuild:
    """A built engine.

    Attributes:
        path: The plan file.
        provenance: What is also in `<plan>.json`.
        seconds: How long TensorRT took to parse and build.
        report: What the inspector found.
    """

    path: Path
    provenance: Provenance
    seconds: float
    report: EngineReport


def build_engine(
    onnx_path: Path,
    output: Path,
    *,
    options: EngineOptions | None = None,
    on_progress: ProgressCallback | None = None,
    calibration: ClassicCalibration | None = None,
) -> EngineBuild:
    """Build an engine and write it, with its provenance in `<output>.json`.

    Args:
        onnx_path: The ONNX model; in the explicit route its types decide the precision.
        output: The plan file, usually `.engine`.
        options: What to build.
        on_progress: Called with (done, all); an exception in it, such as KeyboardInterrupt, cancels the build.
        calibration: Images for the classic INT8 route.

    Raises:
        InputError: No readable ONNX model, or options that do not fit it.
        EngineBuildError: TensorRT refuses the model or cannot build it; the message quotes every reason.
        OutputError: The plan cannot be written.
    """
    options = options or EngineOptions()
    require_file(onnx_path, kind="ONNX model")
    if output.resolve() == onnx_path.resolve():
        raise InputError("The engine would overwrite the ONNX model.", expected="another output path", got=output)
    facts = read_graph_facts(onnx_path)
    if not options.classic and options.precision is not None:
        check_requested_precision(onnx_path, options.precision, facts)
    platform = activate()
    clock = time.perf_counter()
    plan = _Build(platform, onnx_path, options, facts).run(on_progress, calibration)
    seconds = time.perf_counter() - clock
    report = _inspect(plan, platform, options)
    provenance = _provenance(
        plan, onnx_path, platform=platform, options=options, facts=facts, seconds=seconds, report=report
    )
    # Both or, if one cannot be written, neither.
    with atomic_path(sidecar_path(output)) as sidecar, atomic_path(output) as temporary:
        temporary.write_bytes(plan)
        write_json(sidecar, provenance.to_json())
    return EngineBuild(output, provenance, seconds, report)


class _Build:
    """One build: the objects TensorRT needs alive together."""

    def __init__(self, platform: Platform, onnx_path: Path, options: EngineOptions, facts: GraphFacts) -> None:
        self._trt: Any = platform.trt
        self._api_major = platform.api_major
        self._onnx_path = onnx_path
        self._options = options
        self._facts = facts
        self._logger = make_logger(platform.trt)

    def run(self, on_progress: ProgressCallback | None, calibration: ClassicCalibration | None) -> bytes:
        """Return the plan."""
        builder = self._trt.Builder(self._logger)
        network = builder.create_network(self._network_flags())
        parser = self._parse(network)
        config = builder.create_builder_config()
        self._configure(config)
        self._add_profile(builder, network, config)
        monitor = None
        if on_progress is not None:
            monitor = make_progress_monitor(self._trt, on_progress)
            config.progress_monitor = monitor
        with contextlib.ExitStack() as stack:
            calibrator = self._set_classic_precision(config, calibration)
            if calibrator is not None:
                stack.callback(calibrator.close)
                self._set_calibration_profile(builder, network, config, calibrator.batch_shape)
            plan = builder.build_serialized_network(network, config)
            for failed in (monitor, calibrator):
                if failed is not None and failed.failure is not None:
                    raise failed.failure
        del parser  # it owns memory the network may use until here
        if plan is None:
            raise self._error("TensorRT could not build the engine.")
        self._keep_timing_cache(config)
        return bytes(plan)

    def _network_flags(self) -> int:
        if self._options.classic:
            if self._api_major >= 11:
                raise InputError(
                    "TensorRT 11 has no classic route: its networks are always strongly typed.",
                    expected="TensorRT 10",
                    got=self._trt.__version__,
                    fix="Leave --classic out and put the precision into the ONNX graph.",
                )
            return 0
        flag = getattr(self._trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None else 1 << int(flag)

    def _parse(self, network: Any) -> Any:
        parser = self._trt.OnnxParser(network, self._logger)
        # By path, not by bytes, so that weights in separate files are found.
        if not parser.parse_from_file(str(self._onnx_path)):
            reasons = [_describe_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
            raise EngineBuildError(
                f"TensorRT cannot parse {self._onnx_path}.",
                expected="operators and types TensorRT supports",
                got="; ".join(reasons) or self._logger.errors(),
                fix="Export the model with other operators (for a detector: without NMS in the graph).",
            )
        return parser

    def _configure(self, config: Any) -> None:
        trt = self._trt
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, self._options.workspace_bytes)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        path = self._options.timing_cache
        if path is None:
            return
        content = path.read_bytes() if path.exists() else b""
        cache = config.create_timing_cache(content)
        if cache is None or not config.set_timing_cache(cache, False):
            # From another TensorRT or device: of no use here, and rebuilt by this build.
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def _keep_timing_cache(self, config: Any) -> None:
        path = self._options.timing_cache
        cache = None if path is None else config.get_timing_cache()
        if path is not None and cache is not None:
            write_bytes(path, bytes(cache.serialize()))

    def _add_profile(self, builder: Any, network: Any, config: Any) -> None:
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        self._check_fixed_batch(inputs)
        dynamic = [tensor for tensor in inputs if any(size < 0 for size in tensor.shape)]
        if not dynamic:
            return
        profile = builder.create_optimization_profile()
        for tensor in dynamic:
            shape = self._with_known_size(tensor)
            batches = (self._options.min_batch, self._options.opt_batch, self._options.max_batch)
            profile.set_shape(tensor.name, *[(batch, *shape[1:]) for batch in batches])
        if config.add_optimization_profile(profile) < 0:
            raise self._error("TensorRT refuses the optimization profile.")

    def _check_fixed_batch(self, inputs: list[Any]) -> None:
        asked = (self._options.min_batch, self._options.opt_batch, self._options.max_batch)
        for tensor in inputs:
            shape = tuple(tensor.shape)
            if shape and shape[0] > 0 and asked not in ((1, 1, 1), (shape[0],) * 3):
                raise InputError(
                    f"{self._onnx_path} has a fixed batch of {shape[0]}.",
                    expected=f"batch {shape[0]}, or a model with a dynamic batch",
                    got=f"min, opt, max batch {asked}",
                    fix="Export it again with `yolotrt export` (dynamic batch is the default).",
                )

    def _with_known_size(self, tensor: Any) -> tuple[int, ...]:
        """Return an input's shape with dynamic height and width taken from the model's metadata."""
        shape = [int(size) for size in tensor.shape]
        if shape[0] >= 0:
            raise InputError(
                f"Input {tensor.name} has a dynamic size but a fixed batch.",
                expected="a dynamic batch, everything else fixed",
                got=tuple(shape),
                fix="Export it again with `yolotrt export`.",
            )
        if all(size > 0 for size in shape[1:]):
            return tuple(shape)
        known = self._metadata_hw()
        if len(shape) == 4 and known is not None and shape[1] > 0:
            return (shape[0], shape[1], *known)
        raise InputError(
            f"Input {tensor.name} has dynamic dimensions besides the batch.",
            expected="fixed height and width, or `imgsz` in the model's metadata",
            got=tuple(shape),
            fix="Export it again with `yolotrt export --imgsz 640`.",
        )

    def _metadata_hw(self) -> tuple[int, int] | None:
        numbers = [
            int(part)
            for part in self._facts.metadata.get("imgsz", "").strip("[]() ").split(",")
            if part.strip().isdecimal()
        ]
        return (numbers[0], numbers[-1]) if numbers else None

    def _set_classic_precision(self, config: Any, calibration: ClassicCalibration | None) -> Any:
        if not self._options.classic:
            return None
        precision, flags = self._options.precision, self._trt.BuilderFlag
        if precision in (Precision.FP16, Precision.BF16):
            config.set_flag(flags.FP16 if precision is Precision.FP16 else flags.BF16)
        if precision is not Precision.INT8:
            return None
        config.set_flag(flags.INT8)
        if calibration is None:
            if self._facts.precision is Precision.INT8:
                return None
            raise InputError("The classic INT8 route needs calibration images.", expected="calibration", got="none")
        calibrator = make_calibrator(self._trt, calibration)
        config.int8_calibrator = calibrator
        return calibrator

    def _set_calibration_profile(
        self, builder: Any, network: Any, config: Any, batch_shape: tuple[int, ...] | None
    ) -> None:
        """Tell TensorRT the shape of the calibration batches; it does not ask the calibrator."""
        tensor = network.get_input(0)
        if batch_shape is None:
            return
        if not all(size in (-1, mine) for size, mine in zip(tensor.shape, batch_shape, strict=True)):
            raise InputError(
                "The calibration batches do not fit the model.",
                expected=tuple(tensor.shape),
                got=batch_shape,
                fix="Use batches of the model's shape.",
            )
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, batch_shape, batch_shape, batch_shape)
        config.set_calibration_profile(profile)

    def _error(self, what: str) -> EngineBuildError:
        return EngineBuildError(
            what,
            expected="a network TensorRT can build",
            got=self._logger.errors() or "no reason given",
            fix=_likely_fix(self._logger.errors()),
        )


def _describe_parser_error(error: Any) -> str:
    if error.node() < 0:
        return f"{error.code().name}: {error.desc()}"
    return f"node {error.node()} {error.node_name()} ({error.node_operator()}): {error.code().name}: {error.desc()}"


def _likely_fix(text: str) -> str | None:
    if "memory" in text.lower():
        return "Use a smaller --max-batch or a larger --workspace-mib."
    if "profile" in text:
        return "Set --min-batch, --opt-batch and --max-batch for a model with a dynamic batch."
    if "Shapes do not fit" in text:
        return "A fixed batch may be baked into the model: export it again with `yolotrt export`."
    return None


def _inspect(plan: bytes, platform: Platform, options: EngineOptions) -> EngineReport:
    logger = make_logger(platform.trt)
    trt: Any = platform.trt
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise LabError("TensorRT built an engine that it cannot load.", got=logger.errors())
    return report_from_engine(engine, trt, platform=platform.kind, requested=options.precision)


def _provenance(
    plan: bytes,
    onnx_path: Path,
    *,
    platform: Platform,
    options: EngineOptions,
    facts: GraphFacts,
    seconds: float,
    report: EngineReport,
) -> Provenance:
    return Provenance(
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        onnx_path=str(onnx_path),
        onnx_sha256=sha256_of(onnx_path),
        calibration_digest=facts.metadata.get("calibration_digest"),
        tensorrt_version=platform.tensorrt_version,
        platform=platform.kind,
        device_name=platform.device_name,
        precision_requested=None if options.precision is None else str(options.precision),
        precision_found=str(report.executed_precision),
        build_seconds=round(seconds, 3),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        options=options.to_json(),
        arguments=tuple(options.to_arguments()),
        metadata=facts.metadata,
    )
