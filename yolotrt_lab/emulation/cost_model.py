"""What things cost on the modelled GPU: the documented numbers behind `timeline`.

A copy takes a latency and its bytes over the link's bandwidth. A call costs the host a fixed time, an inference one
launch for each of its layers besides. An inference takes the time it took on the processor, times a factor.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from yolotrt_lab.emulation.trace import Task
from yolotrt_lab.errors import InputError

__all__ = ["DEFAULT", "H200", "PCIE3_X16", "PCIE4_X16", "PRESETS", "CostModel"]


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """How long things take on the modelled GPU. Rates are in 10^9 bytes a second.

    Attributes:
        name: What is modelled.
        source: Where the numbers come from.
        pinned_gb_s: Copies between page-locked host memory and the device, each way.
        pageable_gb_s: Copies of pageable memory, which the processor moves through a page-locked buffer.
        host_gb_s: Copies within host memory.
        device_gb_s: Copies within device memory, and fills.
        staging_bytes: Up to this size a pageable copy to the device is staged at once, and the call returns; a larger
            one waits until the stream gets there.
        copy_us: What a copy takes before its first byte.
        fill_us: What a fill, or a copy within device memory, takes at least.
        copy_call_us: The host's time for the call that enqueues a copy, or a fill.
        event_call_us: For recording an event, making a stream wait, and asking whether something is done.
        wait_call_us: For synchronising, besides the waiting.
        inference_call_us: For the call that enqueues an inference, besides its launches.
        launch_us: For launching one layer of an inference, while earlier ones may run already.
        graph_launch_us: For launching a CUDA graph, however many layers are in it.
        allocate_us: For taking device memory.
        free_us: For giving it back, besides waiting for the device.
        allocate_pinned_us: For taking page-locked host memory.
        inference_scale: An inference's time on the modelled GPU over its time on this processor.
        inference_ms: If given, every inference takes this long instead.
        unmeasured_ms: An inference nobody waited for was never run; it takes as long as others of its engine, or this.
        concurrent_inferences: How many inferences the GPU runs at the same time without slowing either down. One fills
            it, as a rule.
        program_scale: What the program does between its calls counts for this many times its time on this processor;
            0 leaves it out.
    """

    name: str
    source: str
    pinned_gb_s: float
    pageable_gb_s: float
    host_gb_s: float = 10.0
    device_gb_s: float
    staging_bytes: int = 2 << 20
    copy_us: float
    fill_us: float
    copy_call_us: float
    event_call_us: float
    wait_call_us: float
    inference_call_us: float
    launch_us: float
    graph_launch_us: float
    allocate_us: float
    free_us: float
    allocate_pinned_us: float
    inference_scale: float
    inference_ms: float | None = None
    unmeasured_ms: float = 1.0
    concurrent_inferences: int = 1
    program_scale: float = 0.0

    def __post_init__(self) -> None:
        positive = ("pinned_gb_s", "pageable_gb_s", "host_gb_s", "device_gb_s", "concurrent_inferences")
        wrong = [f"{name} = {getattr(self, name)}" for name in positive if not getattr(self, name) > 0]
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and not value >= 0:
                wrong.append(f"{item.name} = {value}")
        if wrong:
            raise InputError("The cost model makes no sense.", expected="rates above 0, times of at least 0", got=wrong)

    def call_us(self, task: Task) -> float:
        """Return the host's time for the call that enqueues a piece of work, besides any waiting."""
        if task.kind == "inference":
            return self.inference_call_us + self.launch_us * task.kernels
        return self.copy_call_us if task.kind in ("copy", "memset") else self.event_call_us

    def is_staged(self, task: Task) -> bool:
        """Return whether the processor takes a pageable copy's bytes over at once, and a DMA moves them later."""
        return task.direction == "h2d" and not task.pinned and task.nbytes <= self.staging_bytes

    def staging_us(self, task: Task) -> float:
        """Return how long the processor is busy with a copy itself: staging it, or moving it within host memory."""
        rate = self.host_gb_s if task.direction == "h2h" else self.pageable_gb_s
        return task.nbytes / rate / 1e3

    def device_us(self, task: Task, measured_ms: float | None) -> float:
        """Return how long the device is busy with a piece of work."""
        if task.kind == "copy" and task.direction in ("h2d", "d2h"):
            direct = task.pinned or self.is_staged(task)
            return self.copy_us + task.nbytes / (self.pinned_gb_s if direct else self.pageable_gb_s) / 1e3
        if task.kind in ("copy", "memset"):
            return self.fill_us + task.nbytes / self.device_gb_s / 1e3
        if task.kind == "inference":
            if self.inference_ms is not None:
                return self.inference_ms * 1e3
            return (self.unmeasured_ms if measured_ms is None else measured_ms * self.inference_scale) * 1e3
        return (measured_ms or 0.0) * 1e3 if task.kind == "host function" else 0.0


H200 = CostModel(
    name="NVIDIA H200",
    source=(
        "measured on an H200 (PCIe 5, driver 580, CUDA 13.0) in November 2026, calls through the Python bindings; "
        "host_gb_s and unmeasured_ms are round numbers; "
        "inference_scale: YOLOv5n at 640 takes 0.93 ms there in FP16, and about 20 ms on two processor cores"
    ),
    pinned_gb_s=55.3,
    pageable_gb_s=16.2,
    device_gb_s=2150.0,
    copy_us=2.0,
    fill_us=2.0,
    copy_call_us=2.5,
    event_call_us=1.0,
    wait_call_us=0.8,
    inference_call_us=5.0,
    launch_us=2.9,
    graph_launch_us=7.0,
    allocate_us=25.0,
    free_us=15.0,
    allocate_pinned_us=310.0,
    inference_scale=0.05,
)
"""Measured where it could be; see `source`."""


def _round_numbers(name: str, *, pinned_gb_s: float, pageable_gb_s: float, inference_scale: float) -> CostModel:
    return CostModel(
        name=name,
        source="round numbers for teaching, of the right order of magnitude; nothing was measured",
        pinned_gb_s=pinned_gb_s,
        pageable_gb_s=pageable_gb_s,
        device_gb_s=400.0,
        copy_us=5.0,
        fill_us=5.0,
        copy_call_us=5.0,
        event_call_us=2.0,
        wait_call_us=2.0,
        inference_call_us=10.0,
        launch_us=3.0,
        graph_launch_us=15.0,
        allocate_us=50.0,
        free_us=50.0,
        allocate_pinned_us=500.0,
        inference_scale=inference_scale,
    )


PCIE4_X16 = _round_numbers(
    "a workstation GPU on PCIe 4.0 x16", pinned_gb_s=25.0, pageable_gb_s=10.0, inference_scale=0.1
)
"""Round numbers: 25 of the link's 31.5 GB/s arrive."""

PCIE3_X16 = _round_numbers("an older GPU on PCIe 3.0 x16", pinned_gb_s=12.0, pageable_gb_s=6.0, inference_scale=0.2)
"""Round numbers: 12 of the link's 15.8 GB/s arrive."""

DEFAULT = H200
"""The preset with measured numbers."""

PRESETS = {"h200": H200, "pcie4": PCIE4_X16, "pcie3": PCIE3_X16}
