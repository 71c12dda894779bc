"""The grader's side of ZeroMQ: against libzmq, and against peers that do not play by the rules."""

import socket
import struct

import pytest
import zmq

from yolotrt_lab.grading.execution.zmtp import Connection, Frames, PeerError

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def frame(content, flags=0):
    return struct.pack(">BQ", flags | 2, len(content)) + content


@pytest.fixture
def pair():
    """A connection, and the peer's end of it as a plain socket."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    body = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER"
    theirs.sendall(GREETING + bytes((4, len(body))) + body)
    connection = Connection(ours, "DEALER", max_bytes=1000, max_parts=4)
    yield connection, theirs
    connection.close()
    theirs.close()


def received(connection):
    found = []
    while not found:
        found = connection.receive()
    return found


@pytest.fixture
def router(tmp_path):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.bind(f"ipc://{tmp_path}/r")
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(f"{tmp_path}/r")
        yield router, Connection(stream, "DEALER", max_bytes=100_000)


@pytest.mark.parametrize("parts", [[b""], [b"one"], [b"x" * 255, b"y" * 256, b""], [b"z" * 70_000]])
def test_libzmq_understands_and_is_understood(router, parts):
    libzmq, connection = router
    connection.send(parts)
    identity, *heard = libzmq.recv_multipart()
    assert heard == parts
    libzmq.send_multipart([identity, *parts])
    assert received(connection) == [Frames(parts, sum(map(len, parts)))]
    connection.close()


def test_a_subscriber_hears_everything(tmp_path):
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        publisher.linger = 0
        publisher.bind(f"ipc://{tmp_path}/p")
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(f"{tmp_path}/p")
        connection = Connection(stream, "SUB")
        assert publisher.recv() == b"\x01"
        publisher.send_multipart([b"any topic", b"news"])
        assert received(connection) == [Frames([b"any topic", b"news"], 13)]
        connection.close()


def test_a_message_may_come_byte_by_byte(pair):
    connection, theirs = pair
    message = frame(b"first", 1) + frame(b"") + frame(b"next")
    found = []
    for number in range(len(message)):
        theirs.sendall(message[number : number + 1])
        found += connection.receive()
    assert [item.parts for item in found] == [[b"first", b""], [b"next"]]


def test_what_is_too_large_is_counted_and_dropped(pair):
    """The head of the message stays: it tells which request it belongs to."""
    connection, theirs = pair
    theirs.sendall(frame(b"head", 1) + frame(b"x" * 2000, 1) + frame(b"tail") + frame(b"next"))
    large, following = received(connection)
    assert (large.parts, large.whole, large.size) == ([b"head"], False, 2008)
    assert (following.parts, following.whole) == ([b"next"], True)


def test_parts_without_end_take_no_memory(pair):
    connection, theirs = pair
    for _ in range(100):
        theirs.sendall(frame(b"more", 1) * 100)
        assert connection.receive() == []
    assert len(connection._message.parts) == 4
    assert not connection._buffer


def test_a_frame_of_a_claimed_exabyte_takes_no_memory(pair):
    connection, theirs = pair
    theirs.sendall(struct.pack(">BQ", 2, 1 << 60))
    for _ in range(10):
        theirs.sendall(bytes(100_000))
        assert connection.receive() == []
    assert not connection._frame


def test_commands_are_passed_over_unless_they_are_long(pair):
    connection, theirs = pair
    theirs.sendall(frame(b"\x04PING", 4) + frame(b"news"))
    assert [item.parts for item in received(connection)] == [[b"news"]]
    theirs.sendall(frame(b"x" * 2000, 4))
    with pytest.raises(PeerError, match="too long"):
        received(connection)


def test_who_hangs_up_is_gone(pair):
    connection, theirs = pair
    theirs.close()
    with pytest.raises(PeerError, match=r"closed|broke"):
        connection.receive()
    with pytest.raises(PeerError, match="does not listen"):
        connection.send([b"x" * 1_000_000])


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n".ljust(64), GREETING + b"\x00\x03abc", b"\xff", b""])
def test_other_languages_are_refused(said):
    ours, theirs = socket.socketpair()
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(PeerError):
        Connection(ours, "DEALER")
    theirs.close()
