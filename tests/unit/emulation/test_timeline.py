"""The modelled timeline: what it has to teach, and that it keeps the constraints for any program."""

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolotrt_lab.emulation.capture import GraphExec
from yolotrt_lab.emulation.cost_model import DEFAULT, H200
from yolotrt_lab.emulation.streams import Event, Scheduler
from yolotrt_lab.emulation.timeline import COPY_IN, COPY_OUT, modelled_timeline
from yolotrt_lab.emulation.trace import Record, Task, record_timeline
from yolotrt_lab.profiling.reference_gpu import FRAME_BYTES, LOOPS, RESULT_BYTES

MIB = 1 << 20
COSTS = dataclasses.replace(
    DEFAULT, pinned_gb_s=10.0, pageable_gb_s=5.0, copy_us=10.0, inference_ms=0.5, staging_bytes=64 << 10, launch_us=0.0
)
SIZE = 4 * MIB  # about 0.42 ms over the link


class Program:
    """Asks the scheduler for work that takes no time."""

    def __init__(self):
        self.scheduler = Scheduler()

    def stream(self, **options):
        return self.scheduler.create_stream(**options).handle

    def copy(self, direction, stream, *, nbytes=SIZE, pinned=True, at_once=False):
        task = Task("copy", nbytes=nbytes, direction=direction, pinned=pinned)
        self.scheduler.enqueue(stream, lambda: None, task, at_once=at_once)

    def copy_and_wait(self, direction, *, nbytes=SIZE, pinned=True):
        task = Task("copy", nbytes=nbytes, direction=direction, pinned=pinned, is_async=False)
        self.scheduler.run_now(lambda: None, task)

    def infer(self, stream, *, context=0, name="engine"):
        self.scheduler.enqueue(stream, lambda: None, Task("inference", name=name, context=context, kernels=50))

    def forked_graph(self):
        """Capture a copy in, an inference beside a copy back, and a copy back after both."""
        one, other = self.stream(blocking=False), self.stream(blocking=False)
        fork, join = Event(), Event()
        self.scheduler.begin_capture(one)
        self.copy("h2d", one)
        self.scheduler.record(fork, one)
        self.scheduler.wait_for_event(other, fork)
        self.infer(one)
        self.copy("d2h", other, pinned=False)
        self.scheduler.record(join, other)
        self.scheduler.wait_for_event(one, join)
        self.copy("d2h", one)
        return GraphExec(self.scheduler.end_capture(one))

    def frame(self, stream, *, pinned=True, context=0):
        self.copy("h2d", stream, pinned=pinned)
        self.infer(stream, context=context)
        self.copy("d2h", stream, pinned=pinned)


def loop(*, streams=1, pinned=True, frames=6, wait_each_call=False, forget_wait=False, costs=COSTS):
    """Run frames in turn on streams, waiting for a stream before using it again, and return the timeline."""
    program = Program()
    with record_timeline() as recording:
        handles = [program.stream(blocking=False) for _ in range(streams)]
        for number in range(frames):
            handle = handles[number % streams]
            if number >= streams and not forget_wait:
                program.scheduler.synchronize_stream(handle)
            if wait_each_call:
                for part in (
                    lambda handle: program.copy("h2d", handle, pinned=pinned),
                    lambda handle: program.infer(handle, context=handle),
                    lambda handle: program.copy("d2h", handle, pinned=pinned),
                ):
                    part(handle)
                    program.scheduler.synchronize_stream(handle)
            else:
                program.frame(handle, pinned=pinned, context=handle)
        if not forget_wait:
            program.scheduler.synchronize_device()
    return modelled_timeline(recording.records, costs)


def spans(timeline, kind):
    return [span for span in timeline.spans if span.kind == kind]


def check(records, timeline):
    """Assert what has to hold for every program."""
    for lane in timeline.lanes:
        for before, after in itertools.pairwise(timeline.on(lane)):
            assert after.start_us >= before.end_us - 1e-6, (before, after)
    by_compute = sorted(spans(timeline, "inference"), key=lambda span: span.start_us)
    for before, after in itertools.pairwise(by_compute):
        assert after.start_us >= before.end_us - 1e-6, "two inferences at once"
    place = {span.record: span for span in timeline.spans if span.stream is not None}
    calls = {span.record: span for span in timeline.spans if span.kind == "call"}
    waits = {span.record: span for span in timeline.spans if span.kind == "wait"}
    for record in records:
        if record.number in place:
            span, call = place[record.number], calls[place[record.number].cause]
            launching = span.kind == "inference" and span.cause == span.record  # its layers follow one by one
            assert span.start_us >= (call.start_us if launching else call.end_us) - 1e-6
            assert span.end_us >= call.end_us - 1e-6
            for earlier in earlier_work(records, record, place):
                assert place[record.number].start_us >= place[earlier].end_us - 1e-6
        for awaited in record.awaits:
            if awaited in place:
                last = waits.get(record.number, calls[record.number])
                assert last.end_us >= place[awaited].end_us - 1e-6
    shown = [r for r in records if r.task and r.task.kind in ("copy", "memset", "inference", "host function")]
    assert len(place) == len([r for r in shown if r.task.direction != "h2h"])


def overlap_oracle(timeline):
    """Add up the pieces between all starts and ends in which a copy and an inference go on."""
    work = [span for span in timeline.spans if span.kind in ("copy", "inference")]
    marks = sorted({mark for span in work for mark in (span.start_us, span.end_us)})
    kinds = [
        {s.kind for s in work if s.start_us <= low and high <= s.end_us} for low, high in itertools.pairwise(marks)
    ]
    pieces = zip(itertools.pairwise(marks), kinds, strict=True)
    return sum(high - low for (low, high), going_on in pieces if len(going_on) == 2)


def earlier_work(records, record, place):
    """Return the placed work a record comes after, through marks, which take no time."""
    stack, found = list(record.after), []
    while stack:
        number = stack.pop()
        if number in place:
            found.append(number)
        else:
            stack.extend(records[number].after)
    return found


class TestWhatItTeaches:
    def test_one_stream_is_serial(self):
        timeline = loop(frames=3)
        work = sorted((span for span in timeline.spans if span.stream is not None), key=lambda span: span.start_us)
        assert [span.name for span in work] == ["copy h2d", "inference", "copy d2h"] * 3
        for before, after in itertools.pairwise(work):
            assert after.start_us >= before.end_us
        assert timeline.overlap_us() == 0
        assert timeline.makespan_us >= sum(span.duration_us for span in work)

    def test_two_streams_with_pinned_memory_overlap_copies_with_compute(self):
        serial, overlapped = loop(frames=8), loop(frames=8, streams=2)
        assert overlapped.makespan_us < 0.75 * serial.makespan_us
        assert overlapped.overlap_us() > 0.5 * overlapped.busy_us("copy")

    def test_two_streams_with_pageable_memory_do_not(self):
        pageable, serial = loop(frames=8, streams=2, pinned=False), loop(frames=8, pinned=False)
        assert pageable.overlap_us() == 0
        assert pageable.makespan_us == pytest.approx(serial.makespan_us, rel=0.02)

    def test_more_streams_gain_nothing_once_an_engine_is_always_busy(self):
        busiest = loop(frames=12, streams=3).busy_us("inference")
        for streams in (2, 3, 4):
            assert loop(frames=12, streams=streams).makespan_us >= busiest

    def test_a_forgotten_wait_serialises_nothing_and_is_never_awaited(self):
        right, wrong = loop(frames=4), loop(frames=4, forget_wait=True)
        last_call = max(span.end_us for span in wrong.on("host"))
        assert last_call < wrong.makespan_us / 4  # the program is done long before the device
        assert not spans(wrong, "wait")
        assert len(wrong.unawaited) == 12
        assert right.unawaited == frozenset()

    def test_waiting_after_every_call_removes_the_overlap(self):
        overlapped, waiting = loop(frames=8, streams=2), loop(frames=8, streams=2, wait_each_call=True)
        assert waiting.overlap_us() == 0
        assert waiting.makespan_us > 1.3 * overlapped.makespan_us

    def test_pageable_copies_are_slower_than_pinned_ones(self):
        assert loop(pinned=False).makespan_us > 1.2 * loop().makespan_us

    def test_synchronous_copies_hold_up_the_host(self):
        program = Program()
        with record_timeline() as recording:
            program.copy_and_wait("h2d")
            program.infer(0)
            program.copy_and_wait("d2h")
        timeline = modelled_timeline(recording.records, COSTS)
        assert timeline.overlap_us() == 0
        assert max(span.end_us for span in timeline.on("host")) == pytest.approx(timeline.makespan_us)
        assert timeline.unawaited == frozenset()


class TestRules:
    def test_small_pageable_copies_to_the_device_are_staged_and_the_host_goes_on(self):
        program = Program()
        with record_timeline() as recording:
            stream = program.stream()
            program.infer(stream)
            program.copy("h2d", stream, nbytes=1000, pinned=False)
            program.copy("h2d", stream, nbytes=COSTS.staging_bytes + 1, pinned=False)
        timeline = modelled_timeline(recording.records, COSTS)
        (stage,), (wait,) = spans(timeline, "staging"), spans(timeline, "wait")
        inference = spans(timeline, "inference")[0]
        assert stage.end_us < inference.end_us < wait.end_us
        assert stage.duration_us == pytest.approx(1000 / COSTS.pageable_gb_s / 1e3)

    def test_a_pageable_copy_to_the_host_makes_it_wait(self):
        program = Program()
        with record_timeline() as recording:
            stream = program.stream()
            program.infer(stream)
            program.copy("d2h", stream, nbytes=1000, pinned=False)
        timeline = modelled_timeline(recording.records, COSTS)
        assert spans(timeline, "wait")[0].end_us == pytest.approx(timeline.on(COPY_OUT)[0].end_us)

    def test_copies_within_device_memory_do_not_hold_up_the_host(self):
        program = Program()
        with record_timeline() as recording:
            program.copy_and_wait("d2d")
            program.scheduler.run_now(lambda: None, Task("memset", nbytes=10, is_async=False))
        timeline = modelled_timeline(recording.records, COSTS)
        assert not spans(timeline, "wait")
        assert {span.lane for span in spans(timeline, "copy")} == {"compute, default stream"}

    def test_copies_within_host_memory_are_the_hosts_own_work(self):
        program = Program()
        with record_timeline() as recording:
            stream = program.stream()
            program.infer(stream)
            program.copy("h2h", stream, nbytes=10_000, at_once=True)
            program.infer(stream)
        timeline = modelled_timeline(recording.records, COSTS)
        first, second = spans(timeline, "inference")
        (stage,) = spans(timeline, "staging")
        assert first.end_us <= stage.start_us
        assert stage.end_us <= second.start_us
        check(recording.records, timeline)

    def test_an_event_orders_two_streams(self):
        program, event = Program(), Event()
        with record_timeline() as recording:
            copying, computing = program.stream(), program.stream()
            program.copy("h2d", copying)
            program.scheduler.record(event, copying)
            program.scheduler.wait_for_event(computing, event)
            program.infer(computing)
        timeline = modelled_timeline(recording.records, COSTS)
        assert timeline.on("compute, stream 1")[0].start_us >= timeline.on(COPY_IN)[0].end_us

    def test_without_the_event_they_overlap(self):
        program = Program()
        with record_timeline() as recording:
            copying, computing = program.stream(), program.stream()
            program.copy("h2d", copying)
            program.infer(computing)
        timeline = modelled_timeline(recording.records, COSTS)
        assert timeline.overlap_us() > 0

    @pytest.mark.parametrize(("blocking", "overlaps"), [(True, False), (False, True)])
    def test_the_default_stream_waits_for_blocking_streams_only(self, blocking, overlaps):
        program = Program()
        with record_timeline() as recording:
            program.copy("h2d", program.stream(blocking=blocking))
            program.infer(0)
        assert (modelled_timeline(recording.records, COSTS).overlap_us() > 0) is overlaps

    def test_the_stream_of_higher_priority_goes_first(self):
        program = Program()
        with record_timeline() as recording:
            running, low, high = program.stream(), program.stream(), program.stream(priority=-5)
            program.infer(running, context=0)
            program.infer(low, context=1)
            program.infer(high, context=2)
        timeline = modelled_timeline(recording.records, COSTS)
        order = [span.stream for span in sorted(spans(timeline, "inference"), key=lambda span: span.start_us)]
        assert order == [running, high, low]

    @pytest.mark.parametrize(("contexts", "at_once"), [((0, 0), False), ((0, 1), True)])
    def test_one_context_runs_one_inference_at_a_time(self, contexts, at_once):
        program = Program()
        with record_timeline() as recording:
            for context in contexts:
                program.infer(program.stream(), context=context)
        costs = dataclasses.replace(COSTS, concurrent_inferences=2)
        first, second = spans(modelled_timeline(recording.records, costs), "inference")
        assert (second.start_us < first.end_us) is at_once

    def test_an_inference_takes_its_measured_time_scaled(self):
        task = Task("inference", name="engine", kernels=10)
        records = [
            Record(0, "enqueue", task=task, stream=16, measured_ms=20.0, layers_ms=(("conv", 3.0), ("relu", 1.0))),
            Record(1, "enqueue", task=task, stream=16, after=(0,), measured_ms=40.0),
            Record(2, "enqueue", task=task, stream=16, after=(1,)),
        ]
        costs = dataclasses.replace(DEFAULT, inference_scale=0.1, launch_us=3.0, inference_call_us=7.0)
        timeline = modelled_timeline(records, costs)
        assert [span.duration_us for span in spans(timeline, "inference")] == pytest.approx([2000, 4000, 3000])
        assert [span.duration_us for span in spans(timeline, "call")] == pytest.approx([37] * 3)
        assert [(layer.name, layer.duration_us) for layer in timeline.layers] == [("conv", 1500), ("relu", 500)]

    @pytest.mark.parametrize(
        ("kernels", "launch_us", "expected_us"), [(1, 3.0, 500), (100, 3.0, 500), (1000, 3.0, 2997)]
    )
    def test_layers_are_launched_while_earlier_ones_run(self, kernels, launch_us, expected_us):
        record = Record(0, "enqueue", task=Task("inference", kernels=kernels), stream=16)
        costs = dataclasses.replace(COSTS, launch_us=launch_us, inference_call_us=5.0)
        timeline = modelled_timeline([record], costs)
        (inference,) = spans(timeline, "inference")
        assert inference.start_us == pytest.approx(5 + launch_us)
        assert inference.duration_us == pytest.approx(expected_us)

    def test_freeing_waits_for_the_device_but_looks_at_nothing(self):
        program = Program()
        with record_timeline() as recording:
            program.copy("d2h", program.stream())
            recording.memory("free")
        timeline = modelled_timeline(recording.records, COSTS)
        assert timeline.on("host")[-1].end_us >= timeline.on(COPY_OUT)[0].end_us
        assert len(timeline.unawaited) == 1

    def test_a_poll_that_says_done_has_waited(self):
        program = Program()
        with record_timeline() as recording:
            stream = program.stream()
            program.infer(stream)
            assert not program.scheduler.poll_stream(stream)
            assert program.scheduler.poll_stream(stream)
        timeline = modelled_timeline(recording.records, COSTS)
        (wait,) = spans(timeline, "wait")
        assert wait.end_us == spans(timeline, "inference")[0].end_us

    def test_what_the_program_does_itself_counts_if_asked(self):
        records = [Record(0, "synchronize", what="device", program_ms=2.0)]
        assert modelled_timeline(records).makespan_us < 10
        counted = modelled_timeline(records, dataclasses.replace(DEFAULT, program_scale=0.5))
        assert counted.makespan_us == pytest.approx(1000 + DEFAULT.wait_call_us)

    def test_threads_have_lanes_of_their_own(self):
        task = Task("inference", kernels=1)
        records = [
            Record(0, "enqueue", thread=0, task=task, stream=16, measured_ms=1.0),
            Record(1, "enqueue", thread=1, task=task, stream=32, measured_ms=1.0),
            Record(2, "synchronize", thread=1, what="stream", awaits=(0, 1)),
        ]
        timeline = modelled_timeline(records)
        assert timeline.lanes[:2] == ("host", "host, thread 2")
        check(records, timeline)

    def test_nothing_recorded_is_an_empty_timeline(self):
        timeline = modelled_timeline([])
        assert (timeline.spans, timeline.lanes, timeline.makespan_us, timeline.overlap_us()) == ((), (), 0.0, 0.0)


def test_the_label_says_that_it_is_modelled():
    assert "odelled, not measured" in loop().label


@pytest.mark.parametrize("measured", LOOPS, ids=lambda loop: f"{loop.name}, {loop.infer_us} us")
def test_the_preset_comes_near_what_an_h200_took(measured):
    """Frame loops timed on an H200; the kernel that stood for the engine was launched by itself."""
    naive, streams = "allocate" in measured.name, 2 if "two streams" in measured.name else 1
    pinned, frames = "pinned" in measured.name, 100
    program = Program()
    with record_timeline() as recording:
        handles = [program.stream(blocking=False) for _ in range(streams)]
        for number in range(frames):
            handle = handles[number % streams]
            if naive:
                for nbytes in (FRAME_BYTES, RESULT_BYTES):
                    recording.memory("allocate", what="device", nbytes=nbytes)
            if number >= streams:
                program.scheduler.synchronize_stream(handle)
            program.copy("h2d", handle, nbytes=FRAME_BYTES, pinned=pinned)
            program.scheduler.enqueue(handle, lambda: None, Task("inference", context=handle, kernels=1))
            program.copy("d2h", handle, nbytes=RESULT_BYTES, pinned=pinned)
        program.scheduler.synchronize_device()
    costs = dataclasses.replace(H200, inference_ms=measured.infer_us / 1e3)
    frame_us = modelled_timeline(recording.records, costs).makespan_us / frames
    assert frame_us == pytest.approx(measured.frame_us, rel=0.15)


KINDS = [
    "h2d",
    "d2h",
    "d2d",
    "h2h",
    "infer",
    "memset",
    "record",
    "wait",
    "sync",
    "sync event",
    "device",
    "host",
    "now",
    "graph",
]
STEPS = st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.sampled_from([100, SIZE]), st.booleans())


@given(st.lists(STEPS, max_size=25))
@settings(max_examples=60, deadline=None)
def test_every_program_keeps_the_constraints(steps):
    program, event = Program(), Event()
    graph = program.forked_graph()
    with record_timeline() as recording:
        handles = [0, 2, program.stream(), program.stream(blocking=False, priority=-1)]
        for what, index, nbytes, pinned in steps:
            stream = handles[index]
            if what in ("h2d", "d2h", "d2d", "h2h"):
                program.copy(what, stream, nbytes=nbytes, pinned=pinned)
            elif what == "now":
                program.copy_and_wait("h2d" if nbytes == SIZE else "d2h", nbytes=nbytes, pinned=pinned)
            elif what == "infer":
                program.infer(stream, context=index % 2)
            elif what == "memset":
                program.scheduler.enqueue(stream, lambda: None, Task("memset", nbytes=nbytes))
            elif what == "host":
                program.scheduler.launch_host_function(stream, lambda: None)
            elif what == "graph":
                program.scheduler.launch_graph(graph, stream)
            elif what == "record":
                program.scheduler.record(event, stream)
            elif what == "wait":
                program.scheduler.wait_for_event(stream, event)
            elif what == "sync":
                program.scheduler.synchronize_stream(stream)
            elif what == "sync event":
                program.scheduler.synchronize_event(event)
            else:
                program.scheduler.synchronize_device()
    timeline = modelled_timeline(recording.records, COSTS)
    check(recording.records, timeline)
    assert timeline.overlap_us() == pytest.approx(overlap_oracle(timeline))
