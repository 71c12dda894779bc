"""Open a model file with the framework its suffix names."""

from __future__ import annotations

from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.runtimes.base import Runtime, input_hw_from_specs

__all__ = ["BACKENDS", "backend_for_path", "open_runtime"]

BACKENDS = ("pytorch", "onnxruntime", "openvino", "tensorrt")

# Suffix to the backends that take it, the default first.
_BY_SUFFIX: dict[str, tuple[str, ...]] = {
    ".pt": ("pytorch",),
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".engine": ("tensorrt",),
    ".plan": ("tensorrt",),
}


def backend_for_path(path: Path, *, backend: str | None = None) -> str:
    """Return the backend that opens a file.

    Raises:
        InputError: No backend takes this suffix, or `backend` is unknown or does not take it.

    Example:
        >>> backend_for_path(Path("model.onnx"))
        'onnxruntime'
    """
    candidates = _BY_SUFFIX.get(path.suffix.lower(), ())
    if not candidates:
        raise InputError(
            f"Cannot tell what kind of model {path} is.",
            expected=f"a file ending in {', '.join(_BY_SUFFIX)}",
            got=f"suffix {path.suffix!r}" if path.suffix else "no suffix",
        )
    if backend is None:
        return candidates[0]
    if backend not in candidates:
        takes = [suffix for suffix, names in _BY_SUFFIX.items() if backend in names]
        raise InputError(
            f"Backend {backend!r} cannot open {path.name}.",
            expected=f"one of {', '.join(candidates)} for {path.suffix} files",
            got=backend,
            fix=f"{backend} takes {', '.join(takes)} files." if takes else f"Backends: {', '.join(BACKENDS)}.",
        )
    return backend


def open_runtime(
    path: Path | str,
    *,
    backend: str | None = None,
    batch: int | None = None,
    input_hw: tuple[int, int] | None = None,
    device: str = "auto",
    threads: int | None = None,
    throughput: bool = False,
) -> Runtime:
    """Load a model and return its runtime, ready to infer; close it, or use it as a context manager.

    Args:
        path: .pt (PyTorch), .onnx (ONNX Runtime, or OpenVINO), .xml (OpenVINO), .engine or .plan (TensorRT).
        backend: One of `BACKENDS`, where more than one takes the file.
        batch: The largest batch that will be used, where the framework gains from knowing: OpenVINO compiles for it,
            TensorRT allocates for it. None allows what the model allows.
        input_hw: Height and width to run a .pt file at, or another model that leaves its size open; a model with a
            fixed size is checked against it.
        device: "auto", "cpu" or "cuda" for PyTorch and ONNX Runtime (also "tensorrt", its TensorRT provider).
        threads: CPU threads for the frameworks that run on the CPU; None lets each decide.
        throughput: Prefer many images per second to a short time for each, where the framework has the choice
            (OpenVINO); it takes several requests in flight, as `stream_detections` has them.

    Raises:
        InputError: No such file, a broken one, one for another machine, or a setting that does not fit it.
        MissingDependencyError: The framework is not installed.

    Example:
        >>> import numpy as np
        >>> with open_runtime("model.onnx") as runtime:  # doctest: +SKIP
        ...     outputs = runtime.infer({"images": np.zeros((1, 3, 640, 640), np.float32)})
    """
    path = Path(path)
    chosen = backend_for_path(path, backend=backend)
    if batch is not None and batch < 1:
        raise InputError("The batch size is out of range.", expected="1 or more", got=batch)
    if threads is not None and threads < 1:
        raise InputError("The number of threads is out of range.", expected="1 or more", got=threads)
    if chosen == "pytorch":
        from yolotrt_lab.runtimes.pytorch import PyTorchRuntime

        return PyTorchRuntime(path, input_hw=input_hw, device=device, threads=threads)
    runtime = _open_exported(path, backend=chosen, batch=batch, device=device, threads=threads, throughput=throughput)
    try:
        _use_input_hw(runtime, input_hw)
    except BaseException:
        runtime.close()
        raise
    return runtime


def _open_exported(
    path: Path, *, backend: str, batch: int | None, device: str, threads: int | None, throughput: bool
) -> Runtime:
    if backend == "onnxruntime":
        from yolotrt_lab.runtimes.onnxruntime import OnnxRuntime

        return OnnxRuntime(path, device=device, threads=threads)
    if backend == "openvino":
        from yolotrt_lab.runtimes.openvino import OpenVinoRuntime

        return OpenVinoRuntime(path, batch=batch, threads=threads, throughput=throughput)
    from yolotrt_lab.runtimes.tensorrt import TensorRTRuntime

    return TensorRTRuntime(path, batch=batch)


def _use_input_hw(runtime: Runtime, input_hw: tuple[int, int] | None) -> None:
    """Choose the image size of a model that leaves it open; check it against one that does not."""
    if input_hw is None or not runtime.inputs:
        return
    fixed = input_hw_from_specs(runtime.inputs)
    if fixed is not None and fixed != input_hw:
        raise InputError(
            f"{runtime.name}: the model does not take this image size.",
            expected=f"height and width {fixed}, fixed when it was exported",
            got=input_hw,
            fix="Leave the size out, or export the model for this size.",
        )
    runtime.input_hw = input_hw
