"""The emulation's plan file: a magic number, a compressed JSON head, the ONNX model if refittable, OpenVINO's blob."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

from yolotrt_lab.emulation.tensorrt.profile import Shape, ShapeRange
from yolotrt_lab.emulation.tensorrt.weights_elision import elide_weights, restore_weights

__all__ = [
    "FORMAT",
    "MAGIC",
    "PREFIX_BYTES",
    "NodeRecord",
    "Plan",
    "PlanError",
    "PlanHead",
    "TensorRecord",
    "pack",
    "rest_bytes",
    "unpack",
]

MAGIC = b"YOLOTRT-EMULATED"
_REAL_MAGIC = b"ftrt"
FORMAT = 3
_PREFIX = struct.Struct("<16sIQQQI")  # magic, format, bytes of head, of model and of blob, CRC-32 of all three
PREFIX_BYTES = _PREFIX.size


class PlanError(Exception):
    """The bytes are no plan of this emulation.

    Args:
        text: The assertion that failed, in the words of TensorRT on a GPU.
        function: TensorRT's function that finds it, None where that was not observed.
    """

    def __init__(self, text: str, *, function: str | None = None) -> None:
        super().__init__(text)
        self.function = function


@dataclass(frozen=True)
class TensorRecord:
    """An input or output: its name, "INPUT" or "OUTPUT", its `DataType` name, and its shape, -1 where dynamic."""

    name: str
    mode: str
    dtype: str
    shape: Shape


@dataclass(frozen=True)
class NodeRecord:
    """An ONNX node, kept so that the inspector can tell what a layer was made of."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class PlanHead:
    """What a plan says about itself.

    Attributes:
        tensorrt_version: The emulated version it was built by.
        compute: The kind of device it was built for: an instruction set, or a GPU's compute capability.
        software: Name and version of the compiler it was built by.
        network_name: The network's name.
        onnx_sha256: Hash of the ONNX model it was built from.
        precision_hint: OpenVINO's `INFERENCE_PRECISION_HINT`; the blob does not carry it.
        verbosity: Name of the `ProfilingVerbosity`.
        tensors: Inputs, then outputs.
        profiles: Shape ranges of the inputs, by name, per optimization profile.
        shape_rules: For outputs whose shape depends on one dynamic dimension in a straight line: per axis (factor,
            offset). Empty if there is no such rule.
        nodes: The ONNX nodes.
        strongly_typed: Whether the types in the network decided the arithmetic.
        tf32: Whether FP32 may be computed in TF32.
        order_hint: The arithmetic the network was compiled for; `precision_hint` too, unless types were written.
        types_written: Whether types of single layers were written into the blob.
        io_types: Data types that inputs and outputs of a weakly typed network were changed to, by name.
        refit: Which weights can be replaced: "" for none, "all", "identical" or "individual".
        refittable: Name and checksum of the weights that can be replaced.
        refittable_bytes: How many bytes these weights have.
        stripped: Whether they are left out.
        weightless: Whether they were left out when the plan was built, though they may have been given back.
        version_compatible: Whether other TensorRT versions may load the plan.
        lean_runtime: Whether a version compatible plan brings its own runtime.
        weights_bytes: How many bytes of weights there are.
    """

    tensorrt_version: str
    compute: str
    software: str
    network_name: str
    onnx_sha256: str
    precision_hint: str
    verbosity: str
    tensors: tuple[TensorRecord, ...]
    profiles: tuple[dict[str, ShapeRange], ...]
    shape_rules: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    nodes: tuple[NodeRecord, ...] = ()
    strongly_typed: bool = True
    tf32: bool = False
    order_hint: str = ""
    types_written: bool = False
    io_types: dict[str, str] = field(default_factory=dict)
    refit: str = ""
    refittable: tuple[tuple[str, int], ...] = ()
    refittable_bytes: int = 0
    stripped: bool = False
    weightless: bool = False
    version_compatible: bool = False
    lean_runtime: bool = False
    weights_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """The content of a plan file.

    Attributes:
        head: What it says about itself.
        blob: OpenVINO's executable; empty if weights were stripped, since it cannot be made without them.
        model: The ONNX model a refit compiles again; empty if the plan is not refittable.
    """

    head: PlanHead
    blob: bytes
    model: bytes = b""


def pack(plan: Plan) -> bytes:
    """Return the plan file's bytes; weights that both model and blob have are in them once."""
    head = zlib.compress(json.dumps(asdict(plan.head), sort_keys=True).encode(), 6)
    blob = elide_weights(plan.blob, plan.model) if plan.blob and plan.model else plan.blob
    crc = zlib.crc32(blob, zlib.crc32(plan.model, zlib.crc32(head)))
    return b"".join((_PREFIX.pack(MAGIC, FORMAT, len(head), len(plan.model), len(blob), crc), head, plan.model, blob))


def rest_bytes(prefix: bytes) -> int:
    """Return how many bytes follow the first `PREFIX_BYTES` of a plan; 0 if they begin no plan."""
    if not prefix.startswith(MAGIC) or len(prefix) < PREFIX_BYTES:
        return 0
    _, _, head, model, blob, _ = _PREFIX.unpack_from(prefix)
    return int(head + model + blob)


def unpack(data: bytes) -> Plan:
    """Return the content of a plan file.

    Raises:
        PlanError: No plan, a truncated or damaged one, or one of another format.
    """
    if len(data) < _PREFIX.size:
        raise PlanError("bufferSize >= minBufferSize failed.", function="readHeader")
    if not data.startswith(MAGIC):
        raise PlanError(
            "header.magicTag == kEXPECTED_MAGIC_TAG failed.Trying to load an engine created with incompatible "
            f"serialization version ({_tag(data)} != {_expected_tag(data)}). Check that the engine was not created "
            "using safety runtime, same OS was used and version compatibility parameters were set accordingly and that "
            "it is a TRT engine file.",
            function="throwUnlessHeaderOk",
        )
    _, version, head_bytes, model_bytes, blob_bytes, crc = _PREFIX.unpack_from(data)
    if len(data) != _PREFIX.size + head_bytes + model_bytes + blob_bytes:
        raise PlanError("plan.header.size == blobSize failed.", function="parsePlan")
    if version != FORMAT:
        raise PlanError(
            "stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. "
            f"Note: Current Version: {FORMAT}, Serialized Engine Version: {version}"
        )
    if zlib.crc32(memoryview(data)[_PREFIX.size :]) != crc:
        raise PlanError("checksumRead == checksum failed.Checksum does not match")
    model_start = _PREFIX.size + head_bytes
    blob_start = model_start + model_bytes
    head = _head_from_json(json.loads(zlib.decompress(data[_PREFIX.size : model_start])))
    model, blob = data[model_start:blob_start], data[blob_start:]
    return Plan(head, restore_weights(blob, model) if blob and model else blob, model)


def _tag(data: bytes) -> int:
    """Return the first four bytes as the number TensorRT shows."""
    return int.from_bytes(data[:4], "little")


def _expected_tag(data: bytes) -> int:
    """Return what TensorRT expects there; for its own plans, which only a GPU can run, what the emulation expects."""
    return _tag(MAGIC if data.startswith(_REAL_MAGIC) else _REAL_MAGIC)


def _head_from_json(content: dict[str, Any]) -> PlanHead:
    """Return the head with JSON's lists turned back into tuples."""
    tensors = tuple(TensorRecord(**{**item, "shape": tuple(item["shape"])}) for item in content["tensors"])
    nodes = tuple(
        NodeRecord(item["name"], item["op"], tuple(item["inputs"]), tuple(item["outputs"])) for item in content["nodes"]
    )
    profiles = tuple(
        {name: _shape_range(shapes) for name, shapes in profile.items()} for profile in content["profiles"]
    )
    rules = {
        name: tuple((int(factor), int(offset)) for factor, offset in rule)
        for name, rule in content["shape_rules"].items()
    }
    changed = {"tensors": tensors, "nodes": nodes, "profiles": profiles, "shape_rules": rules}
    return PlanHead(**{**content, **changed, "refittable": tuple(map(tuple, content["refittable"]))})


def _shape_range(shapes: list[list[int]]) -> ShapeRange:
    low, preferred, high = (tuple(shape) for shape in shapes)
    return low, preferred, high
