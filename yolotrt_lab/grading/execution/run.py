"""Run a job's cells, and say what became of each."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from yolotrt_lab.grading.execution.artifact import Execution, Usage, recorded_in, write_execution
from yolotrt_lab.grading.execution.host import KernelHost, PlainHost, SandboxedHost
from yolotrt_lab.grading.execution.job import CodeCell, ExecutionJob
from yolotrt_lab.grading.execution.limits import died_of
from yolotrt_lab.grading.execution.materials import Materials
from yolotrt_lab.grading.execution.outputs import CellOutputs, OutputLimits
from yolotrt_lab.grading.execution.records import take_records
from yolotrt_lab.grading.execution.session import CellEnd, ExecutionCancelledError, KernelSession
from yolotrt_lab.grading.execution.zmtp import PeerError
from yolotrt_lab.grading.integrity.review import review
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.stand_ins import has_records, write_stand_ins
from yolotrt_lab.grading.sandbox.preflight import SandboxError, require_sandbox
from yolotrt_lab.grading.sandbox.zygote import Zygote

__all__ = ["execute"]

_REAPING_S = 2.0
_OUTPUT_LIMITS = OutputLimits()


def execute(
    job: ExecutionJob,
    into: Path,
    *,
    slot: int = 0,
    warm: Zygote | None = None,
    unsafe: bool = False,
    cancelled: Callable[[], bool] | None = None,
    materials: Materials | None = None,
) -> Execution:
    """Run a submission, and write what came of it to a folder.

    An answer that hangs beyond interrupting, or ends the kernel, costs its own exercise only: the kernel is started
    again and the run repeated without it. Trouble before any answer has run is not the student's: the run is tried
    again, and then the execution says so.

    Args:
        job: What to run.
        into: A new folder, for the artifact.
        slot: The worker's number on this machine, from 0: each has a user of its own.
        warm: A zygote that starts kernels with their imports done; without one they start cold.
        unsafe: Run without a sandbox.
        cancelled: Asked now and then; the run ends soon after it says yes.
        materials: What the run reads; by default made for the job.

    Raises:
        SandboxError: There is no sandbox here.
        ExecutionCancelledError: `cancelled` said yes.
        OutputError: The folder cannot be written.
    """
    if not unsafe:
        require_sandbox()
    into.mkdir(parents=True, exist_ok=True)
    for _ in range(1 + job.timeouts.retries):
        shutil.rmtree(recorded_in(into), ignore_errors=True)
        recorded_in(into).mkdir()
        with Materials.at_hand(job, materials) as ready:
            run = _Run(job, recorded_in(into), ready, slot=slot, warm=warm, unsafe=unsafe, cancelled=cancelled)
            try:
                run.until_done()
            except (ExecutionCancelledError, SandboxError):
                raise
            except Exception as error:  # whatever it is, it must cost neither the student points nor others their turn
                run.trouble = f"The grader could not run the notebook: {type(error).__name__}: {error}"
        if not run.trouble:
            break
    execution = run.execution()
    write_execution(execution, into)
    return execution


@dataclass
class _Run:
    """One attempt, with all the kernels that it takes."""

    job: ExecutionJob
    recorded: Path
    materials: Materials
    slot: int
    warm: Zygote | None
    unsafe: bool
    cancelled: Callable[[], bool] | None
    ended: dict[str, str] = field(default_factory=dict)
    killed: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    findings: list[Finding] = field(default_factory=list)
    outputs: dict[str, CellOutputs] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        self.cells = self.job.cells()
        self.started = time.monotonic()
        self.deadline = self.started + min(self.job.timeouts.notebook_s, self.job.limits.wall_s)

    def until_done(self) -> None:
        """Run all cells, again without the culprit each time one ends the kernel."""
        reason = "died"
        for _ in range(1 + self.job.timeouts.restarts):
            culprit = self._once()
            if self.trouble:
                return
            if culprit is None:
                reason = "hung" if time.monotonic() > self.deadline else ""
                break
            if not self._student_code_ran(culprit):
                self.trouble = "The lab's own first cells do not run in the grader."
                return
            self._stand_in(culprit)
            if culprit == self.cells[-1]:
                reason = ""  # there is nothing left to run
                break
        for cell in self.cells if reason else ():
            if cell.exercise and cell.id not in self.ended and not self._is_recorded(cell):
                self.ended[cell.id] = reason
                self._stand_in(cell)

    def execution(self) -> Execution:
        """Return what came of it."""
        room, kept = _OUTPUT_LIMITS.notebook_bytes, {}
        for cell in self.cells:
            found = self.outputs[cell.id].finished() if cell.id in self.outputs else ()
            room -= len(json.dumps(found))
            kept[cell.id] = found if room >= 0 else ()
        if room < 0:
            self.findings.append(Finding("output left out", "The notebook's outputs were too much to keep them all."))
        return Execution(
            key=self.job.key(),
            ended=self.ended,
            killed=self.killed,
            trouble=self.trouble,
            findings=(*self.findings, *self._reviewed()),
            outputs={name: outputs for name, outputs in kept.items() if outputs},
            sandboxed=not self.unsafe,
            usage=self.usage,
            seconds=self.seconds,
        )

    def _reviewed(self) -> list[Finding]:
        """Return what the answers' texts and the proctor's notes tell; what cannot be read tells nothing."""
        checked = {cell.exercise for cell in self.cells}
        try:
            return review(self.cells, [plan for plan in self.job.exercises if plan.id in checked], self.recorded)
        except Exception as error:  # a report must not cost anybody a grade
            return [Finding("not reviewed", f"The answers could not be reviewed: {type(error).__name__}.")]

    def _once(self) -> CodeCell | None:
        """Run all cells in a new kernel, and return the one that made an end of it, if one did."""
        checked: list[CodeCell] = []
        failed: list[CodeCell] = []
        with tempfile.TemporaryDirectory(prefix="yolotrt-grade-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            started = time.monotonic()
            host = self._host(folder)
            try:
                with host:
                    try:
                        culprit = self._cells_in(host, checked, failed)
                    finally:
                        host.kill()
            finally:
                self._add_usage(host, time.monotonic() - started)
            self.findings += take_records(folder / "results", self.recorded, checked, self.job.limits)
        for cell in failed:
            # A check that raised before it recorded anything says nothing about the answer: the scoring says so.
            if cell.id not in self.ended and self._is_recorded(cell):
                self.ended[cell.id] = "raised"
            if cell.id in self.ended:
                self._stand_in(cell)
        return culprit

    def _cells_in(self, host: KernelHost, checked: list[CodeCell], failed: list[CodeCell]) -> CodeCell | None:
        limits = self.job.timeouts
        try:
            session = KernelSession(
                host, start_s=limits.start_s, interrupt_s=limits.interrupt_s, cancelled=self.cancelled
            )
        except PeerError as error:
            host.kill()
            said = host.killed() and f"it reached its limit of {host.killed()}"
            said = "; ".join(part for part in (str(error), said, host.said()) if part)
            self.trouble = f"The kernel could not run the notebook: {said}."
            return None
        with session:
            number = 0
            for cell in self.cells:
                if cell.id in self.ended or self._is_recorded(cell):
                    continue
                if time.monotonic() > self.deadline:
                    return None
                number += not cell.exercise
                end = self._cell(session, cell, number)
                if cell.exercise:
                    checked.append(cell)
                if end.state in ("died", "hung"):
                    self._note_end(host, cell, end.state)
                    return cell
                if end.state == "interrupted":
                    self.ended[cell.id] = "hung"
                    self.outputs[cell.id].add_error("CellTimeoutError", "No reply from the kernel in time")
                if end.state != "ok":
                    failed.append(cell)
                if end.state != "ok" and not self._student_code_ran(cell):
                    self.trouble = f"The lab's own first cells fail in the grader: {_error_in(self.outputs[cell.id])}"
                    return None
        return None

    def _cell(self, session: KernelSession, cell: CodeCell, number: int) -> CellEnd:
        """Run one cell; where a check stands, have the proctor take down the answer, whatever `check` means by now."""
        outputs = self.outputs[cell.id] = CellOutputs(_OUTPUT_LIMITS, number)
        started = time.monotonic()
        limit = min(self._seconds_for(cell), max(1.0, self.deadline - started))
        if cell.exercise:
            module = "__import__('yolotrt_lab.grading.proctor', fromlist=['take'])"
            end = session.evaluate(f"{module}.take({cell.exercise!r})", outputs, timeout_s=limit)
            if end.error is not None:
                outputs.add_error(*end.error)
        else:
            end = session.run(cell.source, outputs, timeout_s=limit)
        self.seconds[cell.id] = round(time.monotonic() - started, 3)
        return end

    def _host(self, folder: Path) -> KernelHost:
        if self.unsafe:
            return PlainHost(self.job, folder, self.materials)
        # The sandbox's own clock is there for the case that ours stops: it has some more.
        wall_s = max(1.0, self.deadline - time.monotonic()) + 60.0
        return SandboxedHost(self.job, folder, self.materials, slot=self.slot, wall_s=wall_s, warm=self.warm)

    def _note_end(self, host: KernelHost, cell: CodeCell, state: str) -> None:
        self.ended[cell.id] = state
        waiting = time.monotonic() + _REAPING_S
        while state == "died" and host.alive() and time.monotonic() < waiting:
            time.sleep(0.01)  # the connection breaks somewhat before it is known why
        limit = host.killed()
        if limit == "wall":
            self.ended[cell.id] = "hung"
        elif limit:
            self.ended[cell.id] = "died"
            self.killed[cell.id] = died_of(limit, self.job.limits)
            self.outputs[cell.id].add_error("LimitExceeded", self.killed[cell.id])
            whose = cell.exercise or cell.id
            self.findings.append(Finding("limit exceeded", f"{whose}: the code {self.killed[cell.id]}.", cell.id))

    def _add_usage(self, host: KernelHost, wall_s: float) -> None:
        spent = host.spent()
        self.usage = Usage(
            cpu_s=self.usage.cpu_s + spent.cpu_s,
            peak_memory_bytes=max(self.usage.peak_memory_bytes, spent.memory_bytes),
            wall_s=self.usage.wall_s + wall_s,
            kernels=self.usage.kernels + 1,
        )

    def _stand_in(self, cell: CodeCell) -> None:
        """Write records for a check that did not come to its end."""
        plan = self.job.plan(cell.exercise)
        if plan is not None:
            write_stand_ins(self.recorded, plan, reason=self.ended[cell.id], limit=self.killed.get(cell.id, ""))

    def _seconds_for(self, cell: CodeCell) -> float:
        plan = self.job.plan(cell.exercise)
        if plan is None:
            return self.job.timeouts.cell_s
        return plan.seconds * len(plan.cases) + self.job.timeouts.margin_s

    def _is_recorded(self, cell: CodeCell) -> bool:
        return bool(cell.exercise) and has_records(self.recorded, cell.exercise)

    def _student_code_ran(self, cell: CodeCell) -> bool:
        """Whether a cell, or one before it, holds code of the student's."""
        return any(other.answer for other in self.cells[: self.cells.index(cell) + 1])


def _error_in(outputs: CellOutputs) -> str:
    errors = [output for output in outputs.finished() if output["output_type"] == "error"]
    return f"{errors[0]['ename']}: {errors[0]['evalue']}" if errors else "no message"
