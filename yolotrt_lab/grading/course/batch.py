"""Grade many submissions: what each needs is computed in any order, and entered by one writer as soon as it is whole.

A submission goes through these states: prepared (taken in, rebuilt) -> executed -> judged -> recorded. Running and
judging are pure, kept by content, and shared by equal submissions. A few submissions, drawn by lot, are run and judged
once more; where that gives other scores, an instructor decides.
"""

from __future__ import annotations

import collections
import math
import pickle
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.course.computing import Executed, LabComputing, unstable
from yolotrt_lab.grading.course.grades import StudentGrade
from yolotrt_lab.grading.course.recording import Recorder
from yolotrt_lab.grading.course.submissions import Prepared
from yolotrt_lab.grading.execution.job import ExecutionJob
from yolotrt_lab.grading.jobs.journal import Journal
from yolotrt_lab.grading.jobs.work import Done, Pool, Work
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.given import Given
from yolotrt_lab.grading.results import ExerciseResult, State

__all__ = ["Batch", "Counts"]

_LOOKAHEAD = 4  # submissions that are prepared for each slot: enough that no worker waits, few enough for any class
_POLL_S = 0.5
_MOST_HELD = 200


@dataclass
class Counts:
    """How a batch stands.

    Attributes:
        total: Submissions in all.
        done: Submissions that are through.
        running: Computations under way.
        executed: Submissions that were run.
        judged: Times that something was judged.
        from_cache: Submissions whose run was kept from before, or shared with an equal one.
        checked: Submissions that were graded twice to compare.
        trouble: Submissions with parts that were set aside for an instructor.
    """

    total: int = 0
    done: int = 0
    running: int = 0
    executed: int = 0
    judged: int = 0
    from_cache: int = 0
    checked: int = 0
    trouble: int = 0


@dataclass
class _Task:
    """One submission on its way.

    Attributes:
        prepared: The submission.
        job: Of running it; None if there is nothing to run.
        check: Whether it is graded a second time, bypassing what is kept.
        second: Whether that is happening.
        executed: What came of the run, for reading.
        results: The verdicts so far.
        missing: The exercises whose verdicts it waits for.
        awaited: Names of computations that have to come back before it goes on.
        first: The verdicts of the first time, when it is graded a second.
        findings: What was noticed beyond the run.
    """

    prepared: Prepared
    job: ExecutionJob | None
    check: bool = False
    second: bool = False
    executed: Executed | None = None
    results: dict[str, ExerciseResult] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    awaited: set[str] = field(default_factory=set)
    first: tuple[Executed, dict[str, ExerciseResult]] | None = None
    findings: list[Finding] = field(default_factory=list)


class Batch:
    """Grades the submissions of one lab.

    Args:
        recorder: The one writer, open.
        computing: What runs and judges are made of, and where they are kept.
        open_pool: Returns the pool that computes; asked when there is something to compute.
        journal: Where every step is noted.
        fresh: Run and judge also what is kept.
        recheck: The part of the submissions that is graded twice, at least one; 0 for none.
    """

    def __init__(
        self,
        recorder: Recorder,
        computing: LabComputing,
        open_pool: Callable[[], Pool],
        journal: Journal,
        *,
        fresh: bool = False,
        recheck: float = 0.05,
    ) -> None:
        self._recorder, self._computing, self._journal = recorder, computing, journal
        self._open_pool, self._fresh, self._recheck = open_pool, fresh, recheck
        self._pool: Pool | None = None
        self._waiting: dict[str, list[_Task]] = {}
        self._tasks: list[_Task] = []
        self._owed_checks = 0
        # Until something has to be computed, which needs living canaries, nothing is entered.
        self._held: list[Callable[[], None]] | None = []
        self.counts = Counts()
        self.grades: dict[str, StudentGrade] = {}

    def run(self, students: Iterable[str], *, on_change: Callable[[Counts], None] | None = None) -> None:
        """Grade submissions, and put how they came out into `grades`.

        Args:
            students: Whose.
            on_change: Called whenever the counts may have changed.
        """
        queue = collections.deque(students)
        drawn = self._draw(list(queue))
        while queue or self._tasks:
            while queue and len(self._tasks) < self._window():
                student = queue.popleft()
                self._begin(student, check=student in drawn)
            if self._held is not None and (not queue or len(self._held) >= _MOST_HELD):
                if queue or self._tasks:
                    self._at_work()
                self._release()
            if self._tasks and self._pool is not None:
                done = self._pool.next_done(_POLL_S)
                if done is not None:
                    self._take(done)
            self.counts.running = self._pool.running() if self._pool else 0
            if on_change:
                on_change(self.counts)

    def _draw(self, students: list[str]) -> set[str]:
        number = math.ceil(len(students) * self._recheck)
        return set(random.Random(self._journal.batch_id).sample(students, min(number, len(students))))

    def _window(self) -> int:
        return _LOOKAHEAD * (self._pool.slots if self._pool else 1)

    def _begin(self, student: str, *, check: bool) -> None:
        try:
            self._recorder.require_current()
            prepared = self._recorder.material.prepare(student)
            job = self._computing.job(prepared)
        except (LabError, OSError) as error:
            reason = _words(error)
            self._enter(lambda: self._fail(student, reason))
            return
        task = _Task(prepared, job)
        self._tasks.append(task)
        if job is None:
            self._record(task)
            return
        key = job.key()
        kept = None if self._fresh else self._computing.kept_execution(key)
        self._owed_checks += check
        if kept is not None:
            self.counts.from_cache += 1
            self._judge(task, kept)
            return
        if self._owed_checks:
            self._owed_checks, task.check = self._owed_checks - 1, True
        shared = key in self._waiting
        self.counts.from_cache += shared
        self.counts.executed += not shared
        self._execute(task, key)

    def _execute(self, task: _Task, name: str) -> None:
        self._await(task, name, lambda: Work(name, "execute", pickle.dumps(task.job), self._computing.slots))

    def _await(self, task: _Task, name: str, make: Callable[[], Work]) -> None:
        """Let a task wait for a computation, which is begun unless another task waits for it already."""
        task.awaited.add(name)
        if name in self._waiting:
            self._waiting[name].append(task)
            return
        self._waiting[name] = [task]
        self._at_work().submit(make())

    def _at_work(self) -> Pool:
        if self._pool is None:
            self._pool = self._open_pool()
            self._release()
        return self._pool

    def _release(self) -> None:
        """Enter what was held back, and hold nothing back any more."""
        held, self._held = self._held or [], None
        for enter in held:
            enter()

    def _enter(self, action: Callable[[], None]) -> None:
        if self._held is None:
            action()
        else:
            self._held.append(action)

    def _take(self, done: Done) -> None:
        """Go on with the tasks that waited for a computation."""
        tasks = self._waiting.pop(done.work.name, [])
        for task in tasks:
            task.awaited.discard(done.work.name)
        if done.work.kind == "execute":
            self._take_execution(tasks, done)
            return
        self.counts.judged += 1
        for task in tasks:
            assert task.executed is not None
            task.results |= self._computing.take_results(task.executed, task.missing, done, keep=not task.second)
            self._judged(task)

    def _take_execution(self, tasks: list[_Task], done: Done) -> None:
        first = tasks[0]
        assert first.job is not None
        executed = self._computing.take_execution(first.job, done, keep=not first.second)
        self._journal.note("executed", name=done.work.name, trouble=executed.execution.trouble)
        for task in tasks:
            self._judge(task, executed)

    def _judge(self, task: _Task, executed: Executed) -> None:
        """Judge what was recorded, or take the verdicts that are kept."""
        task.executed = executed
        if executed.execution.trouble:
            self._judged(task)
            return
        fresh = self._fresh or task.second
        task.results, task.missing = self._computing.kept_results(
            executed, fresh=fresh, before=task.prepared.kept.read("grading")
        )
        if not task.missing:
            self._judged(task)
            return
        name = self._computing.score_name(executed, task.missing) + ("-again" if task.second else "")
        self._await(task, name, lambda: Work(name, "score", self._computing.score_content(executed, task.missing)))

    def _judged(self, task: _Task) -> None:
        """Enter a submission whose verdicts are all there, or grade it a second time first."""
        assert task.executed is not None
        if task.check and not task.second and not task.executed.execution.trouble:
            task.second, task.first = True, (task.executed, task.results)
            self._execute(task, f"{task.executed.execution.key}-again")
            return
        if task.first is not None:
            self.counts.checked += 1
            self._compare(task, task.first)
        self._record(task)

    def _compare(self, task: _Task, first: tuple[Executed, dict[str, ExerciseResult]]) -> None:
        """Keep the verdicts of the first time; where the second time gave other scores, set them aside."""
        again, trouble = task.results, task.executed is None or task.executed.execution.trouble
        task.executed, task.results = first
        if trouble or any(result.state is State.TROUBLE for result in again.values()):
            return  # there is nothing to compare with
        differing = unstable(task.results, again)
        for name, text in differing.items():
            task.results[name] = self._computing.set_aside(name, text)
            task.findings.append(Finding("unstable score", text, suspicious=True))
        if differing:
            self._journal.note("unstable", student=task.prepared.student, exercises=sorted(differing))

    def _record(self, task: _Task) -> None:
        self._tasks.remove(task)
        self._enter(lambda: self._write(task))

    def _write(self, task: _Task) -> None:
        executed = task.executed
        given = Given(
            execution=executed.execution if executed else None,
            recorded=executed.recorded if executed else None,
            results=task.results,
            findings=tuple(task.findings),
        )
        try:
            grade = self._recorder.record(task.prepared, given, digest=self._computing.digest(task.prepared))
        except Exception as error:  # whatever it is, it must not stop the others' grading
            self._fail(task.prepared.student, _words(error))
        else:
            self._finish(grade)

    def _fail(self, student: str, reason: str) -> None:
        self._finish(self._recorder.fail(student, reason))

    def _finish(self, grade: StudentGrade) -> None:
        self.grades[grade.student] = grade
        self.counts.done += 1
        self.counts.trouble += bool(grade.failed or grade.unreadable or any(reason for _, reason in grade.open_parts))
        self._journal.note("recorded", student=grade.student, failed=grade.failed)
        folder = self._recorder.material.staged(grade.student)
        shutil.rmtree(folder, ignore_errors=True)


def _words(error: Exception) -> str:
    return error.one_line if isinstance(error, LabError) else f"{type(error).__name__}: {error}"
