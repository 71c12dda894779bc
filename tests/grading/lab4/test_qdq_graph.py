"""lab4.qdq_graph: write quantization into the graph, where TensorRT wants it."""

import functools
from collections import Counter

import numpy as np
from onnx import ModelProto

from yolotrt_lab.engines.build import build_engine
from yolotrt_lab.engines.options import EngineOptions
from yolotrt_lab.errors import LabError
from yolotrt_lab.evaluation.tolerance import compare_yolo_outputs, judge
from yolotrt_lab.export.graph import GraphIndex
from yolotrt_lab.export.loading import load_onnx_checked
from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_close, points, scratch, sibling
from yolotrt_lab.precision.placement import plan_placement
from yolotrt_lab.precision.rules import qdq_violations
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.types import Precision

graphs = sibling(__file__, "quantization_graphs")

EXERCISE = Exercise(
    id="lab4.qdq_graph",
    title="A Q/DQ graph that TensorRT accepts",
    objective="Write INT8 into an ONNX graph by TensorRT's placement rules, and prove that the engine runs it.",
    answer="insert_qdq",
    difficulty=4,
    minutes=30,
    cases=("a chain", "a residual block", "pooling and concat"),
    hidden=("a residual block", "pooling and concat"),
    forbidden=(
        "yolotrt_lab.precision.qdq.quantize_onnx",
        "yolotrt_lab.precision.qdq._insert_pairs",
        "yolotrt_lab.precision.qdq._add_pair",
        "yolotrt_lab.precision.placement.plan_placement",
        "yolotrt_lab.precision.qdq.plan_placement",
        "onnxruntime.quantization.quantize_static",
    ),
    seconds=20.0,
    reading="https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html",
)

# The rules of `precision.rules` by the test that is there for them.
PARAMETER_RULES = ("constant scale", "positive scale", "scale type", "INT8", "symmetric", "pairs")
IDEAS = {
    "symmetric": "TensorRT's INT8 has its zero at integer 0; an offset is for the unsigned types of other runtimes.",
    "INT8": "The type of the zero point decides what a QuantizeLinear makes; without one it makes uint8.",
    "pairs": "Quantize and dequantize belong together: same scale, same zero point, one behind the other.",
    "positive scale": "A tensor without range has no step to divide by.",
    "activations per tensor": "The next convolution sums up the channels of an activation, so they share a scale.",
    "weights per channel": "Every output channel has sums of its own, so it may have a step of its own: axis 0.",
    "both or none": "A convolution runs in INT8 only if its input and its weights are both quantized.",
    "bias": "The bias is added to the INT32 sums and costs nothing in high precision.",
    "head": "The last convolutions make logits and distances: a step there is a step in scores and pixels.",
    "inputs only": "Behind the convolution comes a SiLU, which is computed in the same kernel, in high precision.",
}


def inputs(case, rng):
    """An FP32 detector, and how far each of its tensors reaches."""
    model, amax = _made(case, int(rng.integers(1 << 62)))
    return {"model": model, "amax": dict(amax)}


@functools.cache  # every test asks for the inputs anew; `run` hands out copies
def _made(case, seed):
    rng = np.random.default_rng(seed)
    model = graphs.detector(rng, residuals=0 if case == "a chain" else 2, pooling=case == "pooling and concat")
    return model, graphs.observed_amax(model, graphs.smooth_images(rng, 8))


def run(answer, model, amax):
    """Save what the answer made of a copy, and say whether it changed the one it was given."""
    given = ModelProto()
    given.CopyFrom(model)
    made = answer(given, dict(amax))
    changed = given.SerializeToString(deterministic=True) != model.SerializeToString(deterministic=True)
    if not isinstance(made, ModelProto):
        return {"model": made, "changed": changed}
    path = scratch() / "int8.onnx"
    path.write_bytes(made.SerializeToString())
    return {"model": path, "changed": changed}


def loaded(answer):
    """Return the student's graph, or raise `Mismatch`."""
    made = answer.item("model").output
    if made is None:
        raise Mismatch(expected="a ModelProto", seen="None", misconception="Is there a `return`?")
    path = answer.item("model").file(suffix=".onnx")
    try:
        return load_onnx_checked(path)
    except LabError as error:
        idea = ""
        if "topological" in str(error) or "must be" in str(error) or "not output of any previous" in str(error):
            idea = (
                "ONNX wants its nodes in the order in which they can run: a pair stands before the node that reads it."
            )
        raise Mismatch(expected="a valid ONNX graph", seen=error.one_line, misconception=idea) from None


def pair_behind(index, name):
    """Return (quantize, dequantize, what is quantized) if a tensor comes out of a pair, else None."""
    dequantize = index.producer(name)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    quantize = index.producer(dequantize.input[0])
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return None  # integers stored as they are, which this exercise does not ask for
    return quantize, dequantize, quantize.input[0]


def quantized_reads(model):
    """Return {(node's first output, slot): what is quantized there}."""
    index = GraphIndex(model.graph)
    reads = {}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for slot, name in enumerate(node.input):
            pair = pair_behind(index, name)
            if pair is not None:
                reads[node.output[0], slot] = pair[2]
    return reads


def require_rules(model, rules):
    """Raise for the first violation of one of the rules."""
    for violation in qdq_violations(model):
        if violation.rule in rules:
            raise Mismatch(
                expected=f"TensorRT's rule “{violation.rule}” kept",
                seen=f"{violation.node}: {violation.message}",
                misconception=IDEAS.get(violation.rule, ""),
            )


def require_pairs(model):
    """Raise unless there is anything quantized to judge."""
    count = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    expect(count, expected="QuantizeLinear and DequantizeLinear nodes", seen="none: the graph is still FP32")


def operators(model):
    """Count the operators, without quantization and the constants it may need."""
    added = ("QuantizeLinear", "DequantizeLinear", "Constant")
    return Counter(node.op_type for node in model.graph.node if node.op_type not in added)


def named(model):
    """Return {first output: name} of the nodes."""
    return {node.output[0]: node.name for node in model.graph.node if node.output}


@points(1)
def test_graph_is_valid(answer):
    """A valid graph with the same inputs, outputs and operators, and the given one as it was."""
    made, given = loaded(answer), answer.inputs["model"]
    require_pairs(made)
    expect(
        answer.item("changed").output is False,
        expected="the model that was passed as it was",
        seen="it was changed",
        misconception="Work on a copy: who calls this still needs the FP32 model, if only to compare.",
    )
    io = [[value.name for value in part] for part in (made.graph.input, made.graph.output)]
    expected = [[value.name for value in part] for part in (given.graph.input, given.graph.output)]
    expect(io == expected, expected=f"inputs and outputs {expected}", seen=str(io))
    now, then = operators(made), operators(given)
    expect(now == then, expected="no other operators than before", seen=str(dict((now - then) + (then - now))))


@points(1)
def test_pairs_are_symmetric_int8(answer):
    """INT8, symmetric, in pairs, with constant scales."""
    model = loaded(answer)
    require_pairs(model)
    require_rules(model, PARAMETER_RULES)


@points(2)
def test_weights_are_quantized_per_channel(answer):
    """Weights get one step per output channel; biases none."""
    model, given = loaded(answer), answer.inputs["model"]
    require_pairs(model)
    require_rules(model, ("weights per channel", "bias"))
    index, original = GraphIndex(model.graph), GraphIndex(given.graph)
    names = named(given)
    for output in plan_placement(given).convs:
        node, before = index.producer(output), original.producer(output)
        pair = None if node is None or node.op_type != "Conv" else pair_behind(index, node.input[1])
        if pair is None:
            raise Mismatch(
                expected=f"a pair between the weights and {names[output]}",
                seen="none",
                misconception="A convolution runs in INT8 only if its input and its weights are both quantized.",
            )
        weights = original.constant(before.input[1])
        found = index.constant(pair[2])
        expect(
            found is not None and found.shape == weights.shape and np.allclose(found, weights),
            expected=f"the weights of {names[output]} as they were, in front of their pair",
            seen="other values",
            misconception="The pair rounds the weights; what goes into it is the FP32 tensor.",
        )
        steps = index.constant(pair[0].input[1])
        expected = np.abs(weights).reshape(len(weights), -1).max(axis=1) / 127
        idea = "That is the step of one channel for all." if np.unique(steps).size == 1 else ""
        if np.allclose(np.sort(steps.ravel()), np.sort(np.abs(weights).max(axis=(1, 2, 3)) / 128)):
            idea = "128 magnitudes fit only on the negative side."
        expect_close(steps.ravel(), expected, rtol=1e-4, what=f"max |w| / 127 of {names[output]}", misconception=idea)


@points(2)
def test_pairs_are_where_tensorrt_wants_them(answer):
    """Pairs at the inputs of convolutions and residual additions, nowhere else."""
    model, given = loaded(answer), answer.inputs["model"]
    require_pairs(model)
    require_rules(model, ("head", "both or none", "activations per tensor"))
    plan, reads, names = plan_placement(given), quantized_reads(model), named(given)
    index = GraphIndex(given.graph)
    wanted = {(output, slot): tensor for tensor, places in plan.reads.items() for output, slot in places}
    for (output, slot), tensor in reads.items():
        node = index.producer(output)
        if (output, slot) in wanted or (node is not None and node.op_type == "Conv" and slot == 1):
            continue
        maker = index.producer(tensor)
        behind = maker is not None and maker.op_type == "Conv"
        raise Mismatch(
            expected="pairs at the inputs of convolutions and residual additions only",
            seen=f"{names.get(output, output)} reads a quantized {tensor}",
            misconception=IDEAS["inputs only"] if behind else "TensorRT moves pairs through pooling and concatenation "
            "by itself; one more rounding there costs accuracy and gains nothing.",
        )  # fmt: skip
    missing = [place for place in wanted if place not in reads]
    if missing:
        output, slot = missing[0]
        kind = index.producer(output).op_type
        both = (output, 1 - slot) in reads
        ideas = {
            "Add": "A residual addition in FP32 makes TensorRT write both tensors back at four times the size; "
            + ("it adds in INT8 only if both inputs are." if both else "its inputs are quantized too."),
            "Conv": "All convolutions run in INT8 but the last ones of the head.",
        }
        raise Mismatch(
            expected=f"a pair at input {slot} of {names[output]}", seen="none", misconception=ideas.get(kind, "")
        )
    wrong = [(place, reads[place]) for place in wanted if reads[place] != wanted[place]]
    if wrong:
        (output, _), tensor = wrong[0]
        raise Mismatch(expected=f"{names[output]} reads what it read before", seen=f"{tensor}, quantized")


@points(1)
def test_activation_scales(answer):
    """Activations get the step of their own calibrated range."""
    model, amax = loaded(answer), answer.inputs["amax"]
    require_pairs(model)
    index = GraphIndex(model.graph)
    checked = 0
    for node in model.graph.node:
        tensor = node.input[0] if node.input else ""
        if node.op_type != "QuantizeLinear" or index.is_constant(tensor) or tensor not in amax:
            continue
        scale, step = index.constant(node.input[1]), amax[tensor] / 127
        expect(
            scale is not None and scale.size == 1 and np.isfinite(scale).all(),
            expected=f"one constant step for {tensor}",
            seen="none" if scale is None else f"{scale.size} of them",
        )
        seen, idea = float(scale.reshape(())), ""
        if np.isclose(seen, amax[tensor], rtol=1e-3):
            idea = "That is amax itself, the whole range in one step: the scale is what one integer stands for."
        elif any(np.isclose(seen, amax[tensor] / levels, rtol=1e-3) for levels in (128, 255, 256)):
            idea = "amax maps to 127, the largest INT8."
        elif any(np.isclose(seen, value / 127, rtol=1e-4) for value in amax.values()):
            idea = "That is the step of another tensor."
        expect_close(seen, step, rtol=1e-3, atol=0, what=f"the step of {tensor}", misconception=idea)
        checked += 1
    idea = "INT8 weights alone save no arithmetic: the input has to be INT8 too."
    expect(checked, expected="quantized activations", seen="none", misconception=idea)


@points(2)
def test_engine_runs_int8_and_follows_fp32(answer):
    """TensorRT builds it, runs it in INT8, and it follows FP32."""
    loaded(answer)
    path, engine = answer.item("model").file(suffix=".onnx"), scratch() / "int8.engine"
    try:
        build = build_engine(path, engine, options=EngineOptions(precision=Precision.INT8))
    except LabError as error:
        raise Mismatch(
            expected="an INT8 engine",
            seen=error.one_line,
            misconception="TensorRT refuses what the rules forbid; the tests above name the rule.",
        ) from None
    images = graphs.smooth_images(np.random.default_rng(len(answer.inputs["amax"])), 3)
    with open_runtime(engine) as runtime:
        outputs = [next(iter(runtime.infer({"images": image[None]}).values())) for image in images]
    reference = graphs.infer(answer.inputs["model"], images)
    agreement = compare_yolo_outputs(np.concatenate(outputs), reference, num_classes=reference.shape[1] - 4)
    verdict = judge(
        executed=build.report.executed_precision, claimed=Precision.INT8, tensors=agreement.as_tensors("output")
    )
    share = build.report.precision_share.get(Precision.INT8, 0.0)
    idea = f"Only {share:.0%} of the convolutions run in INT8." if share < 0.5 else ""
    expect(
        verdict.passed,
        expected="INT8 by the inspector, and the INT8 row of the tolerance ladder",
        seen="; ".join(verdict.reasons)[:300],
        misconception=idea,
    )
