"""Wrong and right answers to lab4.compare_engines."""

import numpy as np
from tests_course_api import right, wrong

from yolotrt_lab.types import Precision


def apart(values):
    return values[:, :4].astype(np.float64), values[:, 4:].astype(np.float64)


def l2(a, e):
    return float(np.linalg.norm(a - e) / np.linalg.norm(e))


def cosine(a, e):
    length = np.linalg.norm(a) * np.linalg.norm(e)
    return float(np.vdot(a, e) / length) if length else 0.0


def measured(actual, expected):
    pairs = list(zip(apart(actual), apart(expected), strict=True))
    return max(l2(a, e) for a, e in pairs), min(cosine(a, e) for a, e in pairs)


def first_look(output, reference):
    if output.shape != reference.shape:
        return "shape"
    if output.dtype != reference.dtype:
        return "dtype"
    return None if np.isfinite(output).all() else "not finite"


def proven(claimed, executed):
    return claimed == executed or (claimed, executed) == ("fp16", "bf16")


def one(claimed, engine, reference, tolerances, *, look=first_look, measure=measured, row=None, proof=proven):
    problem = look(engine["output"], reference)
    if problem:
        return {"passed": False, "reason": problem, "relative_l2": None, "cosine": None}
    error, direction = measure(engine["output"], reference)
    limits = tolerances[row or engine["executed"]]
    reason = "ok"
    if not proof(claimed, engine["executed"]):
        reason = "precision"
    elif error > limits["relative_l2"]:
        reason = "relative_l2"
    elif direction < limits["cosine"]:
        reason = "cosine"
    return {"passed": reason == "ok", "reason": reason, "relative_l2": error, "cosine": direction}


@wrong(caught_by="test_the_measures_are_right", says="whole tensor")
def all_at_once(reference, engines, tolerances):
    """Compares boxes and scores in one vector."""

    def measure(actual, expected):
        a, e = actual.astype(np.float64), expected.astype(np.float64)
        return l2(a, e), cosine(a, e)

    return {name: one(name, engine, reference, tolerances, measure=measure) for name, engine in engines.items()}


@wrong(caught_by="test_a_wrong_scale_is_noticed", says="cosine alone")
def cosine_only(reference, engines, tolerances):
    """Trusts the cosine alone."""
    found = {}
    for name, engine in engines.items():
        verdict = one(name, engine, reference, tolerances)
        if verdict["reason"] == "relative_l2":
            good = verdict["cosine"] >= tolerances[engine["executed"]]["cosine"]
            verdict |= {"passed": good, "reason": "ok" if good else "cosine"}
        found[name] = verdict
    return found


@wrong(caught_by="test_each_engine_is_held_to_what_ran", says="BF16 has three bits less")
def by_the_claim(reference, engines, tolerances):
    """Takes the limits of what was asked for."""
    return {name: one(name, engine, reference, tolerances, row=name) for name, engine in engines.items()}


@wrong(caught_by="test_each_engine_is_held_to_what_ran", says="One limit for all")
def one_limit(reference, engines, tolerances):
    """Takes the strictest limits for all."""
    return {name: one(name, engine, reference, tolerances, row="fp32") for name, engine in engines.items()}


@wrong(caught_by="test_a_claim_needs_proof", says="as slow as one")
def numbers_are_enough(reference, engines, tolerances):
    """Believes that good numbers prove the precision."""
    return {
        name: one(name, engine, reference, tolerances, proof=lambda claimed, executed: True)
        for name, engine in engines.items()
    }


@wrong(caught_by="test_shape_type_and_finiteness_come_first", says="never true")
def nan_slips_through(reference, engines, tolerances):
    """Checks `error > limit`, which NaN passes."""

    def look(output, expected):
        return first_look(np.nan_to_num(output, posinf=0), expected)

    return {name: one(name, engine, reference, tolerances, look=look) for name, engine in engines.items()}


@wrong(caught_by="test_shape_type_and_finiteness_come_first", says="as many values")
def flat(reference, engines, tolerances):
    """Flattens both sides first: as many values, so comparable."""

    def look(output, expected):
        if output.size != expected.size:
            return "shape"
        return first_look(output.reshape(expected.shape), expected)

    def measure(actual, expected):
        return measured(actual.reshape(expected.shape), expected)

    return {
        name: one(name, engine, reference, tolerances, look=look, measure=measure) for name, engine in engines.items()
    }


@wrong(caught_by="test_the_measures_are_right", says="own yardstick")
def by_its_own_length(reference, engines, tolerances):
    """Divides by the length of the engine's output."""

    def measure(actual, expected):
        pairs = list(zip(apart(actual), apart(expected), strict=True))
        error = max(np.linalg.norm(a - e) / max(np.linalg.norm(a), 1e-9) for a, e in pairs)
        return float(error), measured(actual, expected)[1]

    return {name: one(name, engine, reference, tolerances, measure=measure) for name, engine in engines.items()}


@wrong(caught_by="test_a_claim_needs_proof", says="honestly delivered")
def to_the_letter(reference, engines, tolerances):
    """Does not let BF16 stand for FP16."""
    return {
        name: one(name, engine, reference, tolerances, proof=lambda claimed, executed: claimed == executed)
        for name, engine in engines.items()
    }


@right
def in_float32(reference, engines, tolerances):
    """Computes in float32, by sums of squares, and returns NumPy numbers."""
    verdicts = {}
    for claimed, engine in engines.items():
        output = np.asarray(engine["output"])
        reason = first_look(output, reference)
        if reason is not None:
            verdicts[claimed] = {"reason": reason, "passed": np.False_, "relative_l2": None, "cosine": None}
            continue
        errors, cosines = [], []
        for rows in (slice(0, 4), slice(4, None)):
            a, e = output[0, rows].ravel(), reference[0, rows].ravel()
            errors.append(np.sqrt(((a - e) ** 2).sum(dtype=np.float64) / (e**2).sum(dtype=np.float64)))
            length = np.sqrt((a**2).sum(dtype=np.float64) * (e**2).sum(dtype=np.float64))
            cosines.append((a.astype(np.float64) * e).sum() / length if length > 0 else np.float64(0))
        limits = tolerances[engine["executed"]]
        checks = {
            "precision": proven(claimed, engine["executed"]),
            "relative_l2": max(errors) <= limits["relative_l2"],
            "cosine": min(cosines) >= limits["cosine"],
        }
        reason = next((name for name, fine in checks.items() if not fine), "ok")
        verdicts[claimed] = {
            "passed": all(checks.values()),
            "reason": reason,
            "relative_l2": max(errors),
            "cosine": min(cosines),
        }
    return verdicts


@right
def by_scipy_free_distances(reference, engines, tolerances):
    """Uses PyTorch for the measures and the package's Precision for the names."""
    import torch
    from torch.nn.functional import cosine_similarity

    def measure(actual, expected):
        found = []
        for a, e in zip(apart(actual), apart(expected), strict=True):
            a, e = torch.from_numpy(a).flatten(), torch.from_numpy(e).flatten()
            found.append((torch.dist(a, e) / e.norm(), cosine_similarity(a, e, dim=0)))
        return float(max(x for x, _ in found)), float(min(y for _, y in found))

    verdicts = {
        Precision(name): one(name, engine, reference, tolerances, measure=measure) for name, engine in engines.items()
    }
    return {key.value: value for key, value in verdicts.items()}
