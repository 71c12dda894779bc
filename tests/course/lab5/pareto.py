"""Wrong and right answers to lab5.pareto."""

import itertools

import numpy as np
from tests_course_api import right, wrong


def looks_better(latency, accuracy, one, other):
    faster = np.median(latency[other]) - np.median(latency[one])
    better = np.median(accuracy[one]) - np.median(accuracy[other])
    return faster >= 0 and better >= 0 and (faster > 0 or better > 0)


def certainly(latency, accuracy, one, other):
    faster = np.quantile(latency[one] - latency[other], 0.975) < 0
    better = np.quantile(accuracy[one] - accuracy[other], 0.025) > 0
    return faster, better


def verdicts(latency, accuracy, is_certain, looks=looks_better):
    found = {}
    for name in latency:
        others = [other for other in latency if other != name]
        if any(is_certain(other, name) for other in others):
            found[name] = "dominated"
        elif any(looks(latency, accuracy, other, name) for other in others):
            found[name] = "undecided"
        else:
            found[name] = "front"
    return found


@wrong(caught_by="test_dominated_means_certainly", says="only the centres")
def centers_only(latency_ms, map50_95):
    """Draws the front through the points and looks no further."""
    return verdicts(latency_ms, map50_95, lambda one, other: looks_better(latency_ms, map50_95, one, other))


@wrong(caught_by="test_differences_draw_by_draw", says="separate error bars")
def separate_bars(latency_ms, map50_95):
    """Believes that overlapping error bars mean no difference."""

    def apart(one, other):
        faster = np.quantile(latency_ms[one], 0.975) < np.quantile(latency_ms[other], 0.025)
        return faster and np.quantile(map50_95[one], 0.025) > np.quantile(map50_95[other], 0.975)

    return verdicts(latency_ms, map50_95, apart)


@wrong(caught_by="test_dominated_means_certainly", says="in one of the two is not enough")
def one_is_enough(latency_ms, map50_95):
    """Takes certainly faster and seemingly better for certainly better."""

    def beats(one, other):
        return any(certainly(latency_ms, map50_95, one, other)) and looks_better(latency_ms, map50_95, one, other)

    return verdicts(latency_ms, map50_95, beats)


@wrong(caught_by="test_front", says="less latency is better")
def slow_is_good(latency_ms, map50_95):
    """Reads both axes as the more, the better."""
    turned = {name: -values for name, values in latency_ms.items()}
    return verdicts(turned, map50_95, lambda one, other: all(certainly(turned, map50_95, one, other)))


@wrong(caught_by="test_dominated_means_certainly", says="compare with all others")
def only_the_front_judges(latency_ms, map50_95):
    """Makes the front first, and lets only its members beat anybody."""
    names = list(latency_ms)
    front = [n for n in names if not any(looks_better(latency_ms, map50_95, o, n) for o in names if o != n)]
    return verdicts(
        latency_ms, map50_95, lambda one, other: one in front and all(certainly(latency_ms, map50_95, one, other))
    )


@wrong(caught_by="test_front", says="at least as fast")
def best_two_only(latency_ms, map50_95):
    """Takes the fastest and the most accurate for the whole front."""
    best = {
        min(latency_ms, key=lambda n: np.median(latency_ms[n])),
        max(map50_95, key=lambda n: np.median(map50_95[n])),
    }
    return {name: "front" if name in best else "dominated" for name in latency_ms}


@wrong(caught_by="test_every_engine_has_a_verdict", says="front, undecided, dominated")
def booleans(latency_ms, map50_95):
    """Answers yes or no, which has no room for doubt."""
    found = verdicts(latency_ms, map50_95, lambda one, other: all(certainly(latency_ms, map50_95, one, other)))
    return {name: value == "front" for name, value in found.items()}


@wrong(caught_by="test_every_engine_has_a_verdict", says="a dict")
def a_list(latency_ms, map50_95):
    """Returns the front alone."""
    found = verdicts(latency_ms, map50_95, lambda one, other: all(certainly(latency_ms, map50_95, one, other)))
    return [name for name, value in found.items() if value == "front"]


@right
def with_matrices(latency_ms, map50_95):
    """All pairs at once: (engines, engines, draws)."""
    names = list(latency_ms)
    latency, accuracy = (np.array([table[name] for name in names]) for table in (latency_ms, map50_95))
    slower, better = latency[:, None] - latency[None], accuracy[:, None] - accuracy[None]
    certain = (np.percentile(slower, 97.5, axis=2) < 0) & (np.percentile(better, 2.5, axis=2) > 0)
    speed, quality = np.median(latency, axis=1), np.median(accuracy, axis=1)
    seems = (speed[:, None] <= speed) & (quality[:, None] >= quality)
    np.fill_diagonal(seems, False)
    verdict = np.where(certain.any(axis=0), "dominated", np.where(seems.any(axis=0), "undecided", "front"))
    return dict(zip(names, verdict, strict=True))


@right
def by_counting_draws(latency_ms, map50_95):
    """The share of draws in which one beats the other, instead of quantiles; sets instead of loops."""
    dominated, doubtful = set(), set()
    for one, other in itertools.permutations(latency_ms, 2):
        wins = [np.mean(latency_ms[one] < latency_ms[other]), np.mean(map50_95[one] > map50_95[other])]
        if min(wins) > 0.975:
            dominated.add(other)
        if looks_better(latency_ms, map50_95, one, other):
            doubtful.add(other)
    return {n: "dominated" if n in dominated else "undecided" if n in doubtful else "front" for n in map50_95}
