"""lab4.percentile_threshold: clip a fixed share of the values."""

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect_close, points

EXERCISE = Exercise(
    id="lab4.percentile_threshold",
    title="Percentile threshold from a histogram",
    objective="Choose a threshold that clips a fixed share of the values, from a histogram alone.",
    answer="percentile_threshold",
    difficulty=2,
    minutes=10,
    cases=("gaussian", "few values", "gaps", "all of them", "nothing seen"),
    hidden=("gaussian", "few values", "gaps", "all of them"),
    forbidden=(
        "yolotrt_lab.precision.calibrators.PercentileCalibrator",
        "yolotrt_lab.precision.calibrators.make_calibrator",
        "yolotrt_lab.precision.histogram.StreamingHistogram.quantile",
    ),
    seconds=5.0,
    reading="https://arxiv.org/abs/2004.09602",
)


def inputs(case, rng):
    """A histogram and a percentage."""
    scale = rng.uniform(0.3, 9)
    edges = np.linspace(0, scale, 257)
    counts = np.zeros(256, np.int64)
    if case == "nothing seen":
        return {"counts": counts, "edges": edges, "percentile": 99.9}
    if case == "few values":
        counts[: 40 + int(rng.integers(20))] = rng.integers(1, 9, 1)
        return {"counts": counts, "edges": edges, "percentile": float(rng.uniform(60, 95))}
    magnitudes = np.abs(rng.normal(0, 0.25, 50_000))
    counts = np.histogram(magnitudes[magnitudes < 1] * scale, bins=edges)[0]
    if case == "all of them":
        counts[int(rng.integers(120, 200)) :] = 0
        return {"counts": counts, "edges": edges, "percentile": 100.0}
    if case == "gaps":
        # The kept share ends exactly with a bin, and empty bins follow it.
        last = int(rng.integers(60, 90))
        counts = np.where(np.arange(256) < last, 8, 0)
        counts[last + 30 : last + 40] = 1
        counts[last - 1] += 8000 - 10 - 8 * last
        counts[last + 29] = 0
        return {"counts": counts, "edges": edges, "percentile": 100.0 * (1 - 10 / float(counts.sum()))}
    return {"counts": counts, "edges": edges, "percentile": float(rng.choice([99.0, 99.5, 99.9]))}


def threshold(counts, edges, percentile):
    """Return the smallest magnitude with that share of the values at or below it."""
    total = int(counts.sum())
    if total == 0:
        return 0.0
    target = percentile / 100 * total
    cumulative = np.cumsum(counts)
    place = int(np.argmax(cumulative >= target * (1 - 1e-12)))
    inside = (target - (cumulative[place] - counts[place])) / counts[place]
    return float(edges[place] + min(inside, 1.0) * (edges[place + 1] - edges[place]))


def other_ideas(counts, edges, percentile):
    """Yield (threshold, what one who chose it may have thought)."""
    share, width = percentile / 100, edges[1] - edges[0]
    yield edges[-1], "That is the end of the histogram's range, whether or not there are values so large."
    yield share * edges[-1], "That is a share of the range, not of the values: most values lie near zero."
    yield float(np.percentile(counts, percentile)), "That is a percentile of the counts, not of the magnitudes."
    if counts.sum():
        right = threshold(counts, edges, percentile)
        yield threshold(counts, edges, percentile / 100), "The percentile is in percent: 99.9 means a share of 0.999."
        cumulative = np.cumsum(counts)
        after = int(np.argmax(cumulative > share * counts.sum()))
        if abs(edges[after] - right) > 1.5 * width:
            idea = "Several magnitudes keep that share, because bins are empty; the smallest wastes least."
            yield from ((edges[after], idea), (edges[after + 1], idea))
        position = int(right / width - 1e-9)
        names = {0.0: "the lower edge", 0.5: "the middle", 1.0: "the upper edge"}
        for offset, name in names.items():
            yield (
                edges[0] + (position + offset) * width,
                f"That is {name} of the bin. Within a bin, take the values as evenly spread.",
            )


def judge_threshold(answer):
    """Raise unless the threshold is right to a fiftieth of a bin."""
    counts, edges, percentile = (answer.inputs[name] for name in ("counts", "edges", "percentile"))
    width = float(edges[1] - edges[0])
    seen, expected = answer.number(), threshold(counts, edges, percentile)
    if abs(seen - expected) <= width / 50:
        return
    ideas = (text for guess, text in other_ideas(counts, edges, percentile) if abs(seen - guess) < width / 50)
    raise Mismatch(expected=f"{expected:.5f}", seen=f"{seen:.5f}", misconception=next(ideas, ""))


def picture(answer):
    """Show the histogram with both thresholds."""
    from yolotrt_lab.figures.verdicts import threshold_choice

    counts, edges, percentile = (answer.inputs[name] for name in ("counts", "edges", "percentile"))
    expected, seen = threshold(counts, edges, percentile), answer.number()
    if not counts.sum() or abs(seen - expected) <= (edges[1] - edges[0]) / 50:
        return None
    return Drawing(
        threshold_choice(counts, edges, expected=expected, seen=seen),
        caption=f"The histogram of “{answer.case.name}”: {percentile:g} % of the values should lie left of the cut.",
        alt=f"The threshold is {expected:.5g}; the answer's is {seen:.5g}. The largest magnitude is {edges[-1]:.5g}.",
    )


@points(2, cases=("gaussian", "few values"))
def test_that_share_lies_below(answer):
    """The given share of the values lies at or below the threshold."""
    judge_threshold(answer)


@points(1, cases=("gaps", "all of them", "nothing seen"))
def test_smallest_such_magnitude(answer):
    """The smallest such magnitude, also where bins are empty."""
    if answer.case.name == "nothing seen":
        expect_close(answer.number(), 0.0, what="the threshold of an empty histogram")
        return
    judge_threshold(answer)
