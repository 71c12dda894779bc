"""Run a rebuilt notebook so that its check cells write down what the answers return."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]
from traitlets import Bool, Float, Integer

from yolotrt_lab.grading.execution.artifact import Execution, recorded_in
from yolotrt_lab.grading.execution.job import ExecutionJob, Timeouts
from yolotrt_lab.grading.execution.materials import Materials
from yolotrt_lab.grading.execution.run import execute
from yolotrt_lab.grading.jobs.slots import claim_slot
from yolotrt_lab.grading.nbgrader.given import given_in
from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.release import coursedir_of, released_notebook
from yolotrt_lab.grading.nbgrader.submission_job import cells_of, job_of, models_in, put_outputs
from yolotrt_lab.grading.sandbox.policy import SandboxLimits

__all__ = ["RUN_KEY", "RecordExercises", "Run"]

RUN_KEY = "yolotrt_run"
"""Where the run's outcome is in nbconvert's resources."""


@dataclass
class Run:
    """What became of running a notebook.

    Attributes:
        recorded: The folder of the records.
        ended: Why a cell did not come to its end, by its index: "hung", "died", "raised".
        trouble: What went wrong that is not the student's doing; "" if nothing.
        execution: All that is known of it; None if the notebook was not run.
    """

    recorded: Path
    ended: dict[int, str] = field(default_factory=dict)
    trouble: str = ""
    execution: Execution | None = None


class RecordExercises(NbGraderPreprocessor):  # type: ignore[misc]
    """Has the notebook's cells run, the demonstrations left out, and puts what came of it into notebook and resources.

    Running is `execution.run.execute`'s, in a sandbox. What the notebook says about kernels does not matter.
    """

    timeout = Integer(120, help="Seconds for a cell that is no check; a check has its exercise's own.").tag(config=True)
    check_margin = Integer(30, help="Seconds for a check beyond those of its calls.").tag(config=True)
    notebook_seconds = Integer(1800, help="How long one submission may take in all.").tag(config=True)
    kernel_restarts = Integer(5, help="How often the kernel is started anew after an answer ended it.").tag(config=True)
    retries = Integer(1, help="How often a run is repeated after trouble that is not the student's.").tag(config=True)
    memory_gib = Float(4.0, help="Memory of all that a submission starts, its files included.").tag(config=True)
    cores = Integer(1, help="The threads that numerical libraries use for one submission.").tag(config=True)
    unsafe_no_sandbox = Bool(False, help="Run submissions without a sandbox, as the instructor.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Run the notebook. Called by nbgrader's Autograde on the rebuilt notebook.

        Raises:
            SandboxError: There is no sandbox here, and nobody said to go without.
        """
        place, root = resources["nbgrader"], Path(coursedir_of(self).root)
        recorded = PrivateFolder(root).student(place["assignment"], place["student"]).recorded
        run = resources[RUN_KEY] = Run(recorded)
        marks = Marks.read(nb)
        if marks.unreadable:
            return nb, resources
        given = given_in(resources)
        if given is not None and given.execution is not None and given.recorded is not None:
            run.execution, run.recorded = given.execution, given.recorded
        else:
            submission = (resources.get("metadata") or {}).get("path")
            job, materials = self.job(nb, place, Path(submission) if submission else None)
            run.execution = self._executed(job, materials, recorded)
        execution = run.execution
        run.trouble, run.ended = execution.trouble, put_outputs(nb, execution)
        if run.trouble:
            self.log.error("%s of %s: %s", place["notebook"], place["student"], run.trouble)
        if execution.findings:
            marks.findings += execution.findings
            marks.write(nb)
        return nb, resources

    def job(self, nb: NotebookNode, place: dict[str, str], submission: Path | None) -> tuple[ExecutionJob, Materials]:
        """Return the job of running a rebuilt notebook, and what it reads.

        Args:
            nb: The rebuilt notebook.
            place: Its `assignment` and `notebook`.
            submission: The folder of the submission.

        Raises:
            InputError: There is no such lab.
            WorkspaceError: The lab's own first cells fail.
        """
        coursedir = coursedir_of(self)
        private = PrivateFolder(Path(coursedir.root))
        release = released_notebook(coursedir, place["assignment"], place["notebook"], parent=self)
        materials = Materials.prepared(place["assignment"], cells_of(release), private.path / "materials")
        job = job_of(
            nb,
            place["assignment"],
            hidden_seed=private.hidden_seed(place["assignment"]),
            materials=materials,
            models=models_in(submission),
            limits=SandboxLimits(
                wall_s=self.notebook_seconds, memory_bytes=int(self.memory_gib * 2**30), cores=self.cores
            ),
            timeouts=Timeouts(
                cell_s=self.timeout,
                margin_s=self.check_margin,
                notebook_s=self.notebook_seconds,
                restarts=self.kernel_restarts,
                retries=self.retries,
            ),
        )
        return job, materials

    def _executed(self, job: ExecutionJob, materials: Materials, recorded: Path) -> Execution:
        """Return what came of a job; its records are in their folder then."""
        with tempfile.TemporaryDirectory(prefix="yolotrt-run-", ignore_cleanup_errors=True) as name:
            into = Path(name) / "execution"
            execution = execute(job, into, slot=claim_slot(), unsafe=self.unsafe_no_sandbox, materials=materials)
            shutil.rmtree(recorded, ignore_errors=True)
            shutil.copytree(recorded_in(into), recorded)
        return execution
