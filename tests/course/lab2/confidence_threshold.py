"""Wrong and right answers to lab2.confidence_threshold."""

import numpy as np
from tests_course_api import right, wrong


def _points(scores, is_true, positives, *, strict=False):
    """Return (threshold, precision, recall) of every distinct score, from the highest."""
    points = []
    for threshold in sorted(set(scores.tolist()), reverse=True):
        kept = scores > threshold if strict else scores >= threshold
        true = int((kept & is_true).sum())
        points.append((threshold, true / max(kept.sum(), 1), true / positives))
    return points


def _named(point):
    return None if point is None else dict(zip(("threshold", "precision", "recall"), map(float, point), strict=True))


def _both(points, recall_floor, precision_floor):
    safe = [point for point in points if point[2] >= recall_floor]
    precise = [point for point in points if point[1] >= precision_floor]
    return {
        "safety": _named(max(safe, key=lambda p: p[1], default=None)),
        "search": _named(max(precise, key=lambda p: p[2], default=None)),
    }


@wrong(caught_by="test_safety", says="does not always rise")
def highest_threshold_for_safety(scores, is_true, positives, recall_floor, precision_floor):
    """Believes that precision rises with the threshold."""
    points = _points(scores, is_true, positives)
    answer = _both(points, recall_floor, precision_floor)
    return {**answer, "safety": _named(next((p for p in points if p[2] >= recall_floor), None))}


@wrong(caught_by="test_search", says="dip below the floor")
def first_dip_for_search(scores, is_true, positives, recall_floor, precision_floor):
    """Walks down from the top and stops where precision falls below the floor."""
    points = _points(scores, is_true, positives)
    answer = _both(points, recall_floor, precision_floor)
    last = None
    for point in points:
        if point[1] < precision_floor and last is not None:
            break
        if point[1] >= precision_floor:
            last = point
    return {**answer, "search": _named(last)}


@wrong(caught_by="test_safety", says="share of all objects")
def recall_of_the_found(scores, is_true, positives, recall_floor, precision_floor):
    """Divides by what some detection found."""
    return _both(_points(scores, is_true, int(is_true.sum())), recall_floor, precision_floor)


@wrong(caught_by="test_safety", says="search's choice")
def exchanged(scores, is_true, positives, recall_floor, precision_floor):
    """Gives each customer the other's threshold."""
    answer = _both(_points(scores, is_true, positives), recall_floor, precision_floor)
    return {"safety": answer["search"], "search": answer["safety"]}


@wrong(caught_by="test_what_cannot_be_had", says="would be deployed")
def always_an_answer(scores, is_true, positives, recall_floor, precision_floor):
    """Where the floor is out of reach, takes what comes closest."""
    points = _points(scores, is_true, positives)
    answer = _both(points, recall_floor, precision_floor)
    return {
        "safety": answer["safety"] or _named(max(points, key=lambda p: p[2])),
        "search": answer["search"] or _named(max(points, key=lambda p: p[1])),
    }


@wrong(caught_by="test_rates_belong_to_the_threshold", says="is kept")
def strictly_above(scores, is_true, positives, recall_floor, precision_floor):
    """Keeps what scores more than the threshold."""
    return _both(_points(scores, is_true, positives, strict=True), recall_floor, precision_floor)


@wrong(caught_by="test_equal_scores_go_together", says="cannot cut between equal scores")
def one_detection_at_a_time(scores, is_true, positives, recall_floor, precision_floor):
    """Cumulates along the sorted list without regard to ties."""
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(is_true[order])
    points = list(zip(scores[order], true / np.arange(1, len(order) + 1), true / positives, strict=True))
    return _both(points, recall_floor, precision_floor)


@wrong(caught_by="test_search", says="F1 weighs a miss")
def best_f1_for_everybody(scores, is_true, positives, recall_floor, precision_floor):
    """One threshold for all: the best F1."""
    points = _points(scores, is_true, positives)
    best = _named(max(points, key=lambda p: 2 * p[1] * p[2] / max(p[1] + p[2], 1e-9)))
    return {"safety": best, "search": best}


@right
def cumulated_over_distinct_scores(scores, is_true, positives, recall_floor, precision_floor):
    """Sums per distinct score; NumPy numbers."""
    values, place = np.unique(-scores, return_inverse=True)
    true = np.cumsum(np.bincount(place, weights=is_true))
    kept = np.cumsum(np.bincount(place))
    precision, recall = true / kept, true / positives
    safe = np.where(recall >= recall_floor, precision, -1)
    precise = np.where(precision >= precision_floor, recall, -1)
    answer = {}
    for use, quality in (("safety", safe), ("search", precise)):
        best = int(np.argmax(quality))
        found = {"threshold": -values[best], "precision": precision[best], "recall": recall[best]}
        answer[use] = found if quality[best] >= 0 else None
    return answer


@right
def thresholds_between_the_scores(scores, is_true, positives, recall_floor, precision_floor):
    """Cuts halfway between two scores, which keeps the same detections."""
    distinct = np.unique(scores)
    cuts = np.concatenate(([distinct[0] - 0.005], (distinct[1:] + distinct[:-1]) / 2))
    best = {"safety": None, "search": None}
    for cut in cuts.tolist():
        kept = is_true[scores >= cut]
        precision, recall = float(kept.mean()), float(kept.sum() / positives)
        point = {"threshold": cut, "precision": precision, "recall": recall}
        if recall >= recall_floor and (best["safety"] is None or precision > best["safety"]["precision"]):
            best["safety"] = point
        if precision >= precision_floor and (best["search"] is None or recall > best["search"]["recall"]):
            best["search"] = point
    return best
