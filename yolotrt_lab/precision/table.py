"""Calibration tables, and TensorRT's text format for them."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json, require_file, write_json, write_text

__all__ = ["CalibrationTable", "read_calibration_cache", "version_number", "write_calibration_cache"]

DEFAULT_TENSORRT_VERSION = "10.16.0"

# What an IInt8Calibrator of that kind writes. TensorRT has no name for the rest, which go by the most common one.
_ALGORITHMS = {"entropy": "EntropyCalibration2", "minmax": "MinMaxCalibration", "percentile": "LegacyCalibration"}
_OTHERS = "EntropyCalibration2"

_HEADER = re.compile(r"TRT-\d{4,6}-\w+")
# TensorRT prints the bits without leading zeros. A scale that is not 0 has eight digits, unless it is below 1e-28.
_SCALE = re.compile(r"0|[0-9a-fA-F]{8}")
_FIX = "Calibrate again with `yolotrt calibrate`."


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


def write_calibration_cache(
    table: CalibrationTable, path: Path, *, tensorrt_version: str = DEFAULT_TENSORRT_VERSION
) -> Path:
    """Write a table in TensorRT's calibration cache format, and what that cannot hold to `<path>.json`.

    The first line is TRT-, the version and the calibrator's algorithm. Each further line is `name: hex`, the step
    amax / 127 as a big-endian float32.

    Args:
        table: What to write.
        path: The cache's file.
        tensorrt_version: Of the TensorRT that is to read it: one that finds another version in the first line may
            calibrate anew instead.

    Returns:
        The path of the JSON file beside it.

    Raises:
        InputError: A tensor's name or scale does not fit the format, or the version is none.
        OutputError: The files cannot be written.

    Example:
        >>> table = CalibrationTable({"images": 1.0}, method="minmax", image_count=1, digest="")
        >>> _ = write_calibration_cache(table, Path("model.calibration"), tensorrt_version="8.6.1")
        >>> Path("model.calibration").read_text().split()
        ['TRT-8601-MinMaxCalibration', 'images:', '3c010204']
    """
    lines = [f"TRT-{version_number(tensorrt_version)}-{_ALGORITHMS.get(table.method, _OTHERS)}"]
    for name, scale in table.scales.items():
        if not name or "\n" in name or "\r" in name:
            raise InputError(
                "A tensor's name is empty or holds a line break.", expected="a one-line name", got=repr(name)
            )
        lines.append(f"{name}: {_hex_from_scale(scale, name)}")
    write_text(path, "\n".join(lines) + "\n")
    sidecar = path.with_name(path.name + ".json")
    write_json(
        sidecar,
        {
            "method": table.method,
            "image_count": table.image_count,
            "tensor_count": len(table.amax),
            "digest": table.digest,
            "model_sha256": table.model_sha256,
            "saturation": dict(table.saturation),
            "warnings": list(table.warnings),
        },
    )
    return sidecar


def version_number(version: str) -> int:
    """Return TensorRT's number for a version: 101601 for 10.16.1, and 8601 for 8.6.1 (up to 9, as then).

    Raises:
        InputError: It is no version.
    """
    parts = [*version.split("."), "0", "0"][:3]
    if not all(part.isdecimal() for part in parts) or int(parts[0]) < 1:
        raise InputError("That is no version of TensorRT.", expected="such as 10.16.1", got=version)
    major, minor, patch = map(int, parts)
    return major * (10_000 if major >= 10 else 1000) + minor * 100 + patch


def _hex_from_scale(scale: float, name: str) -> str:
    try:
        digits = struct.pack(">f", scale).hex()
    except OverflowError:
        digits = "7f800000"
    if not 0.0 <= scale < float("inf") or digits == "7f800000":
        raise InputError(
            f"The scale of tensor {name!r} does not fit a float32.", expected="a finite number ≥ 0", got=scale
        )
    return digits


def read_calibration_cache(path: Path) -> CalibrationTable:
    """Read a table in TensorRT's calibration cache format, with `<path>.json` when it is there.

    Raises:
        InputError: Missing, not a calibration cache, or cut short.
    """
    require_file(path, kind="calibration cache")
    try:
        # Not splitlines: a tensor's name may hold what Unicode takes for the end of a line.
        header, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except ValueError as error:
        raise InputError(
            f"{path} is not text.", expected="a TensorRT calibration cache", got=error, fix=_FIX
        ) from error
    if not _HEADER.fullmatch(header):
        raise InputError(
            f"{path} is not a calibration cache.",
            expected="a first line like TRT-101600-EntropyCalibration2",
            got=header[:60],
            fix=_FIX,
        )
    amax: dict[str, float] = {}
    for number, line in enumerate(lines, start=2):
        name, scale = _entry(line, where=f"{path}, line {number}")
        if name in amax:
            raise InputError(
                f"{path}, line {number}: a second scale.", expected="every tensor once", got=name[:80], fix=_FIX
            )
        amax[name] = scale * 127.0
    method = next((name for name, text in _ALGORITHMS.items() if header.endswith(text)), "entropy")
    return _with_sidecar(path, amax=amax, method=method)


def _entry(line: str, *, where: str) -> tuple[str, float]:
    name, separator, digits = line.rpartition(": ")
    scale = float("nan")
    if _SCALE.fullmatch(digits):
        (scale,) = struct.unpack(">f", bytes.fromhex(digits.zfill(8)))
    if not separator or not name or not 0.0 <= scale < float("inf"):
        raise InputError(
            f"{where}: not a scale.",
            expected="name: eight hexadecimal digits of a finite float32 ≥ 0",
            got=line[:80] or "nothing: the file may be cut short",
            fix=_FIX,
        )
    return name, scale


def _with_sidecar(path: Path, *, amax: dict[str, float], method: str) -> CalibrationTable:
    sidecar = path.with_name(path.name + ".json")
    facts = read_json(sidecar) if sidecar.exists() else {}
    if not isinstance(facts, dict):
        raise InputError(f"{sidecar} does not describe a calibration.", expected="a JSON object", got=type(facts))
    expected = facts.get("tensor_count", len(amax))
    if expected != len(amax):
        raise InputError(
            f"{path} and the .json beside it do not belong together, or the cache is cut short.",
            expected=f"{expected} tensors",
            got=len(amax),
            fix=f"{_FIX} If you changed the cache on purpose, delete the .json.",
        )
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
            expected="the file `yolotrt calibrate` writes",
            got=error,
            fix="Delete it, or calibrate again.",
        ) from error
