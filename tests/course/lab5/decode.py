"""Wrong and right answers to lab5.decode."""

import numpy as np
import torch
from tests_course_api import right, wrong

from yolotrt_lab.detection.decode import OutputLayout
from yolotrt_lab.detection.decode import decode as package_decode
from yolotrt_lab.types import Detections


def corners(cxcywh):
    return np.concatenate((cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, :2] + cxcywh[:, 2:] / 2), axis=1)


def rows_of(output, layout):
    return output[0].T if layout == "anchor_free" else output[0]


def parts_of(rows, layout):
    """Return boxes, scores and class ids of all candidates."""
    if layout == "end_to_end":
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)
    if layout == "anchor_free":
        return corners(rows[:, :4]), rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1)
    return corners(rows[:, :4]), rows[:, 4] * rows[:, 5:].max(axis=1), rows[:, 5:].argmax(axis=1)


def kept(boxes, scores, classes, conf_threshold):
    keep = scores > conf_threshold
    return Detections(boxes[keep], scores[keep], classes[keep])


@wrong(caught_by="test_finds_the_candidates", says="if anything is there")
def objectness_forgotten(output, layout, conf_threshold):
    """Reads an anchor-based head like an anchor-free one with an extra column."""
    rows = rows_of(output.astype(np.float32), layout)
    boxes, scores, classes = parts_of(rows, layout)
    if layout == "anchor_based":
        scores = rows[:, 5:].max(axis=1)
    return kept(boxes, scores, classes, conf_threshold)


@wrong(caught_by="test_finds_the_candidates", says="not that it is of a known class")
def objectness_only(output, layout, conf_threshold):
    """Takes objectness for the score."""
    rows = rows_of(output.astype(np.float32), layout)
    boxes, scores, classes = parts_of(rows, layout)
    return kept(boxes, rows[:, 4] if layout == "anchor_based" else scores, classes, conf_threshold)


@wrong(caught_by="test_scores", says="has to be multiplied by the objectness")
def product_for_the_threshold_only(output, layout, conf_threshold):
    """Multiplies to choose, and reports the class probability."""
    rows = rows_of(output.astype(np.float32), layout)
    boxes, scores, classes = parts_of(rows, layout)
    keep = scores > conf_threshold
    shown = rows[:, 5:].max(axis=1) if layout == "anchor_based" else scores
    return Detections(boxes[keep], shown[keep], classes[keep])


@wrong(caught_by="test_finds_the_candidates", says="sigmoid")
def sigmoid_twice(output, layout, conf_threshold):
    """Believes that a network gives logits."""
    boxes, scores, classes = parts_of(rows_of(output.astype(np.float32), layout), layout)
    return kept(boxes, 1 / (1 + np.exp(-scores)), classes, conf_threshold)


@wrong(caught_by="test_scores", says="sigmoid")
def sigmoid_after_choosing(output, layout, conf_threshold):
    """Chooses rightly, then turns probabilities into probabilities."""
    found = kept(*parts_of(rows_of(output.astype(np.float32), layout), layout), conf_threshold)
    return Detections(found.xyxy, 1 / (1 + np.exp(-found.scores)), found.class_ids)


@wrong(caught_by="test_finds_the_candidates", says="reshape")
def reshaped_for_transposed(output, layout, conf_threshold):
    """Takes reshape for a transpose."""
    rows = output[0].astype(np.float32)
    if layout == "anchor_free":
        rows = rows.reshape(rows.shape[1], rows.shape[0])
    return kept(*parts_of(rows, layout), conf_threshold)


@wrong(caught_by="test_finds_the_candidates", says="column")
def rows_for_columns(output, layout, conf_threshold):
    """Reads every head by rows."""
    rows = output[0].astype(np.float32)
    return kept(*parts_of(rows, layout), conf_threshold)


@wrong(caught_by="test_boxes_are_corners", says="as they came")
def centers_kept(output, layout, conf_threshold):
    """Believes that a YOLO box is a box is a box."""
    rows = rows_of(output.astype(np.float32), layout)
    _, scores, classes = parts_of(rows, layout)
    return kept(rows[:, :4], scores, classes, conf_threshold)


@wrong(caught_by="test_boxes_are_corners", says="left top corner")
def xywh_for_cxcywh(output, layout, conf_threshold):
    """Takes COCO's boxes for YOLO's."""
    rows = rows_of(output.astype(np.float32), layout)
    boxes, scores, classes = parts_of(rows, layout)
    if layout != "end_to_end":
        boxes = np.concatenate((rows[:, :2], rows[:, :2] + rows[:, 2:4]), axis=1)
    return kept(boxes, scores, classes, conf_threshold)


@wrong(caught_by="test_boxes_are_corners", says="corners already")
def always_converted(output, layout, conf_threshold):
    """Converts the boxes of all heads."""
    rows = rows_of(output.astype(np.float32), layout)
    _, scores, classes = parts_of(rows, layout)
    return kept(corners(rows[:, :4]), scores, classes, conf_threshold)


@wrong(caught_by="test_boxes_are_corners", says="twice as large")
def whole_size_on_each_side(output, layout, conf_threshold):
    """Forgets to halve."""
    rows = rows_of(output.astype(np.float32), layout)
    boxes, scores, classes = parts_of(rows, layout)
    if layout != "end_to_end":
        boxes = np.concatenate((rows[:, :2] - rows[:, 2:4], rows[:, :2] + rows[:, 2:4]), axis=1)
    return kept(boxes, scores, classes, conf_threshold)


@wrong(caught_by="test_classes", says="off by +1")
def classes_from_the_objectness(output, layout, conf_threshold):
    """Counts the objectness column as a class."""
    boxes, scores, classes = parts_of(rows_of(output.astype(np.float32), layout), layout)
    return kept(boxes, scores, classes + (layout == "anchor_based"), conf_threshold)


@wrong(caught_by="test_half_precision_output", says="convert before you compute")
def computed_in_half(output, layout, conf_threshold):
    """Leaves the engine's type as it is."""
    return kept(*parts_of(rows_of(output, layout), layout), conf_threshold)


@wrong(caught_by="test_gives_detections", says="a result")
def needs_an_object(output, layout, conf_threshold):
    """Never saw an empty picture."""
    found = kept(*parts_of(rows_of(output.astype(np.float32), layout), layout), conf_threshold)
    found.scores[0]
    return found


@wrong(caught_by="test_gives_detections", says="Detections")
def three_arrays(output, layout, conf_threshold):
    """Returns the parts, not the whole."""
    found = kept(*parts_of(rows_of(output.astype(np.float32), layout), layout), conf_threshold)
    return found.xyxy, found.scores, found.class_ids


@wrong(caught_by="test_finds_the_candidates", says="answer of your own")
def the_packages_own(output, layout, conf_threshold):
    """Hands the work to the package."""
    return package_decode(output, layout=OutputLayout(layout), conf_threshold=conf_threshold)[0]


@right
def candidate_by_candidate(output, layout, conf_threshold):
    """A loop in float64, best first, with Python's own numbers."""
    candidates = output[0].T.tolist() if layout == "anchor_free" else output[0].tolist()
    found = []
    for candidate in candidates:
        box, rest = candidate[:4], candidate[4:]
        if layout == "end_to_end":
            score, class_id = rest[0], int(rest[1])
        else:
            factor = rest.pop(0) if layout == "anchor_based" else 1.0
            score, class_id = max((value * factor, number) for number, value in enumerate(rest))
            x, y, w, h = box
            box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        if score > conf_threshold:
            found.append((score, class_id, box))
    found.sort(reverse=True)
    return Detections(
        np.array([box for *_, box in found], np.float64).reshape(-1, 4),
        np.array([score for score, *_ in found], np.float64),
        np.array([class_id for _, class_id, _ in found], np.int32),
    )


@right
def with_torch(output, layout, conf_threshold):
    """The same with torch, thresholding before anything is converted."""
    prediction = torch.from_numpy(output).float()[0]
    if layout == "anchor_free":
        prediction = prediction.t()
    if layout == "end_to_end":
        scores, classes, boxes = prediction[:, 4], prediction[:, 5].long(), prediction[:, :4]
    else:
        first = 5 if layout == "anchor_based" else 4
        scores, classes = prediction[:, first:].max(dim=1)
        scores = scores * prediction[:, 4] if layout == "anchor_based" else scores
        center, size = prediction[:, :2], prediction[:, 2:4]
        boxes = torch.cat((center - size / 2, center + size / 2), dim=1)
    keep = scores.gt(conf_threshold)
    return Detections(boxes[keep].numpy(), scores[keep].numpy(), classes[keep].numpy())
