"""The emulated interfaces that programs implement: profiler, progress monitor, output allocator, calibrators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from yolotrt_lab.emulation.tensorrt.objects import ApiObject, pure_virtual

__all__ = [
    "IAlgorithmSelector",
    "IInt8Calibrator",
    "IInt8EntropyCalibrator",
    "IInt8EntropyCalibrator2",
    "IInt8LegacyCalibrator",
    "IInt8MinMaxCalibrator",
    "IOutputAllocator",
    "IProfiler",
    "IProgressMonitor",
    "Profiler",
]


class IProfiler(ApiObject):
    """Base of profilers; a subclass implements `report_layer_time(layer_name, ms)`."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Take the time of one layer of one inference."""
        pure_virtual("IProfiler", "report_layer_time")


class Profiler(IProfiler):
    """Prints layer times to standard output."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Print the time of one layer."""
        print(f"{layer_name}: {ms:g}ms")


class IProgressMonitor(ApiObject):
    """Base of progress monitors; a subclass implements the three methods, and cancels by `step_complete`'s False."""

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
        """Take note that a phase began."""
        pure_virtual("IProgressMonitor", "phase_start")

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Take note that a step is done; return whether to go on."""
        pure_virtual("IProgressMonitor", "step_complete")
        return False

    def phase_finish(self, phase_name: str) -> None:
        """Take note that a phase ended."""
        pure_virtual("IProgressMonitor", "phase_finish")


class IOutputAllocator(ApiObject):
    """Base of output allocators.

    A subclass implements `reallocate_output_async(tensor_name, memory, size, alignment, stream)`, or
    `reallocate_output(tensor_name, memory, size, alignment)`, and `notify_shape(tensor_name, shape)`.
    """


class IAlgorithmSelector(ApiObject):
    """Base of selectors of kernels, TensorRT 10; the emulation's kernels are OpenVINO's and cannot be selected."""

    def report_algorithms(self, contexts: Sequence[Any], choices: Sequence[Any]) -> None:
        """Take note of the kernels that were chosen."""

    def select_algorithms(self, context: Any, choices: Sequence[Any]) -> list[int]:
        """Return the numbers of the kernels to choose from; all of them."""
        return list(range(len(choices)))


class IInt8Calibrator(ApiObject):
    """Base of the calibrators of TensorRT 10.

    A subclass implements `get_batch_size`, `get_batch(names)`, `read_calibration_cache` and `write_calibration_cache`.
    """

    _algorithm: ClassVar[str] = ""

    def get_batch_size(self) -> int:
        """Return the batch size."""
        pure_virtual("Derived", "get_batch_size")
        return -1

    def get_algorithm(self) -> Any:
        """Return the calibration algorithm."""
        if not self._algorithm:
            pure_virtual("IInt8Calibrator", "get_algorithm")
        return getattr(self._api.CalibrationAlgoType, self._algorithm or "LEGACY_CALIBRATION")

    def get_batch(self, names: Sequence[str]) -> list[int] | None:
        """Return the device addresses of a batch, one for each input; [] or None at the end."""
        return []

    def read_calibration_cache(self) -> Any:
        """Return a calibration cache, or None."""
        raise TypeError(
            "Unable to convert function return value to a Python type! The signature was\n"
            f"\t(self: tensorrt.tensorrt.{self._api_name}) -> typing_extensions.Buffer"
        )

    def write_calibration_cache(self, cache: Any) -> None:
        """Keep a calibration cache."""


class IInt8LegacyCalibrator(IInt8Calibrator):
    """The oldest calibrator; its percentile method is not emulated."""

    _algorithm = "LEGACY_CALIBRATION"


class IInt8EntropyCalibrator(IInt8Calibrator):
    """Entropy calibration, first form."""

    _algorithm = "ENTROPY_CALIBRATION"


class IInt8EntropyCalibrator2(IInt8Calibrator):
    """Entropy calibration: thresholds that lose least information."""

    _algorithm = "ENTROPY_CALIBRATION_2"


class IInt8MinMaxCalibrator(IInt8Calibrator):
    """Calibration by the largest absolute value."""

    _algorithm = "MINMAX_CALIBRATION"
