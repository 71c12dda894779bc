"""lab5.buffers: memory for an engine, allocated once, copied without waiting, awaited once."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.evaluation.tolerance import TOLERANCES
from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling
from yolotrt_lab.types import Precision

tiny = sibling(__file__, "tiny_engines")

EXERCISE = Exercise(
    id="lab5.buffers",
    title="The buffer class",
    objective="Give an engine memory once and run every frame through it with one wait.",
    answer="EngineBuffers",
    difficulty=4,
    minutes=45,
    cases=("one image at a time", "the last batch is smaller", "frames that are views"),
    hidden=("one image at a time", "the last batch is smaller", "frames that are views"),
    forbidden=(
        "yolotrt_lab.runtimes.tensorrt_buffers.EngineBuffers",
        "yolotrt_lab.runtimes.tensorrt_session.EngineSession",
    ),
    seconds=30.0,
    reading="https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/#asynchronous-transfers-and-overlapping-transfers-with-computation",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """A network, the largest batch, and the frames to run through it."""
    sizes = {"the last batch is smaller": (3, 3, 1, 2)}.get(case, (1, 1, 1, 1))
    frames = [rng.random((size, 3, tiny.SIZE, tiny.SIZE), dtype=np.float32) for size in sizes]
    if case == "frames that are views":  # as they come from a camera: rows of pixels, channels last
        frames = [np.ascontiguousarray(frame.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for frame in frames]
    return {"model": tiny.network(rng), "batch": max(sizes), "frames": frames}


def run(answer: Any, model: bytes, batch: int, frames: list[np.ndarray]) -> dict[str, object]:
    """Make the buffers, run every frame, and count what each step asks of the device."""
    engine = tiny.engine_of(model, batch)
    with tiny.settled():
        with tiny.counted(answer) as made:
            buffers = answer(engine, batch)
        steps, outputs, kept = [], [], []
        for frame in frames:
            camera = np.array(frame, order="K")  # a camera's memory: overwritten as soon as submit returns
            with tiny.counted(answer) as submitted:
                buffers.submit({"images": camera})
            camera.fill(-1)
            with tiny.counted(answer) as waited:
                result = buffers.wait()
            steps.append({"submit": submitted.work, "wait": waited.work})
            kept.append(result)
            outputs.append(tiny.plain(result))
        return {"made": made.work, "steps": steps, "outputs": outputs, "kept": [tiny.plain(item) for item in kept]}


def _expected(answer: Any) -> list[dict[str, np.ndarray]]:
    return [tiny.expected_outputs(answer.inputs["model"], frame) for frame in answer.inputs["frames"]]


def _is_close(seen: np.ndarray, expected: np.ndarray) -> bool:
    if seen.shape != expected.shape or not np.isfinite(seen).all():
        return False
    error = np.linalg.norm(seen.astype(np.float64) - expected) / max(float(np.linalg.norm(expected)), 1e-12)
    return bool(error <= TOLERANCES[Precision.FP32].relative_l2)


def _compare(answer: Any, name: str, index: int, expected: list[dict[str, np.ndarray]], key: str) -> None:
    what = f"output {name!r} of frame {index}"
    seen = answer.item(key).item(index).item(name).array()
    right = expected[index][name]
    if seen.shape != right.shape:
        wanted = f"{what} of shape {right.shape}"
        hint = "The batch of this frame is smaller than the largest: give back only what was computed for it."
        raise Mismatch(
            expected=wanted, seen=f"shape {seen.shape}", misconception=hint if len(seen) > len(right) else ""
        )
    if _is_close(seen, right):
        return
    raise Mismatch(expected=f"{what} as ONNX Runtime computes it", seen=_described(seen), misconception=_cause(
        answer, seen, name, index, expected))  # fmt: skip


def _described(values: np.ndarray) -> str:
    bad = int((~np.isfinite(values.astype(np.float64))).sum())
    return f"{bad} of {values.size} values are NaN" if bad else "other values"


def _cause(answer: Any, seen: np.ndarray, name: str, index: int, expected: list[dict[str, np.ndarray]]) -> str:
    steps = answer.item("steps").list()
    reads = sum(step["submit"]["uninitialised_reads"] + step["wait"]["uninitialised_reads"] for step in steps)
    if reads:
        return (
            "The engine read device memory that nobody had written: a copy to the device is missing, or comes after "
            "the inference. On a GPU you would get the result of whatever was there, often of a black image."
        )
    if not np.isfinite(seen.astype(np.float64)).all():
        return (
            "The result was read before it had arrived. An asynchronous call only puts work into the stream; its "
            "result is there when the stream has been waited for."
        )
    for other, outputs in enumerate(expected):
        if other != index and _is_close(seen, outputs[name]):
            if other < index:
                return (
                    f"This is still the result of frame {other}: nothing new had arrived in the memory that was read."
                )
            return f"This is the result of frame {other}: the memory of this frame was overwritten."
    spoiled = np.full_like(answer.inputs["frames"][index], -1)
    if _is_close(seen, tiny.expected_outputs(answer.inputs["model"], spoiled)[name]):
        return (
            "The caller changed its array after submit, and the copy took the changed one: it was still queued. Take "
            "the frame into memory of your own before you return."
        )
    return "The frame did not arrive as it was sent: look at its shape, type and order in memory on the way."


@points(3)
def test_outputs_are_those_of_onnx_runtime(answer):
    """Every output of every frame is what ONNX Runtime computes."""
    expected = _expected(answer)
    answer.item("outputs").list(length=len(expected))
    for index, outputs in enumerate(expected):
        for name in outputs:
            _compare(answer, name, index, expected, "outputs")


@points(1)
def test_results_belong_to_the_caller(answer):
    """A result that was handed out stays as it is when the next frames run."""
    expected = _expected(answer)
    for index, outputs in enumerate(expected[:-1]):
        for name in outputs:
            before = answer.item("outputs").item(index).item(name).array()
            after = answer.item("kept").item(index).item(name).array()
            same = before.shape == after.shape and np.array_equal(before, after, equal_nan=before.dtype.kind == "f")
            expect(
                same,
                expected=f"output {name!r} of frame {index} unchanged after the last frame",
                seen="another value than when it was returned",
                misconception="What was returned is a view of the memory that the next frame is copied into.",
            )


def _steps(answer: Any) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = answer.item("steps").list(length=len(answer.inputs["frames"]))
    return steps


@points(2)
def test_nothing_is_allocated_per_frame(answer):
    """Memory, stream and context are made once, before the first frame."""
    made = answer.item("made").mapping(keys=("allocations", "streams", "contexts"))
    names = {"allocations": "device memory", "pinned_allocations": "pinned memory", "streams": "a stream"}
    names["contexts"] = "an execution context"
    for index, step in enumerate(_steps(answer)):
        for key, name in names.items():
            count = step["submit"][key] + step["wait"][key]
            expect(
                not count,
                expected=f"nothing made for frame {index}",
                seen=f"{name}, {count} times",
                misconception="Allocating takes as long as many an inference, and on a GPU it makes everything wait. "
                "What is the same for every frame is made in `__init__`.",
            )
    expect(
        made["allocations"] >= 3,
        expected="device memory for each input and output, allocated in `__init__`",
        seen=f"{made['allocations']} allocations",
        misconception="This engine has one input and two outputs. Ask it for its tensors instead of assuming two.",
    )


@points(2)
def test_one_copy_each_way(answer):
    """Each frame makes one copy per tensor and direction, of just the bytes it needs."""
    steps = zip(_steps(answer), answer.inputs["frames"], _expected(answer), strict=True)
    for index, (step, frame, outputs) in enumerate(steps):
        _expect_copies(step, "h2d", [frame], f"frame {index}", "to the device")
        _expect_copies(step, "d2h", list(outputs.values()), f"frame {index}", "back to the host")


def _expect_copies(step: dict[str, Any], direction: str, tensors: list[np.ndarray], what: str, way: str) -> None:
    found = [tiny.copies_of(step[part], direction=direction) for part in ("submit", "wait")]
    count, nbytes = sum(number for number, _ in found), sum(size for _, size in found)
    wanted = sum(tensor.nbytes for tensor in tensors)
    hint = ""
    if count > len(tensors):
        hint = "Something is copied twice, or piece by piece. Every copy has a fixed cost; a few large ones are best."
    elif count < len(tensors):
        hint = "Without a copy the other side keeps what it had. The engine's inputs and outputs tell what has to move."
    elif nbytes > wanted:
        hint = "The whole buffer was copied though this batch fills only a part of it: that time is paid for nothing."
    expect(
        (count, nbytes) == (len(tensors), wanted),
        expected=f"{what}: {len(tensors)} copies {way}, {wanted} bytes in all",
        seen=f"{count} copies, {nbytes} bytes",
        misconception=hint,
    )


@points(2)
def test_copies_are_pinned_and_on_an_own_stream(answer):
    """Copies are asynchronous, from and to pinned memory, in the stream that runs the engine."""
    for index, step in enumerate(_steps(answer)):
        both = [copy for part in ("submit", "wait") for copy in step[part]["copies"]]
        enqueues = step["submit"]["enqueues"] + step["wait"]["enqueues"]
        expect(both, expected=f"copies for frame {index}", seen="none")
        expect(
            all(copy["is_async"] for copy in both),
            expected="asynchronous copies only",
            seen="a synchronous copy, which makes the host wait and uses the default stream",
            misconception="`memcpy_htod` and `memcpy_dtoh` wait until the data has moved; their asynchronous sisters "
            "take a stream.",
        )
        expect(
            all(copy["pinned"] for copy in both),
            expected="every copy from or to page-locked memory",
            seen="a copy of pageable memory",
            misconception="Calling the asynchronous function is not enough: CUDA has to move pageable memory through a "
            "buffer of its own, and the host waits. The array you hand over must itself be page-locked.",
        )
        streams = {copy["stream"] for copy in both} | {stream for stream, _ in enqueues}
        expect(
            0 not in streams,
            expected="a stream of your own for copies and inference",
            seen="work on the default stream",
            misconception="The default stream waits for all others and they for it. A call without a stream uses it.",
        )
        expect(
            len(enqueues) == 1 and enqueues[0][1] == 1 and len(streams) == 1,
            expected="one inference, in the same stream as the copies",
            seen=f"{sum(count for _, count in enqueues)} inferences, {len(streams)} streams",
            misconception="Work of different streams has no order: the engine may run before its input has arrived.",
        )


@points(2)
def test_submit_does_not_wait_and_wait_waits_once(answer):
    """`submit` never waits; `wait` waits once, for the stream."""
    for index, step in enumerate(_steps(answer)):
        early, late = step["submit"]["waits"], step["wait"]["waits"]
        expect(
            early == 0 and all(copy["is_async"] for copy in step["submit"]["copies"]),
            expected=f"no wait in submit (frame {index})",
            seen=f"{early} waits" if early else "a synchronous copy, which waits",
            misconception="A wait after each call makes asynchronous work synchronous. The order within a stream is "
            "kept without your help; only the host has to be told when the result is there.",
        )
        expect(
            late == 1,
            expected=f"one wait in wait (frame {index})",
            seen=f"{late} waits" if late else "none",
            misconception="One wait for the stream covers everything that was put into it before."
            if late
            else "Nothing tells that the copies have arrived.",
        )
        expect(
            step["wait"]["device_waits"] == 0,
            expected="a wait for the stream",
            seen="a wait for the whole device",
            misconception="`Context.synchronize()` waits for everybody's work, that of other streams as well.",
        )
