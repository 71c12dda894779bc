"""Wrong and right answers to lab5.batch_sweep."""

import math

import numpy as np
from tests_course_api import right, wrong

P99 = "test_p99_is_that_of_the_whole_batch"
RATE = "test_throughput_is_images_over_time"
WORST = "test_worst_latency_counts_the_filling"
CHOICE = "test_the_choice"


class Sound:
    """The parts that each wrong answer replaces one of."""

    def p99(self, samples, batch):
        return float(np.quantile(samples, 0.99))

    def rate(self, samples, batch):
        return 1000 * batch / float(np.mean(samples))

    def filling(self, batch, arriving):
        return 0.0 if arriving is None else 1000 * (batch - 1) / arriving

    def fits(self, batch, worst, rate, budget_ms, arriving):
        return worst <= budget_ms and (arriving is None or rate >= arriving)

    def best(self, batches, rates):
        return max(sorted(batches), key=rates.get, default=None)

    def __call__(self, sweep, *, budget_ms, images_per_s):
        p99 = {batch: self.p99(samples, batch) for batch, samples in sweep.items()}
        rates = {batch: self.rate(samples, batch) for batch, samples in sweep.items()}
        worst = {batch: p99[batch] + self.filling(batch, images_per_s) for batch in sweep}
        fitting = [batch for batch in sweep if self.fits(batch, worst[batch], rates[batch], budget_ms, images_per_s)]
        return {"p99_ms": p99, "images_per_s": rates, "worst_ms": worst, "batch": self.best(fitting, rates)}


def _answer(kind):
    """Make a function of a class: an answer is a function here."""

    def choose_batch(sweep, *, budget_ms, images_per_s):
        return kind()(sweep, budget_ms=budget_ms, images_per_s=images_per_s)

    return choose_batch


class Median(Sound):
    """Believes that the usual case is what a budget is about."""

    def p99(self, samples, batch):
        return float(np.median(samples))


class Slowest(Sound):
    """Takes the worst call that was ever seen for the p99."""

    def p99(self, samples, batch):
        return float(np.max(samples))


class PerImage(Sound):
    """Divides the time of a batch by its images."""

    def p99(self, samples, batch):
        return float(np.quantile(samples, 0.99)) / batch


class BatchesPerSecond(Sound):
    """Counts calls."""

    def rate(self, samples, batch):
        return 1000 / float(np.mean(samples))


class RateOfTheMedian(Sound):
    """Uses one and the same number for everything."""

    def rate(self, samples, batch):
        return 1000 * batch / float(np.median(samples))


class MeanOfRates(Sound):
    """Averages rates."""

    def rate(self, samples, batch):
        return float(np.mean(1000 * batch / np.asarray(samples)))


class NobodyWaits(Sound):
    """Believes that a batch falls from the sky."""

    def filling(self, batch, arriving):
        return 0.0


class OneTooMany(Sound):
    """Lets the first image wait for itself."""

    def filling(self, batch, arriving):
        return 0.0 if arriving is None else 1000 * batch / arriving


class FallsBehind(Sound):
    """Does not ask whether the queue grows."""

    def fits(self, batch, worst, rate, budget_ms, arriving):
        return worst <= budget_ms


class AsQuickAsPossible(Sound):
    """Takes the smallest batch, whose latency is the lowest."""

    def best(self, batches, rates):
        return min(batches, default=None)


class AsLargeAsPossible(Sound):
    """Believes that throughput always grows with the batch."""

    def best(self, batches, rates):
        return max(batches, default=None)


class TheFastest(Sound):
    """Forgets the budget."""

    def fits(self, batch, worst, rate, budget_ms, arriving):
        return True


class AlwaysSomething(Sound):
    """Takes the smallest batch where the budget cannot be kept at all."""

    def __call__(self, sweep, *, budget_ms, images_per_s):
        result = super().__call__(sweep, budget_ms=budget_ms, images_per_s=images_per_s)
        if min(result["worst_ms"].values()) > budget_ms:
            result["batch"] = min(sweep)
        return result


class ChoosesByMedian(Sound):
    """Knows how to compute the tail, and then chooses by the median."""

    def __call__(self, sweep, *, budget_ms, images_per_s):
        honest = super().__call__(sweep, budget_ms=budget_ms, images_per_s=images_per_s)
        return {**honest, "batch": Median()(sweep, budget_ms=budget_ms, images_per_s=images_per_s)["batch"]}


median = wrong(caught_by=P99, says="this is the median")(_answer(Median))
slowest = wrong(caught_by=P99, says="slowest call")(_answer(Slowest))
per_image = wrong(caught_by=P99, says="that of the whole batch")(_answer(PerImage))
batches_per_second = wrong(caught_by=RATE, says="batches per second")(_answer(BatchesPerSecond))
rate_of_the_median = wrong(caught_by=RATE, says="slow calls cost nothing")(_answer(RateOfTheMedian))
mean_of_rates = wrong(caught_by=RATE, says="mean of the rates")(_answer(MeanOfRates))
nobody_waits = wrong(caught_by=WORST, says="waits for the others")(_answer(NobodyWaits))
one_too_many = wrong(caught_by=WORST, says="there already")(_answer(OneTooMany))
falls_behind = wrong(caught_by=CHOICE, says="queue grows")(_answer(FallsBehind))
as_quick_as_possible = wrong(caught_by=CHOICE, says="more images done")(_answer(AsQuickAsPossible))
as_large_as_possible = wrong(caught_by=CHOICE, says="does not grow for ever")(_answer(AsLargeAsPossible))
the_fastest = wrong(caught_by=CHOICE, says="in the worst case")(_answer(TheFastest))
always_something = wrong(caught_by=CHOICE, says="has to be said")(_answer(AlwaysSomething))
chooses_by_median = wrong(caught_by=CHOICE, says="its tail does not")(_answer(ChoosesByMedian))


@right
def with_arrays(sweep, *, budget_ms, images_per_s):
    """Columns instead of dicts; NumPy scalars in the result."""
    batches = np.array(sorted(sweep))
    p99 = np.array([np.percentile(sweep[batch], 99) for batch in batches])
    rates = np.array([1e3 * batch * len(sweep[batch]) / np.sum(sweep[batch]) for batch in batches])
    step_ms = 0 if images_per_s is None else 1e3 / images_per_s
    worst = p99 + step_ms * (batches - 1)
    score = np.where((worst <= budget_ms) & (rates >= (images_per_s or 0)), rates, -np.inf)
    choice = None if np.isneginf(score).all() else batches[np.argmax(score)]
    columns = {"p99_ms": p99, "images_per_s": rates, "worst_ms": worst}
    table = {name: dict(zip(batches.tolist(), values, strict=True)) for name, values in columns.items()}
    return {**table, "batch": choice}


@right
def with_loops(sweep, *, budget_ms, images_per_s):
    """No NumPy: the p99 is the sample that 99 of 100 do not exceed."""
    result = {"p99_ms": {}, "images_per_s": {}, "worst_ms": {}, "batch": None}
    best = 0.0
    for batch in sorted(sweep):
        times = sorted(float(value) for value in sweep[batch])
        p99 = times[math.ceil(0.99 * len(times)) - 1]
        rate = 1000 * batch * len(times) / math.fsum(times)
        wait = 0 if images_per_s is None else (batch - 1) / images_per_s * 1000
        result["p99_ms"][batch], result["images_per_s"][batch], result["worst_ms"][batch] = p99, rate, p99 + wait
        if p99 + wait <= budget_ms and rate >= (images_per_s or 0) and rate > best:
            best, result["batch"] = rate, batch
    return result
