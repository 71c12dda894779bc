"""Where an engine comes from, kept beside it as `<plan>.json`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json

__all__ = ["SCHEMA", "Provenance", "read_provenance", "sidecar_path"]

SCHEMA = 1


@dataclass(frozen=True)
class Provenance:
    """Everything that decides what an engine is.

    Attributes:
        plan_sha256: Hash of the plan file.
        onnx_path: The ONNX model, as it was named when building.
        onnx_sha256: Its hash.
        calibration_digest: Hash of the calibration images, if the model was quantized and says so.
        tensorrt_version: The TensorRT that built it.
        platform: "real" or "emulated".
        device_name: The GPU, or the processor behind the emulation.
        precision_requested: What was asked for; None for what the graph said.
        precision_found: What the inspector found.
        build_seconds: How long building took.
        created: When, in UTC.
        options: The other options.
        arguments: The options as arguments of `yolotrt build`.
        metadata: What the ONNX model said about itself: class names, input size, stride, …
        schema: Version of this description.
    """

    plan_sha256: str
    onnx_path: str
    onnx_sha256: str
    calibration_digest: str | None
    tensorrt_version: str
    platform: str
    device_name: str
    precision_requested: str | None
    precision_found: str
    build_seconds: float
    created: str
    options: Mapping[str, Any]
    arguments: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {**asdict(self), "arguments": list(self.arguments)}

    def rebuild_command(self, plan: Path) -> str:
        """Return the command that builds the engine again; for the classic route, the call."""
        if self.options.get("classic"):
            options = f"EngineOptions(precision=Precision({self.precision_requested!r}), classic=True, ...)"
            return f"build_engine(Path({self.onnx_path!r}), Path({str(plan)!r}), options={options}, calibration=...)"
        return shlex.join(["yolotrt", "build", self.onnx_path, "-o", str(plan), *self.arguments])


def sidecar_path(plan: Path) -> Path:
    """Return where an engine's provenance is kept."""
    return plan.with_name(plan.name + ".json")


def read_provenance(plan: Path) -> Provenance | None:
    """Return an engine's provenance, None if there is none beside it.

    Raises:
        InputError: The file beside the engine is not such a description.
    """
    path = sidecar_path(plan)
    if not path.exists():
        return None
    content = read_json(path)
    try:
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        return Provenance(**{**content, "arguments": tuple(content["arguments"])})
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} does not describe an engine.",
            expected=f"provenance as `yolotrt build` writes it (schema {SCHEMA})",
            got=f"{type(error).__name__}: {error}",
            fix="Delete it to load the engine without provenance, or build the engine again.",
        ) from error
