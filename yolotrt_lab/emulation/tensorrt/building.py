"""The steps of a build: from a network and a configuration to the content of a plan."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from yolotrt_lab.emulation.tensorrt.builder_flags import refit_mode
from yolotrt_lab.emulation.tensorrt.classic_int8 import quantize_classically
from yolotrt_lab.emulation.tensorrt.compiler import CompiledNetwork, onnx_of_network
from yolotrt_lab.emulation.tensorrt.layer_precision import (
    asks_for_precisions,
    check_obeyed,
    fp32_names,
    quantize_by_ranges,
    spare_layers,
)
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.plan_format import NodeRecord, Plan, PlanHead, TensorRecord
from yolotrt_lab.emulation.tensorrt.precision_choice import choose_precision
from yolotrt_lab.emulation.tensorrt.profile import ShapeRange
from yolotrt_lab.emulation.tensorrt.progress import Progress
from yolotrt_lab.emulation.tensorrt.refit_weights import weight_records, weights_bytes
from yolotrt_lab.emulation.tensorrt.serialization import stripped
from yolotrt_lab.emulation.tensorrt.sparsity import sparse_layers
from yolotrt_lab.emulation.tensorrt.target import CompileOrder, target
from yolotrt_lab.emulation.tensorrt.timing_cache import cache_key
from yolotrt_lab.errors import EmulationError

__all__ = ["BUILD_STEPS", "CacheMiss", "build_plan", "union_of_ranges"]

BUILD_STEPS = 4
_PRECISIONS = {"f32": "FP32", "f16": "FP16", "bf16": "BF16"}


class CacheMiss(Exception):
    """The timing cache lacks the network, and that was to be an error; carries the key."""


def build_plan(network: Any, config: Any, reporter: Reporter, progress: Progress) -> Plan:
    """Return the plan of a network that nothing is wrong with.

    Raises:
        CacheMiss: See there.
        CalibrationFailed: The calibrator gave no data, or data that cannot be used.
        Cancelled: The progress monitor asked to stop.
        EmulationError: The network needs something that is not emulated.
        ShapeProblem: The network cannot have the shapes of its profiles.
        Unobeyed: A layer cannot run in the precision asked for.
    """
    choice = choose_precision(network, config)
    for text in choice.warnings:
        reporter.warning(text)
    _report_arithmetic(choice.hint, reporter)
    model, digest = onnx_of_network(network)
    if choice.calibrate:
        model = quantize_classically(model, network, config, reporter, progress)
    elif choice.by_ranges:
        model = quantize_by_ranges(model, network, reporter)
    in_fp32 = fp32_names(network) if asks_for_precisions(network, config) else None
    model = spare_layers(model, in_fp32) if in_fp32 and (choice.calibrate or choice.by_ranges) else model
    progress.step()
    fp32_layers = () if choice.mixed else in_fp32 if choice.hint != "f32" else None
    order = _order(network, config, model, hint=choice.hint, fp32_layers=fp32_layers)
    with progress.part("Compiling network", steps=1) as part:
        compiled = _compile(order, config, reporter)
        part.step()
    progress.step()
    _report_sparsity(network, config, reporter)
    head = _head(network, config, compiled, order=order, digest=digest)
    if in_fp32 is not None:
        check_obeyed(network, config, target().load(head, compiled.blob).layers(), reporter)
    progress.step()
    plan = _refittable(Plan(head, compiled.blob, model), network, config) if head.refit else Plan(head, compiled.blob)
    progress.step()
    return plan


def _order(network: Any, config: Any, model: bytes, *, hint: str, fp32_layers: Sequence[str] | None) -> CompileOrder:
    """Return what is to be compiled.

    Raises:
        EmulationError: A refit could not compile it again.
    """
    if fp32_layers and refit_mode(config):
        raise EmulationError(
            "Refitting an engine whose layers were given precisions is not emulated.",
            fix="Build it without the refit flag, or without precisions of single layers.",
        )
    tensors = [*network._inputs, *network._outputs]
    return CompileOrder(
        model,
        names=[tensor.name for tensor in tensors],
        ranges=union_of_ranges([profile._shapes for profile in config._profiles]),
        io_types={tensor.name: tensor._dtype for tensor in tensors if tensor._dtype_changed},
        hint=hint,
        strongly_typed=network._strongly_typed,
        tf32=config._has_flag("TF32"),
        fp32_layers=fp32_layers,
    )


def _compile(order: CompileOrder, config: Any, reporter: Reporter) -> CompiledNetwork:
    """Compile, or take from the timing cache what an earlier build compiled."""
    cache = None if config._has_flag("DISABLE_TIMING_CACHE") else config.get_timing_cache()
    if cache is None:
        reporter.info("Local timing cache in use. Profiling results in this builder pass will not be stored.")
        reporter.info(f"[emulation] {target().describe()}")
        return target().compile(order)
    reporter.info("Global timing cache in use. Profiling results in this builder pass will be stored.")
    key = cache_key(order)
    found: CompiledNetwork | None = cache._find(key, order)
    if found is not None:
        reporter.info("[emulation] This network was compiled before; taken from the timing cache.")
        return found
    if config._has_flag("ERROR_ON_TIMING_CACHE_MISS"):
        raise CacheMiss(key)
    reporter.info(f"[emulation] {target().describe()}")
    start = time.perf_counter()
    compiled = target().compile(order)
    cache._keep(key, order, compiled, compile_ms=1000 * (time.perf_counter() - start))
    return compiled


def _report_arithmetic(hint: str, reporter: Reporter) -> None:
    executed = target().arithmetic(hint)
    if executed != hint:
        text = f"[emulation] The device does not compute in {_PRECISIONS[hint]}; {_PRECISIONS[hint]} layers run in "
        reporter.warning(f"{text}{_PRECISIONS[executed]}.")


def _report_sparsity(network: Any, config: Any, reporter: Reporter) -> None:
    """Say what TensorRT says about 2:4 sparse weights; OpenVINO has no kernels for them."""
    if config._has_flag("SPARSE_WEIGHTS"):
        found = sparse_layers(network._model)
        reporter.info(f"(Sparsity) Found {len(found)} layer(s) eligible to use sparse tactics: {', '.join(found)}")
        reporter.info("(Sparsity) Chose 0 layer(s) using sparse tactics: ")


def _head(network: Any, config: Any, compiled: CompiledNetwork, *, order: CompileOrder, digest: str) -> PlanHead:
    profiles = [dict(profile._shapes) for profile in config._profiles] or [{}]
    for profile in profiles:
        for tensor in network._inputs:
            profile.setdefault(tensor.name, (tensor._shape, tensor._shape, tensor._shape))
    return PlanHead(
        tensorrt_version=network._api.version,
        compute=target().compute(),
        software=target().software(),
        network_name=network.name,
        onnx_sha256=digest,
        precision_hint=order.hint if order.fp32_layers is None else "f32",  # mixed types are written into the blob
        verbosity=config.profiling_verbosity.name,
        tensors=tuple(_tensor_records(network, compiled)),
        profiles=tuple(profiles),
        shape_rules=dict(compiled.shape_rules),
        nodes=tuple(
            NodeRecord(node.name, node.op_type, tuple(node.input), tuple(node.output))
            for node in network._model.graph.node
        ),
        io_types=dict(order.io_types),
        order_hint=order.hint,
        types_written=order.fp32_layers is not None,
        strongly_typed=order.strongly_typed,
        tf32=order.tf32,
        refit=refit_mode(config),
        version_compatible=config._has_flag("VERSION_COMPATIBLE"),
        lean_runtime=config._has_flag("VERSION_COMPATIBLE") and not config._has_flag("EXCLUDE_LEAN_RUNTIME"),
        weights_bytes=weights_bytes(network._model),
    )


def _tensor_records(network: Any, compiled: CompiledNetwork) -> list[TensorRecord]:
    by_name = {name: (dtype, shape) for name, dtype, shape in (*compiled.inputs, *compiled.outputs)}
    records = []
    for mode, tensors in (("INPUT", network._inputs), ("OUTPUT", network._outputs)):
        for tensor in tensors:
            if tensor.name not in by_name:
                raise EmulationError(f"The compiler lost the tensor {tensor.name}.", got=sorted(by_name))
            dtype, shape = by_name[tensor.name]
            records.append(TensorRecord(tensor.name, mode, dtype, shape))
    return records


def _refittable(plan: Plan, network: Any, config: Any) -> Plan:
    """Return the plan with the list of its replaceable weights; without their values, if they are to be stripped."""
    import onnx

    model = onnx.load_model_from_string(plan.model)
    only = network._refittable_weights if plan.head.refit == "individual" else None
    records = weight_records(model, only=only)
    head = dataclasses.replace(
        plan.head,
        refittable=tuple((record.name, record.checksum) for record in records),
        refittable_bytes=sum(record.nbytes for record in records),
    )
    plan = Plan(head, plan.blob, plan.model)
    return stripped(plan) if config._has_flag("STRIP_PLAN") or config._has_flag("WEIGHTLESS") else plan


def union_of_ranges(profiles: Sequence[dict[str, ShapeRange]]) -> dict[str, ShapeRange]:
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
