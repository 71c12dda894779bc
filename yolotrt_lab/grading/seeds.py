"""Random generators of the cases: fixed for the public ones, the instructor's secret for the hidden ones."""

from __future__ import annotations

import hashlib

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.exercise import Case

__all__ = ["generator_of"]


def generator_of(exercise_id: str, case: Case, *, hidden_seed: int | None) -> np.random.Generator:
    """Return the generator that makes a case's inputs: the same for the same arguments, on every machine.

    Args:
        exercise_id: "lab4.kl_threshold".
        case: The case.
        hidden_seed: The instructor's secret; only hidden cases depend on it.

    Raises:
        InputError: A hidden case without a secret.
    """
    if case.hidden and hidden_seed is None:
        raise InputError(f"The hidden case {case.name!r} of {exercise_id} needs the instructor's seed.")
    secret = f"/{hidden_seed}" if case.hidden else ""
    digest = hashlib.sha256(f"{exercise_id}/{case.key}{secret}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32).tolist())
