"""What an engine is and computes: taken where the answer runs, judged elsewhere from what was written down.

A plan that an answer returned is loaded here, in the process that built it, never by the judge.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.engines.inspect import EngineLayer, report_from_json
from yolotrt_lab.engines.messages import make_logger
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_tensors
from yolotrt_lab.grading import Mismatch, expect
from yolotrt_lab.runtimes.tensorrt_session import EngineSession
from yolotrt_lab.types import Array, Precision

_TEXT_LIMIT = 8000


def attempt(call: Callable[[], object], *, catch: tuple[type[Exception], ...] = ()) -> dict[str, object]:
    """Call something that may refuse; return {"value": …} or {"refused": class names, "message": …}.

    Only refusals that an exercise asks for are caught: the course's errors, missing files, and those in `catch`. All
    others tell, as the recorder writes them down, where the answer broke.
    """
    try:
        return {"value": call()}
    except (LabError, OSError, *catch) as error:
        return {"refused": [kind.__name__ for kind in type(error).__mro__], "message": str(error)[:_TEXT_LIMIT]}


def facts_of(plan: object, feeds: Sequence[Mapping[str, Array]] = ()) -> dict[str, Any]:
    """Load a plan and return what can be known of it.

    Args:
        plan: What an answer returned as a plan.
        feeds: Inputs to run it on.

    Returns:
        type: name of the plan's class; loads: whether TensorRT takes it; api: TensorRT's major version; platform;
        layers: the inspector's JSON; shapes: name to shape; profiles: input name to [min, opt, max];
        outputs: per feed a dict of arrays, or the error's text.
    """
    facts: dict[str, Any] = {"type": type(plan).__name__, "loads": False, "outputs": []}
    if type(plan) not in (bytes, bytearray):  # the emulated IHostMemory is a kind of bytes
        return facts
    platform = activate()
    trt: Any = platform.trt
    logger = make_logger(trt)
    facts |= {"api": platform.api_major, "platform": platform.kind, "size": len(plan)}
    engine = trt.Runtime(logger).deserialize_cuda_engine(bytes(plan))
    if engine is None:
        return facts | {"reason": logger.errors()[:_TEXT_LIMIT]}
    inspector = engine.create_engine_inspector()
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    facts |= {
        "loads": True,
        "layers": inspector.get_engine_information(trt.LayerInformationFormat.JSON),
        "shapes": {name: [int(size) for size in engine.get_tensor_shape(name)] for name in names},
        "types": {name: engine.get_tensor_dtype(name).name for name in names},
        "profiles": {name: _profile(engine, name) for name in inputs},
        "outputs": _outputs(trt, engine, feeds, logger),
    }
    return facts


def _profile(engine: Any, name: str) -> list[list[int]]:
    if all(size >= 0 for size in engine.get_tensor_shape(name)):
        return []
    return [[int(size) for size in shape] for shape in engine.get_tensor_profile_shape(name, 0)]


def _outputs(trt: Any, engine: Any, feeds: Sequence[Mapping[str, Array]], logger: Any) -> list[Any]:
    if not feeds:
        return []
    found: list[Any] = []
    try:
        session = EngineSession(trt, engine, batch=None, explain=logger.take)
    except LabError as error:
        return [str(error)] * len(feeds)
    try:
        for feed in feeds:
            try:
                session.check_shapes(feed)
                found.append({name: np.array(values) for name, values in session.run(feed).items()})
            except LabError as error:
                found.append(str(error))
    finally:
        session.close()
    return found


def typed_engine_facts(onnx_path: Path) -> dict[str, Any]:
    """Build a strongly typed engine of an ONNX file, as the judge does with a graph that a student made.

    Raises:
        Mismatch: TensorRT refuses the graph; the message gives its reasons.
    """
    trt: Any = activate().trt
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    parsed = parser.parse(onnx_path.read_bytes())
    plan = builder.build_serialized_network(network, config) if parsed else None
    if plan is None:
        reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)] or [logger.errors()]
        raise Mismatch(expected="a graph that builds as a strongly typed network", seen="; ".join(reasons)[:300])
    return facts_of(bytes(plan))


def layers_of(facts: Mapping[str, Any]) -> tuple[EngineLayer, ...]:
    """Return the layers that the inspector told about.

    Raises:
        Mismatch: The engine did not load, or was built without detailed verbosity.
    """
    require_engine(facts)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return report_from_json(str(facts.get("layers", "")), name="The engine")
    except (InputError, TypeError, AttributeError):
        raise Mismatch(
            expected="an engine whose inspector tells each layer's types",
            seen="layer names only",
            misconception="How much the inspector may tell is decided when the engine is built: the configuration has "
            "a profiling verbosity.",
        ) from None


def require_engine(facts: object) -> Mapping[str, Any]:
    """Return the facts if there is an engine.

    Raises:
        Mismatch: There is none.
    """
    if not isinstance(facts, Mapping) or "type" not in facts:
        raise Mismatch(expected="a plan", seen="nothing")
    kind = facts.get("type")
    if kind == "IHostMemory":
        raise Mismatch(
            expected="the plan as bytes",
            seen="TensorRT's own IHostMemory",
            misconception="That object is a view of memory which TensorRT owns. Bytes can be hashed, written and sent.",
        )
    if kind not in ("bytes", "bytearray"):
        text = "Is there a `return`?" if kind == "NoneType" else ""
        seen = "None" if kind == "NoneType" else f"a value of type {kind}"
        raise Mismatch(expected="the plan as bytes", seen=seen, misconception=text)
    expect(
        facts.get("loads") is True,
        expected="a plan that TensorRT loads",
        seen=f"{facts.get('size')} bytes that it refuses",
        misconception="Return exactly what the builder serialized, nothing in front of it and nothing left out.",
    )
    return facts


def compute_precisions(facts: Mapping[str, Any]) -> list[Precision]:
    """Return what the convolutions and matrix products run in, one entry per layer."""
    return [layer.precision for layer in layers_of(facts) if layer.is_compute and layer.precision is not None]


def slowest_rung(precisions: Sequence[Precision]) -> Precision:
    """Return the coarsest precision that ran: the row of the tolerance ladder that applies."""
    order = (Precision.INT8, Precision.BF16, Precision.FP16)
    return next((precision for precision in order if precision in precisions), Precision.FP32)


def expect_like_reference(
    output: object, expected: Mapping[str, Array], *, precision: Precision, what: str, misconception: str = ""
) -> None:
    """Compare an engine's outputs with ONNX Runtime's, by the row of the ladder for what really ran.

    Raises:
        Mismatch: Another shape or type, NaN, or further away than allowed; the message gives the measures.
    """
    if not isinstance(output, Mapping) or set(map(str, output)) != set(expected):
        seen = output if isinstance(output, str) else sorted(map(str, output)) if isinstance(output, Mapping) else None
        raise Mismatch(expected=f"{what}: outputs {sorted(expected)}", seen=seen, misconception=misconception)
    limits = TOLERANCES[precision]
    for name, right in expected.items():
        actual = output[name]
        if not isinstance(actual, np.ndarray) or actual.dtype.kind not in "fiub":
            raise Mismatch(expected=f"{what}: numbers", seen=type(actual).__name__)
        agreement = compare_tensors(actual, right)
        expect(
            agreement.shape_ok and agreement.dtype_ok,
            expected=f"{what}: {name} of shape {agreement.expected_shape}, {agreement.expected_dtype}",
            seen=f"shape {agreement.actual_shape}, {agreement.actual_dtype}",
            misconception=misconception,
        )
        expect(
            agreement.finite,
            expected=f"{what}: finite numbers in {name}",
            seen=f"{agreement.nonfinite_count} of {actual.size} are NaN or infinite",
            misconception="Values beyond 65504 become infinite in FP16." if precision is Precision.FP16 else "",
        )
        expect(
            agreement.relative_l2 <= limits.relative_l2 and agreement.cosine >= limits.cosine,
            expected=f"{what}: {name} within {limits.relative_l2:g} (relative L2) and {limits.cosine:g} (cosine) of "
            f"ONNX Runtime, as {precision.upper()} allows",
            seen=f"relative L2 {agreement.relative_l2:.3g}, cosine {agreement.cosine:.6f}",
            misconception=misconception or "; ".join(agreement.causes),
        )
