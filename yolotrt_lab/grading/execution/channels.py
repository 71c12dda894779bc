"""Jupyter's messages to and from one kernel. What comes from the kernel may be forged, so little is made of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import selectors
import socket
import stat
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolotrt_lab.grading.execution.zmtp import Connection, Frames, PeerError

__all__ = ["Channels", "Message"]

_DELIMITER = b"<IDS|MSG>"
_KINDS = {"shell": "DEALER", "control": "DEALER", "iopub": "SUB"}
_HEADER_BYTES = 20_000
_CONTENT_BYTES = 8 << 20


@dataclass(frozen=True)
class Message:
    """One message of the kernel's.

    Attributes:
        channel: "shell", "control" or "iopub".
        type: "execute_reply", "stream", …; "" where that could not be read.
        parent: The id of the request it answers.
        size: Its bytes.
        content: Its content; empty where it was too large or broken.
        whole: Whether the content could be read.
    """

    channel: str
    type: str
    parent: str
    size: int
    content: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = True


class Channels:
    """The connections to a kernel; a context manager.

    Args:
        connection: The content of the connection file, with paths as this side sees them.
        timeout_s: How long the kernel may take to open its sockets.
        alive: Asked while waiting.

    Raises:
        PeerError: The kernel does not open them, or ended.
    """

    def __init__(self, connection: Mapping[str, Any], *, timeout_s: float, alive: Any) -> None:
        self._key = str(connection.get("key", "")).encode()
        self._session = uuid.uuid4().hex
        self._connections: dict[str, Connection] = {}
        self._selector = selectors.DefaultSelector()
        deadline = time.monotonic() + timeout_s
        try:
            for name, kind in _KINDS.items():
                stream = _connected(connection, name, deadline, alive)
                self._connections[name] = Connection(stream, kind, max_bytes=_CONTENT_BYTES)
        except PeerError:
            self.close()
            raise
        for name, connected in self._connections.items():
            self._selector.register(connected.fileno(), selectors.EVENT_READ, name)

    def __enter__(self) -> Channels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        for connection in self._connections.values():
            connection.close()
        self._selector.close()

    def send(self, channel: str, kind: str, content: Mapping[str, Any]) -> str:
        """Send a request, and return its id.

        Raises:
            PeerError: The kernel is gone, or does not read.
        """
        header = {
            "msg_id": uuid.uuid4().hex,
            "session": self._session,
            "username": "grader",
            "date": "2020-01-01T00:00:00+00:00",
            "msg_type": kind,
            "version": "5.3",
        }
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        self._connections[channel].send([_DELIMITER, self._signature(parts), *parts])
        return str(header["msg_id"])

    def receive(self, timeout_s: float) -> list[Message]:
        """Return the messages that came within a time, as soon as there are any.

        Raises:
            PeerError: The kernel closed a connection, or sends what is no message.
        """
        found = []
        for ready, _ in self._selector.select(max(0.0, timeout_s)):
            found += [self._message(ready.data, frames) for frames in self._connections[ready.data].receive()]
        return found

    def _message(self, channel: str, frames: Frames) -> Message:
        unreadable = Message(channel, "", "", frames.size, whole=False)
        if _DELIMITER not in frames.parts[:4]:
            return unreadable
        parts = frames.parts[frames.parts.index(_DELIMITER) + 1 :]
        if len(parts) < 3:
            return unreadable
        header, parent = (_json(part, _HEADER_BYTES) for part in parts[1:3])
        kind, answered = str(header.get("msg_type", ""))[:100], str(parent.get("msg_id", ""))[:100]
        if not frames.whole or len(parts) < 5 or not hmac.compare_digest(parts[0], self._signature(parts[1:5])):
            return Message(channel, kind, answered, frames.size, whole=False)
        return Message(channel, kind, answered, frames.size, _json(parts[4], _CONTENT_BYTES))

    def _signature(self, parts: list[bytes]) -> bytes:
        if not self._key:
            return b""
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in parts:
            digest.update(part)
        return digest.hexdigest().encode()


def _json(content: bytes, max_bytes: int) -> dict[str, Any]:
    """Return a JSON object, empty if it is anything else."""
    if len(content) > max_bytes:
        return {}
    try:
        value = json.loads(content)
    except (ValueError, RecursionError, MemoryError):
        return {}
    return value if isinstance(value, dict) else {}


def _connected(connection: Mapping[str, Any], channel: str, deadline: float, alive: Any) -> socket.socket:
    """Return a socket that is connected to a channel, as soon as the kernel has opened it.

    Raises:
        PeerError: It does not in time, or ended.
    """
    port = int(connection[f"{channel}_port"])
    while True:
        try:
            if connection["transport"] != "ipc":
                return socket.create_connection((connection["ip"], port), timeout=5)
            path = Path(f"{connection['ip']}-{port}")
            if stat.S_ISSOCK(path.lstat().st_mode):
                stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    stream.connect(str(path))
                except OSError:
                    stream.close()
                    raise
                return stream
        except OSError:
            pass  # not there yet
        if not alive():
            raise PeerError("the kernel ended before it answered")
        if time.monotonic() > deadline:
            raise PeerError("the kernel did not open its channels in time")
        time.sleep(0.01)
