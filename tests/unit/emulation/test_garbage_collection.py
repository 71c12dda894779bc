"""Device memory that the garbage collector frees, at any moment: also while the emulation counts or allocates."""

import faulthandler
import gc

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import Tally, count_work

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
