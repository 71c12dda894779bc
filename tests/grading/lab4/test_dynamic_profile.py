"""lab4.dynamic_profile: an engine for a range of batch sizes, and the ways TensorRT says no to one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, scratch, sibling
from yolotrt_lab.types import Precision

networks = sibling(__file__, "tiny_networks")
engines = sibling(__file__, "engine_facts")

_ONE, _TWO, _PART = "one input", "two inputs", "one of two inputs is dynamic"
_ORDER, _BAKED = "batches out of order", "batch baked in"
_GOOD = (_ONE, _TWO, _PART)

EXERCISE = Exercise(
    id="lab4.dynamic_profile",
    title="An engine for a range of batches",
    objective="Define an optimization profile, and tell its failure modes apart.",
    answer="BatchEngine",
    difficulty=3,
    minutes=20,
    cases=(*_GOOD, _ORDER, _BAKED),
    hidden=(_ONE, _TWO, _ORDER),
    forbidden=("yolotrt_lab.engines.build.build_engine",),
    reading="https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/infer/Core/OptimizationProfile.html",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """A model and three batch sizes."""
    least = int(rng.integers(2, 4))
    preferred = least + int(rng.integers(1, 3))
    most = preferred + int(rng.integers(2, 5))
    model = networks.detector(
        rng, batch=1 if case == _BAKED else "N", second_input=case in (_TWO, _PART), width=int(rng.integers(6, 11))
    )
    if case == _PART:
        model.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 1
    batches = {"min_batch": least, "opt_batch": preferred, "max_batch": most}
    if case == _ORDER:
        batches = {"min_batch": preferred, "opt_batch": least, "max_batch": most}
        if rng.random() < 0.5:
            batches = {"min_batch": least, "opt_batch": most, "max_batch": preferred}
    return {"onnx_path": networks.save(model, scratch() / "model.onnx"), **batches}


def _feeds(onnx_path: Path, batches: list[int]) -> list[dict[str, Any]]:
    import onnx

    model = onnx.load(onnx_path)
    return [networks.feeds_for(model, np.random.default_rng(batch), batch=batch) for batch in batches]


def run(answer: Any, *, onnx_path: Path, min_batch: int, opt_batch: int, max_batch: int) -> object:
    """Build the engine; ask it for shapes inside the range, outside, and inside again; run it on three batches."""
    made = engines.attempt(lambda: answer(onnx_path, min_batch=min_batch, opt_batch=opt_batch, max_batch=max_batch))
    if "refused" in made:
        return made
    engine = made["value"]
    batches = [min_batch, opt_batch, max_batch]
    facts = engines.facts_of(getattr(engine, "plan", None), _feeds(onnx_path, batches))
    facts["inside"] = [[batch, engines.attempt(lambda b=batch: engine.output_shapes(b))] for batch in batches]
    outside = (max_batch + 1, min_batch - 1)
    facts["outside"] = [[batch, engines.attempt(lambda b=batch: engine.output_shapes(b))] for batch in outside]
    facts["again"] = engines.attempt(lambda: engine.output_shapes(opt_batch))
    return facts


def _facts(answer: Any) -> Mapping[str, Any]:
    facts = answer.mapping()
    if "refused" in facts:
        raise Mismatch(
            expected="an engine for these batches",
            seen=_shortened(facts.get("message")),
            misconception=_why_refused(str(facts.get("message"))),
        )
    return engines.require_engine(facts)


def _why_refused(message: str) -> str:
    if "missing dimensions" in message:
        return "The profile says nothing about one of the inputs. Every dynamic input needs its three shapes."
    if "does not match network definition" in message:
        return "The profile frees a dimension that the network fixes. Only dynamic dimensions may vary."
    if "no optimization profile" in message:
        return "Making a profile is not enough: the configuration has to be given it."
    return ""


@points(2, cases=_GOOD)
def test_the_profile_holds_least_preferred_and_most(answer):
    """The profile holds the least, the preferred and the greatest batch."""
    facts = _facts(answer)
    given = [answer.inputs[f"{label}_batch"] for label in ("min", "opt", "max")]
    profiles = facts.get("profiles")
    for name, shape in facts["shapes"].items():
        if name not in profiles or all(size >= 0 for size in shape):
            continue
        found = [entry[0] for entry in profiles[name]]
        expect(
            found == given,
            expected=f"batches {given} for input {name}",
            seen=str(found),
            misconception=_profile_mistake(found, given),
        )
    dynamic = [name for name in profiles if facts["shapes"][name][0] < 0]
    expect(
        dynamic,
        expected="an engine with a dynamic batch",
        seen="only fixed shapes",
        misconception="The ONNX model leaves the batch open, and the engine should too. With three equal shapes it "
        "runs exactly one batch size.",
    )


def _profile_mistake(found: list[int], given: list[int]) -> str:
    if len(set(found)) == 1:
        return "With three equal shapes the engine runs exactly one batch size."
    if sorted(found) == sorted(given):
        return "The order is min, opt, max."
    if found[0] == 1 and given[0] != 1:
        return "The least batch was asked for too. A wider range than needed makes the builder rule out fast kernels."
    if found[1] in (found[2], found[0]):
        return "The preferred batch is the one that kernels are tuned for; it was asked for by itself."
    return ""


@points(2, cases=_GOOD)
def test_every_batch_in_the_range_runs(answer):
    """The engine computes what ONNX Runtime does at all three batches."""
    facts = _facts(answer)
    path = answer.inputs["onnx_path"]
    batches = [answer.inputs[f"{label}_batch"] for label in ("min", "opt", "max")]
    outputs = facts.get("outputs") or []
    for index, (batch, feed) in enumerate(zip(batches, _feeds(path, batches), strict=True)):
        output = outputs[index] if index < len(outputs) else None
        engines.expect_like_reference(
            output, networks.reference(path, feed), precision=Precision.FP32, what=f"batch {batch}"
        )


@points(1, cases=_GOOD)
def test_output_shapes_follow_the_batch(answer):
    """The output shapes follow the batch."""
    facts = _facts(answer)
    for batch, result in facts["inside"]:
        _expect_shapes(answer, result, batch=batch, what=f"batch {batch}")


@points(2, cases=_GOOD)
def test_a_batch_outside_is_refused(answer):
    """A batch outside the range is refused, and leaves the engine usable."""
    facts = _facts(answer)
    for batch, result in facts["outside"]:
        kinds = result.get("refused", [])
        if not kinds:
            stale = "-1" in str(result.get("value"))
            raise Mismatch(
                expected=f"InputError for batch {batch}",
                seen=f"the shapes {result.get('value')}",
                misconception="set_input_shape does not raise. It returns False, and the context keeps the shape it "
                + ("had: none, hence the -1." if stale else "had before."),
            )
        expect(
            "InputError" in kinds,
            expected=f"InputError for batch {batch}",
            seen=f"{kinds[0]}: {_shortened(result.get('message'))}",
        )
        low, high = answer.inputs["min_batch"], answer.inputs["max_batch"]
        message = str(result.get("message"))
        expect(
            str(low) in message and str(high) in message,
            expected=f"an error that tells the range, {low} to {high}",
            seen=_shortened(message),
            misconception="Who gets this error wants to know which batch would have been right.",
        )
    _expect_shapes(answer, facts["again"], batch=answer.inputs["opt_batch"], what="a good batch after a bad one")


@points(2, cases=(_ORDER, _BAKED))
def test_an_impossible_range_is_refused_at_once(answer):
    """A range that cannot be is refused when the engine is made."""
    wanted = "InputError"
    raised = answer.error()
    if raised is not None:
        raise Mismatch(
            expected=f"{wanted} when the engine is made",
            seen=f"{raised[0]}: {_shortened(raised[1])}",
            misconception="The builder returned None because of the profile; None is no plan."
            if "NoneType" in raised[1]
            else "",
        )
    facts = answer.mapping()
    if "refused" not in facts:
        raise Mismatch(
            expected=f"{wanted} when the engine is made",
            seen=f"an engine with the profile {_batches_of(facts)}",
            misconception="The model has one fixed batch, so this engine cannot be what was asked for."
            if answer.case.name == _BAKED
            else "Numbers in the wrong order are a mistake of the caller's. Putting them right silently hides it.",
        )
    kinds = facts["refused"] if isinstance(facts["refused"], list) else []
    message = str(facts.get("message"))
    expect(
        wanted in kinds,
        expected=f"{wanted}, for the numbers are wrong, not the model",
        seen=f"{kinds[0] if kinds else 'another error'}: {_shortened(message)}",
        misconception="add_optimization_profile had already said no: its result was negative. After that the build "
        "fails for a lack of profiles, and the error blames the wrong thing."
        if "no optimization profile" in message
        else "",
    )


def _batches_of(facts: Mapping[str, Any]) -> object:
    with contextlib.suppress(Exception):
        return {name: [shape[0] for shape in shapes] for name, shapes in facts["profiles"].items()}
    return "unknown"


def _expect_shapes(answer: Any, result: Mapping[str, Any], *, batch: int, what: str) -> None:
    """Compare what `output_shapes` returned with the shape of ONNX Runtime's output."""
    if "refused" in result:
        raise Mismatch(expected=f"{what}: shapes", seen=_shortened(result.get("message")))
    path = answer.inputs["onnx_path"]
    right = {name: values.shape for name, values in networks.reference(path, _feeds(path, [batch])[0]).items()}
    found = result.get("value")
    try:
        seen = {str(name): tuple(int(size) for size in shape) for name, shape in found.items()}  # type: ignore[union-attr]
    except (AttributeError, OverflowError, TypeError, ValueError):
        raise Mismatch(expected=f"{what}: a dict like {right}", seen=str(found)[:120]) from None
    expect(
        seen == right,
        expected=f"{what}: {right}",
        seen=str(seen),
        misconception="-1 means that the shape is not known yet: the context has to be told the input shapes first."
        if any(-1 in shape for shape in seen.values())
        else "Only outputs were asked for."
        if set(seen) > set(right)
        else "",
    )


def _shortened(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) < 240 else line[:239] + "…"
