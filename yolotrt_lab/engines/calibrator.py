"""The classic INT8 route of TensorRT 10: a calibrator subclass that feeds batches through device memory.

TensorRT 11 has no calibrators; there, and for new work, quantize the ONNX graph instead (`yolotrt_lab.precision`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.files import write_bytes
from yolotrt_lab.optional import require
from yolotrt_lab.types import FloatArray

__all__ = ["ClassicCalibration", "make_calibrator"]


@dataclass(frozen=True)
class ClassicCalibration:
    """What a calibrator needs.

    Attributes:
        batches: Preprocessed images, (n, 3, H, W) float32 RGB in [0, 1], all of one shape.
        cache: File for the scales; if it is there the batches are not used.
        method: "entropy" or "minmax".
    """

    batches: Iterable[FloatArray]
    cache: Path | None = None
    method: Literal["entropy", "minmax"] = "entropy"


def make_calibrator(trt: Any, calibration: ClassicCalibration) -> Any:
    """Return an `IInt8EntropyCalibrator2` or `IInt8MinMaxCalibrator` over the batches.

    The bindings swallow exceptions of a calibrator's methods; the first one is kept in its `failure`. Call `close` to
    free its device memory.

    Args:
        trt: The TensorRT module of version 10, real or emulated.
        calibration: Batches and cache.

    Raises:
        InputError: TensorRT 11 or newer, or no batches and no cache.
    """
    name = "IInt8EntropyCalibrator2" if calibration.method == "entropy" else "IInt8MinMaxCalibrator"
    base: Any = getattr(trt, name, None) if int(trt.__version__.split(".")[0]) < 11 else None
    if base is None:
        raise InputError(
            f"TensorRT {trt.__version__} has no calibrators.",
            expected="TensorRT 10",
            got=trt.__version__,
            fix="Quantize the ONNX graph instead: yolotrt quantize.",
        )
    batches = iter(calibration.batches)
    cached = calibration.cache is not None and calibration.cache.exists()
    first = next(batches, None)
    if first is None and not cached:
        raise InputError("There are no calibration images.", expected="at least one batch", got="none")

    class _Calibrator(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.failure: Exception | None = None
            self.batch_shape = None if first is None else first.shape
            self._feed = _BatchFeed(first, batches)

        def get_batch_size(self) -> int:
            return 1 if first is None else len(first)

        def get_batch(self, names: Sequence[str]) -> list[int] | None:
            try:
                address = self._feed.next_address()
            except Exception as error:
                self.failure = self.failure or error
                return None
            return None if address is None else [address]

        def read_calibration_cache(self) -> bytes | None:
            return calibration.cache.read_bytes() if cached and calibration.cache is not None else None

        def write_calibration_cache(self, cache: Any) -> None:
            if calibration.cache is not None:
                try:
                    write_bytes(calibration.cache, bytes(cache))
                except LabError as error:
                    self.failure = self.failure or error

        def close(self) -> None:
            self._feed.close()

    return _Calibrator()


class _BatchFeed:
    """Copies one batch after another into one piece of device memory."""

    def __init__(self, first: FloatArray | None, rest: Iterator[FloatArray]) -> None:
        self._runtime = require("cuda.bindings.runtime", purpose="copy calibration images to the device")
        self._first = first
        self._rest = rest
        self._shape = None if first is None else first.shape
        self._address = 0

    def next_address(self) -> int | None:
        """Return the device address of the next batch, None after the last."""
        batch = self._first if self._first is not None else next(self._rest, None)
        self._first = None
        if batch is None:
            return None
        if batch.shape != self._shape or batch.dtype != np.float32:
            if batch.shape[1:] == (self._shape or ())[1:] and batch.dtype == np.float32:
                return None  # a smaller last batch; TensorRT takes whole ones only
            raise InputError(
                "A calibration batch has another shape or type than the first.",
                expected=f"float32 {self._shape}",
                got=f"{batch.dtype} {batch.shape}",
            )
        data = np.ascontiguousarray(batch)
        if not self._address:
            self._address = int(self._call(self._runtime.cudaMalloc(data.nbytes)))
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._runtime.cudaMemcpy(self._address, data.ctypes.data, data.nbytes, kind))
        return self._address

    def close(self) -> None:
        """Free the device memory."""
        if self._address:
            address, self._address = self._address, 0
            self._call(self._runtime.cudaFree(address))

    def _call(self, result: tuple[Any, ...]) -> Any:
        code, *values = result
        if int(code) != 0:
            raise LabError("Could not copy calibration images to the device.", got=code)
        return values[0] if values else None
