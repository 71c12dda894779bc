"""lab2.letterbox_view: the picture as the network gets it, with the labels where the things are."""

import numpy as np

from yolotrt_lab.detection.letterbox import LetterboxTransform, letterbox
from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab2.letterbox_view",
    title="Labels in the network's view",
    objective="Look at training data as the network sees it, labels included.",
    answer="letterbox_view",
    difficulty=2,
    minutes=25,
    cases=("landscape", "portrait", "wide input", "odd sizes", "enlarged", "no labels"),
    hidden=("landscape", "portrait", "odd sizes", "enlarged"),
    forbidden=("yolotrt_lab.detection.letterbox.input_xyxy_from_image_xyxy",),
    reading="https://docs.ultralytics.com/reference/data/augment/#ultralytics.data.augment.LetterBox",
)

_COLOURS = ((60, 230, 255), (255, 60, 230), (90, 255, 60))


def inputs(case, rng):
    """A picture with up to four labels, and the size of a network's input."""
    sizes = {
        "landscape": ((240, 400), (320, 320)),
        "portrait": ((400, 220), (320, 320)),
        "wide input": ((300, 300), (192, 384)),
        "odd sizes": ((int(rng.integers(101, 120)) * 2 + 1, 377), (160, 160)),
        "enlarged": ((72, 100), (224, 256)),
        "no labels": ((240, 400), (160, 160)),
    }
    image_hw, input_hw = sizes[case]
    height, width = image_hw
    y, x = np.mgrid[:height, :width] / max(image_hw)
    wave = 70 + 40 * np.sin(9 * x + rng.uniform(0, 6)) * np.cos(7 * y + rng.uniform(0, 6))
    image = np.repeat(wave[..., None], 3, axis=2).round().astype(np.uint8)
    count = 0 if case == "no labels" else 4
    corners = np.array([[0.25, 0.25], [0.75, 0.3], [0.3, 0.75], [0.72, 0.72]])[:count]
    center = corners + rng.uniform(-0.04, 0.04, (count, 2))
    return {
        "image_bgr": image,
        "class_ids": rng.integers(0, len(_COLOURS), count),
        "cxcywh": np.concatenate((center, rng.uniform(0.2, 0.34, (count, 2))), axis=1),
        "input_hw": input_hw,
        "colours": _COLOURS,
    }


def run(answer, **given):
    """Call the answer and name its two results."""
    result = answer(**given)
    if isinstance(result, tuple) and len(result) == 2:
        return {"view": result[0], "xyxy": result[1]}
    return {"neither": type(result).__name__}


def _corners(cxcywh):
    return np.concatenate((cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, :2] + cxcywh[:, 2:] / 2), axis=1)


def reference(image_bgr, cxcywh, input_hw):
    """Return the boxes in pixels of the network's input."""
    transform = LetterboxTransform.fit(image_bgr.shape[:2], input_hw=input_hw)
    resized = np.array(transform.resized_hw[::-1] * 2, np.float64)
    return _corners(cxcywh) * resized + np.array(transform.pad_xy * 2)


def other_ideas(image_bgr, cxcywh, input_hw):
    """Yield (boxes, what one who got them may have thought)."""
    transform = LetterboxTransform.fit(image_bgr.shape[:2], input_hw=input_hw)
    corners, right = _corners(cxcywh), reference(image_bgr, cxcywh, input_hw)
    pad = np.array(transform.pad_xy * 2)
    resized = np.array(transform.resized_hw[::-1] * 2, np.float64)
    shown = np.array((image_bgr.shape[1], image_bgr.shape[0]) * 2)
    yield (
        corners * np.array((input_hw[1], input_hw[0]) * 2),
        "The shares belong to the picture, and the picture does not fill the input: these boxes are stretched.",
    )
    yield corners * shown, "These boxes lie in the picture as it was, before it was resized."
    yield corners * shown + pad, "Padded but not scaled: the picture was resized before it was padded."
    yield right - pad, "Scaled but not moved: the gray border shifts all that lies in the picture."
    yield right + pad, "Moved twice: the border lies on both sides, but only the left or upper one moves the picture."
    yield corners * resized + pad[::-1], "x is moved by the rows above the picture; they move y."
    yield (
        cxcywh * resized + np.array((*transform.pad_xy, 0, 0)),
        "Centre and size, not left, top, right and bottom.",
    )
    yield right / shown, "These are shares; the view is counted in pixels."


def _judge_boxes(answer, tolerance):
    given = answer.inputs
    right = reference(given["image_bgr"], given["cxcywh"], given["input_hw"])
    seen = answer.item("xyxy").array(shape=right.shape)
    wrong = ~(np.abs(seen - right) <= tolerance)  # NaN is wrong too
    if not wrong.any():
        return
    guesses = other_ideas(given["image_bgr"], given["cxcywh"], given["input_hw"])
    idea = next((text for guess, text in guesses if np.allclose(seen, guess, atol=0.6)), "")
    if not idea and np.abs(seen - right).max() < 2.5:
        idea = (
            "Nearly: the picture is resized to whole pixels and padded by whole pixels, and the two axes are rounded "
            "apart. What `letterbox` returns says how."
        )
    row = int(np.argmax(wrong.any(axis=1)))
    raise Mismatch(
        expected=f"box {row} at {np.round(right[row], 2).tolist()}",
        seen=f"{np.round(seen[row], 2).tolist()}",
        misconception=idea,
    )


def _view(answer):
    """Return the view, of the right shape and type."""
    if "neither" in answer.mapping():
        raise Mismatch(expected="two results, `return view, xyxy`", seen=f"a {answer.mapping()['neither']}"[:80])
    height, width = answer.inputs["input_hw"]
    return answer.item("view").array(shape=(height, width, 3), dtype="uint8")


def _rectangles(given):
    return np.round(reference(given["image_bgr"], given["cxcywh"], given["input_hw"])).astype(int)


def _near_outlines(shape, rectangles, reach):
    """Return which pixels lie within `reach` of a rectangle's outline."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    near = np.zeros(shape[:2], bool)
    for left, top, right, bottom in rectangles:
        outer = (x >= left - reach) & (x < right + reach) & (y >= top - reach) & (y < bottom + reach)
        inner = (x >= left + reach) & (x < right - reach) & (y >= top + reach) & (y < bottom - reach)
        near |= outer & ~inner
    return near


def picture(answer):
    """Show the answer's view with its boxes, or beside what it should look like."""
    from yolotrt_lab.figures.annotation import Outline, Panel, labelled_panels
    from yolotrt_lab.figures.verdicts import paired_boxes

    given, view = answer.inputs, _view(answer)
    right = reference(given["image_bgr"], given["cxcywh"], given["input_hw"])
    seen = answer.item("xyxy").array(shape=right.shape)
    wrong = int((np.abs(seen - right) > 0.6).any(axis=1).sum())
    if wrong:
        return Drawing(
            paired_boxes(right, seen, image_hw=given["input_hw"], image_bgr=view),
            caption=f"Your view of “{answer.case.name}”, and the boxes you returned.",
            alt=f"{wrong} of {len(right)} boxes do not lie where they should.",
        )
    colours = ["#{:02x}{:02x}{:02x}".format(*given["colours"][int(index)][::-1]) for index in given["class_ids"]]
    outlines = [Outline(tuple(box), color=color) for box, color in zip(right.tolist(), colours, strict=True)]
    canvas, _ = letterbox(given["image_bgr"], input_hw=given["input_hw"])
    return Drawing(
        labelled_panels([Panel("Expected", canvas, outlines), Panel("Yours", view)], columns=2, width=8.0),
        caption=f"The view of “{answer.case.name}” as it should be, and yours.",
        alt=f"The boxes are right; the picture with its {len(right)} outlines is not.",
    )


@points(2)
def test_the_view_is_the_letterboxed_picture(answer):
    """Away from the boxes the view is the letterboxed picture, and the original is untouched."""
    given, view = answer.inputs, _view(answer)
    canvas, _ = letterbox(given["image_bgr"], input_hw=given["input_hw"])
    free = ~_near_outlines(view.shape, _rectangles(given), 4)
    wrong = (np.abs(view.astype(int) - canvas.astype(int)).max(axis=2) > 1) & free
    idea = ""
    if wrong.any():
        rows, columns = np.nonzero(wrong)
        idea = f"The first one is at row {rows[0]}, column {columns[0]}: "
        border = bool((canvas[rows[0], columns[0]] == 114).all())
        idea += "that is border, and border is gray 114." if border else "only outlines are to be drawn."
    expect(
        not wrong.any(),
        expected="the picture, scaled and centred on gray, with nothing drawn but outlines",
        seen=f"{int(wrong.sum())} of {int(free.sum())} pixels away from the boxes differ",
        misconception=idea,
    )
    expect(
        "image_bgr" not in answer.changed_inputs,
        expected="`image_bgr` as it was before the call",
        seen="drawn into",
        misconception="OpenCV draws into the array it is given.",
    )


@points(3, cases=("landscape", "portrait", "wide input", "no labels"))
def test_boxes_follow_the_picture(answer):
    """The boxes lie where the picture lies."""
    _view(answer)
    _judge_boxes(answer, tolerance=0.6)


@points(2, cases=("odd sizes", "enlarged"))
def test_boxes_are_exact(answer):
    """The boxes are exact where sizes do not divide evenly."""
    _view(answer)
    _judge_boxes(answer, tolerance=0.02)


@points(3, cases=("landscape", "portrait", "wide input", "enlarged"))
def test_outlines_are_drawn(answer):
    """Every box is outlined in the colour of its class."""
    given, view = answer.inputs, _view(answer)
    for index, (left, top, right, bottom) in enumerate(_rectangles(given)):
        colour = np.array(given["colours"][int(given["class_ids"][index])])
        painted = np.abs(view.astype(int) - colour).max(axis=2) <= 40
        sides = {
            "left": painted[top:bottom, max(left - 2, 0) : left + 3].any(axis=1),
            "right": painted[top:bottom, right - 3 : right + 2].any(axis=1),
            "upper": painted[max(top - 2, 0) : top + 3, left:right].any(axis=0),
            "lower": painted[bottom - 3 : bottom + 2, left:right].any(axis=0),
        }
        for side, covered in sides.items():
            if covered.size and covered.mean() >= 0.6:
                continue
            swapped = np.abs(view.astype(int) - colour[::-1]).max(axis=2) <= 40
            idea = "The colours are given as blue, green, red, like the picture." if swapped.any() else ""
            raise Mismatch(
                expected=f"box {index} outlined in {tuple(int(value) for value in colour)} (BGR)",
                seen=f"{covered.mean() if covered.size else 0:.0%} of its {side} side in that colour",
                misconception=idea,
            )
