"""What is kept of a cell's outputs while they stream in."""

import pytest

from yolotrt_lab.grading.execution.channels import Message
from yolotrt_lab.grading.execution.outputs import CellOutputs, OutputLimits

LIMITS = OutputLimits(characters=100, outputs=6, picture_bytes=40, cell_bytes=10_000)


def message(kind, size=100, whole=True, **content):
    return Message("iopub", kind, "request", size, content, whole)


def stream(text, name="stdout"):
    return message("stream", name=name, text=text)


def shown(text, display_id=None, kind="display_data"):
    transient = {"display_id": display_id} if display_id else {}
    return message(kind, data={"text/plain": text}, metadata={}, transient=transient)


def kept(*messages):
    outputs = CellOutputs(LIMITS)
    for item in messages:
        outputs.take(item)
    return outputs.finished()


def texts(*messages):
    return [output.get("text") or output["data"]["text/plain"] for output in kept(*messages)]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], []),
        ([stream("a"), stream("b"), stream("c", "stderr"), stream("d")], ["ab", "c", "d"]),
        ([shown("one"), stream("a"), shown("two")], ["one", "a", "two"]),
        ([shown("0 %", "bar"), stream("a"), shown("100 %", "bar", "update_display_data")], ["100 %", "a"]),
        ([shown("x", "unknown", "update_display_data")], []),
        ([stream("a"), message("clear_output", wait=False), stream("b")], ["b"]),
        ([stream("a"), message("clear_output", wait=True)], ["a"]),
        ([stream("a"), message("clear_output", wait=True), stream("b")], ["b"]),
        ([shown("x", "bar"), message("clear_output"), shown("y", "bar", "update_display_data")], []),
        ([message("comm_open", comm_id="x"), message("execute_reply", status="ok"), message("")], []),
        ([message("input_request", prompt="?"), message("status", execution_state="busy")], []),
    ],
)
def test_outputs_as_a_notebook_shows_them(messages, expected):
    assert texts(*messages) == expected


@pytest.mark.parametrize("odd", [None, 3, ["a"], {"text/plain": 3}, {"a": {}}])
@pytest.mark.parametrize("kind", ["stream", "display_data", "execute_result", "error", "update_display_data"])
def test_nothing_odd_comes_through(kind, odd):
    for output in kept(
        message(kind, data=odd, text=odd, name=odd, ename=odd, evalue=odd, traceback=odd, transient=odd)
    ):
        assert set(output) <= {"output_type", "name", "text", "data", "metadata", "ename", "evalue", "traceback"}
        assert all(isinstance(value, str) for value in output.get("data", {}).values())


def test_a_long_stream_keeps_its_beginning_and_its_end():
    (text,) = texts(*[message("stream", size=4, text=f"{number:04}") for number in range(1000)])
    assert text.startswith("00000001")
    assert text.endswith("09980999")
    assert "3900 characters left out" in text


def test_a_flood_is_dropped_unread_and_said_once():
    found = kept(*[stream("x" * 10)] * 3, message("stream", size=10**9, whole=False), *[stream("more")] * 1000)
    assert [output["text"] for output in found] == [
        "x" * 30,
        "The outputs that followed were too much, and are left out.",
    ]


def test_many_outputs_leave_place_for_the_graders_own():
    outputs = CellOutputs(LIMITS)
    for number in range(100):
        outputs.take(shown(str(number)))
    outputs.add_error("LimitExceeded", "used too much")
    found = outputs.finished()
    assert len(found) == LIMITS.outputs
    assert [output.get("evalue") for output in found][-2:] == ["used too much", None]
