"""Code and data that workers on other machines need, by the digest of their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from yolotrt_lab.grading.jobs.packing import digest_of, pack

__all__ = ["CODE", "Parcels"]

CODE = "code"
"""The parcel with the package itself."""

_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass
class Parcels:
    """What work needs beside its own content.

    Attributes:
        folders: Folders of this machine by the name that work knows them by.
    """

    folders: Mapping[str, Path]
    _packed: dict[str, bytes] = field(default_factory=dict, repr=False)

    def by_path(self) -> dict[str, str]:
        """Return where everything is, for workers on this machine that run the code of this process."""
        return {name: str(folder.resolve()) for name, folder in self.folders.items()}

    def by_digest(self) -> dict[str, str]:
        """Return the digests of the code and of every folder; their content can be had from then on."""
        found = {CODE: self._add(_packed_code())}
        return found | {name: self._add(pack(folder)) for name, folder in self.folders.items()}

    def content(self, digest: str) -> bytes | None:
        """Return the parcel of a digest, or None if it is none of these."""
        return self._packed.get(digest)

    def _add(self, content: bytes) -> str:
        digest = digest_of(content)
        self._packed[digest] = content
        return digest


@lru_cache(maxsize=1)
def _packed_code() -> bytes:
    """Return the package's files, as they are on disk."""
    files = [path for path in _PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return pack(_PACKAGE.parent, files=files)
