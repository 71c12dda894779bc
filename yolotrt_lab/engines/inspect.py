"""What an engine really is: its layers, what was fused, and the precision each layer runs in.

Reads the inspector's JSON of TensorRT 10 and 11. They differ: 10 tells a tensor's layout and type in one text
("Format/Datatype"), 11 in two; 10 lists "Bindings", 11 "I/O Tensors".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.engines.plan import load_engine
from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Precision

__all__ = ["EngineLayer", "EngineReport", "EngineTensor", "inspect_engine", "report_from_engine", "report_from_json"]

INT8_SHARE = 0.5
"""An engine counts as INT8 when at least this share of its convolutions and matrix products runs in INT8."""

_COMPUTE_KIND = re.compile(r"conv|gemm|matrixmultiply|matmul|fullyconnected", re.IGNORECASE)
_COMPUTE_NODE = re.compile(r"/(?:Conv|ConvTranspose|MatMul|Gemm)(?:_\d+)?(?:/|$)")
_NOT_COMPUTE = re.compile(r"reformat|noop|constant", re.IGNORECASE)
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_DATATYPES: tuple[tuple[str, Precision], ...] = (
    (r"\bint8\b|\bi8\b", Precision.INT8),
    (r"\bbf16\b|\bbfloat16\b", Precision.BF16),
    (r"\bfp16\b|\bhalf\b|\bf16\b", Precision.FP16),
    (r"\bfp32\b|\bfloat\b|\bf32\b", Precision.FP32),
)


@dataclass(frozen=True)
class EngineLayer:
    """One executed layer.

    Attributes:
        name: TensorRT's name.
        kind: TensorRT's layer type.
        precision: The arithmetic, as far as its inputs tell; None for integer and shape work.
        origins: Names of the ONNX nodes it does.
        tactic: The kernel.
        is_compute: Whether it is a convolution or matrix product, where precision matters.
    """

    name: str
    kind: str
    precision: Precision | None
    origins: tuple[str, ...]
    tactic: str
    is_compute: bool

    @property
    def is_fused(self) -> bool:
        """Whether it does more than one ONNX node."""
        return len(self.origins) > 1


@dataclass(frozen=True)
class EngineTensor:
    """An input or output: type and shape (None where dynamic), and for inputs the least, preferred, greatest shape."""

    name: str
    is_input: bool
    dtype: str
    shape: tuple[int | None, ...]
    profile: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class EngineReport:
    """What the inspector found.

    Attributes:
        layers: In execution order.
        executed_precision: What convolutions and matrix products run in: INT8 if enough of them do, otherwise the most
            common.
        precision_share: Share of convolutions and matrix products per precision, adding up to 1.
        io: Inputs and outputs.
        tensorrt_version: Of the platform.
        platform: "real" or "emulated".
        device_memory_bytes: Memory for intermediate tensors.
        requested_precision: What the engine was asked to be, if that is known.
        warnings: Where what was found differs from what was asked.
    """

    layers: tuple[EngineLayer, ...]
    executed_precision: Precision
    precision_share: Mapping[Precision, float]
    io: tuple[EngineTensor, ...]
    tensorrt_version: str
    platform: str
    device_memory_bytes: int
    requested_precision: Precision | None = None
    warnings: tuple[str, ...] = ()

    @property
    def fused_groups(self) -> tuple[tuple[str, ...], ...]:
        """The ONNX nodes of every layer that does more than one."""
        return tuple(layer.origins for layer in self.layers if layer.is_fused)


def inspect_engine(path: Path) -> EngineReport:
    """Load an engine and report its layers.

    Raises:
        InputError: No usable engine, or one that was built without detailed profiling verbosity.
    """
    loaded = load_engine(path)
    provenance = loaded.plan.provenance
    requested = Precision(provenance.precision_requested) if provenance and provenance.precision_requested else None
    return report_from_engine(
        loaded.engine, loaded.platform.trt, platform=loaded.platform.kind, requested=requested, name=str(path)
    )


def report_from_engine(
    engine: Any, trt: Any, *, platform: str, requested: Precision | None = None, name: str = "The engine"
) -> EngineReport:
    """Report a loaded engine's layers.

    Args:
        engine: TensorRT's engine.
        trt: The TensorRT module.
        platform: "real" or "emulated".
        requested: What it was asked to be.
        name: What to call it in messages.

    Raises:
        InputError: It was built without detailed profiling verbosity.
    """
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    layers = report_from_json(text, name=name)
    share = _precision_share(layers)
    executed = _executed_precision(share)
    memory = getattr(engine, "device_memory_size_v2", 0)
    return EngineReport(
        layers=layers,
        executed_precision=executed,
        precision_share=share,
        io=tuple(_io_tensors(engine, trt)),
        tensorrt_version=str(trt.__version__),
        platform=platform,
        device_memory_bytes=int(memory),
        requested_precision=requested,
        warnings=tuple(_precision_warnings(requested, executed, share, platform)),
    )


def report_from_json(text: str, *, name: str) -> tuple[EngineLayer, ...]:
    """Return the layers in an inspector's JSON.

    Raises:
        InputError: The JSON has only names or nothing: the engine was built without detailed verbosity.
    """
    try:
        entries = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name}: the inspector's output cannot be read.", expected="JSON", got=error) from error
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            f"{name} does not tell about its layers.",
            expected="an engine built with ProfilingVerbosity.DETAILED",
            got="layer names only" if entries else "no layers",
            fix="Build it with `yolotrt build`, or set config.profiling_verbosity = ProfilingVerbosity.DETAILED.",
        )
    return tuple(_layer(entry) for entry in entries)


def _layer(entry: Mapping[str, Any]) -> EngineLayer:
    name, kind = str(entry.get("Name", "")), str(entry.get("LayerType", ""))
    origins = tuple(dict.fromkeys(_ORIGIN.findall(str(entry.get("Metadata", "")))))
    found = [*_datatypes(entry.get("Inputs", ())), *_datatypes(entry.get("Outputs", ()))]
    compute = not _NOT_COMPUTE.search(kind) and bool(
        _COMPUTE_KIND.search(kind) or any(_COMPUTE_NODE.search(origin) for origin in origins)
    )
    tactic = str(entry.get("TacticName", entry.get("TacticValue", "")))
    return EngineLayer(name, kind, found[0] if found else None, origins, tactic, compute)


def _datatypes(tensors: Iterable[Mapping[str, Any]]) -> list[Precision]:
    """Return the floating and INT8 types among tensors, in order."""
    found = []
    for tensor in tensors:
        text = str(tensor.get("Format/Datatype") or tensor.get("Datatype") or tensor.get("Data Type") or "")
        for pattern, precision in _DATATYPES:
            if re.search(pattern, text, re.IGNORECASE):
                found.append(precision)
                break
    return found


def _precision_share(layers: Sequence[EngineLayer]) -> dict[Precision, float]:
    counted = [layer.precision for layer in layers if layer.is_compute and layer.precision is not None]
    if not counted:
        counted = [layer.precision for layer in layers if layer.precision is not None]
    total = len(counted)
    return {precision: count / total for precision, count in Counter(counted).most_common()}


def _executed_precision(share: Mapping[Precision, float]) -> Precision:
    if share.get(Precision.INT8, 0.0) >= INT8_SHARE:
        return Precision.INT8
    rest = {precision: part for precision, part in share.items() if precision is not Precision.INT8}
    return max(rest, key=lambda precision: rest[precision], default=Precision.FP32)


def _precision_warnings(
    requested: Precision | None, executed: Precision, share: Mapping[Precision, float], platform: str
) -> Iterable[str]:
    if requested is None or requested is executed:
        return
    shown = ", ".join(f"{precision.upper()} {part:.0%}" for precision, part in share.items())
    if requested is Precision.FP16 and executed is Precision.BF16 and platform == "emulated":
        yield "Asked for FP16, runs in BF16: this processor has no FP16 arithmetic. BF16 is coarser."
    elif requested is Precision.INT8:
        yield f"Asked for INT8, but only {share.get(Precision.INT8, 0.0):.0%} of the compute layers are ({shown})."
    else:
        yield f"Asked for {requested.upper()}, runs in {executed.upper()} ({shown})."


def _io_tensors(engine: Any, trt: Any) -> Iterable[EngineTensor]:
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        shape = tuple(None if size < 0 else int(size) for size in engine.get_tensor_shape(name))
        profile: tuple[tuple[int, ...], ...] = ()
        if is_input and None in shape:
            profile = tuple(tuple(int(size) for size in dims) for dims in engine.get_tensor_profile_shape(name, 0))
        yield EngineTensor(name, is_input, engine.get_tensor_dtype(name).name, shape, profile)
