"""Grade a class: on all cores or a cluster, each submission by itself, so that one cannot stop or change another."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.course.batch import Batch, Counts
from yolotrt_lab.grading.course.canary import Canary, canaries, require_alive
from yolotrt_lab.grading.course.computing import LabComputing
from yolotrt_lab.grading.course.grades import ClassGrades, StudentGrade
from yolotrt_lab.grading.course.recording import Recorder
from yolotrt_lab.grading.course.session import Course, CourseError
from yolotrt_lab.grading.course.submissions import grading_digest
from yolotrt_lab.grading.jobs.journal import Journal, latest_unfinished
from yolotrt_lab.grading.jobs.store import Store
from yolotrt_lab.grading.jobs.work import ByKind, InProcess, Pool
from yolotrt_lab.grading.nbgrader.release import read_notebook
from yolotrt_lab.grading.sandbox.preflight import require_sandbox
from yolotrt_lab.types import ProgressCallback

__all__ = ["ClassGrades", "GradeOptions", "StudentGrade", "grade_lab"]

_CACHE_GB = 5.0  # c.GradingCache.max_gigabytes in nbgrader_config.py
_WORTH_WORKERS = 4  # starting them takes as long as a few small submissions


@dataclass(frozen=True, kw_only=True)
class GradeOptions:
    """How a class is graded.

    Attributes:
        again: Grade also what is up to date, from kept results where there are some.
        fresh: Run and judge everything anew, whatever is kept.
        exercises: Judge only these; the others' verdicts stay where the answers are the same.
        jobs: How many submissions run at once on this machine; by default one per core.
        gpus: Submissions run on slots with a GPU; so many of this machine's GPUs get a worker each.
        scheduler: A cluster that runs the submissions ("tls://grader:8786").
        unsafe: Run submissions without a sandbox.
        canary: Grade the solution and a wrong answer first.
        recheck: The part of the submissions that is run and judged twice.
    """

    again: bool = False
    fresh: bool = False
    exercises: tuple[str, ...] = ()
    jobs: int | None = None
    gpus: int = 0
    scheduler: str = ""
    unsafe: bool = False
    canary: bool = True
    recheck: float = 0.05


@dataclass
class _Plan:
    """A batch: its journal, whom it grades, and how.

    Attributes:
        journal: Where its steps are noted.
        students: Whose submissions, in order.
        options: How.
        recorded: Those that an earlier run of the batch has entered.
    """

    journal: Journal
    students: tuple[str, ...]
    options: GradeOptions
    recorded: set[str] = field(default_factory=set)


def grade_lab(
    course: Course,
    lab: str,
    *,
    students: Sequence[str] = (),
    again: bool = False,
    options: GradeOptions | None = None,
    resume: bool = False,
    on_progress: ProgressCallback | None = None,
    on_counts: Callable[[Counts], None] | None = None,
) -> ClassGrades:
    """Grade the submissions of a lab that are new, changed, or were graded by other tests.

    Args:
        course: The course.
        lab: The lab's full name.
        students: Only these; all whose submission is here if none are named.
        again: Grade also what is up to date.
        options: How; `again` counts besides.
        resume: Go on with the batch that was interrupted last, with its students and options.
        on_progress: Called with (submissions done, submissions in all).
        on_counts: Called with how the batch stands whenever that may have changed.

    Raises:
        InputError: There is nothing to grade, or the lab was not released.
        CanaryError: The grader does not grade as it should; nobody was graded.
        ClusterError: The workers cannot be reached.
        SandboxError: There is no sandbox here, and nobody said to go without.
        CourseError: Another batch of the lab is under way.
    """
    options = options or GradeOptions(again=again)
    folder = course.private.path / "batches" / lab
    with _only_batch(folder):
        _require_release(course, lab)
        plan = _resumed(folder) if resume else _begun(folder, _chosen(course, lab, students), options)
        batch = _Grading(course, lab, plan, on_progress, on_counts)
        grades = batch.run()
        plan.journal.note("finished")
    return grades


class _Grading:
    """One batch from its beginning to its end."""

    def __init__(
        self,
        course: Course,
        lab: str,
        plan: _Plan,
        on_progress: ProgressCallback | None,
        on_counts: Callable[[Counts], None] | None,
    ) -> None:
        self.course, self.lab, self.plan = course, lab, plan
        self._on_progress, self._on_counts = on_progress, on_counts
        self._stack = contextlib.ExitStack()
        self._shown = (-1, -1)

    def run(self) -> ClassGrades:
        """Grade, and return how every submission came out."""
        private, options = self.course.private, self.plan.options
        gigabytes = float(self.course.config.GradingCache.get("max_gigabytes", _CACHE_GB))
        store = Store(private.path / "cache", max_bytes=int(gigabytes * 1e9))
        with self._stack:
            scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="yolotrt-batch-")))
            self._stack.callback(store.close)
            staging = self.plan.journal.path.with_suffix(".staged")
            self._recorder = self._stack.enter_context(
                Recorder(self.course, self.lab, staging, self.plan.journal.batch_id)
            )
            self._stack.enter_context(_removed(staging))
            self._computing = LabComputing(
                self._recorder,
                store,
                scratch,
                unsafe=options.unsafe,
                only=frozenset(options.exercises),
                slots={"GPU": 1} if options.gpus else {"CPU": 1},
            )
            _ = self._computing.materials  # what is wrong with the lab itself is nobody's submission's fault
            grades, todo = self._sorted_out()
            self._todo = len(todo)
            batch = Batch(
                self._recorder,
                self._computing,
                self._open_pool,
                self.plan.journal,
                fresh=options.fresh,
                recheck=options.recheck,
            )
            self._moved(batch.counts, len(grades))
            batch.run(todo, on_change=lambda counts: self._moved(counts, len(grades)))
            grades |= batch.grades
        store.trim()
        return ClassGrades(self.lab, tuple(grades[name] for name in self.plan.students), asdict(batch.counts))

    def _sorted_out(self) -> tuple[dict[str, StudentGrade], list[str]]:
        """Return the grades of those that are up to date, and the others."""
        options, grades, todo = self.plan.options, dict[str, StudentGrade](), list[str]()
        every = options.again or options.fresh or bool(options.exercises)
        for student in self.plan.students:
            record = self.course.private.student(self.lab, student).read("grading")
            mine = student in self.plan.recorded or record.get("batch") == self.plan.journal.batch_id
            current = (
                not every and not record.get("trouble") and self.course.folder("autograded", self.lab, student).is_dir()
            )
            current = current and record.get("digest") == grading_digest(self.course, self.lab, student)
            if mine or current:
                grades[student] = self._recorder.grade_of(student, up_to_date=current and not mine)
            else:
                todo.append(student)
        return grades, todo

    def _open_pool(self) -> Pool:
        """Return what computes, when it has shown that it can."""
        options, computing = self.plan.options, self._computing
        if not computing.unsafe:
            require_sandbox()
        few = self._todo < _WORTH_WORKERS
        parcels, settings = computing.parcels(), dict[str, Any](unsafe=computing.unsafe)
        if not few and not computing.unsafe:
            settings["preload"] = computing.preload(self._canaries)
        pool: Pool
        if not options.gpus and (options.jobs == 1 or (few and options.jobs is None)):
            from yolotrt_lab.grading.jobs.perform import perform
            from yolotrt_lab.grading.jobs.warm import end_warm

            self._stack.callback(end_warm)
            folders = parcels.by_path()
            pool = InProcess(lambda kind, content: perform(kind, content, folders=folders, settings=settings))
        else:
            from yolotrt_lab.grading.jobs.cluster import Cluster

            pool = Cluster(parcels, settings=settings, jobs=options.jobs, gpus=options.gpus)
        self._stack.enter_context(pool)
        if options.scheduler:
            from yolotrt_lab.grading.jobs.cluster import Cluster

            away = Cluster(parcels, settings=settings, scheduler=options.scheduler)
            self._stack.enter_context(away)
            pool = ByKind(away, pool)
        self._begin_with_canaries(pool)
        return pool

    @cached_property
    def _canaries(self) -> tuple[Canary, ...]:
        name = self._computing.name
        solution = read_notebook(self.course.folder("source", self.lab) / f"{name}.ipynb")
        answers = self.course.root / "tests" / "course"
        return canaries(self._recorder.material.release(name), solution, answers=answers)

    def _begin_with_canaries(self, pool: Pool) -> None:
        """Grade the canaries; or take what is kept of the reference, where nobody wants them."""
        if not self.plan.options.canary:
            self._computing.find_reference(self._canaries)
            return
        for canary, results, trouble in self._computing.graded_at_once(self._canaries, pool):
            require_alive(canary, results, trouble)
        self.plan.journal.note("canaries alive")

    def _moved(self, counts: Counts, before: int) -> None:
        counts.total = self._todo
        if self._on_counts:
            self._on_counts(counts)
        shown = (before + counts.done, len(self.plan.students))
        if self._on_progress and shown != self._shown:
            self._shown = shown
            self._on_progress(*shown)


def _chosen(course: Course, lab: str, students: Sequence[str]) -> tuple[str, ...]:
    """Return whose submissions are meant.

    Raises:
        InputError: One is not there, or none is.
    """
    here = course.submitted(lab)
    unknown = sorted(set(students) - set(here))
    if unknown or not here:
        raise InputError(
            f"There is no submission of {lab} by {', '.join(unknown)}." if unknown else f"Nobody's {lab} is here.",
            expected=f"course/submitted/<student>/{lab}",
            got=", ".join(here[:10]) or "no such folder",
            fix=f"yolotrt course collect {lab}",
        )
    return tuple(dict.fromkeys(students)) or here


def _begun(folder: Path, students: tuple[str, ...], options: GradeOptions) -> _Plan:
    for left in folder.glob("*.staged"):  # by a batch that was interrupted and not resumed
        shutil.rmtree(left, ignore_errors=True)
    content: dict[str, Any] = {"students": list(students), "options": asdict(options)}
    return _Plan(Journal.begin(folder, content), students, options)


def _resumed(folder: Path) -> _Plan:
    """Return the batch that was interrupted last.

    Raises:
        InputError: There is none.
    """
    journal = latest_unfinished(folder)
    if journal is None:
        raise InputError(
            f"No batch of {folder.name} was interrupted.",
            expected="a batch without an end",
            got="none",
            fix="Grade without --resume.",
        )
    content = journal.options
    options = {**content["options"], "exercises": tuple(content["options"].get("exercises", ()))}
    recorded = {str(entry["student"]) for entry in journal.entries("recorded") if not entry.get("failed")}
    return _Plan(journal, tuple(content["students"]), GradeOptions(**options), recorded)


@contextlib.contextmanager
def _only_batch(folder: Path) -> Iterator[None]:
    """Let nobody else grade this lab within the block: there is one writer.

    Raises:
        CourseError: Somebody does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise CourseError(
            f"{folder.name} is being graded already.",
            expected="one batch at a time",
            got="another process",
            fix="Wait until it is done.",
        ) from None
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _removed(folder: Path) -> Iterator[None]:
    """Remove a folder at the end of the block."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_release(course: Course, lab: str) -> None:
    from nbgrader.api import MissingEntry  # type: ignore[import-untyped]

    with course.gradebook() as gradebook:
        try:
            gradebook.find_assignment(lab)
        except MissingEntry:
            raise InputError(
                f"{lab} is not in the gradebook.",
                expected="a lab that was released",
                got="no such lab",
                fix=f"yolotrt course release {lab}",
            ) from None
