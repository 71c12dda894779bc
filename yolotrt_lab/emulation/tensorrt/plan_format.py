"""The emulation's plan file: a magic number, a compressed JSON head, and OpenVINO's blob."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

from yolotrt_lab.emulation.tensorrt.profile import Shape, ShapeRange

__all__ = ["FORMAT", "MAGIC", "NodeRecord", "PlanError", "PlanHead", "TensorRecord", "pack", "unpack"]

MAGIC = b"YOLOTRT-EMULATED"
FORMAT = 2
_PREFIX = struct.Struct("<16sIQQI")  # magic, format, head bytes, blob bytes, CRC-32 of both


class PlanError(Exception):
    """The bytes are no plan of this emulation; the message is that of TensorRT 10.16 on a GPU."""


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


def pack(head: PlanHead, blob: bytes) -> bytes:
    """Return the plan file's bytes."""
    packed = zlib.compress(json.dumps(asdict(head), sort_keys=True).encode(), 6)
    crc = zlib.crc32(blob, zlib.crc32(packed))
    return _PREFIX.pack(MAGIC, FORMAT, len(packed), len(blob), crc) + packed + blob


def unpack(data: bytes) -> tuple[PlanHead, bytes]:
    """Return head and blob.

    Raises:
        PlanError: No plan, a truncated or damaged one, or one of another format.
    """
    if not data.startswith(MAGIC):
        raise PlanError(
            "Serialization assertion header.magicTag == kEXPECTED_MAGIC_TAG failed.Trying to load an engine created "
            f"with incompatible serialization version ({_tag(data)} != {_tag(MAGIC)}). Check that the engine was not "
            "created using safety runtime, same OS was used and version compatibility parameters were set accordingly "
            "and that it is a TRT engine file."
        )
    if len(data) < _PREFIX.size:
        raise PlanError("Serialization assertion bufferSize >= minBufferSize failed.")
    _, version, head_bytes, blob_bytes, crc = _PREFIX.unpack_from(data)
    if version != FORMAT:
        raise PlanError(
            "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. "
            f"Note: Current Version: {FORMAT}, Serialized Engine Version: {version}"
        )
    if len(data) != _PREFIX.size + head_bytes + blob_bytes:
        raise PlanError("Serialization assertion plan.header.size == blobSize failed.")
    middle = _PREFIX.size + head_bytes
    if zlib.crc32(data[_PREFIX.size :]) != crc:
        raise PlanError("Serialization assertion checksumRead == checksum failed.Checksum does not match")
    return _head_from_json(json.loads(zlib.decompress(data[_PREFIX.size : middle]))), data[middle:]


def _tag(data: bytes) -> int:
    """Return the first four bytes as the number TensorRT shows."""
    return int.from_bytes(data[:4], "little")


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
    return PlanHead(**{**content, "tensors": tensors, "nodes": nodes, "profiles": profiles, "shape_rules": rules})


def _shape_range(shapes: list[list[int]]) -> ShapeRange:
    low, preferred, high = (tuple(shape) for shape in shapes)
    return low, preferred, high
