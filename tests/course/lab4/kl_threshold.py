"""Wrong and right answers to lab4.kl_threshold."""

import numpy as np
from tests_course_api import right, wrong


def _search(counts, edges, levels, score, *, quiet_zero=True, fold=True):
    """The frame that all these share: try every cut, keep the best."""
    bins = np.array(counts, np.float64)
    if quiet_zero:
        bins[0] = bins[1]
    best, threshold = np.inf, edges[-1]
    for cut in range(levels, len(bins) + 1):
        kept = bins[:cut].copy()
        p = kept.copy()
        if fold:
            p[-1] += bins[cut:].sum()
        value = score(p, kept, np.arange(cut) * levels // cut)
        if value <= best:
            best, threshold = value, edges[cut]
    return float(threshold)


def _spread(source, level, *, only_filled=True):
    filled = source > 0 if only_filled else np.ones(len(source), bool)
    sums, members = np.bincount(level, source), np.bincount(level, filled)
    return np.where(filled, (sums / np.maximum(members, 1))[level], 0.0)


def _kl(p, q):
    p, q = p / p.sum(), q / q.sum()
    if ((p > 0) & (q == 0)).any():
        return np.inf
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


@wrong(caught_by="test_threshold_minimises_the_divergence", says="min-max calibration")
def largest_value(counts, edges, levels=128):
    """Believes that clipping always hurts."""
    return float(edges[-1])


@wrong(caught_by="test_threshold_minimises_the_divergence", says="outliers are part of P")
def drops_the_outliers(counts, edges, levels=128):
    """Compares the cut histogram with its own quantization; what was cut off is never missed."""
    return _search(counts, edges, levels, lambda p, kept, level: _kl(p, _spread(kept, level)), fold=False)


@wrong(caught_by="test_threshold_minimises_the_divergence", says="only of P")
def quantizes_what_was_folded(counts, edges, levels=128):
    """Makes Q from P, outliers included."""
    return _search(counts, edges, levels, lambda p, kept, level: _kl(p, _spread(p, level)))


@wrong(caught_by="test_threshold_minimises_the_divergence", says="non-empty bins")
def spreads_over_empty_bins(counts, edges, levels=128):
    """Spreads a level's sum evenly, over bins that hold nothing as well."""
    return _search(counts, edges, levels, lambda p, kept, level: _kl(p, _spread(kept, level, only_filled=False)))


@wrong(caught_by="test_threshold_minimises_the_divergence", says="wrong way round")
def swaps_the_distributions(counts, edges, levels=128):
    """Takes the divergence for a distance."""
    return _search(counts, edges, levels, lambda p, kept, level: _kl(_spread(kept, level), p))


@wrong(caught_by="test_threshold_minimises_the_divergence", says="squared error")
def least_squares(counts, edges, levels=128):
    """Minimises the error of the values instead of the loss of information."""
    centers, best = (edges[1:] + edges[:-1]) / 2, (np.inf, 0.0)
    for cut in range(levels, len(counts) + 1):
        step = edges[cut] / (levels - 1)
        error = (counts * (centers - np.minimum(np.rint(centers / step), levels - 1) * step) ** 2).sum()
        best = min(best, (error, edges[cut]))
    return float(best[1])


@wrong(caught_by="test_exact_zeros_do_not_decide", says="exact zeros")
def counts_the_zeros(counts, edges, levels=128):
    """Takes the histogram as it is."""
    return _search(counts, edges, levels, lambda p, kept, level: _kl(p, _spread(kept, level)), quiet_zero=False)


@wrong(caught_by="test_threshold_minimises_the_divergence", says="middle of a bin")
def middle_of_the_bin(counts, edges, levels=128):
    """Adds half a bin, as a slide of 2017 does."""
    right_edge = _search(counts, edges, levels, lambda p, kept, level: _kl(p, _spread(kept, level)))
    return right_edge - 0.5 * (edges[1] - edges[0])


@wrong(caught_by="test_threshold_is_possible", says="changed in place")
def writes_into_the_histogram(counts, edges, levels=128):
    """Silences the first bin in the caller's array."""
    counts[0] = counts[1]
    return _search(counts, edges, levels, lambda p, kept, level: _kl(p, _spread(kept, level)))


@wrong(caught_by="test_threshold_is_possible", says="number of bins")
def number_of_bins(counts, edges, levels=128):
    """Returns how many bins to keep."""
    threshold = _search(counts, edges, levels, lambda p, kept, level: _kl(p, _spread(kept, level)))
    return int(np.searchsorted(edges, threshold - 1e-9))


@right
def with_scipy_and_lists(counts, edges, levels=128):
    """Level by level in Python, scipy's relative entropy, lists for arrays."""
    from scipy.stats import entropy

    bins = [float(count) for count in counts]
    bins[0] = bins[1]
    results = []
    for cut in range(levels, len(bins) + 1):
        q = [0.0] * cut
        for level in range(levels):
            members = range(-(-level * cut // levels), -(-(level + 1) * cut // levels))
            filled = [j for j in members if bins[j] > 0]
            for j in filled:
                q[j] = sum(bins[k] for k in filled) / len(filled)
        p = [*bins[: cut - 1], bins[cut - 1] + sum(bins[cut:])]
        results.append((entropy(p, q), -cut))
    return np.float32(edges[-min(results)[1]])


@right
def all_cuts_at_once(counts, edges, levels=128):
    """Cumulative sums instead of a histogram per cut."""
    bins = counts.astype(float)
    bins[0] = bins[1]
    filled = bins > 0
    logs = np.zeros_like(bins)
    logs[filled] = bins[filled] * np.log(bins[filled])
    total = bins.sum()
    sums, members, entropies = (np.r_[0.0, np.cumsum(part)] for part in (bins, filled, logs))
    found = []
    for cut in range(levels, len(bins) + 1):
        bounds = -(-np.arange(levels + 1) * cut // levels)
        level_sums, level_members = np.diff(sums[bounds]), np.diff(members[bounds])
        means = np.log(np.maximum(level_sums, 1e-300) / np.maximum(level_members, 1))
        outliers, last = total - sums[cut], bins[cut - 1]
        if last == 0 and outliers > 0:
            found.append(np.inf)
            continue
        p_log_p = entropies[cut - 1] + ((last + outliers) * np.log(last + outliers) if last + outliers else 0.0)
        p_log_q = (level_sums * np.where(level_sums > 0, means, 0)).sum() + outliers * means[-1]
        found.append((p_log_p - p_log_q) / total - np.log(total) + np.log(sums[cut]))
    found = np.asarray(found)
    return edges[levels + np.flatnonzero(found <= found.min() + 1e-12)[-1]]
