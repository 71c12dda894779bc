"""lab4.int8_calibrator: TensorRT's own calibration interface, with a cache."""

import contextlib
import os

import numpy as np
import onnx

from yolotrt_lab.emulation.counters import count_work
from yolotrt_lab.engines.build import build_engine
from yolotrt_lab.engines.calibrator import ClassicCalibration
from yolotrt_lab.engines.messages import make_logger
from yolotrt_lab.engines.options import EngineOptions
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.errors import LabError
from yolotrt_lab.evaluation.tolerance import compare_yolo_outputs, judge
from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_equal, points, scratch, sibling
from yolotrt_lab.runtimes.open import open_runtime
from yolotrt_lab.types import Precision

graphs = sibling(__file__, "quantization_graphs")

EXERCISE = Exercise(
    id="lab4.int8_calibrator",
    title="An entropy calibrator with a cache",
    objective="Feed calibration batches to TensorRT through device memory, and calibrate only once.",
    answer="EntropyCalibrator",
    difficulty=3,
    minutes=25,
    cases=("two batches", "a rest that fills no batch", "a strided view"),
    hidden=("a rest that fills no batch", "a strided view"),
    forbidden=("yolotrt_lab.engines.calibrator.make_calibrator", "yolotrt_lab.engines.calibrator._BatchFeed"),
    seconds=30.0,
    reading="https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/_static/python-api/infer/Int8/EntropyCalibrator2.html",
)

INPUT = "images"


def inputs(case, rng):
    """Preprocessed images, how many of them make a batch, and the seed of the network."""
    batch_size = int(rng.integers(2, 5))
    count = 2 * batch_size if case == "two batches" else 3 * batch_size + int(rng.integers(1, batch_size))
    images = graphs.smooth_images(rng, count)
    if case == "a strided view":  # as after image[..., ::-1] for BGR to RGB
        images = images[:, ::-1]
    return {"images": images, "batch_size": batch_size, "seed": int(rng.integers(1 << 30))}


def network(seed):
    """Return the FP32 network of a seed, with a dynamic batch."""
    return graphs.detector(np.random.default_rng(seed), residuals=1, pooling=False, batch="batch")


@contextlib.contextmanager
def tensorrt_10():
    """Give TensorRT 10, emulated where the one at hand is newer: calibrators ended with version 10."""
    platform = activate()
    if platform.api_major == 10:
        yield platform.trt
        return
    before = {name: os.environ.get(name) for name in ("YOLOTRT_PLATFORM", "YOLOTRT_TRT_API")}
    os.environ.update(YOLOTRT_PLATFORM="emulated", YOLOTRT_TRT_API="10")
    try:
        yield activate().trt
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        activate()


def run(answer, images, batch_size, seed):
    """Build twice with one cache file, watching what the calibrator does."""
    newer = activate().api_major > 10
    folder = scratch()
    onnx.save(network(seed), folder / "network.onnx")
    cache = folder / "calibration.cache"
    with tensorrt_10() as trt:
        # On TensorRT 11 the student's class had nothing to inherit from.
        kind = type(answer.__name__, (answer, trt.IInt8EntropyCalibrator2), {}) if newer else answer
        first = _build(trt, kind, (images, batch_size, cache), folder / "network.onnx")
        written = cache.read_bytes() if cache.is_file() else None
        second = _build(trt, kind, (images, batch_size, cache), folder / "network.onnx")
    return {"first": first, "second": second, "cache": written}


def _build(trt, kind, arguments, onnx_path):
    from cuda.bindings import runtime as cudart

    seen = {"batches": [], "asked": 0, "batch_size": None, "written": None, "read": False, "error": ""}
    _, batch_size, _ = arguments

    class Watched(kind):
        """The student's calibrator, with somebody looking over its shoulder."""

        def get_batch_size(self):
            seen["batch_size"] = super().get_batch_size()
            return seen["batch_size"]

        def get_batch(self, names):
            seen["asked"] += 1
            try:
                given = super().get_batch(names)
            except Exception as error:
                seen["error"] = seen["error"] or f"get_batch: {type(error).__name__}: {error}"
                raise
            if given:
                seen["batches"].append(_on_device(cudart, given, (batch_size, 3, graphs.SIZE, graphs.SIZE)))
            return given

        def read_calibration_cache(self):
            content = super().read_calibration_cache()
            seen["read"] = content is not None
            return content

        def write_calibration_cache(self, cache):
            seen["written"] = bytes(cache)
            return super().write_calibration_cache(cache)

    with count_work() as measured:
        calibrator = Watched(*arguments)
        calibrator.get_batch_size()
        plan, log = _plan(trt, calibrator, batch_size, onnx_path)
        del calibrator
    work = measured.work
    counted = {"allocations": work.allocations.count, "bytes": work.allocations.bytes_total, "frees": work.frees}
    return seen | counted | {"built": plan is not None, "log": log}


def _on_device(cudart, given, shape):
    """Return what lies at the address that TensorRT is given; None if no device memory is there."""
    try:
        (address,) = (int(item) for item in given)
        found = np.empty(shape, np.float32)
        cudart.cudaDeviceSynchronize()
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        (code,) = cudart.cudaMemcpy(found.ctypes.data, address, found.nbytes, kind)
    except Exception:
        return None
    return found if int(code) == 0 else None


def _plan(trt, calibrator, batch_size, onnx_path):
    """Return the plan, or None, and what TensorRT had to say."""
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    definition = builder.create_network(0)
    parser = trt.OnnxParser(definition, logger)
    parser.parse_from_file(str(onnx_path))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *[(size, 3, graphs.SIZE, graphs.SIZE) for size in (1, batch_size, batch_size)])
    config.add_optimization_profile(profile)
    config.set_flag(trt.BuilderFlag.INT8)
    config.int8_calibrator = calibrator
    config.set_calibration_profile(profile)
    plan = builder.build_serialized_network(definition, config)
    return plan, logger.errors()


def expected_batches(answer):
    """Return the whole batches, in order."""
    images, size = np.ascontiguousarray(answer.inputs["images"]), answer.inputs["batch_size"]
    return [images[start : start + size] for start in range(0, len(images) - size + 1, size)]


def require_ran(answer, build="first"):
    """Return what was seen of one build, or say why nothing was."""
    seen = answer.item(build).mapping()
    expect(not seen["error"], expected="batches until there are no more", seen=seen["error"])
    return seen


@points(2)
def test_batches_arrive_on_the_device(answer):
    """Every whole batch arrives in device memory, once, in order."""
    seen, expected = require_ran(answer), expected_batches(answer)
    size = answer.inputs["batch_size"]
    expect_equal(seen["batch_size"], size, what="get_batch_size()")
    received = seen["batches"]
    place = next((number for number, batch in enumerate(received) if batch is None), None)
    if place is not None:
        raise Mismatch(
            expected="a list with one address of device memory",
            seen=f"batch {place} is not in device memory",
            misconception="TensorRT reads the batch on the GPU: it wants [address], an address that cudaMalloc gave. "
            "The address of a NumPy array means nothing there.",
        )
    for number, (batch, right) in enumerate(zip(received, expected, strict=False)):
        if not np.array_equal(batch, right):
            raise Mismatch(
                expected=f"batch {number} as it is in `images`",
                seen="other values at the address",
                misconception=_batch_idea(answer, number, batch, right, expected),
            )
    rest = len(answer.inputs["images"]) % size
    idea = f"{rest} images are left over. They fill no batch: TensorRT would read past them." if rest else ""
    if len(received) < len(expected):
        idea = "After the last batch return None, not before."
    expect_equal(len(received), len(expected), what="the number of batches", misconception=idea)
    expect_equal(seen["asked"], len(expected) + 1, what="calls of get_batch, the last one answered with None")


def _batch_idea(answer, number, batch, right, expected):
    images, size = answer.inputs["images"], answer.inputs["batch_size"]
    base = images if images.flags.c_contiguous else images[:, ::-1]
    if number and np.array_equal(batch, expected[0]):
        return "That is the first batch again: does every call go one batch further, and copy it?"
    if not images.flags.c_contiguous and np.array_equal(batch, base[number * size : (number + 1) * size]):
        return "The channels are in the other order: a strided view was copied as if its memory were contiguous."
    if not images.flags.c_contiguous:
        return "A strided view starts elsewhere in memory and jumps. Copy a contiguous array."
    if np.isnan(batch).any() or not np.isclose(batch, right).any():
        return "Nothing of the batch got there: was it copied, and was the copy finished before get_batch returned?"
    if np.array_equal(np.sort(batch.ravel()), np.sort(right.ravel())):
        return "All the values are there, but in another order: the layout changed on the way."
    return "Only a part of the batch arrived: how many bytes does a float32 batch have?"


@points(2)
def test_engine_from_the_cache_is_int8_and_follows_fp32(answer):
    """An engine built with the cache runs in INT8 and follows FP32."""
    seen = require_ran(answer)
    content = answer.item("cache").output
    reason = (seen["log"] or "no message").splitlines()[0]
    expect(
        seen["built"] and isinstance(content, bytes) and content,
        expected="an engine, and the cache of its calibration",
        seen=f"no engine: {reason}" if not seen["built"] else "an engine, but no cache file",
        misconception="" if not seen["built"] else "write_calibration_cache gets the cache: write it to the file.",
    )
    folder = scratch()
    model = network(answer.inputs["seed"])
    onnx.save(model, folder / "network.onnx")
    (folder / "calibration.cache").write_bytes(content)
    options = EngineOptions(precision=Precision.INT8, classic=True)
    calibration = ClassicCalibration(batches=(), cache=folder / "calibration.cache")
    with tensorrt_10():
        try:
            build = build_engine(
                folder / "network.onnx", folder / "int8.engine", options=options, calibration=calibration
            )
        except LabError as error:
            raise Mismatch(expected="a cache that TensorRT can use", seen=error.one_line) from None
        images = graphs.smooth_images(np.random.default_rng(answer.inputs["seed"]), 3)
        with open_runtime(folder / "int8.engine") as runtime:
            outputs = [next(iter(runtime.infer({INPUT: image[None]}).values())) for image in images]
    reference = graphs.infer(model, images)
    agreement = compare_yolo_outputs(np.concatenate(outputs), reference, num_classes=reference.shape[1] - 4)
    verdict = judge(
        executed=build.report.executed_precision, claimed=Precision.INT8, tensors=agreement.as_tensors("output")
    )
    expect(
        verdict.passed,
        expected="INT8 by the inspector, and the INT8 row of the tolerance ladder",
        seen="; ".join(verdict.reasons)[:300],
        misconception="The scales are those of other images than the network gets to see.",
    )


@points(2)
def test_second_build_reads_the_cache(answer):
    """The cache is kept as it is, and makes the second build ask for nothing."""
    first, second = require_ran(answer), require_ran(answer, "second")
    expect(
        not first["read"],
        expected="None from read_calibration_cache while there is no file",
        seen="something else",
        misconception="Whatever is not None is taken for a cache, and the images are never asked for.",
    )
    content = answer.item("cache").output
    expect(
        isinstance(content, bytes) and content == first["written"],
        expected="the bytes that TensorRT handed over, in the file",
        seen="no file" if content is None else "a file with other content",
        misconception="write_calibration_cache gets the whole cache, ready to be written.",
    )
    expect(
        second["asked"] == 0 and second["read"] and second["built"],
        expected="no batch asked for in the second build",
        seen=f"{second['asked']} calls of get_batch" if second["built"] else f"no engine: {second['log'][:120]}",
        misconception="If read_calibration_cache returns the file's bytes, TensorRT skips calibration: minutes saved.",
    )


@points(1)
def test_device_memory(answer):
    """One allocation for all batches, freed at the end; none if the cache is read."""
    first, second = require_ran(answer), require_ran(answer, "second")
    size = answer.inputs["batch_size"] * 3 * graphs.SIZE**2 * 4
    if activate().kind == "real":  # work is counted by the emulation only
        return
    expect(
        first["allocations"] == 1,
        expected="one allocation, reused for every batch",
        seen=f"{first['allocations']} allocations",
        misconception="Device memory is scarce and slow to get: TensorRT has read a batch before it asks for the next.",
    )
    expect_equal(
        first["bytes"],
        size,
        what="bytes allocated",
        misconception="A batch is what is needed at a time, not the whole set; a float32 takes 4 bytes.",
    )
    expect(
        first["frees"] == 1,
        expected="the memory freed when the batches are used up",
        seen=f"freed {first['frees']} times",
        misconception="Device memory does not know when Python is done with it.",
    )
    expect(
        second["allocations"] == 0,
        expected="no device memory when nothing is calibrated",
        seen=f"{second['allocations']} allocations in the second build",
        misconception="Allocate when the first batch is asked for: with a cache that never happens.",
    )
