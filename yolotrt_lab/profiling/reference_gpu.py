"""What an NVIDIA H200 really took: copies by size, and the same frame loop written in four ways.

Measured once with PyCUDA 2026.1, CUDA 13.0 and driver 580 on a machine with one H200 (PCIe 5), 20 November 2026, each
number the median of 30 (copies) or of five rounds of 100 frames (loops). The kernel that stands for the engine keeps
all multiprocessors busy for a given time, so that two of them cannot run at once. For machines without a GPU, on which
there is nothing to measure: pageable and pinned memory are one and the same to a processor.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolotrt_lab.profiling.replay import GpuModel

__all__ = ["COPIES", "FRAME_BYTES", "H200", "LOOPS", "RESULT_BYTES", "CopyTime", "LoopTime"]

FRAME_BYTES = 3 * 640 * 640 * 4
"""One frame on its way in: (1, 3, 640, 640) float32."""

RESULT_BYTES = 84 * 8400 * 4
"""One result on its way out: (1, 84, 8400) float32."""


@dataclass(frozen=True)
class CopyTime:
    """Microseconds of one copy and the wait for it: h2d to the device, d2h back."""

    nbytes: int
    pinned_h2d_us: float
    pinned_d2h_us: float
    pageable_h2d_us: float
    pageable_d2h_us: float


COPIES = (
    CopyTime(16384, 10.2, 7.0, 10.1, 8.9),
    CopyTime(32768, 8.2, 7.2, 13.6, 10.2),
    CopyTime(65536, 8.7, 7.8, 20.7, 13.5),
    CopyTime(131072, 9.9, 9.0, 16.1, 17.7),
    CopyTime(262144, 12.3, 11.4, 24.1, 28.0),
    CopyTime(524288, 17.1, 16.0, 40.1, 49.0),
    CopyTime(1048576, 27.1, 26.2, 73.9, 89.0),
    CopyTime(2097152, 45.8, 44.8, 130.0, 148.8),
    CopyTime(4194304, 83.7, 82.7, 270.2, 265.8),
    CopyTime(8388608, 159.2, 158.3, 520.8, 497.7),
    CopyTime(16777216, 310.3, 309.6, 1002.6, 977.8),
    CopyTime(33554432, 613.9, 613.6, 2040.5, 1867.9),
    CopyTime(67108864, 1218.4, 1222.2, 4352.3, 3732.3),
)


@dataclass(frozen=True)
class LoopTime:
    """Microseconds per frame of a loop of `FRAME_BYTES` in, a kernel of `infer_us`, `RESULT_BYTES` out."""

    name: str
    infer_us: float
    frame_us: float


LOOPS = (
    LoopTime("allocate every frame, pageable", 284, 964),
    LoopTime("pageable, one stream", 284, 807),
    LoopTime("pinned, one stream", 284, 434),
    LoopTime("pinned, two streams", 284, 275),
    LoopTime("allocate every frame, pageable", 923, 1596),
    LoopTime("pageable, one stream", 923, 1445),
    LoopTime("pinned, one stream", 923, 1065),
    LoopTime("pinned, two streams", 923, 911),
)

H200 = GpuModel(
    name="NVIDIA H200",
    pinned_gb_s=55.3,
    pageable_gb_s=16.2,
    copy_us=2.0,
    infer_ms=0.284,
    launch_us=4.0,
    allocate_us=54.0,
    allocate_pinned_us=1640.0,
)
"""Fitted to `COPIES`; the inference is an assumption to be replaced by your engine's own time."""
