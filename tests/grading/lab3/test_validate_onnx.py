"""lab3.validate_onnx: read an ONNX file that somebody hands over, and list what is wrong with it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, scratch, sibling

networks = sibling(__file__, "networks")

SOUND = ("sound", "sound, half precision", "sound, weights listed as inputs", "sound, two operator sets")
UNUSABLE = ("empty file", "truncated file", "contradicting shapes", "missing tensor")
AXES = ("fixed batch", "free height and width", "old operator set", "new operator set")
VALUES = ("double output", "double weight", "double in a Constant node", "NaN in the weights")
OPERATORS = ("NMS", "NMS in a branch", "custom operator")
MIXED = ("several at once",)

EXERCISE = Exercise(
    id="lab3.validate_onnx",
    title="Validate an ONNX file",
    objective="Find what is wrong with an ONNX file before an engine is built from it, without false alarms.",
    answer="inspect_onnx",
    difficulty=3,
    minutes=35,
    cases=SOUND + UNUSABLE + AXES + VALUES + OPERATORS + MIXED,
    hidden=MIXED * 4 + (*SOUND, "truncated file", "NMS in a branch", "double in a Constant node"),
    forbidden=(
        "yolotrt_lab.export.findings.static_findings",
        "yolotrt_lab.export.loading.load_onnx_checked",
        "yolotrt_lab.export.verify.verify_onnx",
    ),
    reading="https://onnx.ai/onnx/intro/python.html",
)

OLDEST, NEWEST = 13, 20
UNWANTED = ("If", "Loop", "Scan", "NonMaxSuppression")
_ADVICE = {
    "unreadable": "A file can also be empty or cut off; protobuf parses no bytes at all without complaint.",
    "invalid": "Only `full_check=True` runs the shape inference that finds contradictions.",
    "opset": "The version that counts is the standard domain's, not the first entry of `opset_import`.",
    "fixed batch": "The first axis of an input is fixed when its `dim` holds a number.",
    "free size": "Any axis after the first that holds no number counts, whether it has a name or nothing at all.",
    "dtype": "Inputs, outputs and constants can each be float64; a constant is an initializer or a Constant node.",
    "not finite": "Infinity in a constant does as much harm as NaN.",
    "operator": "A branch of If or the body of a Loop is a graph of its own, in an attribute of the node.",
}


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """Return the bytes of a file."""
    if case == "empty file":
        return {"content": b""}
    if case in MIXED:
        return {"content": _mixed(rng).SerializeToString()}
    model = _sound(rng, opset=14 if case == "sound, half precision" else 17)
    if case == "truncated file":
        content = model.SerializeToString()
        return {"content": content[: len(content) * int(rng.integers(4, 9)) // 10]}
    _DEFECTS.get(case, lambda *_: None)(model, rng)
    return {"content": model.SerializeToString()}


def run(answer, *, content: bytes) -> object:
    """Hand the answer a file."""
    path = scratch() / "model.onnx"
    path.write_bytes(content)
    return answer(path)


def _sound(rng: np.random.Generator, *, opset: int = 17) -> ModelProto:
    channels, size = int(rng.integers(4, 9)), int(rng.choice([8, 16]))
    nodes = [
        networks.node("Conv", "images conv", "c", pads=[1, 1, 1, 1]),
        networks.node("Sigmoid", "c", "s"),
        networks.node("Mul", "c s", "a"),
        networks.node("Reshape", "a flat", "output"),
    ]
    constants = {
        "conv": rng.normal(0, 1, (channels, 3, 3, 3)).astype(np.float32),
        "flat": np.array([0, channels, size * size], np.int64),
    }
    return networks.model_of(
        nodes,
        inputs={"images": ("batch", 3, size, size)},
        outputs={"output": ("batch", channels, size * size)},
        constants=constants,
        opset=opset,
    )


def _half_precision(model: ModelProto, _: np.random.Generator) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    weights = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float16)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "conv"))


def _weights_as_inputs(model: ModelProto, _: np.random.Generator) -> None:
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


def _two_operator_sets(model: ModelProto, _: np.random.Generator) -> None:
    model.opset_import.insert(0, helper.make_opsetid("ai.onnx.ml", 3))


def _contradicting_shapes(model: ModelProto, rng: np.random.Generator) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value += int(rng.integers(1, 9))


def _missing_tensor(model: ModelProto, _: np.random.Generator) -> None:
    model.graph.node[1].input[0] = "nowhere"


def _fixed_batch(model: ModelProto, rng: np.random.Generator) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = int(rng.integers(1, 9))
    model.graph.output[0].type.tensor_type.shape.dim[0].Clear()


def _free_size(model: ModelProto, rng: np.random.Generator) -> None:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[2].dim_param = "height"
    dims[3].Clear()  # neither a number nor a name
    if rng.random() < 0.3:
        dims[3].dim_param = "width"


def _opset(version: int):
    def change(model: ModelProto, _: np.random.Generator) -> None:
        model.opset_import[-1].version = version

    return change


def _double_output(model: ModelProto, _: np.random.Generator) -> None:
    model.graph.node[-1].output[0] = "flattened"
    model.graph.node.append(networks.node("Cast", "flattened", "output", to=TensorProto.DOUBLE))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _double_weight(model: ModelProto, rng: np.random.Generator) -> None:
    model.graph.initializer.append(numpy_helper.from_array(rng.normal(0, 1, 3), "precise"))
    model.graph.node.append(networks.node("Cast", "precise", "cast", to=TensorProto.FLOAT))


def _double_constant_node(model: ModelProto, rng: np.random.Generator) -> None:
    value = numpy_helper.from_array(rng.normal(0, 1, 2), "")
    model.graph.node.insert(0, networks.node("Constant", "", "grid", value=value))


def _nan_weight(model: ModelProto, rng: np.random.Generator) -> None:
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights.flat[int(rng.integers(weights.size))] = rng.choice([np.nan, np.inf, -np.inf])
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "conv"))


_NMS_INPUTS = {"nms_boxes": (1, 6, 4), "nms_scores": (1, 2, 6)}


def _nms(model: ModelProto, rng: np.random.Generator) -> None:
    _add_nms_constants(model, rng)
    model.graph.node.append(networks.node("NonMaxSuppression", "nms_boxes nms_scores", "kept"))


def _add_nms_constants(model: ModelProto, rng: np.random.Generator) -> None:
    for name, shape in _NMS_INPUTS.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.random(shape, np.float32), name))


def _nms_in_branch(model: ModelProto, rng: np.random.Generator) -> None:
    _add_nms_constants(model, rng)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "switch"))

    def branch(name: str, made_by: onnx.NodeProto) -> GraphProto:
        return helper.make_graph([made_by], name, [], [helper.make_tensor_value_info(name, TensorProto.INT64, None)])

    keep_all = numpy_helper.from_array(np.zeros((1, 3), np.int64), "")
    chosen = networks.node(
        "If",
        "switch",
        "kept",
        then_branch=branch("suppressed", networks.node("NonMaxSuppression", "nms_boxes nms_scores", "suppressed")),
        else_branch=branch("all", networks.node("Constant", "", "all", value=keep_all)),
    )
    model.graph.node.append(chosen)


def _custom_operator(model: ModelProto, _: np.random.Generator) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node.append(networks.node("FancyActivation", "a", "fancy", domain="com.example"))


_DEFECTS = {
    "sound, half precision": _half_precision,
    "sound, weights listed as inputs": _weights_as_inputs,
    "sound, two operator sets": _two_operator_sets,
    "contradicting shapes": _contradicting_shapes,
    "missing tensor": _missing_tensor,
    "fixed batch": _fixed_batch,
    "free height and width": _free_size,
    "old operator set": _opset(11),
    "new operator set": _opset(22),
    "double output": _double_output,
    "double weight": _double_weight,
    "double in a Constant node": _double_constant_node,
    "NaN in the weights": _nan_weight,
    "NMS": _nms,
    "NMS in a branch": _nms_in_branch,
    "custom operator": _custom_operator,
}


def _mixed(rng: np.random.Generator) -> ModelProto:
    """Return a model with three to five defects of different kinds, and harmless oddities."""
    model = _sound(rng)
    chosen = [_fixed_batch if rng.random() < 0.5 else _free_size, _nan_weight]
    chosen += [_opset(int(rng.choice([11, 12, 21]))), _double_constant_node, _nms_in_branch]
    keep = sorted(rng.choice(len(chosen), int(rng.integers(3, 6)), replace=False).tolist())
    for number in keep:
        chosen[number](model, rng)
    if rng.random() < 0.7:
        _weights_as_inputs(model, rng)
    if rng.random() < 0.7:
        _two_operator_sets(model, rng)
    return model


def _reference(content: bytes) -> set[tuple[str, str]]:
    """Return the right findings."""
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:  # protobuf's DecodeError
        return {("unreadable", "")}
    if not model.graph.node:
        return {("unreadable", "")}
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:
        return {("invalid", "")}
    found = _interface_findings(model) | _constant_findings(model) | _operator_findings(model.graph)
    standard = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return found | {("opset", str(version)) for version in standard if not OLDEST <= version <= NEWEST}


def _interface_findings(model: ModelProto) -> set[tuple[str, str]]:
    found = set()
    stored = {tensor.name for tensor in model.graph.initializer}
    fed = [value for value in model.graph.input if value.name not in stored]
    for value in fed:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].HasField("dim_value"):
            found.add(("fixed batch", value.name))
        if not all(dim.HasField("dim_value") for dim in dims[1:]):
            found.add(("free size", value.name))
    doubles = [value.name for value in (*fed, *model.graph.output) if value.type.tensor_type.elem_type == 11]
    return found | {("dtype", name) for name in doubles}


def _constant_findings(model: ModelProto) -> set[tuple[str, str]]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = node.attribute[0].t
    found = {("dtype", name) for name, tensor in constants.items() if tensor.data_type == TensorProto.DOUBLE}
    for name, tensor in constants.items():
        value = numpy_helper.to_array(tensor)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            found.add(("not finite", name))
    return found


def _operator_findings(graph: GraphProto) -> set[tuple[str, str]]:
    found = set()
    for node in graph.node:
        if node.op_type in UNWANTED or node.domain not in ("", "ai.onnx"):
            found.add(("operator", node.op_type))
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found |= _operator_findings(attribute.g)
    return found


def _findings(answer) -> set[tuple[str, str]]:
    """Return the student's findings, or say in what form they should come."""
    found = set()
    for entry in answer.list():
        pair = tuple(entry) if isinstance(entry, (list, tuple)) else (entry,)
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise Mismatch(expected="pairs of two texts, (code, subject)", seen=repr(entry)[:80])
        found.add(pair)
    return found


def _shown(findings: set[tuple[str, str]]) -> str:
    return ", ".join(f"({code}, {subject})" for code, subject in sorted(findings)) or "no findings"


def _compare(answer) -> None:
    seen, right = _findings(answer), _reference(answer.inputs["content"])
    unknown = {code for code, _ in seen} - set(_ADVICE)
    expect(
        not unknown,
        expected=f"only the codes {', '.join(_ADVICE)}",
        seen=f"also {', '.join(sorted(unknown))}",
        misconception="Programs read these codes: they have to be spelled as agreed.",
    )
    if seen == right:
        return
    raise Mismatch(expected=_shown(right), seen=_shown(seen), misconception=_advice(seen, right))


def _advice(seen: set[tuple[str, str]], right: set[tuple[str, str]]) -> str:
    missed, extra = sorted(right - seen), sorted(seen - right)
    if {code for code, _ in right} & {"unreadable", "invalid"} and not missed:
        return "Once a file is unusable, whatever else is read from it means nothing."
    if missed:
        code, subject = missed[0]
        if any(other == code for other, _ in extra):
            return f"The finding {code!r} names the wrong subject: the table in the answer cell says which it is."
        return (
            _ADVICE[code] if subject not in ("If", "Loop", "Scan") else "Control flow is unwanted wherever it stands."
        )
    return _false_alarm(*extra[0])


def _false_alarm(code: str, subject: str) -> str:
    if code in ("fixed batch", "free size", "dtype") and subject in ("conv", "flat"):
        return "A false alarm: old exporters list the weights among `graph.input` too. Nobody feeds those."
    if code == "opset":
        return "A false alarm: " + _ADVICE["opset"]
    return f"A false alarm: {_ADVICE[code]}"


@points(3)
def test_sound_files_pass(answers):
    """Sound files pass, broken ones do not."""
    silent = [one.case.name for one in answers if one.case.name not in SOUND and not _findings(one)]
    broken = [one for one in answers if one.case.name not in SOUND]
    for one in answers:
        if one.case.name in SOUND:
            _compare(one)
    expect(
        len(silent) < len(broken),
        expected="findings in broken files",
        seen="none in any file",
        misconception="A validator that never complains is as useless as one that always does.",
    )


@points(3, cases=UNUSABLE)
def test_unusable_files(answer):
    """Files that do not parse, or contradict themselves, are told apart."""
    _compare(answer)


@points(2, cases=AXES)
def test_axes_and_operator_set(answer):
    """Axes and operator set are judged."""
    _compare(answer)


@points(2, cases=VALUES)
def test_types_and_values(answer):
    """Double precision and values that are no numbers are found, in all places."""
    _compare(answer)


@points(2, cases=OPERATORS)
def test_operators(answer):
    """Unwanted operators are found, in branches too."""
    _compare(answer)


@points(2, cases=MIXED)
def test_several_at_once(answer):
    """Several defects in one file are all reported."""
    _compare(answer)
