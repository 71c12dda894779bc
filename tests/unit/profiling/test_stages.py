import json

import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.stages import STAGES, StageBreakdown, measure_stages, time_frame
from yolotrt_lab.profiling.timing import LatencyStats


class ClockedDetector:
    """Stages of known length, by the test's own clock; remembers which images it saw."""

    def __init__(self, clock):
        self.clock = clock
        self.seen = []

    def preprocess(self, images):
        self.seen.append(int(images[0][0, 0, 0]))
        self.clock.advance_ms(2)
        return np.zeros((1, 3, 4, 4), np.float32), ("transform",)

    def infer(self, batch):
        self.clock.advance_ms(7)
        return batch

    def postprocess(self, output, transforms):
        assert transforms == ("transform",)
        self.clock.advance_ms(1)
        return []


def pictures(count):
    return [np.full((4, 4, 3), index, np.uint8) for index in range(count)]


def test_each_stage_gets_its_own_time(clock):
    breakdown = measure_stages(ClockedDetector(clock), pictures(2), warmup=1, repeats=5)
    assert [breakdown.stage(name).p50_ms for name in STAGES] == pytest.approx([2, 7, 1])
    assert breakdown.total_ms == pytest.approx(10)
    assert len(breakdown.inference.samples_ms) == 5


def test_stages_follow_each_other_without_gaps(clock):
    frame = time_frame(ClockedDetector(clock), pictures(1)[0])
    assert sum(frame.duration_ms(stage) for stage in range(3)) == pytest.approx(10)


def test_images_take_turns(clock):
    detector = ClockedDetector(clock)
    measure_stages(detector, pictures(3), warmup=0, repeats=7)
    assert detector.seen == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("bad", [{"images": []}, {"repeats": 0}, {"warmup": -1}])
def test_nothing_to_time(clock, bad):
    settings = {"images": pictures(1), **bad}
    with pytest.raises(InputError, match="Nothing to time"):
        measure_stages(ClockedDetector(clock), settings.pop("images"), **settings)


def test_json_round_trip():
    breakdown = StageBreakdown(*(LatencyStats.from_samples([float(n)]) for n in (1, 2, 3)))
    assert StageBreakdown.from_json(json.loads(json.dumps(breakdown.to_json()))) == breakdown


def test_json_without_a_stage():
    value = StageBreakdown(*(LatencyStats.from_samples([1.0]) for _ in STAGES)).to_json()
    del value["inference"]
    with pytest.raises(InputError, match="incomplete") as caught:
        StageBreakdown.from_json(value)
    assert caught.value.got == "no inference"
