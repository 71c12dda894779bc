"""The emulated timing cache: which kernel each layer got. It is real to read and write, and saves no time here."""

from __future__ import annotations

import json
from typing import Any

from yolotrt_lab.emulation.tensorrt.objects import ApiObject
from yolotrt_lab.emulation.tensorrt.target import target

__all__ = ["ITimingCache", "read_timing_cache"]

_MAGIC = b"YOLOTRTC"


class ITimingCache(ApiObject):
    """Kernel choices from earlier builds.

    OpenVINO chooses kernels by rules and does not time them, so a filled cache makes a build no faster; its entries are
    the kernels that were chosen.
    """

    def _setup(self, version: str, device: str, entries: dict[str, str]) -> None:
        self._version = version
        self._device = device
        self._entries = entries

    def serialize(self) -> Any:
        """Return the cache as bytes."""
        content = {"version": self._version, "device": self._device, "entries": self._entries}
        return self._api.IHostMemory._of(_MAGIC + json.dumps(content, sort_keys=True).encode())

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

    def _fits(self, *, ignore_device: bool) -> bool:
        return self._version == self._api.version and (ignore_device or self._device == target().compute())


def read_timing_cache(api: Any, data: bytes) -> Any:
    """Return the cache in `data`, a new one if `data` is empty, None if it is no cache."""
    if not data:
        return api.ITimingCache._create(api.version, target().compute(), {})
    try:
        if not data.startswith(_MAGIC):
            return None
        content = json.loads(data[len(_MAGIC) :])
        return api.ITimingCache._create(content["version"], content["device"], dict(content["entries"]))
    except (ValueError, KeyError, TypeError):
        return None
