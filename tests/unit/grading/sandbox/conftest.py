"""Programs run in sandboxes, cold or from a zygote, and what they found out."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from yolotrt_lab.grading.jobs.slots import claim_slot
from yolotrt_lab.grading.sandbox.policy import SandboxLimits, SandboxPolicy, slot_uid
from yolotrt_lab.grading.sandbox.process import SandboxedProcess, Usage
from yolotrt_lab.grading.sandbox.zygote import Zygote

MIB = 2**20
SMALL = {"wall_s": 30.0, "memory_bytes": 400 * MIB, "disk_bytes": 16 * MIB, "processes": 24, "files": 300}


@dataclass(frozen=True)
class Ended:
    """How a program ended: exit code, reason, what it printed, what it used."""

    code: int
    killed: str
    output: str
    usage: Usage

    def said(self) -> Any:
        """Return the JSON that it printed last."""
        return json.loads(self.output.strip().splitlines()[-1])


Run = Callable[..., Ended]


@pytest.fixture(scope="session")
def zygote():
    with Zygote(["json", "decimal", "no_such_module"]) as started:
        yield started


@pytest.fixture(params=["cold", "warm"])
def start(request):
    """Start a command in a sandbox, in both ways."""
    return SandboxedProcess.start if request.param == "cold" else request.getfixturevalue("zygote").spawn


@pytest.fixture
def run(start) -> Run:
    def to_its_end(program: str, *, writable=(), readonly=(), environment=None, files=None, **limits) -> Ended:
        policy = SandboxPolicy(
            writable=writable,
            readonly=readonly,
            environment=environment or {},
            files=files or {},
            limits=SandboxLimits(**{**SMALL, **limits}),
            uid=slot_uid(claim_slot()),  # the number of processes is counted by user
        )
        with start([sys.executable, "-c", program], policy) as process:
            code = process.wait(60)
            killed = process.killed
        return Ended(code, killed, process.output.decode(errors="replace"), process.usage())

    return to_its_end
