"""lab4.fp32_engine: from an ONNX file to an FP32 plan, with every way it can fail reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, scratch, sibling
from yolotrt_lab.types import Precision

networks = sibling(__file__, "tiny_networks")
engines = sibling(__file__, "engine_facts")

_GOOD = ("small detector", "wider, with upsampling")
_UNKNOWN, _CUT, _MISSING, _OPEN = "unknown operators", "file cut off", "no such file", "batch left open"

EXERCISE = Exercise(
    id="lab4.fp32_engine",
    title="FP32 engine with full error handling",
    objective="Build an engine with TensorRT's API and report every reason when it cannot be built.",
    answer="build_fp32",
    difficulty=3,
    minutes=25,
    cases=(*_GOOD, _UNKNOWN, _CUT, _MISSING, _OPEN),
    hidden=("small detector", _UNKNOWN, _OPEN),
    forbidden=("yolotrt_lab.engines.build.build_engine",),
    reading="https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/api/python-api.html",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """One ONNX file, good or bad."""
    path = scratch() / f"{('north', 'south', 'east', 'west')[int(rng.integers(4))]}-{int(rng.integers(100, 999))}.onnx"
    if case == _MISSING:
        return {"onnx_path": path}
    wide = case == "wider, with upsampling"
    batch = "N" if case == _OPEN else 1
    model = networks.detector(rng, batch=batch, width=12 if wide else 8, upsample=wide)
    if case == _UNKNOWN:
        _add_unknown_operators(model, rng)
    networks.save(model, path)
    if case == _CUT:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {"onnx_path": path}


def _add_unknown_operators(model: Any, rng: np.random.Generator) -> None:
    """Put two operators that nobody knows in front of the head; the first error is not the only one."""
    head = model.graph.node[-2]
    for place, operator in (("gate", "Wobble"), ("mix", "Zigzag")):
        name = f"/{place}.{int(rng.integers(2, 99))}/{operator}"
        output = f"{name}_output_0"
        new = helper.make_node(operator, [head.input[0]], [output], name=name, domain="my.lab")
        model.graph.node.insert(len(model.graph.node) - 2, new)
        head = model.graph.node[-2]
        head.input[0] = output
    model.opset_import.append(helper.make_opsetid("my.lab", 1))


def run(answer: Any, *, onnx_path: Path) -> object:
    """Build, and run what was built."""
    result = engines.attempt(lambda: answer(onnx_path))
    if "refused" in result:
        return result
    feeds = []
    if onnx_path.exists():
        feeds = [_feeds(onnx_path)]
    return engines.facts_of(result["value"], feeds)


def _feeds(onnx_path: Path) -> dict[str, Any]:
    import onnx

    try:
        return dict(networks.feeds_for(onnx.load(onnx_path), np.random.default_rng(7)))
    except Exception:  # a broken file has no inputs; the plan that a wrong answer made of it is judged without
        return {}


@points(1, cases=_GOOD)
def test_a_good_model_becomes_a_plan(answer):
    """A good model becomes a plan that TensorRT loads."""
    facts = answer.mapping()
    if "refused" in facts:
        raise Mismatch(expected="a plan", seen=str(facts.get("message"))[:300])
    engines.require_engine(facts)


@points(2, cases=_GOOD)
def test_it_computes_in_fp32_what_onnx_runtime_does(answer):
    """It runs in FP32 and computes what ONNX Runtime does."""
    facts = answer.mapping()
    if "refused" in facts:
        raise Mismatch(expected="a plan", seen=str(facts.get("message"))[:300])
    found = engines.compute_precisions(facts)
    others = sorted({str(precision).upper() for precision in found if precision is not Precision.FP32})
    expect(
        found and not others,
        expected="an inspector that shows every convolution in FP32",
        seen=f"{', '.join(others) or 'no convolution at all'}",
        misconception="Faster was not asked for. This engine is the yardstick for the others: no flag that allows a "
        "lower precision.",
    )
    model_path = answer.inputs["onnx_path"]
    expected = networks.reference(model_path, _feeds(model_path))
    outputs = facts.get("outputs") or [None]
    engines.expect_like_reference(outputs[0], expected, precision=Precision.FP32, what="the engine")


@points(2, cases=(_UNKNOWN,))
def test_every_parser_error_is_reported(answer):
    """Every reason of the parser is in the error."""
    message = _refusal(answer, kind="EngineBuildError", why="operators that TensorRT does not know")
    import onnx

    model = onnx.load(answer.inputs["onnx_path"])
    unknown = [node.name for node in model.graph.node if node.domain]
    missing = [name for name in unknown if name not in message]
    if missing and len(missing) < len(unknown):
        raise Mismatch(
            expected=f"an error that names all {len(unknown)} unsupported nodes",
            seen=f"no word about {', '.join(missing)}",
            misconception="The parser collects errors and counts them; the first is not the only one. Who repairs one "
            "per attempt pays a build for each.",
        )
    expect(
        not missing,
        expected="an error that names the nodes TensorRT cannot parse",
        seen=_shortened(message),
        misconception="That parsing failed is not a reason. The parser keeps its reasons until somebody asks for them.",
    )


@points(2, cases=(_OPEN,))
def test_a_build_that_gives_none_says_why(answer):
    """A build that gives None becomes an error with TensorRT's reason."""
    message = _refusal(answer, kind="EngineBuildError", why="a dynamic batch and no optimization profile")
    expect(
        "optimization profile has been defined" in message.lower(),
        expected="an error that quotes what TensorRT logged",
        seen=_shortened(message),
        misconception="The builder tells its reason to the logger alone. A logger that keeps the messages can be asked "
        "for them when the result is None.",
    )


@points(1, cases=(_CUT, _MISSING))
def test_a_missing_file_is_not_a_broken_one(answer):
    """A missing file and a broken one are told apart."""
    path = answer.inputs["onnx_path"]
    if answer.case.name == _MISSING:
        message = _refusal(answer, kind="FileNotFoundError", why="a path that leads nowhere")
        expect(
            path.stem in message,
            expected="an error that names the file",
            seen=_shortened(message),
            misconception="A person who reads this in a log knows neither the file nor the folder.",
        )
        return
    message = _refusal(answer, kind="EngineBuildError", why="half of a file")
    expect(
        "deserialize" in message.lower() or "protobuf" in message.lower() or "parse" in message.lower(),
        expected="an error with the parser's reason",
        seen=_shortened(message),
    )


def _refusal(answer: Any, *, kind: str, why: str) -> str:
    """Return the message of the error that the answer raised; it has to be of the right kind."""
    raised = answer.error()
    if raised is not None:
        name, message = raised
        if name == "TypeError" and "NoneType" in message:
            text = "The builder does not raise. It returned None, and None was then used as if it were a plan."
        else:
            text = "Which errors belong to which failure is written in the docstring."
        raise Mismatch(expected=f"{kind} for {why}", seen=f"{name}: {_shortened(message)}", misconception=text)
    facts = answer.mapping()
    if "refused" not in facts:
        none = facts.get("type") == "NoneType"
        raise Mismatch(
            expected=f"{kind} for {why}",
            seen="None was returned" if none else "a plan",
            misconception="TensorRT reports by return values and does not raise. Whoever passes None or False on "
            "moves the failure to a place where its reason is unknown.",
        )
    kinds = facts["refused"] if isinstance(facts["refused"], list) else []
    expect(
        kind in kinds,
        expected=f"{kind} for {why}",
        seen=f"{kinds[0] if kinds else 'another error'}: {_shortened(str(facts.get('message')))}",
        misconception="A caller handles a missing file, a bad model and a failed build in different ways, so they "
        "need different errors.",
    )
    return str(facts.get("message"))


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) < 240 else line[:239] + "…"
