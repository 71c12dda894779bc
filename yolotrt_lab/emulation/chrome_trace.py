"""Writes a modelled timeline in the Trace Event Format, which chrome://tracing and ui.perfetto.dev open.

The format is Google's ("Trace Event Format", 2016): metadata events name processes and threads, complete events have a
start and a duration in microseconds, and flow events draw arrows, here from the call that asked for work to the work.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yolotrt_lab.emulation.timeline import ModelledTimeline, Span, modelled_timeline
from yolotrt_lab.emulation.trace import Record, record_timeline
from yolotrt_lab.files import write_json

__all__ = ["chrome_trace", "tracing_to", "write_chrome_trace"]

_HOST, _DEVICE = 1, 2
_FLOW = {"name": "enqueued", "cat": "enqueue"}


def write_chrome_trace(path: Path, timeline: ModelledTimeline) -> None:
    """Write a modelled timeline as JSON.

    Args:
        path: The .json file to write.
        timeline: What to write.

    Raises:
        OutputError: The file cannot be written.
    """
    write_json(path, chrome_trace(timeline))


@contextlib.contextmanager
def tracing_to(path: Path | None) -> Iterator[None]:
    """Write what the block asks of the emulated device, also if it fails; None writes nothing.

    Args:
        path: The .json file to write.

    Raises:
        OutputError: The file cannot be written.
    """
    if path is None:
        yield
        return
    path = path.absolute()  # the program may go elsewhere
    with record_timeline() as recording:
        try:
            yield
        finally:
            if recording.records:
                timeline = modelled_timeline(recording.records)
                write_chrome_trace(path, timeline)
                print(f"{path}: {timeline.label}. Open it in ui.perfetto.dev or chrome://tracing.", file=sys.stderr)
            else:
                print(f"{path} is not written: nothing was asked of an emulated device.", file=sys.stderr)


def chrome_trace(timeline: ModelledTimeline) -> dict[str, Any]:
    """Return a modelled timeline in JSON's types; `otherData` says that it is modelled, and with which numbers."""
    threads = {lane: number for number, lane in enumerate(timeline.lanes)}
    events = _metadata(timeline, threads)
    calls = {span.record: span for span in timeline.spans if span.kind == "call"}
    flow = 0
    for span in (*timeline.spans, *timeline.layers):
        place = {"pid": _process(span), "tid": threads[span.lane]}
        shown = {"name": span.name, "cat": span.kind, "ph": "X", "ts": span.start_us, "dur": span.duration_us}
        events.append({**shown, **place, "args": _arguments(span, timeline)})
        if span.stream is not None and span.kind != "layer" and span.cause in calls:
            flow += 1
            call = calls[span.cause]
            source = {"pid": _process(call), "tid": threads[call.lane]}
            events.append({**_FLOW, "ph": "s", "id": flow, "ts": call.start_us, **source})
            events.append({**_FLOW, "ph": "f", "bp": "e", "id": flow, "ts": span.start_us, **place})
    parameters = {name: value for name, value in asdict(timeline.costs).items() if name != "source"}
    other = {"label": timeline.label, "modelled": True, "source": timeline.costs.source, "parameters": parameters}
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": other}


def _process(span: Span) -> int:
    return _HOST if span.stream is None else _DEVICE


def _metadata(timeline: ModelledTimeline, threads: dict[str, int]) -> list[dict[str, Any]]:
    hosts = {span.lane for span in timeline.spans if span.stream is None}
    names = {_HOST: "program (modelled clock)", _DEVICE: f"modelled GPU: {timeline.costs.name}"}
    used = sorted({_HOST if lane in hosts else _DEVICE for lane in threads})
    events = [_named("process_name", pid, 0, {"name": names[pid]}) for pid in used]
    events += [_named("process_labels", pid, 0, {"labels": "modelled, not measured"}) for pid in used]
    for lane, tid in threads.items():
        pid = _HOST if lane in hosts else _DEVICE
        events.append(_named("thread_name", pid, tid, {"name": lane}))
        events.append(_named("thread_sort_index", pid, tid, {"sort_index": tid}))
    return events


def _named(name: str, pid: int, tid: int, args: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": pid, "tid": tid, "args": args}


def _arguments(span: Span, timeline: ModelledTimeline) -> dict[str, Any]:
    record: Record = timeline.records[span.record]
    found: dict[str, Any] = {"record": record.number}
    if span.stream is None:
        return found
    found["stream"] = f"{span.stream:#x}"
    task = record.task
    if task is not None and task.kind == "copy":
        found |= {"bytes": task.nbytes, "pinned": task.pinned, "asynchronous": task.is_async}
    elif task is not None and task.kind == "memset":
        found["bytes"] = task.nbytes
    elif task is not None and task.kind == "inference":
        found |= {"engine": task.name, "context": task.context, "layers": task.kernels}
        found["measured_on_the_processor_ms"] = record.measured_ms
    if record.number in timeline.unawaited:
        found["never_awaited"] = True
    return found
