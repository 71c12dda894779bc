"""lab3.graph_diff: tell what changed between two graphs, whatever their nodes and tensors are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling

networks = sibling(__file__, "networks")

EQUAL = ("same", "renamed and reordered", "constants stored in another way")
STRUCTURE = ("another activation", "missing sigmoid", "quantized input", "dead branch")
VALUES = ("one weight", "another attribute", "operands exchanged")

EXERCISE = Exercise(
    id="lab3.graph_diff",
    title="Structural diff of two graphs",
    objective="Find what changed between two graphs without being fooled by names, order and storage.",
    answer="graph_diff",
    tier="stretch",
    difficulty=4,
    minutes=40,
    cases=EQUAL + STRUCTURE + VALUES,
    hidden=EQUAL[1:] + STRUCTURE + VALUES,
    reading="https://onnx.ai/onnx/intro/concepts.html",
)

_KEYS = ("added", "removed", "outputs", "operators")


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """Return two models."""
    before = _network(rng)
    after = ModelProto()
    after.CopyFrom(before)
    change: Callable[[ModelProto, np.random.Generator], None] | None = _CHANGES.get(case)
    if change is not None:
        change(after, rng)
    if case not in ("same", "constants stored in another way"):
        _rename(after, rng)
    return {"before": before, "after": after}


def _network(rng: np.random.Generator) -> ModelProto:
    """Return two to four residual blocks with two heads, boxes and scores."""
    width, blocks = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    constants: dict[str, np.ndarray] = {}
    nodes: list[NodeProto] = []

    def convolution(name: str, source: str, inside: int, outside: int) -> None:
        constants[f"{name}.w"] = rng.normal(0, 0.5, (outside, inside, 3, 3)).astype(np.float32)
        constants[f"{name}.b"] = rng.normal(0, 0.5, outside).astype(np.float32)
        nodes.append(networks.node("Conv", f"{source} {name}.w {name}.b", name, pads=[1, 1, 1, 1]))

    convolution("stem", "images", 3, width)
    last = "stem"
    for number in range(blocks):
        name = f"block{number}"
        convolution(f"{name}.conv", last, width, width)
        nodes.append(networks.node("Sigmoid", f"{name}.conv", f"{name}.gate"))
        nodes.append(networks.node("Mul", f"{name}.conv {name}.gate", f"{name}.act"))
        nodes.append(networks.node("Add", f"{last} {name}.act", f"{name}.sum"))
        last = f"{name}.sum"
    convolution("head", last, width, 6)
    constants["split"] = np.array([4, 2], np.int64)
    constants["half"] = np.array(0.5, np.float32)
    nodes.append(networks.node("Split", "head split", "raw_boxes logits", axis=1))
    nodes.append(networks.node("Sub", "raw_boxes half", "boxes"))
    nodes.append(networks.node("Sigmoid", "logits", "scores"))
    outputs = {"boxes": ("batch", 4, 8, 8), "scores": ("batch", 2, 8, 8)}
    return networks.model_of(nodes, inputs={"images": ("batch", 3, 8, 8)}, outputs=outputs, constants=constants)


def _node(model: ModelProto, made: str) -> NodeProto:
    return next(node for node in model.graph.node if made in node.output)


def _any_block(model: ModelProto, rng: np.random.Generator) -> str:
    names = [node.output[0] for node in model.graph.node if node.output[0].endswith(".act")]
    return str(rng.choice(names)).removesuffix(".act")


def _other_activation(model: ModelProto, rng: np.random.Generator) -> None:
    name = _any_block(model, rng)
    gate, product = _node(model, f"{name}.gate"), _node(model, f"{name}.act")
    product.CopyFrom(networks.node("Relu", f"{name}.conv", f"{name}.act"))
    model.graph.node.remove(gate)


def _no_sigmoid(model: ModelProto, _: np.random.Generator) -> None:
    model.graph.node.remove(_node(model, "scores"))
    _node(model, "logits").output[1] = "scores"


def _quantized_input(model: ModelProto, rng: np.random.Generator) -> None:
    name = f"{_any_block(model, rng)}.conv"
    conv = _node(model, name)
    model.graph.initializer.append(numpy_helper.from_array(np.array(rng.uniform(0.01, 0.1), np.float32), "scale"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    pair = [
        networks.node("QuantizeLinear", f"{conv.input[0]} scale zero", "quantized"),
        networks.node("DequantizeLinear", "quantized scale zero", "dequantized"),
    ]
    place = list(model.graph.node).index(conv)
    conv.input[0] = "dequantized"
    for entry in reversed(pair):
        model.graph.node.insert(place, entry)


def _dead_branch(model: ModelProto, rng: np.random.Generator) -> None:
    source = f"{_any_block(model, rng)}.sum"
    model.graph.node.append(networks.node("GlobalAveragePool", source, "forgotten"))
    model.graph.node.append(networks.node("Tanh", "forgotten", "forgotten_too"))


def _one_weight(model: ModelProto, rng: np.random.Generator) -> None:
    name = f"{_any_block(model, rng)}.conv.w"
    tensor = next(entry for entry in model.graph.initializer if entry.name == name)
    value = numpy_helper.to_array(tensor).copy()
    value.flat[int(rng.integers(value.size))] += 0.125
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def _other_attribute(model: ModelProto, rng: np.random.Generator) -> None:
    conv = _node(model, f"{_any_block(model, rng)}.conv")
    conv.ClearField("attribute")
    conv.attribute.append(helper.make_attribute("pads", [2, 2, 2, 2]))
    conv.attribute.append(helper.make_attribute("dilations", [2, 2]))


def _exchanged(model: ModelProto, _: np.random.Generator) -> None:
    node = _node(model, "boxes")
    node.input[0], node.input[1] = node.input[1], node.input[0]


def _stored_differently(model: ModelProto, rng: np.random.Generator) -> None:
    """Move half of the initializers into Constant nodes, and store the others as lists of numbers."""
    kept, moved = [], []
    for number, tensor in enumerate(model.graph.initializer):
        name, value = tensor.name, numpy_helper.to_array(tensor)
        typed = helper.make_tensor(name, tensor.data_type, tensor.dims, value.ravel().tolist())
        if (number + int(rng.integers(2))) % 2:
            moved.append(networks.node("Constant", "", name, value=typed))
        else:
            kept.append(typed)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for node in moved:
        model.graph.node.insert(0, node)


_CHANGES = {
    "another activation": _other_activation,
    "missing sigmoid": _no_sigmoid,
    "quantized input": _quantized_input,
    "dead branch": _dead_branch,
    "one weight": _one_weight,
    "another attribute": _other_attribute,
    "operands exchanged": _exchanged,
    "constants stored in another way": _stored_differently,
}


def _rename(model: ModelProto, rng: np.random.Generator) -> None:
    """Give every tensor but inputs and outputs a new name, nodes too, and shuffle what may be shuffled."""
    keep = {value.name for value in (*model.graph.input, *model.graph.output)}
    old = [tensor.name for tensor in model.graph.initializer]
    old += [name for node in model.graph.node for name in node.output]
    numbers = rng.permutation(len(old)) + 100
    new = {name: name if name in keep else str(number) for name, number in zip(old, numbers, strict=True)}
    for tensor in model.graph.initializer:
        tensor.name = new[tensor.name]
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
        for names in (node.input, node.output):
            for slot, name in enumerate(names):
                names[slot] = new.get(name, name)
        attributes = [node.attribute[place] for place in rng.permutation(len(node.attribute))]
        copies = [helper.AttributeProto.FromString(entry.SerializeToString()) for entry in attributes]
        node.ClearField("attribute")
        node.attribute.extend(copies)
    _shuffle(model, rng)


def _shuffle(model: ModelProto, rng: np.random.Generator) -> None:
    """Put nodes and initializers into another order that is allowed."""
    constants = [model.graph.initializer[place] for place in rng.permutation(len(model.graph.initializer))]
    copies = [TensorProto.FromString(entry.SerializeToString()) for entry in constants]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)
    waiting, order = list(model.graph.node), []
    known = {value.name for value in model.graph.input} | {tensor.name for tensor in copies}
    while waiting:
        ready = [node for node in waiting if known.issuperset(name for name in node.input if name)]
        chosen = ready[int(rng.integers(len(ready)))]
        waiting.remove(chosen)
        order.append(NodeProto.FromString(chosen.SerializeToString()))
        known.update(chosen.output)
    del model.graph.node[:]
    model.graph.node.extend(order)


class _Numbering:
    """Gives equal expressions equal numbers, over all graphs that are read with it."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}

    def number(self, key: object) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def read(self, model: ModelProto) -> tuple[dict[str, int], list[tuple[str, int, set[int]]]]:
        """Return each tensor's number, and of each node its first output, its number, and those of nodes it reads."""
        tensors = {value.name: self.number(("input", value.name)) for value in model.graph.input}
        tensors |= {tensor.name: self._constant(tensor) for tensor in model.graph.initializer}
        tensors[""] = self.number("absent")
        nodes, made = [], set()
        for node in model.graph.node:
            if node.op_type == "Constant":
                tensors[node.output[0]] = self._constant(node.attribute[0].t)
                continue
            attributes = frozenset(entry.SerializeToString(deterministic=True) for entry in node.attribute)
            own = self.number((node.domain, node.op_type, attributes, tuple(tensors[name] for name in node.input)))
            nodes.append((node.output[0], own, {tensors[name] for name in node.input if name in made}))
            tensors |= {name: self.number((own, slot)) for slot, name in enumerate(node.output)}
            made.update(node.output)
        return tensors, nodes

    def _constant(self, tensor: TensorProto) -> int:
        value = numpy_helper.to_array(tensor)
        return self.number((str(value.dtype), value.shape, value.tobytes()))


def _reference(before: ModelProto, after: ModelProto) -> dict[str, object]:
    numbering = _Numbering()
    (old_tensors, old_nodes), (new_tensors, new_nodes) = numbering.read(before), numbering.read(after)
    pairs = zip(before.graph.output, after.graph.output, strict=True)
    counts = Counter(node.op_type for node in after.graph.node if node.op_type != "Constant")
    counts.subtract(node.op_type for node in before.graph.node if node.op_type != "Constant")
    return {
        "added": _beginnings(new_nodes, old_nodes, set(old_tensors.values())),
        "removed": _beginnings(old_nodes, new_nodes, set(new_tensors.values())),
        "outputs": sorted(new.name for old, new in pairs if old_tensors[old.name] != new_tensors[new.name]),
        "operators": {name: change for name, change in counts.items() if change},
    }


def _beginnings(nodes: list, others: list, known: set[int]) -> list[str]:
    """Return the nodes without twin that read only from nodes with one."""
    twins = {own for _, own, _ in others}
    return sorted(name for name, own, read in nodes if own not in twins and read <= known)


def _without_twin(nodes: list, others: list) -> list[str]:
    """Return all nodes without twin: what somebody gets who does not stop at the first."""
    twins = {own for _, own, _ in others}
    return sorted(name for name, own, _ in nodes if own not in twins)


def _names(answer, key: str) -> list[str]:
    names = answer.item(key).list()
    expect(
        all(isinstance(name, str) for name in names),
        expected=f"{key}: a list of tensor names",
        seen=f"{names[:3]}",
    )
    return sorted(names)


def _shown(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" … ({len(names)} in all)" if len(names) > 8 else "") if names else "none"


def _compare_nodes(answer) -> None:
    given = answer.inputs
    right = _reference(given["before"], given["after"])
    for key in ("added", "removed"):
        seen = _names(answer, key)
        if seen != right[key]:
            raise Mismatch(
                expected=f"{key}: {_shown(right[key])}",
                seen=_shown(seen),
                misconception=_idea(key, seen, right[key], given["before"], given["after"]),
            )


def _idea(key: str, seen: list[str], right: list[str], before: ModelProto, after: ModelProto) -> str:
    numbering = _Numbering()
    nodes = {"removed": numbering.read(before)[1], "added": numbering.read(after)[1]}
    mine, others = nodes[key], nodes["added" if key == "removed" else "removed"]
    if seen == _without_twin(mine, others):
        return (
            "That lists everything downstream of the change as well: of a chain of consequences, report the cause only."
        )
    if seen == sorted({entry[0] for entry in mine} - {entry[0] for entry in others}):
        return "That compares the names of tensors. Every exporter, and every version of it, gives other names."
    if not seen and right:
        return "A node is defined by its operator, its attributes, and the values it reads, constants included."
    if not right:
        return "Nothing changed but names, order or the way constants are stored: none of it changes what is computed."
    return "A node has a twin if operator, attributes and everything it reads agree; report it only if its sources do."


@points(3)
def test_equal_graphs(answers):
    """Names, order and storage are no change, while other things are."""
    for answer in answers:
        answer.mapping(keys=_KEYS)
        if answer.case.name in EQUAL:
            _compare_nodes(answer)
    expect(
        any(_names(answer, key) for answer in answers for key in ("added", "removed")),
        expected="changes, where something changed",
        seen="none anywhere",
        misconception="A diff that never finds anything is right about equal graphs, and useless.",
    )


@points(3, cases=STRUCTURE)
def test_changed_structure(answer):
    """Where nodes come or go, the cause is named and not its consequences."""
    answer.mapping(keys=_KEYS)
    _compare_nodes(answer)


@points(3, cases=VALUES)
def test_changed_values(answer):
    """Changed weights, attributes and operands are found."""
    answer.mapping(keys=_KEYS)
    _compare_nodes(answer)


@points(2, cases=STRUCTURE + VALUES)
def test_affected_outputs(answer):
    """The outputs that the change reaches are named."""
    given = answer.inputs
    right, seen = _reference(given["before"], given["after"])["outputs"], _names(answer, "outputs")
    words = "A change matters to the outputs that are computed from it, and to no others."
    if not right and seen:
        words = "Nothing that is computed from the new nodes reaches an output."
    expect(seen == right, expected=f"outputs: {_shown(right)}", seen=_shown(seen), misconception=words)


@points(1, cases=(*STRUCTURE, "constants stored in another way"))
def test_operator_counts(answer):
    """The change in the number of nodes is counted per operator."""
    given = answer.inputs
    right = _reference(given["before"], given["after"])["operators"]
    seen = answer.item("operators").mapping()
    counted = {str(name): int(change) for name, change in seen.items() if _is_count(change)}
    expect(
        counted == right and len(counted) == len(seen),
        expected=f"operators: {right}",
        seen=f"{seen}"[:160],
        misconception="Count after minus before, leave out what did not change, and leave out Constant: it is a value, "
        "not a computation.",
    )


def _is_count(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
