"""Submissions that are nearly the same: winnowed fingerprints of the answers, compared pair by pair.

Tokens, k-grams and places come from copydetect, which implements Schleimer, Wilkerson and Aiken, "Winnowing: Local
Algorithms for Document Fingerprinting" (SIGMOD 2003), the method of MOSS: names and texts are blurred first, so that
renaming hides nothing. What the release contains does not count, nor, as in MOSS, what very many have.

A pair is a reason to look and talk, never a proof: short answers to the same question have to be alike.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from yolotrt_lab.optional import require

__all__ = ["MatchingPart", "SimilarPair", "Similarity", "find_similar"]

_GRAM = 25  # tokens; copydetect's and MOSS's order of magnitude
_LEAST = 60  # k-grams of one's own in all, below which nothing is said
_MOST_OWNERS = 10  # MOSS ignores a passage that more submissions have
_OWNERS_SHARE = 0.2  # of a large class


@dataclass(frozen=True)
class MatchingPart:
    """Two answers with what they share.

    Attributes:
        grade_id: The part of the lab.
        share: Share of the smaller one's k-grams that the other one has.
        texts: Both answers.
        places: Where the shared passages are in each, as (begin, end), ascending.
    """

    grade_id: str
    share: float
    texts: tuple[str, str]
    places: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class SimilarPair:
    """Two students whose answers are nearly the same.

    Attributes:
        students: Both.
        share: Share of the smaller submission's own k-grams that the other one has.
        parts: The parts that they share something of, the largest share first.
    """

    students: tuple[str, str]
    share: float
    parts: tuple[MatchingPart, ...]


@dataclass(frozen=True)
class Similarity:
    """How alike the submissions are.

    Attributes:
        pairs: Those above the threshold, the most alike first.
        threshold: The share from which on a pair is listed.
        compared: Number of pairs that were compared.
        median: Of all compared pairs' shares; None where there are none.
        high: Their 95th percentile.
        too_short: Students with too little of their own to be compared.
    """

    pairs: tuple[SimilarPair, ...]
    threshold: float
    compared: int
    median: float | None
    high: float | None
    too_short: tuple[str, ...]


def find_similar(
    answers: Mapping[str, Mapping[str, str]], *, stubs: Mapping[str, str], prose: Sequence[str] = (), threshold: float
) -> Similarity:
    """Return the pairs of submissions that are nearly the same.

    Args:
        answers: Student to the text of each part.
        stubs: What the release has in each part: text that nobody wrote.
        prose: The parts that are no code.
        threshold: Share of the smaller submission from which on a pair is listed.

    Raises:
        MissingDependencyError: copydetect is not installed.
    """
    prints = {
        student: {name: _fingerprint(text, is_code=name not in prose) for name, text in parts.items() if text.strip()}
        for student, parts in answers.items()
    }
    _leave_out(prints, _common(prints, stubs, prose))
    grams = {student: {(name, gram) for name, one in parts.items() for gram in one.hashes}
             for student, parts in prints.items()}  # fmt: skip
    long_enough = sorted(student for student, own in grams.items() if len(own) >= _LEAST)
    shares = {
        (first, second): len(grams[first] & grams[second]) / min(len(grams[first]), len(grams[second]))
        for first, second in combinations(long_enough, 2)
    }
    found = sorted(((share, pair) for pair, share in shares.items() if share >= threshold), key=lambda x: (-x[0], x[1]))
    values = list(shares.values())
    return Similarity(
        tuple(SimilarPair(pair, share, _matches(prints[pair[0]], prints[pair[1]], stubs)) for share, pair in found),
        threshold,
        compared=len(values),
        median=float(np.median(values)) if values else None,
        high=float(np.quantile(values, 0.95)) if values else None,
        too_short=tuple(sorted(set(answers) - set(long_enough))),
    )


def _fingerprint(text: str, *, is_code: bool) -> Any:
    detector = require("copydetect", purpose="find submissions that are nearly the same")
    # Every k-gram, not a winnowed selection: which ones would be selected depends on Python's hash seed.
    return detector.CodeFingerprint(
        "answer.py", _GRAM, 1, filter=is_code, language="python", fp=io.StringIO(text if is_code else _even(text))
    )


def _even(text: str) -> str:
    """Return prose with one blank between words, whatever its lines."""
    return " ".join(text.split())


def _common(
    prints: Mapping[str, Mapping[str, Any]], stubs: Mapping[str, str], prose: Sequence[str]
) -> dict[str, set[int]]:
    """Return the k-grams of each part that say nothing: the release's, and those that very many have."""
    limit = max(_MOST_OWNERS, int(_OWNERS_SHARE * len(prints)))
    common = {name: set(_fingerprint(text, is_code=name not in prose).hashes) for name, text in stubs.items()}
    owners: dict[str, Counter[int]] = {}
    for parts in prints.values():
        for name, one in parts.items():
            owners.setdefault(name, Counter()).update(one.hashes)
    for name, counter in owners.items():
        common.setdefault(name, set()).update(gram for gram, count in counter.items() if count > limit)
    return common


def _leave_out(prints: Mapping[str, Mapping[str, Any]], common: Mapping[str, set[int]]) -> None:
    for parts in prints.values():
        for name, one in parts.items():
            one.hashes = one.hashes - common.get(name, set())
            one.hash_idx = {gram: places for gram, places in one.hash_idx.items() if gram in one.hashes}


def _matches(first: Mapping[str, Any], second: Mapping[str, Any], stubs: Mapping[str, str]) -> tuple[MatchingPart, ...]:
    from copydetect import compare_files  # type: ignore[import-untyped]

    found = []
    for name in first.keys() & second.keys():
        one, other = first[name], second[name]
        shared = len(one.hashes & other.hashes)
        if not shared:
            continue
        one.token_coverage = other.token_coverage = 1  # its own shares are not used
        _, _, slices = compare_files(one, other)
        texts = one.raw_code, other.raw_code
        given = {line.strip() for line in stubs.get(name, "").splitlines()}
        places = tuple(_own(_places(part, len(text)), text, given) for part, text in zip(slices, texts, strict=True))
        share = shared / min(len(one.hashes), len(other.hashes))
        found.append(MatchingPart(name, share, texts, (places[0], places[1])))
    return tuple(sorted(found, key=lambda part: (-part.share, part.grade_id)))


def _places(slices: Any, length: int) -> tuple[tuple[int, int], ...]:
    """Return begins and ends within the text, ascending and apart."""
    places: list[tuple[int, int]] = []
    for begin, end in sorted(zip(*np.asarray(slices, np.int64).tolist(), strict=True)):
        low, high = max(begin, places[-1][1] if places else 0), min(end, length)
        if low < high:
            places.append((low, high))
    return tuple(places)


def _own(places: tuple[tuple[int, int], ...], text: str, given: set[str]) -> tuple[tuple[int, int], ...]:
    """Return the places without the lines that the release has: a passage may begin before them."""
    own, start = [], 0
    for line in text.splitlines(keepends=True):
        end = start + len(line)
        if line.strip() not in given:
            own += [(max(begin, start), min(stop, end)) for begin, stop in places if begin < end and stop > start]
        start = end
    return tuple(own)
