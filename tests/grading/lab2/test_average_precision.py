"""lab2.average_precision: IoU, matching and 101-point average precision, equal to pycocotools."""

import contextlib
import io

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab2.average_precision",
    title="Average precision by hand",
    objective="Compute IoU, true positives and COCO's average precision, and know every step of it.",
    answer="average_precision",
    difficulty=4,
    minutes=45,
    cases=("one image", "many images", "crowded", "twice found", "at the threshold", "empty images", "nothing found"),
    hidden=("many images", "crowded", "twice found", "empty images"),
    forbidden=(
        "yolotrt_lab.evaluation.average_precision.evaluate_detections",
        "yolotrt_lab.evaluation.curves.interpolated_precision",
        "yolotrt_lab.evaluation.matching.match_best_first",
        "yolotrt_lab.detection.boxes.iou_matrix",
        "pycocotools.mask.iou",
        "pycocotools.cocoeval.COCOeval",
    ),
    reading="https://cocodataset.org/#detection-eval",
)

RECALLS = np.linspace(0.0, 1.0, 101)


def inputs(case, rng):
    """Boxes of one class in some images, and what a detector found there."""
    images = 1 if case in ("one image", "at the threshold", "nothing found") else 6
    truths, boxes, scores = [], [], []
    for number in range(images):
        truth = _truth(case, rng)
        found = _found(case, truth, rng)
        if case == "empty images" and number % 2:
            truth = truth[:0]
        if case == "empty images" and number % 3 == 1:
            found = found[:0]
        truths.append(truth)
        boxes.append(found)
        scores.append(np.round(rng.permutation(np.linspace(0.05, 0.95, 999))[: len(found)], 4))
    if case == "at the threshold":
        scores = [np.array([0.9, 0.8, 0.7, 0.6])]
    threshold = 0.5 if case in ("at the threshold", "crowded") else float(rng.choice([0.5, 0.6, 0.75]))
    return {"truths": truths, "boxes": boxes, "scores": scores, "iou_threshold": threshold}


def _truth(case, rng):
    if case == "at the threshold":
        return np.array([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [40.0, 0.0, 50.0, 10.0]])
    count = int(rng.integers(3, 7))
    # In a crowd neighbours overlap by more than half, so that a detection may fit two of them.
    step = 9.0 if case == "crowded" else 70.0
    left = np.arange(count) * step + rng.uniform(0, 3, count)
    top = rng.uniform(0, 12, count)
    return np.stack((left, top, left + rng.uniform(38, 50, count), top + rng.uniform(38, 50, count)), axis=1)


def _found(case, truth, rng):
    if case == "nothing found":
        return np.zeros((0, 4))
    if case == "at the threshold":  # IoU exactly 0.5, just below, 0.8, and none
        return np.array([[0, 0, 10, 5], [20, 0, 30, 4.9], [40, 0, 50, 8], [70, 0, 80, 10]], np.float64)
    copies = 3 if case in ("twice found", "crowded") else 1
    kept = truth[rng.random(len(truth)) < 0.85]
    found = np.repeat(kept, copies, axis=0)
    found = found + rng.normal(0, 3.0, found.shape)
    lone = rng.uniform(0, 250, (3, 2))
    return np.concatenate((found, np.concatenate((lone, lone + rng.uniform(20, 50, (3, 2))), axis=1)))


def iou_of(a, b, *, extra=0.0):
    """Return the (n, m) intersection over union; `extra` is the pixel some add to every length."""
    left_top, right_bottom = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(right_bottom - left_top + extra, 0, None).prod(axis=2)
    area_a, area_b = ((each[:, 2:] - each[:, :2] + extra).prod(axis=1) for each in (a, b))
    return shared / (area_a[:, None] + area_b[None, :] - shared)


def match(iou, scores, threshold, *, once=True, by_score=True, beyond=False, insist=False):
    """Return which detections are true. The switches give what people get wrong."""
    true, taken = np.zeros(len(scores), bool), set()
    for index in np.argsort(-scores, kind="stable") if by_score else range(len(scores)):
        order = np.argsort(-iou[index], kind="stable")
        if insist:
            order = order[:1]  # the best one or none
        for column in order:
            fits = iou[index, column] > threshold if beyond else iou[index, column] >= threshold
            if fits and (not once or column not in taken):
                true[index] = True
                taken.add(column)
                break
    return true


def ap_of(is_true, scores, positives, *, envelope=True, recalls=RECALLS, area=False, pooled=True):
    """Return the average precision of judged detections, one array per image."""
    if not pooled:
        kept = [index for index, count in enumerate(positives) if count]
        return float(np.mean([ap_of([is_true[i]], [scores[i]], [positives[i]]) for i in kept]))
    flags, values = np.concatenate(is_true), np.concatenate(scores)
    flags = flags[np.argsort(-values, kind="stable")]
    if not len(flags):
        return 0.0
    true = np.cumsum(flags)
    recall, precision = true / sum(positives), true / np.arange(1, len(flags) + 1)
    if envelope:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    if area:
        return float(np.sum(np.diff(np.concatenate(([0.0], recall))) * precision))
    place = np.searchsorted(recall, recalls, side="left")
    return float(np.mean(np.concatenate((precision, [0.0]))[place]))


def coco(truths, boxes, scores, iou_threshold):
    """Return what pycocotools finds: which detections are true, and the average precision."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def records(per_image):
        for image, entries in enumerate(per_image):
            for left, top, right, bottom in entries:
                box = [left, top, right - left, bottom - top]
                yield {"image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}

    images = [{"id": image} for image in range(len(truths))]
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = COCO(), COCO()
        for data, per_image in ((truth, truths), (found, boxes)):
            entries = [{**record, "id": number} for number, record in enumerate(records(per_image), start=1)]
            data.dataset = {"images": images, "annotations": entries, "categories": [{"id": 1}]}
        for entry, score in zip(found.dataset["annotations"], np.concatenate(scores), strict=True):
            entry["score"] = float(score)
        truth.createIndex()
        found.createIndex()
        judge = COCOeval(truth, found, "bbox")
        judge.params.iouThrs = np.array([iou_threshold])
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    matched = {
        number: bool(hit)
        for result in judge.evalImgs
        if result
        for number, hit in zip(result["dtIds"], result["dtMatches"][0], strict=True)
    }
    flags, number = [], 1
    for found_boxes in boxes:
        flags.append(np.array([matched.get(number + index, False) for index in range(len(found_boxes))], bool))
        number += len(found_boxes)
    return flags, float(np.mean(judge.eval["precision"][0, :, 0, 0, -1]))


def _flags(answer):
    """Return the judged detections of each image."""
    given = answer.inputs
    entries = answer.item("is_true")
    entries.list(length=len(given["boxes"]))
    flags = []
    for image, boxes in enumerate(given["boxes"]):
        values = entries.item(image).array(shape=(len(boxes),))
        if values.size and values.dtype.kind not in "biu":
            raise Mismatch(
                expected=f"is_true[{image}]: True or False for each of {len(boxes)} detections",
                seen=f"values of type {values.dtype}",
            )
        flags.append(values.astype(bool))
    return flags


def picture(answer):
    """Show precision over recall: by the answer's own verdicts, or the steps from there to average precision."""
    from yolotrt_lab.figures.average_precision import average_precision_curve
    from yolotrt_lab.figures.verdicts import precision_recall_curves

    given, seen_flags = answer.inputs, _flags(answer)
    flags, right = coco(**given)
    seen, positives = answer.item("ap").number(), sum(len(truth) for truth in given["truths"])
    order = np.argsort(-np.concatenate(given["scores"]), kind="stable")
    expected, found = (np.concatenate(each)[order].astype(bool) for each in (flags, seen_flags))
    if not positives or not len(order) or ((expected == found).all() and abs(seen - right) <= 1e-6):
        return None
    alt = f"{int(expected.sum())} of {len(order)} detections are true, the answer calls {int(found.sum())} true. "
    alt += f"The average precision is {right:.4f}, the answer's {seen:.4f}."
    if (expected == found).all():
        figure = average_precision_curve(expected, positives, title=f"How {right:.4f} comes about; yours is {seen:.4f}")
        return Drawing(figure, f"Your verdicts on “{answer.case.name}” are right; the steps after them:", alt)
    ranks = np.arange(1, len(order) + 1)
    curves = {
        name: (np.cumsum(each) / positives, np.cumsum(each) / ranks)
        for name, each in (("expected", expected), ("yours", found))
    }
    caption = f"Precision and recall on “{answer.case.name}”, by the right verdicts on the detections and by yours."
    return Drawing(precision_recall_curves(curves), caption, alt)


@points(3)
def test_iou(answer):
    """The IoU of every detection with every true box."""
    from pycocotools import mask

    given = answer.inputs
    tables = answer.item("iou")
    tables.list(length=len(given["boxes"]))
    for image, (boxes, truth) in enumerate(zip(given["boxes"], given["truths"], strict=True)):
        shape = (len(boxes), len(truth))
        seen = tables.item(image).array()
        if not seen.size and 0 in shape:
            continue
        if seen.shape != shape:
            idea = "Detections are the rows, true boxes the columns." if seen.shape == shape[::-1] else ""
            raise Mismatch(expected=f"iou[{image}] of shape {shape}", seen=f"shape {seen.shape}", misconception=idea)
        widths = [np.concatenate((each[:, :2], each[:, 2:] - each[:, :2]), axis=1) for each in (boxes, truth)]
        right = np.asarray(mask.iou(widths[0], widths[1], np.zeros(len(truth), np.uint8)))
        if np.allclose(seen, right, atol=1e-6):
            continue
        place = np.unravel_index(int(np.nanargmax(np.abs(np.nan_to_num(seen, nan=9) - right))), shape)
        raise Mismatch(
            expected=f"iou[{image}]{list(map(int, place))}: {right[place]:.5f}",
            seen=f"{seen[place]:.5f}",
            misconception=_iou_idea(seen, boxes, truth),
        )


def _iou_idea(seen, boxes, truth):
    left_top = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    size = np.minimum(boxes[:, None, 2:], truth[None, :, 2:]) - left_top
    area = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, truth)]
    shared = np.clip(size, 0, None).prod(axis=2)
    unclipped = size.prod(axis=2)
    union = area[0][:, None] + area[1][None, :] - shared
    ideas = (
        (iou_of(boxes, truth, extra=1.0), "One pixel is added to every length, as VOC did. COCO measures edges."),
        (shared / np.minimum(area[0][:, None], area[1][None, :]), "Divided by the smaller area, not by the union."),
        (shared / (area[0][:, None] + area[1][None, :]), "The union counts what both share once, not twice."),
        (shared / area[1][None, :], "Divided by the true box alone: a detection of the whole image would be perfect."),
        (
            unclipped / (area[0][:, None] + area[1][None, :] - unclipped),
            "Two negative lengths make a positive area: boxes apart from each other share nothing.",
        ),
        (np.where(shared > 0, union / np.maximum(shared, 1e-9), 0), "Upside down: the union over the intersection."),
    )
    return next((text for guess, text in ideas if np.allclose(seen, guess, atol=1e-6)), "")


@points(4, cases=("one image", "many images", "crowded", "twice found", "at the threshold"))
def test_true_positives(answer):
    """Which detections are true: the most confident choose first, each true box is found once."""
    given = answer.inputs
    right, _ = coco(**given)
    seen = _flags(answer)
    wrong = [image for image in range(len(right)) if (right[image] != seen[image]).any()]
    if not wrong:
        return
    image = wrong[0]
    index = int(np.argmax(right[image] != seen[image]))
    raise Mismatch(
        expected=f"image {image}, detection {index} (score {given['scores'][image][index]:g}): {right[image][index]}",
        seen=f"{bool(seen[image][index])}; {len(wrong)} of {len(right)} images differ",
        misconception=_matching_idea(given, seen),
    )


def _matching_idea(given, seen):
    tables = [iou_of(boxes, truth) for boxes, truth in zip(given["boxes"], given["truths"], strict=True)]

    def judged(**switches):
        pairs = zip(tables, given["scores"], strict=True)
        return [match(iou, scores, given["iou_threshold"], **switches) for iou, scores in pairs]

    ideas = (
        ({"once": False}, "An object that is found twice counts once: the second detection of it is a false alarm."),
        ({"by_score": False}, "The most confident detection chooses first, whatever the order in which they come."),
        ({"beyond": True}, "An IoU that equals the threshold reaches it."),
        ({"insist": True}, "If its favourite is taken, a detection takes the best of the true boxes that are free."),
        ({"insist": True, "by_score": False}, "The most confident chooses first, and among those that are free."),
    )
    for switches, text in ideas:
        if all((a == b).all() for a, b in zip(judged(**switches), seen, strict=True)):
            return text
    return ""


@points(4, cases=("one image", "many images", "crowded", "twice found"))
def test_average_precision(answer):
    """The average precision is pycocotools'."""
    given = answer.inputs
    _, right = coco(**given)
    seen = answer.item("ap").number()
    if abs(seen - right) <= 1e-6:
        return
    raise Mismatch(
        expected=f"{right:.6f}, as pycocotools computes it",
        seen=f"{seen:.6f}",
        misconception=_ap_idea(given, seen),
    )


def _ap_idea(given, seen):
    tables = [iou_of(boxes, truth) for boxes, truth in zip(given["boxes"], given["truths"], strict=True)]
    pairs = list(zip(tables, given["scores"], strict=True))
    true = [match(iou, scores, given["iou_threshold"]) for iou, scores in pairs]
    twice = [match(iou, scores, given["iou_threshold"], once=False) for iou, scores in pairs]
    positives = [len(truth) for truth in given["truths"]]
    found = [int(flags.sum()) for flags in true]
    shown = [index for index, count in enumerate(positives) if count]
    without_empty = ap_of([true[i] for i in shown], [given["scores"][i] for i in shown], positives)
    if len(shown) < len(positives) and abs(without_empty - seen) <= 1e-6:
        return "An image without objects can still hold false alarms; they count like all others."
    ideas = (
        ({"envelope": False}, true, positives, "At each recall counts the best precision at this recall *or more*."),
        ({"recalls": np.linspace(0, 1, 11)}, true, positives, "Eleven recalls are VOC's 2007; COCO takes 101."),
        ({"area": True}, true, positives, "That is the area under the steps (VOC 2010); COCO samples 101 recalls."),
        ({"area": True, "envelope": False}, true, positives, "That is the area under the raw curve, not its samples."),
        ({"pooled": False}, true, positives, "Images are not averaged: all detections are sorted into one list."),
        ({}, true, found, "Recall is a share of all true boxes, those that nobody found included."),
        ({}, twice, positives, "An object that is found twice counts once."),
    )
    # Near is enough: a recall that is reached exactly, or missed by a rounding, moves one of 101 samples.
    near = [
        (abs(ap_of(flags, given["scores"], totals, **switches) - seen), text)
        for switches, flags, totals, text in ideas
        if sum(totals)
    ]
    distance, text = min(near)
    if distance <= 0.004:
        return text
    if not 0 <= seen <= 1:
        return "It is a mean of precisions, so it lies between 0 and 1."
    return ""


@points(2, cases=("empty images", "nothing found"))
def test_images_without_objects_or_detections(answer):
    """Images without objects, and without detections, are counted rightly."""
    given = answer.inputs
    flags, right = coco(**given)
    expect(
        all((a == b).all() for a, b in zip(flags, _flags(answer), strict=True)),
        expected="no true detection where there is no object",
        seen="another verdict on some detection",
    )
    seen = answer.item("ap").number()
    idea = "An image without objects can still hold false alarms; one without detections still holds missed objects."
    expect(
        abs(seen - right) <= 1e-6,
        expected=f"{right:.6f}",
        seen=f"{seen:.6f}",
        misconception=_ap_idea(given, seen) or idea,
    )
