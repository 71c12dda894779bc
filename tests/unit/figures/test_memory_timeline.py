"""Pictures of memory and of what the GPU does when: what they show, and that it can be read."""

import dataclasses

import numpy as np
import pytest
from matplotlib.text import Text

from yolotrt_lab.engines.call_trace import DeviceCall
from yolotrt_lab.figures.memory_timeline import copy_times, device_timelines, memory_paths, outcomes
from yolotrt_lab.profiling.reference_gpu import COPIES, FRAME_BYTES, H200, RESULT_BYTES
from yolotrt_lab.profiling.replay import LANES, replay


def calls(frames=6, *, streams=1, pinned=True, allocate=False):
    made = []
    for number in range(frames):
        stream = 1 + number % streams
        made += [DeviceCall("allocate")] * 2 * allocate
        made += [DeviceCall("wait", stream=stream)] * (number >= streams)
        made.append(DeviceCall("copy", stream=stream, direction="h2d", nbytes=FRAME_BYTES, pinned=pinned))
        made.append(DeviceCall("infer", stream=stream, context=stream))
        made.append(DeviceCall("copy", stream=stream, direction="d2h", nbytes=RESULT_BYTES, pinned=pinned))
    return made


def three():
    return {
        "allocated anew, pageable": replay(calls(pinned=False, allocate=True), gpu=H200, host_us=400),
        "pinned": replay(calls(), gpu=H200, host_us=400),
        "two streams": replay(calls(streams=2), gpu=H200, host_us=400),
    }


IMAGE = np.full((240, 320, 3), 90, np.uint8)
FIGURES = {
    "three programs": lambda: device_timelines(three(), note="A model of an NVIDIA H200, not a measurement."),
    "one program": lambda: device_timelines({"pinned": three()["pinned"]}, frames=2),
    "no program": lambda: device_timelines({}),
    "no calls": lambda: device_timelines({"nothing": replay([], gpu=H200)}),
    "copies": lambda: copy_times(COPIES, sizes={"one frame": FRAME_BYTES}, note="Measured on an NVIDIA H200."),
    "paths": lambda: memory_paths({"pageable": 16.2, "pinned": 55.3}, note="Rates measured on an NVIDIA H200."),
    "paths without rates": lambda: memory_paths({}),
    "outcomes": lambda: outcomes({name: IMAGE for name in ("as it should be", "no wait", "no copy in", "too early")}),
    "many outcomes": lambda: outcomes({f"program {number}": IMAGE for number in range(6)}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_whole_apart_and_large_enough(name, check_legible):
    check_legible(FIGURES[name]())


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def bars(axes, lane):
    row = LANES.index(lane)
    return [patch for patch in axes.patches if abs(patch.get_y() + patch.get_height() / 2 - row) < 0.1]


def test_the_bars_are_the_events():
    result = three()["two streams"]
    axes = device_timelines({"two streams": result}).axes[0]
    for lane in LANES:
        events = sorted((e for e in result.events if e.lane == lane), key=lambda e: e.start_us)
        shown = sorted((bar for bar in bars(axes, lane) if bar.get_width()), key=lambda bar: bar.get_x())
        np.testing.assert_allclose([bar.get_x() for bar in shown], [e.start_us / 1e3 for e in events])
        np.testing.assert_allclose([bar.get_width() for bar in shown], [e.duration_us / 1e3 for e in events])


def test_the_title_says_what_a_frame_takes_and_how_busy_the_engine_is():
    result = dataclasses.replace(three()["pinned"], total_us=6000.0, busy_us={"compute": 3000.0}, frames=6)
    assert "mine: 1.00 ms per frame, the engine busy 50% of the time" in words(device_timelines({"mine": result}))


def test_only_the_first_frames_are_drawn_if_asked():
    axes = device_timelines({"pinned": three()["pinned"]}, frames=2).axes[0]
    assert len([bar for bar in bars(axes, "compute") if bar.get_width()]) == 2


def test_programs_share_the_time_axis():
    first, *others = device_timelines(three()).axes
    assert all(axes.get_xlim() == first.get_xlim() for axes in others)


def test_rates_follow_from_sizes_and_times():
    pinned = copy_times(COPIES, sizes={}).axes[1].get_lines()[0]
    np.testing.assert_allclose(pinned.get_ydata(), [row.nbytes / row.pinned_h2d_us / 1e3 for row in COPIES])


def test_the_paths_carry_their_rates():
    assert "pinned  55 GB/s" in words(memory_paths({"pinned": 55.3}))
    assert "GB/s" not in words(memory_paths({}))


def test_each_outcome_has_its_title_and_no_empty_panel_shows_axes():
    figure = outcomes({f"program {number}": IMAGE for number in range(6)})
    assert sum(len(axes.images) for axes in figure.axes) == 6
    assert not any(axes.axison for axes in figure.axes)
