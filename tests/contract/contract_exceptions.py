"""Reads `exceptions.toml`, the reviewed list of where the emulation does not do what NVIDIA's bindings do.

Every entry has names (a `*` stands for any characters), a reason, and the versions it is about if not all. A name that
deviates and is not listed fails the contract test, and so does an entry that nothing needs any more.

Tests beside this file import it by name: `from contract_exceptions import Deviation, unexcepted, unneeded`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["FILE", "OF_LACKING_CLASS", "STATUSES", "Deviation", "Entry", "load", "unexcepted", "unneeded"]

FILE = Path(__file__).with_name("exceptions.toml")
OF_LACKING_CLASS = "of a class that is there by name only"
STATUSES = {
    "lacking": "is there by name only, or not at all",
    "refused": "is there and raises EmulationError when it is used",
    "different": "works otherwise",
    "extra": "is not NVIDIA's",
}


@dataclass(frozen=True)
class Deviation:
    """One name that is not as NVIDIA's bindings have it.

    Attributes:
        name: The full name, "tensorrt.Builder.reset".
        status: One of `STATUSES`.
        version: Of which version, "10" or "13.0".
        detail: What is not alike.
    """

    name: str
    status: str
    version: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.version}) {STATUSES[self.status]}{': ' if self.detail else ''}{self.detail}"


@dataclass(frozen=True)
class Entry:
    """One pattern of the file."""

    pattern: str
    status: str
    reason: str
    versions: tuple[str, ...] = ()

    def covers(self, deviation: Deviation) -> bool:
        """Return whether a deviation is excepted by this entry."""
        version = not self.versions or deviation.version in self.versions
        named = fnmatchcase(deviation.name, self.pattern)
        # What a class that is there by name only has, is not there either.
        of_class = deviation.detail == OF_LACKING_CLASS and fnmatchcase(deviation.name.rpartition(".")[0], self.pattern)
        return version and self.status == deviation.status and (named or of_class)

    def __str__(self) -> str:
        about = f" (versions {', '.join(self.versions)})" if self.versions else ""
        return f"{self.pattern} [{self.status}]{about}"


@functools.cache
def load(section: str) -> tuple[Entry, ...]:
    """Return the entries of a section: "tensorrt", "cuda.bindings.runtime", "cuda.bindings.driver".

    Raises:
        ValueError: An entry is not written as it has to be.
    """
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    for part in section.split("."):
        tables = tables.get(part, {})
    entries = []
    for status, groups in tables.items():
        if status not in STATUSES:
            continue  # a section below this one
        for group in groups:
            if set(group) - {"names", "reason", "versions"} or not group.get("reason") or not group.get("names"):
                raise ValueError(f"{FILE.name}: an entry of {section}.{status} needs names and a reason: {group}")
            versions = tuple(str(version) for version in group.get("versions", ()))
            entries += [Entry(name, status, group["reason"], versions) for name in group["names"]]
    return tuple(entries)


def unexcepted(section: str, deviations: Iterable[Deviation]) -> list[Deviation]:
    """Return the deviations that no entry covers."""
    entries = load(section)
    return [item for item in deviations if not any(entry.covers(item) for entry in entries)]


def unneeded(section: str, deviations: Iterable[Deviation]) -> list[Entry]:
    """Return the entries that cover no deviation; pass the deviations of all versions together."""
    listed = list(deviations)
    return [entry for entry in load(section) if not any(entry.covers(item) for item in listed)]
