import numpy as np
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.throughput import ThroughputPoint, measure_throughput, random_feeds
from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.types import TensorSpec


class Clocked(Runtime):
    """A batch takes 4 ms and 1 ms per image more, by the test's own clock."""

    def __init__(self, clock, shape=(None, 3, 8, 8), dtype="float32", input_hw=None):
        spec = (TensorSpec("images", dtype, shape),)
        super().__init__(name="Clocked", backend="x", platform="cpu", inputs=spec, outputs=spec, input_hw=input_hw)
        self.clock = clock
        self.batches = []

    def _infer(self, feeds):
        self.batches.append(len(feeds["images"]))
        self.clock.advance_ms(4 + len(feeds["images"]))
        return dict(feeds)

    def _close(self):
        pass


def test_images_per_second(clock):
    runtime = Clocked(clock)
    points = measure_throughput(lambda _: runtime, batches=(1, 2, 6), warmup=1, repeats=4)
    assert [point.batch for point in points] == [1, 2, 6]
    assert [point.latency.p50_ms for point in points] == pytest.approx([5, 6, 10])
    assert [point.images_per_s for point in points] == pytest.approx([200, 333.333, 600], rel=1e-4)
    assert runtime.batches == [1] * 5 + [2] * 5 + [6] * 5


def test_a_slow_call_counts():
    """The median would hide the one call in four that takes ten times as long."""
    point = ThroughputPoint(2, LatencyStats.from_samples([10, 10, 10, 100]))
    assert point.images_per_s == pytest.approx(1000 * 2 * 4 / 130)
    low, high = point.images_per_s_interval
    assert low < point.images_per_s < high


def test_each_batch_may_have_its_own_runtime(clock):
    opened = {batch: Clocked(clock, shape=(batch, 3, 8, 8)) for batch in (1, 2)}
    points = measure_throughput(opened.__getitem__, batches=(1, 2), warmup=0, repeats=2)
    assert [point.batch for point in points] == [1, 2]


@pytest.mark.parametrize("batches", [(), (0,), (2, -1)])
def test_batches_out_of_range(batches, clock):
    with pytest.raises(InputError, match="Batch sizes"):
        measure_throughput(lambda _: Clocked(clock), batches=batches)


def test_a_fixed_batch_refuses_others(clock):
    with pytest.raises(InputError, match="cannot run batch 2") as caught:
        random_feeds(Clocked(clock, shape=(1, 3, 8, 8)), batch=2)
    assert "dynamic batch" in caught.value.fix


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1), ("float16", 1), ("uint8", 255)])
def test_random_feeds_fit(clock, dtype, most):
    feeds = random_feeds(Clocked(clock, dtype=dtype), batch=3)
    assert feeds["images"].shape == (3, 3, 8, 8)
    assert feeds["images"].dtype == np.dtype(dtype)
    assert 0 <= feeds["images"].min() < feeds["images"].max() <= most


def test_an_open_size_takes_the_models_own(clock):
    assert random_feeds(Clocked(clock, shape=(None, 3, None, None), input_hw=(16, 24)))["images"].shape == (
        1,
        3,
        16,
        24,
    )
    with pytest.raises(InputError, match="size that is not known"):
        random_feeds(Clocked(clock, shape=(None, 3, None, None)))
