import pytest

from yolotrt_lab.emulation.counters import CopyKind, Recorder, Tally, Work, count_work, diff, recorder, snapshot
from yolotrt_lab.emulation.streams import Event, Scheduler
from yolotrt_lab.emulation.trace import Task

SYNC_PAGEABLE = CopyKind("h2d", False, False, 0)
ASYNC_PINNED = CopyKind("h2d", True, True, 16)
BACK = CopyKind("d2h", True, True, 16)


@pytest.fixture
def work():
    counting = Recorder()
    counting.copied(SYNC_PAGEABLE, 100)
    counting.copied(ASYNC_PINNED, 10)
    counting.copied(ASYNC_PINNED, 10)
    counting.copied(BACK, 5)
    return counting.work()


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, Tally(4, 125)),
        ({"direction": "h2d"}, Tally(3, 120)),
        ({"direction": "d2d"}, Tally()),
        ({"is_async": True}, Tally(3, 25)),
        ({"direction": "h2d", "pinned": True}, Tally(2, 20)),
        ({"own_stream": False}, Tally(1, 100)),
        ({"direction": "d2h", "own_stream": True}, Tally(1, 5)),
    ],
)
def test_copies_are_selected_by_criteria(work, criteria, expected):
    direction = criteria.pop("direction", None)
    assert work.copied(direction, **criteria) == expected


def test_a_synchronous_copy_is_an_implicit_wait_only(work):
    assert work.synchronizations == {"implicit": 1}
    assert work.synchronization_count == 0


def test_difference_keeps_only_what_happened_between(work):
    counting = Recorder()
    counting.allocated(8)
    counting.copied(BACK, 5)
    before = counting.work()
    counting.copied(BACK, 7)
    counting.enqueued(16)
    counting.synchronized("stream")
    counting.allocated(4, pinned=True)
    between = diff(before, counting.work())
    assert between == Work(
        pinned_allocations=Tally(1, 4), copies={BACK: Tally(1, 7)}, synchronizations={"stream": 1}, enqueues={16: 1}
    )
    assert between.enqueue_count == 1


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Task("copy", nbytes=7, direction="d2h"), Work(copies={CopyKind("d2h", True, True, 16): Tally(1, 7)})),
        (
            Task("copy", nbytes=7, direction="h2d", pinned=False, is_async=False),
            Work(copies={CopyKind("h2d", False, False, 16): Tally(1, 7)}, synchronizations={"implicit": 1}),
        ),
        (Task("memset", nbytes=7), Work(memsets=1)),
        (Task("inference", name="engine"), Work(enqueues={16: 1})),
        (Task("host function"), Work(host_functions=1)),
        (Task("free"), Work()),
        (Task("event"), Work()),
    ],
    ids=lambda value: value.kind if isinstance(value, Task) else "",
)
def test_work_in_streams_is_counted_by_its_kind(task, expected):
    counting = Recorder()
    counting.did(task, 16)
    assert counting.work() == expected


@pytest.mark.parametrize("name", ["graph_launches", "host_functions", "polls", "frees", "memsets", "streams_created"])
def test_plain_numbers_have_differences_too(name):
    counting = Recorder()
    counting.add(name)
    before = counting.work()
    counting.add(name)
    assert diff(before, counting.work()) == Work(**{name: 1})


def test_polling_is_counted_and_is_no_wait():
    scheduler = Scheduler()
    with count_work() as measured:
        scheduler.poll_stream(0)
        scheduler.poll_event(Event())
    assert (measured.work.polls, measured.work.synchronization_count) == (2, 0)


def test_count_work_freezes_when_its_block_ends():
    with count_work() as measured:
        recorder.add("memsets")
        assert measured.work.memsets == 1
    recorder.add("memsets")
    assert measured.work.memsets == 1


def test_a_snapshot_does_not_change():
    before = snapshot()
    recorder.copied(BACK, 1)
    assert diff(before, snapshot()).copied("d2h") == Tally(1, 1)
    assert diff(before, before) == Work()
