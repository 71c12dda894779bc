"""From facts to a diagnosis: findings, what labs will run on, and whether the course runs here at all."""

from __future__ import annotations

from dataclasses import dataclass

from yolotrt_lab.doctor.facts import Facts
from yolotrt_lab.doctor.findings import Finding, Status
from yolotrt_lab.doctor.gpu_rules import gpu_findings, real_tensorrt_works
from yolotrt_lab.doctor.machine_rules import int8_is_fast, machine_findings
from yolotrt_lab.doctor.package_rules import package_findings
from yolotrt_lab.errors import MissingDependencyError

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor says.

    Attributes:
        findings: About each thing, in reading order.
        platform: "real" or "emulated": what labs will build and run engines with.
        summary: One sentence that says so.
    """

    findings: tuple[Finding, ...]
    platform: str
    summary: str

    @property
    def exit_code(self) -> int:
        """0 if the course runs here, else 3."""
        failed = any(finding.status is Status.FAIL for finding in self.findings)
        return MissingDependencyError.exit_code if failed else 0


def diagnose(facts: Facts) -> Diagnosis:
    """Judge a machine by its facts."""
    findings = (*machine_findings(facts), *package_findings(facts), *gpu_findings(facts))
    real = real_tensorrt_works(facts) and facts.platform_override not in ("emulated", "emulated-on-gpu")
    failed = [finding.name for finding in findings if finding.status is Status.FAIL]
    summary = _real(facts) if real else _emulated(facts)
    if failed:
        summary = f"The course does not run here yet; first mend: {', '.join(failed)}."
    return Diagnosis(findings=findings, platform="real" if real else "emulated", summary=summary)


def _real(facts: Facts) -> str:
    return f"Labs will use TensorRT {facts.value('tensorrt', 'version')} on {facts.gpus[0].name}."


def _emulated(facts: Facts) -> str:
    if facts.platform_override == "emulated-on-gpu" and facts.gpus:
        return (
            f"Labs will use the TensorRT emulation on {facts.gpus[0].name}: INT8 runs as FP32, layers are not timed. "
            "Timings are the GPU's, but not TensorRT's."
        )
    precisions = facts.value("openvino", "capabilities") or ()
    half = "FP16" if "FP16" in precisions else "BF16" if "BF16" in precisions else "FP32"
    int8 = "INT8 runs on VNNI" if int8_is_fast(facts) else "INT8 runs without VNNI, so not faster than FP32"
    return (
        f"Labs will use the TensorRT emulation on this CPU ({facts.cores} cores): {int8}, FP16 runs as {half}. "
        "Timings are CPU timings."
    )
