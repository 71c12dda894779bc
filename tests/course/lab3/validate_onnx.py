"""Wrong and right answers to lab3.validate_onnx."""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from tests_course_api import right, wrong

STANDARD = ("", "ai.onnx")
UNWANTED = {"If", "Loop", "Scan", "NonMaxSuppression"}


def inspected(
    path,
    *,
    empty_is_unreadable=True,
    full_check=True,
    first_opset=False,
    all_inputs=False,
    names_only=False,
    nodes_too=True,
    infinity_too=True,
    deep=True,
    go_on=False,
):
    """Return the findings; each switch is one misconception."""
    try:
        model = onnx.load_from_string(path.read_bytes())
    except Exception:
        return [("unreadable", "")]
    if empty_is_unreadable and not model.graph.node:
        return [("unreadable", "")]
    found = []
    try:
        onnx.checker.check_model(model, full_check=full_check)
    except Exception:
        found.append(("invalid", ""))
        if not go_on:
            return found
    entries = [model.opset_import[0]] if first_opset else [e for e in model.opset_import if e.domain in STANDARD]
    found += [("opset", str(entry.version)) for entry in entries if not 13 <= entry.version <= 20]
    stored = set() if all_inputs else {tensor.name for tensor in model.graph.initializer}
    fed = [value for value in model.graph.input if value.name not in stored]
    for value in fed:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_param and dims[0].HasField("dim_value"):
            found.append(("fixed batch", value.name))
        free = [bool(dim.dim_param) if names_only else not dim.HasField("dim_value") for dim in dims[1:]]
        found += [("free size", value.name)] if any(free) else []
    found += doubles_and_nans(model, fed, nodes_too, infinity_too)
    return found + operators(model.graph, deep)


def doubles_and_nans(model, fed, nodes_too, infinity_too):
    """Return what is wrong with types and values."""
    values = [*fed, *model.graph.output]
    found = [("dtype", value.name) for value in values if value.type.tensor_type.elem_type == TensorProto.DOUBLE]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if nodes_too:
        nodes = [node for node in model.graph.node if node.op_type == "Constant"]
        constants |= {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in nodes}
    for name, value in constants.items():
        if value.dtype == np.float64:
            found.append(("dtype", name))
        if value.dtype.kind == "f" and (np.isnan(value).any() or (infinity_too and np.isinf(value).any())):
            found.append(("not finite", name))
    return found


def operators(graph, deep):
    """Return the unwanted operators."""
    found = []
    for node in graph.node:
        if node.op_type in UNWANTED or node.domain not in STANDARD:
            found.append(("operator", node.op_type))
        for attribute in node.attribute:
            if deep and attribute.HasField("g"):
                found += operators(attribute.g, deep)
    return found


@wrong(caught_by="test_sound_files_pass", says="never complains")
def always_content(path):
    """Loads the file, and takes what loads for sound."""
    path.read_bytes()
    return []


@wrong(caught_by="test_sound_files_pass", says="nobody feeds those")
def weights_taken_for_inputs(path):
    """Believes that `graph.input` lists what is fed."""
    return inspected(path, all_inputs=True)


@wrong(caught_by="test_sound_files_pass", says="not the first entry")
def first_entry_is_the_operator_set(path):
    """Believes that a model has one operator set."""
    return inspected(path, first_opset=True)


@wrong(caught_by="test_unusable_files", says="no bytes at all")
def parsing_proves_it(path):
    """Believes that what protobuf parses is a model."""
    return inspected(path, empty_is_unreadable=False)


@wrong(caught_by="test_unusable_files", says="full_check")
def quick_check(path):
    """Believes that the checker's default looks at shapes."""
    return inspected(path, full_check=False)


@wrong(caught_by="test_unusable_files", says="means nothing")
def goes_on_regardless(path):
    """Reads on after the checker's verdict, and reports an operator set beside it."""
    found = inspected(path, go_on=True)
    return [*found, ("opset", "17")] if ("invalid", "") in found else found


@wrong(caught_by="test_axes_and_operator_set", says="holds no number")
def only_named_axes_are_free(path):
    """Believes that a free axis always has a name."""
    return [entry for entry in inspected(path, names_only=True) if entry != ("free size", "images")]


@wrong(caught_by="test_types_and_values", says="Constant node")
def initializers_only(path):
    """Believes that all constants are initializers."""
    return inspected(path, nodes_too=False)


@wrong(caught_by="test_operators", says="a graph of its own")
def top_level_only(path):
    """Believes that `graph.node` holds all nodes."""
    return inspected(path, deep=False)


@wrong(caught_by="test_operators", says="spelled as agreed")
def own_vocabulary(path):
    """Invents codes that only people understand."""
    return [(code.upper() if code == "operator" else code, subject) for code, subject in inspected(path)]


@right
def with_switches_off(path):
    """Lists instead of tuples, and some findings twice."""
    found = [list(pair) for pair in inspected(path)]
    return found + found[:1]


@right
def as_a_set_by_visitor(path):
    """Collects in a set, walking graphs with a stack; reads values through `onnx.numpy_helper`."""
    data = path.read_bytes()
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception:
        model = None
    if model is None or len(model.graph.node) == 0:
        return {("unreadable", "")}
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception:
        return {("invalid", "")}
    found, stack = set(), [model.graph]
    while stack:
        graph = stack.pop()
        for node in graph.node:
            if node.op_type in UNWANTED or node.domain.replace("ai.onnx", ""):
                found.add(("operator", node.op_type))
            stack.extend(a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if versions["ai.onnx"] not in range(13, 21):
        found.add(("opset", f"{versions['ai.onnx']}"))
    weights = [tensor.name for tensor in model.graph.initializer]
    fed = [value for value in model.graph.input if value.name not in weights]
    for value in fed:
        kinds = [dim.WhichOneof("value") for dim in value.type.tensor_type.shape.dim]
        found |= {("fixed batch", value.name)} if kinds[0] == "dim_value" else set()
        found |= {("free size", value.name)} if set(kinds[1:]) != {"dim_value"} else set()
    return found | set(doubles_and_nans(model, fed, True, True))
