"""Calibration tables, and TensorRT's text format for them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json, require_file, write_json, write_text

__all__ = ["CalibrationTable", "read_calibration_cache", "write_calibration_cache"]

# TensorRT 10.16; the algorithm's name is what an IInt8Calibrator of that kind writes.
_HEADER_PREFIX = "TRT-101600-"
_ALGORITHMS = {"entropy": "EntropyCalibration2", "minmax": "MinMaxCalibration", "percentile": "LegacyCalibration"}
# TensorRT has no name for the rest; what reads a cache does not look at the algorithm.


@dataclass(frozen=True)
class CalibrationTable:
    """How far each tensor's values reach, and how that was found out.

    Attributes:
        amax: Tensor name to the magnitude that maps to 127; 0 for a tensor that was always zero.
        method: How: see `calibrators`.
        image_count: Images seen.
        digest: SHA-256 over the preprocessed images, so that a change in data, order or preprocessing shows.
        model_sha256: Of the ONNX file the values come from.
        saturation: Tensor name to the share of its values that `amax` clips.
        warnings: What makes the table doubtful, in plain words.
    """

    amax: Mapping[str, float]
    method: str
    image_count: int
    digest: str
    model_sha256: str = ""
    saturation: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def scales(self) -> dict[str, float]:
        """Tensor name to quantization step, amax / 127."""
        return {name: amax / 127.0 for name, amax in self.amax.items()}


def write_calibration_cache(table: CalibrationTable, path: Path) -> Path:
    """Write a table in TensorRT's calibration cache format, and what that cannot hold to `<path>.json`.

    Each line is `name: hex`, the step amax / 127 as a big-endian float32.

    Returns:
        The path of the JSON file beside it.

    Raises:
        InputError: A tensor's name does not fit the format.
        OutputError: The files cannot be written.
    """
    lines = [_HEADER_PREFIX + _ALGORITHMS.get(table.method, "EntropyCalibration2")]
    for name, scale in table.scales.items():
        if "\n" in name or "\r" in name:
            raise InputError("A tensor's name holds a line break.", expected="a one-line name", got=repr(name))
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    write_text(path, "\n".join(lines) + "\n")
    sidecar = path.with_name(path.name + ".json")
    write_json(
        sidecar,
        {
            "method": table.method,
            "image_count": table.image_count,
            "digest": table.digest,
            "model_sha256": table.model_sha256,
            "saturation": dict(table.saturation),
            "warnings": list(table.warnings),
        },
    )
    return sidecar


def read_calibration_cache(path: Path) -> CalibrationTable:
    """Read a table in TensorRT's calibration cache format, with `<path>.json` when it is there.

    Raises:
        InputError: Missing, or not a calibration cache.
    """
    require_file(path, kind="calibration cache")
    fix = "Calibrate again with `yolotrt quantize`."
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise InputError(f"{path} is not text.", expected="a TensorRT calibration cache", got=error, fix=fix) from error
    if not header.startswith("TRT-"):
        raise InputError(
            f"{path} is not a calibration cache.", expected="a first line like TRT-101600-…", got=header[:60], fix=fix
        )
    amax = {}
    for number, line in enumerate(lines, start=2):
        name, separator, digits = line.rpartition(": ")
        try:
            (scale,) = struct.unpack(">f", bytes.fromhex(digits))
        except (ValueError, struct.error):
            scale = float("nan")
        if not separator or not name or not np.isfinite(scale) or scale < 0:
            raise InputError(
                f"{path}, line {number}: not a scale.",
                expected="name: eight hexadecimal digits of a finite float32 ≥ 0",
                got=line[:80],
                fix=fix,
            )
        amax[name] = scale * 127.0
    method = next((name for name, text in _ALGORITHMS.items() if header.endswith(text)), "entropy")
    return _with_sidecar(path, amax=amax, method=method)


def _with_sidecar(path: Path, *, amax: dict[str, float], method: str) -> CalibrationTable:
    sidecar = path.with_name(path.name + ".json")
    facts = read_json(sidecar) if sidecar.exists() else {}
    if not isinstance(facts, dict):
        raise InputError(f"{sidecar} does not describe a calibration.", expected="a JSON object", got=type(facts))
    try:
        return CalibrationTable(
            amax=amax,
            method=str(facts.get("method", method)),
            image_count=int(facts.get("image_count", 0)),
            digest=str(facts.get("digest", "")),
            model_sha256=str(facts.get("model_sha256", "")),
            saturation={str(name): float(share) for name, share in facts.get("saturation", {}).items()},
            warnings=tuple(map(str, facts.get("warnings", ()))),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{sidecar} does not describe a calibration.",
            expected="the file `yolotrt quantize` writes",
            got=error,
            fix="Delete it, or calibrate again.",
        ) from error
