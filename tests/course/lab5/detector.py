"""Wrong and right answers to lab5.detector."""

import cv2
import numpy as np
import torch
from tests_course_api import right, wrong

from yolotrt_lab.detection.decode import OutputLayout, decode
from yolotrt_lab.detection.letterbox import image_xyxy_from_input_xyxy, letterbox
from yolotrt_lab.detection.nms import class_aware_nms
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.types import Detections


def input_of(canvas, backend, *, rgb=True, divisor=255):
    planes = (canvas[..., ::-1] if rgb else canvas).transpose(2, 0, 1)[None]
    return np.ascontiguousarray(planes / divisor, backend.inputs[0].dtype)


def infer(backend, batch):
    return backend.infer({backend.inputs[0].name: batch})[backend.outputs[0].name]


def finish(output, transform, conf, iou, *, suppress=True, mapped=True):
    found = decode(output, layout=OutputLayout.ANCHOR_FREE, conf_threshold=conf)[0]
    if suppress:
        found = class_aware_nms(found, iou_threshold=iou)
    if not mapped:
        return found
    return Detections(image_xyxy_from_input_xyxy(found.xyxy, transform), found.scores, found.class_ids)


def fit(image, backend):
    return letterbox(image, input_hw=backend.inputs[0].shape[2:])


@wrong(caught_by="test_agrees_with_the_reference", says="BGR")
def blue_first(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Hands the image over as OpenCV reads it."""
    canvas, transform = fit(image_bgr, backend)
    return finish(infer(backend, input_of(canvas, backend, rgb=False)), transform, conf_threshold, iou_threshold)


@wrong(caught_by="test_boxes_lie_on_the_parts", says="0 to 1")
def not_divided(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Leaves pixels between 0 and 255."""
    canvas, transform = fit(image_bgr, backend)
    return finish(infer(backend, input_of(canvas, backend, divisor=1)), transform, conf_threshold, iou_threshold)


@wrong(caught_by="test_boxes_lie_on_the_parts", says="nobody brought them back")
def not_brought_back(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Returns boxes of the input."""
    canvas, transform = fit(image_bgr, backend)
    output = infer(backend, input_of(canvas, backend))
    return finish(output, transform, conf_threshold, iou_threshold, mapped=False)


@wrong(caught_by="test_agrees_with_the_reference", says="stretched")
def stretched(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Resizes without letterbox, and back consistently."""
    height, width = backend.inputs[0].shape[2:]
    output = infer(backend, input_of(cv2.resize(image_bgr, (width, height)), backend))
    found = finish(output, None, conf_threshold, iou_threshold, mapped=False)
    scale = np.array([image_bgr.shape[1] / width, image_bgr.shape[0] / height] * 2, np.float32)
    return Detections(found.xyxy * scale, found.scores, found.class_ids)


@wrong(caught_by="test_each_object_once", says="neighbouring cells")
def not_suppressed(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Believes that a threshold is enough."""
    canvas, transform = fit(image_bgr, backend)
    output = infer(backend, input_of(canvas, backend))
    return finish(output, transform, conf_threshold, iou_threshold, suppress=False)


@wrong(caught_by="test_boxes_lie_on_the_parts", says="channels first")
def reshaped(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Takes reshape for transpose: no error, no boxes."""
    canvas, transform = fit(image_bgr, backend)
    batch = np.ascontiguousarray(canvas[..., ::-1]).reshape(1, 3, *canvas.shape[:2]) / 255
    return finish(infer(backend, batch.astype(backend.inputs[0].dtype)), transform, conf_threshold, iou_threshold)


@wrong(caught_by="test_agrees_with_the_reference", says="thresholds")
def own_thresholds(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Ignores its arguments."""
    canvas, transform = fit(image_bgr, backend)
    return finish(infer(backend, input_of(canvas, backend)), transform, 0.25, 0.7)


@wrong(caught_by="test_takes_what_the_engine_needs", says="'pixels'")
def always_images(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Writes the names of one export into the code."""
    canvas, transform = fit(image_bgr, backend)
    output = backend.infer({"images": input_of(canvas, backend)})["output0"]
    return finish(output, transform, conf_threshold, iou_threshold)


@wrong(caught_by="test_takes_what_the_engine_needs", says="wrong dtype")
def always_single(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Believes that every engine takes float32."""
    canvas, transform = fit(image_bgr, backend)
    output = infer(backend, input_of(canvas, backend).astype(np.float32))
    return finish(output, transform, conf_threshold, iou_threshold)


@wrong(caught_by="test_gives_detections", says="shape")
def always_640(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Writes the usual size into the code."""
    canvas, transform = letterbox(image_bgr, input_hw=(640, 640))
    return finish(infer(backend, input_of(canvas, backend)), transform, conf_threshold, iou_threshold)


@wrong(caught_by="test_one_inference_for_one_image", says="2 calls")
def warmed_up_each_time(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Warms up before every image."""
    canvas, transform = fit(image_bgr, backend)
    batch = input_of(canvas, backend)
    infer(backend, batch)
    return finish(infer(backend, batch), transform, conf_threshold, iou_threshold)


@wrong(caught_by="test_boxes_lie_on_the_parts", says="centred around zero")
def centred_around_zero(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Normalises as many other networks want it."""
    canvas, transform = fit(image_bgr, backend)
    batch = input_of(canvas, backend) * 2 - 1
    return finish(infer(backend, batch.astype(backend.inputs[0].dtype)), transform, conf_threshold, iou_threshold)


@wrong(caught_by="test_agrees_with_the_reference", says="answer of your own")
def the_packages_own(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Hands the work to the package."""
    config = DetectorConfig(conf_threshold=conf_threshold, iou_threshold=iou_threshold)
    return Detector(backend, class_names=backend.class_names, config=config).detect(image_bgr)


@right
def by_opencv(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """OpenCV makes the input; suppression after the way back; wider types."""
    spec = backend.inputs[0]
    canvas, transform = letterbox(image_bgr, input_hw=tuple(spec.shape[2:]))
    batch = cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True).astype(spec.dtype)
    output = backend.infer({spec.name: batch})[backend.outputs[0].name]
    found = decode(output, layout=OutputLayout.ANCHOR_FREE, conf_threshold=conf_threshold)[0]
    boxes = image_xyxy_from_input_xyxy(found.xyxy.astype(np.float64), transform)
    return class_aware_nms(
        Detections(boxes, found.scores.astype(np.float64), found.class_ids.astype(np.int32)),
        iou_threshold=iou_threshold,
    )


@right
def by_torch(image_bgr, backend, conf_threshold=0.25, iou_threshold=0.7):
    """Torch for the arrays, and a decoding by hand."""
    spec = backend.inputs[0]
    canvas, transform = letterbox(image_bgr, input_hw=spec.shape[2:])
    image = torch.from_numpy(canvas).flip(2).permute(2, 0, 1).unsqueeze(0).float().div(255)
    output = next(iter(backend.infer({spec.name: image.contiguous().numpy().astype(spec.dtype)}).values()))
    rows = output[0].T.astype(np.float32)
    rows = rows[rows[:, 4:].max(axis=1) > conf_threshold]
    boxes = np.concatenate((rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2), axis=1)
    found = Detections(boxes, rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1))
    kept = class_aware_nms(found, iou_threshold=iou_threshold)
    return Detections(image_xyxy_from_input_xyxy(kept.xyxy, transform), kept.scores, kept.class_ids)
