"""The emulated streams that programs implement to write and read plans piece by piece."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.tensorrt.objects import ApiObject, call_user, not_overridden
from yolotrt_lab.emulation.tensorrt.plan_format import PREFIX_BYTES, rest_bytes

__all__ = ["IStreamReader", "IStreamReaderV2", "IStreamWriter", "read_from_stream", "write_to_stream"]

_PIECE_BYTES = 1 << 24


class IStreamWriter(ApiObject):
    """Base of stream writers; a subclass implements `write(data)` and returns how many bytes it wrote."""

    def write(self, data: Any, size: int) -> int:
        """Take the next piece of a plan. Subclasses are given it as bytes, without the size."""
        not_overridden("write")
        return 0


class IStreamReader(ApiObject):
    """Base of stream readers of TensorRT 10; a subclass implements `read(size)` and returns bytes."""

    def read(self, destination: Any, size: int) -> int:
        """Give the next `size` bytes. Subclasses are given the size only, and return bytes."""
        not_overridden("read")
        return 0


class IStreamReaderV2(ApiObject):
    """Base of stream readers; a subclass implements `read(num_bytes, stream)` and `seek(offset, where)`."""

    def read(self, destination: Any, num_bytes: int, stream: int) -> int:
        """Give the next `num_bytes` bytes, or fewer. Subclasses are given size and stream, and return bytes."""
        not_overridden("read")
        return 0

    def seek(self, offset: int, where: Any) -> bool:
        """Go to a place in the stream."""
        not_overridden("seek")
        return False


def write_to_stream(writer: Any, plan: bytes) -> bool:
    """Hand a plan to a program's writer; return whether it took all of it."""
    for start in range(0, len(plan), _PIECE_BYTES):
        piece = plan[start : start + _PIECE_BYTES]
        if call_user(writer.write, piece) != len(piece):
            return False
    return True


def read_from_stream(reader: Any) -> bytes:
    """Return the plan a program's reader gives; cut short if the reader has no more."""
    prefix = _read(reader, PREFIX_BYTES)
    return prefix + _read(reader, rest_bytes(prefix))


def _read(reader: Any, nbytes: int) -> bytes:
    """Return `nbytes` bytes; a reader of the second kind may give them in pieces."""
    arguments = () if isinstance(reader, IStreamReader) else (0,)
    pieces: list[bytes] = []
    while nbytes > 0:
        given = call_user(reader.read, nbytes, *arguments)
        piece = b"" if given is None else bytes(given)[:nbytes]
        if not piece:
            break
        pieces.append(piece)
        nbytes -= len(piece)
    return b"".join(pieces)
