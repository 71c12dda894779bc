import pytest

from yolotrt_lab.emulation.counters import CopyKind, Recorder, Tally, Work, count_work, diff, recorder, snapshot

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
