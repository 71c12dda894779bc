"""Wrong and right answers to lab4.percentile_threshold."""

import numpy as np
from tests_course_api import right, wrong


@wrong(caught_by="test_that_share_lies_below", says="share of the range")
def share_of_the_range(counts, edges, percentile=99.99):
    """Takes a percentile for a part of the largest value."""
    return float(percentile / 100 * edges[-1])


@wrong(caught_by="test_that_share_lies_below", says="upper edge")
def upper_edge(counts, edges, percentile=99.99):
    """Stops at the end of the bin in which the percentile lies."""
    if counts.sum() == 0:
        return 0.0
    place = np.searchsorted(np.cumsum(counts), percentile / 100 * counts.sum() * (1 - 1e-12))
    return float(edges[place + 1])


@wrong(caught_by="test_that_share_lies_below", says="lower edge")
def lower_edge(counts, edges, percentile=99.99):
    """Stops where the bin begins."""
    if counts.sum() == 0:
        return 0.0
    return float(edges[np.searchsorted(np.cumsum(counts), percentile / 100 * counts.sum() * (1 - 1e-12))])


@wrong(caught_by="test_that_share_lies_below", says="percentile of the counts")
def percentile_of_the_counts(counts, edges, percentile=99.99):
    """Hands the histogram to np.percentile as if it were the values."""
    return float(np.percentile(counts, percentile))


@wrong(caught_by="test_that_share_lies_below", says="in percent")
def takes_percent_for_a_share_of_one(counts, edges, percentile=99.99):
    """Divides by 100 once too often."""
    share = percentile / 100 / 100
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    return float(np.interp(share * cumulative[-1], cumulative, edges)) if cumulative[-1] else 0.0


@wrong(caught_by="test_smallest_such_magnitude", says="smallest wastes least")
def passes_over_the_gap(counts, edges, percentile=99.99):
    """Looks for the first bin that goes beyond the share, and so passes over empty ones."""
    total = counts.sum()
    if total == 0:
        return 0.0
    target, cumulative = percentile / 100 * total * (1 + 1e-12), np.cumsum(counts)
    if target >= total:
        last = int(np.flatnonzero(counts)[-1])
        return float(edges[last + 1])
    place = int(np.argmax(cumulative > target))
    inside = (target - (cumulative[place] - counts[place])) / counts[place]
    return float(edges[place] + inside * (edges[place + 1] - edges[place]))


@wrong(caught_by="test_smallest_such_magnitude", says="end of the histogram's range")
def all_of_the_range_for_all_of_the_values(counts, edges, percentile=99.99):
    """Returns the end of the range for 100 percent, though nothing was seen there."""
    if percentile >= 100 or counts.sum() == 0:
        return float(edges[-1]) if counts.sum() else 0.0
    return loop(counts, edges, percentile)


@right
def loop(counts, edges, percentile=99.99):
    """Walks through the bins."""
    left = percentile / 100 * sum(int(count) for count in counts)
    if left == 0:
        return 0
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if left <= count * (1 + 1e-9) + 1e-6:
            return low + (high - low) * min(left / count, 1.0)
        left -= count
    return edges[-1]


@right
def interpolates_the_cumulative_histogram(counts, edges, percentile=99.99):
    """np.interp over the bins that hold something, in float32 at the end."""
    filled = np.flatnonzero(counts)
    if not len(filled):
        return np.float32(0)
    below = np.cumsum(counts)[filled] - counts[filled]
    target = percentile / 100 * counts.sum()
    place = filled[np.flatnonzero(below < target * (1 - 1e-12))[-1]]
    start = np.cumsum(counts)[place] - counts[place]
    return np.float32(np.interp(target, [start, start + counts[place]], [edges[place], edges[place + 1]]))
