"""The emulated timing cache: compiled networks from earlier builds, in the place of kernel timings."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yolotrt_lab.emulation.tensorrt.compiler import CompiledNetwork
from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.target import CompileOrder, target
from yolotrt_lab.emulation.tensorrt.weights_elision import elide_weights, restore_weights

__all__ = ["ITimingCache", "TimingCacheKey", "TimingCacheValue", "cache_key", "read_timing_cache"]

_MAGIC = b"YOLOTRTC"
_FORMAT = 2
_KEY_CHARACTERS = 34
_PREFIX = struct.Struct("<8sIQI")  # magic, format, bytes of the head, CRC-32 of all that follows


@dataclass(frozen=True)
class _Entry:
    """What one compilation came to.

    Attributes:
        blob: The executable, without the weights that the network brings.
        facts: Inputs, outputs and shape rules; see `CompiledNetwork`.
        compile_ms: How long compiling took.
    """

    blob: bytes
    facts: Mapping[str, Any]
    compile_ms: float

    def tactic_hash(self) -> int:
        """Return the number that stands for the executable."""
        return int.from_bytes(hashlib.sha256(self.blob).digest()[:8], "little")


class TimingCacheKey(ApiObject):
    """Names an entry of a timing cache by 128 bits."""

    def _setup(self, digits: str) -> None:
        self._digits = digits

    @classmethod
    def parse(cls, text: str) -> Any:
        """Return the key in "0x" and 32 hexadecimal digits.

        Raises:
            ValueError: The text is something else.
        """
        if len(text) != _KEY_CHARACTERS:
            raise ValueError(f"The text should have exactly {_KEY_CHARACTERS} characters.")
        if text[:2].lower() != "0x":
            raise ValueError("The text should start with prefix `0x` or `0X`.")
        if re.fullmatch("[0-9a-fA-F]+", text[2:]) is None:
            raise ValueError("The text has invalid content.")
        return cls._create(text[2:].lower())

    def __str__(self) -> str:
        return f"0x{self._digits}"


class TimingCacheValue(ApiObject):
    """What a timing cache keeps of an entry: the kernel, and its time."""

    def __init__(self, arg0: int, arg1: float) -> None:
        super().__init__()
        self._tactic_hash = int(arg0)
        self._timing_ms = float(arg1)

    @property
    def tacticHash(self) -> int:
        """The number of the kernel; here of the compiled network. 0 if there is none."""
        return self._tactic_hash

    @tacticHash.setter
    def tacticHash(self, value: int) -> None:
        self._tactic_hash = int(value)

    @property
    def timingMSec(self) -> float:
        """The time of the kernel; here the milliseconds that compiling took. NaN if there is none."""
        return self._timing_ms

    @timingMSec.setter
    def timingMSec(self, value: float) -> None:
        self._timing_ms = float(value)


class ITimingCache(ApiObject):
    """Compiled networks from earlier builds, so that the same network is built faster.

    On a GPU most of a build is timing kernels, and the cache keeps these times by layer. OpenVINO chooses kernels by
    rules and times none; most of a build here is compiling, so the cache keeps what came of it: OpenVINO's executable,
    by network (weights included), shapes, precision, compiler and processor. The weights themselves stay in the
    network: an entry has some 100 kB. What follows from this differs from a GPU: another network never profits from an
    entry, however similar its layers; the times are those of compiling; and entries can be deleted, but not replaced
    by another choice.
    """

    def _setup(self, version: str, device: str, entries: dict[str, _Entry]) -> None:
        self._version = version
        self._device = device
        self._entries = entries

    def serialize(self) -> Any:
        """Return the cache as bytes."""
        entries = [
            {"key": key, "facts": entry.facts, "compile_ms": entry.compile_ms, "bytes": len(entry.blob)}
            for key, entry in sorted(self._entries.items())
        ]
        content = {"version": self._version, "device": self._device, "entries": entries}
        head = json.dumps(content, sort_keys=True).encode()
        rest = head + b"".join(entry.blob for _, entry in sorted(self._entries.items()))
        return self._api.IHostMemory._of(_PREFIX.pack(_MAGIC, _FORMAT, len(head), zlib.crc32(rest)) + rest)

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        """Take over the entries of another cache of the same version and, unless told otherwise, the same device."""
        if input_cache._version != self._version or (input_cache._device != self._device and not ignore_mismatch):
            return False
        self._entries = {**input_cache._entries, **self._entries}
        return True

    def reset(self) -> bool:
        """Forget all entries."""
        self._entries = {}
        return True

    def queryKeys(self) -> list[Any]:
        """Return the keys of all entries."""
        return [self._api.TimingCacheKey._create(key) for key in sorted(self._entries)]

    def query(self, key: Any) -> Any:
        """Return the value of an entry; one with hash 0 and time NaN if there is no such entry."""
        entry = self._entries.get(key._digits)
        if entry is None:
            return self._api.TimingCacheValue(0, math.nan)
        return self._api.TimingCacheValue(entry.tactic_hash(), entry.compile_ms)

    def update(self, key: Any, value: Any) -> bool:
        """Delete an entry, if the new time is NaN; otherwise change its time. Another kernel cannot be put in."""
        entry = self._entries.get(key._digits)
        if entry is None:
            return False
        if math.isnan(value.timingMSec):
            del self._entries[key._digits]
            return True
        if value.tacticHash != entry.tactic_hash():
            return False
        self._entries[key._digits] = _Entry(entry.blob, entry.facts, value.timingMSec)
        return True

    def _fits(self, *, ignore_device: bool) -> bool:
        return self._version == self._api.version and (ignore_device or self._device == target().compute())

    def _find(self, key: str, order: CompileOrder) -> CompiledNetwork | None:
        """Return the compiled network from an earlier build, None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        try:
            blob = restore_weights(entry.blob, order.onnx_bytes)
        except ValueError:
            return None
        tensors = {side: tuple((n, t, tuple(shape)) for n, t, shape in entry.facts[side]) for side in _SIDES}
        rules = {name: tuple((a, b) for a, b in rule) for name, rule in entry.facts["shape_rules"].items()}
        return CompiledNetwork(blob, tensors["inputs"], tensors["outputs"], rules)

    def _keep(self, key: str, order: CompileOrder, compiled: CompiledNetwork, *, compile_ms: float) -> None:
        facts = {"inputs": compiled.inputs, "outputs": compiled.outputs, "shape_rules": dict(compiled.shape_rules)}
        self._entries[key] = _Entry(elide_weights(compiled.blob, order.onnx_bytes), facts, compile_ms)


_SIDES = ("inputs", "outputs")


def cache_key(order: CompileOrder) -> str:
    """Return 128 bits, in hexadecimal digits, that stand for a compilation: network, settings, compiler and device."""
    settings = {name: value for name, value in vars(order).items() if name != "onnx_bytes"}
    where = [target().compute(), target().software()]
    digest = hashlib.sha256(json.dumps([settings, where], sort_keys=True, default=dict).encode())
    digest.update(order.onnx_bytes)
    return digest.hexdigest()[:32]


def read_timing_cache(api: Any, data: bytes) -> Any:
    """Return the cache in `data`, a new one if `data` is empty, None if it is no cache."""
    if not data:
        return api.ITimingCache._create(api.version, target().compute(), {})
    try:
        magic, version, head_bytes, crc = _PREFIX.unpack_from(data)
        if magic != _MAGIC or version != _FORMAT or zlib.crc32(memoryview(data)[_PREFIX.size :]) != crc:
            return None
        start = _PREFIX.size + head_bytes
        content = json.loads(data[_PREFIX.size : start])
    except (struct.error, ValueError):
        return None
    entries = {}
    for item in content["entries"]:
        entries[item["key"]] = _Entry(data[start : start + item["bytes"]], item["facts"], item["compile_ms"])
        start += item["bytes"]
    return api.ITimingCache._create(content["version"], content["device"], entries)
