"""Stores a compiled network without the weights that its ONNX model has anyway.

OpenVINO's executable is nearly all weights, byte for byte those of the model, or those widened from FP16. Kept as
references into the model, a detector's 10 MB become 100 kB, for timing caches and for plans that carry the model.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["elide_weights", "restore_weights"]

_COUNT = struct.Struct("<I")
_PIECE = struct.Struct("<BQQ")  # kind, offset in its source, length in the blob
_LITERAL, _SAME, _WIDENED = range(3)
_LEAST_BYTES = 1024
_CANDIDATES = 16
_TRIED = 16
_HEAD_WORDS = 4


@dataclass(frozen=True)
class _Weights:
    """One weight tensor: where the model has it, how the blob has it, and its bytes there."""

    offset: int
    kind: int
    content: bytes


def elide_weights(blob: bytes, model: bytes) -> bytes:
    """Return the blob with references instead of the weights it shares with a serialized ONNX model."""
    pieces: list[bytes] = []
    literals: list[bytes] = []
    count = end = literal_bytes = 0

    def add_literal(start: int, stop: int) -> None:
        nonlocal count, literal_bytes
        if stop > start:
            pieces.append(_PIECE.pack(_LITERAL, literal_bytes, stop - start))
            literals.append(blob[start:stop])
            literal_bytes += stop - start
            count += 1

    for start, weights in sorted(_find(blob, model), key=lambda found: found[0]):
        if start < end:
            continue
        add_literal(end, start)
        end = start + len(weights.content)
        pieces.append(_PIECE.pack(weights.kind, weights.offset, len(weights.content)))
        count += 1
    add_literal(end, len(blob))
    return _COUNT.pack(count) + b"".join(pieces) + zlib.compress(b"".join(literals), 1)


def restore_weights(elided: bytes, model: bytes) -> bytes:
    """Return the blob that `elide_weights` was given, if the model is the same.

    Raises:
        ValueError: The bytes are not from `elide_weights`, or the model is another one.
    """
    try:
        (count,) = _COUNT.unpack_from(elided)
        start = _COUNT.size + count * _PIECE.size
        literals = zlib.decompress(elided[start:])
        pieces = [_PIECE.unpack_from(elided, _COUNT.size + index * _PIECE.size) for index in range(count)]
    except (struct.error, zlib.error) as error:
        raise ValueError(f"no compiled network: {error}") from None
    return b"".join(_piece(kind, offset, length, literals, model) for kind, offset, length in pieces)


def _piece(kind: int, offset: int, length: int, literals: bytes, model: bytes) -> bytes:
    if kind == _WIDENED:
        found = _widened(model[offset : offset + length // 2])
    else:
        found = (literals if kind == _LITERAL else model)[offset : offset + length]
    if len(found) != length:
        raise ValueError("the compiled network refers to weights that the model lacks")
    return found


def _find(blob: bytes, model: bytes) -> Iterator[tuple[int, _Weights]]:
    """Yield where the blob has weights of the model, in one pass over it.

    All weights in a blob lie a multiple of four bytes apart, so once one is found, the first words of the others need
    to be compared with every fourth byte only.
    """
    wanted = list(_weights(model))
    tried = wanted[:: max(1, len(wanted) // _TRIED)]
    start = next((start for weights in tried if (start := blob.find(weights.content)) >= 0), None)
    if start is None:
        return
    phase = start % 4
    words = np.frombuffer(blob, "<u4", count=(len(blob) - phase) // 4, offset=phase)
    heads = np.array([np.frombuffer(weights.content, "<u4", count=_HEAD_WORDS) for weights in wanted])
    likely = np.zeros(1 << 16, np.bool_)
    likely[_mixed(heads[:, 0])] = True
    hits = np.flatnonzero(likely[_mixed(words[: 1 - _HEAD_WORDS])])
    found = words[hits[:, None] + np.arange(_HEAD_WORDS)]
    for weights, head in zip(wanted, heads, strict=True):
        for word in hits[(found == head).all(axis=1)][:_CANDIDATES]:
            place = phase + 4 * int(word)
            if blob.startswith(weights.content, place):
                yield place, weights
                break


def _mixed(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return 16 bits of each word; those widened from FP16 have zeros in their lower half."""
    mixed: np.ndarray[Any, Any] = (words ^ (words >> np.uint32(16))) & np.uint32(0xFFFF)
    return mixed


def _weights(model: bytes) -> Iterator[_Weights]:
    """Yield the large weights of a model in the order of their use, as the blob may have them."""
    import onnx

    graph = onnx.load_model_from_string(model).graph
    offset = 0
    place: dict[str, tuple[int, bytes, bool]] = {}
    for tensor in graph.initializer:
        if len(tensor.raw_data) >= _LEAST_BYTES:
            found = model.find(tensor.raw_data, offset)
            if found >= 0:
                offset = found + len(tensor.raw_data)
                place[tensor.name] = (found, tensor.raw_data, tensor.data_type == onnx.TensorProto.FLOAT16)
    for node in graph.node:
        for name in node.input:
            if name in place:
                start, content, half = place.pop(name)
                yield _Weights(start, _WIDENED, _widened(content)) if half else _Weights(start, _SAME, content)


def _widened(half: bytes) -> bytes:
    return np.frombuffer(half, "<f2", count=len(half) // 2).astype("<f4").tobytes()
