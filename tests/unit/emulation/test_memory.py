import bisect
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolotrt_lab.emulation import memory
from yolotrt_lab.emulation.memory import ALIGNMENT, Allocation, DeviceFault, DeviceHeap, PinnedHeap


@pytest.fixture
def heap():
    return DeviceHeap(1 << 20)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_fresh_memory_is_nan(heap, dtype):
    assert np.isnan(heap.allocate(64).payload.view(dtype)).all()


def test_fresh_memory_is_nan_as_bf16(heap):
    as_fp32 = heap.allocate(64).payload.view(np.uint16).astype(np.uint32) << 16
    assert np.isnan(as_fp32.view(np.float32)).all()


def test_odd_sizes_are_poisoned_to_the_last_byte(heap):
    assert 0 not in heap.allocate(7).payload


@pytest.mark.parametrize("nbytes", [1, 255, 4096])
def test_addresses_are_aligned_and_real(heap, nbytes):
    allocation = heap.allocate(nbytes)
    assert allocation.address % ALIGNMENT == 0
    assert allocation.payload.ctypes.data == allocation.address


@pytest.mark.parametrize("nbytes", [0, -1])
def test_sizes_must_be_positive(heap, nbytes):
    with pytest.raises(DeviceFault, match="positive size") as caught:
        heap.allocate(nbytes)
    assert caught.value.kind == "invalid value"


def test_the_device_can_be_full():
    heap = DeviceHeap(1000)
    held = heap.allocate(600)
    with pytest.raises(DeviceFault, match="400 of 1000 bytes free") as caught:
        heap.allocate(401)
    assert caught.value.kind == "out of memory"
    heap.free(held.address)
    heap.allocate(1000)


def test_double_free(heap):
    address = heap.allocate(16).address
    heap.free(address)
    with pytest.raises(DeviceFault, match="freed before"):
        heap.free(address)


@pytest.mark.parametrize(
    ("offset", "message"), [(4, "inside an allocation"), (100_000, "not device memory")], ids=["inside", "elsewhere"]
)
def test_free_of_what_is_no_start(heap, offset, message):
    allocation = heap.allocate(16)
    with pytest.raises(DeviceFault, match=message):
        heap.free(allocation.address + offset)


def test_null_pointer_is_named(heap):
    with pytest.raises(DeviceFault, match="null pointer"):
        heap.locate(0, 4, what="a copy")


def test_use_after_free(heap):
    address = heap.allocate(16).address
    heap.free(address)
    with pytest.raises(DeviceFault, match=r"input tensor 'x' uses .* freed before"):
        heap.locate(address, 4, what="input tensor 'x'")


def test_freed_memory_is_overwritten(heap):
    allocation = heap.allocate(16)
    payload = allocation.payload
    payload[:] = 0
    heap.free(allocation.address)
    assert np.isnan(payload.view(np.float32)).all()


def test_out_of_bounds_says_how_much_there_is(heap):
    allocation = heap.allocate(16)
    found, offset = heap.locate(allocation.address + 8, 8, what="a copy")
    assert (found, offset) == (allocation, 8)
    with pytest.raises(DeviceFault, match=r"needs 9 bytes .* only 8 bytes"):
        heap.locate(allocation.address + 8, 9, what="a copy")


def test_one_past_the_end_belongs_to_nobody(heap):
    allocation = heap.allocate(16)
    assert heap.owns(allocation.address + 15)
    assert not heap.owns(allocation.address + 16)
    with pytest.raises(DeviceFault, match=r"this is 3 bytes behind the end of the 16 bytes at 0x"):
        heap.locate(allocation.address + 19, 1, what="a copy")


@pytest.mark.parametrize("position", [-1, 16])
def test_damaged_guard_zones_show_on_free(heap, position):
    allocation = heap.allocate(16)
    start = allocation.address - allocation.storage.ctypes.data
    allocation.storage[start + position] ^= 1
    with pytest.raises(DeviceFault, match="outside the 16 bytes"):
        heap.free(allocation.address)
    assert len(heap) == 0


def test_freed_memory_is_not_kept_for_ever():
    heap = DeviceHeap(1 << 40)
    first = heap.allocate(40 << 20).address
    heap.free(first)
    heap.free(heap.allocate(40 << 20).address)
    with pytest.raises(DeviceFault, match="not device memory"):
        heap.free(first)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=8))
def test_written_bytes_are_remembered_exactly(writes):
    allocation = Allocation(0, 64, np.zeros(64, np.uint8))
    truth = set()
    for offset, nbytes in writes:
        allocation.mark_written(offset, nbytes)
        truth |= set(range(offset, offset + nbytes))
    for offset in range(42):
        for nbytes in (1, 3, 10):
            assert allocation.is_written(offset, nbytes) == (set(range(offset, offset + nbytes)) <= truth)


def test_nothing_is_always_written():
    assert Allocation(0, 8, np.zeros(8, np.uint8)).is_written(3, 0)


def test_pinned_memory_is_recognised_by_address():
    heap = PinnedHeap()
    buffer = heap.allocate(32)
    address = buffer.ctypes.data
    assert np.isnan(buffer.view(np.float32)).all()
    assert heap.locate(address + 8, 24).ctypes.data == address + 8
    assert heap.locate(address + 8, 25) is None
    assert heap.locate(address - 1, 4) is None
    heap.free(address)
    assert heap.locate(address, 4) is None
    with pytest.raises(DeviceFault, match="not page-locked"):
        heap.free(address)


def test_the_device_reaches_page_locked_memory():
    pinned = PinnedHeap()
    heap = DeviceHeap(1 << 20, pinned=pinned)
    host = pinned.allocate(16)
    address = host.ctypes.data
    allocation, offset = heap.locate(address + 4, 12, what="input tensor 'x'")
    assert (offset, allocation.payload.ctypes.data, allocation.is_written(0, 16)) == (4, address, True)
    assert heap.locate(address, 1, what="a copy")[0] is allocation
    assert not heap.owns(address)
    with pytest.raises(DeviceFault, match=r"needs 13 bytes .* but the page-locked memory has 12 there"):
        heap.locate(address + 4, 13, what="input tensor 'x'")
    pinned.free(address)
    with pytest.raises(DeviceFault, match="this is not device memory"):
        heap.locate(address, 1, what="a copy")


def test_addresses_of_page_locked_memory():
    pinned = PinnedHeap()
    host = pinned.allocate(16)
    assert pinned.holder(host.ctypes.data + 15) is host
    assert pinned.holder(host.ctypes.data + 16) is None


def test_renewed_memory_is_like_fresh(heap):
    allocation = heap.allocate(16)
    allocation.payload[:] = 0
    allocation.mark_written(0, 16)
    heap.renew(allocation.address)
    assert np.isnan(allocation.payload.view(np.float32)).all()
    assert not allocation.is_written(0, 1)


def test_an_allocation_is_released_once(heap):
    allocation = heap.allocate(16)
    heap.release(allocation)
    heap.release(allocation)
    assert len(heap) == 0


def test_living_memory_is_listed_in_the_order_of_addresses(heap):
    made = [heap.allocate(16) for _ in range(4)]
    heap.free(made.pop(1).address)
    assert heap.living() == sorted(made, key=lambda allocation: allocation.address)
    assert heap.starts_at(made[0].address)
    assert not heap.starts_at(made[0].address + 1)


def test_threads_may_use_a_heap_at_once(monkeypatch):
    """Even if one is interrupted where it is most vulnerable: after it looked up a place in the table."""

    def slow(*arguments):
        found = bisect.bisect_right(*arguments)
        time.sleep(1e-5)
        return found

    monkeypatch.setattr(memory, "bisect", SimpleNamespace(bisect_right=slow, insort=bisect.insort))
    heap, failures = DeviceHeap(1 << 24), []

    def work():
        try:
            for size in range(1, 60):
                made = heap.allocate(size)
                assert heap.locate(made.address, size, what="a copy") == (made, 0)
                heap.free(made.address)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert (len(heap), heap.used) == (0, 0)
