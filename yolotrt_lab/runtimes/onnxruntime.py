"""ONNX models run by ONNX Runtime: the judge every engine is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.export.properties import class_names_from_metadata, input_hw_from_metadata
from yolotrt_lab.files import require_file
from yolotrt_lab.optional import require
from yolotrt_lab.runtimes.base import Runtime
from yolotrt_lab.types import Array, Precision, TensorSpec

__all__ = ["OnnxRuntime"]

_DTYPES: dict[str, str] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


def _providers_for(device: str, *, available: Sequence[str]) -> list[str]:
    """Return the execution providers to ask for, best first, always ending with the CPU."""
    if device == "auto":
        device = "cuda" if _PROVIDERS["cuda"] in available else "cpu"
    if device not in _PROVIDERS:
        raise InputError(f"Unknown ONNX Runtime device {device!r}.", expected="auto, cpu, cuda or tensorrt", got=device)
    if _PROVIDERS[device] not in available:
        raise InputError(
            f"This ONNX Runtime has no {_PROVIDERS[device]}.",
            expected=_PROVIDERS[device],
            got=", ".join(available),
            fix="pip install 'yolotrt-lab[gpu]' on a machine with an NVIDIA GPU, or use device=\"cpu\".",
        )
    order = ("tensorrt", "cuda", "cpu")
    return [_PROVIDERS[name] for name in order[order.index(device) :] if _PROVIDERS[name] in available]


def _spec_from_ort(value: Any) -> TensorSpec:
    if value.type not in _DTYPES:
        raise InputError(
            f"Tensor {value.name!r} has a type this runtime does not take.",
            expected=", ".join(sorted(_DTYPES.values())),
            got=value.type,
        )
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(value.name, _DTYPES[value.type], shape)


def _executed_precision(path: Path, *, on_cpu: bool) -> Precision:
    """Return the arithmetic ONNX Runtime will use.

    A graph with QuantizeLinear runs its fused convolutions in INT8. The CPU provider has no FP16 convolutions: it
    casts an FP16 graph and computes in FP32.
    """
    onnx = require("onnx", purpose="read the precision of an ONNX model")
    graph = onnx.load(str(path), load_external_data=False).graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return Precision.INT8
    halves = sum(tensor.data_type == onnx.TensorProto.FLOAT16 and len(tensor.dims) == 4 for tensor in graph.initializer)
    return Precision.FP16 if halves and not on_cpu else Precision.FP32


class OnnxRuntime(Runtime):
    """An ONNX model in ONNX Runtime.

    Args:
        path: The .onnx file.
        device: "auto" (CUDA when the provider is there), "cpu", "cuda", or "tensorrt" (the TensorRT provider).
        threads: CPU threads inside one operator; None lets ONNX Runtime decide.

    Raises:
        InputError: No such file, not a valid ONNX model, an operator nobody implements, or no such device.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int | None = None) -> None:
        require_file(path, kind="ONNX model (.onnx)")
        ort = require("onnxruntime", purpose="run an ONNX model")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # A spinning pool keeps a core busy after the call returns and slows whatever is measured next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        providers = _providers_for(device, available=ort.get_available_providers())
        try:
            self._session: Any = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime raises its own unrelated exception classes
            raise _load_error(path, error) from error
        used = self._session.get_providers()[0]
        if device not in ("auto", "cpu") and used == _PROVIDERS["cpu"]:
            raise InputError(
                f"ONNX Runtime fell back to the CPU: {providers[0]} did not start.",
                expected=providers[0],
                got=used,
                fix='Check the driver and CUDA libraries with `yolotrt doctor`, or use device="cpu".',
            )
        metadata = self._session.get_modelmeta().custom_metadata_map
        super().__init__(
            name=f"ONNX Runtime {ort.__version__}, {used.removesuffix('ExecutionProvider')}",
            backend="onnxruntime",
            platform="cpu" if used == _PROVIDERS["cpu"] else "cuda",
            inputs=tuple(_spec_from_ort(value) for value in self._session.get_inputs()),
            outputs=tuple(_spec_from_ort(value) for value in self._session.get_outputs()),
            executed_precision=_executed_precision(path, on_cpu=used == _PROVIDERS["cpu"]),
            class_names=class_names_from_metadata(metadata),
        )
        self.input_hw = self.input_hw or input_hw_from_metadata(metadata)

    def _infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        names = [spec.name for spec in self.outputs]
        try:
            arrays = self._session.run(names, dict(feeds))
        except Exception as error:  # see above
            raise self._failed(error) from error
        return dict(zip(names, arrays, strict=True))

    def _close(self) -> None:
        self._session = None


def _load_error(path: Path, error: Exception) -> LabError:
    text = str(error)
    message = text.splitlines()[0] if text else type(error).__name__
    if "Protobuf parsing failed" in text or "INVALID_PROTOBUF" in text:
        return InputError(
            f"{path} is not a complete ONNX file.",
            expected="an ONNX model",
            got="bytes that do not parse (truncated, or another format)",
            fix="Export it again: yolotrt export WEIGHTS -o model.onnx",
        )
    return InputError(
        f"ONNX Runtime cannot load {path}.",
        expected="a valid ONNX model of supported operators",
        got=message,
        fix="Export it again with `yolotrt export`, or look closer with `yolotrt verify`.",
    )
