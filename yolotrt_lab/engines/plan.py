"""Reads plan files, and refuses what cannot work with a message that says why and what to do."""

from __future__ import annotations

import ast
import builtins
import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolotrt_lab.engines.messages import make_logger
from yolotrt_lab.engines.platform import Platform, PlatformKind, activate, plan_kind
from yolotrt_lab.engines.provenance import Provenance, read_provenance, sidecar_path
from yolotrt_lab.errors import InputError, LabWarning
from yolotrt_lab.files import require_file

__all__ = ["LoadedEngine", "Plan", "load_engine", "read_plan"]

_MAX_HEADER_BYTES = 1 << 20
_REBUILD = "Build it again on this machine: yolotrt build model.onnx -o {plan}"


@dataclass(frozen=True)
class Plan:
    """A plan ready to be deserialised.

    Attributes:
        path: The file.
        bytes: The plan, without any header in front.
        provenance: Where it comes from, None if that is unknown.
        metadata: What the model said about itself: from the provenance, or from Ultralytics' header.
    """

    path: Path
    bytes: builtins.bytes = field(repr=False)
    provenance: Provenance | None
    metadata: Mapping[str, Any]

    def rebuild_command(self) -> str:
        """Return the command that builds the engine again, as exactly as is known."""
        if self.provenance is None:
            return _REBUILD.format(plan=self.path).partition(": ")[2]
        return self.provenance.rebuild_command(self.path)


@dataclass(frozen=True)
class LoadedEngine:
    """A deserialised engine.

    Attributes:
        engine: TensorRT's engine.
        logger: What TensorRT logs to; it must outlive the engine.
        platform: What it runs on.
        plan: Where it comes from.
    """

    engine: Any
    logger: Any
    platform: Platform
    plan: Plan


def read_plan(path: Path) -> Plan:
    """Read a plan and check, before TensorRT sees it, that it can work here.

    A header by Ultralytics in front of the plan is taken off and its metadata used.

    Raises:
        InputError: Missing, empty, no plan, changed since it was built, or built elsewhere.
    """
    require_file(path, kind="TensorRT engine")
    content = path.read_bytes()
    data, header = _without_ultralytics_header(content)
    kind = plan_kind(data)
    if kind is None:
        raise InputError(
            f"{path} is not a TensorRT engine.",
            expected="a plan file (.engine, .plan)",
            got=f"{len(data)} bytes that start with {data[:8]!r}",
            fix=_REBUILD.format(plan=path.with_suffix(".engine")),
        )
    provenance = read_provenance(path)
    if provenance is None:
        warnings.warn(f"{path} has no provenance beside it; its origin is unchecked.", LabWarning, stacklevel=2)
    elif hashlib.sha256(content).hexdigest() != provenance.plan_sha256:
        raise InputError(
            f"{path} is not the engine that {sidecar_path(path).name} describes.",
            expected=f"SHA-256 {provenance.plan_sha256[:16]}…",
            got=f"SHA-256 {hashlib.sha256(content).hexdigest()[:16]}…: changed, truncated, or another file",
            fix=f"Build it again: {provenance.rebuild_command(path)}",
        )
    plan = Plan(path, data, provenance, provenance.metadata if provenance else header)
    _check_origin(plan, kind, activate())
    return plan


def load_engine(path: Path) -> LoadedEngine:
    """Read and deserialise a plan.

    Raises:
        InputError: As `read_plan`, or TensorRT refuses the plan.
    """
    plan = read_plan(path)
    platform = activate()
    logger = make_logger(platform.trt)
    engine = platform.trt.Runtime(logger).deserialize_cuda_engine(plan.bytes)
    if engine is None:
        raise InputError(
            f"TensorRT cannot load {path}.",
            expected=f"a plan built by TensorRT {platform.tensorrt_version} for {platform.device_name}",
            got=logger.errors() or "no reason given",
            fix=f"Build it again: {plan.rebuild_command()}",
        )
    return LoadedEngine(engine, logger, platform, plan)


def _without_ultralytics_header(content: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the plan and the metadata in front of it: four bytes of length, little endian, then JSON."""
    length = int.from_bytes(content[:4], "little")
    if not 2 <= length <= min(_MAX_HEADER_BYTES, len(content) - 4) or content[4:5] != b"{":
        return content, {}
    try:
        header = json.loads(content[4 : 4 + length])
    except ValueError:
        return content, {}
    if not isinstance(header, dict):
        return content, {}
    return content[4 + length :], {key: _literal(value) for key, value in header.items()}


def _literal(value: Any) -> Any:
    """JSON made class ids text; give them back as numbers."""
    if isinstance(value, dict) and all(isinstance(key, str) and key.isdecimal() for key in value):
        return {int(key): item for key, item in value.items()}
    if isinstance(value, str) and value[:1] in "[{(":
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return value


def _check_origin(plan: Plan, kind: PlatformKind, platform: Platform) -> None:
    if kind != platform.kind:
        where = {"real": "a GPU", "emulated": "the emulation on a CPU"}
        raise InputError(
            f"{plan.path} was built for {where[kind]} and cannot run on {where[platform.kind]}.",
            expected=f"an engine built on this platform ({platform.kind})",
            got=f"an engine built on the other ({kind})",
            fix=f"Build it again here: {plan.rebuild_command()}",
        )
    if plan.provenance is not None:
        _check_provenance(plan, plan.provenance, platform)


def _check_provenance(plan: Plan, provenance: Provenance, platform: Platform) -> None:
    for what, built, here in (
        ("TensorRT", provenance.tensorrt_version, platform.tensorrt_version),
        ("device", provenance.device_name, platform.device_name),
    ):
        if built != here:
            raise InputError(
                f"{plan.path} was built with another {what}; engines do not move between them.",
                expected=here,
                got=built,
                fix=f"Build it again here: {plan.rebuild_command()}",
            )
