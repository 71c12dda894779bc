"""Rules about the Python packages that the course needs on every machine."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement

from yolotrt_lab.doctor.facts import Facts
from yolotrt_lab.doctor.findings import Finding, absent, fail, good, warn

__all__ = ["broken_fix", "package_findings"]

_SETUP = "make setup"
# module -> (label, what it is for)
_REQUIRED = {
    "numpy": ("NumPy", "everything"),
    "torch": ("PyTorch", "training, export and references"),
    "torchvision": ("torchvision", "training"),
    "ultralytics": ("Ultralytics", "training and export"),
    "onnx": ("ONNX", "export, calibration and Q/DQ graphs"),
    "onnxruntime": ("ONNX Runtime", "the FP32 reference that engines are judged by"),
    "openvino": ("OpenVINO", "compiling engines where there is no GPU"),
    "cv2": ("OpenCV", "reading and letterboxing images"),
}
_COURSE = {"jupyterlab": "JupyterLab", "nbgrader": "nbgrader"}


def package_findings(facts: Facts) -> Iterator[Finding]:
    """Yield what there is to say about the packages."""
    for module, (label, purpose) in _REQUIRED.items():
        yield _required(facts, module=module, label=label, purpose=purpose)
    yield from _pairs(facts)
    yield from _one_onnxruntime(facts)
    yield from _one_opencv(facts)
    for module, label in _COURSE.items():
        yield _course(facts, module=module, label=label)


def broken_fix(error: str, *, module: str) -> tuple[str, str]:
    """Return what an import error means and what to do about it."""
    distribution = {"cv2": "opencv-python", "tensorrt": "tensorrt-cu13", "cuda": "cuda-python"}.get(module, module)
    lowered = error.lower()
    if "compiled using numpy" in lowered or "numpy.dtype size changed" in lowered or "_array_api not found" in lowered:
        return (
            "It was built for another NumPy (the ABI changed with 2.0).",
            f"pip install --force-reinstall --no-deps --upgrade {distribution}",
        )
    if "libgl.so.1" in lowered or "libgthread" in lowered:
        return (
            "OpenCV draws with system libraries that are missing.",
            "sudo apt-get install -y --no-install-recommends libgl1 libglib2.0-0",
        )
    if "glibc" in lowered and "not found" in lowered:
        return (
            "The system's C library is too old for this build.",
            "Use a newer system, e.g. Debian 12 or Ubuntu 22.04.",
        )
    if "illegal instruction" in lowered or "signal 4" in lowered:
        return "The build uses instructions that this processor lacks.", "Use another machine."
    if "did not answer" in lowered:
        return "It hangs while it loads.", f"pip install --force-reinstall {distribution}"
    return "It is installed but does not load.", f"pip install --force-reinstall {distribution}"


def _required(facts: Facts, *, module: str, label: str, purpose: str) -> Finding:
    probe = facts.probes.get(module)
    if probe is None:
        return fail(label, "not installed", f"It is needed for {purpose}.", _SETUP)
    if not probe.works:
        meaning, fix = broken_fix(probe.error or "", module=module)
        return fail(label, probe.error or "", meaning, fix)
    found = str(probe.values.get("version", ""))
    if module == "openvino":
        found += f", devices {', '.join(probe.values.get('devices', ())) or 'none'}"
        if "CPU" not in probe.values.get("devices", ()):
            return fail(label, found, "OpenVINO has no CPU device here.", "pip install --force-reinstall openvino")
    if module == "onnxruntime":
        providers = [name.removesuffix("ExecutionProvider") for name in probe.values.get("providers", ())]
        found += f", providers {', '.join(providers)}"
    return good(label, found)


def _pairs(facts: Facts) -> Iterator[Finding]:
    """What one package requires of another; `pip` does not check it when the other changes."""
    for owner, lines in facts.requirements.items():
        for line in lines:
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                continue
            version = facts.packages.get(requirement.name)
            if version is None or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            if not requirement.specifier.contains(version.split("+")[0], prereleases=True):
                yield warn(
                    f"{owner} and {requirement.name}",
                    f"{owner} {facts.packages.get(owner, '?')} wants {requirement.name}{requirement.specifier}; "
                    f"{version} is installed",
                    "They were not made for each other: expect missing operators or crashes.",
                    f"pip install --upgrade {owner} {requirement.name}",
                )


def _one_onnxruntime(facts: Facts) -> Iterator[Finding]:
    if {"onnxruntime", "onnxruntime-gpu"} <= facts.packages.keys():
        yield warn(
            "two ONNX Runtimes",
            f"onnxruntime {facts.packages['onnxruntime']} and onnxruntime-gpu {facts.packages['onnxruntime-gpu']}",
            "Both write the module `onnxruntime`; the one installed last wins, half of the other stays.",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install "
            + ("onnxruntime-gpu" if facts.gpus else "onnxruntime"),
        )


def _one_opencv(facts: Facts) -> Iterator[Finding]:
    variants = [name for name in facts.packages if name.startswith("opencv-")]
    if len(variants) > 1:
        yield warn(
            "several OpenCVs",
            ", ".join(f"{name} {facts.packages[name]}" for name in sorted(variants)),
            "They write the same module `cv2` over each other.",
            f"pip uninstall -y {' '.join(sorted(variants))} && pip install opencv-python",
        )


def _course(facts: Facts, *, module: str, label: str) -> Finding:
    version = facts.packages.get(module)
    if version is None:
        return absent(label, "Notebooks cannot be opened or graded here.", "pip install -e '.[course]'")
    return good(label, version)
