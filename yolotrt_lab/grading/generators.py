"""Random generators of the cases: fixed for the public ones, from the instructor's secret for the hidden ones."""

from __future__ import annotations

import hashlib

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.exercise import Case

__all__ = ["generator_from_seed", "generator_of", "seed_of"]

_SEED_DIGITS = 64


def seed_of(exercise_id: str, case: Case, *, hidden_seed: int | None) -> str:
    """Return the seed of one case, in hexadecimal digits: the same for the same arguments, on every machine.

    It tells nothing of the seeds of other cases, nor of the secret.

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
    return hashlib.sha256(f"{exercise_id}/{case.key}{secret}".encode()).hexdigest()


def generator_from_seed(seed: str) -> np.random.Generator:
    """Return the generator that makes a case's inputs, from the seed that `seed_of` gave.

    Raises:
        InputError: That is no such seed.
    """
    try:
        digest = bytes.fromhex(seed)
    except (TypeError, ValueError):
        digest = b""
    if len(digest) * 2 != _SEED_DIGITS:
        raise InputError(
            "This is not the seed of a case.", expected=f"{_SEED_DIGITS} hexadecimal digits", got=f"{len(seed)} signs"
        )
    return np.random.default_rng(np.frombuffer(digest, np.uint32).tolist())


def generator_of(exercise_id: str, case: Case, *, hidden_seed: int | None) -> np.random.Generator:
    """Return the generator that makes a case's inputs; arguments as for `seed_of`.

    Raises:
        InputError: A hidden case without a secret.
    """
    return generator_from_seed(seed_of(exercise_id, case, hidden_seed=hidden_seed))
