"""What station B's camera sees, and how a detector does there: the hidden examination of lab2.fine_tune.

The dust on the window in front of the camera scatters the lamp's light into every pixel. That is the usual model of
haze (Koschmieder 1924): of the scene's light a share t arrives, the rest is the colour of the veil,

    picture = t * scene + (1 - t) * veil
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from yolotrt_lab.data.parts import CLASS_NAMES, draw_part_image
from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.evaluation.average_precision import GroundTruth, evaluate_detections
from yolotrt_lab.files import sha256_of
from yolotrt_lab.grading import Mismatch
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.types import Detections

TRANSMISSION, VEIL_BGR = 0.2, (150, 190, 205)
INPUT_HW = (320, 320)
_MAX_BYTES = 64 << 20


def through_the_window(image_bgr):
    """Return the picture that station B's camera takes of a scene."""
    veil = np.array(VEIL_BGR)
    return np.round(TRANSMISSION * image_bgr + (1 - TRANSMISSION) * veil).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Examination:
    """Pictures with what is really in them.

    Attributes:
        clear: The scenes without the window.
        dusty: The same scenes as station B's camera sees them.
        truth: The parts in them.
    """

    clear: tuple
    dusty: tuple
    truth: tuple


@cache
def examination(seed: int, count: int) -> Examination:
    """Return `count` pictures that no training has seen; they are drawn once in the life of the process."""
    scenes = [draw_part_image(seed, split="test", index=index) for index in range(count)]
    return Examination(
        clear=tuple(scene.image for scene in scenes),
        dusty=tuple(through_the_window(scene.image) for scene in scenes),
        truth=tuple(GroundTruth(scene.xyxy, scene.class_ids, scene.image.shape[:2]) for scene in scenes),
    )


class _Amplified:
    """A runtime whose inputs are multiplied by `gain`."""

    def __init__(self, runtime) -> None:
        self._runtime = runtime
        self.inputs, self.outputs, self.gain = runtime.inputs, runtime.outputs, 1.0

    def infer(self, feeds):
        """Run the network."""
        return self._runtime.infer({name: array * np.float32(self.gain) for name, array in feeds.items()})


class Model:
    """A student's ONNX file, opened and found to be a detector of these parts.

    Raises:
        Mismatch: It is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size > _MAX_BYTES:
            raise Mismatch(
                expected="an ONNX file of a YOLOv5n, about 10 MB", seen=f"{path.stat().st_size / 1e6:.0f} MB"
            )
        try:
            self._runtime = open_runtime(path, backend="onnxruntime", device="cpu", threads=2)
        except Exception as error:
            raise Mismatch(
                expected="an ONNX model that ONNX Runtime opens",
                seen=f"{type(error).__name__}: {error}".splitlines()[0][:160],
                misconception="Is it the file that `export_onnx` wrote, whole?",
            ) from None
        self._check_ports()
        config = DetectorConfig(conf_threshold=0.001, max_detections=100, input_hw=INPUT_HW)
        try:
            self._backend = _Amplified(self._runtime)
            self._detector = Detector(self._backend, class_names=CLASS_NAMES, config=config)
        except Exception as error:
            raise Mismatch(
                expected=f"a YOLO detector with {len(CLASS_NAMES)} classes",
                seen=str(error).splitlines()[0][:160],
                misconception="Station B has the same parts in the same order as the base checkpoint.",
            ) from None

    def _check_ports(self) -> None:
        inputs, outputs = self._runtime.inputs, self._runtime.outputs
        wanted = (3, *INPUT_HW)
        shape = tuple(inputs[0].shape) if len(inputs) == 1 else ()
        fits = len(shape) == 4 and all(size in (None, want) for size, want in zip(shape[1:], wanted, strict=True))
        if not fits or inputs[0].dtype != "float32":
            described = ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in inputs)
            raise Mismatch(
                expected=f"one float32 input of shape (batch, 3, {INPUT_HW[0]}, {INPUT_HW[1]})",
                seen=described[:120],
                misconception="The input size is fixed at export: `image_size=320`.",
            )
        channels = tuple(outputs[0].shape)[1] if outputs and len(outputs[0].shape) == 3 else None
        if channels is not None and channels != 4 + len(CLASS_NAMES):
            raise Mismatch(
                expected=f"an output of {4 + len(CLASS_NAMES)} rows: four for the box, one per class",
                seen=f"{channels} rows",
                misconception="Station B has the eight parts of the base checkpoint; is this a model of other classes?",
            )

    def detect(self, images, *, gain: float = 1.0) -> list[Detections]:
        """Return what the model finds; `gain` multiplies its input, to find out what it was made for."""
        self._backend.gain = gain
        try:
            return [self._detector.detect(np.ascontiguousarray(image)) for image in images]
        except Exception as error:
            raise Mismatch(
                expected="a detector that runs on a picture",
                seen=f"{type(error).__name__}: {error}".splitlines()[0][:160],
            ) from None


def map50(found, truth, *, classes: bool = True) -> float:
    """Return mAP50, or with `classes=False` the AP50 of boxes whatever they are called."""
    names = CLASS_NAMES if classes else ("part",)
    if not classes:
        found = [Detections(each.xyxy, each.scores, np.zeros_like(each.class_ids)) for each in found]
        truth = [GroundTruth(each.xyxy, np.zeros_like(each.class_ids), each.image_hw) for each in truth]
    if any(not (np.isfinite(each.xyxy).all() and np.isfinite(each.scores).all()) for each in found):
        raise Mismatch(expected="finite boxes and scores", seen="NaN or infinity")
    return float(evaluate_detections(truth, found, class_names=names).map50)


_scores: dict[tuple[str, int, int], float] = {}


def station_score(path: Path, seed: int, count: int) -> float:
    """Return a model's mAP50 at station B; the same file is examined once."""
    key = (sha256_of(path), seed, count)
    if key not in _scores:
        exam = examination(seed, count)
        _scores[key] = map50(Model(path).detect(exam.dusty), exam.truth)
    return _scores[key]


def diagnosis(path: Path, seed: int, count: int) -> str:
    """Return the likeliest reason why a model is below the floor, found by trying."""
    exam, model = examination(seed, count), Model(path)
    truth = exam.truth
    seen = station_score(path, seed, count)
    clearly = max(0.3, 1.4 * seen)
    found = model.detect(exam.dusty)
    if map50(found, truth, classes=False) >= 1.8 * max(seen, 0.15):
        return "The boxes are right and their names are not: are the classes in the order of the data set?"
    if map50(model.detect([image[..., ::-1] for image in exam.dusty]), truth) >= clearly:
        return "It does better with red and blue exchanged: it learned from pictures in another channel order."
    if map50(model.detect(exam.dusty, gain=255.0), truth) >= clearly:
        return "It does better on values from 0 to 255: the detector divides by 255, and so does something else."
    if map50(model.detect(exam.clear), truth) >= clearly:
        return (
            "In clear air it does well. It is the base checkpoint, or one that never saw station B: was it trained "
            "on the dusty pictures, could its normalisation statistics change, and did the run last?"
        )
    return (
        "It does badly in clear air too: training destroyed what it knew. How large was the learning rate for a "
        "network that is already good?"
    )
