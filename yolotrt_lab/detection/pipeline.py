"""The detector: image in, detections out, over any backend that runs the network.

Preprocessing and postprocessing are the same for PyTorch, ONNX Runtime, OpenVINO and TensorRT, so what differs
between two backends is the engine and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np

from yolotrt_lab.detection.decode import OutputLayout, decode, detect_layout, fits_layout
from yolotrt_lab.detection.letterbox import PAD_VALUE, LetterboxTransform, image_xyxy_from_input_xyxy, preprocess
from yolotrt_lab.detection.nms import class_aware_nms
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Array, Detections, ImageArray, TensorSpec

__all__ = ["Detector", "DetectorConfig", "InferenceBackend"]


class InferenceBackend(Protocol):
    """Anything that runs a network: named arrays in, named arrays out."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The network's inputs; `None` in a shape marks a dynamic axis."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The network's outputs, the detections first."""

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network once and return every output by name."""


@dataclass(frozen=True)
class DetectorConfig:
    """What the detector keeps, and what it cannot read off the network.

    Attributes:
        conf_threshold: Keep candidates with a score greater than this. Use 0.001 to compute mAP.
        iou_threshold: Of two boxes of a class with a greater IoU than this, keep the better.
        max_detections: Keep at most this many per image.
        input_hw: Height and width of the network's input; needed only if the network leaves them open.
        layout: Arrangement of the output; needed only if its shape is ambiguous.
        multi_label: Let one candidate yield a detection for each class above the threshold instead of only for its
            best class. Ultralytics does so when it validates, and not when it predicts; it raises mAP slightly at
            low thresholds and shows an object twice at high ones.
        max_batch: Largest batch handed to a network whose batch size is open; more images are split.
    """

    conf_threshold: float = 0.25
    iou_threshold: float = 0.7
    max_detections: int = 300
    input_hw: tuple[int, int] | None = None
    layout: OutputLayout | None = None
    multi_label: bool = False
    max_batch: int = 16

    def __post_init__(self) -> None:
        for name in ("conf_threshold", "iou_threshold"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"{name} is out of range.", expected="0 to 1", got=value)
        for name in ("max_detections", "max_batch"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name} is out of range.", expected="at least 1", got=value)


class Detector:
    """Finds objects in images.

    The detector owns one input buffer and reuses it, so what `preprocess` returns is valid until its next call, and
    one detector serves one thread; `runtimes.stream_detections` spreads its stages over several. As a context manager
    it closes its backend, if that can be closed.

    Args:
        backend: Runs the network.
        class_names: Name of each class id, in order.
        config: Thresholds and the like.

    Attributes:
        backend: As given.
        class_names: As given, as a tuple.
        config: As given.
        input_hw: Height and width of the network's input in pixels.
        batch_size: Images per run of the network, the largest if it is dynamic.

    Raises:
        InputError: The network is not a YOLO detector with these classes, or leaves open what `config` does not say.

    Example:
        detector = Detector(backend, class_names=("bolt", "nut"))
        for box, score in zip(*(found := detector.detect(image_bgr)).xyxy, found.scores): ...
    """

    def __init__(
        self, backend: InferenceBackend, *, class_names: Sequence[str], config: DetectorConfig | None = None
    ) -> None:
        self.backend = backend
        self.class_names = tuple(class_names)
        self.config = config or DetectorConfig()
        if not backend.inputs or not backend.outputs:
            raise InputError("The network has no input or no output.", expected="at least one of each")
        self._input, self._output = backend.inputs[0], backend.outputs[0]
        fixed_batch = _require_image_input(self._input)
        self.input_hw = _input_hw(self._input, self.config.input_hw)
        self.batch_size = fixed_batch or self.config.max_batch
        self._is_batch_fixed = fixed_batch is not None
        self._layout = self.config.layout
        if None not in self._output.shape[1:]:
            self._layout_for(self._output.shape)
        self._buffer = np.empty((0, 3, *self.input_hw), dtype=self._input.dtype)

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        close = getattr(self.backend, "close", None)
        if close is not None:
            close()

    def detect(self, image_bgr: ImageArray) -> Detections:
        """Return the objects in one image, best first.

        Args:
            image_bgr: (height, width, 3) uint8, blue first, as `cv2.imread` returns it.

        Returns:
            Detections in pixels of this image, inside it.

        Raises:
            InputError: Not such an image, or the network's output is unusable.
        """
        return self._detect_chunk((image_bgr,))[0]

    def detect_batch(self, images: Sequence[ImageArray]) -> list[Detections]:
        """Return the objects in each image, in order; images may differ in size and may be none at all.

        More images than fit the network's batch are split; a last chunk smaller than a fixed batch is filled up with
        gray, whose results are dropped.

        Raises:
            InputError: Not a sequence of images, or the network's output is unusable.
        """
        as_given: object = images
        if isinstance(as_given, np.ndarray):
            raise InputError(
                "detect_batch takes a list of images.",
                expected="a list of (height, width, 3) uint8 arrays",
                got=f"one array of shape {as_given.shape}",
                fix="Use detect(image) for one image, detect_batch(list(stack)) for a stack.",
            )
        found: list[Detections] = []
        for start in range(0, len(images), self.batch_size):
            found += self._detect_chunk(images[start : start + self.batch_size])
        return found

    def _detect_chunk(self, images: Sequence[ImageArray]) -> list[Detections]:
        batch, transforms = self.preprocess(images)
        return self.postprocess(self.infer(batch), transforms)

    def preprocess(
        self, images: Sequence[ImageArray], *, out: Array | None = None
    ) -> tuple[Array, tuple[LetterboxTransform, ...]]:
        """Return the network's input and, for each image, where it lies in it.

        Args:
            images: One to `batch_size` images.
            out: Array to write into, of `input_shape(len(images))` and the network's float type. With one for each
                call, several threads may preprocess at once. The detector's own buffer if None.

        Returns:
            The batch, (n, 3, height, width) in the network's float type, RGB in [0, 1]. Unless `out` was given it is
            this detector's own buffer: valid until the next call. It is as long as the network's batch if that is
            fixed.

        Raises:
            InputError: No image, too many, or not a BGR image; or `out` has the wrong shape or dtype.
        """
        if not 1 <= len(images) <= self.batch_size:
            raise InputError(
                "This number of images does not fit one batch.",
                expected=f"1 to {self.batch_size} images",
                got=len(images),
                fix="detect_batch splits any number of images into batches.",
            )
        shape = self.input_shape(len(images))
        batch = self._own_batch(shape) if out is None else out
        if batch.shape != shape or batch.dtype != self._input.dtype:
            raise InputError(
                "The output array does not fit the network's input.",
                expected=f"{self._input.dtype} of shape {shape}",
                got=f"{batch.dtype} of shape {batch.shape}",
            )
        batch[len(images) :] = PAD_VALUE / 255
        transforms = [
            preprocess(image, input_hw=self.input_hw, out=batch[index : index + 1])[1]
            for index, image in enumerate(images)
        ]
        return batch, tuple(transforms)

    def input_shape(self, images: int) -> tuple[int, int, int, int]:
        """Return the shape of the batch that `preprocess` makes of so many images."""
        return (self.batch_size if self._is_batch_fixed else images, 3, *self.input_hw)

    def _own_batch(self, shape: tuple[int, int, int, int]) -> Array:
        if len(self._buffer) < shape[0]:
            self._buffer = np.empty(shape, dtype=self._input.dtype)
        batch: Array = self._buffer[: shape[0]]
        return batch

    def infer(self, batch: Array) -> Array:
        """Return the network's first output for a batch that `preprocess` made.

        Raises:
            InputError: The backend did not return that output, or not one row per image.
        """
        return self.detections_output(self.backend.infer({self._input.name: batch}), rows=len(batch))

    def detections_output(self, outputs: Mapping[str, Array], *, rows: int) -> Array:
        """Return, of everything a backend returned for a batch of `rows`, what `postprocess` takes.

        Raises:
            InputError: That output is not there, or has not one row per image.
        """
        output = outputs.get(self._output.name)
        if output is None or output.ndim == 0 or len(output) != rows:
            raise InputError(
                f"The backend returned no usable output {self._output.name!r}.",
                expected=f"an array with {rows} rows, one per image",
                got=f"outputs {sorted(outputs)}" if output is None else f"shape {output.shape}",
            )
        return output

    def postprocess(self, output: Array, transforms: Sequence[LetterboxTransform]) -> list[Detections]:
        """Return the detections of each image from the network's output.

        Args:
            output: What `infer` returned; rows past the last image are ignored.
            transforms: What `preprocess` returned, one per image.

        Raises:
            InputError: NaN or infinity, scores that are no probabilities, unknown class ids, or an unknown layout.
        """
        layout = self._layout_for(output.shape)
        candidates = decode(
            output[: len(transforms)],
            layout=layout,
            conf_threshold=self.config.conf_threshold,
            multi_label=self.config.multi_label,
        )
        return [self._finish(found, layout, transform) for found, transform in zip(candidates, transforms, strict=True)]

    def _finish(self, candidates: Detections, layout: OutputLayout, transform: LetterboxTransform) -> Detections:
        if layout is OutputLayout.END_TO_END:
            best_first = np.argsort(-candidates.scores, kind="stable")[: self.config.max_detections]
            kept = candidates.select(best_first)
            self._require_known_classes(kept)
        else:
            kept = class_aware_nms(
                candidates, iou_threshold=self.config.iou_threshold, max_detections=self.config.max_detections
            )
        return Detections(
            xyxy=image_xyxy_from_input_xyxy(kept.xyxy, transform), scores=kept.scores, class_ids=kept.class_ids
        )

    def _require_known_classes(self, detections: Detections) -> None:
        if len(detections) and detections.class_ids.max() >= len(self.class_names):
            raise InputError(
                f"The network reports class {detections.class_ids.max()}.",
                expected=f"class ids 0 to {len(self.class_names) - 1}: {', '.join(self.class_names)}",
                got=f"class id {detections.class_ids.max()}",
                fix="Pass the names of the classes this model was trained on.",
            )

    def _layout_for(self, shape: tuple[int | None, ...]) -> OutputLayout:
        if self._layout is None or not fits_layout(shape, self._layout, num_classes=len(self.class_names)):
            detected = detect_layout(shape, num_classes=len(self.class_names))
            if self.config.layout is not None:
                raise InputError(
                    f"Output shape {shape} is not {self.config.layout} with {len(self.class_names)} classes.",
                    expected=f"{detected}, which is what the shape says",
                    got=f"DetectorConfig.layout={self.config.layout}",
                    fix="Leave DetectorConfig.layout out.",
                )
            self._layout = detected
        return self._layout


def _require_image_input(spec: TensorSpec) -> int | None:
    """Return the fixed batch size, or None, of an input that takes images."""
    is_nchw = len(spec.shape) == 4 and spec.shape[1] in (3, None)
    if not is_nchw or spec.dtype not in ("float32", "float16"):
        raise InputError(
            f"Network input {spec.name!r} does not take images.",
            expected="float32 or float16 of shape (batch, 3, height, width)",
            got=f"{spec.dtype} of shape {spec.shape}",
            fix="Export the model with channels first and without built-in preprocessing.",
        )
    return spec.shape[0]


def _input_hw(spec: TensorSpec, configured: tuple[int, int] | None) -> tuple[int, int]:
    height, width = spec.shape[2:]
    if configured is None:
        if height is None or width is None:
            raise InputError(
                f"Network input {spec.name!r} leaves its height or width open.",
                expected="an image size",
                got=f"shape {spec.shape}",
                fix="Set DetectorConfig.input_hw, for example (640, 640).",
            )
        return height, width
    if not spec.accepts((1 if spec.shape[0] is None else spec.shape[0], 3, *configured)):
        raise InputError(
            f"Network input {spec.name!r} does not take this image size.",
            expected=f"height and width {(height, width)}",
            got=f"DetectorConfig.input_hw={configured}",
            fix="Leave input_hw out, or export the model for this size.",
        )
    return configured
