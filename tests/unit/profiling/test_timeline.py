import itertools
import json
import time

import numpy as np
import pytest

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.profiling.stages import STAGES
from yolotrt_lab.profiling.timeline import (
    TimelineEvent,
    record_pipelined_timeline,
    record_timeline,
    write_chrome_trace,
)


class SlowDetector:
    """Sleeps a little in each stage; reuses one buffer, as the real one does; notes which frame each stage saw."""

    def __init__(self, fail_at=None):
        self.buffer = np.zeros((1, 3, 4, 4), np.float32)
        self.fail_at = fail_at
        self.posted = []

    def detect(self, image):
        return None

    def preprocess(self, images):
        self.buffer[:] = images[0][0, 0, 0]
        time.sleep(0.002)
        return self.buffer, (float(images[0][0, 0, 0]),)

    def infer(self, batch):
        time.sleep(0.004)
        if self.fail_at is not None and batch[0, 0, 0, 0] == self.fail_at:
            raise LabError("the engine failed")
        return batch

    def postprocess(self, output, transforms):
        time.sleep(0.001)
        self.posted.append((float(output[0, 0, 0, 0]), transforms[0]))
        return []


def pictures(count):
    return [np.full((4, 4, 3), index, np.uint8) for index in range(count)]


def check(events, frames):
    assert len(events) == 3 * frames
    for lane in STAGES:
        lane_events = sorted((e for e in events if e.lane == lane), key=lambda e: e.start_us)
        assert [e.frame for e in lane_events] == list(range(frames))
        for before, after in itertools.pairwise(lane_events):
            assert after.start_us >= before.start_us + before.duration_us
    for frame in range(frames):
        stages = sorted((e for e in events if e.frame == frame), key=lambda e: e.start_us)
        assert [e.name for e in stages] == list(STAGES)
        for before, after in itertools.pairwise(stages):
            assert after.start_us >= before.start_us + before.duration_us - 1e-3


def overlaps(events):
    return any(
        one.start_us < other.start_us + other.duration_us and other.start_us < one.start_us + one.duration_us
        for one in events
        for other in events
        if one.frame < other.frame
    )


def test_one_after_the_other():
    events = record_timeline(SlowDetector(), pictures(2), frames=4)
    check(events, 4)
    assert events[0].start_us == 0
    assert not overlaps(events)


def test_pipelined_stages_overlap_and_every_frame_keeps_its_own_data():
    detector = SlowDetector()
    events = record_pipelined_timeline(detector, pictures(6), frames=6)
    check(events, 6)
    assert overlaps(events)
    # A pipeline that handed the reused buffer on would mix frames up.
    assert detector.posted == [(float(n), float(n)) for n in range(6)]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("fail_at", [0, 3, 9])
def test_a_failure_in_a_stage_ends_the_pipeline_with_that_error(fail_at):
    with pytest.raises(LabError, match="the engine failed"):
        record_pipelined_timeline(SlowDetector(fail_at=fail_at), pictures(10), frames=10, depth=1)


@pytest.mark.parametrize("record", [record_timeline, record_pipelined_timeline])
@pytest.mark.parametrize(("images", "frames"), [([], 3), (pictures(1), 0)])
def test_nothing_to_record(record, images, frames):
    with pytest.raises(InputError, match="Nothing to record"):
        record(SlowDetector(), images, frames=frames)


def test_chrome_trace(tmp_path):
    events = [TimelineEvent("inference", "gpu", 0, 10.0, 5.5), TimelineEvent("decode", "cpu", 1, 12.0, 1.0)]
    write_chrome_trace(tmp_path / "trace.json", events, process="FP16 engine")
    trace = json.loads((tmp_path / "trace.json").read_text())
    complete = [entry for entry in trace["traceEvents"] if entry["ph"] == "X"]
    assert [(e["name"], e["ts"], e["dur"], e["args"]["frame"]) for e in complete] == [
        ("inference", 10.0, 5.5, 0),
        ("decode", 12.0, 1.0, 1),
    ]
    names = {entry["tid"]: entry["args"]["name"] for entry in trace["traceEvents"] if entry["name"] == "thread_name"}
    assert [names[e["tid"]] for e in complete] == ["gpu", "cpu"]
    assert any(e["name"] == "process_name" and e["args"]["name"] == "FP16 engine" for e in trace["traceEvents"])
