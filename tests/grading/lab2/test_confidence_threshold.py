"""lab2.confidence_threshold: one detector, two customers, two thresholds."""

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab2.confidence_threshold",
    title="A threshold for safety, a threshold for search",
    objective="Choose the operating point that a use case demands, and know what it costs.",
    answer="choose_thresholds",
    difficulty=3,
    minutes=30,
    cases=("plenty of data", "bumpy precision", "equal scores", "out of reach", "missed objects"),
    hidden=("plenty of data", "bumpy precision", "equal scores", "missed objects"),
    reading="https://scikit-learn.org/stable/modules/classification_threshold.html",
)


def inputs(case, rng):
    """Judged detections in any order, how many objects there are, and what the customers ask for."""
    count = 400 if case == "plenty of data" else 90
    is_true = rng.random(count) < 0.55
    scores = np.clip(rng.normal(np.where(is_true, 0.62, 0.38), 0.17), 0.01, 0.99)
    if case == "bumpy precision":
        # False alarms with high scores: precision starts low, rises, and falls again.
        scores[~is_true] = np.where(rng.random((~is_true).sum()) < 0.12, rng.uniform(0.9, 0.99), scores[~is_true])
    scores = np.round(scores, 1 if case == "equal scores" else 6)
    true = int(is_true.sum())
    positives = true + (int(0.35 * true) if case == "missed objects" else int(rng.integers(1, 4)))
    if case == "out of reach":  # the most confident detection is a false alarm, and is kept at any threshold
        scores[int(np.argmin(is_true))] = 0.995
    given = {"scores": scores, "is_true": is_true, "positives": positives}
    return given | _floors(case, **given)


def _floors(case, scores, is_true, positives):
    """Return what the customers ask for: a little less than can be had, or a little more."""
    _, precision, recall = operating_points(scores, is_true, positives)
    if case == "out of reach":
        return {"recall_floor": round(recall.max() + 0.005, 3), "precision_floor": 1.0}
    floor = round(0.96 * float(precision[recall >= 0.3].max()), 3)
    for share in np.linspace(0.85, 0.95, 41):
        recall_floor = round(float(share * recall.max()), 3)
        keeps = np.flatnonzero(recall >= recall_floor)
        if precision[keeps[0]] < precision[keeps].max():  # the highest threshold that keeps it is not the best one
            break
    return {"recall_floor": recall_floor, "precision_floor": floor}


def operating_points(scores, is_true, positives):
    """Return (thresholds, precision, recall), one entry per distinct score, from the highest."""
    thresholds = np.unique(scores)[::-1]
    kept = np.array([(scores >= value).sum() for value in thresholds])
    true = np.array([is_true[scores >= value].sum() for value in thresholds])
    return thresholds, true / kept, true / positives


def _choices(scores, is_true, positives, recall_floor, precision_floor):
    """Return the right operating points: (threshold, precision, recall) or None."""
    thresholds, precision, recall = operating_points(scores, is_true, positives)
    points_ = list(zip(thresholds, precision, recall, strict=True))
    safe = [point for point in points_ if point[2] >= recall_floor - 1e-12]
    precise = [point for point in points_ if point[1] >= precision_floor - 1e-12]
    return {
        "safety": max(safe, key=lambda p: (p[1], p[0])) if safe else None,
        "search": max(precise, key=lambda p: (p[2], p[1], p[0])) if precise else None,
    }


def _rates(given, threshold):
    """Return precision and recall at a threshold; precision is 0 where nothing is kept."""
    kept = given["scores"] >= threshold
    true = int((kept & given["is_true"]).sum())
    return (true / kept.sum() if kept.any() else 0.0), true / given["positives"]


def _chosen(answer, use):
    """Return the chosen threshold, or None."""
    entry = answer.item(use)
    if entry.output is None:
        return None
    entry.mapping(keys=("threshold", "precision", "recall"))
    return entry.item("threshold").number()


def _found(answer, use, right):
    """Return the threshold; there must be one."""
    answer.mapping(keys=("safety", "search"))
    threshold = _chosen(answer, use)
    if threshold is None:
        raise Mismatch(
            expected=f"a threshold for {use}: at {right[0]:.4f} the floor is reached",
            seen="None",
            misconception="The floor can be reached. Is recall a share of all objects, and precision of what is kept?",
        )
    return threshold


def _require_use_case(given, threshold, seen):
    """Raise if the threshold is the one of the best F1, which is nobody's use case."""
    thresholds, precision, recall = operating_points(given["scores"], given["is_true"], given["positives"])
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    if _rates(given, threshold) == _rates(given, thresholds[int(np.argmax(f1))]):
        raise Mismatch(
            expected="the threshold that this use case asks for",
            seen=seen,
            misconception="That is where F1 is best. F1 weighs a miss like a false alarm; neither customer does.",
        )


def _shown(point):
    return f"threshold {point[0]:.4f}, precision {point[1]:.4f}, recall {point[2]:.4f}"


def picture(answer):
    """Show precision and recall over the threshold, the floor, and both choices for one of the customers."""
    from yolotrt_lab.figures.verdicts import operating_choices

    given = answer.inputs
    thresholds, precision, recall = operating_points(given["scores"], given["is_true"], given["positives"])
    for use, rate in (("safety", "recall"), ("search", "precision")):
        right, seen = _choices(**given)[use], _chosen(answer, use)
        if right is None or seen is None or np.allclose(_rates(given, seen), right[1:], atol=1e-9):
            continue
        floor, rates = given[f"{rate}_floor"], _rates(given, seen)
        return Drawing(
            operating_choices(
                thresholds,
                {"precision": precision, "recall": recall},
                floor=(rate, floor),
                expected=right[0],
                seen=seen,
            ),
            caption=f"“{answer.case.name}”, the threshold for {use}: {rate} must not fall below its floor.",
            alt=f"For {use} the threshold is {right[0]:.4f}. At the answer's, {seen:.4f}, precision is {rates[0]:.3f} "
            f"and recall {rates[1]:.3f}; the floor of {rate} is {floor:g}.",
        )
    return None


@points(3, cases=("plenty of data", "bumpy precision", "missed objects", "equal scores"))
def test_safety(answer):
    """Safety: the recall floor is kept, at the best precision that leaves."""
    given = answer.inputs
    right = _choices(**given)["safety"]
    threshold = _found(answer, "safety", right)
    precision, recall = _rates(given, threshold)
    floor = given["recall_floor"]
    seen = _shown((threshold, precision, recall))
    if recall < floor - 1e-9 or precision < right[1] - 1e-9:
        _require_use_case(given, threshold, seen)
    if recall < floor - 1e-9:
        true_only = (given["is_true"] & (given["scores"] >= threshold)).sum() / given["is_true"].sum()
        idea = "Somebody's hand is in the machine: the floor is not a wish."
        if true_only >= floor:
            idea = "Recall is a share of all objects. Those that no detection found at any score are misses too."
        elif precision >= given["precision_floor"]:
            idea = "That is the search's choice: it keeps a precision floor, and here recall counts."
        raise Mismatch(expected=f"recall of at least {floor:g}", seen=seen, misconception=idea)
    if precision >= right[1] - 1e-9:
        return
    thresholds, _, all_recall = operating_points(given["scores"], given["is_true"], given["positives"])
    highest = thresholds[all_recall >= floor - 1e-12].max()
    idea = "A lower threshold than needed: false alarms teach people to switch the guard off."
    if abs(threshold - highest) < 1e-9:
        idea = "Precision does not always rise with the threshold. Compare it at every threshold that keeps the floor."
    raise Mismatch(expected=f"{_shown(right)}, or an equally good one", seen=seen, misconception=idea)


@points(3, cases=("plenty of data", "bumpy precision", "missed objects", "equal scores"))
def test_search(answer):
    """Search: the precision floor is kept, at the best recall that leaves."""
    given = answer.inputs
    right = _choices(**given)["search"]
    threshold = _found(answer, "search", right)
    precision, recall = _rates(given, threshold)
    floor = given["precision_floor"]
    seen = _shown((threshold, precision, recall))
    if precision < floor - 1e-9 or recall < right[2] - 1e-9:
        _require_use_case(given, threshold, seen)
    if precision < floor - 1e-9:
        idea = "Too many of the hits shown are wrong."
        if recall >= given["recall_floor"]:
            idea = "That is the guard's choice: it keeps a recall floor, and here precision counts."
        raise Mismatch(expected=f"precision of at least {floor:g}", seen=seen, misconception=idea)
    if recall >= right[2] - 1e-9:
        return
    thresholds, all_precision, _ = operating_points(given["scores"], given["is_true"], given["positives"])
    reaches = all_precision >= floor - 1e-12
    first_run = thresholds[: int(np.argmin(reaches))] if not reaches.all() else thresholds
    idea = "A higher threshold than needed: results that would have been right are not shown."
    if len(first_run) and abs(threshold - first_run.min()) < 1e-9:
        idea = "Precision is bumpy: it may dip below the floor and come back. Look at every threshold."
    raise Mismatch(expected=f"{_shown(right)}, or an equally good one", seen=seen, misconception=idea)


@points(1, cases=("equal scores",))
def test_equal_scores_go_together(answer):
    """Detections with the same score are kept or dropped together."""
    given = answer.inputs
    for use, right in _choices(**given).items():
        threshold = _found(answer, use, right)
        entry = answer.item(use)
        _, recall = _rates(given, threshold)
        expect(
            abs(entry.item("recall").number() - recall) <= 1e-6,
            expected=f"{use}: at threshold {threshold:.4f} recall is {recall:.4f}",
            seen=f"{entry.item('recall').number():.4f}",
            misconception="A threshold cannot cut between equal scores: all of them are kept, or none.",
        )


@points(1, cases=("out of reach",))
def test_what_cannot_be_had(answer):
    """A floor that no threshold reaches is said to be out of reach."""
    answer.mapping(keys=("safety", "search"))
    right = _choices(**answer.inputs)
    for use in ("safety", "search"):
        threshold = _chosen(answer, use)
        if right[use] is None and threshold is not None:
            precision, recall = _rates(answer.inputs, threshold)
            raise Mismatch(
                expected=f"{use}: None",
                seen=_shown((threshold, precision, recall)),
                misconception="No threshold keeps this floor. Say so: a threshold that looks like an answer would be "
                "deployed.",
            )


@points(2, cases=("plenty of data", "bumpy precision", "missed objects"))
def test_rates_belong_to_the_threshold(answer):
    """Precision and recall are those at the threshold, and both are right."""
    given = answer.inputs
    for use, right in _choices(**given).items():
        threshold = _found(answer, use, right)
        precision, recall = _rates(given, threshold)
        entry = answer.item(use)
        for name, value in (("precision", precision), ("recall", recall)):
            seen = entry.item(name).number()
            kept = given["scores"] > threshold
            strict = (kept & given["is_true"]).sum() / max(kept.sum() if name == "precision" else given["positives"], 1)
            found = (given["is_true"] & (given["scores"] >= threshold)).sum() / given["is_true"].sum()
            idea = ""
            if abs(seen - strict) < 1e-6:
                idea = "A detection that scores exactly the threshold is kept."
            elif name == "recall" and abs(seen - found) < 1e-6:
                idea = "Recall is a share of all objects (`positives`), not of those that some detection found."
            expect(
                abs(seen - value) <= 1e-6,
                expected=f"{use}: {name} {value:.4f} at threshold {threshold:.4f}",
                seen=f"{seen:.4f}",
                misconception=idea,
            )
