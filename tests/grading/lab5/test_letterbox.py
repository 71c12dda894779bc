"""lab5.letterbox: fit an image into the network's input and bring boxes back.

The images are smooth and brighter than the gray border, so that any sensible interpolation gives nearly the same
pixels while the place of the image on the canvas can be read off exactly.
"""

from __future__ import annotations

import cv2
import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling

attempts = sibling(__file__, "attempts")

_SHAPES = ("landscape", "portrait", "odd size", "tiny", "already square")

EXERCISE = Exercise(
    id="lab5.letterbox",
    title="Letterbox, there and back",
    objective="Fit an image of any size into the network's input and bring boxes back to its pixels.",
    answer="Letterbox",
    difficulty=2,
    minutes=25,
    cases=(*_SHAPES, "sliver"),
    hidden=("landscape", "portrait", "odd size", "tiny", "sliver"),
    forbidden=(
        "yolotrt_lab.detection.letterbox.letterbox",
        "yolotrt_lab.detection.letterbox.preprocess",
        "yolotrt_lab.detection.letterbox.LetterboxTransform",
        "yolotrt_lab.detection.letterbox.image_xyxy_from_input_xyxy",
        "yolotrt_lab.detection.letterbox._resized",
        "ultralytics.data.augment.LetterBox",
        "ultralytics.utils.ops.scale_boxes",
    ),
    seconds=10.0,
    reading="https://docs.ultralytics.com/reference/data/augment/",
)

_GRAY = 114
_EDGES = ("left", "top", "right", "bottom")
_DARKEST, _BRIGHTEST = 140, 252  # image pixels lie between, with room for interpolation
_INPUTS = {
    "landscape": (128, 128),
    "portrait": (96, 160),
    "odd size": (128, 160),
    "tiny": (96, 96),
    "already square": (64, 64),
    "sliver": (64, 96),
}


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    input_hw = _INPUTS[case]
    image_hw = _draw_image_hw(case, rng, input_hw)
    return {"image": _smooth_image(image_hw, rng), "input_hw": input_hw, "boxes": _draw_boxes(image_hw, input_hw, rng)}


def run(answer, *, image, input_hw, boxes):
    box = answer(image.shape[:2], input_hw=input_hw)
    content = _content_xyxy(image.shape[:2], input_hw)
    return {
        "canvas": box.apply(image),
        "boxes": attempts.attempt(lambda: box.to_image(boxes)),
        "whole image": attempts.attempt(lambda: box.to_image(content[None])),
        "no boxes": attempts.attempt(lambda: box.to_image(np.zeros((0, 4)))),
    }


def _draw_image_hw(case: str, rng: np.random.Generator, input_hw: tuple[int, int]) -> tuple[int, int]:
    """Return an image size that makes the case's typical mistakes visible, and has no tie in rounding."""
    limits = {
        "landscape": ((60, 100), (150, 240)),
        "portrait": ((150, 240), (60, 110)),
        "odd size": ((91, 240), (91, 240)),
        "tiny": ((8, 20), (12, 30)),
        "already square": ((64, 65), (64, 65)),
        "sliver": ((1, 2), (200, 260)),
    }[case]
    for _ in range(1000):
        height, width = (int(rng.integers(low, high)) for low, high in limits)
        exact, _, free = _fit((height, width), input_hw)
        part = min(abs(side % 1 - 0.5) for side in exact)
        if case in ("already square", "sliver"):
            return height, width
        if part < 0.03 or max(free) < 8:
            continue
        # Rounded down, an ideal scale would miss the far edge; rounded up, int() misses a pixel.
        rest = max(side % 1 for side in exact)
        if case == "tiny" or (case != "odd size" and 0.1 < rest < 0.45):
            return height, width
        if case == "odd size" and height % 2 and width % 2 and max(free) % 2 and rest > 0.55:
            return height, width
    raise RuntimeError(f"no image size found for {case!r}")


def _fit(image_hw: tuple[int, int], input_hw: tuple[int, int]) -> tuple[tuple[float, ...], ...]:
    """Return the exact and the whole size of the scaled image, and the free pixels, each as (height, width)."""
    scale = min(input_hw[0] / image_hw[0], input_hw[1] / image_hw[1])
    exact = tuple(side * scale for side in image_hw)
    whole = tuple(max(round(side), 1) for side in exact)
    free = tuple(room - side for room, side in zip(input_hw, whole, strict=True))
    return exact, whole, free


def _content_xyxy(image_hw: tuple[int, int], input_hw: tuple[int, int]) -> np.ndarray:
    """Return where the image lies on the canvas."""
    _, (height, width), (free_y, free_x) = _fit(image_hw, input_hw)
    left, top = free_x // 2, free_y // 2
    return np.array([left, top, left + width, top + height], np.float64)


class _Way:
    """From an input to its image, when the image lies at `content_xyxy` of the input."""

    def __init__(self, content_xyxy: np.ndarray, image_hw: tuple[int, int], input_hw: tuple[int, int]) -> None:
        self.content = content_xyxy.astype(np.float64)
        self.limits = np.array([image_hw[1], image_hw[0]] * 2, np.float64)
        self.scale = np.tile(self.content[2:] - self.content[:2], 2) / self.limits
        self.pad = np.tile(self.content[:2], 2)
        self.whole_padding = np.array([input_hw[1], input_hw[0]] * 2) - np.tile(self.content[2:] - self.content[:2], 2)
        self.stretch = self.limits / np.array([input_hw[1], input_hw[0]] * 2)

    def back(self, boxes: np.ndarray) -> np.ndarray:
        """Return boxes in image pixels, not clipped."""
        return (boxes - self.pad) / self.scale


def _smooth_image(image_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    y, x = (np.linspace(0, 1, side)[:, None] for side in image_hw)
    planes = []
    for level in (165, 195, 225):  # blue, green, red differ, so that their order shows
        slope_y, slope_x = rng.uniform(-1, 1, 2)
        wave = np.sin(2 * np.pi * (rng.uniform(0.3, 0.6) * y + rng.uniform(0.3, 0.6) * x.T + rng.uniform()))
        planes.append(level + 7 * (slope_y * (y - 0.5) + slope_x * (x.T - 0.5)) * 2 + 8 * wave)
    return np.stack(planes, axis=2).round().astype(np.uint8)


def _draw_boxes(image_hw: tuple[int, int], input_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return boxes in input pixels: four inside of the image, two that reach into the border."""
    content = _content_xyxy(image_hw, input_hw)
    size = content[2:] - content[:2]
    first, second = rng.uniform(0.05, 0.45, (4, 2)), rng.uniform(0.55, 0.95, (4, 2))
    inside = np.concatenate((first, second), axis=1) * np.tile(size, 2) + np.tile(content[:2], 2)
    beyond = rng.uniform(3, 9, 4)
    reaching = content + np.array([[-beyond[0], -beyond[1], 0, 0], [0, 0, beyond[2], beyond[3]]])
    return np.concatenate((inside, reaching))


def _canvas(answer) -> np.ndarray:
    height, width = answer.inputs["input_hw"]
    canvas = answer.item("canvas").array()
    if canvas.shape == (width, height, 3) != (height, width, 3):
        raise Mismatch(
            expected=f"a canvas of shape {(height, width, 3)}",
            seen=f"shape {canvas.shape}",
            misconception="Height and width are swapped: arrays are (height, width), OpenCV's sizes (width, height).",
        )
    if canvas.shape == (3, height, width) or canvas.shape == (1, 3, height, width):
        raise Mismatch(
            expected=f"a canvas of shape {(height, width, 3)}",
            seen=f"shape {canvas.shape}",
            misconception="Channels come first only in the network's input, a later step; a canvas is still an image.",
        )
    return answer.item("canvas").array(shape=(height, width, 3), dtype="uint8")


@points(1, cases=_SHAPES)
def test_canvas_has_the_size_of_the_input(answer):
    """The canvas is an image of the network's size."""
    _canvas(answer)
    expect(
        "image" not in answer.changed_inputs,
        expected="the image that came in, unchanged",
        seen="an image with other pixels than before",
        misconception="Somebody may still want to draw the boxes into it: write into a canvas of your own.",
    )


@points(2, cases=_SHAPES)
def test_image_lies_where_it_should(answer):
    """The image is scaled by one factor and centred."""
    canvas = _canvas(answer)
    image_hw, input_hw = answer.inputs["image"].shape[:2], answer.inputs["input_hw"]
    expected = _content_xyxy(image_hw, input_hw).astype(int)
    seen = _bounds_of_content(canvas)
    if seen is None:
        raise Mismatch(
            expected="the image on the canvas",
            seen="no pixel as bright as the image's",
            misconception="Is the resized image ever copied onto the canvas? Pixels stay between 0 and 255 here.",
        )
    if not np.array_equal(seen, expected):
        raise Mismatch(
            expected=_place(expected, image_hw, input_hw),
            seen=_place(seen, image_hw, input_hw),
            misconception=_misplaced(seen, expected, image_hw, input_hw),
        )


def _bounds_of_content(canvas: np.ndarray) -> np.ndarray | None:
    bright = ((canvas >= _DARKEST) & (canvas <= _BRIGHTEST)).all(axis=2)
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if not len(rows):
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def _place(xyxy: np.ndarray, image_hw: tuple[int, int], input_hw: tuple[int, int]) -> str:
    left, top, right, bottom = xyxy.tolist()
    return (
        f"{image_hw[1]}x{image_hw[0]} image as {right - left}x{bottom - top} pixels, {left} from the left and {top} "
        f"from the top of a {input_hw[1]}x{input_hw[0]} input"
    )


def _misplaced(seen: np.ndarray, expected: np.ndarray, image_hw: tuple[int, int], input_hw: tuple[int, int]) -> str:
    exact, whole, free = _fit(image_hw, input_hw)
    width, height = (seen[2:] - seen[:2]).tolist()
    if (height, width) == whole:
        corner = seen[:2].tolist()
        if corner == [0, 0]:
            return "It sits in the corner: half of the free pixels go before the image, half after it."
        if corner == [-(-free[1] // 2), -(-free[0] // 2)]:
            return "When the number of free pixels is odd, the one left over goes right or below, not left or above."
        return "The size is right, the place is not: half of the free pixels go before the image, half after it."
    if (height, width) == input_hw:
        return "The image fills the canvas: it was stretched, or scaled by the larger ratio and cut off."
    if (height, width) == image_hw:
        return "The image was not scaled: small ones are enlarged too, because the network has seen parts of that size."
    if (height, width) == tuple(max(int(side), 1) for side in exact):
        return "A side was cut off to a whole number; round to the nearest instead."
    if (height, width) == tuple(int(np.ceil(side)) for side in exact):
        return "A side was rounded up to a whole number; round to the nearest instead."
    return "The scale is the smaller of the two ratios input / image, the same for both sides."


@points(1, cases=_SHAPES)
def test_pixels(answer):
    """The border is gray 114, the pixels are the image's."""
    canvas = _canvas(answer)
    image, input_hw = answer.inputs["image"], answer.inputs["input_hw"]
    # Wherever the answer puts the image: its place is another test's matter.
    bounds = _bounds_of_content(canvas)
    left, top, right, bottom = (_content_xyxy(image.shape[:2], input_hw) if bounds is None else bounds).astype(int)
    border = np.ones(input_hw, bool)
    border[top:bottom, left:right] = False
    wrong = canvas[border & (canvas != _GRAY).any(axis=2)]
    if len(wrong):
        raise Mismatch(
            expected="114, 114, 114 in every pixel outside of the image",
            seen=f"{', '.join(map(str, wrong[0].tolist()))} in one of {len(wrong)} others",
            misconception="YOLO models saw gray 114 around images in training; another gray is one they never met.",
        )
    resized = cv2.resize(image, (int(right - left), int(bottom - top)), interpolation=cv2.INTER_LINEAR).astype(float)
    found = canvas[top:bottom, left:right].astype(np.float64)
    difference = np.abs(found - resized).mean()
    reordered = np.abs(found[..., ::-1] - resized).mean()
    expect(
        difference < 4,
        expected="the image's own values, resized",
        seen=f"values that differ by {difference:.1f} on average",
        misconception=(
            "Red and blue are swapped: channels are reordered later, when the image becomes the network's input."
            if reordered < 4
            else "Is the image resized to the pixels that it occupies, without flipping or brightening it?"
        ),
    )


@points(3, cases=_SHAPES)
def test_boxes_come_back(answer):
    """Boxes inside of the image come back to where they belong."""
    found, boxes = _boxes(answer, "boxes", 6)[:4], answer.inputs["boxes"][:4]
    ways = _ways(answer)
    # Within what rounding the image's size to whole pixels can do; the next test is about that.
    tolerance = 0.55 / float(ways[0].scale.min())
    for way in ways:
        right = way.back(boxes)
        if min(np.abs(found - each).max() for each in (right, np.clip(right, 0, way.limits))) <= tolerance:
            return
    expected = ways[0].back(boxes)
    worst = np.unravel_index(np.abs(found - expected).argmax(), expected.shape)
    raise Mismatch(
        expected=f"{_EDGES[worst[1]]} edge at {expected[worst]:.1f} of the image",
        seen=f"{found[worst]:.1f}",
        misconception=next(
            (words for way in ways if (words := _wrong_formula(found, boxes, way, tolerance))),
            "apply scales first and then pads; to_image undoes both, the last step first.",
        ),
    )


def _boxes(answer, key: str, count: int) -> np.ndarray:
    value = attempts.succeeded(answer.item(key), what="to_image")
    found = value.array(shape=(count, 4)).astype(np.float64)
    expect(np.isfinite(found).all(), expected="finite coordinates", seen="NaN or infinity")
    return found


def _ways(answer) -> list[_Way]:
    """Return the right way back and, if `apply` puts the image elsewhere, the way that undoes just that."""
    image_hw, input_hw = answer.inputs["image"].shape[:2], answer.inputs["input_hw"]
    places = [_content_xyxy(image_hw, input_hw)]
    try:
        seen = _bounds_of_content(_canvas(answer))
    except Mismatch:
        seen = None
    if seen is not None and not np.array_equal(seen, places[0]):
        places.append(seen)
    return [_Way(place, image_hw, input_hw) for place in places]


def _wrong_formula(found: np.ndarray, boxes: np.ndarray, way: _Way, tolerance: float) -> str:
    """Return the words for the typical wrong formula that gives these boxes, or nothing."""
    ideas = (
        (boxes, "These are still the boxes of the network's input: neither padding nor scale was undone."),
        (boxes / way.scale, "The padding is still in them: the image does not begin at the input's corner."),
        (boxes / way.scale - way.pad, "Undo the steps in the reverse order: the padding was measured in input pixels."),
        (
            (boxes - way.whole_padding) / way.scale,
            "All of the padding was subtracted; only half of it lies before the image.",
        ),
        (
            (boxes - way.pad) * way.scale,
            "The scale goes the wrong way: to_image divides by what apply multiplied with.",
        ),
        ((boxes - way.pad[[1, 0, 1, 0]]) / way.scale, "Horizontal and vertical padding are swapped."),
        (boxes - way.pad, "The padding is undone, the scale is not."),
        ((boxes + way.pad) / way.scale, "The padding is added once more; it has to go away."),
        (
            boxes * way.stretch,
            "This is the way back of a stretched image, with a scale for each side and no padding.",
        ),
    )
    for idea, words in ideas:
        for variant in (idea, np.clip(idea, 0, way.limits)):
            if np.abs(found - variant).max() <= tolerance:
                return words
    return ""


@points(1, cases=_SHAPES)
def test_way_back_is_exact(answer):
    """The box of the whole image comes back as the whole image, exactly."""
    found = _boxes(answer, "whole image", 1)[0]
    ways = _ways(answer)
    whole = ways[0].content
    wanted = [np.clip(way.back(whole), 0, way.limits) for way in ways]
    errors = [float(np.abs(found - each).max()) for each in wanted]
    expect(
        min(errors) <= 0.02,
        expected=", ".join(f"{value:g}" for value in wanted[0]),
        seen=", ".join(f"{value:.2f}" for value in found),
        misconception=(
            "Resizing ended at whole pixels, so the scale that each side really got is not quite the one it was "
            "meant to get, and the padding is a whole number too."
            if min(errors) <= 0.55 / float(ways[0].scale.min())
            else "This comes right with the boxes inside of the image: see the test above."
        ),
    )


@points(1, cases=_SHAPES)
def test_boxes_end_at_the_border(answer):
    """Boxes that reach into the gray are cut at the image's border; no boxes stay no boxes."""
    found = _boxes(answer, "boxes", 6)[4:]
    height, width = answer.inputs["image"].shape[:2]
    slack = 1e-3
    expect(
        (found >= -slack).all() and (found <= np.array([width, height] * 2) + slack).all(),
        expected=f"coordinates from 0 to {width} and 0 to {height}",
        seen=f"{found.min():.1f} to {found.max():.1f}",
        misconception="A network may well draw a box beyond the image. Whoever crops with it wants no such box.",
    )
    _boxes(answer, "no boxes", 0)


@points(1, cases=("sliver",))
def test_at_least_one_pixel(answer):
    """An image that is almost a line keeps one pixel."""
    canvas = _canvas(answer)
    seen = _bounds_of_content(canvas)
    expect(
        seen is not None and seen[3] - seen[1] == 1 and seen[2] - seen[0] == canvas.shape[1],
        expected=f"one row of {canvas.shape[1]} pixels",
        seen="no pixel of the image" if seen is None else f"{seen[2] - seen[0]}x{seen[3] - seen[1]} pixels",
        misconception=(
            "Rounding made a side 0 pixels long; nothing can be resized to that."
            if seen is None
            else "One scale for both sides: an image of one row stays one row, as wide as the input."
        ),
    )
