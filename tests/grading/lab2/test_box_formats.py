"""lab2.box_formats: one box in the three languages of the labelling tools, cut to its image."""

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab2.box_formats",
    title="Boxes between YOLO, VOC and COCO",
    objective="Convert boxes between the three common formats, and cut them to the image on the way.",
    answer="convert_boxes",
    difficulty=2,
    minutes=20,
    cases=(
        "yolo to voc",
        "yolo to coco",
        "voc to yolo",
        "coco to yolo",
        "voc to coco",
        "coco to voc",
        "over the edge, yolo to coco",
        "over the edge, coco to yolo",
        "wholly outside, voc to coco",
        "no boxes, yolo to voc",
    ),
    hidden=(
        "yolo to voc",
        "voc to yolo",
        "coco to voc",
        "over the edge, yolo to coco",
        "over the edge, coco to yolo",
        "wholly outside, voc to coco",
    ),
    forbidden=(
        "yolotrt_lab.detection.boxes.clip_boxes",
        "yolotrt_lab.detection.boxes.xyxy_from_cxcywh",
        "yolotrt_lab.detection.boxes.cxcywh_from_xyxy",
        "yolotrt_lab.detection.boxes.xyxy_from_xywh",
        "yolotrt_lab.detection.boxes.xywh_from_xyxy",
    ),
    reading="https://supervision.roboflow.com/latest/detection/utils/converters/",
)

_CUT = ("over the edge, yolo to coco", "over the edge, coco to yolo", "wholly outside, voc to coco")


def inputs(case, rng):
    """Six boxes in an image that is clearly wider than high."""
    height, width = int(rng.integers(200, 420)), int(rng.integers(600, 1100))
    source, target = case.split(", ")[-1].split(" to ")
    center = rng.uniform(0.3, 0.7, (6, 2)) * (width, height)
    size = rng.uniform(0.08, 0.35, (6, 2)) * (width, height)
    if case.startswith("over"):
        # One over each side, one over a corner, one that covers the image.
        center = np.array([[0, 0.5], [1, 0.5], [0.5, 0], [0.5, 1], [0.97, 0.04], [0.5, 0.5]]) * (width, height)
        center += rng.uniform(-0.02, 0.02, (6, 2)) * (width, height)
        size[-1] = 1.3 * width, 1.4 * height
    if case.startswith("wholly"):
        center = np.array([[-0.4, 0.5], [1.5, 0.4], [0.5, -0.6], [0.4, 1.4], [1.6, 1.7], [0.5, 0.5]]) * (width, height)
    xyxy = np.concatenate((center - size / 2, center + size / 2), axis=1)
    if case.startswith("no boxes"):
        xyxy = xyxy[:0]
    boxes = _written(xyxy, source, (height, width))
    return {"boxes": boxes, "source": source, "target": target, "image_hw": (height, width)}


def _edges(boxes, source, image_hw):
    """Return left, top, right, bottom in pixels."""
    height, width = image_hw
    if source == "voc":
        return boxes.astype(np.float64)
    if source == "coco":
        return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
    scaled = boxes * (width, height, width, height)
    return np.concatenate((scaled[:, :2] - scaled[:, 2:] / 2, scaled[:, :2] + scaled[:, 2:] / 2), axis=1)


def _written(xyxy, target, image_hw):
    """Return edges in another format."""
    height, width = image_hw
    size = xyxy[:, 2:] - xyxy[:, :2]
    if target == "voc":
        return xyxy.copy()
    if target == "coco":
        return np.concatenate((xyxy[:, :2], size), axis=1)
    return np.concatenate(((xyxy[:, :2] + xyxy[:, 2:]) / 2, size), axis=1) / (width, height, width, height)


def _clipped(xyxy, image_hw):
    height, width = image_hw
    return np.clip(xyxy, 0, (width, height, width, height))


def reference(boxes, source, target, image_hw):
    """Return the right boxes."""
    return _written(_clipped(_edges(boxes, source, image_hw), image_hw), target, image_hw)


def _centers_taken_for_corners(boxes, source, target, image_hw):
    height, width = image_hw
    whole = (width, height, width, height)
    if source == "yolo":
        return _written(_clipped(_edges(boxes * whole, "coco", image_hw), image_hw), target, image_hw)
    edges = _clipped(_edges(boxes, source, image_hw), image_hw)
    return _written(edges, "coco", image_hw) / whole


def _sizes_taken_for_edges(boxes, source, target, image_hw):
    if source == "coco":
        return _written(_clipped(boxes, image_hw), target, image_hw)
    return _clipped(_edges(boxes, source, image_hw), image_hw)


def _stored_numbers_clipped(boxes, source, target, image_hw):
    """Clip what the file holds instead of what the box covers."""
    height, width = image_hw
    limits = (1, 1, 1, 1) if source == "yolo" else (width, height, width, height)
    return _written(_edges(np.clip(boxes, 0, limits), source, image_hw), target, image_hw)


def _result_clipped(boxes, source, target, image_hw):
    height, width = image_hw
    limits = (1, 1, 1, 1) if target == "yolo" else (width, height, width, height)
    return np.clip(_written(_edges(boxes, source, image_hw), target, image_hw), 0, limits)


def other_ideas(boxes, source, target, image_hw):
    """Yield (result, what one who got it may have thought)."""
    height, width = image_hw
    whole, swapped = np.array((width, height, width, height)), (width, height)
    right = reference(boxes, source, target, image_hw)
    yield (
        reference(boxes, source, target, swapped),
        "Height and width are exchanged: `image_hw` is (height, width), and x goes with the width.",
    )
    if "yolo" in (source, target):
        yield (
            _centers_taken_for_corners(boxes, source, target, image_hw),
            "A YOLO box is named by its centre; here the centre is taken for the top left corner.",
        )
    if source == "yolo":
        yield right / whole, "These are still shares of the image. VOC and COCO count pixels."
    if target == "yolo":
        yield right * whole, "These are pixels. YOLO writes shares of the image's width and height."
        yield right * whole / max(image_hw), "x is a share of the width, and y of the height: each has its own divisor."
    if "coco" in (source, target):
        yield (
            _sizes_taken_for_edges(boxes, source, target, image_hw),
            "COCO's last two numbers are a width and a height, not a right and a bottom edge.",
        )
    yield right - (1, 1, 0, 0), "One pixel off: the edges are used as they are written, nothing is counted from 1."
    yield (
        _written(_edges(boxes, source, image_hw), target, image_hw),
        "Boxes still reach beyond the image: no detector can learn pixels that are not there.",
    )
    idea = "Not the box was cut but its numbers. Only edges can be cut at a border; a centre or a size cannot."
    yield _stored_numbers_clipped(boxes, source, target, image_hw), idea
    yield _result_clipped(boxes, source, target, image_hw), idea


def judge_boxes(answer):
    """Raise unless the boxes are right."""
    given = answer.inputs
    right = reference(**given)
    seen = answer.array(shape=right.shape)
    tolerance = 2e-6 if given["target"] == "yolo" else 2e-3
    if np.allclose(seen, right, rtol=1e-5, atol=tolerance):
        return
    ideas = (text for guess, text in other_ideas(**given) if np.allclose(seen, guess, rtol=1e-5, atol=tolerance))
    wrong = ~np.isclose(seen, right, rtol=1e-5, atol=tolerance)
    row = int(np.argmax(wrong.any(axis=1)))
    raise Mismatch(
        expected=f"{_shown(given['boxes'][row])} in {given['source'].upper()} is {_shown(right[row])} "
        f"in {given['target'].upper()} (image_hw {given['image_hw']})",
        seen=f"{_shown(seen[row])}; {int(wrong.any(axis=1).sum())} of {len(right)} boxes differ",
        misconception=next(ideas, ""),
    )


def _shown(box):
    return "(" + ", ".join(f"{value:.5g}" for value in box) + ")"


def picture(answer):
    """Show the boxes in their image: where they lie, and where the answer's numbers put them."""
    from yolotrt_lab.figures.verdicts import paired_boxes

    given = answer.inputs
    hw, target = given["image_hw"], given["target"]
    right, seen = (_edges(boxes, target, hw) for boxes in (reference(**given), answer.array(shape=(None, 4))))
    if not len(right) or right.shape != seen.shape or np.allclose(right, seen, atol=0.01):
        return None
    wrong = int((~np.isclose(right, seen, atol=0.01)).any(axis=1).sum())
    return Drawing(
        paired_boxes(right, seen, image_hw=hw),
        caption=f"“{answer.case.name}”: your numbers, read as {target.upper()} and drawn into the image.",
        alt=f"{wrong} of {len(right)} boxes do not lie where they should.",
    )


@points(1)
def test_one_row_per_box(answer):
    """One row of four finite numbers per box, the caller's array untouched."""
    given = answer.inputs
    seen = answer.array(shape=(len(given["boxes"]), 4))
    expect(np.isfinite(seen).all(), expected="finite numbers", seen="NaN or infinity")
    expect(
        not answer.changed_inputs,
        expected="`boxes` as they were before the call",
        seen="changed in place",
        misconception="NumPy slices are views: `boxes[:, 0] *= width` writes into the caller's array.",
    )


@points(3, cases=("yolo to voc", "yolo to coco"))
def test_shares_become_pixels(answer):
    """YOLO's shares become pixels."""
    judge_boxes(answer)


@points(3, cases=("voc to yolo", "coco to yolo"))
def test_pixels_become_shares(answer):
    """Pixels become YOLO's shares."""
    judge_boxes(answer)


@points(2, cases=("voc to coco", "coco to voc"))
def test_edges_and_sizes(answer):
    """Edges become sizes, and sizes edges."""
    judge_boxes(answer)


@points(3, cases=_CUT)
def test_boxes_are_cut_at_the_border(answer):
    """What reaches beyond the image is cut off, in every format."""
    judge_boxes(answer)
