"""Networks that run on a GPU when asked, without a wait: PyTorch, ONNX Runtime and TensorRT behind one seam.

    network.bind(images, stream)   once per slot: addresses, contexts, sessions
    bound.enqueue()                per image: asks for the work on that stream and returns the output's tensor

The output's tensor lies at the same address every time, or the work is captured as a graph, which fixes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.optional import require

if TYPE_CHECKING:
    import torch

__all__ = ["BoundNetwork", "DeviceNetwork", "OnnxRuntimeNetwork", "TensorRTNetwork", "TorchNetwork"]

_DTYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "FLOAT": "float32", "HALF": "float16",
}  # fmt: skip


class BoundNetwork(Protocol):
    """A network that reads one tensor on one stream."""

    def enqueue(self) -> torch.Tensor:
        """Ask for one run on the stream and return the output, which is filled when the stream gets there."""


class DeviceNetwork(Protocol):
    """What `GpuDetector` needs of a network.

    Attributes:
        name: For people.
        dtype: "float32" or "float16", of the input.
        channels_last: Whether the input's channels lie beside each other in memory.
        capturable: Whether `enqueue` may be captured into a CUDA graph.
    """

    name: str
    dtype: str
    channels_last: bool
    capturable: bool

    def bind(self, images: torch.Tensor, stream: torch.cuda.Stream) -> BoundNetwork:
        """Return the network reading `images`, (batch, 3, height, width) on the device, on this stream."""


class TorchNetwork:
    """A PyTorch module that returns the decoded output, or a sequence that begins with it.

    Args:
        module: In evaluation mode on the GPU; what Ultralytics' `model.fuse()` returns, for example. It is converted.
        dtype: "float32" or "float16" for weights and arithmetic. Whether float32 convolutions round their factors to
            TF32 is PyTorch's global `torch.backends.cudnn.allow_tf32`, which is on by default.
        channels_last: Let tensor cores read without a transposition; pays in float16.
        compile_module: Hand the module to `torch.compile` first; the first runs then take a minute.
    """

    def __init__(
        self, module: Any, *, dtype: str = "float16", channels_last: bool = True, compile_module: bool = False
    ) -> None:
        torch: Any = require("torch", purpose="run a network on a GPU")
        layout = torch.channels_last if channels_last else torch.contiguous_format
        module = module.to(device="cuda", dtype=getattr(torch, dtype), memory_format=layout).eval()
        module.requires_grad_(False)
        self._module = _compiled(torch, module) if compile_module else module
        self.name = f"PyTorch {torch.__version__} {dtype}"
        self.dtype, self.channels_last, self.capturable = dtype, channels_last, True

    def bind(self, images: torch.Tensor, stream: torch.cuda.Stream) -> BoundNetwork:
        """Return the module reading `images` on `stream`."""
        return _TorchBound(self._module, images, stream)


def _compiled(torch: Any, module: Any) -> Any:
    # Ultralytics' layers share their `forward`, so each of some sixty shapes is a recompilation of the same function.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    return torch.compile(module, dynamic=False)


class _TorchBound:
    def __init__(self, module: Any, images: torch.Tensor, stream: torch.cuda.Stream) -> None:
        self._torch: Any = require("torch", purpose="run a network on a GPU")
        self._module, self._images, self._stream = module, images, stream

    def enqueue(self) -> torch.Tensor:
        with self._torch.inference_mode(), self._torch.cuda.stream(self._stream):
            output = self._module(self._images)
        first: torch.Tensor = output[0] if isinstance(output, (list, tuple)) else output
        return first


class OnnxRuntimeNetwork:
    """An ONNX model run by ONNX Runtime's CUDA provider on the slot's own stream, through IO binding.

    Args:
        path: The model; its first output is the decoded one.
        allow_tf32: Whether FP32 convolutions may round their factors to TF32, which is the provider's default.
        capturable: Whether to capture its kernels into the slot's graph. ONNX Runtime promises that only for models
            that run wholly on the GPU.

    Raises:
        InputError: The model's input is neither float32 nor float16.
        MissingDependencyError: ONNX Runtime is not there.
    """

    channels_last = False

    def __init__(self, path: Path, *, allow_tf32: bool = True, capturable: bool = False) -> None:
        self._ort: Any = require("onnxruntime", purpose="run an ONNX model on a GPU")
        if "CUDAExecutionProvider" not in self._ort.get_available_providers():
            raise InputError(
                "ONNX Runtime cannot use a GPU here.",
                expected="CUDAExecutionProvider",
                got=", ".join(self._ort.get_available_providers()),
                fix="Install onnxruntime-gpu in place of onnxruntime.",
            )
        self._path, self._allow_tf32, self.capturable = path, allow_tf32, capturable
        probe = self._ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].type
        self.dtype = _known_dtype(probe, path.name)
        self.name = f"ONNX Runtime {self._ort.__version__} CUDA {self.dtype}"

    def bind(self, images: torch.Tensor, stream: torch.cuda.Stream) -> BoundNetwork:
        """Return a session of its own, because a session belongs to one stream."""
        provider = {
            "user_compute_stream": str(stream.cuda_stream),
            "use_tf32": "1" if self._allow_tf32 else "0",
            "cudnn_conv_algo_search": "EXHAUSTIVE",
        }
        session = self._ort.InferenceSession(
            str(self._path), providers=[("CUDAExecutionProvider", provider), "CPUExecutionProvider"]
        )
        return _OnnxRuntimeBound(self._ort, session, images, stream)


class _OnnxRuntimeBound:
    _output: torch.Tensor

    def __init__(self, ort: Any, session: Any, images: torch.Tensor, stream: torch.cuda.Stream) -> None:
        torch: Any = require("torch", purpose="run a network on a GPU")
        self._session, self._images, self._stream = session, images, stream
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._binding = session.io_binding()
        source, target = session.get_inputs()[0], session.get_outputs()[0]
        dtype = _known_dtype(source.type, source.name)
        self._binding.bind_input(source.name, "cuda", 0, dtype, tuple(images.shape), images.data_ptr())
        self._binding.bind_output(target.name, "cuda")  # the first run tells the output's shape
        session.run_with_iobinding(self._binding)
        shape = tuple(self._binding.get_outputs()[0].shape())
        kind = _known_dtype(target.type, target.name)
        self._output = torch.empty(shape, dtype=getattr(torch, kind), device="cuda")
        self._binding.bind_output(target.name, "cuda", 0, kind, shape, self._output.data_ptr())

    def enqueue(self) -> torch.Tensor:
        self._session.run_with_iobinding(self._binding, self._options)
        return self._output


class TensorRTNetwork:
    """A TensorRT engine with one image input; each slot gets an execution context of its own.

    Args:
        engine: What `engines.plan.load_engine` returned, or any deserialised `ICudaEngine`.

    Raises:
        InputError: The engine's input or first output is neither float32 nor float16.
    """

    channels_last = False
    capturable = True
    name = "TensorRT"

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        by_mode = {engine.get_tensor_mode(name).name: name for name in reversed(names)}  # the first of each mode
        self._input, self._output = by_mode["INPUT"], by_mode["OUTPUT"]
        self._outputs = [name for name in names if engine.get_tensor_mode(name).name == "OUTPUT"]
        self.dtype = _known_dtype(engine.get_tensor_dtype(self._input).name, self._input)

    def bind(self, images: torch.Tensor, stream: torch.cuda.Stream) -> BoundNetwork:
        """Return a context with all addresses set.

        Raises:
            InputError: The engine does not take this batch or image size.
        """
        torch: Any = require("torch", purpose="hold the engine's outputs")
        context = self._engine.create_execution_context()
        if not context.set_input_shape(self._input, tuple(images.shape)):
            raise InputError(
                "The engine does not take this input.",
                expected="a shape inside its optimization profile",
                got=str(tuple(images.shape)),
                fix="Build the engine with max_batch of at least this batch.",
            )
        outputs = {}
        for name in self._outputs:
            dtype = _known_dtype(self._engine.get_tensor_dtype(name).name, name)
            shape = tuple(context.get_tensor_shape(name))
            outputs[name] = torch.empty(shape, dtype=getattr(torch, dtype), device="cuda")
            context.set_tensor_address(name, outputs[name].data_ptr())
        context.set_tensor_address(self._input, images.data_ptr())
        return _TensorRTBound(context, stream, images, outputs, self._output)


class _TensorRTBound:
    def __init__(
        self, context: Any, stream: torch.cuda.Stream, images: torch.Tensor, outputs: dict[str, torch.Tensor], name: str
    ) -> None:
        self._context, self._stream, self._images, self._outputs, self._name = context, stream, images, outputs, name

    def enqueue(self) -> torch.Tensor:
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise LabError("TensorRT refused to run the engine.", fix="Its logger says why.")
        return self._outputs[self._name]


def _known_dtype(name: str, tensor: str) -> str:
    if name not in _DTYPES:
        raise InputError(f"Tensor {tensor!r} has a type the GPU detector does not take.", expected=_DTYPES, got=name)
    return _DTYPES[name]
