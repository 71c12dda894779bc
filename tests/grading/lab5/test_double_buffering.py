"""lab5.double_buffering: two frames under way at any time, results in order."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from yolotrt_lab.evaluation.tolerance import TOLERANCES
from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling
from yolotrt_lab.types import Precision

tiny = sibling(__file__, "tiny_engines")

_MANY = ("eight frames", "seven frames")

EXERCISE = Exercise(
    id="lab5.double_buffering",
    title="Double buffering over two streams",
    objective="Keep the GPU busy: hand in the next frame before you wait for the last one.",
    answer="double_buffered",
    difficulty=3,
    minutes=30,
    cases=(*_MANY, "one frame", "no frame"),
    hidden=_MANY,
    seconds=30.0,
    reading="https://developer.nvidia.com/blog/how-overlap-data-transfers-cuda-cc/",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """A network and the frames to run through it."""
    count = {"eight frames": 8, "seven frames": 7, "one frame": 1, "no frame": 0}[case]
    frames = [rng.random((1, 3, tiny.SIZE, tiny.SIZE), dtype=np.float32) for _ in range(count)]
    return {"model": tiny.network(rng), "frames": frames}


def run(answer: Any, model: bytes, frames: list[np.ndarray]) -> dict[str, object]:
    """Let a camera hand out the frames, and note when each is taken and when each result comes."""
    engine = tiny.engine_of(model, 1)
    notes: list[dict[str, object]] = []
    outputs: list[object] = []
    with tiny.settled(), tiny.counted(answer) as total:

        def camera() -> Any:
            memory = np.empty((1, 3, tiny.SIZE, tiny.SIZE), np.float32)  # a camera has one, and overwrites it
            for frame in frames:
                notes.append({"what": "frame", "calls": len(total.calls)})
                memory[...] = frame
                yield memory

        for result in answer(engine, camera()):
            notes.append({"what": "result", "calls": len(total.calls)})
            outputs.append(result)
            if len(outputs) > len(frames):
                break
        kept = [tiny.plain(result) for result in outputs]
    calls = [
        {"action": call.action, "stream": call.stream, "event": call.event, "context": call.context}
        for call in total.calls
    ]
    return {"outputs": kept, "notes": notes, "calls": calls, "work": total.work}


def _is_close(seen: np.ndarray, expected: np.ndarray) -> bool:
    if seen.shape != expected.shape or not np.isfinite(seen).all():
        return False
    error = np.linalg.norm(seen.astype(np.float64) - expected) / max(float(np.linalg.norm(expected)), 1e-12)
    return bool(error <= TOLERANCES[Precision.FP32].relative_l2)


@points(3)
def test_every_result_comes_in_order(answer):
    """There is one result per frame, in the order of the frames, as ONNX Runtime computes it."""
    expected = [tiny.expected_outputs(answer.inputs["model"], frame) for frame in answer.inputs["frames"]]
    outputs = answer.item("outputs").list()
    hint = ""
    if len(outputs) < len(expected):
        hint = "When the camera has ended there are still frames under way. Who waits for them?"
    elif len(outputs) > len(expected):
        hint = "A result was handed out twice, or one without a frame."
    if len(outputs) != len(expected):
        raise Mismatch(expected=f"{len(expected)} results", seen=f"{len(outputs)}", misconception=hint)
    for index, right in enumerate(expected):
        for name in right:
            seen = answer.item("outputs").item(index).item(name).array()
            if not _is_close(seen, right[name]):
                raise Mismatch(
                    expected=f"result {index}: output {name!r} of frame {index}",
                    seen=_described(seen, name, expected),
                    misconception=_cause(seen, name, index, expected),
                )


def _described(seen: np.ndarray, name: str, expected: list[dict[str, np.ndarray]]) -> str:
    for other, outputs in enumerate(expected):
        if _is_close(seen, outputs[name]):
            return f"that of frame {other}"
    return "NaN" if not np.isfinite(seen.astype(np.float64)).all() else "other values"


def _cause(seen: np.ndarray, name: str, index: int, expected: list[dict[str, np.ndarray]]) -> str:
    if not np.isfinite(seen.astype(np.float64)).all():
        return "The result was read before it had arrived: was the right stream waited for?"
    for other, outputs in enumerate(expected):
        if _is_close(seen, outputs[name]):
            if other > index:
                return (
                    f"Frame {other} took the place of frame {index}, or the results were handed out in another order: "
                    "two frames under way need two sets of memory, the older one is awaited first, and what you hand "
                    "out must not be memory that a later frame is copied into."
                )
            return f"Frame {index} never got into the memory that was read; it still holds that of frame {other}."
    return "The camera has one piece of memory and overwrites it: take the frame out of it before you ask for the next."


def _expect_all_frames(answer: Any) -> None:
    """Whoever runs nothing does nothing wrong; that is worth no points."""
    total = len(answer.inputs["frames"])
    ran = sum(call["action"] == "infer" for call in answer.item("calls").list())
    expect(ran == total, expected=f"{total} inferences for {total} frames", seen=str(ran))


def _calls_before(answer: Any, note: dict[str, Any], action: str) -> int:
    calls = answer.item("calls").list()
    return sum(call["action"] == action for call in calls[: note["calls"]])


@points(2, cases=_MANY)
def test_the_next_frame_is_handed_in_before_the_last_is_awaited(answer):
    """The GPU always has the next frame before the host waits for the last one."""
    _expect_all_frames(answer)
    waits, frames = 0, 0
    for call in answer.item("calls").list():
        if call["action"] == "wait":
            waits += 1
        if call["action"] == "infer":
            frames += 1
            expect(
                waits <= max(frames - 2, 0),
                expected=f"frame {frames - 1} handed in while frame {frames - 2} is still under way",
                seen=f"{waits} waits before it, so that nothing was under way any more",
                misconception="Two streams alone overlap nothing: as long as the host waits for a frame before it "
                "hands in the next one, the GPU idles while the host prepares.",
            )


@points(1, cases=_MANY)
def test_frames_are_taken_one_at_a_time(answer):
    """A frame is taken when there is a place for it, and results come as early as they can."""
    _expect_all_frames(answer)
    taken = handed_out = 0
    for note in answer.item("notes").list():
        if note["what"] == "result":
            handed_out += 1
            continue
        submitted = _calls_before(answer, note, "infer")
        expect(
            submitted == taken,
            expected=f"frame {taken - 1} handed to the GPU before frame {taken} is taken",
            seen=f"{submitted} frames handed in, {taken} taken",
            misconception="A camera never ends: who collects its frames first never starts.",
        )
        expect(
            handed_out >= taken - 2,
            expected=f"the result of frame {taken - 3} before frame {taken} is taken",
            seen=f"{handed_out} results by then",
            misconception="With more frames under way than needed the throughput is no higher, but every result comes "
            "later. Collecting all results first makes the latency as long as the film: `yield` them.",
        )
        taken += 1


@points(2, cases=_MANY)
def test_two_sets_take_turns(answer):
    """Two streams with a context and memory each take turns; nothing is made after the second frame."""
    work = answer.item("work").output
    streams = [stream for stream, _ in work["enqueues"]]
    expect(
        len(streams) == 2 and 0 not in streams,
        expected="inferences in two streams of your own",
        seen=f"{len(streams)} stream{'s' if len(streams) != 1 else ''}"
        + (", the default stream among them" if 0 in streams else ""),
        misconception="Work of one stream runs one after the other; what is to overlap needs streams of its own.",
    )
    infers = [call for call in answer.item("calls").list() if call["action"] == "infer"]
    used = [(call["context"], call["stream"]) for call in infers]
    expect(
        len({context for context, _ in used}) == 2 and len(set(used)) == 2,
        expected="an execution context for each stream",
        seen=f"{len({context for context, _ in used})} contexts for {len(streams)} streams",
        misconception="A context holds the intermediate results of one inference. Two inferences at once in one "
        "context overwrite each other's, on a GPU without any error.",
    )
    expect(
        all(first[1] != second[1] for first, second in itertools.pairwise(used)),
        expected="the two streams in turns",
        seen="two frames after each other in the same stream",
        misconception="Then the second of them waits for the first, and the other stream idles.",
    )
    frames = [note for note in answer.item("notes").list() if note["what"] == "frame"]
    total = len(answer.inputs["frames"])
    expect(len(frames) == total, expected=f"{total} frames taken", seen=str(len(frames)))
    making = ("allocate", "allocate_pinned", "stream", "context")
    late = sum(call["action"] in making for call in answer.item("calls").list()[frames[2]["calls"] :])
    expect(
        not late,
        expected="memory, streams and contexts made for the first two frames serve all others",
        seen=f"{late} of them made later",
        misconception="A set is used again as soon as its result was taken out.",
    )


@points(1, cases=_MANY)
def test_one_wait_per_frame(answer):
    """Each frame is awaited once, on its own."""
    work, frames = answer.item("work").output, len(answer.inputs["frames"])
    expect(
        not work["device_waits"] and all(copy["is_async"] for copy in work["copies"]),
        expected="waits for one frame at a time",
        seen="a wait for the whole device" if work["device_waits"] else "a synchronous copy",
        misconception="That waits for the frame that was just handed in as well, and so takes the overlap away.",
    )
    expect(
        work["waits"] == frames,
        expected=f"{frames} waits for {frames} frames",
        seen=f"{work['waits']}",
        misconception="Waiting for both streams, or twice for one, waits for more than the result you need.",
    )
