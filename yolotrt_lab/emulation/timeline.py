"""When a recorded program would have done what on a GPU: a modelled timeline, never a measurement.

A GPU has an engine for copies to the device, one for copies back, and its multiprocessors. What a recording says about
order, and what a `CostModel` says about durations, is placed on them as follows.

- The host makes its calls one after the other; each costs it time. Work can start when its call has returned, when all
  it comes after is done, and when its engine is free. Among work that could start, that of the stream with the higher
  priority goes first, then what was ready first.
- The layers of an inference are launched one by one: the first can start before the last is launched, and none ends
  before it is launched. A network of many small layers is therefore limited by the host, unless a graph launches it.
- Asynchronous copies of page-locked memory do not hold up the host. A pageable copy to the device is staged by the
  processor first; if it is large, the host waits until the stream gets there. A pageable copy from the device makes the
  host wait until it has arrived, `async` or not.
- Synchronous copies run in the default stream and make the host wait, except within device memory.
- `cudaFree` waits for the whole device.
- One execution context runs one inference at a time.

The rules are those of CUDA's documentation ("API synchronization behavior"), checked by calls timed on an H200. Left
out are contention on the bus and of memory, the gaps between kernels, and clocks that change.

Example:
    >>> from yolotrt_lab.emulation.trace import record_timeline
    >>> with record_timeline() as recording:
    ...     pass  # the program
    >>> modelled_timeline(recording.records).makespan_us
    0.0
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from yolotrt_lab.emulation.cost_model import DEFAULT, CostModel
from yolotrt_lab.emulation.trace import Record

__all__ = ["COPY_IN", "COPY_OUT", "ModelledTimeline", "Span", "SpanKind", "modelled_timeline"]

COPY_IN, COPY_OUT = "copy to device", "copy to host"
_HOST_FUNCTIONS = "host functions"

SpanKind = Literal["call", "wait", "staging", "program", "copy", "memset", "inference", "host function", "layer"]
_SHOWN = ("copy", "memset", "inference", "host function")


@dataclass(frozen=True)
class Span:
    """Something that takes time on the modelled GPU or its host.

    Attributes:
        name: What it is.
        kind: call, wait (for the device), staging (of a pageable copy) and program are the host's; layer is a part of
            an inference.
        lane: Where it happens; spans of one lane never overlap, but for layers, which lie inside inferences.
        start_us: Modelled microseconds from the start.
        duration_us: Modelled microseconds.
        record: Number of its record.
        cause: Number of the record of the call that asked for it: its own, or the launch of its graph.
        stream: The stream's handle, None for the host.
    """

    name: str
    kind: SpanKind
    lane: str
    start_us: float
    duration_us: float
    record: int
    cause: int
    stream: int | None = None

    @property
    def end_us(self) -> float:
        """When it ends."""
        return self.start_us + self.duration_us


@dataclass(frozen=True)
class ModelledTimeline:
    """When everything would have happened, by the model.

    Attributes:
        records: What was recorded.
        spans: In the order in which they were placed; without layers.
        layers: The layers inside inferences, where layer times were taken.
        lanes: The lanes in the order in which they are shown.
        costs: The model's numbers.
        unawaited: Numbers of the work that the program never waited for: what it wrote may be read too early.
    """

    records: tuple[Record, ...]
    spans: tuple[Span, ...]
    layers: tuple[Span, ...]
    lanes: tuple[str, ...]
    costs: CostModel
    unawaited: frozenset[int]

    @property
    def makespan_us(self) -> float:
        """Modelled microseconds from the first call to the end of everything."""
        return max((span.end_us for span in self.spans), default=0.0)

    @property
    def label(self) -> str:
        """What has to stand beside every picture and number of it."""
        return f"Modelled, not measured: {self.costs.name}"

    def on(self, lane: str) -> tuple[Span, ...]:
        """Return the spans of a lane, the earliest first."""
        return tuple(sorted((span for span in self.spans if span.lane == lane), key=lambda span: span.start_us))

    def busy_us(self, kind: SpanKind) -> float:
        """Return how long at least one span of a kind is going on."""
        return sum(end - start for start, end in _union(span for span in self.spans if span.kind == kind))

    def overlap_us(self) -> float:
        """Return how long copies and inferences go on at the same time."""
        copies, inferences = (
            list(_union(span for span in self.spans if span.kind == kind)) for kind in ("copy", "inference")
        )
        total_us, next_one = 0.0, 0
        for start, end in copies:
            while next_one < len(inferences) and inferences[next_one][1] <= start:
                next_one += 1
            for other in inferences[next_one:]:
                if other[0] >= end:
                    break
                total_us += min(end, other[1]) - max(start, other[0])
        return total_us


def _union(spans: Iterable[Span]) -> Iterator[tuple[float, float]]:
    """Yield the stretches of time that spans cover together."""
    present: tuple[float, float] | None = None
    for start, end in sorted((span.start_us, span.end_us) for span in spans):
        if present is not None and start <= present[1]:
            present = (present[0], max(present[1], end))
        else:
            if present is not None:
                yield present
            present = (start, end)
    if present is not None:
        yield present


def modelled_timeline(records: Sequence[Record], costs: CostModel = DEFAULT) -> ModelledTimeline:
    """Return when recorded calls and work would have happened on a modelled GPU.

    Args:
        records: From `trace.record_timeline`.
        costs: What things take; `cost_model` has presets.
    """
    clock = _Clock(records, costs)
    clock.run()
    hosts = [lane for lane in dict.fromkeys(_host_lane(record.thread) for record in records)]
    lanes = [*hosts, COPY_IN, *clock.compute_lanes.values(), COPY_OUT, _HOST_FUNCTIONS]
    used = {span.lane for span in clock.spans}
    shown = tuple(lane for lane in lanes if lane in used)
    unawaited = _unawaited(records, clock.awaited)
    return ModelledTimeline(tuple(records), tuple(clock.spans), tuple(clock.layers), shown, costs, unawaited)


def _unawaited(records: Sequence[Record], awaited: Iterable[int]) -> frozenset[int]:
    known: set[int] = set()
    stack = list(awaited)
    while stack:
        number = stack.pop()
        if number not in known:
            known.add(number)
            stack.extend(records[number].after)
    work = {record.number for record in records if record.task is not None and record.task.kind in _SHOWN}
    return frozenset(work - known)


def _host_lane(thread: int) -> str:
    return "host" if thread == 0 else f"host, thread {thread + 1}"


@dataclass(eq=False)
class _Host:
    """One thread of the program: its calls still to come, its clock, and what it waits for."""

    lane: str
    calls: deque[Record] = field(default_factory=deque)
    now_us: float = 0.0
    waits_for: tuple[int, ...] = ()
    waiting: Record | None = None
    stages_us: float | None = None  # what the waiting ends with: the processor's own part of a copy


class _Clock:
    """Plays the records: always the call or the piece of work that comes next by the model's clock."""

    def __init__(self, records: Sequence[Record], costs: CostModel) -> None:
        self._records = records
        self._costs = costs
        self.spans: list[Span] = []
        self.layers: list[Span] = []
        self.awaited: list[int] = []
        self.compute_lanes: dict[int, str] = {}
        self._hosts: dict[int, _Host] = {}
        self._graphs: defaultdict[int, list[Record]] = defaultdict(list)
        self._issued: dict[int, float] = {}
        self._launched: dict[int, float] = {}
        self._ends: dict[int, float] = {}
        self._missing: dict[int, int] = {}
        self._followers: defaultdict[int, list[int]] = defaultdict(list)
        self._ready: dict[int, float] = {}
        self._engines: dict[str, list[float]] = {"compute": [0.0] * costs.concurrent_inferences}
        self._means_ms = _means(records)
        for record in records:
            if record.graph is not None:
                self._graphs[record.graph].append(record)
            else:
                host = self._hosts.setdefault(record.thread, _Host(_host_lane(record.thread)))
                host.calls.append(record)
            if record.task is not None:
                self._missing[record.number] = len(record.after)
                for earlier in record.after:
                    self._followers[earlier].append(record.number)
                if record.task.kind in ("inference", "memset") or record.task.direction == "d2d":
                    self.compute_lanes.setdefault(record.stream or 0, self._compute_lane(record.stream or 0))

    def _compute_lane(self, stream: int) -> str:
        if stream in (0, 2):
            return "compute, default stream" if stream == 0 else "compute, thread's stream"
        number = 1 + sum(known not in (0, 2) for known in self.compute_lanes)
        return f"compute, stream {number}"

    def run(self) -> None:
        """Play everything."""
        while True:
            host = min((host for host in self._hosts.values() if self._can_go_on(host)), key=_now, default=None)
            work = min(((self._start_us(n), self._rank(n), n) for n in self._ready), default=None)
            if host is not None and (work is None or host.now_us <= work[0]):
                self._call(host, host.calls.popleft())
            elif work is not None:
                self._do(self._records[work[2]], work[0])
            else:
                return

    # The host

    def _can_go_on(self, host: _Host) -> bool:
        if host.waiting is not None:
            if not all(number in self._ends for number in host.waits_for):
                return False
            self._stop_waiting(host, host.waiting)
        return bool(host.calls)

    def _stop_waiting(self, host: _Host, record: Record) -> None:
        until = max((self._ends[number] for number in host.waits_for), default=host.now_us)
        if record.call != "free":  # whoever frees memory does not look at results
            self.awaited.extend(host.waits_for)
        name = "wait" if record.task is None else f"wait for {_name(record)}"
        self._host_span(host, record, name, "wait", until - host.now_us)
        if host.stages_us is not None:
            self._host_span(host, record, "stage", "staging", host.stages_us)
            self._issue(record, host.now_us)
        host.waits_for, host.waiting, host.stages_us = (), None, None

    def _call(self, host: _Host, record: Record) -> None:
        costs = self._costs
        if costs.program_scale:
            self._host_span(host, record, "program", "program", record.program_ms * costs.program_scale * 1e3)
        if record.call == "enqueue":
            self._enqueue(host, record)
        elif record.call == "graph launch":
            self._host_span(host, record, "launch graph", "call", costs.graph_launch_us)
            for node in self._graphs[record.number]:
                self._issue(node, host.now_us)
                if _holds_up_host(node):
                    host.waits_for, host.waiting = (*host.waits_for, node.number), record
        elif record.call in ("synchronize", "poll"):
            cost_us = costs.wait_call_us if record.call == "synchronize" else costs.event_call_us
            self._host_span(host, record, f"{record.call} {record.what}", "call", cost_us)
            host.waits_for, host.waiting = record.awaits, record
        elif record.call == "allocate":
            pinned = record.what == "pinned"
            cost_us = costs.allocate_pinned_us if pinned else costs.allocate_us
            self._host_span(host, record, f"allocate {record.what}", "call", cost_us)
        elif record.call == "free":
            self._host_span(host, record, "free", "call", costs.free_us)
            busy = (number for number in self._issued if self._ends.get(number, host.now_us + 1) > host.now_us)
            host.waits_for, host.waiting = tuple(busy), record

    def _enqueue(self, host: _Host, record: Record) -> None:
        task = record.task
        assert task is not None
        self._host_span(host, record, _name(record), "call", self._costs.call_us(task))
        own_part = task.kind == "copy" and (task.direction == "h2h" or self._costs.is_staged(task))
        if own_part:
            # Staging waits for nothing if the copy is asynchronous; the other two wait for the stream first.
            waits = task.direction == "h2h" or not task.is_async
            host.waits_for, host.waiting = record.after if waits else (), record
            host.stages_us = self._costs.staging_us(task)
            return
        launching_us = self._costs.launch_us * (task.kernels - 1) if task.kind == "inference" else 0.0
        self._launched[record.number] = host.now_us
        self._issue(record, host.now_us - launching_us)
        if _holds_up_host(record):
            host.waits_for, host.waiting = (record.number,), record

    def _host_span(self, host: _Host, record: Record, name: str, kind: SpanKind, duration_us: float) -> None:
        if duration_us > 0:
            self.spans.append(Span(name, kind, host.lane, host.now_us, duration_us, record.number, record.number))
            host.now_us += duration_us

    # The device

    def _issue(self, record: Record, now_us: float) -> None:
        self._issued[record.number] = now_us
        self._check_ready(record.number)

    def _check_ready(self, number: int) -> None:
        if number in self._issued and self._missing[number] == 0:
            ends = [self._ends[earlier] for earlier in self._records[number].after]
            self._ready[number] = max([self._issued[number], *ends])

    def _engine(self, record: Record) -> tuple[str, ...]:
        """Return what the work needs for itself."""
        assert record.task is not None
        if record.task.kind == "inference":
            return ("compute", f"context {record.task.context}")
        if record.task.kind == "copy" and record.task.direction in ("h2d", "d2h"):
            return (COPY_IN if record.task.direction == "h2d" else COPY_OUT,)
        return (_HOST_FUNCTIONS,) if record.task.kind == "host function" else ()

    def _start_us(self, number: int) -> float:
        free = (min(self._engines.setdefault(name, [0.0])) for name in self._engine(self._records[number]))
        return max([self._ready[number], *free])

    def _rank(self, number: int) -> tuple[float, float]:
        return self._records[number].priority, self._ready[number]

    def _do(self, record: Record, start_us: float) -> None:
        task = record.task
        assert task is not None
        del self._ready[record.number]
        measured_ms = self._means_ms.get(task.name) if record.measured_ms is None else record.measured_ms
        duration_us = 0.0 if task.direction == "h2h" else self._costs.device_us(task, measured_ms)
        duration_us = max(duration_us, self._launched.get(record.number, 0.0) - start_us)
        end_us = self._ends[record.number] = start_us + duration_us
        for name in self._engine(record):
            slots = self._engines[name]
            slots[slots.index(min(slots))] = end_us
        if task.kind in _SHOWN and task.direction != "h2h":
            self._show(record, start_us, duration_us)
        for follower in self._followers[record.number]:
            self._missing[follower] -= 1
            self._check_ready(follower)

    def _show(self, record: Record, start_us: float, duration_us: float) -> None:
        task, stream = record.task, record.stream or 0
        assert task is not None
        engines = self._engine(record)
        lane = self.compute_lanes[stream] if not engines or engines[0] == "compute" else engines[0]
        cause = record.number if record.graph is None else record.graph
        self.spans.append(
            Span(_name(record), cast(SpanKind, task.kind), lane, start_us, duration_us, record.number, cause, stream)
        )
        total_ms = sum(time_ms for _, time_ms in record.layers_ms)
        for name, time_ms in record.layers_ms if total_ms > 0 else ():
            part_us = duration_us * time_ms / total_ms
            if part_us > 0:
                self.layers.append(Span(name, "layer", lane, start_us, part_us, record.number, cause, stream))
                start_us += part_us


def _now(host: _Host) -> float:
    return host.now_us


def _holds_up_host(record: Record) -> bool:
    """Return whether the call that enqueues this waits until it is done."""
    task = record.task
    assert task is not None
    return task.kind == "copy" and task.direction != "d2d" and not (task.is_async and task.pinned)


def _means(records: Sequence[Record]) -> dict[str, float]:
    """Return the mean time of every engine's inferences, for those that were never run."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.task is not None and record.task.kind == "inference" and record.measured_ms is not None:
            times[record.task.name].append(record.measured_ms)
    return {name: sum(values) / len(values) for name, values in times.items()}


def _name(record: Record) -> str:
    task = record.task
    assert task is not None
    if task.kind == "copy":
        return f"copy {task.direction}"
    return {"event": "record event", "wait": "wait for event"}.get(task.kind, task.kind)
