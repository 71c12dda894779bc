"""Classic INT8 of TensorRT 10: asks the program's calibrator for batches, finds scales, and quantizes the graph.

For detectors, scales and placement are those of `yolotrt_lab.precision`; so a classic engine and an explicit one made
from the same images agree, as they nearly do on a GPU.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.tensorrt.layer_precision import missing_scale
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import call_user
from yolotrt_lab.emulation.tensorrt.progress import Progress
from yolotrt_lab.emulation.tensorrt.target import target
from yolotrt_lab.errors import EmulationError, InputError
from yolotrt_lab.types import Array

if TYPE_CHECKING:
    from yolotrt_lab.precision.table import CalibrationTable

__all__ = ["CalibrationFailed", "quantize_classically"]

_METHODS = {
    "ENTROPY_CALIBRATION": "entropy",
    "ENTROPY_CALIBRATION_2": "entropy",
    "MINMAX_CALIBRATION": "minmax",
}


_NUMPY_TYPES: dict[str, Any] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
}
_NUMPY_TYPES |= {"BOOL": np.bool_, "UINT8": np.uint8}


class CalibrationFailed(Exception):
    """TensorRT would give up with this message."""


def quantize_classically(onnx_bytes: bytes, network: Any, config: Any, reporter: Reporter, progress: Progress) -> bytes:
    """Return the network with Q/DQ nodes.

    Raises:
        CalibrationFailed: The calibrator gave no data, or data that cannot be used.
        Cancelled: The progress monitor asked to stop.
        EmulationError: The legacy calibrator.
    """
    algorithm = call_user(config._int8_calibrator.get_algorithm)
    method = _METHODS.get("" if algorithm is None else algorithm.name)
    if method is None:
        raise EmulationError(
            "The legacy calibrator is not emulated: how TensorRT uses its quantile and regression cutoff is not "
            "documented.",
            expected="IInt8EntropyCalibrator2 or IInt8MinMaxCalibrator",
            got=algorithm,
        )
    with tempfile.TemporaryDirectory(prefix="yolotrt-") as folder:
        source = Path(folder) / "fp32.onnx"
        source.write_bytes(onnx_bytes)
        calibration = _Calibration(source, network, config, reporter, progress, method)
        try:
            return _as_detector(calibration) if _is_detector(source) else _as_network(calibration)
        except InputError as error:
            raise CalibrationFailed(error.what) from error


@dataclass(frozen=True)
class _Calibration:
    """One calibration: the FP32 model's file, and everything that has a say."""

    source: Path
    network: Any
    config: Any
    reporter: Reporter
    progress: Progress
    method: str

    def table(self, find: Callable[[Iterator[dict[str, Array]]], CalibrationTable]) -> CalibrationTable:
        """Return the scales: the program's cache if it has one, otherwise found from its batches."""
        from yolotrt_lab.precision.table import read_calibration_cache, write_calibration_cache

        calibrator = self.config._int8_calibrator
        cache = self.source.with_name("calibration.cache")
        known = call_user(calibrator.read_calibration_cache)
        if known is not None and memoryview(known).nbytes:
            self.reporter.info("Reading Calibration Cache for calibrator.")
            cache.write_bytes(bytes(known))
            return read_calibration_cache(cache)
        self.reporter.info("Starting Calibration.")
        table = find(self._batches())
        for text in table.warnings:
            self.reporter.warning(f"[emulation] {text}")
        write_calibration_cache(table, cache)
        call_user(calibrator.write_calibration_cache, memoryview(cache.read_bytes()))
        return table

    def _batches(self) -> Iterator[dict[str, Array]]:
        """Yield what the calibrator puts into device memory, batch by batch, by input."""
        names = [tensor.name for tensor in self.network._inputs]
        shapes = [_batch_shape(tensor, self.config) for tensor in self.network._inputs]
        number = 0
        while addresses := call_user(self.config._int8_calibrator.get_batch, names):
            if len(addresses) != len(names):
                raise CalibrationFailed(f"get_batch returned {len(addresses)} addresses for {len(names)} inputs.")
            number += 1
            with self.progress.part(f"Calibrating batch {number}", steps=1) as part:
                places = zip(self.network._inputs, addresses, shapes, strict=True)
                yield {tensor.name: _read(int(address), shape, tensor) for tensor, address, shape in places}
                part.step()
            self.reporter.verbose(f"Calibrated batch {number - 1}.")


def _is_detector(source: Path) -> bool:
    from yolotrt_lab.export.loading import load_onnx_checked

    try:
        load_onnx_checked(source)
    except InputError:
        return False
    return True


def _as_detector(calibration: _Calibration) -> bytes:
    """Quantize by the rules for detectors, which are those of the explicit route."""
    from yolotrt_lab.precision.calibration import calibrate
    from yolotrt_lab.precision.qdq import quantize_onnx

    source = calibration.source
    target = source.with_name("int8.onnx")
    table = calibration.table(
        lambda batches: calibrate(
            source, (batch for feed in batches for batch in feed.values()), method=calibration.method
        )
    )
    report = quantize_onnx(source, target, table=table)
    found = f"{len(report.convs)} convolutions and {len(report.adds)} additions quantized."
    calibration.reporter.info(f"[emulation] {found}")
    return target.read_bytes()


def _as_network(calibration: _Calibration) -> bytes:
    """Quantize all convolutions and matrix products."""
    import onnx

    from yolotrt_lab.emulation.tensorrt.classic_placement import calibrate_network, insert_pairs, quantizable

    model = onnx.load(calibration.source)
    table = calibration.table(lambda batches: calibrate_network(model, batches, method=calibration.method))
    for name in quantizable(model):
        if name not in table.scales:
            calibration.reporter.warning(missing_scale(name))
    count = insert_pairs(model, table.scales)
    calibration.reporter.info(f"[emulation] {count} convolutions and matrix products quantized.")
    return bytes(model.SerializeToString())


def _batch_shape(tensor: Any, config: Any) -> tuple[int, ...]:
    """Return the shape of one batch: the preferred shape of the calibration profile, or else of the first profile.

    Like TensorRT, do not ask the calibrator: its `get_batch_size` is of the time before explicit batches.
    """
    profile = config._calibration_profile or (config._profiles[0] if config._profiles else None)
    shapes = profile._shapes.get(tensor.name) if profile is not None else None
    shape = shapes[1] if shapes else tensor._shape
    if -1 in shape:
        raise CalibrationFailed(f"{tensor.name}: dynamic input without calibration profile.")
    return tuple(shape)


def _read(address: int, shape: tuple[int, ...], tensor: Any) -> Array:
    what, kind = f"calibration input {tensor.name!r}", _NUMPY_TYPES[tensor._dtype]
    try:
        content = target().read_memory(address, math.prod(shape) * np.dtype(kind).itemsize, what=what)
    except DeviceFault as fault:
        if fault.kind == "uninitialised":
            raise CalibrationFailed(f"[emulation] {fault.detail}") from None
        raise CalibrationFailed(f"an illegal memory access was encountered [emulation: {fault.detail}]") from None
    return np.frombuffer(content, kind).reshape(shape)
