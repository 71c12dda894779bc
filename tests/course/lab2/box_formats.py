"""Wrong and right answers to lab2.box_formats."""

import numpy as np
from tests_course_api import right, wrong


def _edges(boxes, source, height, width):
    a, b, c, d = np.asarray(boxes, float).T
    if source == "coco":
        c, d = a + c, b + d
    elif source == "yolo":
        a, b, c, d = (a - c / 2) * width, (b - d / 2) * height, (a + c / 2) * width, (b + d / 2) * height
    return [a, b, c, d]


def _written(edges, target, height, width):
    a, b, c, d = edges
    if target == "coco":
        c, d = c - a, d - b
    elif target == "yolo":
        a, b, c, d = (a + c) / 2 / width, (b + d) / 2 / height, (c - a) / width, (d - b) / height
    return np.stack((a, b, c, d), axis=1)


def _cut(edges, height, width):
    a, b, c, d = edges
    return [np.clip(a, 0, width), np.clip(b, 0, height), np.clip(c, 0, width), np.clip(d, 0, height)]


@wrong(caught_by="test_boxes_are_cut_at_the_border", says="pixels that are not there")
def never_cuts(boxes, source, target, image_hw):
    """Takes the annotator's word for it."""
    return _written(_edges(boxes, source, *image_hw), target, *image_hw)


@wrong(caught_by="test_shares_become_pixels", says="exchanged")
def takes_image_hw_for_width_and_height(boxes, source, target, image_hw):
    """Unpacks (height, width) as (width, height)."""
    width, height = image_hw
    return _written(_cut(_edges(boxes, source, height, width), height, width), target, height, width)


@wrong(caught_by="test_boxes_are_cut_at_the_border", says="cut but its numbers")
def cuts_what_the_file_holds(boxes, source, target, image_hw):
    """Clips centres and sizes to the image."""
    height, width = image_hw
    limits = (1, 1, 1, 1) if source == "yolo" else (width, height, width, height)
    return _written(_edges(np.clip(boxes, 0, limits), source, height, width), target, height, width)


@wrong(caught_by="test_shares_become_pixels", says="centre is taken for the top left corner")
def takes_centers_for_corners(boxes, source, target, image_hw):
    """Reads YOLO as if it were COCO in shares."""
    height, width = image_hw
    if source == "yolo":
        boxes, source = boxes * (width, height, width, height), "coco"
    shares = target == "yolo"
    edges = _cut(_edges(boxes, source, height, width), height, width)
    found = _written(edges, "coco" if shares else target, height, width)
    return found / (width, height, width, height) if shares else found


@wrong(caught_by="test_edges_and_sizes", says="not a right and a bottom edge")
def takes_sizes_for_edges(boxes, source, target, image_hw):
    """Thinks COCO and VOC are the same."""
    source, target = ("voc" if name == "coco" else name for name in (source, target))
    return _written(_cut(_edges(boxes, source, *image_hw), *image_hw), target, *image_hw)


@wrong(caught_by="test_pixels_become_shares", says="YOLO writes shares")
def forgets_to_normalise(boxes, source, target, image_hw):
    """Writes YOLO in pixels."""
    height, width = image_hw
    found = _written(_cut(_edges(boxes, source, height, width), height, width), target, height, width)
    return found * (width, height, width, height) if target == "yolo" else found


@wrong(caught_by="test_one_row_per_box", says="changed in place")
def works_in_the_callers_array(boxes, source, target, image_hw):
    """Scales the array it was given."""
    height, width = image_hw
    if source == "yolo":
        boxes[:, 0::2] *= width
        boxes[:, 1::2] *= height
        boxes[:, :2] -= boxes[:, 2:] / 2
        source = "coco"
    return _written(_cut(_edges(boxes, source, height, width), height, width), target, height, width)


@wrong(caught_by="test_one_row_per_box", says="shape (6, 4)")
def drops_boxes_that_are_gone(boxes, source, target, image_hw):
    """Leaves out what has no area; the class ids no longer fit."""
    edges = np.stack(_cut(_edges(boxes, source, *image_hw), *image_hw), axis=1)
    kept = edges[(edges[:, 2:] > edges[:, :2]).all(axis=1)]
    return _written(kept.T, target, *image_hw)


@right
def box_by_box_in_lists(boxes, source, target, image_hw):
    """Plain Python, one box at a time, lists of floats."""
    height, width = image_hw
    result = []
    for first, second, third, fourth in np.asarray(boxes).tolist():
        if source == "yolo":
            left, top = (first - third / 2) * width, (second - fourth / 2) * height
            right_, bottom = (first + third / 2) * width, (second + fourth / 2) * height
        elif source == "coco":
            left, top, right_, bottom = first, second, first + third, second + fourth
        else:
            left, top, right_, bottom = first, second, third, fourth
        left, right_ = (min(max(x, 0.0), float(width)) for x in (left, right_))
        top, bottom = (min(max(y, 0.0), float(height)) for y in (top, bottom))
        if target == "voc":
            result.append([left, top, right_, bottom])
        elif target == "coco":
            result.append([left, top, right_ - left, bottom - top])
        else:
            result.append(
                [
                    (left + right_) / 2 / width,
                    (top + bottom) / 2 / height,
                    (right_ - left) / width,
                    (bottom - top) / height,
                ]
            )
    return result or np.empty((0, 4))


@right
def with_matrices_in_shares(boxes, source, target, image_hw):
    """Everything is a linear map; cutting happens in shares; float32."""
    corner_from = {
        "voc": np.eye(4),
        "coco": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], float),
        "yolo": np.array([[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]]),
    }
    size = np.array([image_hw[1], image_hw[0]] * 2)
    shares = boxes if source == "yolo" else boxes / size
    cut = np.clip(shares @ corner_from[source].T, 0, 1)
    found = cut @ np.linalg.inv(corner_from[target]).T
    return (found if target == "yolo" else found * size).astype(np.float32)
