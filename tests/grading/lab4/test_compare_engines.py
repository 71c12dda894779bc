"""lab4.compare_engines: three engines against ONNX Runtime, by the tolerance ladder."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.evaluation.tolerance import TOLERANCES
from yolotrt_lab.grading import Exercise, Mismatch, expect, points
from yolotrt_lab.types import Array

_HONEST, _BROKEN, _HALVED = "three honest engines", "broken outputs", "scores halved"
_TURNED, _CLAIMS, _ZEROS = "close, but turned", "not what they claim", "never written"
_MEASURED = (_HONEST, _HALVED, _TURNED, _CLAIMS, _ZEROS)
_CLASSES = 8

EXERCISE = Exercise(
    id="lab4.compare_engines",
    title="Three engines on the tolerance ladder",
    objective="Judge an engine against ONNX Runtime, by what really ran, with a reason.",
    answer="judge_engines",
    difficulty=3,
    minutes=25,
    cases=(_HONEST, _BROKEN, _HALVED, _TURNED, _CLAIMS, _ZEROS),
    hidden=(_HONEST, _BROKEN, _HALVED, _TURNED, _CLAIMS),
    forbidden=(
        "yolotrt_lab.evaluation.tolerance.judge",
        "yolotrt_lab.evaluation.tolerance.compare_tensors",
        "yolotrt_lab.evaluation.tolerance.compare_yolo_outputs",
        "yolotrt_lab.evaluation.tensor_agreement.compare_tensors",
        "yolotrt_lab.evaluation.tensor_agreement.compare_yolo_outputs",
    ),
    reading="https://github.com/NVIDIA/TensorRT/blob/main/tools/Polygraphy/how-to/debug_accuracy.md",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """A reference output, three engines' outputs, and the ladder."""
    anchors = int(rng.integers(60, 120))
    boxes = rng.uniform(4, 320, size=(1, 4, anchors))
    scores = 1 / (1 + np.exp(-rng.normal(-2.5, 1.5, size=(1, _CLASSES, anchors))))
    reference = np.concatenate([boxes, scores], axis=1).astype(np.float32)
    outputs = {
        "fp32": _near(reference, 2e-6, rng),
        "fp16": _near(reference, rng.uniform(0.02, 0.03), rng),  # as BF16 would: more than FP16 may differ
        "int8": _near(reference, rng.uniform(0.06, 0.1), rng),
    }
    executed = {"fp32": "fp32", "fp16": "bf16", "int8": "int8"}
    _spoil(case, outputs, executed, reference, rng)
    engines = {claimed: {"output": outputs[claimed], "executed": executed[claimed]} for claimed in outputs}
    ladder = {
        str(precision): {"relative_l2": limits.relative_l2, "cosine": limits.cosine}
        for precision, limits in TOLERANCES.items()
    }
    return {"reference": reference, "engines": engines, "tolerances": ladder}


def _parts(values: Array) -> tuple[Array, Array]:
    return values[:, :4], values[:, 4:]


def _near(reference: Array, relative_l2: float, rng: np.random.Generator) -> Array:
    """Return the reference with an error of this relative L2 in boxes and in scores, at right angles to both."""
    parts = []
    for part in _parts(reference.astype(np.float64)):
        noise = rng.normal(size=part.shape)
        noise -= part * (np.vdot(noise, part) / np.vdot(part, part))
        parts.append(part + noise * (relative_l2 * np.linalg.norm(part) / np.linalg.norm(noise)))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _spoil(
    case: str, outputs: dict[str, Array], executed: dict[str, str], reference: Array, rng: np.random.Generator
) -> None:
    """Change outputs or claims as the mistake of the case would."""
    if case == _BROKEN:
        outputs["fp32"] = np.ascontiguousarray(outputs["fp32"].transpose(0, 2, 1))
        outputs["fp16"] = outputs["fp16"].astype(np.float16)
        place = tuple(int(rng.integers(size)) for size in reference.shape)
        outputs["int8"][place] = np.nan if rng.random() < 0.5 else np.inf
    elif case == _HALVED:
        outputs["int8"] = outputs["int8"].copy()
        outputs["int8"][:, 4:] *= 0.5
        outputs["fp16"], executed["fp16"] = (1.08 * reference).astype(np.float32), "fp16"
    elif case == _TURNED:
        outputs["int8"] = _near(reference, 0.147, rng)
    elif case == _CLAIMS:
        outputs["int8"], executed["int8"] = _near(reference, 2e-6, rng), "fp32"
        outputs["fp32"], executed["fp32"] = _near(reference, 4e-3, rng), "fp16"
    elif case == _ZEROS:
        outputs["fp32"] = np.zeros_like(reference)


def _measures(actual: Array, reference: Array) -> tuple[float, float]:
    """Return the worse relative L2 and the worse cosine of boxes and scores."""
    found = []
    for a, e in zip(_parts(actual.astype(np.float64)), _parts(reference.astype(np.float64)), strict=True):
        norm = np.linalg.norm(a) * np.linalg.norm(e)
        found.append((np.linalg.norm(a - e) / np.linalg.norm(e), np.vdot(a, e) / norm if norm else 0.0))
    return max(l2 for l2, _ in found), min(cosine for _, cosine in found)


def _verdict(answer: Any, claimed: str, *, row: str | None = None) -> str:
    """Return the reason that is right; `row` judges by another precision's limits."""
    reference, engine = answer.inputs["reference"], answer.inputs["engines"][claimed]
    output, executed = engine["output"], engine["executed"]
    if output.shape != reference.shape:
        return "shape"
    if output.dtype != reference.dtype:
        return "dtype"
    if not np.isfinite(output).all():
        return "not finite"
    if row is None and executed != claimed and not (claimed == "fp16" and executed == "bf16"):
        return "precision"
    limits = answer.inputs["tolerances"][row or executed]
    relative_l2, cosine = _measures(output, reference)
    if relative_l2 > limits["relative_l2"]:
        return "relative_l2"
    return "cosine" if cosine < limits["cosine"] else "ok"


def _entry(answer: Any, claimed: str) -> Any:
    entry = answer.item(claimed)
    entry.mapping(keys=("passed", "reason", "relative_l2", "cosine"))
    return entry


def _expect_verdict(answer: Any, claimed: str, misconception: str = "") -> None:
    right = _verdict(answer, claimed)
    entry = _entry(answer, claimed)
    passed, reason = entry.item("passed").boolean(), entry.item("reason").text()
    expect(
        reason == right and passed == (right == "ok"),
        expected=f"{claimed}: {_shown(right == 'ok', right)}",
        seen=_shown(passed, reason),
        misconception="A verdict and its reason contradict each other."
        if passed != (reason == "ok")
        else misconception,
    )


def _shown(passed: bool, reason: str) -> str:
    return f"{'passed' if passed else 'failed'}, reason {reason[:40]!r}"


@points(2, cases=(_BROKEN,))
def test_shape_type_and_finiteness_come_first(answer):
    """Shape, type and finiteness come first, and end the comparison."""
    meanings = {
        "fp32": "Numbers of different places were compared. A transposed output has as many values as the right one.",
        "fp16": "The values are close, but who reads these bytes as float32 gets something else.",
        "int8": "A comparison with NaN is never true, so a check written the wrong way around lets it pass. Finiteness "
        "comes before any measure.",
    }
    for claimed, meaning in meanings.items():
        _expect_verdict(answer, claimed, meaning)
        entry = _entry(answer, claimed)
        for key in ("relative_l2", "cosine"):
            value = entry.item(key).output
            expect(
                value is None,
                expected=f"{claimed}: None for {key}",
                seen=str(value)[:60],
                misconception="A measure of things that cannot be compared is a number without a meaning.",
            )


@points(2, cases=_MEASURED)
def test_the_measures_are_right(answer):
    """Relative L2 error and cosine are right, the worse of boxes and scores."""
    reference = answer.inputs["reference"]
    for claimed, engine in answer.inputs["engines"].items():
        relative_l2, cosine = _measures(engine["output"], reference)
        entry = _entry(answer, claimed)
        seen_l2, seen_cosine = (_number(entry, key, claimed) for key in ("relative_l2", "cosine"))
        expect(
            np.isclose(seen_l2, relative_l2, rtol=2e-2, atol=1e-9),
            expected=f"{claimed}: relative L2 {relative_l2:.4g}",
            seen=f"{seen_l2:.4g}",
            misconception=_l2_mistake(seen_l2, engine["output"], reference),
        )
        expect(
            np.isclose(seen_cosine, cosine, rtol=0, atol=1e-6),
            expected=f"{claimed}: cosine {cosine:.7f}",
            seen=f"{seen_cosine:.7f}",
            misconception=_cosine_mistake(seen_cosine, engine["output"], reference),
        )


def _number(entry: Any, key: str, claimed: str) -> float:
    value = entry.item(key).output
    if isinstance(value, (float, np.floating)) and np.isnan(value):
        raise Mismatch(
            expected=f"{claimed}: a number for {key}",
            seen="NaN",
            misconception="A vector of zeros has no direction, and dividing by its length gives NaN.",
        )
    return float(entry.item(key).number())


def _l2_mistake(seen: float, output: Array, reference: Array) -> str:
    a, e = output.astype(np.float64), reference.astype(np.float64)
    pairs = list(zip(_parts(a), _parts(e), strict=True))
    ideas = {
        "This compares the whole tensor at once. Box coordinates of hundreds drown scores below 1, so an engine with "
        "ruined scores looks fine.": [np.linalg.norm(a - e) / np.linalg.norm(e)],
        "This is the better of boxes and scores; the engine is as good as its worse part.": [
            min(np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in pairs)
        ],
        "This is divided by the length of the engine's own output. An engine must not be its own yardstick.": [
            max(np.linalg.norm(x - y) / max(np.linalg.norm(x), 1e-300) for x, y in pairs)
        ],
        "This is an absolute error. It has the unit of the values, so one limit cannot serve boxes and scores.": [
            np.abs(a - e).max(),
            max(np.linalg.norm(x - y) for x, y in pairs),
            np.abs(a - e).mean(),
        ],
        "This is the square of the relative error: a root is missing.": [
            max((np.linalg.norm(x - y) / np.linalg.norm(y)) ** 2 for x, y in pairs)
        ],
        "This is the mean of the two parts; the engine is as good as its worse part.": [
            np.mean([np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in pairs])
        ],
    }
    return next(
        (text for text, values in ideas.items() if any(np.isclose(seen, v, rtol=1e-2, atol=0) for v in values)), ""
    )


def _cosine_mistake(seen: float, output: Array, reference: Array) -> str:
    a, e = output.astype(np.float64), reference.astype(np.float64)
    cosines = [
        np.vdot(x, y) / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-300)
        for x, y in [(a, e), *zip(_parts(a), _parts(e), strict=True)]
    ]
    if np.isclose(seen, cosines[0], rtol=0, atol=1e-7):
        return "This compares the whole tensor at once; the boxes' coordinates drown the scores."
    if np.isclose(seen, max(cosines[1:]), rtol=0, atol=1e-7):
        return "This is the better of boxes and scores; the engine is as good as its worse part."
    if np.isclose(seen, 1 - min(cosines[1:]), rtol=0, atol=1e-7):
        return "This is a distance, one minus the cosine."
    return ""


@points(1, cases=(_HALVED, _ZEROS))
def test_a_wrong_scale_is_noticed(answer):
    """An output of the wrong size fails, however right its direction."""
    if answer.case.name == _ZEROS:
        _expect_verdict(answer, "fp32", "An output full of zeros is what a forgotten copy leaves behind.")
        return
    _expect_verdict(answer, "fp16", "A scaled output has a perfect cosine: never judge by the cosine alone.")
    _expect_verdict(
        answer,
        "int8",
        "Halved scores point in the same direction, so their cosine is 1, and beside boxes in pixels they weigh "
        "nothing. Both measures, and both parts, are needed.",
    )


@points(2, cases=(_HONEST, _TURNED))
def test_each_engine_is_held_to_what_ran(answer):
    """Each engine is held to the limits of the precision that ran."""
    engines = answer.inputs["engines"]
    reasons = {claimed: _entry(answer, claimed).item("reason").text() for claimed in engines}
    strict = all(reason == _verdict(answer, claimed, row="fp32") for claimed, reason in reasons.items())
    for claimed, engine in engines.items():
        text = ""
        if strict:
            text = "One limit for all does not work: what is honest rounding for INT8 is a bug in FP32."
        elif engine["executed"] != claimed and reasons[claimed] == _verdict(answer, claimed, row=claimed):
            text = (
                "These are the limits of what was asked for. BF16 has three bits less than FP16, and may differ more."
            )
        elif _verdict(answer, claimed) == "cosine":
            text = "The error is small enough in size, but the cosine has a limit of its own."
        _expect_verdict(answer, claimed, text)


@points(1, cases=(_CLAIMS,))
def test_a_claim_needs_proof(answer):
    """An engine that runs in another precision than it claims fails."""
    for claimed, text in (
        ("int8", "Its numbers are excellent, because it is an FP32 engine. It will be as slow as one."),
        ("fp32", "Reduced precision was not asked for; the yardstick itself would be bent."),
        ("fp16", "Without FP16 arithmetic a processor runs BF16: reduced precision, honestly delivered."),
    ):
        _expect_verdict(answer, claimed, text)
