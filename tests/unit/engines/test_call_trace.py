"""The recorded calls against the emulation's own counters, which count in another place."""

import sys
import threading

import numpy as np
import pytest

from yolotrt_lab.emulation.counters import count_work
from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.call_trace import CallTrace, record_calls
from yolotrt_lab.engines.plan import load_engine
from yolotrt_lab.engines.platform import activate


@pytest.fixture
def cuda():
    activate()
    import pycuda.driver as driver

    driver.init()
    driver.Device(0).retain_primary_context().push()
    yield driver
    driver.Context.pop()


@pytest.fixture
def loaded(detector, tmp_path):
    plan = build_engine(detector(), tmp_path / "tiny.engine", options=EngineOptions(max_batch=2)).path
    return load_engine(plan)


def use_everything(cuda, engine):
    """Make every kind of call that is recorded, some of them twice."""
    stream, event = cuda.Stream(), cuda.Event()
    context = engine.create_execution_context()
    context.set_input_shape("images", (1, 3, 32, 32))
    host = cuda.pagelocked_zeros((1, 3, 32, 32), np.float32)
    result = cuda.pagelocked_empty_like(np.empty((1, 6, 256), np.float32))
    device_in, device_out = cuda.mem_alloc(host.nbytes), cuda.mem_alloc(result.nbytes)
    context.set_tensor_address("images", int(device_in))
    context.set_tensor_address("output0", int(device_out))
    cuda.memcpy_htod(device_in, host.copy())
    cuda.memcpy_htod_async(device_in, host, stream)
    assert context.execute_async_v3(stream.handle)
    cuda.memcpy_dtoh_async(result[:1], device_out, stream)
    event.record(stream)
    event.synchronize()
    cuda.Stream().wait_for_event(event)
    cuda.memcpy_dtoh(np.empty_like(result), device_out)
    cuda.memcpy_dtod(device_in, device_in, 4)
    cuda.memcpy_dtod_async(device_in, device_in, 8, stream)
    stream.synchronize()
    cuda.memcpy_htod_async(device_in, host)
    cuda.Context.synchronize()
    assert context.execute_v2([int(device_in), int(device_out)])


def test_the_trace_agrees_with_the_counters(cuda, loaded):
    with record_calls() as trace, count_work() as measured:
        use_everything(cuda, loaded.engine)
    work = measured.work
    assert (trace.count("allocate"), trace.nbytes("allocate")) == (
        work.allocations.count,
        work.allocations.bytes_total,
    )
    assert (trace.count("allocate_pinned"), trace.nbytes("allocate_pinned")) == (
        work.pinned_allocations.count,
        work.pinned_allocations.bytes_total,
    )
    assert trace.count("stream") == work.streams_created == 2
    assert trace.count("context") == work.execution_contexts == 1
    for direction in ("h2d", "d2h", "d2d"):
        for is_async in (True, False):
            counted = work.copied(direction, is_async=is_async)
            found = {"direction": direction, "is_async": is_async}
            assert (trace.count("copy", **found), trace.nbytes("copy", **found)) == (counted.count, counted.bytes_total)
            assert counted.count > 0
    for pinned in (True, False):
        assert trace.count("copy", pinned=pinned) == work.copied(pinned=pinned).count > 0
    assert trace.count("copy", stream=0) == work.copied(own_stream=False).count
    assert trace.count("infer") == work.enqueue_count == 2
    assert trace.count("wait") + trace.count("infer", is_async=False) == work.synchronization_count
    assert (trace.count("record"), trace.count("hold")) == (1, 1)


def test_order_numbers_and_times(cuda, loaded):
    with record_calls() as trace:
        use_everything(cuda, loaded.engine)
    assert [call.at_us for call in trace.calls] == sorted(call.at_us for call in trace.calls)
    assert all(call.took_us >= 0 for call in trace.calls)
    (waited,) = trace.select("wait", event=0)
    assert waited.stream is None
    assert trace.calls.index(trace.select("record")[0]) < trace.calls.index(waited)
    assert [call.stream for call in trace.select("stream")] == [1, 2]
    assert trace.select("hold")[0].stream == 2
    assert [call.context for call in trace.select("infer")] == [0, 0]
    assert CallTrace.from_json(trace.to_json()) == trace
    lines = trace.lines()
    assert len(lines) == len(trace.calls)
    assert any("pageable, SYNCHRONOUS" in line for line in lines)
    assert any("wait for event 0 before going on" in line for line in lines)


def test_nothing_is_left_behind(cuda, loaded):
    before = {name: getattr(cuda, name) for name in ("mem_alloc", "memcpy_htod_async", "pagelocked_zeros")}
    methods = (cuda.Stream.__init__, cuda.Stream.synchronize, cuda.Context.synchronize, cuda.Event.record)
    with record_calls() as trace:
        assert cuda.mem_alloc is not before["mem_alloc"]
    assert {name: getattr(cuda, name) for name in before} == before
    assert methods == (cuda.Stream.__init__, cuda.Stream.synchronize, cuda.Context.synchronize, cuda.Event.record)
    use_everything(cuda, loaded.engine)
    assert trace.calls == []


def test_everything_is_put_back_after_an_error(cuda):
    original = cuda.mem_alloc
    with pytest.raises(ZeroDivisionError), record_calls():
        raise ZeroDivisionError
    assert cuda.mem_alloc is original


def test_functions_imported_by_name_are_recorded(cuda, monkeypatch):
    names = {"take": cuda.mem_alloc}
    monkeypatch.setattr(sys.modules["__main__"], "take_too", cuda.mem_alloc, raising=False)
    with record_calls(names) as trace:
        names["take"](16)
        sys.modules["__main__"].take_too(32)
    assert [call.nbytes for call in trace.calls] == [16, 32]
    assert names["take"] is cuda.mem_alloc


def test_a_call_that_fails_is_not_recorded(cuda):
    with record_calls() as trace, pytest.raises(cuda.LogicError):
        cuda.memcpy_htod(1234, np.zeros(4, np.float32))
    assert trace.calls == []


def test_other_threads_are_left_alone(cuda):
    def allocate():
        cuda.Device(0).retain_primary_context().push()
        cuda.mem_alloc(64)
        cuda.Context.pop()

    with record_calls() as trace:
        thread = threading.Thread(target=allocate)
        thread.start()
        thread.join()
        cuda.mem_alloc(32)
    assert [call.nbytes for call in trace.calls] == [32]


def test_recordings_nest(cuda):
    with record_calls() as outer:
        cuda.mem_alloc(8)
        with record_calls() as inner:
            cuda.mem_alloc(16)
        cuda.mem_alloc(32)
    assert [call.nbytes for call in inner.calls] == [16]
    assert [call.nbytes for call in outer.calls] == [8, 16, 32]
