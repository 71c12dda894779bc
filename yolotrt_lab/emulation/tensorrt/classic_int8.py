"""Classic INT8 of TensorRT 10: asks the program's calibrator for batches, finds scales, and quantizes the graph.

The scales and the placement are those of `yolotrt_lab.precision`; so a classic engine and an explicit one made from the
same images agree, as they nearly do on a GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolotrt_lab.emulation.memory import DeviceFault
from yolotrt_lab.emulation.tensorrt.logging import Reporter
from yolotrt_lab.emulation.tensorrt.objects import call_user
from yolotrt_lab.emulation.tensorrt.progress import Progress
from yolotrt_lab.emulation.tensorrt.target import target
from yolotrt_lab.errors import EmulationError, InputError
from yolotrt_lab.types import FloatArray

if TYPE_CHECKING:
    from yolotrt_lab.precision.table import CalibrationTable

__all__ = ["CalibrationFailed", "quantize_classically"]

_METHODS = {
    "ENTROPY_CALIBRATION": "entropy",
    "ENTROPY_CALIBRATION_2": "entropy",
    "MINMAX_CALIBRATION": "minmax",
}


class CalibrationFailed(Exception):
    """TensorRT would give up with this message."""


def quantize_classically(onnx_bytes: bytes, network: Any, config: Any, reporter: Reporter, progress: Progress) -> bytes:
    """Return the network with Q/DQ nodes.

    Raises:
        CalibrationFailed: The calibrator gave no data, or data that cannot be used.
        Cancelled: The progress monitor asked to stop.
        EmulationError: The legacy calibrator, or a network with several inputs.
    """
    from yolotrt_lab.precision.qdq import quantize_onnx

    calibrator = config.int8_calibrator
    algorithm = call_user(calibrator.get_algorithm)
    method = _METHODS.get("" if algorithm is None else algorithm.name)
    if method is None or len(network._inputs) != 1:
        raise EmulationError(
            "Calibration is emulated for networks with one input and entropy or min-max calibrators.",
            expected="one input; IInt8EntropyCalibrator2 or IInt8MinMaxCalibrator",
            got=f"{len(network._inputs)} inputs, {algorithm}",
        )
    with tempfile.TemporaryDirectory(prefix="yolotrt-") as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(onnx_bytes)
        _check_detector(source)
        try:
            table = _table(source, network, config, method=method, reporter=reporter, progress=progress)
            report = quantize_onnx(source, target, table=table)
        except InputError as error:
            raise CalibrationFailed(error.what) from error
        reporter.info(f"[emulation] {len(report.convs)} convolutions and {len(report.adds)} additions quantized.")
        return target.read_bytes()


def _check_detector(source: Path) -> None:
    from yolotrt_lab.export.loading import load_onnx_checked

    try:
        load_onnx_checked(source)
    except InputError as error:
        raise EmulationError(
            "Calibrators are emulated for detectors only; TensorRT takes any network.",
            expected=error.expected or "a detector",
            got=error.got or error.what,
            fix="Put Q/DQ nodes into the ONNX graph instead.",
        ) from error


def _table(
    source: Path, network: Any, config: Any, *, method: str, reporter: Reporter, progress: Progress
) -> CalibrationTable:
    """Return the scales: the program's cache if it has one, otherwise found from its batches."""
    from yolotrt_lab.precision.calibration import calibrate
    from yolotrt_lab.precision.table import read_calibration_cache, write_calibration_cache

    calibrator = config.int8_calibrator
    cache = source.with_name("calibration.cache")
    known = call_user(calibrator.read_calibration_cache)
    if known is not None and memoryview(known).nbytes:
        reporter.info("Reading Calibration Cache for calibrator.")
        cache.write_bytes(bytes(known))
        return read_calibration_cache(cache)
    reporter.info("Starting Calibration.")
    table = calibrate(source, _batches(network, config, reporter, progress), method=method)
    for text in table.warnings:
        reporter.warning(f"[emulation] {text}")
    write_calibration_cache(table, cache)
    call_user(calibrator.write_calibration_cache, cache.read_bytes())
    return table


def _batches(network: Any, config: Any, reporter: Reporter, progress: Progress) -> Iterator[FloatArray]:
    """Yield what the calibrator puts into device memory, batch by batch."""
    calibrator = config.int8_calibrator
    (tensor,) = network._inputs
    shape = _batch_shape(tensor, config)
    nbytes = int(np.prod(shape)) * 4
    number = 0
    while addresses := call_user(calibrator.get_batch, [tensor.name]):
        if len(addresses) != 1:
            raise CalibrationFailed(f"get_batch returned {len(addresses)} addresses for 1 input.")
        number += 1
        with progress.part(f"Calibrating batch {number}", steps=1) as part:
            yield _read(int(addresses[0]), shape, nbytes, tensor.name)
            part.step()
        reporter.verbose(f"Calibrated batch {number - 1}.")


def _batch_shape(tensor: Any, config: Any) -> tuple[int, ...]:
    """Return the shape of one batch: the preferred shape of the calibration profile, or else of the first profile.

    Like TensorRT, do not ask the calibrator: its `get_batch_size` is of the time before explicit batches.
    """
    profile = config.get_calibration_profile() or (config._profiles[0] if config._profiles else None)
    shapes = profile._shapes.get(tensor.name) if profile is not None else None
    shape = shapes[1] if shapes else tensor._shape
    if -1 in shape:
        raise CalibrationFailed(f"{tensor.name}: dynamic input without calibration profile.")
    return tuple(shape)


def _read(address: int, shape: tuple[int, ...], nbytes: int, name: str) -> FloatArray:
    try:
        content = target().read_memory(address, nbytes, what=f"calibration input {name!r}")
    except DeviceFault as fault:
        if fault.kind == "uninitialised":
            raise CalibrationFailed(f"[emulation] {fault.detail}") from None
        raise CalibrationFailed(f"an illegal memory access was encountered [emulation: {fault.detail}]") from None
    return np.frombuffer(content, np.float32).reshape(shape)
