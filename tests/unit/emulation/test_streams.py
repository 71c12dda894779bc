import threading
from types import SimpleNamespace

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
    scheduler.run_now(lambda: None)
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


def test_destroying_a_stream_does_not_wait_and_its_work_is_still_done(scheduler, done):
    stream = scheduler.create_stream()
    scheduler.enqueue(stream.handle, later(done, "a"))
    scheduler.destroy_stream(stream.handle)
    assert done == []
    with pytest.raises(DeviceFault, match="not a stream, or was destroyed"):
        scheduler.enqueue(stream.handle, later(done, "b"))
    scheduler.synchronize_device()
    assert done == ["a"]


@pytest.mark.parametrize(("blocking", "expected"), [(True, ["own", "default"]), (False, ["default"])])
def test_the_default_stream_waits_for_destroyed_blocking_streams_too(scheduler, done, blocking, expected):
    stream = scheduler.create_stream(blocking=blocking)
    scheduler.enqueue(stream.handle, later(done, "own"))
    scheduler.destroy_stream(stream.handle)
    scheduler.enqueue(0, later(done, "default"))
    scheduler.synchronize_stream(0)
    assert done == expected


@pytest.mark.parametrize("handle", [0, 1, 2])
def test_default_streams_cannot_be_destroyed(scheduler, handle):
    with pytest.raises(DeviceFault, match=r"cannot be destroyed|was destroyed"):
        scheduler.destroy_stream(handle)


def test_every_thread_has_a_default_stream_of_its_own(scheduler, done):
    scheduler.enqueue(2, later(done, "main"))
    thread = threading.Thread(target=scheduler.enqueue, args=(2, later(done, "other")))
    thread.start()
    thread.join()
    scheduler.synchronize_stream(2)
    assert done == ["main"]
    scheduler.synchronize_stream(0)
    assert done == ["main"], "nothing of stream 0 waits for anything"
    scheduler.enqueue(0, later(done, "default"))
    scheduler.synchronize_stream(0)
    assert done == ["main", "other", "default"]


@pytest.mark.parametrize(("asked", "kept"), [(-10, -5), (-5, -5), (-1, -1), (0, 0), (3, 0)])
def test_priorities_are_kept_in_range(scheduler, asked, kept):
    assert scheduler.create_stream(priority=asked).priority == kept


def test_host_functions_run_in_their_place_and_may_not_use_cuda(scheduler, done):
    stream, refused = scheduler.create_stream(), []

    def call():
        done.append("host")
        for use in (
            lambda: scheduler.synchronize_device(),
            lambda: scheduler.enqueue(0, later(done, "forbidden")),
            lambda: scheduler.create_stream(),
            lambda: scheduler.before_waiting_call(),
        ):
            with pytest.raises(DeviceFault) as caught:
                use()
            refused.append(caught.value.kind)

    scheduler.enqueue(stream.handle, later(done, "before"))
    scheduler.launch_host_function(stream.handle, call)
    scheduler.enqueue(stream.handle, later(done, "after"))
    scheduler.synchronize_stream(stream.handle)
    assert done == ["before", "host", "after"]
    assert refused == ["not permitted"] * 4
    scheduler.synchronize_device()


class TestElapsedTime:
    """The device's clock. Work takes time here by moving the clock, so nothing depends on the machine."""

    @pytest.fixture
    def now(self, monkeypatch):
        clock = SimpleNamespace(time=100.0)
        monkeypatch.setattr("time.perf_counter", lambda: clock.time)
        return clock

    @pytest.fixture
    def work(self, scheduler, now):
        def enqueue(handle, seconds):
            scheduler.enqueue(handle, lambda: vars(now).update(time=now.time + seconds))

        return enqueue

    def events(self, count=2):
        return [Event() for _ in range(count)]

    def test_it_is_the_work_between_the_marks(self, scheduler, now, work):
        stream, (start, end) = scheduler.create_stream().handle, self.events()
        work(stream, 3.0)
        scheduler.record(start, stream)
        work(stream, 0.5)
        work(stream, 0.25)
        scheduler.record(end, stream)
        work(stream, 7.0)
        now.time += 60.0  # what the host does before it waits is not the device's time
        scheduler.synchronize_stream(stream)
        assert scheduler.elapsed_ms(start, end) == pytest.approx(750)
        assert scheduler.elapsed_ms(end, start) == pytest.approx(-750)

    def test_a_device_that_has_nothing_to_do_waits_for_the_host_as_a_gpu_does(self, scheduler, now, work):
        stream, (start, end) = scheduler.create_stream().handle, self.events()
        scheduler.record(start, stream)
        now.time += 0.05
        scheduler.record(end, stream)
        scheduler.synchronize_event(end)
        assert scheduler.elapsed_ms(start, end) == pytest.approx(50)

    def test_host_work_beside_device_work_does_not_count(self, scheduler, now, work):
        stream, (start, end) = scheduler.create_stream().handle, self.events()
        scheduler.record(start, stream)
        work(stream, 2.0)
        now.time += 1.5
        scheduler.record(end, stream)
        scheduler.synchronize_event(end)
        assert scheduler.elapsed_ms(start, end) == pytest.approx(2000)

    def test_marks_in_two_streams_keep_their_order(self, scheduler, now, work):
        one, other = (scheduler.create_stream(blocking=False).handle for _ in range(2))
        start, end = self.events()
        scheduler.record(start, one)
        work(one, 1.0)
        work(other, 2.0)
        scheduler.record(end, other)
        scheduler.synchronize_device()  # runs the other stream first
        assert scheduler.elapsed_ms(start, end) == pytest.approx(2000)

    def test_waiting_for_another_stream_counts(self, scheduler, now, work):
        one, other = (scheduler.create_stream(blocking=False).handle for _ in range(2))
        start, done, end = self.events(3)
        work(other, 2.0)
        scheduler.record(done, other)
        scheduler.record(start, one)
        scheduler.wait_for_event(one, done)
        scheduler.record(end, one)
        scheduler.synchronize_stream(one)
        assert scheduler.elapsed_ms(start, end) == pytest.approx(2000)

    @pytest.mark.parametrize(
        ("prepare", "kind"),
        [
            (lambda scheduler, stream, start, end: None, "invalid handle"),
            (lambda scheduler, stream, start, end: scheduler.record(start, stream), "invalid handle"),
            (lambda scheduler, stream, start, end: [scheduler.record(e, stream) for e in (start, end)], "not ready"),
        ],
        ids=["never recorded", "one recorded", "not reached"],
    )
    def test_marks_that_tell_no_time(self, scheduler, prepare, kind):
        start, end = self.events()
        prepare(scheduler, scheduler.create_stream().handle, start, end)
        with pytest.raises(DeviceFault) as caught:
            scheduler.elapsed_ms(start, end)
        assert caught.value.kind == kind

    def test_events_without_timing_tell_none(self, scheduler):
        start, end = Event(timed=False), Event()
        for event in (start, end):
            scheduler.record(event, 0)
            scheduler.synchronize_event(event)
        with pytest.raises(DeviceFault, match="takes times"):
            scheduler.elapsed_ms(start, end)


def test_streams_are_used_from_several_threads(scheduler):
    totals = [0] * 4

    def use(index):
        stream = scheduler.create_stream().handle
        for _ in range(200):
            scheduler.enqueue(stream, lambda: totals.__setitem__(index, totals[index] + 1))
            if index % 2:
                scheduler.synchronize_stream(stream)
        scheduler.synchronize_device()

    threads = [threading.Thread(target=use, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [200] * 4


def test_one_is_the_default_stream_too(scheduler):
    assert scheduler.stream(1) is scheduler.stream(0)
