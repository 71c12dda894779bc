"""Wrong and right answers to lab3.graph_diff."""

import json
from collections import Counter

import numpy as np
from onnx import numpy_helper
from tests_course_api import right, wrong


def value_key(tensor):
    """Return what makes two constants equal."""
    value = numpy_helper.to_array(tensor)
    return f"{value.dtype} {value.shape} {value.tobytes().hex()}"


def marks_of(model, *, constant=value_key, attributes=True, order=True, nodes=()):
    """Return a text for each tensor that tells how it is computed, and the nodes; switches are misconceptions."""
    marks = {"": "", **{value.name: f"<{value.name}>" for value in model.graph.input}}
    short = {}
    marks |= {tensor.name: constant(tensor) for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "Constant" and "Constant" not in nodes:
            marks[node.output[0]] = constant(node.attribute[0].t)
            continue
        kept.append(node)
        sources = [marks[name] for name in node.input]
        written = sorted(str(a) for a in node.attribute) if attributes else []
        text = json.dumps([node.domain, node.op_type, written, sources if order else sorted(sources)])
        number = short.setdefault(text, text if len(text) < 200 else str(hash(text)))
        marks |= {name: f"{number}#{slot}" for slot, name in enumerate(node.output)}
    return marks, kept


def difference(before, after, *, cascade=False, outputs=None, counts=None, **switches):
    """Return the diff; switches are misconceptions."""
    old, new = marks_of(before, **switches), marks_of(after, **switches)

    def beginnings(mine, others):
        (marks, nodes), known = mine, set(others[0].values())
        made = {name for node in nodes for name in node.output}
        return [
            node.output[0]
            for node in nodes
            if marks[node.output[0]] not in known
            and (cascade or all(marks[name] in known for name in node.input if name in made))
        ]

    pairs = list(zip(before.graph.output, after.graph.output, strict=True))
    changed = Counter(node.op_type for node in new[1])
    changed.subtract(Counter(node.op_type for node in old[1]))
    affected = [b.name for a, b in pairs if old[0][a.name] != new[0][b.name]]
    return {
        "added": sorted(beginnings(new, old)),
        "removed": sorted(beginnings(old, new)),
        "outputs": sorted(affected if outputs is None else outputs(after, beginnings(new, old), affected)),
        "operators": counts(changed) if counts else {name: count for name, count in changed.items() if count},
    }


@wrong(caught_by="test_equal_graphs", says="names of tensors")
def by_names(before, after):
    """Compares the names of the tensors: believes that names identify."""
    old, new = ({n.output[0] for n in m.graph.node if n.op_type != "Constant"} for m in (before, after))
    found = difference(before, after)
    return {**found, "added": sorted(new - old), "removed": sorted(old - new)}


@wrong(caught_by="test_changed_structure", says="downstream")
def all_consequences(before, after):
    """Reports every node whose value differs."""
    return difference(before, after, cascade=True)


@wrong(caught_by="test_changed_values", says="constants included")
def operators_only(before, after):
    """Looks at the wiring and never at the weights."""
    return difference(before, after, constant=lambda tensor: f"{list(tensor.dims)}")


@wrong(caught_by="test_equal_graphs", says="the way constants are stored")
def constants_by_their_bytes(before, after):
    """Compares what the file holds of a constant instead of its value."""
    return difference(before, after, constant=lambda tensor: tensor.raw_data.hex() or str(list(tensor.float_data)))


@wrong(caught_by="test_changed_values", says="attributes")
def attributes_ignored(before, after):
    """Believes that operator and inputs make the node."""
    return difference(before, after, attributes=False)


@wrong(caught_by="test_changed_values", says="a node is defined by")
def operands_sorted(before, after):
    """Sorts the inputs: takes every operator for commutative."""
    return difference(before, after, order=False)


@wrong(caught_by="test_affected_outputs", says="to no others")
def any_change_affects_all(before, after):
    """Names all outputs as soon as anything changed."""
    return difference(
        before,
        after,
        outputs=lambda model, added, affected: [v.name for v in model.graph.output] if added or affected else [],
    )


@wrong(caught_by="test_operator_counts", says="leave out")
def all_counts(before, after):
    """Lists every operator, unchanged ones with 0."""
    return difference(before, after, counts=dict)


@wrong(caught_by="test_operator_counts", says="it is a value")
def constants_are_nodes(before, after):
    """Counts Constant nodes among the operators."""
    found = difference(before, after)
    old, new = (sum(n.op_type == "Constant" for n in m.graph.node) for m in (before, after))
    if new != old:
        found["operators"]["Constant"] = new - old
    return found


@right
def with_texts(before, after):
    """Texts instead of hashes; tuples and a Counter instead of lists and a dict."""
    found = difference(before, after)
    return {**found, "added": tuple(found["added"]), "operators": Counter(found["operators"])}


@right
def by_matching_pairs(before, after):
    """No fingerprints: matches nodes of both graphs pairwise until nothing more matches."""
    models, twins = (before, after), {}
    constants = [
        {t.name: t for t in m.graph.initializer}
        | {n.output[0]: n.attribute[0].t for n in m.graph.node if n.op_type == "Constant"}
        for m in models
    ]
    twins |= {(v.name, v.name): True for v in before.graph.input}

    def same(a, b):
        if a in constants[0] and b in constants[1]:
            x, y = numpy_helper.to_array(constants[0][a]), numpy_helper.to_array(constants[1][b])
            return x.dtype == y.dtype and np.array_equal(x, y)
        return a == b == "" or (a, b) in twins

    nodes = [[n for n in m.graph.node if n.op_type != "Constant"] for m in models]
    growing = True
    while growing:
        size = len(twins)
        for a in nodes[0]:
            for b in nodes[1]:
                alike = (a.op_type, a.domain, len(a.input)) == (b.op_type, b.domain, len(b.input))
                alike = alike and {str(x) for x in a.attribute} == {str(x) for x in b.attribute}
                if alike and all(same(x, y) for x, y in zip(a.input, b.input, strict=True)):
                    twins |= {pair: True for pair in zip(a.output, b.output, strict=True)}
        growing = len(twins) > size
    result = {}
    for key, side in (("removed", 0), ("added", 1)):
        matched = {pair[side] for pair in twins}
        own = {name for node in nodes[side] for name in node.output}
        result[key] = {
            node.output[0]
            for node in nodes[side]
            if node.output[0] not in matched and all(name in matched for name in node.input if name in own)
        }
    pairs = zip(before.graph.output, after.graph.output, strict=True)
    result["outputs"] = [new.name for old, new in pairs if (old.name, new.name) not in twins]
    counts = [Counter(node.op_type for node in side) for side in nodes]
    names = set(counts[0]) | set(counts[1])
    result["operators"] = {n: counts[1][n] - counts[0][n] for n in names if counts[0][n] != counts[1][n]}
    return result
