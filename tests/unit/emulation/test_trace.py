import dataclasses
import faulthandler
import gc
import threading

import numpy as np
import pytest

from yolotrt_lab.emulation.cuda import transfers
from yolotrt_lab.emulation.cuda.transfers import HostBytes
from yolotrt_lab.emulation.device import device
from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.streams import Event, Scheduler
from yolotrt_lab.emulation.timeline import modelled_timeline
from yolotrt_lab.emulation.trace import Record, Task, active, record_timeline


@pytest.fixture
def scheduler():
    return Scheduler()


def test_records_are_the_calls_in_their_order_with_what_they_come_after(scheduler):
    event = Event()
    with record_timeline() as recording:
        one, other = scheduler.create_stream().handle, scheduler.create_stream().handle
        scheduler.enqueue(one, lambda: None, Task("copy", nbytes=8, direction="h2d"))  # 0
        scheduler.record(event, one)  # 1
        scheduler.wait_for_event(other, event)  # 2
        scheduler.enqueue(other, lambda: None, Task("inference", name="tiny"))  # 3
        scheduler.enqueue(0, lambda: None, Task("memset", nbytes=4))  # 4
        scheduler.synchronize_event(event)  # 5
        scheduler.synchronize_device()  # 6
    records = recording.records
    assert [(r.call, r.task.kind if r.task else r.what, r.after, r.awaits) for r in records] == [
        ("enqueue", "copy", (), ()),
        ("enqueue", "event", (0,), ()),
        ("enqueue", "wait", (1,), ()),
        ("enqueue", "inference", (2,), ()),
        ("enqueue", "memset", (1, 3), ()),
        ("synchronize", "event", (), (1,)),
        ("synchronize", "device", (), (1, 3, 4)),
    ]
    assert [r.stream for r in records[:5]] == [one, one, other, other, 0]
    assert all(r.measured_ms is not None and r.measured_ms >= 0 for r in records if r.task and r.task.kind == "copy")


def test_order_does_not_depend_on_when_the_emulation_ran_the_work(scheduler):
    """Work that ran at once, or was waited for by way of another stream, still is what later work comes after."""
    with record_timeline() as recording:
        stream = scheduler.create_stream().handle
        scheduler.enqueue(stream, lambda: None, Task("copy", nbytes=8, direction="d2h", pinned=False), at_once=True)
        scheduler.enqueue(stream, lambda: None, Task("inference"))
        scheduler.enqueue(0, lambda: None, Task("memset"))
    assert [record.after for record in recording.records] == [(), (0,), (1,)]


def test_a_record_cannot_be_changed(scheduler):
    with record_timeline() as recording:
        scheduler.synchronize_device()
    with pytest.raises(dataclasses.FrozenInstanceError):
        recording.records[0].call = "poll"


def test_only_the_block_is_recorded_and_an_inner_one_takes_over(scheduler):
    scheduler.enqueue(0, lambda: None, Task("copy", direction="h2d"))
    with record_timeline() as outer:
        scheduler.enqueue(0, lambda: None, Task("inference"))
        with record_timeline() as inner:
            scheduler.synchronize_stream(0)
        scheduler.synchronize_stream(0)
    scheduler.synchronize_stream(0)
    assert active() is None
    assert [record.call for record in outer.records] == ["enqueue", "synchronize"]
    assert outer.records[0].after == (), "what came before is taken as done"
    assert [(record.call, record.awaits) for record in inner.records] == [("synchronize", ())]


def test_recording_ends_when_the_block_fails(scheduler):
    def fail():
        raise DeviceFault("illegal address", "no such memory")

    scheduler.enqueue(0, fail)
    with pytest.raises(DeviceFault), record_timeline() as recording:
        scheduler.synchronize_stream(0)
    assert active() is None
    assert [record.call for record in recording.records] == ["synchronize"]


def test_threads_are_numbered_in_the_order_of_their_calls(scheduler):
    with record_timeline() as recording:
        scheduler.synchronize_device()
        for _ in range(2):
            thread = threading.Thread(target=scheduler.synchronize_device)
            thread.start()
            thread.join()
        scheduler.synchronize_device()
    assert [record.thread for record in recording.records][::3] == [0, 0]
    assert recording.records[1].thread > 0


def test_the_programs_own_time_leaves_out_the_waiting(scheduler, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work():
        now[0] += 5.0

    with record_timeline() as recording:
        now[0] += 0.002
        scheduler.enqueue(0, work, Task("inference"))
        scheduler.synchronize_stream(0)
        now[0] += 0.003
        scheduler.synchronize_stream(0)
    assert [record.program_ms for record in recording.records] == pytest.approx([2.0, 0.0, 3.0])
    assert recording.records[0].measured_ms == pytest.approx(5000)


class TestCopies:
    @pytest.fixture
    def memory(self):
        return device().heap.allocate(64).address

    @pytest.mark.parametrize(("stream", "pinned"), [(None, False), (None, True), (0, False), (0, True)], ids=str)
    def test_copies_say_what_they_are(self, memory, stream, pinned):
        array = device().pinned.allocate(64) if pinned else np.zeros(64, np.uint8)
        with record_timeline() as recording:
            transfers.copy_h2d(memory, HostBytes.from_buffer(array, writable=False), stream=stream)
        task = recording.records[0].task
        assert task == Task("copy", nbytes=64, direction="h2d", pinned=pinned, is_async=stream is not None)

    def test_memory_is_recorded_but_not_what_a_stream_frees(self, memory):
        with record_timeline() as recording:
            address = device().heap.allocate(32).address
            device().heap.free(address)
            device().scheduler.enqueue(0, lambda: device().heap.free(memory), Task("free"))
            device().scheduler.synchronize_stream(0)
        shown = [(record.call, record.what, record.nbytes) for record in recording.records]
        assert shown == [
            ("allocate", "device", 32), ("free", "", 0), ("enqueue", "", 0), ("synchronize", "stream", 0)
        ]  # fmt: skip


def test_memory_that_the_collector_frees_while_a_call_is_recorded(cuda, monkeypatch):
    """The collector may run at any moment; here it does whenever a record is made."""

    class Cycle:
        def __init__(self, content):
            self.content, self.itself = content, self

    def record_after_collecting(*args, **kwargs):
        gc.collect()
        return Record(*args, **kwargs)

    stream, host, memory = cuda.Stream(), np.zeros(64, np.uint8), cuda.mem_alloc(64)
    faulthandler.dump_traceback_later(60, exit=True)  # rather die than hang
    with record_timeline() as recording:
        for _ in range(3):
            Cycle(cuda.mem_alloc(64))
            with monkeypatch.context() as patch:
                patch.setattr("yolotrt_lab.emulation.trace.Record", record_after_collecting)
                cuda.memcpy_htod_async(memory, host, stream)
            stream.synchronize()
        cuda.mem_alloc(64).free()  # what the collector found in the middle of something is freed at the next occasion
    faulthandler.cancel_dump_traceback_later()
    records = recording.records
    assert [record.number for record in records] == list(range(len(records)))
    assert sum(record.call == "free" for record in records) == 4
    assert modelled_timeline(records).makespan_us > 0


def test_pycuda_programs_are_recorded_like_others(cuda):
    stream, start, end = cuda.Stream(), cuda.Event(), cuda.Event()
    pinned, pageable = cuda.pagelocked_empty(64, np.uint8), np.zeros(64, np.uint8)
    memory = cuda.mem_alloc(64)
    with record_timeline() as recording:
        start.record(stream)
        cuda.memcpy_htod_async(memory, pinned, stream)
        cuda.memcpy_dtoh_async(pageable, memory, stream)
        end.record(stream)
        end.synchronize()
    copies = [record for record in recording.records if record.task and record.task.kind == "copy"]
    assert [(r.task.direction, r.task.pinned, r.stream) for r in copies] == [
        ("h2d", True, stream.handle),
        ("d2h", False, stream.handle),
    ]
    assert recording.records[-1].awaits == (recording.records[-2].number,)
    assert start.time_till(end) >= sum(r.measured_ms for r in copies)


def test_events_around_an_inference_take_its_time(lab, model, cudart, images):
    def call(result):
        assert int(result[0]) == 0
        return result[1] if len(result) > 1 else None

    engine = lab.engine(model())
    context = engine.create_execution_context()
    data = images()
    output_bytes = int(np.prod(engine.get_tensor_shape("output0"))) * 4
    stream, start, end = call(cudart.cudaStreamCreate()), call(cudart.cudaEventCreate()), call(cudart.cudaEventCreate())
    context.set_tensor_address("images", call(cudart.cudaMalloc(data.nbytes)))
    context.set_tensor_address("output0", call(cudart.cudaMalloc(output_bytes)))
    call(cudart.cudaMemcpy(context.get_tensor_address("images"), data, data.nbytes, cudart.cudaMemcpyKind(1)))
    with record_timeline() as recording:
        call(cudart.cudaEventRecord(start, stream))
        for _ in range(3):
            assert context.execute_async_v3(int(stream))
        call(cudart.cudaEventRecord(end, stream))
        call(cudart.cudaEventSynchronize(end))
    measured_ms = [r.measured_ms for r in recording.records if r.task and r.task.kind == "inference"]
    assert call(cudart.cudaEventElapsedTime(start, end)) >= sum(measured_ms) > 0


def test_an_engine_is_recorded_with_its_name_layers_and_times(lab, model, cudart, infer, images):
    engine = lab.engine(model())
    context = engine.create_execution_context()

    class Profiler(lab.trt.IProfiler):
        def __init__(self):
            lab.trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name, ms):
            pass

    with record_timeline() as recording:
        infer(context, images())
        context.profiler = Profiler()
        infer(context, images())
    plain, profiled = (r for r in recording.records if r.task and r.task.kind == "inference")
    assert (plain.task.name, plain.task.kernels) == (engine.name, engine.num_layers)
    assert plain.measured_ms > 0
    assert plain.layers_ms == ()
    assert len(profiled.layers_ms) == engine.num_layers
    timeline = modelled_timeline(recording.records)
    assert len(timeline.layers) == sum(time_ms > 0 for _, time_ms in profiled.layers_ms)
    assert timeline.unawaited == frozenset()
