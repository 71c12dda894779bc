import pytest

from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.streams import Event, Scheduler


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def done():
    return []


def later(done, name):
    return lambda: done.append(name)


def test_work_waits_for_its_synchronisation_and_keeps_its_order(scheduler, done):
    stream = scheduler.create_stream()
    for name in "abc":
        scheduler.enqueue(stream.handle, later(done, name))
    assert done == []
    scheduler.synchronize_stream(stream.handle)
    assert done == ["a", "b", "c"]
    scheduler.synchronize_stream(stream.handle)
    assert done == ["a", "b", "c"]


def test_synchronising_one_stream_leaves_the_others_alone(scheduler, done):
    one, two = scheduler.create_stream(), scheduler.create_stream()
    scheduler.enqueue(one.handle, later(done, "one"))
    scheduler.enqueue(two.handle, later(done, "two"))
    scheduler.synchronize_stream(two.handle)
    assert done == ["two"]


def test_the_default_stream_waits_for_blocking_streams(scheduler, done):
    stream = scheduler.create_stream()
    scheduler.enqueue(stream.handle, later(done, "own"))
    scheduler.enqueue(0, later(done, "default"))
    scheduler.synchronize_stream(0)
    assert done == ["own", "default"]


def test_blocking_streams_wait_for_the_default_stream(scheduler, done):
    stream = scheduler.create_stream()
    scheduler.enqueue(0, later(done, "default"))
    scheduler.enqueue(stream.handle, later(done, "own"))
    scheduler.synchronize_stream(stream.handle)
    assert done == ["default", "own"]


def test_non_blocking_streams_and_the_default_stream_ignore_each_other(scheduler, done):
    stream = scheduler.create_stream(blocking=False)
    scheduler.enqueue(stream.handle, later(done, "own"))
    scheduler.run_before_default()
    scheduler.enqueue(0, later(done, "default"))
    scheduler.synchronize_stream(0)
    assert done == ["default"]


def test_an_event_orders_two_streams(scheduler, done):
    copying, computing, event = scheduler.create_stream(), scheduler.create_stream(), Event()
    scheduler.enqueue(copying.handle, later(done, "copy"))
    scheduler.record(event, copying.handle)
    scheduler.enqueue(copying.handle, later(done, "after the event"))
    scheduler.wait_for_event(computing.handle, event)
    scheduler.enqueue(computing.handle, later(done, "compute"))
    scheduler.synchronize_stream(computing.handle)
    assert done == ["copy", "compute"]


def test_without_an_event_the_order_of_two_streams_is_the_inconvenient_one(scheduler, done):
    copying, computing = scheduler.create_stream(), scheduler.create_stream()
    scheduler.enqueue(copying.handle, later(done, "copy"))
    scheduler.enqueue(computing.handle, later(done, "compute"))
    scheduler.synchronize_device()
    assert done == ["compute", "copy"]


def test_an_event_never_recorded_is_no_obstacle(scheduler, done):
    stream = scheduler.create_stream()
    scheduler.wait_for_event(stream.handle, Event())
    scheduler.enqueue(stream.handle, later(done, "a"))
    scheduler.synchronize_stream(stream.handle)
    assert done == ["a"]


def test_synchronising_with_an_event_stops_there(scheduler, done):
    stream, event = scheduler.create_stream(), Event()
    scheduler.enqueue(stream.handle, later(done, "before"))
    scheduler.record(event, stream.handle)
    scheduler.enqueue(stream.handle, later(done, "behind"))
    scheduler.synchronize_event(event)
    assert done == ["before"]
    assert event.time_s is not None


def test_recording_again_moves_the_event(scheduler, done):
    stream, event = scheduler.create_stream(), Event()
    scheduler.record(event, stream.handle)
    scheduler.enqueue(stream.handle, later(done, "a"))
    scheduler.record(event, stream.handle)
    scheduler.synchronize_event(event)
    assert done == ["a"]


def test_polling_is_not_ready_first_and_then_gets_there(scheduler, done):
    stream, event = scheduler.create_stream(), Event()
    scheduler.enqueue(stream.handle, later(done, "a"))
    scheduler.record(event, stream.handle)
    assert not scheduler.poll_event(event)
    assert scheduler.poll_event(event)
    assert done == ["a"]
    scheduler.enqueue(stream.handle, later(done, "b"))
    assert not scheduler.poll_stream(stream.handle)
    assert scheduler.poll_stream(stream.handle)


def test_a_fault_reaches_who_synchronises_and_drops_the_rest(scheduler, done):
    stream = scheduler.create_stream()

    def fail():
        raise DeviceFault("illegal address", "no such memory")

    scheduler.enqueue(stream.handle, fail)
    scheduler.enqueue(stream.handle, later(done, "behind"))
    with pytest.raises(DeviceFault, match="no such memory"):
        scheduler.synchronize_stream(stream.handle)
    scheduler.synchronize_stream(stream.handle)
    assert done == []


def test_long_alternating_queues_do_not_recurse(scheduler, done):
    stream = scheduler.create_stream()
    for number in range(5000):
        scheduler.enqueue(0 if number % 2 else stream.handle, later(done, number))
    scheduler.synchronize_device()
    assert done == list(range(5000))


def test_destroying_a_stream_finishes_its_work(scheduler, done):
    stream = scheduler.create_stream()
    scheduler.enqueue(stream.handle, later(done, "a"))
    scheduler.destroy_stream(stream.handle)
    assert done == ["a"]
    with pytest.raises(DeviceFault, match="not a stream, or was destroyed"):
        scheduler.enqueue(stream.handle, later(done, "b"))


def test_the_default_stream_cannot_be_destroyed(scheduler):
    with pytest.raises(DeviceFault, match="cannot be destroyed"):
        scheduler.destroy_stream(0)


def test_one_is_the_default_stream_too(scheduler):
    assert scheduler.stream(1) is scheduler.stream(0)
