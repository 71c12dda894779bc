"""The export, against the Trace Event Format as its document describes it."""

import json
import os
import subprocess
import sys

import pytest

from yolotrt_lab.emulation.chrome_trace import chrome_trace, write_chrome_trace
from yolotrt_lab.emulation.cost_model import PCIE4_X16
from yolotrt_lab.emulation.streams import Scheduler
from yolotrt_lab.emulation.timeline import modelled_timeline
from yolotrt_lab.emulation.trace import Record, Task, record_timeline

REQUIRED = {"name", "ph", "pid", "tid"}
BY_PHASE = {"M": {"args"}, "X": {"ts", "dur", "cat", "args"}, "s": {"ts", "id", "cat"}, "f": {"ts", "id", "cat", "bp"}}
METADATA = {
    "process_name": "name", "process_labels": "labels", "thread_name": "name", "thread_sort_index": "sort_index",
}  # fmt: skip


@pytest.fixture
def timeline():
    scheduler = Scheduler()
    with record_timeline() as recording:
        stream = scheduler.create_stream().handle
        scheduler.enqueue(stream, lambda: None, Task("copy", nbytes=1000, direction="h2d"))
        scheduler.enqueue(stream, lambda: None, Task("inference", name="tiny", context=3, kernels=7))
        scheduler.enqueue(stream, lambda: None, Task("copy", nbytes=500, direction="d2h", pinned=False))
        scheduler.enqueue(stream, lambda: None, Task("memset", nbytes=4))
    return modelled_timeline(recording.records, PCIE4_X16)


def validate(trace):
    """Assert what the format's document demands."""
    assert set(trace) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    flows = {"s": {}, "f": {}}
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    for event in trace["traceEvents"]:
        assert set(event) >= REQUIRED | BY_PHASE[event["ph"]], event
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert METADATA[event["name"]] in event["args"]
        else:
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] > 0
        if event["ph"] in flows:
            flows[event["ph"]][event["id"]] = event
            assert any(
                (s["pid"], s["tid"]) == (event["pid"], event["tid"]) and s["ts"] <= event["ts"] <= s["ts"] + s["dur"]
                for s in slices
            ), "a flow event binds to a slice around it"
    assert set(flows["s"]) == set(flows["f"])
    for number, start in flows["s"].items():
        assert start["ts"] <= flows["f"][number]["ts"]
    named = {(e["pid"], e["tid"]) for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in slices} <= named
    processes = {event["pid"] for event in trace["traceEvents"] if event["name"] == "process_name"}
    assert {event["pid"] for event in trace["traceEvents"]} == processes


def test_it_keeps_to_the_format(timeline):
    validate(chrome_trace(timeline))


def test_it_says_that_it_is_modelled_and_how(timeline):
    trace = chrome_trace(timeline)
    other = trace["otherData"]
    assert other["modelled"] is True
    assert "odelled, not measured" in other["label"]
    assert other["source"] == PCIE4_X16.source
    assert other["parameters"]["pinned_gb_s"] == PCIE4_X16.pinned_gb_s
    names = [event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "process_name"]
    assert all("modelled" in name for name in names)


def test_every_span_is_there_with_its_facts(timeline):
    events = [event for event in chrome_trace(timeline)["traceEvents"] if event["ph"] == "X"]
    assert len(events) == len(timeline.spans)
    facts = next(event for event in events if event["cat"] == "inference")["args"]
    assert (facts["record"], facts["engine"], facts["context"], facts["layers"]) == (1, "tiny", 3, 7)
    assert "never_awaited" not in facts, "the pageable copy behind it waited for it"
    memset = next(event for event in events if event["cat"] == "memset")
    assert (memset["args"]["bytes"], memset["args"]["never_awaited"]) == (4, True)
    copy = next(event for event in events if event["name"] == "copy d2h" and event["cat"] == "copy")
    assert (copy["args"]["bytes"], copy["args"]["pinned"], copy["args"]["asynchronous"]) == (500, False, True)


def test_each_piece_of_work_has_an_arrow_from_its_call(timeline):
    events = chrome_trace(timeline)["traceEvents"]
    assert sum(event["ph"] == "f" for event in events) == 4


def test_layers_lie_inside_their_inference():
    task = Task("inference", name="tiny")
    record = Record(0, "enqueue", task=task, stream=16, measured_ms=2.0, layers_ms=(("conv", 1.0), ("add", 1.0)))
    trace = chrome_trace(modelled_timeline([record]))
    validate(trace)
    by_name = {event["name"]: event for event in trace["traceEvents"] if event["ph"] == "X" and event["pid"] == 2}
    outer = by_name["inference"]
    for name in ("conv", "add"):
        assert by_name[name]["tid"] == outer["tid"]
        assert outer["ts"] <= by_name[name]["ts"]
        assert by_name[name]["ts"] + by_name[name]["dur"] <= outer["ts"] + outer["dur"] + 1e-6


PROGRAM = """
import os, sys
from cuda.bindings import runtime as rt
memory = rt.cudaMalloc(64)[1]
rt.cudaMemsetAsync(memory, 0, 64, 0)
rt.cudaDeviceSynchronize()
os.chdir("/")
sys.exit(int(sys.argv[1]))
"""


class TestTheScriptRunner:
    """`python -m yolotrt_lab.emulation --trace FILE script.py`"""

    @pytest.fixture
    def run(self, tmp_path):
        def run(text, *arguments):
            (tmp_path / "program.py").write_text(text)
            command = [sys.executable, "-m", "yolotrt_lab.emulation", "--trace", "trace.json", "program.py", *arguments]
            environment = {**os.environ, "YOLOTRT_PLATFORM": "emulated"}
            return subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
            )

        return run

    @pytest.mark.parametrize("code", [0, 3])
    def test_it_writes_a_trace_however_the_program_ends(self, run, tmp_path, code):
        done = run(PROGRAM, str(code))
        assert done.returncode == code
        assert "Modelled, not measured" in done.stderr
        trace = json.loads((tmp_path / "trace.json").read_text())
        validate(trace)
        names = [event["name"] for event in trace["traceEvents"] if event["ph"] == "X"]
        assert names == ["allocate device", "memset", "synchronize device", "memset", "wait"]

    def test_it_says_when_there_is_nothing_to_write(self, run, tmp_path):
        assert "nothing was asked of an emulated device" in run("print()").stderr
        assert not (tmp_path / "trace.json").exists()


def test_nothing_is_a_valid_trace_too(tmp_path):
    validate(chrome_trace(modelled_timeline([])))
    write_chrome_trace(tmp_path / "trace.json", modelled_timeline([]))
    validate(json.loads((tmp_path / "trace.json").read_text()))
