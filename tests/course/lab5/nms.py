"""Wrong and right answers to lab5.nms."""

import cv2
import numpy as np
import torch
from tests_course_api import right, wrong

from yolotrt_lab.detection import nms as package
from yolotrt_lab.detection.boxes import iou_matrix


def iou(box, others, plus=0):
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.clip(high - low + plus, 0, None).prod(axis=1)
    return common / ((box[2:] - box[:2] + plus).prod() + (others[:, 2:] - others[:, :2] + plus).prod(axis=1) - common)


def greedy(xyxy, scores, class_ids, iou_threshold, *, plus=0, by_class=True):
    rest, kept = np.argsort(-scores), []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        hit = iou(xyxy[best], xyxy[rest], plus) > iou_threshold
        if by_class:
            hit &= class_ids[rest] == class_ids[best]
        rest = rest[~hit]
    return np.array(kept, int)


@wrong(caught_by="test_classes_do_not_remove_each_other", says="nut on a bolt")
def class_agnostic(xyxy, scores, class_ids, iou_threshold):
    """Suppresses whatever overlaps."""
    return greedy(xyxy, scores, class_ids, iou_threshold, by_class=False)


@wrong(caught_by="test_one_box_for_each_object", says="+ 1")
def pixel_counting(xyxy, scores, class_ids, iou_threshold):
    """The much copied code of Fast R-CNN, whose boxes were pixel indices."""
    return greedy(xyxy, scores, class_ids, iou_threshold, plus=1)


@wrong(caught_by="test_removed_boxes_remove_nothing", says="removed went on removing")
def fast_nms(xyxy, scores, class_ids, iou_threshold):
    """One matrix and no loop at all: quick, but a removed box still removes."""
    order = np.argsort(-scores)
    overlaps = iou_matrix(xyxy[order], xyxy[order]) > iou_threshold
    overlaps &= class_ids[order][:, None] == class_ids[order][None]
    return order[~np.triu(overlaps, 1).any(axis=0)]


@wrong(caught_by="test_one_box_for_each_object", says="worst box")
def ascending(xyxy, scores, class_ids, iou_threshold):
    """Forgets that argsort goes up."""
    return greedy(xyxy, -scores, class_ids, iou_threshold)


@wrong(caught_by="test_best_first", says="class by class")
def class_by_class(xyxy, scores, class_ids, iou_threshold):
    """Puts the classes' results one after the other."""
    kept = [np.zeros(0, int)]
    for class_id in np.unique(class_ids):
        own = np.flatnonzero(class_ids == class_id)
        kept.append(own[greedy(xyxy[own], scores[own], class_ids[own], iou_threshold)])
    return np.concatenate(kept)


@wrong(caught_by="test_best_first", says="order of the input")
def sorted_indices(xyxy, scores, class_ids, iou_threshold):
    """Returns what is left in the order of the input."""
    return np.sort(greedy(xyxy, scores, class_ids, iou_threshold))


@wrong(caught_by="test_no_loop_over_pairs", says="one by one in Python")
def pair_by_pair(xyxy, scores, class_ids, iou_threshold):
    """Right, and as slow as it gets."""
    kept = []
    for index in np.argsort(-scores).tolist():
        for other in kept:
            if class_ids[other] != class_ids[index]:
                continue
            x1, y1, x2, y2 = xyxy[index]
            u1, v1, u2, v2 = xyxy[other]
            common = max(min(x2, u2) - max(x1, u1), 0) * max(min(y2, v2) - max(y1, v1), 0)
            if common / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - common) > iou_threshold:
                break
        else:
            kept.append(index)
    return kept


@wrong(caught_by="test_no_loop_over_pairs", says="np.vectorize")
def vectorized_in_name(xyxy, scores, class_ids, iou_threshold):
    """Believes that np.vectorize makes vectorised code."""

    def removes(first, second):
        if class_ids[first] != class_ids[second]:
            return False
        return bool(iou(xyxy[first], xyxy[second : second + 1])[0] > iou_threshold)

    order, kept = np.argsort(-scores), []
    for place, index in enumerate(order):
        if place == 0 or not np.vectorize(removes)(order[:place], index)[np.isin(order[:place], kept)].any():
            kept.append(index)
    return np.array(kept)


@wrong(caught_by="test_no_loop_over_pairs", says="one by one in Python")
def one_long_comprehension(xyxy, scores, class_ids, iou_threshold):
    """Hides the loop over pairs in one line."""
    order = np.argsort(-scores).tolist()
    boxes, classes = xyxy.tolist(), class_ids.tolist()
    area = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    kept = []
    for i in order:
        a = boxes[i]
        commons = [
            max(min(a[2], boxes[j][2]) - max(a[0], boxes[j][0]), 0)
            * max(min(a[3], boxes[j][3]) - max(a[1], boxes[j][1]), 0)
            for j in kept
        ]
        if not any(
            classes[i] == classes[j] and c / (area[i] + area[j] - c) > iou_threshold
            for j, c in zip(kept, commons, strict=True)
        ):
            kept.append(i)
    return np.array(kept, int)


@wrong(caught_by="test_gives_indices", says="truth values")
def a_mask(xyxy, scores, class_ids, iou_threshold):
    """Returns which, not in which order."""
    mask = np.zeros(len(xyxy), bool)
    mask[greedy(xyxy, scores, class_ids, iou_threshold)] = True
    return mask


@wrong(caught_by="test_gives_indices", says="a result")
def never_empty(xyxy, scores, class_ids, iou_threshold):
    """Takes the best box before looking whether there is one."""
    best = int(np.argmax(scores))
    return [best, *[index for index in greedy(xyxy, scores, class_ids, iou_threshold) if index != best]]


@wrong(caught_by="test_one_box_for_each_object", says="only the best box of all")
def one_round(xyxy, scores, class_ids, iou_threshold):
    """Removes what overlaps the best box and stops."""
    return np.argsort(-scores)[:1]


@wrong(caught_by="test_one_box_for_each_object", says="nothing was removed")
def sorted_only(xyxy, scores, class_ids, iou_threshold):
    """Leaves everything in."""
    return np.argsort(-scores)


@wrong(caught_by="test_one_box_for_each_object", says="answer of your own")
def the_packages_own(xyxy, scores, class_ids, iou_threshold):
    """Hands the work to the package, class by class."""
    return package.nms(xyxy + 7680 * class_ids[:, None].astype(np.float32), scores, iou_threshold=iou_threshold)


@wrong(caught_by="test_one_box_for_each_object", says="answer of your own")
def opencvs_own(xyxy, scores, class_ids, iou_threshold):
    """Hands the work to OpenCV."""
    boxes = np.concatenate((xyxy[:, :2] + 7680 * class_ids[:, None], xyxy[:, 2:] - xyxy[:, :2]), axis=1)
    return cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.0, iou_threshold)


@right
def shifted_classes(xyxy, scores, class_ids, iou_threshold):
    """Moves each class to a place of its own, as Ultralytics does, in float32, with the package's IoU."""
    shifted = xyxy + class_ids[:, None].astype(np.float32) * 7680
    overlaps = iou_matrix(shifted, shifted) > iou_threshold
    alive, kept = np.ones(len(xyxy), bool), []
    for index in np.argsort(-scores):
        if alive[index]:
            kept.append(int(index))
            alive &= ~overlaps[index]
    return kept


@right
def until_nothing_changes(xyxy, scores, class_ids, iou_threshold):
    """Fast NMS repeated with the survivors only, until it is greedy NMS (Cluster-NMS)."""
    order = np.argsort(-scores, kind="stable")
    overlaps = iou_matrix(xyxy[order].astype(np.float64), xyxy[order].astype(np.float64)) > iou_threshold
    overlaps = np.triu(overlaps & (class_ids[order][:, None] == class_ids[order][None]), 1)
    alive = np.ones(len(order), bool)
    while True:
        after = ~(overlaps & alive[:, None]).any(axis=0)
        if (after == alive).all():
            return order[alive].astype(np.int32)
        alive = after


@right
def with_torch(xyxy, scores, class_ids, iou_threshold):
    """Torch, class by class, sorted at the end."""
    boxes, scores, classes = torch.from_numpy(xyxy), torch.from_numpy(scores), torch.from_numpy(class_ids)
    kept = []
    for class_id in classes.unique():
        rest = torch.nonzero(classes == class_id)[:, 0]
        rest = rest[scores[rest].argsort(descending=True)]
        while len(rest):
            best, rest = rest[0], rest[1:]
            kept.append(best)
            low = torch.maximum(boxes[best, :2], boxes[rest, :2])
            high = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
            common = (high - low).clamp(min=0).prod(dim=1)
            areas = [(boxes[i][..., 2:] - boxes[i][..., :2]).prod(dim=-1) for i in (best, rest)]
            rest = rest[common / (areas[0] + areas[1] - common) <= iou_threshold]
    indices = torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)
    return indices[scores[indices].argsort(descending=True)]
