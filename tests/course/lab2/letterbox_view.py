"""Wrong and right answers to lab2.letterbox_view."""

import cv2
import numpy as np
from tests_course_api import right, wrong

from yolotrt_lab.detection.letterbox import letterbox


def _corners(cxcywh):
    return np.concatenate((cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, :2] + cxcywh[:, 2:] / 2), axis=1)


def _drawn(view, xyxy, class_ids, colours, thickness=1):
    for (left, top, right_, bottom), class_id in zip(np.round(xyxy).astype(int).tolist(), class_ids, strict=True):
        cv2.rectangle(view, (left, top), (right_ - 1, bottom - 1), colours[class_id], thickness)
    return view


def _placed(cxcywh, transform):
    return _corners(cxcywh) * (transform.resized_hw[::-1] * 2) + np.array(transform.pad_xy * 2)


@wrong(caught_by="test_boxes_follow_the_picture", says="does not fill the input")
def stretched(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Takes the shares of the picture for shares of the input."""
    view, _ = letterbox(image_bgr, input_hw=input_hw)
    xyxy = _corners(cxcywh) * (input_hw[::-1] * 2)
    return _drawn(view, xyxy, class_ids, colours), xyxy


@wrong(caught_by="test_boxes_follow_the_picture", says="scaled but not moved")
def forgets_the_border(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Scales and does not pad."""
    view, transform = letterbox(image_bgr, input_hw=input_hw)
    xyxy = _corners(cxcywh) * (transform.resized_hw[::-1] * 2)
    return _drawn(view, xyxy, class_ids, colours), xyxy


@wrong(caught_by="test_boxes_follow_the_picture", says="as it was, before it was resized")
def boxes_of_the_original(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Draws rightly and returns the original's boxes."""
    view, transform = letterbox(image_bgr, input_hw=input_hw)
    height, width = image_bgr.shape[:2]
    view = _drawn(view, _placed(cxcywh, transform), class_ids, colours)
    return view, _corners(cxcywh) * (width, height, width, height)


@wrong(caught_by="test_boxes_are_exact", says="rounded apart")
def one_scale_for_both_axes(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Uses the scale before rounding, and half a pixel of padding."""
    view, _ = letterbox(image_bgr, input_hw=input_hw)
    height, width = image_bgr.shape[:2]
    scale = min(input_hw[0] / height, input_hw[1] / width)
    pad = (input_hw[1] - width * scale) / 2, (input_hw[0] - height * scale) / 2
    xyxy = _corners(cxcywh) * (width, height, width, height) * scale + np.array(pad * 2)
    return _drawn(view, xyxy, class_ids, colours), xyxy


@wrong(caught_by="test_outlines_are_drawn", says="blue, green, red")
def colours_in_rgb(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Turns the colours round."""
    view, transform = letterbox(image_bgr, input_hw=input_hw)
    xyxy = _placed(cxcywh, transform)
    return _drawn(view, xyxy, class_ids, [colour[::-1] for colour in colours]), xyxy


@wrong(caught_by="test_the_view_is_the_letterboxed_picture", says="draws into the array")
def draws_into_the_original(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Draws first and letterboxes afterwards."""
    height, width = image_bgr.shape[:2]
    _drawn(image_bgr, _corners(cxcywh) * (width, height, width, height), class_ids, colours)
    view, transform = letterbox(image_bgr, input_hw=input_hw)
    return view, _placed(cxcywh, transform)


@wrong(caught_by="test_the_view_is_the_letterboxed_picture", says="gray 114")
def black_border(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Pads with black."""
    view, transform = letterbox(image_bgr, input_hw=input_hw, pad_value=0)
    xyxy = _placed(cxcywh, transform)
    return _drawn(view, xyxy, class_ids, colours), xyxy


@wrong(caught_by="test_the_view_is_the_letterboxed_picture", says="only outlines")
def filled(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Fills the boxes."""
    view, transform = letterbox(image_bgr, input_hw=input_hw)
    xyxy = _placed(cxcywh, transform)
    return _drawn(view, xyxy, class_ids, colours, thickness=cv2.FILLED), xyxy


@wrong(caught_by="test_boxes_follow_the_picture", says="return view, xyxy")
def only_the_view(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Returns one thing."""
    view, transform = letterbox(image_bgr, input_hw=input_hw)
    return _drawn(view, _placed(cxcywh, transform), class_ids, colours)


@right
def by_hand_with_slices(image_bgr, class_ids, cxcywh, input_hw, colours):
    """The canvas, the boxes and the lines without help from OpenCV's drawing; float32 boxes."""
    height, width = image_bgr.shape[:2]
    scale = min(input_hw[0] / height, input_hw[1] / width)
    new_h, new_w = max(round(height * scale), 1), max(round(width * scale), 1)
    left, top = round((input_hw[1] - new_w) / 2 - 0.1), round((input_hw[0] - new_h) / 2 - 0.1)
    view = np.full((*input_hw, 3), 114, np.uint8)
    view[top : top + new_h, left : left + new_w] = cv2.resize(image_bgr, (new_w, new_h))
    boxes = []
    for (cx, cy, w, h), class_id in zip(cxcywh.tolist(), class_ids.tolist(), strict=True):
        box = left + (cx - w / 2) * new_w, top + (cy - h / 2) * new_h
        box += left + (cx + w / 2) * new_w, top + (cy + h / 2) * new_h
        x0, y0, x1, y1 = (round(value) for value in box)
        colour = np.array(colours[class_id], np.uint8)
        view[y0:y1, x0] = view[y0:y1, x1 - 1] = view[y0, x0:x1] = view[y1 - 1, x0:x1] = colour
        boxes.append(box)
    return view, np.array(boxes, np.float32).reshape(-1, 4)


@right
def with_the_transform_and_thick_lines(image_bgr, class_ids, cxcywh, input_hw, colours):
    """Through pixels of the original and the transform's scale per axis; lines of two pixels."""
    canvas, transform = letterbox(image_bgr, input_hw=input_hw)
    height, width = image_bgr.shape[:2]
    pixels = _corners(cxcywh) * np.array([width, height, width, height])
    scale, pad = np.tile(transform.scale_xy, 2), np.tile(transform.pad_xy, 2)
    xyxy = pixels * scale + pad
    return _drawn(canvas, xyxy, class_ids, colours, thickness=2), xyxy
