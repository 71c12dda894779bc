"""Streams: order, bounded read-ahead, errors at the frame they belong to, and an end that leaves nothing behind."""

import contextlib
import gc
import itertools
import threading

import cv2
import numpy as np
import pytest

from yolotrt_lab.detection.pipeline import Detector, DetectorConfig
from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.runtimes import stream_detections
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.runtimes.channel import Channel
from yolotrt_lab.types import TensorSpec

LIMIT_S = 10


class Brightness:
    """A network that reports one box per picture, whose score is the picture's mean brightness.

    With a gate it waits before every inference until it may go on; a picture of brightness 13 / 255 makes it fail.
    """

    inputs = (TensorSpec("images", "float32", (None, 3, 32, 32)),)
    outputs = (TensorSpec("output0", "float32", (None, 5, 21)),)

    def __init__(self, gate=None):
        self.gate = gate
        self.calls = 0

    def infer(self, feeds):
        self.calls += 1
        if self.gate is not None:
            assert self.gate.acquire(timeout=LIMIT_S)
        means = feeds["images"].mean(axis=(1, 2, 3))
        if abs(means[0] * 255 - 13) < 0.1:
            raise LabError("The network failed.")
        output = np.zeros((len(means), 5, 21), np.float32)
        output[:, :4, 0] = 16, 16, 8, 8
        output[:, 4, 0] = means
        return {"output0": output}


@pytest.fixture(autouse=True)
def _no_thread_stays():
    before = threading.active_count()
    yield
    gc.collect()
    assert threading.active_count() <= before


def detector(gate=None):
    return Detector(Brightness(gate), class_names=("thing",), config=DetectorConfig(conf_threshold=0.01))


def picture(brightness):
    return np.full((32, 32, 3), brightness, np.uint8)


def brightness(frame):
    return round(float(frame.detections.scores[0]) * 255)


@pytest.mark.parametrize("count", [0, 1, 2, 40])
@pytest.mark.parametrize("settings", [{}, {"requests": 1, "queue_size": 1}, {"load_threads": 3}])
def test_every_image_once_in_order(count, settings):
    frames = list(stream_detections(detector(), (picture(20 + n) for n in range(count)), **settings))
    assert [brightness(frame) for frame in frames] == [20 + n for n in range(count)]
    assert [frame.index for frame in frames] == list(range(count))
    assert all(frame.error is None and frame.image_bgr is frame.item for frame in frames)


def numbered(read):
    """Pictures without end; `read` gets the number of each one that was asked for."""
    for number in itertools.count():
        read.append(number)
        yield picture(50)


def test_the_caller_holds_everything_back():
    read = []
    with contextlib.closing(stream_detections(detector(), numbered(read), requests=2, queue_size=1)) as stream:
        for _ in range(3):
            next(stream)
        threading.Event().wait(0.02)  # time enough to run away, if nothing held it back
        # Beyond the 3 taken: one in each of 4 queues, one in each of 3 stages, one in the reader's hands.
        assert len(read) <= 3 + 4 + 3 + 1


def test_a_slow_network_holds_the_reader_back():
    gate, read, first = threading.Semaphore(0), [], []
    with contextlib.closing(stream_detections(detector(gate), numbered(read), requests=3, queue_size=1)) as stream:
        caller = threading.Thread(target=lambda: first.append(next(stream)))
        caller.start()
        threading.Event().wait(0.02)
        assert len(read) <= 3 + 1 + 1 + 1  # with a request, without one, in the first queue, in the reader's hands
        gate.release(100)
        caller.join(LIMIT_S)
    assert brightness(first[0]) == 50


def test_what_cannot_be_loaded_or_detected_is_an_error_of_that_frame_alone(tmp_path):
    cv2.imwrite(str(tmp_path / "good.png"), picture(77))
    (tmp_path / "broken.png").write_bytes(b"no image")
    items = [tmp_path / "good.png", tmp_path / "broken.png", str(tmp_path / "none.png"), picture(13), None, picture(78)]
    frames = list(stream_detections(detector(), items, requests=1, queue_size=1))
    assert [frame.item is item for frame, item in zip(frames, items, strict=True)] == [True] * 6
    assert [frame.error is None for frame in frames] == [True, False, False, False, False, True]
    assert (brightness(frames[0]), brightness(frames[5])) == (77, 78)
    assert [frame.image_bgr is None for frame in frames] == [False, True, True, False, True, False]
    with pytest.raises(InputError, match=r"broken\.png"):
        _ = frames[1].detections
    with pytest.raises(LabError, match="The network failed"):
        _ = frames[3].detections
    assert "NoneType" in str(frames[4].error)


@pytest.mark.parametrize("stage", ["preprocess", "detections_output", "postprocess"])
def test_an_error_in_any_stage_leaves_the_others(stage, monkeypatch):
    subject = detector()
    original, calls = getattr(subject, stage), itertools.count()

    def sometimes(*arguments, **settings):
        if next(calls) in (1, 2):
            raise ValueError(stage)
        return original(*arguments, **settings)

    monkeypatch.setattr(subject, stage, sometimes)
    frames = list(stream_detections(subject, [picture(30 + n) for n in range(6)], requests=1))
    assert [str(frame.error) for frame in frames] == ["None", stage, stage, "None", "None", "None"]
    assert [brightness(frames[n]) for n in (0, 3, 4, 5)] == [30, 33, 34, 35]


@pytest.mark.parametrize("error", [InputError("no more"), OSError("unplugged"), KeyboardInterrupt()])
def test_when_the_source_fails_what_came_before_arrives_first(error):
    def supply():
        yield picture(40)
        yield picture(41)
        raise error

    stream = stream_detections(detector(), supply())
    assert [brightness(next(stream)), brightness(next(stream))] == [40, 41]
    with pytest.raises(type(error)) as caught:
        next(stream)
    assert caught.value is error
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_early_ends_an_endless_stream(taken):
    stream = stream_detections(detector(), itertools.repeat(picture(60)))
    for _ in range(taken):
        next(stream)
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)


def test_closing_waits_for_the_inference_that_runs():
    gate = threading.Semaphore(1)
    subject = detector(gate)
    stream = stream_detections(subject, itertools.repeat(picture(60)))
    next(stream)
    while subject.backend.calls < 2:  # the second waits at the gate
        threading.Event().wait(0.001)
    closing = threading.Thread(target=stream.close)
    closing.start()
    closing.join(0.02)
    assert closing.is_alive()
    gate.release()
    closing.join(LIMIT_S)
    assert not closing.is_alive()


def test_a_loop_that_is_left_ends_the_stream():
    for _frame in stream_detections(detector(), itertools.repeat(picture(60))):
        break


def test_an_interrupt_while_waiting_ends_the_stream(monkeypatch):
    stream = stream_detections(detector(), itertools.repeat(picture(60)))
    next(stream)

    def interrupted(channel):
        raise KeyboardInterrupt  # as Python does to the main thread, wherever it waits

    with monkeypatch.context() as patch:
        threads = set(threading.enumerate())
        original = Channel.get
        patch.setattr(
            Channel,
            "get",
            lambda channel: (
                interrupted(channel) if threading.current_thread() is threading.main_thread() else original(channel)
            ),
        )
        with pytest.raises(KeyboardInterrupt):
            next(stream)
    assert len(threads) > threading.active_count()


def test_requests_are_freed(monkeypatch):
    subject = detector()
    made = []

    class Counted(Runtime):
        def _infer(self, feeds):
            return subject.backend.infer(feeds)

        def _create_request(self, shapes):
            made.append(super()._create_request(shapes))
            return made[-1]

        def _close(self):
            pass

    runtime = Counted(
        name="counted", backend="test", platform="cpu", inputs=Brightness.inputs, outputs=Brightness.outputs,
        parallel_requests=3,
    )  # fmt: skip
    counted = Detector(runtime, class_names=("thing",), config=subject.config)
    stream = stream_detections(counted, itertools.repeat(picture(60)))
    assert made == []
    next(stream)
    assert len(made) == 5
    stream.close()
    assert all(request.inputs == {} for request in made)
    with pytest.raises(LabError, match="closed"):
        made[0].submit()


@pytest.mark.parametrize("setting", ["requests", "queue_size", "load_threads"])
def test_counts_are_checked_at_once(setting):
    with pytest.raises(InputError, match=f"{setting} is out of range"):
        stream_detections(detector(), [], **{setting: 0})
