"""Rules about the machine itself: Python, processor, memory, disk, and the programs around the course."""

from __future__ import annotations

from collections.abc import Iterator

from yolotrt_lab.doctor.facts import Facts, version_tuple
from yolotrt_lab.doctor.findings import Finding, absent, fail, good, warn

__all__ = ["int8_is_fast", "machine_findings"]

_MINIMUM_GIB, _COMFORTABLE_GIB = 3.0, 7.0
_MINIMUM_DISK_GIB, _COMFORTABLE_DISK_GIB = 0.5, 4.0
_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_FP16 = frozenset({"avx512_fp16", "amx_fp16", "asimdhp"})


def int8_is_fast(facts: Facts) -> bool:
    """Return whether the processor multiplies 8-bit numbers faster than 32-bit ones."""
    return bool(facts.cpu_flags & _VNNI)


def machine_findings(facts: Facts) -> Iterator[Finding]:
    """Yield what there is to say about the machine."""
    yield _python(facts)
    yield good("system", f"{facts.system}, {facts.machine}")
    yield _processor(facts)
    yield _memory(facts)
    yield _disk(facts)
    yield _bubblewrap(facts)
    yield _chromium(facts)


def _python(facts: Facts) -> Finding:
    if (3, 11) <= version_tuple(facts.python)[:2] < (3, 14):
        return good("Python", facts.python)
    return fail("Python", facts.python, "The course needs Python 3.11, 3.12 or 3.13.", "PYTHON=python3.12 make setup")


def _processor(facts: Facts) -> Finding:
    names = {"VNNI": facts.cpu_flags & _VNNI, "BF16": facts.cpu_flags & _BF16, "FP16": facts.cpu_flags & _FP16}
    features = ", ".join(name for name, flags in names.items() if flags) or "no VNNI, BF16 or FP16"
    found = f"{facts.cpu or 'unknown'}, {facts.cores} cores, {features}"
    if facts.machine in ("x86_64", "AMD64") and "avx2" not in facts.cpu_flags:
        return warn("processor", found, "Without AVX2 every step on the CPU is very slow.", "Use another machine.")
    if not names["VNNI"]:
        return warn("processor", found, "INT8 engines on this CPU are exact but not faster than FP32.")
    meaning = "" if names["FP16"] else "FP16 engines on this CPU compute in BF16 or FP32; the inspector says which."
    return good("processor", found, meaning)


def _memory(facts: Facts) -> Finding:
    found = f"{facts.memory_gib:.1f} GiB"
    if facts.memory_gib < _MINIMUM_GIB:
        return fail("memory", found, f"Training and export need {_MINIMUM_GIB:g} GiB.", "Use a machine with more.")
    if facts.memory_gib < _COMFORTABLE_GIB:
        return warn("memory", found, "Little: close other programs.", "yolotrt train --batch 4")
    return good("memory", found)


def _disk(facts: Facts) -> Finding:
    found = f"{facts.disk_free_gib:.1f} GiB free"
    if facts.disk_free_gib < _MINIMUM_DISK_GIB:
        return fail("disk", found, f"Runs need {_MINIMUM_DISK_GIB:g} GiB.", "make clean; rm -r runs")
    if facts.disk_free_gib < _COMFORTABLE_DISK_GIB:
        return warn("disk", found, "Data sets, runs and engines add up to a few GiB.", "rm -r runs")
    return good("disk", found)


def _bubblewrap(facts: Facts) -> Finding:
    path = facts.programs.get("bwrap")
    if path is None:
        return absent(
            "bubblewrap",
            "Submissions cannot be graded in isolation on this machine; students need none.",
            "sudo apt-get install -y --no-install-recommends bubblewrap",
        )
    if facts.bubblewrap_error:
        return warn(
            "bubblewrap",
            f"{path} does not run: {facts.bubblewrap_error}",
            "The kernel forbids user namespaces (usual inside containers); submissions cannot be graded here.",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1 (in a container: relax its seccomp profile)",
        )
    return good("bubblewrap", path)


def _chromium(facts: Facts) -> Finding:
    path = facts.programs.get("chromium")
    if path is None:
        return absent(
            "Chromium",
            "Only the browser tests need it.",
            "sudo apt-get install -y --no-install-recommends chromium",
        )
    return good("Chromium", path)
