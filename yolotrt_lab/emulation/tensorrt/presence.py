"""What TensorRT does on a machine without a GPU, for programs that have to be ready for it."""

from __future__ import annotations

from yolotrt_lab.emulation.device import is_present
from yolotrt_lab.emulation.tensorrt.logging import Reporter

__all__ = ["need_device"]


def need_device(reporter: Reporter, factory: str) -> None:
    """Fail like TensorRT's constructors when no device is there; `YOLOTRT_EMULATED_DEVICES=0` takes it away.

    Args:
        reporter: Who is told.
        factory: The C function behind the constructor, "createInferRuntime".

    Raises:
        TypeError: No device is there.
    """
    if is_present():
        return
    text = f"{factory}: CUDA initialization failure with error: 100. Please check your CUDA installation"
    reporter.say("ERROR", text)
    raise TypeError("pybind11::init(): factory function returned nullptr")
