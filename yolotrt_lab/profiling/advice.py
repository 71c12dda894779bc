"""What to do about the layers that take the most time: from measurements, with the arithmetic.

Every piece of advice says which layer, how long it took, what its bound is, and what the step would gain if the layer
kept its present share of the roof: new time = time now x (least time after / least time now). That is an estimate from
two measured numbers and a count, to be checked by doing it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from onnx import ModelProto

from yolotrt_lab.precision.structure import find_head
from yolotrt_lab.profiling.layer_costs import BYTES_PER_VALUE, GraphCosts, LayerCost
from yolotrt_lab.profiling.layers import compute_nodes
from yolotrt_lab.profiling.roofline import MachineRoof, PlacedLayer

__all__ = ["Advice", "AdviceKind", "advise", "int8_refusals"]

AdviceKind = Literal["memory", "compute", "precision", "reformat", "launch", "unknown"]

_SMALLER = 512 / 640
_WORTH = 0.03
"""Reformats and tiny layers get a paragraph of their own from this share of the time on."""
_FAR_BELOW = 0.5
_CHANNEL_STEP = {"int8": 16, "fp16": 8, "bf16": 8}


@dataclass(frozen=True)
class Advice:
    """What to do about one layer, or one kind of layers.

    Attributes:
        kind: What it is about.
        layer: The ONNX node the layer is known by, or what the layers have in common.
        time_ms: What it took.
        share: Part of the engine's time, 0 to 1.
        saved_ms: The largest saving among the steps, by the arithmetic in their text; 0 where none can be told.
        facts: What was measured, one sentence.
        steps: What to do, at most three: precision, then fusion and kernel, then the size of the input.
    """

    kind: AdviceKind
    layer: str
    time_ms: float
    share: float
    saved_ms: float
    facts: str
    steps: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it, as one paragraph."""
        return " ".join((self.facts, *self.steps))


def advise(
    placed: Sequence[PlacedLayer],
    costs: GraphCosts,
    roof: MachineRoof,
    *,
    engine_precision: str,
    count: int = 3,
) -> tuple[Advice, ...]:
    """Return advice about the slowest layers, then about reformats and tiny layers where they matter together.

    Args:
        placed: From `place_layers`.
        costs: Of the graph the engine was built from.
        roof: The machine's limits.
        engine_precision: What the engine runs in for the most part, or was asked to.
        count: How many layers.
    """
    refusals = int8_refusals(costs) if engine_precision == "int8" else {}
    working = [layer for layer in placed if layer.bound != "reformat" and layer.time_ms > 0]
    hottest = sorted(working, key=lambda layer: -layer.time_ms)[:count]
    found = [_about_layer(layer, costs, roof, engine_precision, refusals) for layer in hottest]
    return (*found, *_about_reformats(placed), *_about_launches(placed, roof))


def _about_layer(
    layer: PlacedLayer, costs: GraphCosts, roof: MachineRoof, engine_precision: str, refusals: Mapping[str, str]
) -> Advice:
    start = f"{layer.name} takes {layer.time_ms:.3g} ms, {layer.share:.1%} of the engine"
    if layer.cost is None:
        text = (
            "None of its nodes is in the ONNX graph, so its work cannot be counted: pass the graph it was built from."
        )
        return Advice("unknown", layer.name, layer.time_ms, layer.share, 0.0, f"{start}.", (text,))
    facts = f"{start}. {_roof_facts(layer, layer.cost, roof)}"
    if layer.bound == "launch":
        step = f"It is tiny: an empty layer takes {roof.launch_ms * 1000:.3g} µs here. See the tiny layers below."
        return Advice("launch", layer.name, layer.time_ms, layer.share, 0.0, facts, (step,))
    steps = [
        *_lower_precision(layer, costs, roof, engine_precision, refusals),
        *(_memory_steps(layer, layer.cost, roof) if layer.bound == "memory" else ()),
        *_channel_step(layer, costs),
        *_kernel_step(layer),
        _smaller_input(layer),
    ]
    refused = any(name in refusals for name in layer.nodes)
    kind: AdviceKind = "precision" if refused else "memory" if layer.bound == "memory" else "compute"
    saved = max((gain for gain, _ in steps), default=0.0)
    ordered = tuple(text for _, text in steps[:3])
    return Advice(kind, layer.name, layer.time_ms, layer.share, saved, facts, ordered)


def _roof_facts(layer: PlacedLayer, cost: LayerCost, roof: MachineRoof) -> str:
    ridge = roof.ridge(layer.precision)
    work = f"{cost.flops / 1e6:.4g} MFLOP on {cost.moved_bytes / 1e6:.3g} MB"
    side = f"{cost.intensity:.3g} operations per byte, ridge at {ridge:.3g}"
    if layer.bound == "memory":
        reached = f"{layer.gb_s:.3g} of {roof.bandwidth_gb_s:.3g} GB/s"
    else:
        reached = f"{layer.gflops:.3g} of {roof.peak(layer.precision):,.0f} GFLOP/s"
    named = "bound by its launch" if layer.bound == "launch" else f"{layer.bound} bound"
    return (
        f"In {layer.precision.upper() or 'an unknown precision'} it does {work} ({side}): {named}, at {reached}, "
        f"{layer.roof_share:.0%} of its roof."
    )


def _after(layer: PlacedLayer, least_ms: float) -> float:
    """Return the time if the layer keeps its share of the roof."""
    return layer.time_ms * least_ms / layer.least_ms if layer.least_ms else layer.time_ms


def _gain(layer: PlacedLayer, after_ms: float) -> str:
    saved = layer.time_ms - after_ms
    return f"{layer.time_ms:.3g} → {after_ms:.3g} ms, {saved:.3g} ms or {saved * layer.share / layer.time_ms:.1%} saved"


def _lower_precision(
    layer: PlacedLayer, costs: GraphCosts, roof: MachineRoof, engine_precision: str, refusals: Mapping[str, str]
) -> Iterator[tuple[float, str]]:
    if layer.cost is None or layer.precision not in ("fp32", "fp16", "bf16") or not compute_nodes(layer.nodes):
        return
    refusal = next((refusals[name] for name in layer.nodes if name in refusals), "")
    half = "fp16" if "fp16" in roof.peak_gflops or "bf16" not in roof.peak_gflops else "bf16"
    for target in ("int8",) if engine_precision == "int8" or layer.precision != "fp32" else ("int8", half):
        smaller = _in_precision(layer.cost, layer.precision, target)
        least = max(roof.compute_ms(smaller, target), roof.memory_ms(smaller))
        after = _after(layer, least)
        if after >= 0.97 * layer.time_ms:
            continue
        faster = roof.peak(target) / roof.peak(layer.precision)
        ratio = f"{faster:.2g} x the peak, {smaller.moved_bytes / max(layer.cost.moved_bytes, 1):.2g} x the bytes"
        if refusal:
            text = f"It is not in INT8 although the engine is: {refusal} In INT8 ({ratio}): {_gain(layer, after)}."
        else:
            text = f"In {target.upper()} ({ratio}) at the same share of the roof: {_gain(layer, after)}."
        yield layer.time_ms - after, text


def _in_precision(cost: LayerCost, now: str, target: str) -> LayerCost:
    factor = BYTES_PER_VALUE[target] / BYTES_PER_VALUE[now]
    return replace(
        cost,
        read_bytes=cost.read_bytes * factor,
        weight_bytes=cost.weight_bytes * factor,
        write_bytes=cost.write_bytes * factor,
    )


def _memory_steps(layer: PlacedLayer, cost: LayerCost, roof: MachineRoof) -> Iterator[tuple[float, str]]:
    if compute_nodes(layer.nodes):
        return
    after = _after(layer, (cost.read_bytes + cost.weight_bytes) / roof.bandwidth_gb_s / 1e6)
    yield (
        layer.time_ms - after,
        f"It computes little: fused into the layer that makes or reads its {cost.write_bytes / 1e6:.3g} MB, that write "
        f"({cost.write_bytes / max(cost.moved_bytes, 1):.0%} of its bytes) would fall away: {_gain(layer, after)}.",
    )


def _channel_step(layer: PlacedLayer, costs: GraphCosts) -> Iterator[tuple[float, str]]:
    step = _CHANNEL_STEP.get(layer.precision)
    convolutions = [name for name in layer.nodes if costs.operators.get(name) == "Conv"]
    if step is None or not convolutions:
        return
    weights = costs.shapes.get(costs.nodes[convolutions[0]].input[1], ())
    if len(weights) < 2:
        return
    outputs, inputs = weights[:2]
    padded = [math.ceil(size / step) * step for size in (inputs, outputs)]
    waste = 1 - inputs * outputs / (padded[0] * padded[1])
    if waste < 0.05:
        return
    after = max(layer.time_ms * (1 - waste), layer.least_ms)
    yield (
        layer.time_ms - after,
        f"Its {inputs} input and {outputs} output channels are not both multiples of {step}; a kernel for {step} pads "
        f"them to {padded[0]} and {padded[1]}, and {waste:.0%} of its products are with zeros. With channels that fit, "
        f"at most: {_gain(layer, after)}.",
    )


def _kernel_step(layer: PlacedLayer) -> Iterator[tuple[float, str]]:
    if layer.roof_share >= _FAR_BELOW or not layer.least_ms:
        return
    saved = layer.time_ms - layer.least_ms
    yield (
        saved,
        f"It reaches {layer.roof_share:.0%} of its roof: up to {saved:.3g} ms are the kernel's, not the arithmetic's. "
        "More work per call fills it better: measure it with `yolotrt bench --batch 1,4`.",
    )


def _smaller_input(layer: PlacedLayer) -> tuple[float, str]:
    after = layer.time_ms * _SMALLER**2
    return (
        layer.time_ms - after,
        f"With an input of {_SMALLER:.0%} of the size (512 for 640) pixels and operations shrink to {_SMALLER**2:.0%}: "
        f"{_gain(layer, after)}, paid for in small objects.",
    )


def int8_refusals(costs: GraphCosts) -> dict[str, str]:
    """Return why convolutions and matrix products of a graph are not in INT8, by node; those that are, are left out."""
    model = ModelProto()
    model.graph.CopyFrom(costs.graph)
    head = find_head(model)
    found: dict[str, str] = {}
    for name, node in costs.nodes.items():
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        makers = [costs.index.producer(source) for source in node.input[:2]]
        bare = [
            what
            for what, maker in zip(("its input", "its weights"), makers, strict=False)
            if maker is None or maker.op_type != "DequantizeLinear"
        ]
        if node.output[0] in head.final_convs:
            found[name] = "it is a last convolution of the head, which stays out by rule, for it makes logits."
        elif node.output[0] in head.decode:
            found[name] = "it belongs to the decode, which stays out by rule, for it makes pixel coordinates."
        elif bare:
            found[name] = f"no Q/DQ pair stands before {' and '.join(bare)}; INT8 needs both."
    return found


def _about_reformats(placed: Sequence[PlacedLayer]) -> Iterator[Advice]:
    places = [place for place, layer in enumerate(placed) if layer.bound == "reformat" and layer.time_ms > 0]
    total = sum(placed[place].time_ms for place in places)
    share = sum(placed[place].share for place in places)
    if share < _WORTH:
        return
    largest = max(places, key=lambda place: placed[place].time_ms)
    layer = placed[largest]
    facts = (
        f"Changes of precision or memory layout alone take {total:.3g} ms, {share:.1%} of the engine, in {len(places)} "
        f"of its layers; the longest is {layer.layer.name!r} with {layer.time_ms:.3g} ms."
    )
    before = next((other for other in reversed(placed[:largest]) if other.bound != "reformat"), None)
    after = next((other for other in placed[largest + 1 :] if other.bound != "reformat"), None)
    if before is None:
        step = (
            "It stands at the input: hand the image over in the type and layout that the first layer reads (for FP16, "
            f"`yolotrt quantize --half-io`), and {layer.time_ms:.3g} ms or {layer.share:.1%} fall away."
        )
    elif after is not None and before.precision != after.precision:
        step = (
            f"It stands between {before.name} ({before.precision.upper()}) and {after.name} "
            f"({after.precision.upper()}): with both in one precision, by moving the Q/DQ pair across or keeping both "
            f"out, {layer.time_ms:.3g} ms or {layer.share:.1%} fall away."
        )
    else:
        name = after.name if after else "the output"
        step = (
            f"It stands between {before.name} and {name}, both in {before.precision.upper()}: a change of layout, paid "
            f"where the data leave the layout that convolutions use. Without it {layer.time_ms:.3g} ms or "
            f"{layer.share:.1%} fall away, so see that it happens once and where the tensor is smallest."
        )
    yield Advice("reformat", "reformats", total, share, layer.time_ms, facts, (step,))


def _about_launches(placed: Sequence[PlacedLayer], roof: MachineRoof) -> Iterator[Advice]:
    tiny = [layer for layer in placed if layer.bound == "launch"]
    total, share = sum(layer.time_ms for layer in tiny), sum(layer.share for layer in tiny)
    if share < _WORTH:
        return
    saved = min(len(tiny) * roof.launch_ms, total)
    facts = (
        f"{len(tiny)} layers are tiny: together {total:.3g} ms, {share:.1%} of the engine, while their work would take "
        f"{sum(layer.least_ms for layer in tiny):.3g} ms; starting a layer takes {roof.launch_ms * 1000:.3g} µs."
    )
    step = (
        f"On a GPU a CUDA graph takes away most of {len(tiny)} x {roof.launch_ms * 1000:.3g} µs = {saved:.3g} ms; "
        f"a batch of 8 shares it among 8 images, {saved * 7 / 8:.3g} ms less for each."
    )
    yield Advice("launch", "tiny layers", total, share, saved, facts, (step,))
