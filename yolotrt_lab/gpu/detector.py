"""`GpuDetector`: images in, boxes out, with one wait of the host per image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from yolotrt_lab.detection.decode import OutputLayout
from yolotrt_lab.detection.letterbox import require_bgr
from yolotrt_lab.errors import InputError, LabError, MissingDependencyError
from yolotrt_lab.gpu.networks import DeviceNetwork
from yolotrt_lab.gpu.postprocess import PostprocessConfig
from yolotrt_lab.gpu.slots import Slot, SlotOptions
from yolotrt_lab.optional import require
from yolotrt_lab.types import Detections, ImageArray

__all__ = ["GpuDetector"]


class GpuDetector:
    """A detector whose every step runs on the GPU; a context manager, used by one thread at a time.

    Args:
        network: A `TorchNetwork`, `OnnxRuntimeNetwork` or `TensorRTNetwork`.
        class_names: Of the network's classes.
        input_hw: Height and width of the network's input.
        config: Which boxes stay.
        batch: Images per run; all of one size.
        max_image_hw: Height and width of the largest image: pinned memory is set aside for it once.
        layout: Arrangement of the output; None reads it off the shape.
        slots: How many batches may be under way at once in `stream`.
        use_graphs: Replay CUDA graphs; otherwise launch kernel by kernel, to see what graphs are worth.

    Raises:
        MissingDependencyError: No CUDA device, PyTorch or Triton.

    Example:
        network = TorchNetwork(module)
        with GpuDetector(network, class_names=names) as detector:
            for found in detector.stream(images):
                print(len(found))
    """

    def __init__(
        self,
        network: DeviceNetwork,
        *,
        class_names: Sequence[str],
        input_hw: tuple[int, int] = (640, 640),
        config: PostprocessConfig | None = None,
        batch: int = 1,
        max_image_hw: tuple[int, int] = (1080, 1920),
        layout: OutputLayout | None = None,
        slots: int = 2,
        use_graphs: bool = True,
    ) -> None:
        _require_device()
        if min(batch, slots, *max_image_hw) < 1:
            raise InputError("A size is out of range.", expected="at least 1", got=(batch, slots, max_image_hw))
        self.class_names, self.batch = tuple(class_names), batch
        self._image_bytes = batch * max_image_hw[0] * max_image_hw[1] * 3
        options = SlotOptions(
            input_hw=input_hw,
            num_classes=len(self.class_names),
            config=config or PostprocessConfig(),
            batch=batch,
            image_bytes=self._image_bytes,
            layout=layout,
            use_graphs=use_graphs,
        )
        self._slots = [Slot(network, options) for _ in range(slots)]

    def __enter__(self) -> GpuDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is under way and let go of buffers and graphs."""
        for slot in self._slots:
            slot.stream.synchronize()
        self._slots = []

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The slots, for whoever measures or schedules them himself."""
        if not self._slots:
            raise LabError("The GPU detector is closed.", fix="Open a new one; it holds the GPU's memory while open.")
        return tuple(self._slots)

    def pinned_images(self, image_hw: tuple[int, int]) -> ImageArray:
        """Return pinned memory, (batch, height, width, 3) uint8, that `detect` reads without a copy by the host.

        Decode or copy a picture into `pinned_images(hw)[0]` and pass that very array to `detect`.

        Raises:
            InputError: The image is larger than `max_image_hw` allows.
        """
        self._require_room(image_hw)
        return self.slots[0].pinned_images(image_hw)

    def detect(self, image_bgr: ImageArray) -> Detections:
        """Return one image's detections in its pixels, best first, after one run.

        Raises:
            InputError: Not a BGR image, too large, a detector for larger batches, or an unusable output.
        """
        return self.detect_batch([image_bgr])[0]

    def detect_batch(self, images: Sequence[ImageArray]) -> list[Detections]:
        """Return the detections of exactly `batch` images of one size, in their order.

        Raises:
            InputError: Another number of images, different sizes, not BGR, too large, or an unusable output.
        """
        slot = self.slots[0]
        slot.submit(self._fill(slot, images))
        return slot.wait()

    def stream(self, images: Iterable[ImageArray]) -> Iterator[Detections]:
        """Yield the detections of each image, in order, while later ones are already under way.

        The host copies an image into one slot's pinned memory while the GPU works on the others; a slot's boxes are
        yielded when the slot is needed again. Images at the end that fill no batch are run with repeats of the last.

        Raises:
            InputError: As `detect_batch`.
        """
        waiting: list[tuple[Slot, int]] = []
        try:
            for number, group in enumerate(_grouped(images, self.batch)):
                slot = self.slots[number % len(self.slots)]
                if len(waiting) == len(self.slots):
                    done, count = waiting.pop(0)
                    yield from done.wait()[:count]
                filled = [*group, *[group[-1]] * (self.batch - len(group))]
                slot.submit(self._fill(slot, filled))
                waiting.append((slot, len(group)))
            while waiting:
                done, count = waiting.pop(0)
                yield from done.wait()[:count]
        finally:
            for slot, _ in waiting:
                slot.stream.synchronize()

    def _fill(self, slot: Slot, images: Sequence[ImageArray]) -> tuple[int, int]:
        """Copy images into a slot's pinned memory, unless they lie there already, and return their size."""
        if len(images) != self.batch:
            raise InputError(
                "This number of images does not fit one batch.",
                expected=f"{self.batch}, the detector's batch",
                got=len(images),
                fix="stream(images) takes any number.",
            )
        sizes = {(int(height), int(width)) for height, width, _ in (require_bgr(image).shape for image in images)}
        if len(sizes) != 1:
            raise InputError(
                "The images of a batch differ in size.", expected="one size", got=sorted(sizes), fix="Use batch=1."
            )
        image_hw = sizes.pop()
        self._require_room(image_hw)
        for target, image in zip(slot.pinned_images(image_hw), images, strict=True):
            if target.ctypes.data != image.ctypes.data:
                target[...] = image
        return image_hw

    def _require_room(self, image_hw: tuple[int, int]) -> None:
        if self.batch * image_hw[0] * image_hw[1] * 3 > self._image_bytes:
            raise InputError(
                f"An image of {image_hw[1]}x{image_hw[0]} pixels is larger than the detector was made for.",
                expected=f"at most {self._image_bytes // (3 * self.batch)} pixels",
                got=image_hw[0] * image_hw[1],
                fix="Pass max_image_hw=(height, width) of the largest image.",
            )


def _grouped(images: Iterable[ImageArray], size: int) -> Iterator[list[ImageArray]]:
    group: list[ImageArray] = []
    for image in images:
        group.append(image)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _require_device() -> None:
    torch: Any = require("torch", purpose="detect on a GPU")
    require("triton", purpose="detect on a GPU")
    if not torch.cuda.is_available():
        raise MissingDependencyError(
            "The GPU detector needs an NVIDIA GPU.",
            expected="torch.cuda.is_available()",
            got="no CUDA device, or a PyTorch built without CUDA",
            fix="Use yolotrt_lab.runtimes, which detects on a CPU too.",
        )
