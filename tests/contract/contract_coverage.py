"""How much of NVIDIA's `tensorrt` was compared with the emulation's, and with what result: a table in Markdown.

`python tests/contract/contract_coverage.py` prints the table, and below it what is not as it should be; with `--write`
it puts the table between the markers of the emulation's page. It holds the emulation against the stored description of
the bindings; that the description is right is tested against the wheels.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from contract_comparison import Comparison, compare
from contract_exceptions import FILE, load, unexcepted, unneeded
from contract_walk import walk

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.tensorrt.namespace import API_VERSIONS, build, vendor_description

__all__ = ["END", "PAGE", "START", "Measured", "measure", "pasted", "table"]

SECTION = "tensorrt"
PAGE = Path(str(resources.files("yolotrt_lab.emulation"))) / "README.md"
START = "<!-- contract coverage: python tests/contract/contract_coverage.py -->"
END = "<!-- end of contract coverage -->"


@dataclass(frozen=True)
class Measured:
    """A comparison, and how many classes were used and kinds of results seen."""

    full_version: str
    comparison: Comparison
    classes: int
    kinds: int

    @property
    def excepted(self) -> set[str]:
        """The names that deviate."""
        return {item.name for item in self.comparison.deviations} & self.comparison.names

    @property
    def refused_uses(self) -> int:
        """How many values are refused by what otherwise works."""
        return len({item.name for item in self.comparison.deviations} - self.comparison.names)


@functools.cache
def measure(major: int) -> Measured:
    """Compare one version and use its objects."""
    vendor = vendor_description(major)
    modules.activate(major)
    try:
        module = importlib.import_module("tensorrt")
        comparison = compare(vendor, module, build(major))
        counts = walk(vendor, module, build(major), comparison)
    finally:
        modules.deactivate()
    return Measured(vendor["version"], comparison, counts["classes"], counts["kinds"])


ROWS: dict[str, Callable[[Measured], int]] = {
    "names compared": lambda m: len(m.comparison.names),
    "alike": lambda m: len(m.comparison.names - m.excepted),
    "excepted, with a reason": lambda m: len(m.excepted),
    "single values refused, with a reason": lambda m: m.refused_uses,
    "classes used": lambda m: m.classes,
    "properties read and methods called for the kind of their result": lambda m: m.kinds,
}


def table() -> str:
    """Return the tables."""
    return f"{tensorrt_table()}\n\n{cuda_table()}"


def tensorrt_table() -> str:
    """Return the table of `tensorrt`."""
    measured = [measure(major) for major in API_VERSIONS]
    lines = [
        "| | " + " | ".join(f"TensorRT {item.full_version}" for item in measured) + " |",
        "|---|" + "---:|" * len(measured),
    ]
    for label, count in ROWS.items():
        lines.append(f"| {label} | " + " | ".join(f"{count(item):,}" for item in measured) + " |")
    return "\n".join(lines)


def cuda_table() -> str:
    """Return the same for `cuda.bindings`."""
    from test_cuda_bindings import BINDINGS, compare

    from yolotrt_lab.emulation.cuda import described

    found = []
    modules.activate(API_VERSIONS[0])
    try:
        for name in BINDINGS:
            vendor = described.bindings()[name]
            names = sum(len(vendor[part]) for part in ("functions", "enums", "types", "constants"))
            excepted = len(compare(name, importlib.import_module(f"cuda.bindings.{name}")))
            found.append((names, names - excepted, excepted))
    finally:
        modules.deactivate()
    version = described.bindings()["version"]
    lines = [
        "| | " + " | ".join(f"`cuda.bindings.{name}` {version}" for name in BINDINGS) + " |",
        "|---|" + "---:|" * len(BINDINGS),
    ]
    for label, numbers in zip(list(ROWS)[:3], zip(*found, strict=True), strict=True):
        lines.append(f"| {label} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    return "\n".join(lines)


def problems() -> list[str]:
    """Return what the file of exceptions lacks, and what in it nothing needs any more."""
    deviations = [item for major in API_VERSIONS for item in measure(major).comparison.deviations]
    found = [f"not in {FILE.name}: {item}" for item in unexcepted(SECTION, deviations)]
    return found + [f"no longer needed in {FILE.name}: {entry}" for entry in unneeded(SECTION, deviations)]


def pasted() -> str:
    """Return the table that stands on the page, "" if there is none."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return text.partition(START)[2].partition(END)[0].strip()


def paste() -> None:
    """Put the table of today between the markers of the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    load(SECTION)
    print(table())
    for line in problems():
        print(line)
    if "--write" in sys.argv[1:]:
        paste()
