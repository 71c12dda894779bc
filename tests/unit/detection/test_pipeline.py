from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest

from yolotrt_lab.detection.decode import OutputLayout
from yolotrt_lab.detection.letterbox import letterbox, preprocess
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig, InferenceBackend
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import TensorSpec

NAMES = ("bolt", "nut", "washer")


class ColorBackend:
    """A stand-in network that finds, in each picture of a batch, the box of saturated pixels per color channel.

    Class 0, 1, 2 is pure red, green, blue: so channel order, scale, padding and batch order all show in the result.
    """

    def __init__(
        self,
        *,
        batch: int | None = None,
        input_hw: tuple[int | None, int | None] = (64, 96),
        dtype: str = "float32",
        layout: OutputLayout = OutputLayout.ANCHOR_FREE,
    ) -> None:
        shapes = {
            OutputLayout.ANCHOR_FREE: (batch, 7, 21),
            OutputLayout.ANCHOR_BASED: (batch, 63, 8),
            OutputLayout.END_TO_END: (batch, 300, 6),
        }
        self.layout = layout
        self.inputs = (TensorSpec("images", dtype, (batch, 3, *input_hw)),)
        self.outputs = (TensorSpec("output0", dtype, shapes[layout]),)
        self.batches: list[int] = []
        self.buffers: list[int] = []
        self.last_batch: np.ndarray | None = None
        self.closed = False

    def infer(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        images = feeds["images"]
        assert self.inputs[0].accepts(images.shape)
        assert images.dtype.name == self.inputs[0].dtype
        self.batches.append(len(images))
        self.buffers.append(images.__array_interface__["data"][0])
        self.last_batch = images.copy()
        output = np.zeros((len(images), *self.outputs[0].shape[1:]), images.dtype)
        for row, image in zip(output, images, strict=True):
            for class_id in range(3):
                others = [channel for channel in range(3) if channel != class_id]
                saturated = (image[class_id] > 0.9) & (image[class_id] <= 1)
                ys, xs = np.nonzero(saturated & (image[others] < 0.1).all(axis=0))
                if len(xs):
                    self._write(row, class_id, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
        return {"output0": output}

    def _write(self, row: np.ndarray, class_id: int, xyxy: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = xyxy
        score = 0.9 - 0.2 * class_id
        cxcywh = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        if self.layout is OutputLayout.ANCHOR_FREE:
            row[:4, class_id], row[4 + class_id, class_id] = cxcywh, score
        elif self.layout is OutputLayout.ANCHOR_BASED:
            row[class_id, :4], row[class_id, 4], row[class_id, 5 + class_id] = cxcywh, score, 1
        else:
            row[-1 - class_id] = (*xyxy, score, class_id)

    def close(self) -> None:
        self.closed = True


def picture(image_hw: tuple[int, int], **boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A gray image with filled boxes: red=(left, top, right, bottom) and so on."""
    image = np.full((*image_hw, 3), 128, np.uint8)
    for name, (left, top, right, bottom) in boxes.items():
        image[top:bottom, left:right] = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}[name]
    return image


IMAGE = picture((64, 96), red=(10, 5, 30, 25), blue=(50, 20, 90, 60))


def test_the_backend_protocol_fits():
    backend: InferenceBackend = ColorBackend()
    assert Detector(backend, class_names=NAMES).input_hw == (64, 96)


@pytest.mark.parametrize("layout", list(OutputLayout))
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_finds_what_is_there(layout, dtype):
    found = Detector(ColorBackend(layout=layout, dtype=dtype), class_names=NAMES).detect(IMAGE)
    assert found.class_ids.tolist() == [0, 2]
    assert found.xyxy.tolist() == [[10, 5, 30, 25], [50, 20, 90, 60]]
    np.testing.assert_allclose(found.scores, [0.9, 0.5], atol=1e-3)
    assert found.xyxy.dtype == found.scores.dtype == np.float32


@pytest.mark.parametrize("image_hw", [(128, 192), (320, 200), (200, 800), (64, 97), (333, 500)])
def test_boxes_come_back_in_pixels_of_the_image(image_hw):
    height, width = image_hw
    box = (width // 4, height // 4, width // 4 + width // 2, height // 4 + height // 2)
    found = Detector(ColorBackend(), class_names=NAMES).detect(picture(image_hw, green=box))
    assert found.class_ids.tolist() == [1]
    pixel = max(height / 64, width / 96)  # one pixel of the network's input
    np.testing.assert_allclose(found.xyxy[0], box, atol=1.5 * pixel)


@pytest.mark.parametrize("batch", [None, 1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 9])
def test_batches_of_mixed_sizes_equal_one_by_one(batch, count):
    sizes = [(64, 96), (128, 96), (40, 200), (333, 100), (96, 64)]
    colors = ["red", "green", "blue"]
    images = [
        picture(sizes[i % 5], **{colors[i % 3]: (sizes[i % 5][1] // 4, 8, sizes[i % 5][1] // 2, 30)})
        for i in range(count)
    ]
    one_by_one = Detector(ColorBackend(), class_names=NAMES)
    expected = [one_by_one.detect(image) for image in images]
    backend = ColorBackend(batch=batch)
    found = Detector(backend, class_names=NAMES, config=DetectorConfig(max_batch=4)).detect_batch(images)
    assert len(found) == count
    for each, other in zip(found, expected, strict=True):
        assert len(each) == 1
        for name in ("xyxy", "scores", "class_ids"):
            np.testing.assert_array_equal(getattr(each, name), getattr(other, name))
    size = batch or 4
    sizes_run = [min(size, count - start) for start in range(0, count, size)]
    assert backend.batches == ([size] * len(sizes_run) if batch else sizes_run)


def test_a_fixed_batch_is_filled_with_gray_even_after_a_full_one():
    backend = ColorBackend(batch=3)
    detector = Detector(backend, class_names=NAMES)
    detector.detect_batch([IMAGE] * 4)
    np.testing.assert_array_equal(backend.last_batch[1:], np.full((2, 3, 64, 96), np.float32(114 / 255)))


def test_the_input_buffer_is_reused():
    backend = ColorBackend()
    detector = Detector(backend, class_names=NAMES)
    for _ in range(3):
        detector.detect(IMAGE)
    assert len(set(backend.buffers)) == 1


def test_results_do_not_change_when_the_buffer_is_reused():
    detector = Detector(ColorBackend(), class_names=NAMES)
    first = detector.detect(IMAGE)
    before = first.xyxy.copy()
    detector.detect(picture((50, 50), green=(1, 1, 20, 20)))
    np.testing.assert_array_equal(first.xyxy, before)


def test_stages_one_by_one_equal_detect():
    detector = Detector(ColorBackend(), class_names=NAMES)
    batch, transforms = detector.preprocess([IMAGE])
    canvas, transform = letterbox(IMAGE, input_hw=(64, 96))
    assert transforms == (transform,)
    np.testing.assert_array_equal(batch[0], canvas[..., ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    found = detector.postprocess(detector.infer(batch), transforms)
    np.testing.assert_array_equal(found[0].xyxy, detector.detect(IMAGE).xyxy)


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_preprocessing_into_an_array_of_the_callers(batch):
    detector = Detector(ColorBackend(batch=batch), class_names=NAMES)
    own, _ = detector.preprocess([picture((50, 50), green=(1, 1, 20, 20))])
    before = own.copy()
    shape = detector.input_shape(1)
    assert shape == (batch or 1, 3, 64, 96)
    out = np.full(shape, np.nan, np.float32)
    given, transforms = detector.preprocess([IMAGE], out=out)
    assert given is out
    np.testing.assert_array_equal(own, before)
    np.testing.assert_array_equal(out, detector.preprocess([IMAGE])[0])
    found = detector.postprocess(detector.infer(out), transforms)
    np.testing.assert_array_equal(found[0].xyxy, detector.detect(IMAGE).xyxy)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((2, 3, 64, 96), np.float32),
        np.zeros((1, 3, 64, 95), np.float32),
        np.zeros((1, 3, 64, 96), np.float16),
        np.zeros((3, 64, 96, 1), np.float32).transpose(3, 0, 1, 2)[:, :, ::-1],
    ],
)
def test_an_array_that_does_not_fit_is_refused(out):
    with pytest.raises(InputError, match="does not fit the network's input"):
        Detector(ColorBackend(), class_names=NAMES).preprocess([IMAGE], out=out)


def test_thresholds_and_limits_are_used():
    def found(**config):
        return Detector(ColorBackend(), class_names=NAMES, config=DetectorConfig(**config)).detect(IMAGE)

    assert found(conf_threshold=0.6).class_ids.tolist() == [0]
    assert found(conf_threshold=0.95).class_ids.tolist() == []
    assert found(max_detections=1).class_ids.tolist() == [0]


class FixedOutput(ColorBackend):
    """Returns one given output for any image."""

    def __init__(self, output: np.ndarray, *, outputs: tuple[TensorSpec, ...] | None = None) -> None:
        super().__init__()
        self.output = output
        self.outputs = outputs or (TensorSpec("output0", "float32", output.shape),)

    def infer(self, feeds):
        return {"output0": self.output}


def _two_boxes_of_two_classes() -> np.ndarray:
    output = np.zeros((1, 7, 21), np.float32)
    output[0, :4, :3] = np.array([[20, 20, 10, 10], [20, 20, 10, 10], [20, 20, 10, 9]]).T
    output[0, 4:, 0], output[0, 4:, 1], output[0, 4:, 2] = (0.9, 0.6, 0), (0, 0.8, 0), (0.7, 0, 0)
    return output


@pytest.mark.parametrize(
    ("multi_label", "iou_threshold", "class_ids"), [(False, 0.7, [0, 1]), (True, 0.7, [0, 1]), (False, 0.95, [0, 1, 0])]
)
def test_overlaps_are_removed_within_a_class_only(multi_label, iou_threshold, class_ids):
    config = DetectorConfig(multi_label=multi_label, iou_threshold=iou_threshold)
    found = Detector(FixedOutput(_two_boxes_of_two_classes()), class_names=NAMES, config=config).detect(IMAGE)
    assert found.class_ids.tolist() == class_ids


def test_multi_label_yields_one_box_per_class():
    output = _two_boxes_of_two_classes()[..., :1].repeat(21, axis=2)
    output[..., 1:] = 0
    for multi_label, class_ids in ((False, [0]), (True, [0, 1])):
        config = DetectorConfig(multi_label=multi_label)
        found = Detector(FixedOutput(output), class_names=NAMES, config=config).detect(IMAGE)
        assert found.class_ids.tolist() == class_ids


def test_end_to_end_boxes_are_sorted_and_not_suppressed():
    output = np.zeros((1, 300, 6), np.float32)
    output[0, :3] = [(10, 10, 20, 20, 0.5, 1), (10, 10, 20, 20, 0.9, 1), (10, 10, 20, 20, 0.7, 1)]
    found = Detector(FixedOutput(output), class_names=NAMES).detect(IMAGE)
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.5])


def test_a_class_id_without_a_name_is_reported():
    output = np.zeros((1, 300, 6), np.float32)
    output[0, 0] = (10, 10, 20, 20, 0.9, 7)
    with pytest.raises(InputError, match="reports class 7") as caught:
        Detector(FixedOutput(output), class_names=NAMES).detect(IMAGE)
    assert "0 to 2: bolt, nut, washer" in caught.value.expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_model_is_reported(bad):
    output = _two_boxes_of_two_classes()
    output[0, 2, 20] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        Detector(FixedOutput(output), class_names=NAMES).detect(IMAGE)


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 1000), "batch, anchors"), ((1, 84, 8400), "4 + classes"), ((1, 3, 8, 8, 8), "kept")]
)
def test_what_is_no_yolo_detector_is_refused_before_the_first_image(shape, expected):
    with pytest.raises(InputError, match="not that of a YOLO detector") as caught:
        Detector(FixedOutput(np.zeros(shape, np.float32)), class_names=NAMES)
    assert expected in caught.value.expected


def test_an_output_of_unknown_shape_is_checked_when_it_comes():
    open_spec = (TensorSpec("output0", "float32", (None, None, None)),)
    found = Detector(FixedOutput(_two_boxes_of_two_classes(), outputs=open_spec), class_names=NAMES).detect(IMAGE)
    assert len(found) == 2
    with pytest.raises(InputError, match="not that of a YOLO detector"):
        Detector(FixedOutput(np.zeros((1, 9, 21), np.float32), outputs=open_spec), class_names=NAMES).detect(IMAGE)


def test_layout_can_be_set_and_must_fit():
    single_class = np.zeros((1, 63, 6), np.float32)
    single_class[0, 0] = (20, 20, 10, 10, 0.9, 1)
    with pytest.raises(InputError, match="ambiguous"):
        Detector(FixedOutput(single_class), class_names=("part",))
    config = DetectorConfig(layout=OutputLayout.ANCHOR_BASED)
    found = Detector(FixedOutput(single_class), class_names=("part",), config=config).detect(IMAGE)
    assert found.xyxy.tolist() == [[15, 15, 25, 25]]
    with pytest.raises(InputError, match="is not anchor_based with 3 classes") as caught:
        Detector(ColorBackend(), class_names=NAMES, config=config)
    assert "anchor_free" in caught.value.expected


class WrongOutputs(ColorBackend):
    def __init__(self, outputs: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.given = outputs

    def infer(self, feeds):
        return self.given


@pytest.mark.parametrize(
    ("outputs", "got"),
    [
        ({}, "outputs []"),
        ({"boxes": np.zeros((1, 7, 21))}, "['boxes']"),
        ({"output0": np.zeros((2, 7, 21))}, "(2, 7, 21)"),
    ],
)
def test_outputs_that_do_not_belong_to_the_batch_are_refused(outputs, got):
    with pytest.raises(InputError, match="no usable output 'output0'") as caught:
        Detector(WrongOutputs(outputs), class_names=NAMES).detect(IMAGE)
    assert got in caught.value.got


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 64, 96, 3), "float32"), ((1, 1, 64, 96), "float32"), ((3, 64, 96), "float32"), ((1, 3, 64, 96), "uint8")],
)
def test_inputs_that_take_no_images_are_refused(shape, dtype):
    backend = ColorBackend()
    backend.inputs = (TensorSpec("images", dtype, shape),)
    with pytest.raises(InputError, match="does not take images") as caught:
        Detector(backend, class_names=NAMES)
    assert str(shape) in caught.value.got


def test_an_open_image_size_must_be_given_and_a_closed_one_must_fit():
    with pytest.raises(InputError, match="height or width open") as caught:
        Detector(ColorBackend(input_hw=(None, None)), class_names=NAMES)
    assert "DetectorConfig.input_hw" in caught.value.fix
    config = DetectorConfig(input_hw=(32, 64))
    detector = Detector(ColorBackend(input_hw=(None, None)), class_names=NAMES, config=config)
    assert detector.preprocess([IMAGE])[0].shape == (1, 3, 32, 64)
    with pytest.raises(InputError, match="does not take this image size"):
        Detector(ColorBackend(), class_names=NAMES, config=config)


@pytest.mark.parametrize(
    "config",
    [
        {"conf_threshold": 1.5},
        {"iou_threshold": -1},
        {"conf_threshold": float("nan")},
        {"max_detections": 0},
        {"max_batch": 0},
    ],
)
def test_configurations_out_of_range_are_refused(config):
    with pytest.raises(InputError, match=f"{next(iter(config))} is out of range"):
        DetectorConfig(**config)


@pytest.mark.parametrize("count", [0, 3])
def test_preprocess_takes_what_fits_one_batch(count):
    detector = Detector(ColorBackend(batch=2), class_names=NAMES)
    with pytest.raises(InputError, match="does not fit one batch") as caught:
        detector.preprocess([IMAGE] * count)
    assert "detect_batch" in caught.value.fix


def test_a_stack_is_not_a_list_of_images():
    detector = Detector(ColorBackend(), class_names=NAMES)
    with pytest.raises(InputError, match="takes a list of images"):
        detector.detect_batch(np.stack([IMAGE, IMAGE]))
    with pytest.raises(InputError, match="not what the detector takes"):
        detector.detect(IMAGE[..., 0].copy())
    with pytest.raises(InputError, match="not what the detector takes"):
        detector.detect_batch([IMAGE, IMAGE.astype(np.float32)])


def test_closing_closes_the_backend():
    backend = ColorBackend()
    with Detector(backend, class_names=NAMES):
        assert not backend.closed
    assert backend.closed


def _no_way_back(xyxy, transform):
    return xyxy


def _no_pad_subtraction(xyxy, transform):
    return xyxy / np.float32(transform.scale)


def _blue_first(image_bgr, *, input_hw, out):
    return preprocess(np.ascontiguousarray(image_bgr[..., ::-1]), input_hw=input_hw, out=out)


def _stretched(image_bgr, *, input_hw, out):
    return preprocess(cv2.resize(image_bgr, input_hw[::-1]), input_hw=input_hw, out=out)


def _not_divided(image_bgr, *, input_hw, out):
    result = preprocess(image_bgr, input_hw=input_hw, out=out)
    out *= 255
    return result


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (None, None),
        ("image_xyxy_from_input_xyxy", _no_way_back),
        ("image_xyxy_from_input_xyxy", _no_pad_subtraction),
        ("preprocess", _blue_first),
        ("preprocess", _stretched),
        ("preprocess", _not_divided),
    ],
)
def test_the_pictures_tell_wrong_pipelines_apart(monkeypatch, name, wrong):
    if name is not None:
        monkeypatch.setattr(f"yolotrt_lab.detection.pipeline.{name}", wrong)
    box = (50, 80, 150, 240)
    found = Detector(ColorBackend(), class_names=NAMES).detect(picture((320, 200), red=box))
    is_right = found.class_ids.tolist() == [0] and np.allclose(found.xyxy[0], box, atol=7.5)
    assert is_right == (name is None)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_network_without_inputs_or_outputs_is_refused(side):
    backend = ColorBackend()
    setattr(backend, side, ())
    with pytest.raises(InputError, match="no input or no output"):
        Detector(backend, class_names=NAMES)
