"""lab5.detector: from a photograph to boxes over any backend, judged against ONNX Runtime and the package's detector.

The network is the course's YOLOv5n for 256 x 320 pixels; the images are drawn parts. The thresholds change from case to
case, and one case has an engine with other names and half precision.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from yolotrt_lab.data.parts import draw_part_image
from yolotrt_lab.detection.boxes import iou_matrix
from yolotrt_lab.detection.decode import OutputLayout, decode
from yolotrt_lab.detection.letterbox import image_xyxy_from_input_xyxy, input_xyxy_from_image_xyxy, letterbox
from yolotrt_lab.detection.nms import class_aware_nms
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.errors import LabError
from yolotrt_lab.evaluation.matching import match_detections
from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_detections
from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling
from yolotrt_lab.types import Detections, Precision

networks = sibling(__file__, "detector_network")

_PICTURES = ("landscape", "portrait", "small image")

EXERCISE = Exercise(
    id="lab5.detector",
    title="The detector, end to end",
    objective="Join letterbox, engine, decoding and suppression into a detector that agrees with the reference.",
    answer="detect",
    difficulty=3,
    minutes=25,
    cases=(*_PICTURES, "no objects", "another engine"),
    hidden=(*_PICTURES, "another engine"),
    forbidden=(
        "yolotrt_lab.detection.pipeline.Detector",
        "yolotrt_lab.runtimes.detector.open_detector",
        "yolotrt_lab.runtimes.detector.detector_from_runtime",
        "yolotrt_lab.detection.letterbox.preprocess",
    ),
    seconds=20.0,
    reading="https://docs.ultralytics.com/modes/predict/",
)

# Height and width of the image, confidence and IoU threshold.
_SETTINGS: dict[str, tuple[tuple[int, int], float, float]] = {
    "landscape": ((240, 420), 0.25, 0.7),
    "portrait": ((360, 220), 0.15, 0.45),
    "small image": ((100, 150), 0.2, 0.6),
    "no objects": ((180, 240), 0.25, 0.7),
    "another engine": ((300, 300), 0.3, 0.5),
}
_TOLERANCE = TOLERANCES[Precision.FP32]
_LEAST_OBJECTS = 3
_SURE = 0.05  # above the threshold


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    image_hw, conf_threshold, iou_threshold = _SETTINGS[case]
    seed = int(rng.integers(2**31))
    image = _empty_bench(image_hw, seed) if case == "no objects" else _drawn(case, seed)
    return {
        "image": image.copy(),
        "half": case == "another engine",
        "conf_threshold": conf_threshold,
        "iou_threshold": iou_threshold,
    }


def run(answer, *, image, half, conf_threshold, iou_threshold):
    engine = networks.Engine(half=half)
    found = answer(image, engine, conf_threshold=conf_threshold, iou_threshold=iou_threshold)
    return {"found": found, "batches": engine.batches}


@lru_cache(maxsize=32)
def _drawn(case: str, seed: int) -> np.ndarray:
    """Return a picture in which the network is sure of a few parts, so that there is something to compare."""
    image_hw, conf, iou = _SETTINGS[case]
    for index in range(200):
        scene = draw_part_image(seed, split="test", index=index, image_hw=image_hw)
        if len(scene.class_ids) <= _LEAST_OBJECTS:
            continue
        reference = _reference_of(scene.image.tobytes(), image_hw, case == "another engine", conf, iou)
        if (reference.scores > conf + _SURE).sum() >= _LEAST_OBJECTS:
            return scene.image
    raise RuntimeError("no picture with enough parts")


@lru_cache(maxsize=4)
def _empty_bench(image_hw: tuple[int, int], seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 2, (*image_hw, 3))
    return (np.array([96, 104, 112]) + noise).round().astype(np.uint8)


def _settings(answer) -> tuple[np.ndarray, float, float]:
    return answer.inputs["image"], answer.inputs["conf_threshold"], answer.inputs["iou_threshold"]


@lru_cache(maxsize=32)
def _reference_of(image: bytes, image_hw: tuple[int, int], half: bool, conf: float, iou: float) -> Detections:
    engine = networks.Engine(half=half)
    detector = Detector(
        engine, class_names=engine.class_names, config=DetectorConfig(conf_threshold=conf, iou_threshold=iou)
    )
    return detector.detect(np.frombuffer(image, np.uint8).reshape(*image_hw, 3))


def _reference(answer) -> Detections:
    """Return what the package's detector finds with the same engine."""
    image, conf, iou = _settings(answer)
    return _reference_of(image.tobytes(), image.shape[:2], answer.inputs["half"], conf, iou)


def _found(answer) -> Detections:
    """Return the answer's detections in the usual types.

    Raises:
        Mismatch: They are none.
    """
    found = answer.item("found").output
    if not isinstance(found, Detections):
        raise Mismatch(
            expected="one Detections object",
            seen="None" if found is None else f"a {getattr(found, 'type_name', type(found).__name__)}",
            misconception="Is there a `return`?" if found is None else "",
        )
    arrays = [np.asarray(item) for item in (found.xyxy, found.scores, found.class_ids)]
    if any(array.dtype.kind not in "fiu" or not np.isfinite(array).all() for array in arrays):
        raise Mismatch(expected="finite numbers", seen="NaN, infinity or no numbers")
    if len(found) > 2000:
        raise Mismatch(
            expected="a few boxes", seen=f"{len(found)} boxes", misconception="Is there a confidence threshold?"
        )
    return Detections(arrays[0].astype(np.float32), arrays[1].astype(np.float32), arrays[2].astype(np.int64))


@points(1, cases=(*_PICTURES, "no objects"))
def test_gives_detections(answer):
    """The result is one Detections object; an empty bench gives none."""
    found = _found(answer)
    if answer.case.name == "no objects":
        expect(len(found) == 0, expected="no detections in an empty picture", seen=f"{len(found)}")
    conf = answer.inputs["conf_threshold"]
    expect(
        (found.scores >= np.float32(conf) - 1e-6).all(),
        expected=f"scores above the threshold of {conf}",
        seen=f"a score of {found.scores.min(initial=1):.3f}",
        misconception="The threshold is an argument; it differs from case to case.",
    )


@points(3, cases=_PICTURES)
def test_boxes_lie_on_the_parts(answer):
    """Boxes lie where the reference's lie, in pixels of the image."""
    found, sure = _found(answer), _sure(answer)
    image, _, _ = _settings(answer)
    pairs = match_detections(found, sure, min_iou=0.9, class_aware=False)
    if len(pairs) == len(sure):
        return
    raise Mismatch(
        expected=f"boxes on {len(sure)} parts of the {image.shape[1]}x{image.shape[0]} image",
        seen=f"boxes on {len(pairs)} of them; {len(found)} in all",
        misconception=_why_elsewhere(answer, found, sure),
    )


def _sure(answer) -> Detections:
    """Return what the reference finds clear of the threshold."""
    reference = _reference(answer)
    return reference.select(reference.scores > answer.inputs["conf_threshold"] + _SURE)


def _why_elsewhere(answer, found: Detections, sure: Detections) -> str:
    image, _, _ = _settings(answer)
    if not len(found):
        return (
            "Nothing was found at all. Does the network see what it saw in training: RGB, from 0 to 1, channels first?"
        )
    _, transform = letterbox(image, input_hw=networks.INPUT_HW)
    there = Detections(input_xyxy_from_image_xyxy(sure.xyxy, transform), sure.scores, sure.class_ids)
    if len(match_detections(found, there, min_iou=0.85, class_aware=False)) > 0.7 * len(sure):
        return "These boxes are in pixels of the network's input; nobody brought them back to the image."
    return _idea_behind(answer, found) or (
        "Follow one box: from the image to the input, through the network, and back by the same transform."
    )


@points(3, cases=_PICTURES)
def test_agrees_with_the_reference(answer):
    """Boxes, scores and classes agree with ONNX Runtime within the FP32 tolerance."""
    _require_agreement(answer)


def _require_agreement(answer) -> None:
    found, reference = _found(answer), _reference(answer)
    _, conf, _ = _settings(answer)
    found = found.select(found.scores >= np.float32(conf))
    agreement = compare_detections(found, reference, tolerance=_TOLERANCE, conf_threshold=conf)
    if agreement.compared and agreement.matched_fraction >= _TOLERANCE.matched_fraction:
        return
    idea = _idea_behind(answer, found)
    if not idea and agreement.extra and not agreement.missing:
        idea = "All of the reference's boxes are there, and more: is each object reported once?"
    if not idea and agreement.matched_ignoring_scores < 0.5:
        idea = _why_elsewhere(answer, found, _sure(answer))
    raise Mismatch(
        expected=f"{len(reference)} boxes at IoU {_TOLERANCE.match_iou} with scores within {_TOLERANCE.score_delta}",
        seen=f"{agreement.missing} missing, {agreement.extra} extra",
        misconception=idea or "Compare one input tensor with the package's `preprocess`: every value should be equal.",
    )


@points(1, cases=_PICTURES)
def test_each_object_once(answer):
    """No two boxes of a class overlap by more than the IoU threshold, and the best comes first."""
    found = _found(answer)
    overlaps = iou_matrix(found.xyxy.astype(np.float64), found.xyxy.astype(np.float64))
    limit = answer.inputs["iou_threshold"]
    twice = np.triu((overlaps > limit + 0.01) & (found.class_ids[:, None] == found.class_ids[None]), 1)
    expect(
        not twice.any(),
        expected=f"boxes of a class that overlap by at most {limit}",
        seen=f"{int(twice.sum())} pairs that overlap more",
        misconception="Neighbouring cells of the network see the same part; suppression keeps the best of them.",
    )
    expect(
        (np.diff(found.scores) <= 1e-6).all(),
        expected="the surest box first",
        seen="boxes in another order",
    )
    expect(len(found), expected="boxes", seen="none", misconception="Nothing overlaps nothing, and proves nothing.")


@points(1, cases=("another engine",))
def test_takes_what_the_engine_needs(answer):
    """An engine with other names and in half precision works as well: its input says what it takes."""
    error = answer.error()
    if error is not None:
        raise Mismatch(
            expected="boxes from an engine whose input is called pixels and takes float16",
            seen=f"{error[0]}: {error[1].splitlines()[0] if error[1] else ''}",
            misconception="backend.inputs[0] tells name, dtype and shape; none of these is the same for every engine.",
        )
    _require_agreement(answer)


@points(1, cases=(*_PICTURES, "no objects"))
def test_one_inference_for_one_image(answer):
    """The engine runs once, on a batch of one."""
    batches = answer.item("batches").list()
    expect(
        batches == [1],
        expected="one call with one image",
        seen=f"{len(batches)} calls" if len(batches) != 1 else f"a batch of {batches[0]}",
        misconception="Each further call costs as much as the first; ask for an output once and keep it.",
    )


def _idea_behind(answer, found: Detections) -> str:
    """Return which typical mistake gives these detections."""
    ideas = (
        (
            {"rgb": False},
            "These are the boxes of an image in BGR order. OpenCV reads blue first; the network wants red.",
        ),
        ({"divided": False}, "These are the boxes of an input from 0 to 255; the network wants 0 to 1."),
        (
            {"stretched": True},
            "These are the boxes of a stretched image; parts look thinner or fatter than in training.",
        ),
        ({"mixed": True}, "Axes were reshaped, not transposed: the network saw three mixed-up pictures."),
        ({"centred": True}, "The input was centred around zero, as for other networks; YOLO wants plain 0 to 1."),
        ({"default_thresholds": True}, "These are the boxes for the usual thresholds; here others are asked for."),
        ({"suppressed": False}, "These are the candidates before suppression."),
    )
    _, conf, _ = _settings(answer)
    for changes, words in ideas:
        try:
            imitation = _imitated(answer, **changes)
            kept = [item.select(item.scores >= np.float32(conf)) for item in (found, imitation)]
            agreement = compare_detections(*kept, tolerance=TOLERANCES[Precision.FP16], conf_threshold=conf)
        except LabError:
            continue
        if agreement.compared and agreement.matched_fraction > 0.95:
            return words
    return ""


def _imitated(
    answer,
    *,
    rgb: bool = True,
    divided: bool = True,
    stretched: bool = False,
    mixed: bool = False,
    centred: bool = False,
    default_thresholds: bool = False,
    suppressed: bool = True,
) -> Detections:
    """Return what a detector with one mistake finds."""
    image, conf, iou = _settings(answer)
    conf, iou = (0.25, 0.7) if default_thresholds else (conf, iou)
    canvas, transform = letterbox(image, input_hw=networks.INPUT_HW)
    if stretched:
        canvas = cv2.resize(image, networks.INPUT_HW[::-1], interpolation=cv2.INTER_LINEAR)
    planes = canvas[..., ::-1] if rgb else canvas
    planes = np.ascontiguousarray(planes).reshape(3, *networks.INPUT_HW) if mixed else planes.transpose(2, 0, 1)
    values = planes[None] / np.float32(255 if divided else 1)
    values = values * 2 - 1 if centred else values
    engine = networks.Engine(half=answer.inputs["half"])
    feeds = {engine.inputs[0].name: np.ascontiguousarray(values, engine.inputs[0].dtype)}
    candidates = decode(
        engine.infer(feeds)[engine.outputs[0].name], layout=OutputLayout.ANCHOR_FREE, conf_threshold=conf
    )
    kept = class_aware_nms(candidates[0], iou_threshold=iou) if suppressed else candidates[0]
    if stretched:
        scale = np.array([image.shape[1] / canvas.shape[1], image.shape[0] / canvas.shape[0]] * 2, np.float32)
        return Detections(kept.xyxy * scale, kept.scores, kept.class_ids)
    return Detections(image_xyxy_from_input_xyxy(kept.xyxy, transform), kept.scores, kept.class_ids)
