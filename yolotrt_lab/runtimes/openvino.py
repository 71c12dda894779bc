"""ONNX and OpenVINO IR models run by OpenVINO on the CPU (or another OpenVINO device)."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.properties import class_names_from_metadata, input_hw_from_metadata
from yolotrt_lab.files import require_file
from yolotrt_lab.optional import require
from yolotrt_lab.precision.openvino_qdq import fuse_quantize_dequantize
from yolotrt_lab.runtimes.base import LayerTime, Runtime
from yolotrt_lab.runtimes.requests import InferenceRequest
from yolotrt_lab.types import Array, Precision, TensorSpec

__all__ = ["OpenVinoRuntime"]

_HINTS: dict[Precision, str] = {Precision.FP32: "f32", Precision.FP16: "f16", Precision.BF16: "bf16"}
_EXECUTED: dict[str, Precision] = {
    "f32": Precision.FP32,
    "f16": Precision.FP16,
    "bf16": Precision.BF16,
    "i8": Precision.INT8,
    "u8": Precision.INT8,
}
_METADATA_KEYS = ("names", "imgsz")


def _read_model(core: Any, path: Path) -> Any:
    if path.suffix == ".xml":
        require_file(path.with_suffix(".bin"), kind=f"weights that belong to {path.name}")
    try:
        model = core.read_model(str(path))
    except Exception as error:  # openvino raises RuntimeError and its own classes
        reason = [line for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f"OpenVINO cannot read {path}.",
            expected="a complete .onnx model, or an .xml with its .bin beside it",
            got=reason[-1] if reason else type(error).__name__,
            fix="Export it again: yolotrt export WEIGHTS -o model.onnx",
        ) from error
    fuse_quantize_dequantize(model)  # or OpenVINO rounds INT8 tensors behind a Concat wrongly
    return model


def _metadata(model: Any, path: Path) -> dict[str, object]:
    """Return the ONNX metadata, which OpenVINO keeps under "framework", also through saving as IR.

    Ultralytics' own OpenVINO export comes from PyTorch, not from ONNX: it writes a metadata.yaml beside the model.
    """
    found: dict[str, object] = {}
    beside = path.with_name("metadata.yaml")
    if path.suffix == ".xml" and beside.is_file():
        with contextlib.suppress(OSError, yaml.YAMLError, UnicodeDecodeError):
            content = yaml.safe_load(beside.read_text(encoding="utf-8"))
            found = {key: content[key] for key in _METADATA_KEYS if key in content} if isinstance(content, dict) else {}
    for key in _METADATA_KEYS:
        if model.has_rt_info(["framework", key]):
            found[key] = model.get_rt_info(["framework", key]).value
    return found


def _spec_from_port(port: Any, name: str) -> TensorSpec:
    shape = tuple(None if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    return TensorSpec(name, port.get_element_type().to_dtype().name, shape)


def _specs(ports: Sequence[Any], kind: str) -> tuple[TensorSpec, ...]:
    """Return the specs of a model's inputs or outputs; nameless ones, as Ultralytics exports them, are numbered."""
    return tuple(
        _spec_from_port(port, port.get_any_name() if port.get_names() else f"{kind}{index}")
        for index, port in enumerate(ports)
    )


def _info(node: Any, key: str) -> str:
    info = node.get_rt_info()
    return str(info[key].value) if key in info else ""


def _node_precision(node: Any) -> str:
    """Return "i8" for a quantized node, else its runtime precision; the primitive's suffix is the better witness."""
    primitive = _info(node, "primitiveType").lower()
    return "i8" if primitive.endswith(("_i8", "_u8")) else _info(node, "runtimePrecision")


def _executed_precision(compiled: Any) -> Precision:
    """Return the precision most convolutions (or matrix products) run in."""
    kinds = {"Convolution", "FullyConnected", "MatMul", "Deconvolution"}
    counts = Counter(
        _EXECUTED[_node_precision(node)]
        for node in compiled.get_runtime_model().get_ordered_ops()
        if _info(node, "layerType") in kinds and _node_precision(node) in _EXECUTED
    )
    return counts.most_common(1)[0][0] if counts else Precision.FP32


class OpenVinoRuntime(Runtime):
    """An ONNX model or OpenVINO IR in OpenVINO, compiled for latency or for throughput.

    OpenVINO picks its arithmetic by the processor unless told: on many CPUs its default is BF16. Here FP32 is the
    default and the precision is always passed explicitly; `executed_precision` is read off the compiled model.

    Args:
        path: A .onnx file, or an .xml file with its .bin beside it.
        precision: FP32, FP16 or BF16, as a hint (a CPU without FP16 arithmetic runs FP16 as BF16). INT8 layers come
            from Q/DQ nodes in the model, not from a hint.
        batch: Compile for exactly this batch size; None keeps the model's own (possibly dynamic) batch.
        device: An OpenVINO device name.
        threads: CPU threads; None lets OpenVINO decide.
        throughput: Compile for many images per second: OpenVINO runs several requests side by side with fewer threads
            each, which wastes less than all threads on one image, but makes each image wait longer.

    Raises:
        InputError: No such file, not a readable model, no such device or precision.
    """

    def __init__(
        self,
        path: Path,
        *,
        precision: Precision = Precision.FP32,
        batch: int | None = None,
        device: str = "CPU",
        threads: int | None = None,
        throughput: bool = False,
    ) -> None:
        require_file(path, kind="OpenVINO or ONNX model (.xml, .onnx)")
        if precision not in _HINTS:
            raise InputError(
                f"OpenVINO takes no precision hint {precision}.",
                expected=", ".join(_HINTS),
                got=precision,
                fix="Quantize the ONNX model (Q/DQ nodes) and open that file.",
            )
        openvino = require("openvino", purpose="run a model with OpenVINO")
        self._core: Any = openvino.Core()
        self._model: Any = _read_model(self._core, path)
        if batch is not None:
            self._fix_batch(batch)
        self._device = device
        self._settings: dict[str, object] = {
            "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
        }
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        compiled = self._compile(self._settings)
        self._compiled: Any = compiled
        self._request: Any = compiled.create_infer_request()
        self._profiled: Any = None
        metadata = _metadata(self._model, path)
        super().__init__(
            name=f"OpenVINO {openvino.__version__.split('-')[0]}, {device}",
            backend="openvino",
            platform=device.lower(),
            inputs=_specs(compiled.inputs, "input"),
            outputs=_specs(compiled.outputs, "output"),
            executed_precision=_executed_precision(compiled),
            class_names=class_names_from_metadata(metadata),
            parallel_requests=int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")),
        )
        self.input_hw = self.input_hw or input_hw_from_metadata(metadata)

    def _fix_batch(self, batch: int) -> None:
        shapes = {port: port.get_partial_shape() for port in self._model.inputs}
        for shape in shapes.values():
            shape[0] = batch
        try:
            self._model.reshape(shapes)
        except RuntimeError as error:
            raise InputError(
                f"The model cannot run with batch {batch}.",
                expected="a model exported with a dynamic batch",
                got=str(error).strip().splitlines()[-1],
                fix="Export with a dynamic batch: yolotrt export WEIGHTS --dynamic-batch",
            ) from error

    def _compile(self, settings: Mapping[str, object]) -> Any:
        try:
            return self._core.compile_model(self._model, self._device, dict(settings))
        except RuntimeError as error:
            raise InputError(
                f"OpenVINO cannot compile the model for {self._device}.",
                expected=f"one of the devices {', '.join(self._core.available_devices)} and operators it knows",
                got=str(error).strip().splitlines()[-1],
            ) from error

    def _infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return self._run(self._request, feeds)

    def _run(self, request: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            arrays = {index: feeds[spec.name] for index, spec in enumerate(self.inputs)}
            results = request.infer(arrays, share_inputs=True, share_outputs=False)
        except Exception as error:  # openvino raises RuntimeError and its own classes
            raise self._failed(error) from error
        return {spec.name: results[index] for index, spec in enumerate(self.outputs)}

    def _create_request(self, shapes: Mapping[str, tuple[int, ...]]) -> InferenceRequest:
        return _AsyncRequest(self._compiled.create_infer_request(), self, shapes, failed=self._failed)

    def _layer_times(self, feeds: Mapping[str, Array]) -> tuple[LayerTime, ...]:
        if self._profiled is None:  # a second copy, so that counting never slows `infer`
            compiled = self._compile({**self._settings, "PERF_COUNT": True})
            self._profiled = (compiled, compiled.create_infer_request())
            self._run(self._profiled[1], feeds)
        compiled, request = self._profiled
        self._run(request, feeds)
        nodes = {node.get_friendly_name(): node for node in compiled.get_runtime_model().get_ordered_ops()}
        return tuple(
            LayerTime(
                name=entry.node_name,
                kind=entry.node_type,
                precision=_node_precision(nodes[entry.node_name]) if entry.node_name in nodes else "",
                time_ms=entry.real_time.total_seconds() * 1000,
                origins=_origins(nodes.get(entry.node_name)),
            )
            for entry in request.get_profiling_info()
            if entry.status.name == "EXECUTED"
        )

    def _close(self) -> None:
        self._request = self._compiled = self._profiled = self._model = self._core = None

    def _failed(self, error: Exception) -> LabError:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return LabError(f"{self.name} failed during inference.", got=lines[-1] if lines else type(error).__name__)


class _AsyncRequest(InferenceRequest):
    """An infer request that runs in OpenVINO's own threads, with inputs written straight into its tensors."""

    def __init__(
        self,
        request: Any,
        runtime: OpenVinoRuntime,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        failed: Callable[[Exception], LabError],
    ) -> None:
        inputs: dict[str, Array] = {}
        for index, spec in enumerate(runtime.inputs):
            tensor = request.get_input_tensor(index)
            tensor.shape = shapes[spec.name]
            inputs[spec.name] = tensor.data
        super().__init__(inputs)
        self._request = request
        self._outputs = tuple(spec.name for spec in runtime.outputs)
        self._failed = failed

    def _submit(self) -> None:
        try:
            self._request.start_async()
        except Exception as error:  # openvino raises RuntimeError and its own classes
            raise self._failed(error) from error

    def _wait(self) -> dict[str, Array]:
        try:
            self._request.wait()
        except Exception as error:  # see above
            raise self._failed(error) from error
        return {name: self._request.get_output_tensor(index).data for index, name in enumerate(self._outputs)}

    def _close(self) -> None:
        self._request = None


def _origins(node: Any) -> tuple[str, ...]:
    names = "" if node is None else _info(node, "originalLayersNames")
    return tuple(name for name in names.split(",") if name)
