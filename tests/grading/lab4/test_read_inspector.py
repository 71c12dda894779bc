"""lab4.read_inspector: prove from the inspector's JSON what was fused, and what runs in which precision."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import numpy as np
import onnx

from yolotrt_lab.emulation.tensorrt.namespace import build as tensorrt_api
from yolotrt_lab.engines.messages import make_logger
from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling

networks = sibling(__file__, "tiny_networks")
engines = sibling(__file__, "engine_facts")

_F32_10, _MISLEADING = "TensorRT 10, FP32", "TensorRT 10, names that mislead"
_HALF_11, _INT8_10, _INT8_11 = "TensorRT 11, half precision", "TensorRT 10, INT8", "TensorRT 11, INT8"
_GPU_WORDS = "TensorRT 10, words of a GPU build"
_ABSENT, _NAMES_ONLY = "a node that is not there", "layer names only"
_READABLE = (_F32_10, _MISLEADING, _HALF_11, _INT8_10, _INT8_11, _GPU_WORDS, _ABSENT)
_WORDS = {"int8": "int8", "i8": "int8", "bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "half": "fp16"}
_WORDS |= {"fp32": "fp32", "float": "fp32"}
# How TensorRT on a GPU says the same: a bare word, or a sentence about the layout with the word inside.
_SAID_ON_A_GPU = {
    "fp32": ("Float", "Row major linear FP32", "Four wide channel vectorized row major FP32 format"),
    "fp16": ("Half", "Row major linear FP16 format", "Channel major FP16 format where channel % 8 == 0"),
    "bf16": ("BFloat16", "Row major linear BFloat16 format"),
    "int8": ("Int8", "Thirty-two wide channel vectorized row major Int8 format."),
}

EXERCISE = Exercise(
    id="lab4.read_inspector",
    title="Fusion and precision from the inspector",
    objective="Prove which nodes were fused and which run in INT8.",
    answer="read_inspector",
    difficulty=3,
    minutes=25,
    cases=(*_READABLE, _NAMES_ONLY),
    hidden=(_MISLEADING, _HALF_11, _INT8_10, _INT8_11, _GPU_WORDS, _ABSENT),
    forbidden=("yolotrt_lab.engines.inspect.report_from_json",),
    reading="https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/inference-library/engine-tools.html",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """The inspector's text about an engine that was really built, and the graph's compute nodes."""
    major = 11 if "11" in case else 10
    prefix = "/int8_ready.1" if case == _MISLEADING else None
    model = networks.detector(rng, width=int(rng.integers(8, 13)), prefix=prefix)
    if case == _MISLEADING:
        _repeat_the_head(model)
    nodes = networks.compute_nodes(model)
    if case in (_INT8_10, _INT8_11, _GPU_WORDS, _ABSENT):
        chosen = [name for name in nodes if rng.random() < 0.6] or nodes[-1:]
        model = networks.quantized(model, rng, nodes=chosen)
    content = model.SerializeToString(deterministic=True)
    text = _inspected(content, major, half=case == _HALF_11, detailed=case != _NAMES_ONLY)
    if case == _GPU_WORDS:
        text = _said_on_a_gpu(text, rng)
    if case == _ABSENT:
        nodes.insert(int(rng.integers(len(nodes))), f"{networks.random_prefix(rng)}/lost/conv/Conv")
    return {"text": text, "compute_nodes": nodes}


def _repeat_the_head(model: onnx.ModelProto) -> None:
    """Give the graph a second head whose name begins like the first one's, and which reads the first one's scores."""
    first = model.graph.node[-2]
    again, act = onnx.NodeProto(), onnx.NodeProto()
    again.CopyFrom(first)
    act.CopyFrom(model.graph.node[-1])
    weights = onnx.numpy_helper.from_array(np.full((5, 5, 1, 1), 0.2, np.float32), "again.weight")
    model.graph.initializer.append(weights)
    model.graph.node[-1].output[0] = "first_scores"
    again.name, act.name = f"{first.name}_1", f"{act.name}_1"
    again.input[:] = ["first_scores", "again.weight", first.input[2]]
    again.output[0] = act.input[0] = "again_values"
    model.graph.node.extend([again, act])
    onnx.checker.check_model(model)


@functools.lru_cache(maxsize=64)
def _inspected(content: bytes, major: int, *, half: bool, detailed: bool) -> str:
    """Build an engine by one version of TensorRT's API, and return what its inspector says.

    The emulation is asked directly, for both versions, wherever this runs: the formats are the exercise.
    """
    trt: Any = tensorrt_api(major)
    if half:
        content = _in_half(content)
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    config = builder.create_builder_config()
    verbosity = trt.ProfilingVerbosity
    config.profiling_verbosity = verbosity.DETAILED if detailed else verbosity.LAYER_NAMES_ONLY
    parser.parse(content)
    plan = builder.build_serialized_network(network, config)
    inspector = trt.Runtime(logger).deserialize_cuda_engine(plan).create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _in_half(content: bytes) -> bytes:
    from yolotrt_lab.precision.casting import cast_graph_to_fp16

    model = onnx.load_from_string(content)
    cast_graph_to_fp16(model, kept={}, keep_io=True)
    return model.SerializeToString(deterministic=True)


def _said_on_a_gpu(text: str, rng: np.random.Generator) -> str:
    content = json.loads(text)
    for layer in content["Layers"]:
        for tensor in [*layer["Inputs"], *layer["Outputs"]]:
            words = _SAID_ON_A_GPU.get(str(_type(tensor)), (tensor["Format/Datatype"],))
            tensor["Format/Datatype"] = words[int(rng.integers(len(words)))]
    return json.dumps(content)


def run(answer: Any, *, text: str, compute_nodes: list[str]) -> object:
    """Read one engine."""
    return engines.attempt(lambda: answer(text, compute_nodes))


def _origins(layer: dict[str, Any]) -> list[str]:
    return re.findall(r"\[ONNX Layer: ([^\]]*)\]", layer["Metadata"])


def _type(tensor: dict[str, Any]) -> str | None:
    text = str(tensor.get("Format/Datatype") or tensor.get("Datatype"))
    words = (word.lower() for word in re.split(r"\W+", text))
    return next((_WORDS[word] for word in words if word in _WORDS), None)


def _right(answer: Any) -> dict[str, Any]:
    """Return what is true of the engine."""
    layers = json.loads(answer.inputs["text"])["Layers"]
    home = {name: layer for layer in layers for name in _origins(layer)}
    precision = {
        node: _type(home[node]["Inputs"][0]) if node in home else None for node in answer.inputs["compute_nodes"]
    }
    known = [value for value in precision.values() if value is not None]
    return {
        "fused": [_origins(layer) for layer in layers if len(_origins(layer)) > 1],
        "precision": precision,
        "int8_share": known.count("int8") / len(known),
        "layers": layers,
    }


def _value(answer: Any, key: str) -> Any:
    result = answer.mapping()
    if "refused" in result:
        raise Mismatch(
            expected="a reading of the engine", seen=f"{result['refused'][0]}: {str(result.get('message'))[:200]}"
        )
    return answer.item("value").mapping(keys=(key,))[key]


@points(2, cases=_READABLE)
def test_fused_nodes_are_found(answer):
    """Every layer that does several nodes is found, with its nodes."""
    right = _right(answer)
    found = _value(answer, "fused")
    try:
        seen = {frozenset(str(name) for name in group) for group in found}
    except TypeError:
        raise Mismatch(expected="a list with a list of node names for each layer", seen=str(found)[:120]) from None
    wanted = {frozenset(group) for group in right["fused"]}
    if seen == wanted:
        return
    lost, extra = wanted - seen, seen - wanted
    quantizers = any(set(group) - part and set(group) > part for group in lost for part in extra)
    raise Mismatch(
        expected=f"{len(wanted)} fused layers, such as {' + '.join(sorted(next(iter(lost or wanted))))}",
        seen=f"{len(seen)}, of which {len(seen & wanted)} are right"
        + (f"; not there: {' + '.join(sorted(next(iter(extra))))}" if extra else ""),
        misconception=_fusion_mistake(right, seen, extra, names_short=quantizers),
    )


def _fusion_mistake(right: dict[str, Any], seen: set[Any], extra: set[Any], *, names_short: bool) -> str:
    if any(len(group) == 1 for group in extra):
        return "A layer that does one node is not a fusion."
    if any("Reformatting" in name for group in extra for name in group) or names_short:
        return (
            "A layer's name is for people: copies carry the name of the layer they feed, and Q/DQ nodes are left out. "
            "Which nodes a layer really does stands elsewhere in its entry."
        )
    if any("ONNX Layer" in name for group in seen for name in group):
        return "The names are still wrapped as the inspector writes them."
    if any("\x1e" in name for group in seen for name in group):
        return "The entry separates its nodes by a character that is not printed."
    return ""


@points(3, cases=_READABLE)
def test_every_node_has_the_precision_it_runs_in(answer):
    """Every compute node has the precision it runs in."""
    right = _right(answer)
    found = _value(answer, "precision")
    if not isinstance(found, dict):
        raise Mismatch(expected="a dict from node to precision", seen=type(found).__name__)
    for node, precision in right["precision"].items():
        if precision is None:
            continue  # another test
        seen = found.get(node, "nothing")
        text = str(seen).lower()
        expect(
            text == precision,
            expected=f"{node}: {precision}",
            seen=str(seen)[:80],
            misconception=_precision_mistake(right, node, precision, text),
        )


def _precision_mistake(right: dict[str, Any], node: str, precision: str, seen: str) -> str:
    layers = right["layers"]
    layer = next(layer for layer in layers if node in _origins(layer))
    outputs = {_type(tensor) for tensor in layer["Outputs"]}
    others = {_type(tensor) for tensor in layer["Inputs"][1:]}
    if seen == "nothing":
        return "Every node of compute_nodes belongs into the dict."
    if seen == "int8" and "int8" in node:
        return "A name proves nothing: somebody only called this node so. What counts are the types of the tensors."
    if seen in outputs | others and seen in {"fp32", "fp16", "bf16"}:
        return (
            "A convolution may write another type than it computes in, and may add a tensor of a third type on the "
            "way. An INT8 convolution is INT8 because of what it multiplies."
        )
    mentioned = [item for item in layers if node in item["Name"] and item is not layer]
    if any(seen == _type(tensor) for item in mentioned for tensor in [*item["Inputs"], *item["Outputs"]]):
        return "Other layers mention this node in their names, such as the copy in front of it. Only one layer does it."
    if precision == "bf16" and seen == "fp16":
        return "FP16 was asked for. The inspector tells what runs, and here that is something else."
    if seen not in set(_WORDS.values()):
        return (
            "The answer is one of fp32, fp16, bf16, int8. TensorRT 10 and 11 write types in different fields, and each "
            "type has more than one word: see the docstring."
        )
    return ""


@points(1, cases=_READABLE)
def test_the_share_counts_nodes_that_run(answer):
    """The INT8 share counts the compute nodes that run."""
    right = _right(answer)
    _value(answer, "int8_share")
    seen = answer.item("value").item("int8_share").number()
    layers = right["layers"]
    by_layer = sum(any(_type(t) == "int8" for t in layer["Inputs"]) for layer in layers) / len(layers)
    all_nodes = right["int8_share"] * sum(p is not None for p in right["precision"].values()) / len(right["precision"])
    text = ""
    if np.isclose(seen, 100 * right["int8_share"]) and seen > 1:
        text = "A share lies between 0 and 1."
    elif np.isclose(seen, by_layer):
        text = "That is the share among all layers. Copies, pooling and additions say nothing about the arithmetic."
    elif np.isclose(seen, all_nodes):
        text = "A node that no layer does was counted as if it ran in something else than INT8."
    expect(
        np.isclose(seen, right["int8_share"], rtol=1e-6),
        expected=f"a share of {right['int8_share']:.4f}",
        seen=f"{seen:.4f}",
        misconception=text,
    )


@points(1, cases=(_ABSENT,))
def test_a_node_without_a_layer_is_not_guessed(answer):
    """A node that no layer does has the precision None."""
    right = _right(answer)
    found = _value(answer, "precision")
    if not isinstance(found, dict):
        raise Mismatch(expected="a dict from node to precision", seen=type(found).__name__)
    for node in (node for node, precision in right["precision"].items() if precision is None):
        expect(
            node in found and found[node] is None,
            expected=f"None for {node}",
            seen=str(found[node]) if node in found else "no entry",
            misconception="What the inspector does not show is not proven. Leaving it out hides that somebody asked; a "
            "default claims what nobody saw.",
        )


@points(1, cases=(_NAMES_ONLY,))
def test_an_engine_that_tells_nothing_is_refused(answer):
    """An engine built without detailed verbosity is refused."""
    raised = answer.error()
    if raised is not None:
        raise Mismatch(
            expected="InputError: the inspector tells layer names only",
            seen=f"{raised[0]}: {raised[1][:160]}",
            misconception="Without detailed verbosity each layer is a text, not a dict. The user of this function "
            "learns nothing from an accident.",
        )
    result = answer.mapping()
    expect(
        "refused" in result and "InputError" in result["refused"],
        expected="InputError: the inspector tells layer names only",
        seen=f"{result['refused'][0]}" if "refused" in result else "a reading of what is not there",
        misconception="Nothing found is not the same as nothing fused.",
    )
