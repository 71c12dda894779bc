"""lab5.batch_sweep: the batch with the highest throughput that keeps a latency budget, tail and waiting included."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect_close, points
from yolotrt_lab.grading.answers import Value

_KEYS = ("p99_ms", "images_per_s", "worst_ms", "batch")

EXERCISE = Exercise(
    id="lab5.batch_sweep",
    title="Choosing a batch",
    objective="Choose a batch from a sweep by throughput, tail latency and the time it takes to fill.",
    answer="choose_batch",
    difficulty=3,
    minutes=25,
    cases=("images in a folder", "a camera", "a slow tail", "too fast a camera", "a generous budget", "no batch fits"),
    hidden=("images in a folder", "a camera", "a slow tail", "too fast a camera", "a generous budget"),
    seconds=5.0,
    reading="https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/batcher.html",
)

_BATCHES = (1, 2, 4, 8, 16, 32)

Sweep = Mapping[int, np.ndarray]


def _times(samples: np.ndarray) -> tuple[float, float, float]:
    return float(np.quantile(samples, 0.99)), float(np.median(samples)), float(samples.mean())


def _table(sweep: Sweep, arriving_per_s: float | None) -> dict[int, tuple[float, float, float]]:
    """Return (p99_ms, images_per_s, worst_ms) by batch."""
    table = {}
    for batch, samples in sweep.items():
        p99, _, mean = _times(samples)
        filling_ms = 0.0 if arriving_per_s is None else 1000 * (batch - 1) / arriving_per_s
        table[batch] = (p99, 1000 * batch / mean, p99 + filling_ms)
    return table


def _choice(
    table: Mapping[int, tuple[float, float, float]],
    budget_ms: float,
    arriving_per_s: float | None,
    *,
    ignoring: str = "",
) -> int | None:
    """Return the right choice, or the one of somebody who ignores a condition."""
    fits = [
        batch
        for batch, (p99, rate, worst) in table.items()
        if (ignoring == "budget" or (p99 if ignoring == "filling" else worst) <= budget_ms)
        and (arriving_per_s is None or ignoring == "falling behind" or rate >= arriving_per_s)
    ]
    if ignoring == "throughput":
        return max(fits, default=None)
    return max(sorted(fits), key=lambda batch: table[batch][1], default=None)


def _by_median(sweep: Sweep, budget_ms: float, arriving_per_s: float | None) -> int | None:
    table = {
        batch: (0.0, rate, worst - p99 + float(np.median(sweep[batch])))
        for batch, (p99, rate, worst) in _table(sweep, arriving_per_s).items()
    }
    return _choice(table, budget_ms, arriving_per_s)


def _per_image(sweep: Sweep, budget_ms: float, arriving_per_s: float | None) -> int | None:
    table = {batch: (p99, rate, p99 / batch) for batch, (p99, rate, _) in _table(sweep, arriving_per_s).items()}
    return _choice(table, budget_ms, arriving_per_s)


def _draw(case: str, rng: np.random.Generator) -> dict[str, object]:
    fixed, each = rng.uniform(4, 8), rng.uniform(0.6, 1.2)
    generous = case == "a generous budget"
    thrashing = rng.uniform(0.01, 0.03) * (2 if generous else 1)  # large batches no longer fit the cache
    tails = rng.uniform(0.3, 1.2, len(_BATCHES)) if case == "a slow tail" else np.full(len(_BATCHES), 0.15)
    sweep = {}
    for batch, tail in zip(_BATCHES, tails, strict=True):
        median = fixed + each * batch + thrashing * batch**2
        samples = median * rng.lognormal(0, 0.03, 400)
        samples[rng.random(400) < 0.03] *= 1 + tail
        sweep[int(batch)] = np.round(samples, 4)
    order = rng.permutation(len(_BATCHES))
    sweep = {list(sweep)[index]: sweep[list(sweep)[index]] for index in order}
    rates = [rate for _, rate, _ in _table(sweep, None).values()]
    arriving = None
    if case in ("a camera", "a slow tail", "no batch fits"):
        arriving = float(rng.uniform(0.2, 0.5) * max(rates))
    if case == "too fast a camera":
        arriving = float(rng.uniform(0.6, 0.95) * max(rates))
    worst = [entry[2] for entry in _table(sweep, arriving).values()]
    low, high = (0.4, 0.8) if case == "no batch fits" else (1.5, 4.0)
    budget = float(max(worst) * 1.3 if generous else min(worst) * rng.uniform(low, high))
    return {"sweep": sweep, "budget_ms": round(budget, 1), "images_per_s": arriving}


def _is_clear(drawn: dict, case: str) -> bool:
    """Whether nothing is a near tie, and the mistake that the case is about leads elsewhere."""
    sweep, budget, arriving = drawn["sweep"], drawn["budget_ms"], drawn["images_per_s"]
    table = _table(sweep, arriving)
    right = _choice(table, budget, arriving)
    if case == "no batch fits":
        return right is None
    rates = sorted(rate for _, rate, _ in table.values())
    margins = [abs(worst / budget - 1) for _, _, worst in table.values()]
    if arriving is not None:
        margins += [abs(rate / arriving - 1) for rate in rates]
    if min(margins) < 0.03:
        return False
    if case == "too fast a camera":  # what keeps the budget falls behind
        return right is None and any(worst <= budget for _, _, worst in table.values())
    if right is None or min(b / a for a, b in itertools.pairwise(rates)) < 1.02:
        return False
    mistakes = {
        "images in a folder": (
            _per_image(sweep, budget, arriving),
            _choice(table, budget, arriving, ignoring="budget"),
        ),
        "a camera": (_choice(table, budget, arriving, ignoring="filling"), _per_image(sweep, budget, arriving)),
        "a slow tail": (_by_median(sweep, budget, arriving),),
        "a generous budget": (_choice(table, budget, arriving, ignoring="throughput"),),
    }
    return right not in mistakes[case]


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """A sweep, a budget, and the rate at which images arrive (None: they are all there)."""
    drawn = _draw(case, rng)
    for _ in range(500):
        if _is_clear(drawn, case):
            break
        drawn = _draw(case, rng)
    return drawn


def _columns(answer, key: str) -> np.ndarray:
    answer.mapping(keys=_KEYS)
    batches = list(answer.inputs["sweep"])
    found = answer.item(key).mapping()
    by_batch = {int(name) if str(name).isdigit() else name: value for name, value in found.items()}
    if set(by_batch) != set(batches):
        raise Mismatch(
            expected=f"{key}: one entry for each of the batches {sorted(batches)}", seen=f"{list(by_batch)[:8]}"
        )
    return np.array([Value(by_batch[batch], f"{key} of batch {batch}").number() for batch in batches])


@points(1)
def test_p99_is_that_of_the_whole_batch(answer):
    """The p99 of each batch is the time that 99 of 100 calls keep."""
    seen, sweep = _columns(answer, "p99_ms"), answer.inputs["sweep"]
    right = np.array([_times(samples)[0] for samples in sweep.values()])
    hint = ""
    if np.allclose(seen, [_times(samples)[1] for samples in sweep.values()]):
        hint = "This is the median: every second image takes longer."
    elif np.allclose(seen, [samples.max() for samples in sweep.values()]):
        hint = "This is the slowest call: it grows with the number of calls you happened to time."
    elif np.allclose(seen * np.array(list(sweep)), right, rtol=0.02):
        hint = "An image in a batch is done when the batch is: its latency is that of the whole batch."
    # Between two samples, definitions of a quantile differ.
    for value, samples, exact in zip(seen, sweep.values(), right, strict=True):
        low, high = np.sort(samples)[[-6, -4]]
        if not min(low, exact) * (1 - 1e-9) <= value <= max(high, exact) * (1 + 1e-9):
            expect_close(seen, right, what="the p99 in milliseconds", rtol=1e-6, misconception=hint)


@points(1)
def test_throughput_is_images_over_time(answer):
    """The throughput is how many images a long run of such batches gets done in a second."""
    seen, sweep = _columns(answer, "images_per_s"), answer.inputs["sweep"]
    batches = np.array(list(sweep))
    means = np.array([_times(samples)[2] for samples in sweep.values()])
    hint = ""
    if np.allclose(seen, 1000 / means):
        hint = "These are batches per second."
    elif np.allclose(seen, batches / means):
        hint = "These are images per millisecond."
    elif np.allclose(seen, 1000 * batches / [_times(samples)[1] for samples in sweep.values()]):
        hint = "With the median the slow calls cost nothing. A long run has to pay for them: all images by all time."
    elif np.allclose(seen, [np.mean(1000 * batch / samples) for batch, samples in sweep.items()]):
        hint = "The mean of the rates is not the rate of the whole: the slow calls take more of the time."
    elif np.allclose(seen, 1000 * batches / [_times(samples)[0] for samples in sweep.values()], rtol=0.01):
        hint = "Not every call is as slow as the p99. That one is for the latency."
    expect_close(seen, 1000 * batches / means, what="images per second", rtol=1e-6, misconception=hint)


@points(1)
def test_worst_latency_counts_the_filling(answer):
    """The worst latency is that of a batch's first image: it waits until the batch is full."""
    seen, arriving = _columns(answer, "worst_ms"), answer.inputs["images_per_s"]
    p99 = _columns(answer, "p99_ms")  # the answer's own: a mistake there costs its points only once
    slowest = np.array([samples.max() for samples in answer.inputs["sweep"].values()])
    if not ((p99 > 0) & (p99 <= slowest)).all():
        raise Mismatch(expected="p99 times that are among the measured ones", seen="others")
    batches = np.array(list(answer.inputs["sweep"]))
    step = 0.0 if arriving is None else 1000 / arriving
    hint = ""
    if arriving is None:
        hint = "These images are all there: nobody waits for a batch to fill."
    elif np.allclose(seen, p99):
        hint = "The first image of a batch waits for the others to arrive before anything runs."
    elif np.allclose(seen, p99 + batches * step):
        hint = "The first image is there already when the waiting begins: it waits for the other ones only."
    elif np.allclose(seen, p99 + (batches - 1) * step / 2):
        hint = "That is the wait of an image in the middle; a budget is kept by the first one too, or not at all."
    expect_close(
        seen, p99 + (batches - 1) * step, what="the worst latency in milliseconds", rtol=1e-6, misconception=hint
    )


@points(2)
def test_the_choice(answer):
    """The chosen batch has the highest throughput of those that keep the budget and keep up."""
    value = answer.mapping(keys=_KEYS)["batch"]
    sweep, budget, arriving = (answer.inputs[name] for name in ("sweep", "budget_ms", "images_per_s"))
    table = _table(sweep, arriving)
    right = _choice(table, budget, arriving)
    conditions = f"the best batch within {budget:g} ms"
    if arriving is not None:
        conditions += f" that keeps up with {arriving:.0f} images a second"
    if value is None and right is None:
        return
    if right is None:
        conditions = conditions.replace("the best", "None, for there is no")
    if value is None:
        raise Mismatch(expected=conditions, seen="None", misconception="At least one batch keeps the budget here.")
    seen = answer.item("batch").integer()
    if seen == right:
        return
    raise Mismatch(expected=conditions, seen=f"batch {seen}", misconception=_cause(seen, answer.inputs, table))


def _cause(seen: int, drawn: Mapping, table: Mapping[int, tuple[float, float, float]]) -> str:
    sweep, budget, arriving = drawn["sweep"], drawn["budget_ms"], drawn["images_per_s"]
    if seen not in table:
        return "The sweep has no such batch."
    p99, rate, worst = table[seen]
    if worst <= budget and arriving is not None and rate < arriving:
        return f"At {rate:.0f} images a second it falls behind: the queue grows, and with it the latency, without end."
    if worst > budget:
        if seen == _by_median(sweep, budget, arriving):
            return f"Its median keeps the budget, but its tail does not: with the p99 it takes {worst:.1f} ms."
        if p99 <= budget:
            return f"Its p99 keeps the budget, but not with the wait for the batch to fill: {worst:.1f} ms."
        if p99 / seen <= budget:
            return f"It takes {worst:.1f} ms in the worst case: an image is done when its whole batch is."
        return f"It takes {worst:.1f} ms in the worst case. A budget that cannot be kept has to be said."
    if seen == _choice(table, budget, arriving, ignoring="throughput"):
        return (
            "Throughput does not grow for ever: the largest batch is not always the one with the most images a second."
        )
    return "It keeps the budget, but another batch that does gets more images done."
