"""A small network built into a real engine, and a count of what an answer asks of the device."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SIZE = 12
MAX_BATCH = 4


def network(rng: np.random.Generator, *, batch: int | str, outputs: int) -> bytes:
    """Return an ONNX model: one image input -> conv, ReLU, and a map, or a map and a score per class."""
    names = [f"{name}{int(rng.integers(2, 99))}" for name in ("frame", "map", "score")]
    channels = int(rng.integers(3, 9))
    weights = {
        "w0": rng.normal(0, 0.2, (8, 3, 3, 3)),
        "w1": rng.normal(0, 0.2, (channels, 8, 3, 3)),
        "b1": rng.normal(0, 0.1, channels),
    }
    nodes = [
        helper.make_node("Conv", [names[0], "w0"], ["c0"], name="/stem/Conv", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c0"], ["r0"], name="/stem/Relu"),
        helper.make_node("Conv", ["r0", "w1", "b1"], [names[1]], name="/head/Conv", pads=[1] * 4),
        helper.make_node("ReduceMean", [names[1]], [names[2]], name="/head/Mean", axes=[2, 3], keepdims=0),
    ]
    shapes = {names[1]: [batch, channels, SIZE // 2, SIZE // 2], names[2]: [batch, channels]}
    value = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes[: 2 + outputs],
        "lab1",
        [value(names[0], shape=[batch, 3, SIZE, SIZE])],
        [value(name, shape=shapes[name]) for name in names[1 : 1 + outputs]],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def reference(model: bytes, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what ONNX Runtime computes in FP32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    values = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(images)})
    return dict(zip([output.name for output in session.get_outputs()], values, strict=True))


@functools.lru_cache(maxsize=8)
def engine_of(model: bytes) -> tuple[Any, str]:
    """Build the network into an FP32 engine with a CUDA context current; return it and the precision that runs."""
    from yolotrt_lab.engines.inspect import report_from_engine
    from yolotrt_lab.engines.messages import make_logger
    from yolotrt_lab.engines.platform import activate
    from yolotrt_lab.runtimes.tensorrt_buffers import use_primary_context

    platform = activate()
    trt: Any = platform.trt
    use_primary_context()
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network_definition = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network_definition, logger)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # ten bits of mantissa would not be FP32
    if not parser.parse(model):
        raise RuntimeError(logger.errors())
    tensor = network_definition.get_input(0)
    if -1 in tuple(tensor.shape):
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, *[(batch, 3, SIZE, SIZE) for batch in (1, 2, MAX_BATCH)])
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network_definition, config)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan) if plan is not None else None
    if engine is None:
        raise RuntimeError(logger.errors())
    _ALIVE.append((logger, runtime))  # the engine needs both for as long as it lives
    return engine, str(report_from_engine(engine, trt, platform=platform.kind).executed_precision)


_ALIVE: list[Any] = []


@contextlib.contextmanager
def counted(answer: Any) -> Iterator[dict[str, Any]]:
    """Count the work of a block: by the emulation's own counters, on a GPU by the calls that the program makes.

    The dict is filled when the block has ended: to_device, to_host (copies, bytes), enqueues (stream, count), waits,
    uninitialised_reads.
    """
    from yolotrt_lab.engines.platform import activate

    work: dict[str, Any] = {}
    if activate().kind == "emulated":
        from yolotrt_lab.emulation.counters import count_work

        with count_work() as measured:
            yield work
        done = measured.work
        for key, direction in (("to_device", "h2d"), ("to_host", "d2h")):
            tally = done.copied(direction)
            work[key] = [tally.count, tally.bytes_total]
        work["enqueues"] = [[stream, count] for stream, count in sorted(done.enqueues.items())]
        # A synchronous copy waits too, on the default stream.
        work["waits"] = done.synchronization_count + done.synchronizations.get("implicit", 0)
        work["uninitialised_reads"] = done.uninitialised_reads
        return
    from yolotrt_lab.engines.call_trace import record_calls

    with record_calls(getattr(answer, "__globals__", {})) as trace:
        yield work
    for key, direction in (("to_device", "h2d"), ("to_host", "d2h")):
        work[key] = [trace.count("copy", direction=direction), trace.nbytes("copy", direction=direction)]
    streams = sorted({call.stream for call in trace.select("infer")})
    work["enqueues"] = [[stream, trace.count("infer", stream=stream)] for stream in streams]
    work["waits"] = trace.count("wait") + trace.count("copy", is_async=False)
    work["uninitialised_reads"] = 0


def plain(outputs: Any) -> Any:
    """Return a copy of what an answer returned: what it holds now, whatever happens to its memory later."""
    if isinstance(outputs, dict):
        return {name: plain(value) for name, value in outputs.items()}
    return np.array(outputs) if isinstance(outputs, np.ndarray) else outputs
