"""The model GPU: what overlaps, what waits, and that it predicts what an H200 took."""

import dataclasses
import itertools

import pytest

from yolotrt_lab.engines.call_trace import DeviceCall
from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.reference_gpu import COPIES, FRAME_BYTES, H200, LOOPS, RESULT_BYTES
from yolotrt_lab.profiling.replay import LANES, GpuModel, replay

# Copies take 1 ms for 1 MB pinned and 4 ms pageable, an inference 3 ms; queueing takes next to nothing.
GPU = GpuModel("model", 1.0, 0.25, copy_us=1e-6, infer_ms=3.0, launch_us=1e-6, allocate_us=100, allocate_pinned_us=900)
MB = 1_000_000


def copy(direction="h2d", stream=1, **changes):
    return DeviceCall("copy", stream=stream, direction=direction, nbytes=MB, **changes)


def infer(stream=1, context=None, **changes):
    return DeviceCall("infer", stream=stream, context=stream if context is None else context, **changes)


def wait(stream=1):
    return DeviceCall("wait", stream=stream)


def frame(stream=1, **changes):
    return [copy("h2d", stream, **changes), infer(stream), copy("d2h", stream, **changes)]


def total_ms(*calls, gpu=GPU, **options):
    return pytest.approx(replay(calls, gpu=gpu, **options).total_us / 1e3, rel=1e-3)


class TestOrder:
    def test_nothing(self):
        result = replay([], gpu=GPU)
        assert (result.total_us, result.frames, result.frames_per_s, result.events) == (0, 0, 0, ())

    def test_one_stream_runs_in_order(self):
        assert total_ms(*frame()) == 5
        assert total_ms(*frame(), *frame()) == 10

    def test_two_streams_overlap(self):
        # In 1, infer 3; the second frame's copy hides behind it; its inference follows; its copy out ends it.
        assert total_ms(*frame(1), *frame(2)) == 8

    def test_waiting_in_between_takes_the_overlap_away(self):
        assert total_ms(*frame(1), wait(1), *frame(2)) == 10

    def test_waiting_for_another_stream_does_not(self):
        assert total_ms(*frame(1), wait(3), *frame(2)) == 8

    def test_one_context_runs_one_inference_at_a_time_and_so_does_the_gpu(self):
        assert total_ms(infer(1, context=0), infer(2, context=0)) == 6
        assert total_ms(infer(1, context=0), infer(2, context=1)) == 6

    def test_copies_in_and_out_have_engines_of_their_own(self):
        assert total_ms(copy("h2d", 1), copy("d2h", 2)) == 1
        assert total_ms(copy("h2d", 1), copy("h2d", 2)) == 2

    def test_pageable_memory_is_slower_and_holds_up_the_host(self):
        assert total_ms(copy(pinned=False)) == 4
        assert total_ms(*frame(1, pinned=False), *frame(2, pinned=False)) == 22

    def test_a_synchronous_copy_holds_up_the_host(self):
        assert total_ms(copy("h2d", 0, is_async=False), copy("d2h", 2)) == 2

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_the_default_stream_and_the_others_wait_for_each_other(self, order):
        assert (
            total_ms(*[copy(direction, stream) for direction, stream in zip(("h2d", "d2h"), order, strict=True)]) == 2
        )

    def test_an_event_holds_a_stream(self):
        calls = [copy("h2d", 1), DeviceCall("record", stream=1, event=0), DeviceCall("hold", stream=2, event=0)]
        assert total_ms(*calls, copy("d2h", 2)) == 2
        assert total_ms(*calls[:2], copy("d2h", 2)) == 1

    def test_the_host_waits_for_an_event_but_not_for_what_comes_after(self):
        calls = [copy("h2d", 1), DeviceCall("record", stream=1, event=0), infer(1), DeviceCall("wait", event=0)]
        assert total_ms(*calls, DeviceCall("allocate")) == 4
        waits = [event for event in replay(calls, gpu=GPU).events if event.name == "wait"]
        assert waits[0].duration_us == pytest.approx(1000, rel=1e-3)

    def test_the_host_waits_for_the_device(self):
        assert total_ms(*frame(1), *frame(2), DeviceCall("wait"), DeviceCall("allocate")) == 8.1

    def test_allocations_and_the_programs_own_work_cost_the_host(self):
        assert total_ms(DeviceCall("allocate"), DeviceCall("allocate_pinned")) == 1
        assert total_ms(*frame(), wait(), *frame(), host_us=2000) == 14
        assert total_ms(*frame(1), *frame(2), host_us=2000) == 10

    def test_a_synchronous_inference_holds_up_the_host(self):
        assert total_ms(infer(0, is_async=False), DeviceCall("allocate")) == 3.1


def test_events_of_one_lane_never_overlap_and_frames_are_numbered():
    calls = [call for number in range(6) for call in frame(1 + number % 2)]
    result = replay(calls, gpu=GPU, host_us=500)
    assert result.frames == 6
    for lane in LANES:
        events = sorted((event for event in result.events if event.lane == lane), key=lambda event: event.start_us)
        for before, after in itertools.pairwise(events):
            assert after.start_us >= before.start_us + before.duration_us - 1e-6
        assert result.busy_us[lane] == pytest.approx(sum(event.duration_us for event in events))
        if lane != "host":
            assert [event.frame for event in events] == list(range(6))
    assert result.frames_per_s == pytest.approx(6e6 / result.total_us)


def test_bad_models_and_directions_are_refused():
    with pytest.raises(InputError, match="makes no sense"):
        dataclasses.replace(GPU, infer_ms=0)
    with pytest.raises(InputError, match="nowhere known"):
        replay([copy("sideways")], gpu=GPU)


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: f"{loop.name}, {loop.infer_us} us")
def test_the_model_predicts_what_the_h200_took(loop):
    gpu = dataclasses.replace(H200, infer_ms=loop.infer_us / 1e3)
    per_frame_us = replay(loop.calls(), gpu=gpu).total_us / 100
    assert per_frame_us == pytest.approx(loop.frame_us, rel=0.1)


@pytest.mark.parametrize("kind", ["pinned", "pageable"])
def test_the_rates_fit_the_measured_copies(kind):
    for row in COPIES:
        if row.nbytes >= 1 << 20:
            call = DeviceCall("copy", direction="h2d", nbytes=row.nbytes, pinned=kind == "pinned")
            assert H200.copy_time_us(call) == pytest.approx(getattr(row, f"{kind}_h2d_us"), rel=0.25)


def test_the_loops_do_what_their_names_say():
    by_name = {loop.name: loop.calls(6) for loop in LOOPS}
    naive, pageable, pinned, double = by_name.values()
    assert [sum(call.action == "allocate" for call in calls) for calls in by_name.values()] == [12, 0, 0, 0]
    assert {call.pinned for call in pageable if call.action == "copy"} == {False}
    assert {call.pinned for call in pinned if call.action == "copy"} == {True}
    assert {call.is_async for call in naive if call.action == "copy"} == {False}
    assert [call.stream for call in double if call.action == "infer"] == [1, 2, 1, 2, 1, 2]
    copied = [call.nbytes for call in double if call.action == "copy"]
    assert copied == [FRAME_BYTES, RESULT_BYTES] * 6
