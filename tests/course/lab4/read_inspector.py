"""Wrong and right answers to lab4.read_inspector."""

import json
import re

from tests_course_api import right, wrong

from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Precision

KINDS = {
    "Int8": "int8",
    "FP32": "fp32",
    "FP16": "fp16",
    "Half": "fp16",
    "BF16": "bf16",
    "BFloat16": "bf16",
    "Float": "fp32",
}


def layers_in(text):
    layers = json.loads(text)["Layers"]
    if any(isinstance(layer, str) for layer in layers):
        raise InputError("The inspector tells layer names only.")
    return layers


def nodes_of(layer):
    return re.findall(r"\[ONNX Layer: (.+?)\]", layer["Metadata"])


def type_of(tensor):
    text = tensor.get("Format/Datatype") or tensor["Datatype"]
    return next(kind for word, kind in KINDS.items() if word in text)


def reading(text, compute_nodes, *, nodes=nodes_of, kind=lambda layer: type_of(layer["Inputs"][0])):
    layers = layers_in(text)
    precision = dict.fromkeys(compute_nodes)
    for layer in layers:
        precision.update({node: kind(layer) for node in nodes(layer) if node in precision})
    known = [value for value in precision.values() if value]
    return {
        "fused": [nodes(layer) for layer in layers if len(nodes(layer)) > 1],
        "precision": precision,
        "int8_share": known.count("int8") / len(known),
    }


@wrong(caught_by="test_fused_nodes_are_found", says="for people")
def splits_names(text, compute_nodes):
    """Reads the fused nodes off the layer's name."""
    return reading(text, compute_nodes, nodes=lambda layer: layer["Name"].split(" + "))


@wrong(caught_by="test_every_node_has_the_precision_it_runs_in", says="because of what it multiplies")
def by_output(text, compute_nodes):
    """Takes the type a layer writes for the one it computes in."""
    return reading(text, compute_nodes, kind=lambda layer: type_of(layer["Outputs"][0]))


@wrong(caught_by="test_every_node_has_the_precision_it_runs_in", says="A name proves nothing")
def by_any_word(text, compute_nodes):
    """Looks for the word anywhere in the layer's entry."""
    return reading(
        text,
        compute_nodes,
        kind=lambda layer: "int8" if "int8" in json.dumps(layer).lower() else type_of(layer["Inputs"][0]),
    )


@wrong(caught_by="test_every_node_has_the_precision_it_runs_in", says="mention this node")
def by_mention(text, compute_nodes):
    """Takes the first layer whose name mentions the node, and what it writes or reads in low precision."""
    result = reading(text, compute_nodes)
    for node in compute_nodes:
        for layer in layers_in(text):
            if node in layer["Name"]:
                result["precision"][node] = type_of(layer["Inputs"][0])
                break
    return result


@wrong(caught_by="test_every_node_has_the_precision_it_runs_in", says="different fields")
def only_tensorrt_10(text, compute_nodes):
    """Knows the fields of TensorRT 10 only, and takes what it misses as unknown."""

    def kind(layer):
        found = layer["Inputs"][0].get("Format/Datatype", "")
        return next((kind for word, kind in KINDS.items() if word in found), "unknown")

    return reading(text, compute_nodes, kind=kind)


@wrong(caught_by="test_every_node_has_the_precision_it_runs_in", says="more than one word")
def one_wording(text, compute_nodes):
    """Knows one sentence for each type, as this machine happens to write it."""
    sentences = {f"Channel major {word} format": kind for word, kind in KINDS.items()} | KINDS

    def kind(layer):
        first = layer["Inputs"][0]
        return sentences.get(first.get("Format/Datatype") or first["Datatype"], "unknown")

    return reading(text, compute_nodes, kind=kind)


@wrong(caught_by="test_the_share_counts_nodes_that_run", says="among all layers")
def share_of_layers(text, compute_nodes):
    """Counts layers of any kind."""
    layers = layers_in(text)
    share = sum(any(type_of(tensor) == "int8" for tensor in layer["Inputs"]) for layer in layers) / len(layers)
    return {**reading(text, compute_nodes), "int8_share": share}


@wrong(caught_by="test_a_node_without_a_layer_is_not_guessed", says="claims what nobody saw")
def unknown_is_fp32(text, compute_nodes):
    """Takes FP32 for whatever is not found."""
    result = reading(text, compute_nodes)
    result["precision"] = {node: kind or "fp32" for node, kind in result["precision"].items()}
    return result


@wrong(caught_by="test_an_engine_that_tells_nothing_is_refused", says="Nothing found")
def skips_texts(text, compute_nodes):
    """Skips layers that are only names."""
    layers = [layer for layer in json.loads(text)["Layers"] if isinstance(layer, dict)]
    if not layers:
        return {"fused": [], "precision": dict.fromkeys(compute_nodes), "int8_share": 0.0}
    return reading(text, compute_nodes)


@wrong(caught_by="test_fused_nodes_are_found", says="not a fusion")
def every_layer(text, compute_nodes):
    """Lists every layer's nodes."""
    layers = layers_in(text)
    return {**reading(text, compute_nodes), "fused": [nodes_of(layer) for layer in layers if nodes_of(layer)]}


@right
def by_hand(text, compute_nodes):
    """Splits at the separator, gives tuples and the package's Precision."""
    content = json.loads(text)
    home = {}
    fused = []
    for layer in content["Layers"]:
        if not isinstance(layer, dict):
            raise InputError("Build the engine with detailed verbosity.")
        parts = [part.removeprefix("[ONNX Layer: ").removesuffix("]") for part in layer["Metadata"].split("\x1e")]
        parts = [part for part in parts if part]
        home.update(dict.fromkeys(parts, layer))
        if len(parts) >= 2:
            fused.append(tuple(parts))
    precision = {}
    for node in compute_nodes:
        fields = home[node]["Inputs"][0] if node in home else {}
        words = str(fields.get("Format/Datatype", fields.get("Datatype", ""))).lower().split()
        words = [{"float": "fp32", "half": "fp16", "bfloat16": "bf16"}.get(word, word) for word in words]
        found = [kind for kind in Precision if kind.value in words]
        precision[node] = found[0] if found else None
    ran = [kind for kind in precision.values() if kind is not None]
    return {"fused": tuple(fused), "precision": precision, "int8_share": sum(k == "int8" for k in ran) / len(ran)}


@right
def node_by_node(text, compute_nodes):
    """Searches the layers for each node, by whole names, and keeps what it finds in sets."""
    layers = layers_in(text)
    precision = {}
    for node in compute_nodes:
        doing = [layer for layer in layers if f"[ONNX Layer: {node}]" in layer["Metadata"]]
        precision[node] = type_of(doing[0]["Inputs"][0]).upper() if doing else None
    ran = [kind for kind in precision.values() if kind]
    groups = [frozenset(nodes_of(layer)) for layer in layers]
    return {
        "fused": [group for group in groups if len(group) > 1],
        "precision": precision,
        "int8_share": ran.count("INT8") / len(ran),
        "layers": len(layers),
    }
