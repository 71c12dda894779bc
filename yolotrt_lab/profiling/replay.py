"""What recorded calls would look like on a GPU: a small model with three engines that work side by side.

A GPU has engines of their own for copies in, for copies out, and for computing. Work of one stream runs in order; work
of different streams overlaps as far as the engines allow. From that and a handful of durations follows when everything
happens. It is a model: contention on the bus, several kernels at once and clocks that change are left out.

The rules, each from CUDA's documentation:

- an asynchronous copy of page-locked memory is queued, and the host goes on;
- a copy of pageable memory holds up the host, `async` or not: CUDA moves the data through a page-locked buffer of its
  own;
- the default stream waits for all other streams, and they wait for it;
- one execution context runs one inference at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from yolotrt_lab.engines.call_trace import DeviceCall
from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.timeline import TimelineEvent

__all__ = ["LANES", "GpuModel", "Replay", "replay"]

LANES = ("host", "copy in", "compute", "copy out")

_ENGINES = {"h2d": "copy in", "d2h": "copy out", "d2d": "compute"}


@dataclass(frozen=True)
class GpuModel:
    """How long things take.

    Attributes:
        name: What the numbers describe.
        pinned_gb_s: Copy rate of page-locked memory, 10^9 bytes a second.
        pageable_gb_s: Copy rate of pageable memory.
        copy_us: What a copy takes before its first byte.
        infer_ms: One inference.
        launch_us: What queueing one piece of work costs the host.
        allocate_us: Taking device memory, and giving it back.
        allocate_pinned_us: Taking page-locked host memory.
    """

    name: str
    pinned_gb_s: float
    pageable_gb_s: float
    copy_us: float
    infer_ms: float
    launch_us: float
    allocate_us: float
    allocate_pinned_us: float

    def __post_init__(self) -> None:
        numbers = {key: value for key, value in vars(self).items() if key != "name"}
        wrong = [f"{key} = {value}" for key, value in numbers.items() if not value > 0]
        if wrong:
            raise InputError("A duration or rate of the GPU model makes no sense.", expected="more than 0", got=wrong)

    def copy_time_us(self, call: DeviceCall) -> float:
        """Return the microseconds of a copy."""
        rate = self.pinned_gb_s if call.pinned else self.pageable_gb_s
        return self.copy_us + call.nbytes / rate / 1e3


@dataclass(frozen=True)
class Replay:
    """When everything would have happened.

    Attributes:
        events: By lane, in the order they were asked for; see `LANES`.
        total_us: From the first call to the end of the last piece of work.
        busy_us: Microseconds of work by lane.
        frames: Inferences.
    """

    events: tuple[TimelineEvent, ...]
    total_us: float
    busy_us: dict[str, float]
    frames: int

    @property
    def frames_per_s(self) -> float:
        """Inferences a second over the whole recording."""
        return 1e6 * self.frames / self.total_us if self.total_us else 0.0


def replay(calls: Sequence[DeviceCall], *, gpu: GpuModel, host_us: float = 0.0) -> Replay:
    """Return when recorded calls would have happened on a GPU.

    Args:
        calls: From `engines.call_trace.record_calls`.
        gpu: The durations.
        host_us: What the program itself does for each frame before its first copy in (reading, letterboxing).

    Raises:
        InputError: A copy of unknown direction.
    """
    model = _Model(gpu, _frames_of(calls))
    for index, call in enumerate(calls):
        model.play(index, call, host_us)
    return Replay(
        events=tuple(model.events),
        total_us=max([model.host, *model.streams.values()]),
        busy_us={lane: sum(event.duration_us for event in model.events if event.lane == lane) for lane in LANES},
        frames=sum(call.action == "infer" for call in calls),
    )


def _frames_of(calls: Sequence[DeviceCall]) -> list[int]:
    """Return the frame each call belongs to: that of the next inference of its stream, for copies out the last one."""
    frames = [0] * len(calls)
    waiting: dict[int | None, list[int]] = {}
    latest: dict[int | None, int] = {}
    count = 0
    for index, call in enumerate(calls):
        if call.action == "infer":
            for earlier in waiting.pop(call.stream, []):
                frames[earlier] = count
            frames[index] = latest[call.stream] = count
            count += 1
        elif call.action == "copy" and call.direction == "h2d":
            waiting.setdefault(call.stream, []).append(index)
        else:
            frames[index] = latest.get(call.stream, max(count - 1, 0))
    return frames


@dataclass
class _Model:
    """The state of the replay: when the host, the streams and the engines are free."""

    gpu: GpuModel
    frames: list[int]
    host: float = 0.0
    streams: dict[int, float] = field(default_factory=lambda: {0: 0.0})
    engines: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LANES, 0.0))
    marks: dict[int | None, float] = field(default_factory=dict)
    contexts: dict[int | None, float] = field(default_factory=dict)
    prepared: set[int] = field(default_factory=set)
    events: list[TimelineEvent] = field(default_factory=list)

    def play(self, index: int, call: DeviceCall, host_us: float) -> None:
        frame = self.frames[index]
        if call.action in ("copy", "infer") and frame not in self.prepared:
            self.prepared.add(frame)
            self._host("prepare", frame, host_us)
        if call.action == "copy":
            self._copy(call, frame)
        elif call.action == "infer":
            self._infer(call, frame)
        elif call.action == "allocate":
            self._host("allocate", frame, self.gpu.allocate_us)
        elif call.action == "allocate_pinned":
            self._host("allocate", frame, self.gpu.allocate_pinned_us)
        elif call.action == "record":
            self.marks[call.event] = self._stream(call)
        elif call.action == "hold":
            self.streams[call.stream or 0] = max(self._stream(call), self.marks.get(call.event, 0.0))
        elif call.action == "wait":
            self._wait(call, frame)

    def _wait(self, call: DeviceCall, frame: int) -> None:
        if call.event is not None:
            until = self.marks.get(call.event, 0.0)
        elif call.stream is not None:
            until = self._stream(call)
        else:
            until = max(self.streams.values())
        self._host("wait", frame, until - self.host)

    def _copy(self, call: DeviceCall, frame: int) -> None:
        lane = _ENGINES.get(call.direction)
        if lane is None:
            raise InputError("A copy goes nowhere known.", expected=", ".join(_ENGINES), got=repr(call.direction))
        end = self._work(call, lane, lane, frame, self.gpu.copy_time_us(call))
        if not call.is_async or not call.pinned:
            self._host("wait", frame, end - self.host)

    def _infer(self, call: DeviceCall, frame: int) -> None:
        free = self.contexts.get(call.context, 0.0)
        end = self._work(call, "inference", "compute", frame, self.gpu.infer_ms * 1e3, not_before=free)
        self.contexts[call.context] = end
        if not call.is_async:
            self._host("wait", frame, end - self.host)

    def _work(
        self, call: DeviceCall, name: str, lane: str, frame: int, duration_us: float, *, not_before: float = 0.0
    ) -> float:
        """Put a piece of work where its stream and its engine are both free, and return when it ends."""
        self._host("queue", frame, self.gpu.launch_us)
        start = max(self.host, self._stream(call), self.engines[lane], not_before)
        end = start + duration_us
        self.engines[lane] = self.streams[call.stream or 0] = end
        self.events.append(TimelineEvent(name, lane, frame, start, duration_us))
        return end

    def _stream(self, call: DeviceCall) -> float:
        """Return when a stream is free; the default stream and the others wait for each other."""
        number = call.stream or 0
        own = self.streams.get(number, 0.0)
        return max(self.streams.values()) if number == 0 else max(own, self.streams[0])

    def _host(self, name: str, frame: int, duration_us: float) -> None:
        if duration_us <= 0:
            return
        self.events.append(TimelineEvent(name, "host", frame, self.host, duration_us))
        self.host += duration_us
