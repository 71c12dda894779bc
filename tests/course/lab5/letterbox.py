"""Wrong and right answers to lab5.letterbox."""

import cv2
import numpy as np
from PIL import Image
from tests_course_api import right, wrong

from yolotrt_lab.detection.letterbox import image_xyxy_from_input_xyxy, letterbox


class _Correct:
    """The geometry that every answer below gets wrong in one place."""

    def __init__(self, image_hw, input_hw=(640, 640)):
        self.image_hw, self.input_hw = image_hw, input_hw
        self.scale = min(input_hw[0] / image_hw[0], input_hw[1] / image_hw[1])
        self.height, self.width = (self.whole(side * self.scale) for side in image_hw)
        self.left, self.top = self.padding(input_hw[1] - self.width), self.padding(input_hw[0] - self.height)

    def whole(self, side):
        return max(round(side), 1)

    def padding(self, free):
        return free // 2

    def apply(self, image):
        canvas = np.full((*self.input_hw, 3), 114, np.uint8)
        resized = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        canvas[self.top : self.top + self.height, self.left : self.left + self.width] = resized
        return canvas

    def pads(self):
        return np.array([self.left, self.top] * 2)

    def scales(self):
        return np.array([self.width / self.image_hw[1], self.height / self.image_hw[0]] * 2)

    def clip(self, boxes):
        return np.clip(boxes, 0, np.array([self.image_hw[1], self.image_hw[0]] * 2))

    def to_image(self, xyxy):
        return self.clip((np.asarray(xyxy) - self.pads()) / self.scales())


@wrong(caught_by="test_boxes_come_back", says="padding is still in them")
class PaddingForgotten(_Correct):
    """Believes that the scale alone brings boxes back."""

    def to_image(self, xyxy):
        return self.clip(xyxy / self.scales())


@wrong(caught_by="test_boxes_come_back", says="reverse order")
class ScaledBeforeUnpadding(_Correct):
    """Undoes the steps in the order in which they were done."""

    def to_image(self, xyxy):
        return self.clip(xyxy / self.scales() - self.pads())


@wrong(caught_by="test_boxes_come_back", says="only half of it")
class WholePaddingSubtracted(_Correct):
    """Takes all free pixels for the offset."""

    def pads(self):
        return np.array([self.input_hw[1] - self.width, self.input_hw[0] - self.height] * 2)


@wrong(caught_by="test_boxes_come_back", says="wrong way")
class ScaledTheWrongWay(_Correct):
    """Multiplies once more."""

    def to_image(self, xyxy):
        return self.clip((xyxy - self.pads()) * self.scales())


@wrong(caught_by="test_boxes_come_back", says="horizontal and vertical")
class PaddingsSwapped(_Correct):
    """Takes (y, x) for (x, y)."""

    def pads(self):
        return np.array([self.top, self.left] * 2)


@wrong(caught_by="test_image_lies_where_it_should", says="sits in the corner")
class InTheCorner(_Correct):
    """Puts all gray right and below; consistent, but not what the network was trained on."""

    def padding(self, free):
        return 0


@wrong(caught_by="test_image_lies_where_it_should", says="odd")
class OddPixelFirst(_Correct):
    """Rounds half a pixel up."""

    def padding(self, free):
        return (free + 1) // 2


@wrong(caught_by="test_image_lies_where_it_should", says="cut off to a whole number")
class Truncated(_Correct):
    """Takes int() for rounding."""

    def whole(self, side):
        return max(int(side), 1)


@wrong(caught_by="test_image_lies_where_it_should", says="stretched")
class Stretched(_Correct):
    """Resizes to the input's size, whatever the image's shape."""

    def __init__(self, image_hw, input_hw=(640, 640)):
        super().__init__(image_hw, input_hw)
        (self.height, self.width), self.left, self.top = input_hw, 0, 0


@wrong(caught_by="test_image_lies_where_it_should", says="enlarged")
class NeverEnlarged(_Correct):
    """Pads small images only, as if enlarging could do harm."""

    def __init__(self, image_hw, input_hw=(640, 640)):
        super().__init__(image_hw, input_hw)
        if self.scale > 1:
            self.scale, (self.height, self.width) = 1, image_hw
            self.left, self.top = self.padding(input_hw[1] - self.width), self.padding(input_hw[0] - self.height)


@wrong(caught_by="test_canvas_has_the_size_of_the_input", says="height and width are swapped")
class WidthFirst(_Correct):
    """Makes the canvas as OpenCV counts."""

    def apply(self, image):
        return np.ascontiguousarray(super().apply(image).transpose(1, 0, 2))


@wrong(caught_by="test_pixels", says="114")
class BlackBorder(_Correct):
    """Pads with zeros."""

    def apply(self, image):
        canvas = super().apply(image)
        inside = canvas[self.top : self.top + self.height, self.left : self.left + self.width].copy()
        canvas[:] = 0
        canvas[self.top : self.top + self.height, self.left : self.left + self.width] = inside
        return canvas


@wrong(caught_by="test_pixels", says="red and blue")
class AlreadyRgb(_Correct):
    """Swaps channels here and, later, once more."""

    def apply(self, image):
        return np.ascontiguousarray(super().apply(image)[..., ::-1])


@wrong(caught_by="test_way_back_is_exact", says="whole pixels")
class IdealScale(_Correct):
    """Divides by the scale before rounding, and so misses the far edges by part of a pixel."""

    def scales(self):
        return np.full(4, self.scale)


@wrong(caught_by="test_boxes_end_at_the_border", says="beyond the image")
class NotClipped(_Correct):
    """Leaves boxes where the network put them."""

    def clip(self, boxes):
        return boxes


@wrong(caught_by="test_boxes_end_at_the_border", says="index")
class OneBoxAtLeast(_Correct):
    """Does not think of images without objects."""

    def to_image(self, xyxy):
        first = xyxy[0]
        return super().to_image(xyxy) + 0 * first[0]


@wrong(caught_by="test_at_least_one_pixel", says="a result")
class NoPixelLeft(_Correct):
    """Rounds thin images away."""

    def whole(self, side):
        return round(side)


@wrong(caught_by="test_boxes_come_back", says="not written yet")
class HalfDone(_Correct):
    """The first half earns its points."""

    def to_image(self, xyxy):
        raise NotImplementedError


@wrong(caught_by="test_image_lies_where_it_should", says="answer of your own")
class ThePackagesOwn:
    """Hands the work to the package."""

    def __init__(self, image_hw, input_hw=(640, 640)):
        self.input_hw = input_hw
        _, self.transform = letterbox(np.zeros((*image_hw, 3), np.uint8), input_hw=input_hw)

    def apply(self, image):
        return letterbox(image, input_hw=self.input_hw)[0]

    def to_image(self, xyxy):
        return image_xyxy_from_input_xyxy(xyxy, self.transform)


@right
class WithPillow:
    """Resizes with another library, computes in integers, returns lists."""

    def __init__(self, image_hw, input_hw=(640, 640)):
        (self.h, self.w), (self.H, self.W) = image_hw, input_hw
        # The smaller ratio without division: compare H / h with W / w.
        if self.H * self.w <= self.W * self.h:
            self.rh, self.rw = self.H, max(1, int(self.w * self.H / self.h + 0.5))
        else:
            self.rh, self.rw = max(1, int(self.h * self.W / self.w + 0.5)), self.W
        self.dx, self.dy = (self.W - self.rw) // 2, (self.H - self.rh) // 2

    def apply(self, image):
        canvas = Image.new("RGB", (self.W, self.H), (114, 114, 114))
        canvas.paste(Image.fromarray(image).resize((self.rw, self.rh), Image.Resampling.BILINEAR), (self.dx, self.dy))
        return np.array(canvas)

    def to_image(self, xyxy):
        boxes = []
        for x1, y1, x2, y2 in np.asarray(xyxy, float):
            xs = [min(max((x - self.dx) * self.w / self.rw, 0.0), float(self.w)) for x in (x1, x2)]
            ys = [min(max((y - self.dy) * self.h / self.rh, 0.0), float(self.h)) for y in (y1, y2)]
            boxes.append([xs[0], ys[0], xs[1], ys[1]])
        return np.array(boxes).reshape(-1, 4)


@right
class WithCopyMakeBorder:
    """The form found in Ultralytics: borders by OpenCV, rounding with a bias, float32 boxes clipped in place."""

    def __init__(self, image_hw, input_hw=(640, 640)):
        self.image_hw = image_hw
        r = min(input_hw[0] / image_hw[0], input_hw[1] / image_hw[1])
        self.new_wh = max(round(image_hw[1] * r), 1), max(round(image_hw[0] * r), 1)
        dw, dh = (input_hw[1] - self.new_wh[0]) / 2, (input_hw[0] - self.new_wh[1]) / 2
        self.border = round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1)

    def apply(self, image):
        resized = cv2.resize(image, self.new_wh, interpolation=cv2.INTER_AREA)
        return cv2.copyMakeBorder(resized, *self.border, cv2.BORDER_CONSTANT, value=(114, 114, 114))

    def to_image(self, xyxy):
        boxes = np.array(xyxy, np.float32)
        boxes[:, 0::2] = (boxes[:, 0::2] - self.border[2]) * (self.image_hw[1] / self.new_wh[0])
        boxes[:, 1::2] = (boxes[:, 1::2] - self.border[0]) * (self.image_hw[0] / self.new_wh[1])
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, self.image_hw[1])
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, self.image_hw[0])
        return boxes
