"""Wrong and right answers to lab2.average_precision."""

import numpy as np
import torch
from tests_course_api import right, wrong
from torchvision.ops import box_iou

RECALLS = np.linspace(0, 1, 101)


def _iou(a, b, extra=0.0, keep_negative=False):
    a, b = np.asarray(a).reshape(-1, 4), np.asarray(b).reshape(-1, 4)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + extra
    shared = (sides if keep_negative else np.clip(sides, 0, None)).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2] + extra).prod(axis=1) for each in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def _match(iou, scores, threshold, *, ordered=True, once=True, beyond=False, insist=False):
    true, taken = [False] * len(scores), set()
    for index in np.argsort(-scores, kind="stable") if ordered else range(len(scores)):
        fits = [k for k in range(iou.shape[1]) if (iou[index, k] > threshold if beyond else iou[index, k] >= threshold)]
        if insist:
            fits = [k for k in fits if k == iou[index].argmax()]
        free = [k for k in fits if not once or k not in taken]
        if free:
            best = max(free, key=lambda k: iou[index, k])
            taken.add(best)
            true[index] = True
    return true


def _curve(is_true, scores, positives):
    flags = np.concatenate([np.asarray(each, bool) for each in is_true])
    flags = flags[np.argsort(-np.concatenate(scores), kind="stable")]
    true = np.cumsum(flags)
    return true / positives, true / np.arange(1, len(flags) + 1)


def _sampled(recall, precision, points=RECALLS):
    return float(np.mean([max(precision[recall >= point - 1e-12], default=0.0) for point in points]))


def _answer(truths, boxes, scores, iou_threshold, *, iou=_iou, ap=_sampled, positives=None, **switches):
    tables = [iou(found, truth) for found, truth in zip(boxes, truths, strict=True)]
    pairs = zip(tables, scores, strict=True)
    is_true = [_match(table, values, iou_threshold, **switches) for table, values in pairs]
    total = sum(map(len, truths)) if positives is None else positives(is_true)
    return {"iou": tables, "is_true": is_true, "ap": ap(*_curve(is_true, scores, max(total, 1)))}


@wrong(caught_by="test_iou", says="one pixel is added")
def pixels_counted_inclusively(truths, boxes, scores, iou_threshold):
    """Counts pixels as the VOC devkit did."""
    return _answer(truths, boxes, scores, iou_threshold, iou=lambda a, b: _iou(a, b, extra=1.0))


@wrong(caught_by="test_iou", says="two negative lengths")
def negative_lengths(truths, boxes, scores, iou_threshold):
    """Forgets that boxes may lie apart."""
    return _answer(truths, boxes, scores, iou_threshold, iou=lambda a, b: _iou(a, b, keep_negative=True))


@wrong(caught_by="test_true_positives", says="counts once")
def every_hit_counts(truths, boxes, scores, iou_threshold):
    """Lets each detection of an object be right."""
    return _answer(truths, boxes, scores, iou_threshold, once=False)


@wrong(caught_by="test_true_positives", says="chooses first, whatever the order")
def in_the_order_given(truths, boxes, scores, iou_threshold):
    """Matches without looking at the scores."""
    return _answer(truths, boxes, scores, iou_threshold, ordered=False)


@wrong(caught_by="test_true_positives", says="reaches it")
def strictly_beyond(truths, boxes, scores, iou_threshold):
    """Wants more than the threshold."""
    return _answer(truths, boxes, scores, iou_threshold, beyond=True)


@wrong(caught_by="test_true_positives", says="that are free")
def favourite_or_nothing(truths, boxes, scores, iou_threshold):
    """Gives up when the best true box is taken."""
    return _answer(truths, boxes, scores, iou_threshold, insist=True)


@wrong(caught_by="test_average_precision", says="or more")
def no_envelope(truths, boxes, scores, iou_threshold):
    """Takes the precision just where the recall is reached."""

    def ap(recall, precision):
        place = np.searchsorted(recall, RECALLS)
        return float(np.append(precision, 0.0)[place].mean())

    return _answer(truths, boxes, scores, iou_threshold, ap=ap)


@wrong(caught_by="test_average_precision", says="eleven recalls")
def eleven_points(truths, boxes, scores, iou_threshold):
    """VOC 2007."""
    return _answer(truths, boxes, scores, iou_threshold, ap=lambda r, p: _sampled(r, p, points=np.linspace(0, 1, 11)))


@wrong(caught_by="test_average_precision", says="area under the steps")
def area_under_the_steps(truths, boxes, scores, iou_threshold):
    """VOC 2010."""

    def ap(recall, precision):
        best = np.maximum.accumulate(precision[::-1])[::-1]
        return float(np.sum(np.diff(recall, prepend=0.0) * best))

    return _answer(truths, boxes, scores, iou_threshold, ap=ap)


@wrong(caught_by="test_average_precision", says="that nobody found")
def recall_of_what_was_found(truths, boxes, scores, iou_threshold):
    """Divides by the number of true positives."""
    return _answer(truths, boxes, scores, iou_threshold, positives=lambda flags: sum(map(sum, flags)))


@wrong(caught_by="test_average_precision", says="images are not averaged")
def mean_of_images(truths, boxes, scores, iou_threshold):
    """Computes one AP per image."""
    answer = _answer(truths, boxes, scores, iou_threshold)
    aps = [_answer([t], [b], [s], iou_threshold)["ap"] for t, b, s in zip(truths, boxes, scores, strict=True) if len(t)]
    return {**answer, "ap": float(np.mean(aps))}


@wrong(caught_by="test_images_without_objects_or_detections", says="false alarms")
def skips_images_without_objects(truths, boxes, scores, iou_threshold):
    """Leaves images out that hold no object, and their false alarms with them."""
    answer = _answer(truths, boxes, scores, iou_threshold)
    kept = [index for index, truth in enumerate(truths) if len(truth)]
    chosen = [[each[index] for index in kept] for each in (truths, boxes, scores)]
    return {**answer, "ap": _answer(*chosen, iou_threshold)["ap"]}


@right
def with_torchvision_and_lists(truths, boxes, scores, iou_threshold):
    """IoU by torchvision, matching in plain Python, the curve in reverse; lists everywhere."""
    tables, is_true, pooled = [], [], []
    for truth, found, values in zip(truths, boxes, scores, strict=True):
        table = box_iou(torch.from_numpy(found.reshape(-1, 4)), torch.from_numpy(truth.reshape(-1, 4))).tolist()
        flags, free = [0] * len(found), set(range(len(truth)))
        for index in sorted(range(len(found)), key=lambda each: -values[each]):
            best = max(free, key=lambda column: table[index][column], default=None)
            if best is not None and table[index][best] >= iou_threshold:
                free.discard(best)
                flags[index] = 1
        tables.append(table)
        is_true.append(flags)
        pooled += zip((-values).tolist(), flags, strict=True)
    total, true, points = sum(map(len, truths)), 0, []
    for count, (_, flag) in enumerate(sorted(pooled, key=lambda pair: pair[0]), start=1):
        true += flag
        points.append((true / total, true / count))
    ap = sum(max((p for r, p in points if r >= k / 100), default=0.0) for k in range(101)) / 101
    return {"iou": tables, "is_true": is_true, "ap": ap}


@right
def with_the_steps_of_the_envelope(truths, boxes, scores, iou_threshold):
    """Boolean arrays, float32 tables, precision filled from the right."""
    tables = [_iou(found, truth).astype(np.float32) for found, truth in zip(boxes, truths, strict=True)]
    exact = [_iou(found, truth) for found, truth in zip(boxes, truths, strict=True)]
    is_true = [np.array(_match(t, s, iou_threshold), bool) for t, s in zip(exact, scores, strict=True)]
    recall, precision = _curve(is_true, scores, sum(map(len, truths)))
    filled, place = np.zeros(101), len(recall) - 1
    best = 0.0
    for index in range(100, -1, -1):
        while place >= 0 and recall[place] >= RECALLS[index]:
            best = max(best, precision[place])
            place -= 1
        filled[index] = best
    return {"iou": tables, "is_true": is_true, "ap": np.float64(filled.mean())}
