"""On a GPU, work is counted by the calls that a program makes; both ways of counting must agree."""

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import count_work
from yolotrt_lab.engines.call_trace import record_calls
from yolotrt_lab.grading.suite import load_exercise
from yolotrt_lab.runtimes.tensorrt_buffers import EngineBuffers

tiny = load_exercise("lab5.buffers").module.tiny


def by_kind(copies):
    """Return count and bytes by everything but the stream, whose names differ: handles here, numbers there."""
    sums = {}
    for copy in copies:
        key = (copy["direction"], copy["is_async"], copy["pinned"], copy["stream"] != 0)
        count, nbytes = sums.get(key, (0, 0))
        sums[key] = (count + copy["count"], nbytes + copy["bytes"])
    return sums


def use(engine, *, careless):
    import pycuda.driver as cuda

    buffers, images = EngineBuffers(engine, 2), np.zeros((2, 3, tiny.SIZE, tiny.SIZE), np.float32)
    for _ in range(3):
        buffers.submit({"images": images})
        buffers.wait()
    if careless:
        memory = cuda.mem_alloc(images.nbytes)
        cuda.memcpy_htod(memory, images)
        cuda.memcpy_htod_async(memory, images)
        cuda.Context.synchronize()


@pytest.mark.parametrize("careless", [False, True])
def test_the_two_ways_of_counting_agree(careless):
    engine = tiny.engine_of(tiny.network(np.random.default_rng(0)), 2)
    with tiny.settled(), record_calls() as trace, count_work() as measured:
        use(engine, careless=careless)
    seen, expected = tiny._from_calls(trace), tiny._from_counters(measured.work)
    assert by_kind(seen.pop("copies")) == by_kind(expected.pop("copies"))
    assert [count for _, count in seen.pop("enqueues")] == [count for _, count in expected.pop("enqueues")] == [3]
    assert seen == expected
    assert (seen["allocations"], seen["waits"], seen["device_waits"]) == (3 + careless, 3 + careless, careless)
