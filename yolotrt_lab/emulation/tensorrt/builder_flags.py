"""What every builder flag comes to in the emulation: done, without a meaning here, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from yolotrt_lab.errors import EmulationError

__all__ = ["FLAGS", "Flag", "check_flag", "refit_mode"]

DONE, HOLDS, IDLE, REFUSED = "done", "holds", "idle", "refused"


@dataclass(frozen=True)
class Flag:
    """A builder flag.

    Attributes:
        verdict: "done": it does what it means. "holds": what it asks for is so anyway, or has no object here. "idle":
            it is kept, and the log says that it changes nothing on the CPU. "refused": it cannot be set.
        meaning: What it does on a GPU, as a verb phrase.
    """

    verdict: str
    meaning: str


FLAGS = {
    "FP16": Flag(DONE, "allows FP16 kernels"),
    "BF16": Flag(DONE, "allows BF16 kernels"),
    "INT8": Flag(DONE, "allows INT8 kernels"),
    "TF32": Flag(HOLDS, "allows FP32 layers to be computed in TF32, which processors do not have"),
    "DEBUG": Flag(HOLDS, "waits for the device after every layer"),
    "GPU_FALLBACK": Flag(HOLDS, "lets layers meant for a DLA run on the GPU; there are none"),
    "OBEY_PRECISION_CONSTRAINTS": Flag(DONE, "enforces the precisions set on layers"),
    "PREFER_PRECISION_CONSTRAINTS": Flag(DONE, "prefers the precisions set on layers"),
    "REJECT_EMPTY_ALGORITHMS": Flag(HOLDS, "fails if an algorithm selector selects nothing; none can be set"),
    "DISABLE_COMPILATION_CACHE": Flag(HOLDS, "compiles kernels anew; nothing is kept between builds"),
    "REFIT": Flag(DONE, "makes weights replaceable"),
    "REFIT_IDENTICAL": Flag(DONE, "makes weights replaceable by the same ones"),
    "REFIT_INDIVIDUAL": Flag(DONE, "makes chosen weights replaceable"),
    "STRIP_PLAN": Flag(DONE, "leaves the weights out of the plan"),
    "WEIGHTLESS": Flag(DONE, "leaves the weights out of the plan"),
    "VERSION_COMPATIBLE": Flag(DONE, "makes a plan that other versions can load"),
    "EXCLUDE_LEAN_RUNTIME": Flag(DONE, "leaves the runtime out of a version compatible plan"),
    "SPARSE_WEIGHTS": Flag(DONE, "allows kernels for 2:4 sparse weights; the CPU has none, and the log says so"),
    "DISABLE_TIMING_CACHE": Flag(DONE, "builds without the timing cache"),
    "EDITABLE_TIMING_CACHE": Flag(HOLDS, "makes the timing cache editable"),
    "ERROR_ON_TIMING_CACHE_MISS": Flag(DONE, "fails when the timing cache lacks a kernel"),
    "SAFETY_SCOPE": Flag(HOLDS, "is ignored since TensorRT 10.16"),
    "STRICT_NANS": Flag(IDLE, "keeps kernels from simplifying 0*x, x-x and x/x"),
    "MONITOR_MEMORY": Flag(IDLE, "reports the build's use of device memory"),
    "WEIGHT_STREAMING": Flag(REFUSED, "streams weights from host memory"),
    "DIRECT_IO": Flag(REFUSED, "forbids reformatting at inputs and outputs"),
    "FP8": Flag(REFUSED, "allows plugins with FP8 tensors"),
    "INT4": Flag(REFUSED, "allows plugins with 4-bit integer tensors"),
    "FP4": Flag(REFUSED, "allows plugins with FP4 tensors"),
    "DISTRIBUTIVE_INDEPENDENCE": Flag(
        REFUSED, "makes every item of a batch independent of the batch's size, bit by bit"
    ),
}


def check_flag(name: str) -> str | None:
    """Return what the log should say about setting a flag, None if nothing.

    Raises:
        EmulationError: The flag is refused.
    """
    flag = FLAGS[name]
    if flag.verdict == REFUSED:
        raise EmulationError(
            f"BuilderFlag.{name} is not emulated: on a GPU it {flag.meaning}.",
            fix="Run this on a machine with an NVIDIA GPU and TensorRT, or do without the flag.",
        )
    if flag.verdict == IDLE:
        return f"[emulation] BuilderFlag.{name} has no effect on the CPU."
    return None


def refit_mode(config: Any) -> str:
    """Return which weights of an engine can be replaced: "" for none, "all", "individual" or "identical".

    Stripping a plan of its weights makes them replaceable by the same ones, unless another flag says more.
    """
    modes = {
        "REFIT": "all",
        "REFIT_INDIVIDUAL": "individual",
        "REFIT_IDENTICAL": "identical",
        "STRIP_PLAN": "identical",
        "WEIGHTLESS": "identical",
    }
    return next((mode for name, mode in modes.items() if config._has_flag(name)), "")
