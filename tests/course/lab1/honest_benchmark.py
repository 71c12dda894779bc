"""Wrong and right answers to lab1.honest_benchmark."""

import math
import statistics

import numpy as np
from tests_course_api import right, wrong


def check_counts(warmup, repeats):
    if warmup < 0 or repeats < 1:
        raise ValueError(f"warmup={warmup}, repeats={repeats}")


def summary(samples):
    p50, p90, p99 = np.quantile(samples, [0.5, 0.9, 0.99])
    return {"samples_ms": samples, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99}


def timed(launch, synchronize, clock_ns):
    start = clock_ns()
    launch()
    synchronize()
    return (clock_ns() - start) / 1e6


def warmed_up(launch, synchronize, warmup):
    for _ in range(warmup):
        launch()
    synchronize()


@wrong(caught_by="test_samples_hold_the_whole_work", says="hand the work over")
def never_waits(launch, synchronize, clock_ns, *, warmup, repeats):
    """Believes that a call returns when it is done."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    samples = []
    for _ in range(repeats):
        start = clock_ns()
        launch()
        samples.append((clock_ns() - start) / 1e6)
    synchronize()
    return summary(samples)


@wrong(caught_by="test_samples_hold_the_whole_work", says="an average and no distribution")
def one_long_time_divided(launch, synchronize, clock_ns, *, warmup, repeats):
    """Times all calls together, as many articles do."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    start = clock_ns()
    for _ in range(repeats):
        launch()
    synchronize()
    each = (clock_ns() - start) / 1e6 / repeats
    return summary([each] * repeats)


@wrong(caught_by="test_warm_up_is_made_and_finished_before_the_clock_starts", says="nobody waited")
def warm_up_left_in_the_queue(launch, synchronize, clock_ns, *, warmup, repeats):
    """Warms up, but does not wait for the warm-up."""
    check_counts(warmup, repeats)
    for _ in range(warmup):
        launch()
    return summary([timed(launch, synchronize, clock_ns) for _ in range(repeats)])


@wrong(caught_by="test_warm_up_is_made_and_finished_before_the_clock_starts", says="on top of the measured")
def warm_up_taken_from_the_repeats(launch, synchronize, clock_ns, *, warmup, repeats):
    """Counts the warm-up calls among the repeats."""
    check_counts(warmup, repeats)
    samples = [timed(launch, synchronize, clock_ns) for _ in range(repeats)]
    return summary(samples)


@wrong(caught_by="test_result_holds_one_sample_per_call", says="not measured")
def warm_up_measured_too(launch, synchronize, clock_ns, *, warmup, repeats):
    """Keeps the samples of the warm-up."""
    check_counts(warmup, repeats)
    return summary([timed(launch, synchronize, clock_ns) for _ in range(warmup + repeats)])


@wrong(caught_by="test_result_holds_one_sample_per_call", says="users live in the tail")
def outliers_removed(launch, synchronize, clock_ns, *, warmup, repeats):
    """Takes slow calls for mistakes of the measurement."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    samples = np.array([timed(launch, synchronize, clock_ns) for _ in range(repeats)])
    return summary(samples[samples < 1.5 * np.median(samples)])


@wrong(caught_by="test_samples_hold_the_whole_work", says="a slow call is a fact")
def outliers_clipped(launch, synchronize, clock_ns, *, warmup, repeats):
    """Replaces slow calls by a limit."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    samples = np.array([timed(launch, synchronize, clock_ns) for _ in range(repeats)])
    return summary(np.minimum(samples, 1.5 * np.median(samples)))


@wrong(caught_by="test_samples_hold_the_whole_work", says="another order")
def samples_sorted(launch, synchronize, clock_ns, *, warmup, repeats):
    """Sorts the samples for the percentiles and returns them so."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    return summary(sorted(timed(launch, synchronize, clock_ns) for _ in range(repeats)))


@wrong(caught_by="test_samples_hold_the_whole_work", says="power of ten")
def microseconds(launch, synchronize, clock_ns, *, warmup, repeats):
    """Divides nanoseconds by a thousand."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    return summary([1000 * timed(launch, synchronize, clock_ns) for _ in range(repeats)])


@wrong(caught_by="test_percentiles_are_the_median_and_the_tail", says="that is the mean")
def mean_for_median(launch, synchronize, clock_ns, *, warmup, repeats):
    """Calls the mean the middle."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    samples = [timed(launch, synchronize, clock_ns) for _ in range(repeats)]
    return summary(samples) | {"p50_ms": statistics.fmean(samples)}


@wrong(caught_by="test_percentiles_are_the_median_and_the_tail", says="slowest call of all")
def maximum_for_p99(launch, synchronize, clock_ns, *, warmup, repeats):
    """Takes the worst case for the tail."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    samples = [timed(launch, synchronize, clock_ns) for _ in range(repeats)]
    return summary(samples) | {"p99_ms": max(samples)}


@wrong(caught_by="test_percentiles_are_the_median_and_the_tail", says="10th percentile")
def percentiles_from_the_wrong_end(launch, synchronize, clock_ns, *, warmup, repeats):
    """Sorts the fast calls to the end, as for frames per second."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    samples = [timed(launch, synchronize, clock_ns) for _ in range(repeats)]
    ordered = sorted(samples, reverse=True)
    return summary(samples) | {f"p{n}_ms": ordered[int(n / 100 * repeats)] for n in (50, 90, 99)}


@wrong(caught_by="test_senseless_counts_are_refused", says="at the door")
def anything_goes(launch, synchronize, clock_ns, *, warmup, repeats):
    """Lets NumPy complain about nothing to summarise."""
    warmed_up(launch, synchronize, warmup)
    return summary([timed(launch, synchronize, clock_ns) for _ in range(repeats)])


@right
def with_statistics(launch, synchronize, clock_ns, *, warmup, repeats):
    """Plain Python; readings first, differences later."""
    if warmup < 0:
        raise ValueError("warmup must not be negative")
    if repeats <= 0:
        raise ValueError("repeats must be positive")
    for _ in range(warmup):
        launch()
        synchronize()
    readings = []
    for _ in range(repeats):
        synchronize()
        before = clock_ns()
        launch()
        synchronize()
        readings.append((before, clock_ns()))
    samples = [(after - before) * 1e-6 for before, after in readings]
    cuts = statistics.quantiles(samples, n=100)
    return {"samples_ms": samples, "p50_ms": statistics.median(samples), "p90_ms": cuts[89], "p99_ms": cuts[98]}


@right
def nearest_rank_in_an_array(launch, synchronize, clock_ns, *, warmup, repeats):
    """An array for the samples, the nearest-rank definition for the percentiles."""
    check_counts(warmup, repeats)
    warmed_up(launch, synchronize, warmup)
    nanoseconds = np.zeros(repeats, np.int64)
    for index in range(repeats):
        nanoseconds[index] = -clock_ns()
        launch()
        synchronize()
        nanoseconds[index] += clock_ns()
    ordered = np.sort(nanoseconds) / 1e6
    percentiles = {f"p{n}_ms": ordered[math.ceil(n / 100 * repeats) - 1] for n in (50, 90, 99)}
    return {"samples_ms": nanoseconds / 1e6, "repeats": repeats, **percentiles}
