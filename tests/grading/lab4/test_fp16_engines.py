"""lab4.fp16_engines: half precision by a builder flag, and by the types of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from yolotrt_lab.engines.platform import activate
from yolotrt_lab.grading import Exercise, Mismatch, expect, points, scratch, sibling
from yolotrt_lab.types import Precision

networks = sibling(__file__, "tiny_networks")
engines = sibling(__file__, "engine_facts")

_HALF = (Precision.FP16, Precision.BF16)
_PLAIN, _RESIZE, _CONSTANT = "small detector", "with an upsampling layer", "with a Constant node"

EXERCISE = Exercise(
    id="lab4.fp16_engines",
    title="FP16 by flag and by type",
    objective="Make an FP16 engine in both ways, and know what each of them promises.",
    answer="build_fp16",
    difficulty=4,
    minutes=25,
    cases=(_PLAIN, _RESIZE, _CONSTANT),
    hidden=(_PLAIN, _RESIZE, _CONSTANT),
    forbidden=(
        "yolotrt_lab.engines.build.build_engine",
        "yolotrt_lab.precision.fp16.convert_to_fp16",
        "yolotrt_lab.precision.casting.cast_graph_to_fp16",
    ),
    reading="https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/inference-library/precision-control.html",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """An FP32 model of fixed shape."""
    model = networks.detector(rng, upsample=case == _RESIZE, halving=case == _CONSTANT, width=int(rng.integers(8, 13)))
    return {"onnx_path": networks.save(model, scratch() / "model.onnx")}


def run(answer: Any, *, onnx_path: Path) -> object:
    """Build both engines and run them."""
    fp16_path = scratch() / "model.fp16.onnx"
    feeds = [_feeds(onnx_path)]
    found: dict[str, Any] = {"api": activate().api_major}
    for route, typed in (("flag", False), ("typed", True)):
        made = engines.attempt(
            lambda typed=typed: answer(onnx_path, typed=typed, fp16_path=fp16_path),
            catch=_breakdowns(found),
        )
        if "refused" not in made:
            made = engines.facts_of(made["value"], feeds)
        found[route] = made
        if not typed:
            found["written early"] = fp16_path.exists()
            fp16_path.unlink(missing_ok=True)
    found["onnx"] = fp16_path if fp16_path.is_file() else None
    return found


def _breakdowns(found: Mapping[str, Any]) -> tuple[type[Exception], ...]:
    """Let a route that breaks cost only its own points, as soon as the other one is written."""
    return (
        (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) if "flag" in found else ()
    )


def _feeds(onnx_path: Path) -> dict[str, Any]:
    return dict(networks.feeds_for(onnx.load(onnx_path), np.random.default_rng(11)))


def _route(answer: Any, name: str) -> Mapping[str, Any]:
    facts = answer.mapping(keys=(name,))[name]
    if isinstance(facts, Mapping) and "refused" in facts:
        kinds = facts["refused"] if isinstance(facts["refused"], list) else ["an error"]
        message = " ".join(str(facts.get("message")).split())
        if kinds[0] == "NotImplementedError":
            raise Mismatch(expected="both routes", seen="this one is not written yet")
        raise Mismatch(
            expected=f"an engine by the {'flag' if name == 'flag' else 'types of the graph'}",
            seen=f"{kinds[0]}: {message[:240]}",
            misconception=_why_refused(message),
        )
    return engines.require_engine(facts)


def _why_refused(message: str) -> str:
    if "Precision flags are not allowed" in message:
        return (
            "A strongly typed network takes its types from the graph and nothing else. Flags belong to the other kind."
        )
    if "OpenVINO cannot read" in message:
        return "The types of the graph do not fit together; the test of the graph says where."
    if "NoneType" in message:
        return "The builder returned None. Its reason is in the log."
    return ""


@points(2)
def test_the_flag_lets_layers_run_in_half_precision(answer):
    """By the flag, convolutions run in half precision."""
    if answer.mapping(keys=("api",))["api"] >= 11:
        _expect_refusal_on_11(answer)
        return
    found = engines.compute_precisions(_route(answer, "flag"))
    # A flag permits, the builder decides: on a GPU a tiny layer may be faster in FP32.
    half = [precision for precision in found if precision in _HALF]
    expect(
        half,
        expected="convolutions in FP16 (or BF16, where the processor has no FP16)",
        seen=_listed(found),
        misconception="Nothing in the configuration allows the builder to use another precision than the network's.",
    )


def _expect_refusal_on_11(answer: Any) -> None:
    facts = answer.mapping(keys=("flag",))["flag"]
    kinds = facts.get("refused", []) if isinstance(facts, Mapping) else []
    expect(
        "InputError" in kinds,
        expected="InputError: TensorRT 11 has no such flag",
        seen=kinds[0] if kinds else "an engine",
        misconception="In TensorRT 11 every network is strongly typed. Code that leaves the flag out there builds FP32 "
        "and calls it FP16.",
    )


@points(2)
def test_the_graph_is_typed_in_fp16(answer):
    """The FP16 graph is valid, computes in FP16, and keeps its inputs and outputs."""
    recorded = answer.mapping(keys=("onnx",))
    expect(
        recorded["onnx"] is not None,
        expected="the FP16 graph in the file fp16_path",
        seen="no file there",
        misconception="In the typed route the graph is the source: the engine is built from what was written.",
    )
    model, inferred = _checked(answer.item("onnx").file(suffix=".onnx"))
    _expect_same_interface(model, onnx.load(answer.inputs["onnx_path"]))
    types = {value.name: value.type.tensor_type.elem_type for value in [*inferred.graph.value_info, *model.graph.input]}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    wrong = [node.name for node in nodes if any(types.get(name) != TensorProto.FLOAT16 for name in node.input if name)]
    expect(
        nodes and not wrong,
        expected="float16 at every input of every convolution: values, weights and bias",
        seen=f"{len(wrong)} of {len(nodes)} convolutions without",
        misconception="A strongly typed network computes in the type of its operands. As long as weights or values are "
        "float32, so is the convolution.",
    )
    expect(
        not recorded.get("written early"),
        expected="no FP16 graph where the flag was asked for",
        seen="a file at fp16_path",
        misconception="The flag leaves the FP32 graph as it is; the builder lowers the precision.",
    )


def _checked(path: Path) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the graph and its inferred types; it has to be valid."""
    try:
        model = onnx.load(path)
        _sort(model.graph)
        onnx.checker.check_model(model, full_check=True)
        return model, onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except Exception as error:  # onnx raises its own kinds, and protobuf others
        text = " ".join(str(error).split())
        about_resize = "Resize" in text or "scales" in text
        raise Mismatch(
            expected="a graph in which all types fit together",
            seen=text[:260],
            misconception="Some operators demand float32 for an input that is not data: the operator's page in ONNX's "
            "documentation lists the types of each."
            if about_resize
            else "Where float16 meets float32, ONNX wants a Cast. It converts nothing by itself.",
        ) from None


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes behind those they read from: converters append their casts, and TensorRT sorts for itself."""
    waiting, ordered = list(graph.node), []
    written = {name for node in waiting for name in node.output}
    while waiting:
        ready = [node for node in waiting if not written.intersection(node.input)]
        if not ready:
            return  # a cycle, which the checker will report
        ordered += ready
        written.difference_update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not any(node is done for done in ready)]
    del graph.node[:]
    graph.node.extend(ordered)


def _expect_same_interface(model: onnx.ModelProto, original: onnx.ModelProto) -> None:
    def interface(graph: onnx.GraphProto) -> list[tuple[str, int]]:
        return [(value.name, value.type.tensor_type.elem_type) for value in [*graph.input, *graph.output]]

    expect(
        interface(model.graph) == interface(original.graph),
        expected="the same names of inputs and outputs, still float32",
        seen=", ".join(f"{name} ({TensorProto.DataType.Name(kind)})" for name, kind in interface(model.graph)),
        misconception="Whoever calls the engine should not have to know what it computes in. The casts belong inside.",
    )


@points(2)
def test_the_typed_engine_runs_in_half_precision(answer):
    """By type, every convolution runs in half precision."""
    found = engines.compute_precisions(_route(answer, "typed"))
    expect(
        found and all(precision in _HALF for precision in found),
        expected="every convolution in FP16 (or BF16, where the processor has no FP16)",
        seen=_listed(found),
        misconception="In a weakly typed network the graph's types are only a suggestion, and without a flag the "
        "builder computes in FP32. Strong typing is asked for when the network is created.",
    )
    recorded = answer.mapping(keys=("onnx",))["onnx"]
    if recorded is None:
        raise Mismatch(expected="an engine built from the FP16 graph", seen="no graph at fp16_path")
    rebuilt = engines.compute_precisions(engines.typed_engine_facts(answer.item("onnx").file(suffix=".onnx")))
    expect(
        rebuilt and all(precision in _HALF for precision in rebuilt),
        expected="a graph that gives a half precision engine when it is built again",
        seen=_listed(rebuilt),
        misconception="The engine and the graph do not belong together: something besides the graph decided.",
    )


@points(2)
def test_both_stay_within_their_tolerance(answer):
    """Both engines stay within the tolerance of what really ran."""
    path = answer.inputs["onnx_path"]
    expected = networks.reference(path, _feeds(path))
    routes = ("typed",) if answer.mapping(keys=("api",))["api"] >= 11 else ("flag", "typed")
    for name in routes:
        facts = _route(answer, name)
        outputs = facts.get("outputs") or [None]
        rung = engines.slowest_rung(engines.compute_precisions(facts))
        engines.expect_like_reference(outputs[0], expected, precision=rung, what=f"the engine by {name}")


def _listed(found: list[Precision]) -> str:
    return ", ".join(str(precision).upper() for precision in found) or "no convolution at all"
