"""What running and judging a lab's submissions is made of: jobs, the keys they are kept under, and what comes back."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.files import read_json, write_json
from yolotrt_lab.grading.course.canary import REFERENCE, Canary
from yolotrt_lab.grading.course.recording import Recorder
from yolotrt_lab.grading.course.submissions import Prepared
from yolotrt_lab.grading.execution.artifact import Execution, read_execution, recorded_in
from yolotrt_lab.grading.execution.job import ExecutionJob, Timeouts
from yolotrt_lab.grading.execution.materials import Materials
from yolotrt_lab.grading.execution.preload import modules_of_run, preload_modules
from yolotrt_lab.grading.jobs.packing import unpack
from yolotrt_lab.grading.jobs.parcels import Parcels
from yolotrt_lab.grading.jobs.perform import RESULTS
from yolotrt_lab.grading.jobs.store import Store
from yolotrt_lab.grading.jobs.work import Done, Pool, Work
from yolotrt_lab.grading.nbgrader.marks import Marks
from yolotrt_lab.grading.nbgrader.rebuilding import is_check
from yolotrt_lab.grading.nbgrader.record_exercises import RecordExercises
from yolotrt_lab.grading.nbgrader.release import exercise_of
from yolotrt_lab.grading.nbgrader.stand_ins import has_records
from yolotrt_lab.grading.nbgrader.submission_job import cells_of, job_of, models_in
from yolotrt_lab.grading.results import ExerciseResult, State
from yolotrt_lab.grading.sandbox.policy import SandboxLimits
from yolotrt_lab.grading.scoring.keys import score_key
from yolotrt_lab.grading.scoring.run import trouble

__all__ = ["Executed", "LabComputing", "unstable"]

INFRASTRUCTURE = "Infrastructure error: {reason} It was tried again; grade this by hand, or grade again later."
_RESULT = "result.json"


@dataclass(frozen=True)
class Executed:
    """A run and its records.

    Attributes:
        execution: What came of it.
        recorded: The folder of the records, for reading only.
    """

    execution: Execution
    recorded: Path


class LabComputing:
    """The computations of one lab.

    Args:
        recorder: Knows course, lab, release and configuration.
        store: Where results are kept.
        scratch: A folder for results that are not kept, gone after the batch.
        unsafe: Without a sandbox.
        only: Judge only these exercises, where the others' verdicts are of the same run; all if empty.
        slots: What a worker must have free to run a submission.
    """

    def __init__(
        self,
        recorder: Recorder,
        store: Store,
        scratch: Path,
        *,
        unsafe: bool = False,
        only: frozenset[str] = frozenset(),
        slots: Mapping[str, float] | None = None,
    ) -> None:
        self._recorder, self._store, self._scratch = recorder, store, scratch
        self.course, self.lab = recorder.course, recorder.lab
        self._step = RecordExercises(parent=recorder.converter)
        self.unsafe = unsafe or bool(self._step.unsafe_no_sandbox)
        self._only, self.slots = only, dict(slots or {"CPU": 1})
        self.reference: Path | None = None

    @cached_property
    def name(self) -> str:
        """The lab's one notebook.

        Raises:
            InputError: It has several, or none.
        """
        names = self._recorder.material.names
        if len(names) != 1:
            raise InputError(
                f"{self.lab} is not a lab of one notebook.",
                expected=f"{self.course.folder('source', self.lab)}/<name>.ipynb",
                got=", ".join(names) or "none",
                fix="make notebooks",
            )
        return names[0]

    @cached_property
    def materials(self) -> Materials:
        """What a run reads, made by the lab's own first cells where it is not there yet."""
        release = self._recorder.material.release(self.name)
        return Materials.prepared(self.lab, cells_of(release), self.course.private.path / "materials")

    @cached_property
    def seed(self) -> int:
        """The lab's hidden seed, which stays in this process."""
        return self.course.private.hidden_seed(self.lab)

    def parcels(self) -> Parcels:
        """Return the folders that work needs."""
        return Parcels({"suite": self.materials.suite, "workspace": self.materials.workspace})

    def job(self, prepared: Prepared) -> ExecutionJob | None:
        """Return the job of running a submission; None if there is nothing to run.

        Raises:
            LabError: The lab's own cells fail, or the suite does not have it.
        """
        notebook = prepared.notebooks[self.name]
        if Marks.read(notebook).unreadable:
            return None
        return self.job_of_notebook(notebook, models_in(prepared.folder))

    def job_of_notebook(self, notebook: Any, models: Mapping[str, bytes]) -> ExecutionJob:
        """Return the job of running a rebuilt notebook."""
        step = self._step
        return job_of(
            notebook,
            self.lab,
            hidden_seed=self.seed,
            materials=self.materials,
            models=models,
            limits=SandboxLimits(
                wall_s=step.notebook_seconds, memory_bytes=int(step.memory_gib * 2**30), cores=step.cores
            ),
            timeouts=Timeouts(
                cell_s=step.timeout,
                margin_s=step.check_margin,
                notebook_s=step.notebook_seconds,
                restarts=step.kernel_restarts,
                retries=step.retries,
            ),
        )

    def kept_execution(self, key: str) -> Executed | None:
        """Return a run that is kept, or None."""
        folder = self._store.find(key)
        if folder is None:
            return None
        try:
            return Executed(read_execution(folder), recorded_in(folder))
        except InputError:
            self._store.drop(key)
            return None

    def take_execution(self, job: ExecutionJob, done: Done, *, keep: bool) -> Executed:
        """Return what came back from running; it is kept, unless it was trouble.

        Args:
            job: What was run.
            done: What came back.
            keep: Whether equal submissions may have it.
        """
        if done.content is None:
            return self._trouble(job, done.trouble)
        folder = self._scratch / hashlib.sha256(done.work.name.encode()).hexdigest()
        try:
            unpack(done.content, folder)
            execution = read_execution(folder)
        except LabError as error:
            return self._trouble(job, error.one_line)
        if execution.trouble or not keep:
            return Executed(execution, recorded_in(folder))
        self._store.put(job.key(), folder)
        kept = self._store.find(job.key())
        return Executed(execution, recorded_in(kept)) if kept else self._trouble(job, "The result could not be kept.")

    def exercises(self, executed: Executed) -> list[str]:
        """Return the exercises that there is something to judge of, in the notebook's order."""
        release, recorded = self._recorder.material.release(self.name), executed.recorded
        names = [exercise_of(cell.source) for cell in release.cells if is_check(cell)]
        return [name for name in names if name and has_records(recorded, name)]

    def kept_results(
        self, executed: Executed, *, fresh: bool, before: Mapping[str, Any]
    ) -> tuple[dict[str, ExerciseResult], tuple[str, ...]]:
        """Return the verdicts that are kept, and the exercises that have to be judged.

        Args:
            executed: The run.
            fresh: Judge everything.
            before: The record of the last grading, for the exercises that nobody asked to judge.
        """
        kept: dict[str, ExerciseResult] = {}
        names = self.exercises(executed)
        same_run = bool(self._only) and before.get("execution") == executed.execution.key
        for name in names:
            if same_run and name not in self._only and name in before.get("results", {}):
                kept[name] = ExerciseResult.from_json(before["results"][name])
            elif not fresh and (folder := self._store.find(self._score_key(executed, name))) is not None:
                kept[name] = ExerciseResult.from_json(read_json(folder / _RESULT))
        return kept, tuple(name for name in names if name not in kept)

    def digest(self, prepared: Prepared) -> str:
        """Return the digest to note for a submission; where not everything was judged, the one from before."""
        return str(prepared.kept.read("grading").get("digest", "")) if self._only else prepared.digest

    def score_name(self, executed: Executed, exercises: Iterable[str]) -> str:
        """Return a name for judging these exercises of a run, the same for the same."""
        keys = sorted(self._score_key(executed, name) for name in exercises)
        return hashlib.sha256("\n".join(keys).encode()).hexdigest()

    def score_content(self, executed: Executed, exercises: tuple[str, ...]) -> bytes:
        """Return what judging takes; it is done on this machine, where the records lie."""
        content = {
            "lab": self.lab.split("_")[0],
            "recorded": str(executed.recorded),
            "exercises": exercises,
            "hidden_seed": self.seed,
            "reference": str(self.reference or ""),
        }
        return pickle.dumps(content)

    def take_results(
        self, executed: Executed, exercises: Iterable[str], done: Done, *, keep: bool
    ) -> dict[str, ExerciseResult]:
        """Return what came back from judging; verdicts are kept, trouble is not."""
        try:
            if done.content is None:
                raise InputError(done.trouble)
            with self._store.scratch() as scratch:
                unpack(done.content, scratch / "results")
                content = read_json(scratch / "results" / RESULTS)
            results = {name: ExerciseResult.from_json(content[name]) for name in exercises}
        except (LabError, KeyError, TypeError) as error:
            reason = error.one_line if isinstance(error, LabError) else "The judge left out exercises."
            return {name: self.set_aside(name, INFRASTRUCTURE.format(reason=reason)) for name in exercises}
        for name, result in results.items() if keep else ():
            if result.state is not State.TROUBLE:
                with self._store.scratch() as scratch:
                    write_json(scratch / "kept" / _RESULT, result.to_json())
                    self._store.put(self._score_key(executed, name), scratch / "kept")
        return results

    def graded_at_once(
        self, canaries: Sequence[Canary], pool: Pool
    ) -> Iterator[tuple[Canary, dict[str, ExerciseResult], str]]:
        """Yield how canaries are graded, side by side, with nothing kept: (canary, verdicts, trouble)."""
        models = models_in(self.course.folder("source", self.lab))
        jobs = {canary.name: self.job_of_notebook(canary.notebook, models) for canary in canaries}
        works = [Work(f"canary-{name}", "execute", pickle.dumps(job), self.slots) for name, job in jobs.items()]
        runs = _computed(pool, works)
        executed = {name: self.take_execution(job, runs[f"canary-{name}"], keep=False) for name, job in jobs.items()}
        works = [
            Work(f"canary-{name}-score", "score", self.score_content(run, tuple(self.exercises(run))))
            for name, run in executed.items()
            if not run.execution.trouble and self.exercises(run)
        ]
        scores = _computed(pool, works)
        for canary in canaries:
            run, done = executed[canary.name], scores.get(f"canary-{canary.name}-score")
            results = self.take_results(run, self.exercises(run), done, keep=False) if done else {}
            missing = "" if results else "Its run left nothing to judge."
            yield canary, results, run.execution.trouble or missing

    def find_reference(self, canaries: Sequence[Canary]) -> None:
        """Let the judge learn from the reference solution's records that are kept, where no canaries are wanted."""
        kept = self.kept_execution(self._reference_job(canaries).key())
        self.reference = kept.recorded if kept else None

    def preload(self, canaries: Sequence[Canary]) -> tuple[str, ...]:
        """Return the modules that kernels can begin with: what the reference solution loads; found out once."""
        job = self._reference_job(canaries)
        path = self.course.private.path / "materials" / "preload" / f"{job.key()}.json"
        with contextlib.suppress(InputError):
            return tuple(str(name) for name in read_json(path))
        try:
            loaded = modules_of_run(job, materials=self.materials, unsafe=self.unsafe)
            found = preload_modules(job.cells(), loaded=loaded)
        except LabError:
            return ()  # it runs all the same, from a cold start; what is wrong the canaries tell
        write_json(path, list(found))
        return found

    def _reference_job(self, canaries: Sequence[Canary]) -> ExecutionJob:
        notebook = next(canary.notebook for canary in canaries if canary.name == REFERENCE)
        return self.job_of_notebook(notebook, models_in(self.course.folder("source", self.lab)))

    def _keep_reference(self, executed: Mapping[str, Executed]) -> None:
        """Let the judge learn from the reference solution's records: they are the canary's, and fresh."""
        run = executed.get(REFERENCE)
        if run is not None and not run.execution.trouble:
            with self._store.scratch() as scratch:
                shutil.copytree(run.recorded.parent, scratch / "kept")
                self._store.drop(run.execution.key)
                self._store.put(run.execution.key, scratch / "kept")
            self.reference = run.recorded

    def set_aside(self, exercise_id: str, reason: str) -> ExerciseResult:
        """Return the result of an exercise that an instructor has to grade."""
        return trouble(exercise_id, reason)

    def _trouble(self, job: ExecutionJob, reason: str) -> Executed:
        nothing = self._scratch / "nothing"
        nothing.mkdir(exist_ok=True)
        return Executed(Execution(key=job.key(), trouble=INFRASTRUCTURE.format(reason=reason)), nothing)

    def _score_key(self, executed: Executed, exercise_id: str) -> str:
        return score_key(exercise_id, executed.recorded, hidden_seed=self.seed)


def unstable(first: Mapping[str, ExerciseResult], second: Mapping[str, ExerciseResult]) -> dict[str, str]:
    """Return the exercises whose score differs between two runs of the same answers, each with words for it."""
    found = {}
    for name in first.keys() | second.keys():
        scores = [results[name].score if name in results else 0 for results in (first, second)]
        if scores[0] != scores[1]:
            found[name] = f"{name} got {scores[0]} points, and {scores[1]} when the same answers were run again."
    return found


def _computed(pool: Pool, works: Sequence[Work]) -> dict[str, Done]:
    """Return what comes of some work, by name, when all of it is done; nothing else may be under way."""
    found: dict[str, Done] = {}
    names = {work.name for work in works}
    for work in works:
        pool.submit(work)
    while found.keys() != names:
        done = pool.next_done(1.0)
        if done is not None:
            found[done.work.name] = done
    return found
