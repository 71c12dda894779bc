"""What an NVIDIA H200 really took: copies, frame loops written in four ways, batches, and launches.

Measured once, 20 November 2026, on a machine with one H200 (PCIe 5, driver 580, CUDA 13.0). For machines without a GPU,
on which there is nothing to measure: pageable and pinned memory are one and the same to a processor.

- Copies and loops: PyCUDA 2026.1; medians of 30 copies, of five rounds of 100 frames. The kernel that stands for the
  engine keeps all multiprocessors busy for a given time, so that two of them cannot run at once.
- Batches and launches: the course's YOLOv5n at 640, FP16, in PyTorch 2.11, launched kernel by kernel ("eager") and as
  one CUDA graph; 120 to 300 calls each. An engine of TensorRT's would be faster; the shape of the curves is the point.
- All on the GPU: the same network between letterbox and NMS as kernels, by `benchmarks/gpu_end_to_end.py`; medians of
  20 rounds, each stage timed with CUDA events. What else was measured is in course/results/gpu_h200.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from yolotrt_lab.engines.call_trace import DeviceCall
from yolotrt_lab.profiling.replay import GpuModel

__all__ = [
    "ALL_ON_GPU",
    "COPIES",
    "FRAME_BYTES",
    "H200",
    "LAUNCHES",
    "LOOPS",
    "RESULT_BYTES",
    "SWEEP",
    "CopyTime",
    "LaunchTime",
    "LoopTime",
    "SweepPoint",
]

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

    def calls(self, frames: int = 100) -> tuple[DeviceCall, ...]:
        """Return what the loop asks of the device, for `profiling.replay`."""
        naive, streams = "allocate" in self.name, 2 if "two streams" in self.name else 1
        made: list[DeviceCall] = []
        for number in range(frames):
            stream = 1 + number % streams
            made += [DeviceCall("allocate")] * 2 * naive
            made += [DeviceCall("wait", stream=stream)] * (number >= streams)
            made += [self._copy("h2d", FRAME_BYTES, stream), DeviceCall("infer", stream=stream, context=stream)]
            made += [self._copy("d2h", RESULT_BYTES, stream)]
        return tuple(made)

    def _copy(self, direction: str, nbytes: int, stream: int) -> DeviceCall:
        kind = {"pinned": "pinned" in self.name, "is_async": "allocate" not in self.name}
        return DeviceCall("copy", stream=stream, direction=direction, nbytes=nbytes, **kind)


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
    infer_ms=0.93,
    launch_us=4.0,
    allocate_us=54.0,
    allocate_pinned_us=1640.0,
)
"""Fitted to `COPIES`; the inference is that of `SWEEP`, one image as a CUDA graph."""


@dataclass(frozen=True)
class SweepPoint:
    """Milliseconds of a whole batch, kernel by kernel and as a CUDA graph."""

    batch: int
    eager_p50_ms: float
    eager_p99_ms: float
    eager_mean_ms: float
    graph_p50_ms: float
    graph_p99_ms: float
    graph_mean_ms: float


SWEEP = (
    SweepPoint(1, 2.60, 3.35, 2.73, 0.93, 0.93, 0.93),
    SweepPoint(2, 3.07, 3.29, 3.09, 1.06, 1.08, 1.06),
    SweepPoint(4, 3.30, 4.29, 3.42, 1.30, 1.33, 1.31),
    SweepPoint(8, 3.39, 4.65, 3.58, 1.68, 1.68, 1.68),
    SweepPoint(16, 3.33, 3.69, 3.35, 2.58, 2.61, 2.58),
    SweepPoint(32, 4.73, 4.78, 4.74, 4.46, 4.48, 4.46),
    SweepPoint(64, 8.61, 8.64, 8.61, 8.32, 8.35, 8.32),
    SweepPoint(128, 16.35, 16.43, 16.35, 16.06, 16.12, 16.06),
    SweepPoint(256, 32.14, 32.22, 32.14, 31.84, 31.93, 31.84),
)


@dataclass(frozen=True)
class LaunchTime:
    """One image: what the host needed to ask for the work, and how long it took until it was done."""

    name: str
    host_ms: float
    done_ms: float


LAUNCHES = (LaunchTime("kernel by kernel", 2.46, 2.60), LaunchTime("one CUDA graph", 0.0035, 0.93))
"""259 kernels and copies, which keep the GPU busy for 0.88 ms."""

ALL_ON_GPU = {"preprocess": 0.006, "copy_in": 0.026, "inference": 0.942, "copy_out": 0.002, "postprocess": 0.025}
"""Milliseconds of one 640x640 image, from pinned memory to boxes in pinned memory, as one CUDA graph."""
