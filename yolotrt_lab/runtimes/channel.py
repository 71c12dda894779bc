"""A bounded queue between two threads that can be closed: then nobody waits at it any more."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from yolotrt_lab.errors import InputError

__all__ = ["Channel", "ChannelClosed"]

Value = TypeVar("Value")


class ChannelClosed(Exception):
    """The other side has gone: what is left in the channel concerns nobody."""


class Channel(Generic[Value]):
    """First in, first out; `put` waits while it is full, `get` while it is empty.

    What `queue.Queue` does, and `close`, which Python's own queue has from 3.13 on as `shutdown`.

    Args:
        capacity: Values it holds, at least 1.

    Raises:
        InputError: The capacity is below 1.

    Example:
        >>> channel = Channel[int](2)
        >>> channel.put(1); channel.put(2); channel.get()
        1
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InputError("A channel must hold something.", expected="a capacity of 1 or more", got=capacity)
        self._capacity = capacity
        self._values: deque[Value] = deque()
        self._is_closed = False
        lock = threading.Lock()
        self._not_full, self._not_empty = threading.Condition(lock), threading.Condition(lock)

    def __len__(self) -> int:
        return len(self._values)

    def put(self, value: Value) -> None:
        """Append a value, when there is room.

        Raises:
            ChannelClosed: It is closed, or was while this waited.
        """
        with self._not_full:
            while len(self._values) >= self._capacity and not self._is_closed:
                self._not_full.wait()
            self._require_open()
            self._values.append(value)
            self._not_empty.notify()

    def get(self) -> Value:
        """Take the oldest value, when there is one.

        Raises:
            ChannelClosed: It is closed, or was while this waited.
        """
        with self._not_empty:
            while not self._values and not self._is_closed:
                self._not_empty.wait()
            self._require_open()
            value = self._values.popleft()
            self._not_full.notify()
            return value

    def close(self) -> None:
        """Drop what it holds and wake everybody who waits; calling it again does nothing."""
        with self._not_full:
            self._is_closed = True
            self._values.clear()
            self._not_full.notify_all()
            self._not_empty.notify_all()

    def _require_open(self) -> None:
        if self._is_closed:
            raise ChannelClosed("The channel is closed.")
