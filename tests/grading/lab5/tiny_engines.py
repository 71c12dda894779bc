"""A small network built into a real engine, and a count of what an answer asks of the device; for part B of lab 5."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIZE = 16
CHANNELS = 6


def network(rng: np.random.Generator, *, blocks: int = 1) -> bytes:
    """Return an ONNX model: images (batch, 3, 16, 16) -> map0 (batch, 6, 8, 8) and mean0 (batch, 8).

    With more blocks, there are more convolutions of different sizes between the two.
    """
    constants = []

    def weight(name: str, *shape: int) -> str:
        values = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        constants.append(numpy_helper.from_array(values, name))
        return name

    def conv(source: str, target: str, name: str, weights: str, stride: int = 1) -> Any:
        return helper.make_node("Conv", [source, weights], [target], name=name, pads=[1] * 4, strides=[stride] * 2)

    nodes = [conv("images", "stem", "/stem/Conv", weight("w_stem", 8, 3, 3, 3), 2)]
    nodes.append(helper.make_node("Relu", ["stem"], ["x0"], name="/stem/Relu"))
    for index in range(blocks):
        width = int(rng.integers(8, 64))
        wide, narrow = weight(f"w{index}a", width, 8, 3, 3), weight(f"w{index}b", 8, width, 3, 3)
        nodes.append(conv(f"x{index}", f"a{index}", f"/block.{index}/a/Conv", wide))
        nodes.append(helper.make_node("Sigmoid", [f"a{index}"], [f"s{index}"], name=f"/block.{index}/Sigmoid"))
        nodes.append(conv(f"s{index}", f"x{index + 1}", f"/block.{index}/b/Conv", narrow))
    last = f"x{blocks}"
    nodes.append(conv(last, "map0", "/head/Conv", weight("w_head", CHANNELS, 8, 3, 3)))
    nodes.append(helper.make_node("ReduceMean", [last], ["mean0"], name="/head/Mean", axes=[2, 3], keepdims=0))
    value = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "lab5",
        [value("images", shape=["batch", 3, SIZE, SIZE])],
        [value("map0", shape=["batch", CHANNELS, SIZE // 2, SIZE // 2]), value("mean0", shape=["batch", 8])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def expected_outputs(model: bytes, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what ONNX Runtime computes in FP32."""
    session = _session(model)
    values = session.run(None, {"images": np.ascontiguousarray(images, np.float32)})
    return dict(zip([output.name for output in session.get_outputs()], values, strict=True))


@functools.lru_cache(maxsize=8)
def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@functools.lru_cache(maxsize=8)
def engine_of(model: bytes, batch: int) -> Any:
    """Build the network into an FP32 engine for batches from 1 to `batch`, and make a CUDA context current."""
    from yolotrt_lab.engines.messages import make_logger
    from yolotrt_lab.engines.platform import activate
    from yolotrt_lab.runtimes.tensorrt_buffers import use_primary_context

    trt: Any = activate().trt
    use_primary_context()
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # ten bits of mantissa would not be FP32
    profile = builder.create_optimization_profile()
    shape = (3, SIZE, SIZE)
    if not parser.parse(model):
        raise RuntimeError(logger.errors())
    profile.set_shape("images", (1, *shape), (batch, *shape), (batch, *shape))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan) if plan is not None else None
    if engine is None:
        raise RuntimeError(logger.errors())
    _ALIVE.append((logger, runtime))  # the engine needs both for as long as it lives
    return engine


_ALIVE: list[Any] = []


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Start and end without work in any stream: what an earlier answer forgot to wait for must not spoil this one."""
    _finish_all_work()
    try:
        yield
    finally:
        _finish_all_work()


def _finish_all_work() -> None:
    import pycuda.driver as cuda

    for _ in range(1000):  # forgotten work may be illegal by now, and each failure ends one stream's work
        try:
            cuda.Context.synchronize()
        except cuda.Error:
            continue
        return


class Count:
    """What was asked of the device in a block: `calls` grows meanwhile, `work` is there when the block has ended."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls
        self.work: dict[str, Any] = {}


@contextlib.contextmanager
def counted(answer: Any) -> Iterator[Count]:
    """Count the work of a block: by the emulation's own counters, on a GPU by the calls that the program makes."""
    from yolotrt_lab.emulation.counters import count_work
    from yolotrt_lab.engines.call_trace import record_calls
    from yolotrt_lab.engines.platform import activate

    with record_calls(*_globals_of(answer)) as trace, count_work() as measured:
        count = Count(trace.calls)
        yield count
    # The emulation counts below the Python functions, so it misses nothing, whatever way a program calls them.
    count.work = _from_counters(measured.work) if activate().kind == "emulated" else _from_calls(trace)


def _globals_of(answer: Any) -> list[dict[str, Any]]:
    functions = vars(answer).values() if isinstance(answer, type) else [answer]
    return [function.__globals__ for function in functions if hasattr(function, "__globals__")][:1]


def _from_counters(work: Any) -> dict[str, Any]:
    return {
        "allocations": work.allocations.count,
        "allocated_bytes": work.allocations.bytes_total,
        "pinned_allocations": work.pinned_allocations.count,
        "streams": work.streams_created,
        "contexts": work.execution_contexts,
        "copies": [
            {
                "direction": kind.direction,
                "is_async": kind.is_async,
                "pinned": kind.pinned,
                "stream": kind.stream,
                "count": tally.count,
                "bytes": tally.bytes_total,
            }
            for kind, tally in work.copies.items()
        ],
        "waits": work.synchronization_count,
        "device_waits": work.synchronizations.get("device", 0),
        "enqueues": [[stream, count] for stream, count in sorted(work.enqueues.items())],
        "uninitialised_reads": work.uninitialised_reads,
    }


def _from_calls(trace: Any) -> dict[str, Any]:
    copies = [
        {name: getattr(call, name) for name in ("direction", "is_async", "pinned", "stream")}
        | {"count": 1, "bytes": call.nbytes}
        for call in trace.select("copy")
    ]
    streams = sorted({call.stream for call in trace.select("infer")})
    return {
        "allocations": trace.count("allocate"),
        "allocated_bytes": trace.nbytes("allocate"),
        "pinned_allocations": trace.count("allocate_pinned"),
        "streams": trace.count("stream"),
        "contexts": trace.count("context"),
        "copies": copies,
        "waits": trace.count("wait"),
        "device_waits": trace.count("wait", stream=None, event=None),
        "enqueues": [[stream, trace.count("infer", stream=stream)] for stream in streams],
        "uninitialised_reads": 0,
    }


def copies_of(work: dict[str, Any], **criteria: Any) -> tuple[int, int]:
    """Return number and bytes of the copies whose properties have these values."""
    found = [copy for copy in work["copies"] if all(copy[name] == value for name, value in criteria.items())]
    return sum(copy["count"] for copy in found), sum(copy["bytes"] for copy in found)


def plain(outputs: Any) -> Any:
    """Return a copy of an answer's outputs: what they hold now, whatever happens to their memory later."""
    if isinstance(outputs, dict):
        return {name: plain(value) for name, value in outputs.items()}
    return np.array(outputs) if isinstance(outputs, np.ndarray) else outputs
