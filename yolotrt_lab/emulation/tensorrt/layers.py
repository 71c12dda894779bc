"""The layers of a compiled engine, as OpenVINO really fused and runs them, told in TensorRT's manner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from yolotrt_lab.emulation.tensorrt.plan_format import NodeRecord, PlanHead
from yolotrt_lab.emulation.tensorrt.target import target

__all__ = ["EngineLayer", "LayerTensor", "engine_layers", "kernel_choices"]

_KINDS = {
    "Convolution": "Convolution",
    "GroupConvolution": "Convolution",
    "Deconvolution": "Deconvolution",
    "MatMul": "MatrixMultiply",
    "FullyConnected": "MatrixMultiply",
    "Subgraph": "PointWise",
    "Eltwise": "PointWise",
    "FakeQuantize": "Quantize",
    "Concatenation": "Concat",
    "Reorder": "Reformat",
    "Convert": "Reformat",
    "Reshape": "NoOp",
    "Transpose": "Shuffle",
    "Interpolate": "Resize",
    "StridedSlice": "Slice",
    "Split": "Slice",
    "Softmax": "SoftMax",
    "ShapeOf": "Shape",
}
_PRECISIONS = {"f32": "FP32", "f16": "FP16", "bf16": "BF16", "i8": "Int8", "u8": "Int8", "i32": "Int32", "i64": "Int64"}
_PRECISIONS |= {"boolean": "Bool"}
_SILENT = ("Const", "Input", "Output", "Parameter", "Result", "MemoryInput", "MemoryOutput")
_LAYOUTS = {"acdb": "Channel major", "acb": "Channel major"}


@dataclass(frozen=True)
class LayerTensor:
    """An input or output of a layer: name, dimensions (-1 where dynamic), memory layout, and data type."""

    name: str
    dimensions: tuple[int, ...]
    layout: str
    dtype: str


@dataclass(frozen=True)
class EngineLayer:
    """One executed layer.

    Attributes:
        name: Names of the ONNX nodes it does, joined by " + "; Q/DQ nodes are left out if there are others.
        kind: What it does, in TensorRT's words where they fit.
        precision: The arithmetic: "FP32", "FP16", "BF16", "Int8", …
        tactic: OpenVINO's kernel.
        origins: The ONNX nodes.
        inputs: What it reads, weights left out.
        outputs: What it writes.
        openvino_name: The key of its execution time.
    """

    name: str
    kind: str
    precision: str
    tactic: str
    origins: tuple[str, ...]
    inputs: tuple[LayerTensor, ...]
    outputs: tuple[LayerTensor, ...]
    openvino_name: str


def engine_layers(compiled: Any, nodes: Sequence[NodeRecord]) -> tuple[EngineLayer, ...]:
    """Return the executed layers in execution order.

    Args:
        compiled: OpenVINO's compiled model.
        nodes: The nodes of the ONNX graph it was made from.
    """
    operations = list(compiled.get_runtime_model().get_ordered_ops())
    fixed = _constants(operations)
    executed = [
        op for op in operations if op.get_friendly_name() not in fixed and _info(op, "layerType") not in _SILENT
    ]
    executed.sort(key=lambda op: int(_info(op, "execOrder") or 0))
    order = {node.name: index for index, node in enumerate(nodes) if node.name}
    claims = _attribute(executed, nodes, order)
    outputs_of = {node.name: node.outputs for node in nodes}
    origins = {key: tuple(sorted(found, key=order.__getitem__)) for key, found in claims.items()}
    names = {op.get_friendly_name(): _output_name(op, origins, outputs_of) for op in executed}
    quantizers = {node.name for node in nodes if node.op in ("QuantizeLinear", "DequantizeLinear")}
    return _named_reformats([_layer(op, origins, names, fixed, quantizers) for op in executed])


def kernel_choices(head: PlanHead, blob: bytes) -> dict[str, str]:
    """Return the kernel of every layer of a freshly compiled plan, by layer and precision."""
    layers = target().load(head, blob).layers()
    return {f"{layer.name}|{layer.precision}": layer.tactic for layer in layers}


def _info(operation: Any, key: str) -> str:
    info = operation.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""


def _constants(operations: Sequence[Any]) -> set[str]:
    """Return the names of nodes whose value is known when the engine is loaded; their work is done once, then."""
    fixed: set[str] = set()
    for operation in operations:
        kind = _info(operation, "layerType")
        sources = [port.get_source_output().get_node().get_friendly_name() for port in operation.inputs()]
        if kind == "Const" or (sources and all(source in fixed for source in sources)):
            fixed.add(operation.get_friendly_name())
    return fixed


def _attribute(executed: Sequence[Any], nodes: Sequence[NodeRecord], order: Mapping[str, int]) -> dict[str, set[str]]:
    """Find out which ONNX nodes each executed layer does.

    OpenVINO names most of them. A node it does not name was folded into whatever reads it, if all its readers are one
    layer: the Sigmoid of a SiLU, the DequantizeLinear in front of a convolution, the quantization of its weights.
    """
    claims: dict[str, set[str]] = defaultdict(set)
    owner: dict[str, str] = {}
    producer = {tensor: node.name for node in nodes for tensor in node.outputs}
    for operation in executed:
        key = operation.get_friendly_name()
        for part in _info(operation, "originalLayersNames").split(","):
            # OpenVINO names the node of a network output after the output.
            name = part if part in order else producer.get(part, part.removesuffix("/WithoutBiases"))
            if name in order and name not in owner:
                owner[name] = key
                claims[key].add(name)
        claims[key] |= set()
    readers: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for tensor in node.inputs:
            readers[tensor].append(node.name)
    for node in reversed(nodes):
        if not node.name or node.name in owner:
            continue
        found = {owner.get(reader) for tensor in node.outputs for reader in readers[tensor]}
        if len(found) == 1 and (key := found.pop()) is not None:
            owner[node.name] = key
            claims[key].add(node.name)
    return claims


def _output_name(operation: Any, origins: Mapping[str, Sequence[str]], outputs_of: Mapping[str, Sequence[str]]) -> str:
    """Return the ONNX name of the tensor a layer writes: that of the last node it does."""
    key = str(operation.get_friendly_name())
    return outputs_of[origins[key][-1]][0] if origins[key] else key


def _layer(
    operation: Any,
    origins_of: Mapping[str, tuple[str, ...]],
    names: Mapping[str, str],
    fixed: set[str],
    quantizers: set[str],
) -> EngineLayer:
    key = operation.get_friendly_name()
    origins = origins_of[key]
    kind = _info(operation, "layerType")
    tactic = _info(operation, "primitiveType")
    precision = _PRECISIONS.get(_info(operation, "runtimePrecision"), _info(operation, "runtimePrecision"))
    if tactic.endswith("_I8"):
        precision = "Int8"
    inputs = []
    for port in operation.inputs():
        source = port.get_source_output()
        if source.get_node().get_friendly_name() not in fixed:
            inputs.append(_tensor(source, names.get(source.get_node().get_friendly_name())))
    return EngineLayer(
        name=" + ".join(name for name in origins if name not in quantizers) or " + ".join(origins) or key,
        kind=_KINDS.get(kind, kind),
        precision=precision,
        tactic=tactic,
        origins=origins,
        inputs=tuple(inputs),
        outputs=tuple(_tensor(port, names[key]) for port in operation.outputs()),
        openvino_name=key,
    )


def _tensor(port: Any, name: str | None) -> LayerTensor:
    node = port.get_node()
    index = port.get_index()
    layouts = _info(node, "outputLayouts").split(",")
    dtypes = _info(node, "outputPrecisions").split(",")
    layout = layouts[min(index, len(layouts) - 1)]
    dtype = dtypes[min(index, len(dtypes) - 1)]
    dimensions = tuple(-1 if dim.is_dynamic else dim.get_length() for dim in port.get_partial_shape())
    shown = name if name is not None else node.get_friendly_name()
    return LayerTensor(
        shown if index == 0 else f"{shown}:{index}",
        dimensions,
        _LAYOUTS.get(layout, "Row major linear"),
        _PRECISIONS.get(dtype, dtype),
    )


def _named_reformats(layers: list[EngineLayer]) -> tuple[EngineLayer, ...]:
    """Name copies and conversions that OpenVINO inserts as TensorRT names its own: after the layer they feed.

    The last ones feed none; they are named after the layer that feeds them.
    """
    feeds: dict[str, str] = {}
    for layer in reversed(layers):
        fed = layer.name if layer.origins else next((feeds[t.name] for t in layer.outputs if t.name in feeds), "")
        feeds.update(dict.fromkeys([tensor.name for tensor in layer.inputs], fed) if fed else {})
    fed_by: dict[str, str] = {}
    named = []
    for layer in layers:
        source = layer.name if layer.origins else next((fed_by[t.name] for t in layer.inputs if t.name in fed_by), "")
        fed_by.update(dict.fromkeys([tensor.name for tensor in layer.outputs], source) if source else {})
        if not layer.origins and (layer.kind == "Reformat" or layer.openvino_name.startswith("Convert_")):
            fed = next((feeds[tensor.name] for tensor in layer.outputs if tensor.name in feeds), "")
            end, other = ("Input", fed) if fed else ("Output", source)
            name = f"Reformatting CopyNode for {end} Tensor 0 to {other}" if other else layer.name
            layer = replace(layer, name=name, kind="Reformat")
        named.append(layer)
    return tuple(named)
