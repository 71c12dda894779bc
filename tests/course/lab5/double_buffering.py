"""Wrong and right answers to lab5.double_buffering."""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np
from tests_course_api import right, wrong

from yolotrt_lab.engines.platform import activate

trt = activate().trt
import pycuda.driver as cuda  # noqa: E402  # there is none before the platform is chosen

from yolotrt_lab.runtimes.tensorrt_buffers import EngineBuffers  # noqa: E402

RESULTS = "test_every_result_comes_in_order"
OVERLAP = "test_the_next_frame_is_handed_in_before_the_last_is_awaited"
ONE_AT_A_TIME = "test_frames_are_taken_one_at_a_time"
SETS = "test_two_sets_take_turns"
WAITS = "test_one_wait_per_frame"


class OwnBuffers:
    """Buffers written out, so that an answer can share what must not be shared."""

    def __init__(self, engine, *, context=None, stream=None, host=None):
        self.context = context or engine.create_execution_context()
        self.stream = stream or cuda.Stream()
        self.names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        shapes = {name: (1, *tuple(engine.get_tensor_shape(name))[1:]) for name in self.names}
        self.host = host or {name: cuda.pagelocked_empty(shapes[name], np.float32) for name in self.names}
        self.device = {name: cuda.mem_alloc(self.host[name].nbytes) for name in self.names}
        self.context.set_input_shape("images", shapes["images"])

    def submit(self, feeds):
        np.copyto(self.host["images"], feeds["images"])
        for name in self.names:
            self.context.set_tensor_address(name, int(self.device[name]))
        cuda.memcpy_htod_async(self.device["images"], self.host["images"], self.stream)
        self.context.execute_async_v3(self.stream.handle)
        for name in self.names[1:]:
            cuda.memcpy_dtoh_async(self.host[name], self.device[name], self.stream)

    def wait(self):
        self.stream.synchronize()
        return {name: self.host[name].copy() for name in self.names[1:]}


def pipelined(sets, frames, *, oldest_first=True):
    """Runs frames through sets in turns; what most answers here share."""
    under_way = deque()
    for number, frame in enumerate(frames):
        if len(under_way) == len(sets):
            yield (under_way.popleft() if oldest_first else under_way.pop()).wait()
        buffers = sets[number % len(sets)]
        buffers.submit({"images": frame})
        under_way.append(buffers)
    while under_way:
        yield (under_way.popleft() if oldest_first else under_way.pop()).wait()


@wrong(caught_by=RESULTS, says="still frames under way")
def forgets_the_last_frames(engine, frames):
    """Believes that the loop over the frames is all there is."""
    sets, under_way = [EngineBuffers(engine, 1), EngineBuffers(engine, 1)], deque()
    for number, frame in enumerate(frames):
        if len(under_way) == 2:
            yield under_way.popleft().wait()
        sets[number % 2].submit({"images": frame})
        under_way.append(sets[number % 2])


@wrong(caught_by=RESULTS, says="the older one is awaited first")
def newest_first(engine, frames):
    """Takes the result that is freshest, as from a stack."""
    free, under_way = [OwnBuffers(engine), OwnBuffers(engine)], []
    for frame in frames:
        if not free:
            buffers = under_way.pop()
            yield buffers.wait()
            free.append(buffers)
        buffers = free.pop()
        buffers.submit({"images": frame})
        under_way.append(buffers)
    while under_way:
        yield under_way.pop().wait()


@wrong(caught_by=RESULTS, says="two sets of memory")
def one_pinned_memory(engine, frames):
    """Two streams, two contexts, and one page-locked memory: believes that a queued copy has its bytes already."""
    first = OwnBuffers(engine)
    yield from pipelined([first, OwnBuffers(engine, host=first.host)], frames)


@wrong(caught_by=RESULTS, says="must not be memory that a later frame")
def hands_out_its_memory(engine, frames):
    """Spares the copy of the result."""
    sets = [OwnBuffers(engine), OwnBuffers(engine)]
    for buffers in sets:
        buffers.wait = lambda buffers=buffers: (
            buffers.stream.synchronize() or {name: buffers.host[name] for name in buffers.names[1:]}
        )
    yield from pipelined(sets, frames)


@wrong(caught_by=OVERLAP, says="Two streams alone overlap nothing")
def two_sets_one_after_the_other(engine, frames):
    """Alternates the sets, and believes that this is double buffering."""
    sets = itertools.cycle([EngineBuffers(engine, 1), EngineBuffers(engine, 1)])
    for frame in frames:
        buffers = next(sets)
        buffers.submit({"images": frame})
        yield buffers.wait()


@wrong(caught_by=OVERLAP, says="still under way")
def waits_just_before_submitting(engine, frames):
    """Keeps one frame under way, but fetches it first."""
    sets = itertools.cycle([EngineBuffers(engine, 1), EngineBuffers(engine, 1)])
    last = None
    for frame in frames:
        result = last.wait() if last else None
        last = next(sets)
        last.submit({"images": frame})
        if result:
            yield result
    if last:
        yield last.wait()


@wrong(caught_by=ONE_AT_A_TIME, says="who collects its frames first")
def collects_the_frames(engine, frames):
    """Needs to know how many there are."""
    images = [frame.copy() for frame in frames]
    yield from pipelined([EngineBuffers(engine, 1), EngineBuffers(engine, 1)], images)


@wrong(caught_by=ONE_AT_A_TIME, says="`yield` them")
def collects_the_results(engine, frames):
    """Returns a list at the end."""
    return list(pipelined([EngineBuffers(engine, 1), EngineBuffers(engine, 1)], frames))


@wrong(caught_by=ONE_AT_A_TIME, says="every result comes later")
def four_are_better_than_two(engine, frames):
    """Believes that more frames under way are faster."""
    yield from pipelined([EngineBuffers(engine, 1) for _ in range(4)], frames)


@wrong(caught_by=SETS, says="streams of your own")
def a_new_set_for_every_frame(engine, frames):
    """Makes what it needs when it needs it."""
    under_way = deque()
    for frame in frames:
        if len(under_way) == 2:
            yield under_way.popleft().wait()
        under_way.append(EngineBuffers(engine, 1))
        under_way[-1].submit({"images": frame})
    while under_way:
        yield under_way.popleft().wait()


@wrong(caught_by=SETS, says="one after the other")
def two_sets_in_one_stream(engine, frames):
    """Believes that two sets of memory are what makes work overlap."""
    first = OwnBuffers(engine)
    yield from pipelined([first, OwnBuffers(engine, stream=first.stream)], frames)


@wrong(caught_by=SETS, says="A context holds the intermediate results")
def one_context_for_two_streams(engine, frames):
    """Right here and on a lucky GPU: believes that a context belongs to the engine, not to an inference."""
    first = OwnBuffers(engine)
    yield from pipelined([first, OwnBuffers(engine, context=first.context)], frames)


@wrong(caught_by=WAITS, says="the whole device")
def waits_for_the_device(engine, frames):
    """Knows one way of waiting."""
    sets = [OwnBuffers(engine), OwnBuffers(engine)]
    for buffers in sets:
        buffers.wait = lambda buffers=buffers: (
            cuda.Context.synchronize() or {name: buffers.host[name].copy() for name in buffers.names[1:]}
        )
    yield from pipelined(sets, frames)


@wrong(caught_by=WAITS, says="both streams")
def waits_for_both_streams(engine, frames):
    """Is on the safe side."""
    sets = [OwnBuffers(engine), OwnBuffers(engine)]

    def careful(buffers):
        for other in sets:
            other.stream.synchronize()
        return {name: buffers.host[name].copy() for name in buffers.names[1:]}

    for buffers in sets:
        buffers.wait = lambda buffers=buffers: careful(buffers)
    yield from pipelined(sets, frames)


@right
def by_hand(engine, frames):
    """Two variables instead of a queue; asks the iterator itself."""
    current, other = EngineBuffers(engine, 1), EngineBuffers(engine, 1)
    frames = iter(frames)
    frame = next(frames, None)
    if frame is None:
        return
    current.submit({"images": frame})
    for frame in frames:
        other.submit({"images": frame})
        yield current.wait()
        current, other = other, current
    yield current.wait()


@right
class WithAClass:
    """An iterator written out, over buffers of its own."""

    def __init__(self, engine, frames):
        self.frames = iter(frames)
        self.free = deque([OwnBuffers(engine), OwnBuffers(engine)])
        self.busy = deque()
        self.ended = False

    def __iter__(self):
        return self

    def __next__(self):
        while self.free and not self.ended:
            frame = next(self.frames, None)
            if frame is None:
                self.ended = True
                break
            self.busy.append(self.free.popleft())
            self.busy[-1].submit({"images": frame})
        if not self.busy:
            raise StopIteration
        self.free.append(self.busy.popleft())
        return {name: value.astype(np.float64) for name, value in self.free[-1].wait().items()}


@right
def with_a_deque(engine, frames):
    """The queue, over buffers of its own."""
    yield from pipelined([OwnBuffers(engine), OwnBuffers(engine)], frames)
