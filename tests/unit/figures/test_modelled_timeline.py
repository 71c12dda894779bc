"""Drawn timelines: legible, on light and dark paper, and the bars are the spans."""

import dataclasses

import numpy as np
import pytest
from matplotlib.text import Text

from yolotrt_lab.emulation.cost_model import PCIE4_X16
from yolotrt_lab.emulation.timeline import modelled_timeline
from yolotrt_lab.emulation.trace import Record, Task
from yolotrt_lab.figures.modelled_timeline import modelled_timelines
from yolotrt_lab.report.plots.style import luminance

COSTS = dataclasses.replace(PCIE4_X16, inference_ms=0.6)


def program(*, streams=1, pinned=True, waits=True, frames=4):
    """Return the timeline of frames that take turns on streams."""
    records, last = [], {}
    for frame in range(frames):
        stream = 16 * (1 + frame % streams)
        if waits and stream in last:
            records.append(Record(len(records), "synchronize", what="stream", awaits=(last[stream],)))
        for task in (
            Task("copy", nbytes=4 << 20, direction="h2d", pinned=pinned),
            Task("inference", name="tiny", context=stream, kernels=20),
            Task("copy", nbytes=2 << 20, direction="d2h", pinned=pinned),
        ):
            after = (last[stream],) if stream in last else ()
            records.append(Record(len(records), "enqueue", task=task, stream=stream, after=after))
            last[stream] = len(records) - 1
    if waits:
        records.append(Record(len(records), "synchronize", what="device", awaits=tuple(last.values())))
    return modelled_timeline(records, COSTS)


def every_kind():
    stream = {"stream": 16}
    tasks = [Task("memset", nbytes=1 << 26), Task("host function"), Task("copy", nbytes=1 << 20, direction="h2h")]
    records = [
        Record(n, "enqueue", task=task, after=(n - 1,) if n else (), measured_ms=0.3, program_ms=0.4, **stream)
        for n, task in enumerate(tasks)
    ]
    return modelled_timeline(records, dataclasses.replace(COSTS, program_scale=1.0))


FIGURES = {
    "serial and overlapped": lambda **dark: modelled_timelines(
        {
            "One stream, pinned": program(),
            "Two streams, pinned": program(streams=2),
            "Two streams, pageable": program(streams=2, pinned=False),
        },
        note="YOLOv5n at 640",
        **dark,
    ),
    "nobody waits": lambda **dark: modelled_timelines({"No wait for $5": program(waits=False)}, **dark),
    "every kind": lambda **dark: modelled_timelines({"Everything": every_kind()}, **dark),
    "nothing recorded": lambda **dark: modelled_timelines({"Nothing": modelled_timeline([])}, **dark),
    "no program": lambda **dark: modelled_timelines({}, **dark),
}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", FIGURES)
def test_text_is_whole_apart_and_stands_out(name, dark, check_legible):
    figure = FIGURES[name](dark=dark)
    texts = check_legible(figure)
    paper = luminance(figure.get_facecolor())
    assert (paper < 0.05) is dark
    assert all(luminance(axes.get_facecolor()) == paper for axes in figure.axes)
    for text, _ in texts:
        if not text.get_text().isdigit():  # numbers stand in bars
            bright, faint = max(paper, luminance(text.get_color())), min(paper, luminance(text.get_color()))
            assert (bright + 0.05) / (faint + 0.05) >= 4.5, text


def words(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_bars_are_the_spans():
    timeline = program(streams=2)
    (axes,) = modelled_timelines({"two": timeline}).axes
    for row, lane in enumerate(timeline.lanes):
        bars = [bar for bar in axes.patches if abs(bar.get_y() + bar.get_height() / 2 - row) < 0.1]
        spans = timeline.on(lane)
        np.testing.assert_allclose(sorted(bar.get_x() for bar in bars), [span.start_us / 1e3 for span in spans])
        total_ms = sum(span.duration_us for span in spans) / 1e3
        np.testing.assert_allclose(sum(bar.get_width() for bar in bars), total_ms)


def test_programs_share_the_time_axis():
    axes = FIGURES["serial and overlapped"]().axes
    assert len({axis.get_xlim() for axis in axes}) == 1


@pytest.mark.parametrize("dark", [False, True])
def test_it_says_that_it_is_modelled(dark):
    shown = words(FIGURES["serial and overlapped"](dark=dark))
    assert "Modelled, not measured: a workstation GPU" in shown
    assert "Modelled time (ms)" in shown


def test_titles_tell_the_time_and_the_overlap():
    serial, overlapped = program(), program(streams=2)
    shown = words(modelled_timelines({"one": serial, "two": overlapped}))
    assert f"one: {serial.makespan_us / 1e3:.2f} ms, nothing overlaps" in shown
    assert f"overlap for {overlapped.overlap_us() / 1e3:.2f} ms" in shown


def test_work_that_nobody_waits_for_is_hatched():
    waiting, not_waiting = (modelled_timelines({"it": program(waits=waits)}) for waits in (True, False))
    assert "nobody waits for it" in words(not_waiting)
    assert "nobody waits for it" not in words(waiting)
    assert sum(bar.get_hatch() is not None for bar in not_waiting.axes[0].patches) == 12
    assert not any(bar.get_hatch() for bar in waiting.axes[0].patches)
