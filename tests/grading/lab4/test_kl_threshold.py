"""lab4.kl_threshold: the threshold that loses the least information, as TensorRT's entropy calibrator chooses it."""

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab4.kl_threshold",
    title="Entropy threshold from a histogram",
    objective="Say what the entropy calibrator minimises, and compute its threshold.",
    answer="kl_threshold",
    difficulty=4,
    minutes=30,
    cases=("gaussian", "long tail", "outliers", "four bits", "relu"),
    hidden=("gaussian", "long tail", "outliers", "relu"),
    forbidden=(
        "yolotrt_lab.precision.calibrators.kl_divergences",
        "yolotrt_lab.precision.calibrators.EntropyCalibrator",
        "yolotrt_lab.precision.calibrators.make_calibrator",
    ),
    seconds=20.0,
    reading="https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf",
)


def inputs(case, rng):
    """A histogram of magnitudes."""
    scale, count = rng.uniform(0.5, 20), 60_000
    levels, bins = (8, 128) if case == "four bits" else (128, 512)
    if case == "long tail":
        values = rng.standard_t(3, count)
        values = values[np.abs(values) < 12 * rng.uniform(1.5, 2.5)]
    elif case == "outliers":
        values = np.concatenate([rng.normal(0, 1, count), rng.uniform(8, 11, 30)])
    elif case == "relu":
        values = np.maximum(rng.normal(0, 1, count), 0) + np.maximum(rng.normal(-1, 1, count), 0)
    elif case == "four bits":
        values = rng.laplace(0, 1, count)
    else:
        values = rng.normal(0, 1, count)
    magnitudes = np.abs(values) * scale
    counts, edges = np.histogram(magnitudes, bins=bins, range=(0.0, float(magnitudes.max())))
    return {"counts": counts, "edges": edges, "levels": levels}


def divergences(counts, levels, *, fold=True, quiet_zero=True, only_filled=True, outliers_in_q=False, swap=False):
    """Return the divergence of every cut from `levels` bins on. The switches give what people get wrong."""
    bins = counts.astype(np.float64)
    if quiet_zero:
        bins[0] = bins[1]
    found = np.full(len(bins) + 1, np.inf)
    for cut in range(levels, len(bins) + 1):
        kept, outliers = bins[:cut], bins[cut:].sum()
        p = kept.copy()
        if fold:
            p[-1] += outliers
        source = p if outliers_in_q else kept
        filled = source > 0 if only_filled else np.ones(cut, bool)
        level = np.arange(cut) * levels // cut
        members = np.maximum(np.bincount(level, filled, levels), 1)
        q = np.where(filled, (np.bincount(level, source, levels) / members)[level], 0.0)
        if q.sum() and p.sum():
            found[cut] = _divergence(q, p) if swap else _divergence(p, q)
    return found


def _divergence(p, q):
    p, q = p / p.sum(), q / q.sum()
    there = p > 0
    if np.any(q[there] == 0):
        return np.inf
    return float(np.sum(p[there] * np.log(p[there] / q[there])))


def best_cut(found):
    """Return the cut with the smallest divergence, the last one on a tie."""
    return len(found) - 1 - int(np.argmin(found[::-1]))


def mse_cut(counts, edges, levels):
    """Return the cut that makes the squared error smallest."""
    centers, errors = (edges[:-1] + edges[1:]) / 2, []
    for cut in range(levels, len(counts) + 1):
        step = edges[cut] / (levels - 1)
        restored = np.minimum(np.rint(centers / step), levels - 1) * step
        errors.append(np.sum(counts * (centers - restored) ** 2))
    return levels + int(np.argmin(errors))


def other_ideas(counts, edges, levels):
    """Yield (cut, what one who chose it may have thought)."""
    bins = len(counts)
    cumulative = np.cumsum(counts) / counts.sum()
    yield bins, "That is min-max calibration: it clips nothing, and lets the rarest value set the step of all others."
    # Outliers in neither distribution, or in both: clipping costs nothing, and the shortest cut is free of loss.
    idea = "Clipping costs nothing here, so the shortest cut wins. The outliers are part of P, and only of P."
    yield best_cut(divergences(counts, levels, fold=False)), idea
    yield best_cut(divergences(counts, levels, outliers_in_q=True)), idea
    yield (
        best_cut(divergences(counts, levels, only_filled=False)),
        "Q has counts where the histogram has none. A level's sum goes to its non-empty bins only.",
    )
    yield (
        best_cut(divergences(counts, levels, swap=True)),
        "The divergence is the wrong way round: KL(Q || P) is not KL(P || Q), and P, the data, comes first.",
    )
    yield (
        best_cut(divergences(counts, levels, quiet_zero=False)),
        "The first bin decides. It holds the exact zeros, which any threshold keeps; the docstring says what to do.",
    )
    yield mse_cut(counts, edges, levels), "That minimises the squared error, not the divergence: another calibrator."
    for share in (0.999, 0.9999):
        cut = int(np.searchsorted(cumulative, share)) + 1
        yield cut, "That is a percentile: it asks how many values are clipped, not how much information is lost."


def judge_threshold(answer):
    """Raise unless the threshold has the smallest divergence."""
    counts, edges, levels = (answer.inputs[name] for name in ("counts", "edges", "levels"))
    seen = answer.number()
    position = seen / (edges[1] - edges[0])
    cut = round(position)
    found = divergences(counts, levels)
    least = float(found.min())
    near = levels <= cut < len(found) and abs(position - cut) < 0.02
    if near and found[cut] <= least * (1 + 1e-6) + 1e-12:
        return
    best = best_cut(found)
    idea = ""
    if abs(position - cut) > 0.3 and abs(position - best) < 0.7:
        idea = "That is the middle of a bin; a threshold is the upper edge of the last bin it keeps."
    elif near and cut == best - 1:
        idea = "One bin short: if `cut` bins are kept, the threshold is where the last of them ends."
    elif near:
        ideas = (text for guess, text in other_ideas(counts, edges, levels) if guess == cut)
        idea = next(ideas, "")
    at_cut = f", where the divergence is {found[cut]:.4g}" if near and np.isfinite(found[cut]) else ""
    raise Mismatch(
        expected=f"a threshold whose divergence is the least of all, {least:.4g}",
        seen=f"{seen:.4f}{at_cut}",
        misconception=idea,
    )


def picture(answer):
    """Show the histogram with both thresholds, and the divergence of every cut."""
    from yolotrt_lab.figures.verdicts import threshold_choice

    counts, edges, levels = (answer.inputs[name] for name in ("counts", "edges", "levels"))
    seen, found = answer.number(), divergences(counts, levels)
    best = best_cut(found)
    expected = float(edges[best])
    if abs(seen - expected) < 0.02 * (edges[1] - edges[0]):
        return None
    cost = edges[levels:], found[levels:], "KL(P || Q)"
    return Drawing(
        threshold_choice(counts, edges, expected=expected, seen=seen, cost=cost),
        caption=f"The histogram of “{answer.case.name}” and, below, what each threshold costs. Yours should be where "
        "the lower curve is lowest; where it is missing, the divergence is infinite.",
        alt=f"The divergence is least at {expected:.5g}, where it is {found[best]:.4g}. The answer's threshold is "
        f"{seen:.5g}.",
    )


@points(1)
def test_threshold_is_possible(answer):
    """A possible threshold, and the histogram left as it was."""
    edges, levels = answer.inputs["edges"], answer.inputs["levels"]
    seen = answer.number()
    tolerance = 1e-6 * edges[-1]
    idea = "It is a magnitude, in the units of the edges."
    if seen == int(seen) and levels <= seen <= len(edges) - 1:
        idea = "That looks like a number of bins. The calibrator wants a magnitude, in the units of the edges."
    expect(
        edges[levels] - tolerance <= seen <= edges[-1] + tolerance,
        expected=f"between {edges[levels]:.4f}, where {levels} bins end, and {edges[-1]:.4f}, the largest magnitude",
        seen=f"{seen:.4f}",
        misconception=idea,
    )
    expect(
        not answer.changed_inputs,
        expected="the histogram as it was before the call",
        seen=f"changed in place: {', '.join(answer.changed_inputs)}",
        misconception="NumPy slices are views: what is written to one is written to the caller's histogram.",
    )


@points(5, cases=("gaussian", "long tail", "outliers", "four bits"))
def test_threshold_minimises_the_divergence(answer):
    """The threshold minimises the KL divergence."""
    judge_threshold(answer)


@points(1, cases=("relu",))
def test_exact_zeros_do_not_decide(answer):
    """The many zeros of a ReLU do not decide."""
    judge_threshold(answer)
