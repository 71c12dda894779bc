"""What can be chosen about an engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.types import Precision

__all__ = ["EngineOptions"]

_MIB = 1 << 20


@dataclass(frozen=True)
class EngineOptions:
    """How to build an engine.

    Attributes:
        precision: What the engine is meant to run in; None takes what the ONNX graph says. In the explicit route it is
            checked against the graph.
        min_batch: Smallest batch.
        opt_batch: The batch it is tuned for.
        max_batch: Largest batch.
        workspace_bytes: Scratch memory kernels may use.
        timing_cache: File that keeps kernel timings between builds; made if it is not there.
        classic: Use TensorRT 10's builder flags and calibrators on a weakly typed network instead of the types in the
            graph.

    Raises:
        InputError: Batches out of order, or a size that is not positive.
    """

    precision: Precision | None = None
    min_batch: int = 1
    opt_batch: int = 1
    max_batch: int = 1
    workspace_bytes: int = 1024 * _MIB
    timing_cache: Path | None = None
    classic: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.opt_batch <= self.max_batch:
            raise InputError(
                "The batch sizes are out of order.",
                expected="1 <= min-batch <= opt-batch <= max-batch",
                got=f"{self.min_batch}, {self.opt_batch}, {self.max_batch}",
            )
        if self.workspace_bytes <= 0:
            raise InputError("The workspace needs a size.", expected="more than 0 bytes", got=self.workspace_bytes)
        if self.classic and self.precision is None:
            raise InputError("The classic route needs a precision.", expected="fp32, fp16, bf16 or int8", got="none")

    def to_json(self) -> dict[str, Any]:
        """Return the options in JSON's types."""
        return {
            "precision": None if self.precision is None else str(self.precision),
            "min_batch": self.min_batch,
            "opt_batch": self.opt_batch,
            "max_batch": self.max_batch,
            "workspace_bytes": self.workspace_bytes,
            "timing_cache": None if self.timing_cache is None else self.timing_cache.name,
            "classic": self.classic,
        }

    def to_arguments(self) -> list[str]:
        """Return the options as arguments of `yolotrt build`; defaults are left out."""
        arguments: list[str] = []
        if self.precision is not None:
            arguments += ["--precision", str(self.precision)]
        if self.max_batch != 1:
            arguments += ["--min-batch", str(self.min_batch), "--opt-batch", str(self.opt_batch)]
            arguments += ["--max-batch", str(self.max_batch)]
        if self.workspace_bytes != 1024 * _MIB:
            arguments += ["--workspace-mib", str(self.workspace_bytes // _MIB)]
        return arguments
