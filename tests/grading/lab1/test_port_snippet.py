"""lab1.port_snippet: an inference function for TensorRT 7, brought to today's API."""

import numpy as np

from yolotrt_lab.evaluation.tolerance import TOLERANCES, compare_tensors
from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling
from yolotrt_lab.types import Precision

tiny = sibling(__file__, "tiny_engine")

EXERCISE = Exercise(
    id="lab1.port_snippet",
    title="Port a snippet to today's API",
    objective="Run an engine by TensorRT's present API, whatever its inputs and outputs are called.",
    answer="infer",
    difficulty=3,
    minutes=30,
    cases=("one image", "a batch", "two outputs"),
    hidden=("a batch", "two outputs"),
    forbidden=(
        "yolotrt_lab.runtimes.tensorrt_session.EngineSession",
        "yolotrt_lab.runtimes.tensorrt_buffers.EngineBuffers",
        "onnxruntime.InferenceSession",
    ),
    seconds=30.0,
    reading="https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/api/tensorrt-8x-to-10x-python-api.html",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """A network, images for it, and images that its engine cannot take."""
    dynamic = case != "one image"
    count = int(rng.integers(2, tiny.MAX_BATCH + 1)) if dynamic else 1
    images = rng.random((count, tiny.SIZE, tiny.SIZE, 3), dtype=np.float32)
    return {
        "model": tiny.network(rng, batch="batch" if dynamic else 1, outputs=2 if case == "two outputs" else 1),
        # As it comes from a camera: a view, channels moved to the front.
        "images": images.transpose(0, 3, 1, 2)
        if case == "two outputs"
        else np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
        "too_many": rng.random((tiny.MAX_BATCH + 3 if dynamic else 2, 3, tiny.SIZE, tiny.SIZE), dtype=np.float32),
    }


def run(answer, model, images, too_many) -> dict[str, object]:
    engine, precision = tiny.engine_of(model)
    with tiny.counted(answer) as work:
        outputs = tiny.plain(answer(engine, images))
    return {"outputs": outputs, "precision": precision, "work": work, "refusal": _refusal(answer, engine, too_many)}


def _refusal(answer, engine, too_many) -> str:
    try:
        answer(engine, too_many)
    except Exception as error:
        return type(error).__name__
    return ""


def _require_todays_names(answer) -> None:
    """Explain an AttributeError: most likely a name that TensorRT no longer has."""
    error = answer.error()
    if error is not None and error[0] == "AttributeError":
        raise Mismatch(
            expected="names that this TensorRT has",
            seen=f"AttributeError: {error[1]}"[:160],
            misconception="Is this a name of TensorRT 7 or 8? Bindings with numbers became tensors with names, and the "
            "old names are gone. The table above tells what took their place.",
        )


def _output(answer, name: str):
    _require_todays_names(answer)
    outputs = answer.item("outputs").mapping()
    if name not in outputs:
        raise Mismatch(
            expected=f"a dict with the array of output {name!r}",
            seen=f"keys {sorted(map(str, outputs))}",
            misconception="The engine says what its outputs are called, and which tensors are outputs.",
        )
    return answer.item("outputs").item(name)


@points(3)
def test_every_output_comes_under_its_name(answer):
    """Returns every output by its name, with shape and type for this batch."""
    expected = tiny.reference(answer.inputs["model"], answer.inputs["images"])
    for name, right in expected.items():
        array = _output(answer, name).array()
        if array.shape != right.shape:
            flat = array.ndim == 1 and array.size == right.size
            hint = (
                "Old code returned flat memory, and its callers had to know the shape. The context knows it."
                if flat
                else "Ask the context for the shape, after it knows that of the input: the engine only knows -1."
            )
            raise Mismatch(expected=f"{name!r} of shape {right.shape}", seen=f"shape {array.shape}", misconception=hint)
        expect(
            array.dtype == right.dtype,
            expected=f"{name!r} of type {right.dtype}",
            seen=array.dtype,
            misconception="`trt.nptype` turns the engine's type into NumPy's.",
        )
    more = sorted(map(str, set(answer.item("outputs").mapping()) - set(expected)))
    expect(
        not more, expected="outputs only", seen=f"also {more}", misconception="Inputs are tensors of the engine too."
    )


@points(6)
def test_outputs_are_those_of_onnx_runtime(answer):
    """The outputs are what ONNX Runtime computes from the same network and images."""
    expected = tiny.reference(answer.inputs["model"], answer.inputs["images"])
    for name, right in expected.items():
        array = _output(answer, name).array(shape=right.shape)
        precision = answer.item("precision").text()
        limits = TOLERANCES[Precision(precision) if precision in set(Precision) else Precision.FP32]
        agreement = compare_tensors(array.astype(right.dtype), right)
        if agreement.finite and agreement.relative_l2 <= limits.relative_l2 and agreement.cosine >= limits.cosine:
            continue
        bad = int((~np.isfinite(array.astype(np.float64))).sum())
        seen = f"{bad} of {array.size} values are NaN" if bad else f"a relative error of {agreement.relative_l2:.2g}"
        raise Mismatch(
            expected=f"{name!r} within a relative error of {limits.relative_l2:g} of ONNX Runtime's",
            seen=seen,
            misconception=_cause(answer, array),
        )


def _cause(answer, array) -> str:
    if answer.item("work").mapping().get("uninitialised_reads"):
        return (
            "The engine read device memory that nobody had written. Is the input copied to the device, in the same "
            "stream and before the inference?"
        )
    if not np.isfinite(array.astype(np.float64)).all():
        return (
            "This memory was read before anything had arrived in it. Was an address set for this tensor, was its "
            "result copied back, and did somebody wait for the stream?"
        )
    if not answer.inputs["images"].flags.c_contiguous:
        return "These images are a view, channels moved to the front: the bytes lie in memory in another order."
    return "The engine saw other numbers than it was given. Look at the input's way to the device: type, order, size."


@points(3)
def test_images_that_the_engine_cannot_take_are_refused(answer):
    """Raises an error for a batch that is outside of the engine's profile."""
    _require_todays_names(answer)
    refusal = answer.item("refusal").text()
    count = len(answer.inputs["too_many"])
    expect(
        refusal,
        expected=f"an exception for {count} images",
        seen="a result",
        misconception="TensorRT raises nothing: `set_input_shape`, `set_tensor_address` and `execute_async_v3` return "
        "False, write to the log, and leave you with what was in the memory before.",
    )


@points(4)
def test_work_is_done_once_on_a_stream_of_its_own(answer):
    """One inference on a stream of its own, one copy in, one copy out per output, and a wait."""
    _require_todays_names(answer)
    work = answer.item("work").mapping(keys=("to_device", "to_host", "enqueues", "waits"))
    expected = tiny.reference(answer.inputs["model"], answer.inputs["images"])
    images = answer.inputs["images"]
    runs = sum(count for _, count in work["enqueues"])
    expect(
        runs == 1,
        expected="1 inference for one call, the whole batch at once",
        seen=f"{runs} inferences",
        misconception="A batch goes through the engine in one piece: that is what batches are for.",
    )
    expect(
        work["enqueues"][0][0] != 0,
        expected="the inference on a stream of its own",
        seen="an inference on the default stream",
        misconception="`execute_v2` is left over from the old API: it takes bindings in order, and blocks. The default "
        "stream waits for everybody else's work.",
    )
    for key, what, right in (
        ("to_device", "to the device", [1, images.nbytes]),
        ("to_host", "to the host", [len(expected), sum(array.nbytes for array in expected.values())]),
    ):
        expect(
            list(work[key]) == right,
            expected=f"{right[0]} copies {what}, {right[1]} bytes in all",
            seen=f"{work[key][0]} copies, {work[key][1]} bytes",
            misconception="Every tensor travels once, in the size it has for this batch.",
        )
    expect(
        work["waits"] >= 1,
        expected="a wait before the result is read",
        seen="none",
        misconception="An asynchronous call only puts work into the stream.",
    )
