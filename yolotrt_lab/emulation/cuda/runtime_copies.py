"""The emulated `cuda.bindings.runtime`: copies."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.emulation.cuda.arguments import handle_of, integer, size
from yolotrt_lab.emulation.cuda.copies import copy, copy_rows
from yolotrt_lab.emulation.cuda.runtime_core import runtime_call

__all__ = ["cudaMemcpy", "cudaMemcpy2D", "cudaMemcpy2DAsync", "cudaMemcpyAsync"]


@runtime_call(results=0)
def cudaMemcpy(dst: Any, src: Any, count: int, kind: Any) -> Any:
    """Copy and wait."""
    copy(dst, src, count, _direction(kind))


@runtime_call(results=0)
def cudaMemcpyAsync(dst: Any, src: Any, count: int, kind: Any, stream: Any) -> Any:
    """Copy in a stream; data for the host arrives when the stream is synchronised."""
    copy(dst, src, count, _direction(kind), stream=handle_of(stream))


@runtime_call(results=0)
def cudaMemcpy2D(dst: Any, dpitch: int, src: Any, spitch: int, width: int, height: int, kind: Any) -> Any:
    """Copy rows and wait."""
    copy_rows(dst, size(dpitch), src, size(spitch), size(width), size(height), _direction(kind))


@runtime_call(results=0)
def cudaMemcpy2DAsync(
    dst: Any, dpitch: int, src: Any, spitch: int, width: int, height: int, kind: Any, stream: Any
) -> Any:
    """Copy rows in a stream."""
    direction, where = _direction(kind), handle_of(stream)
    copy_rows(dst, size(dpitch), src, size(spitch), size(width), size(height), direction, stream=where)


def _direction(kind: Any) -> int:
    if kind is None:
        raise TypeError("Argument 'kind' must not be None")
    return integer(kind)
