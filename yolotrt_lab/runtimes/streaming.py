"""Detect in a stream of images with decoding, preprocessing, inference and postprocessing side by side.

Each stage has a thread of its own, and bounded queues between them hold a fast stage back. NumPy, OpenCV and the
runtimes release Python's lock while they compute, so the stages really overlap, and a long stream takes the time of its
slowest stage, as long as there is a core for each. What one frame takes does not get shorter.

    read and decode --queue--> preprocess, submit --queue--> wait --queue--> postprocess --queue--> caller
                                    ^------------- free requests -------------'

The network's input lives in a fixed number of requests, each with memory of its own, which go round: nothing is
allocated or copied per frame but the image itself and what was found in it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from yolotrt_lab.data.images import read_image
from yolotrt_lab.detection.letterbox import LetterboxTransform
from yolotrt_lab.detection.pipeline import Detector
from yolotrt_lab.errors import InputError
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.runtimes.channel import Channel, ChannelClosed
from yolotrt_lab.runtimes.requests import BackendRequest, InferenceRequest
from yolotrt_lab.types import Array, Detections, ImageArray

__all__ = ["StreamedFrame", "stream_detections"]

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class StreamedFrame(Generic[Item]):
    """One image of a stream, and what became of it.

    Attributes:
        index: Its place in the stream, from 0.
        item: What the stream was given: a path, an image, or whatever `load` takes.
        image_bgr: The image; None if it could not be loaded.
        outcome: What was found, in pixels of the image, best first; or the error that came instead.
    """

    index: int
    item: Item
    image_bgr: ImageArray | None
    outcome: Detections | Exception

    @property
    def error(self) -> Exception | None:
        """What went wrong with this image, or None."""
        return self.outcome if isinstance(self.outcome, Exception) else None

    @property
    def detections(self) -> Detections:
        """What was found; raises the error if there is one."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass
class _Frame(Generic[Item]):
    """A frame on its way; every stage adds its part, or the error that spares it the stages after."""

    index: int
    item: Item
    loading: Future[ImageArray]
    image: ImageArray | None = None
    request: InferenceRequest | None = None
    transforms: tuple[LetterboxTransform, ...] = ()
    output: Array | None = None
    outcome: Detections | Exception | None = None


@dataclass
class _End:
    """Comes after the last frame, with the error that ended the stream early, if one did."""

    error: BaseException | None = None


def load_image(item: Any) -> ImageArray:
    """Return an image from a path, or as it is."""
    image: ImageArray = read_image(item) if isinstance(item, (str, Path)) else item
    return image


def stream_detections(
    detector: Detector,
    items: Iterable[Item],
    *,
    load: Callable[[Item], ImageArray] = load_image,
    requests: int | None = None,
    queue_size: int = 2,
    load_threads: int = 1,
) -> Generator[StreamedFrame[Item], None, None]:
    """Yield what was found in each image, in order, while the next ones are being worked on.

    What goes wrong with one image is in its frame's `error`, and the others go on; if `items` itself raises, that is
    raised here, after everything before it. Closing the generator, which leaving its loop does, ends all threads and
    frees the requests; `contextlib.closing` does it at once also when an exception's traceback keeps the generator. A
    read in progress is waited for. Meanwhile the detector must not be used by others.

    Threads start with the first frame asked for. However slowly they are taken, only a bounded number of images is in
    memory at a time.

    Args:
        detector: What finds objects. Frames go through it one by one: a network with a larger fixed batch is filled up
            with gray.
        items: Paths or (height, width, 3) uint8 BGR images, or what `load` takes. Read in a thread of its own.
        load: Makes an image of an item, in `load_threads` threads.
        requests: Inferences prepared, running or evaluated at a time; None for what keeps the runtime busy.
        queue_size: Frames that may wait between two stages.
        load_threads: Threads that load images. More than one pays if decoding takes longer than inference.

    Raises:
        InputError: A count is below one; from the iterator, what `items` raises.

    Example:
        >>> for frame in stream_detections(detector, paths):  # doctest: +SKIP
        ...     print(frame.item, frame.error or len(frame.detections))
    """
    for name, value in (("requests", requests), ("queue_size", queue_size), ("load_threads", load_threads)):
        if value is not None and value < 1:
            raise InputError(f"{name} is out of range.", expected="1 or more", got=value)
    if requests is None:
        # One being prepared and one being evaluated, besides those that the device is at.
        requests = 2 + (detector.backend.parallel_requests if isinstance(detector.backend, Runtime) else 1)
    return _stream(_Stream(detector, load, requests, queue_size, load_threads), items)


def _stream(stream: _Stream[Item], items: Iterable[Item]) -> Generator[StreamedFrame[Item], None, None]:
    try:
        stream.start(items)
        while True:
            done = stream.results.get()
            if isinstance(done, _End):
                if done.error is not None:
                    raise done.error
                return
            yield StreamedFrame(done.index, done.item, done.image, done.outcome or Detections.empty())
    finally:
        stream.close()


@dataclass
class _Stream(Generic[Item]):
    """The threads of one stream and what is between them."""

    detector: Detector
    load: Callable[[Item], ImageArray]
    request_count: int
    queue_size: int
    load_threads: int
    requests: list[InferenceRequest] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loaded, self.submitted, self.inferred, self.results = (
            Channel[_Frame[Item] | _End](max(self.queue_size, self.load_threads)) for _ in range(4)
        )
        self.free = Channel[InferenceRequest](self.request_count)
        self.loaders = ThreadPoolExecutor(self.load_threads, thread_name_prefix="stream-load")

    def start(self, items: Iterable[Item]) -> None:
        """Make the requests, then start the threads."""
        for _ in range(self.request_count):
            self.requests.append(_create_request(self.detector))
            self.free.put(self.requests[-1])
        self._start("read", lambda: self._read(items))
        self._start("preprocess", lambda: self._stage(self.loaded, self._preprocess, self.submitted))
        self._start("wait", lambda: self._stage(self.submitted, self._wait, self.inferred))
        self._start("postprocess", lambda: self._stage(self.inferred, self._postprocess, self.results))

    def close(self) -> None:
        """End the threads, wait for them, and free the requests."""
        for channel in (self.loaded, self.submitted, self.inferred, self.results, self.free):
            channel.close()
        for thread in self.threads:
            thread.join()
        self.loaders.shutdown(cancel_futures=True)
        for request in self.requests:
            request.close()
        self.requests.clear()

    def _start(self, name: str, work: Callable[[], None]) -> None:
        def run() -> None:
            with contextlib.suppress(ChannelClosed):  # the caller has left
                work()

        # A daemon, or a stream that was never finished would keep the interpreter from ending.
        self.threads.append(threading.Thread(target=run, name=f"stream-{name}", daemon=True))
        self.threads[-1].start()

    def _read(self, items: Iterable[Item]) -> None:
        end = _End()
        try:
            for index, item in enumerate(items):
                self.loaded.put(_Frame(index, item, self.loaders.submit(self.load, item)))
        except ChannelClosed:
            raise
        except BaseException as error:  # also SystemExit: it is the caller's, and raised there
            end = _End(error)
        self.loaded.put(end)

    def _stage(
        self,
        source: Channel[_Frame[Item] | _End],
        work: Callable[[_Frame[Item]], None],
        sink: Channel[_Frame[Item] | _End],
    ) -> None:
        """Do one stage's work for every frame in order; one that has failed before only passes through."""
        while True:
            frame = source.get()
            if isinstance(frame, _Frame) and frame.outcome is None:
                try:
                    work(frame)
                except ChannelClosed:
                    raise
                except Exception as error:  # whatever it is, it belongs to this frame and not to the others
                    frame.outcome = error
                    self._release(frame)
            sink.put(frame)
            if isinstance(frame, _End):
                return

    def _release(self, frame: _Frame[Item]) -> None:
        if frame.request is not None:
            request, frame.request = frame.request, None
            self.free.put(request)

    def _preprocess(self, frame: _Frame[Item]) -> None:
        frame.image = frame.loading.result()
        frame.request = self.free.get()
        (batch,) = frame.request.inputs.values()
        _, frame.transforms = self.detector.preprocess([frame.image], out=batch)
        frame.request.submit()

    def _wait(self, frame: _Frame[Item]) -> None:
        if frame.request is not None:
            (batch,) = frame.request.inputs.values()
            frame.output = self.detector.detections_output(frame.request.wait(), rows=len(batch))

    def _postprocess(self, frame: _Frame[Item]) -> None:
        if frame.output is not None:
            (frame.outcome,) = self.detector.postprocess(frame.output, frame.transforms)
        frame.output = None  # the next inference overwrites it
        self._release(frame)


def _create_request(detector: Detector) -> InferenceRequest:
    backend = detector.backend
    shapes = {backend.inputs[0].name: detector.input_shape(1)}
    return backend.create_request(shapes) if isinstance(backend, Runtime) else BackendRequest(backend, shapes)
