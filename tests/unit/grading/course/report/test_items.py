"""Item statistics against scipy and against numbers computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from yolotrt_lab.grading.course.report.items import (
    difficulty,
    item_rest_correlation,
    point_biserial,
    upper_lower_discrimination,
)

PASSED_AND_SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 100)), min_size=2, max_size=60)


@given(PASSED_AND_SCORES)
def test_point_biserial_is_scipys(pairs):
    passed, scores = zip(*pairs, strict=True)
    seen = point_biserial(passed, scores)
    if len(set(passed)) == 1 or len(set(scores)) == 1:
        assert seen is None
    else:
        assert seen == pytest.approx(stats.pointbiserialr(passed, scores).statistic, abs=1e-9)


@given(PASSED_AND_SCORES)
def test_the_correlation_with_the_rest_is_the_point_biserial_of_an_item_without_partial_credit(pairs):
    passed, rest = zip(*pairs, strict=True)
    totals = [score + right for right, score in pairs]
    seen, expected = item_rest_correlation(passed, totals), point_biserial(passed, rest)
    assert (seen is None) == (expected is None)
    assert expected is None or seen == pytest.approx(expected, abs=1e-9)


def test_the_correlation_with_partial_credit_is_pearsons():
    rng = np.random.default_rng(3)
    item, rest = rng.random(40), rng.random(40)
    expected = stats.pearsonr(item, rest).statistic
    assert item_rest_correlation(item, item + rest) == pytest.approx(expected)


def test_the_item_itself_is_taken_out():
    item, rest = [0, 0, 1, 1], [4, 6, 5, 5]
    assert item_rest_correlation(item, [a + b for a, b in zip(item, rest, strict=True)]) == pytest.approx(0)


@pytest.mark.parametrize(
    ("shares", "totals", "expected"),
    [
        # Eleven submissions: groups of three (27 % of 11).
        ([1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0], [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 1.0),
        ([0, 0.5, 1, 1, 0, 0, 0, 1, 0, 0.5, 0], [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 0.5 - 0.5 / 3),
        ([0, 1], [1, 1], None),
        ([1, 0], [1, 2], -1.0),
        # The two places of each group are tied among three: each counts two thirds.
        ([1, 0, 0, 0, 0, 1], [9, 9, 9, 1, 1, 1], 0.0),
        ([1, 1, 0, 0, 0, 1], [9, 9, 9, 1, 1, 1], 1 / 3),
        ([], [], None),
    ],
)
def test_upper_and_lower_groups_by_hand(shares, totals, expected):
    seen = upper_lower_discrimination(shares, totals)
    assert seen == (expected if expected is None else pytest.approx(expected))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=2, max_size=40), st.randoms())
def test_no_order_among_equals_matters(pairs, random):
    mixed = list(pairs)
    random.shuffle(mixed)
    first, second = (upper_lower_discrimination(*zip(*each, strict=True)) for each in (pairs, mixed))
    assert (first is None) == (second is None)
    assert first is None or first == pytest.approx(second, abs=1e-9)
    assert first is None or -1 <= first <= 1


def test_difficulty_is_the_mean_share():
    assert difficulty([1.0, 0.25, 0.25]) == pytest.approx(0.5)
