"""Device memory that the garbage collector frees, at any moment: also while the emulation counts or allocates."""

import faulthandler
import gc

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import Tally, count_work
from yolotrt_lab.emulation.device import device

DATA = np.arange(16, dtype=np.float32)


@pytest.fixture
def _rather_die_than_hang():
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Cycle:
    """Something that only the garbage collector can free, like a closure over its own buffers."""

    def __init__(self, *content):
        self.content, self.itself = content, self


@pytest.mark.usefixtures("_rather_die_than_hang")
def test_memory_that_the_collector_frees_while_the_emulation_counts(cuda, monkeypatch):
    plain_addition = Tally.__add__

    def addition_that_starts_the_collector(self, other):
        gc.collect()
        return plain_addition(self, other)

    monkeypatch.setattr(Tally, "__add__", addition_that_starts_the_collector)
    stream = cuda.Stream()
    with count_work() as measured:
        for _ in range(3):
            memory = cuda.mem_alloc(DATA.nbytes)
            cuda.memcpy_htod_async(memory, DATA, stream)
            back = cuda.pagelocked_empty(DATA.shape, DATA.dtype)
            cuda.memcpy_dtoh_async(back, memory, stream)
            stream.synchronize()
            assert (back == DATA).all()
            Cycle(memory, back, cuda.Event().record(stream), cuda.Stream())
            del memory, back
        gc.collect()
    assert measured.work.allocations.count == measured.work.frees == 3


@pytest.mark.parametrize("how", ["free", "del"])
def test_memory_is_freed_when_the_work_that_uses_it_is_done(cuda, how):
    """`cuMemFree` waits for the device, whoever calls it."""
    stream, memory, back = cuda.Stream(), cuda.to_device(DATA), cuda.pagelocked_empty_like(DATA)
    cuda.memcpy_dtoh_async(back, memory, stream)
    assert not np.array_equal(back, DATA)
    if how == "free":
        memory.free()
    del memory
    assert np.array_equal(back, DATA)
    stream.synchronize()


def test_work_that_fails_while_memory_is_given_back(cuda, capfd):
    stream, memory, stale = cuda.Stream(), cuda.mem_alloc(4), cuda.mem_alloc(4)
    address = int(stale)
    stale.free()
    device().scheduler.enqueue(stream.handle, lambda: device().heap.locate(address, 4, what="late work"))
    del memory
    printed = capfd.readouterr().err
    assert "PyCUDA WARNING: a clean-up operation failed (dead context maybe?)" in printed
    assert "cuMemFree failed: an illegal memory access was encountered" in printed
