"""The channel between two threads: order, bounds, and nobody left waiting when it closes."""

import threading

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.runtimes.channel import Channel, ChannelClosed


@pytest.mark.parametrize("capacity", [1, 2, 100])
def test_everything_arrives_in_order(capacity):
    channel = Channel(capacity)
    producer = threading.Thread(target=lambda: [channel.put(number) for number in range(50)])
    producer.start()
    assert [channel.get() for _ in range(50)] == list(range(50))
    producer.join()


def test_a_full_channel_holds_the_producer_back():
    channel = Channel(2)
    channel.put(1)
    channel.put(2)
    done = threading.Event()
    producer = threading.Thread(target=lambda: (channel.put(3), done.set()))
    producer.start()
    assert not done.wait(0.02)
    assert len(channel) == 2
    assert channel.get() == 1
    assert done.wait(5)
    producer.join()


@pytest.mark.parametrize("filled", [True, False])
def test_closing_wakes_whoever_waits(filled):
    channel = Channel(1)
    if filled:
        channel.put(0)
    ended = []

    def wait():
        try:
            channel.put(1) if filled else channel.get()
        except ChannelClosed:
            ended.append(True)

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    channel.close()
    for thread in threads:
        thread.join(5)
    assert ended == [True, True]


def test_a_closed_channel_is_empty_and_refuses():
    channel = Channel(3)
    channel.put(1)
    channel.close()
    channel.close()
    assert len(channel) == 0
    with pytest.raises(ChannelClosed):
        channel.get()
    with pytest.raises(ChannelClosed):
        channel.put(2)


def test_a_channel_must_hold_something():
    with pytest.raises(InputError, match="must hold something"):
        Channel(0)
