"""Compute on all cores, or on a cluster: with Dask, one slot per worker process.

On one machine a cluster is made for the batch; it talks TLS with certificates that exist only in these processes, so
that nobody else who works on the machine can send it work. A cluster of other machines is named by its scheduler.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import uuid
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Self

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.digests import environment_digest, package_digest
from yolotrt_lab.grading.jobs import remote
from yolotrt_lab.grading.jobs.parcels import Parcels
from yolotrt_lab.grading.jobs.work import Done, Work
from yolotrt_lab.optional import require
from yolotrt_lab.system import usable_cores

__all__ = ["Cluster", "ClusterError"]

_ALLOWED_FAILURES = 3
_JOIN_S = 30
# Dask opens a port for it all the same: any free one, with nothing on it.
_WITHOUT_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class ClusterError(LabError):
    """The workers cannot be reached, or have no slots."""


class Cluster:
    """A pool of worker processes; leaving the context ends those that it started.

    Args:
        parcels: Folders that the work needs.
        settings: What `remote.run` hands on.
        jobs: How many workers of this machine; by default one per core that may be used.
        gpus: How many of this machine's GPUs get a worker each besides.
        scheduler: Address of a cluster ("tls://grader:8786"); nothing is started here then.
        retries: How often work is tried again that came back as failed.

    Raises:
        ClusterError: The scheduler does not answer, or no worker has a slot.
        MissingDependencyError: Dask is not installed.
    """

    def __init__(
        self,
        parcels: Parcels,
        *,
        settings: Mapping[str, Any],
        jobs: int | None = None,
        gpus: int = 0,
        scheduler: str = "",
        retries: int = 1,
    ) -> None:
        require("distributed", purpose="grade on more than one core")
        self._parcels, self._retries = parcels, retries
        self._settings = {**settings, "code": package_digest(), "environment": environment_digest()}
        self._done: queue.SimpleQueue[tuple[Work, Any]] = queue.SimpleQueue()
        self._waiting: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        try:
            self._stack.enter_context(_quiet())
            if scheduler:
                self._client = self._stack.enter_context(_connected(scheduler))
                self._needs, self._run = parcels.by_digest(), _by_value()
            else:
                jobs = jobs or usable_cores()
                self._client = self._stack.enter_context(_local_client(jobs, gpus))
                self._needs, self._run = parcels.by_path(), remote.run
            self.slots = self._wait_for_slots(1 if scheduler else (jobs or 1))
        except BaseException:
            self._stack.close()
            raise

    def submit(self, work: Work) -> None:
        """Add something to compute."""
        self._waiting.setdefault(work.name, 0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")
            future = self._client.submit(
                self._run,
                work.kind,
                work.content,
                self._needs,
                self._settings,
                key=f"{work.name}-{uuid.uuid4().hex}",
                resources=dict(work.slots),
                pure=False,
            )
        future.add_done_callback(lambda finished: self._done.put((work, finished)))

    def next_done(self, timeout_s: float) -> Done | None:
        """Return something that is done; None if nothing is in this time.

        Raises:
            ClusterError: The scheduler is gone.
        """
        try:
            work, future = self._done.get(timeout=timeout_s)
        except queue.Empty:
            if self._client.status not in ("running", "connecting"):
                raise _lost() from None
            return None
        return self._settled(work, future)

    def running(self) -> int:
        """Return how much is being computed right now."""
        return min(self.slots, len(self._waiting))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _settled(self, work: Work, future: Any) -> Done | None:
        """Return how a piece of work came out; None if it was sent off again."""
        if future.status == "cancelled":
            if self._client.status != "running":
                raise _lost()
            answer: tuple[Any, ...] = ("failed", "it was cancelled")
        elif future.status == "error":
            # A worker died with it, several times over.
            error = future.exception()
            self._waiting.pop(work.name, None)
            return Done(
                work, trouble=f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
            )
        else:
            answer = future.result()
        match answer:
            case ("done", bytes() as content):
                self._waiting.pop(work.name, None)
                return Done(work, content)
            case ("missing", digests, address) if self._deliver(digests, address):
                self.submit(work)
                return None
        reason = str(answer[1])
        if self._waiting.get(work.name, 0) < self._retries:
            self._waiting[work.name] += 1
            self.submit(work)
            return None
        self._waiting.pop(work.name, None)
        return Done(work, trouble=reason)

    def _deliver(self, digests: list[str], address: str) -> bool:
        """Bring a worker what it asks for; return whether it has it now."""
        keep = _by_value(remote.keep_parcel)
        for digest in digests:
            content = self._parcels.content(digest)
            if content is None:
                return False
            try:
                answers = self._client.run(keep, digest, content, workers=[address])
            except Exception:  # it went away in the meantime: another worker gets the work
                return True
            if not all(answers.values()):
                return False
        return True

    def _wait_for_slots(self, wanted: int) -> int:
        """Return how many slots the workers have.

        Raises:
            ClusterError: None.
        """
        with contextlib.suppress(TimeoutError):
            self._client.wait_for_workers(wanted, timeout=_JOIN_S)
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        slots = sum(int(worker.get("resources", {}).get(name, 0)) for worker in workers for name in ("CPU", "GPU"))
        if not slots:
            raise ClusterError(
                "The cluster has no worker with a slot.",
                expected='workers with the resource "CPU"',
                got=f"{len(workers)} workers",
                fix="yolotrt course worker <scheduler> on each machine.",
            )
        return slots


def _lost() -> ClusterError:
    return ClusterError(
        "The cluster's scheduler does not answer any more.",
        expected="a scheduler for as long as the batch takes",
        fix="Start it again, then go on with --resume: nothing that was done is lost.",
    )


def _by_value(function: Any = remote.run) -> Any:
    """Return a function in a form that travels with its source, for workers that have other code or none."""
    import cloudpickle  # type: ignore[import-untyped]

    cloudpickle.register_pickle_by_value(remote)
    return function


@contextlib.contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=_JOIN_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(
            f"No scheduler answers at {scheduler}.",
            expected="tls://host:port, with Dask's certificates where it wants some",
            got=error,
            fix="dask scheduler, or look at distributed.comm.tls in Dask's configuration.",
        ) from None
    with client:
        yield client


@contextlib.contextmanager
def _local_client(jobs: int, gpus: int) -> Iterator[Any]:
    """Start a scheduler in this process, and workers that end with it.

    Raises:
        ClusterError: They do not start.
    """
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(_local_cluster(jobs, gpus))
            client = stack.enter_context(started.get_client())
        except (RuntimeError, OSError, TimeoutError) as error:
            raise ClusterError(
                "The workers of this machine do not start.",
                expected=f"{jobs} processes",
                got=error.__cause__ or error,
                fix="--jobs 1 grades in one process.",
            ) from error
        yield client


@contextlib.contextmanager
def _local_cluster(jobs: int, gpus: int) -> Iterator[Any]:
    import dask
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.security import Security

    security = Security.temporary()  # type: ignore[no-untyped-call]
    common = {
        "nthreads": 1,
        "memory_limit": 0,  # the sandboxes have limits of their own
        "security": security,
        **_WITHOUT_DASHBOARD,
        "host": "127.0.0.1",
        "silence_logs": logging.CRITICAL,
    }
    workers: dict[str, Any] = {
        f"cpu-{number}": {"cls": Nanny, "options": {**common, "resources": {"CPU": 1}}} for number in range(jobs)
    }
    for number in range(gpus):
        options = {**common, "resources": {"GPU": 1}, "env": {"CUDA_VISIBLE_DEVICES": str(number)}}
        workers[f"gpu-{number}"] = {"cls": Nanny, "options": options}
    scheduler = {
        "cls": Scheduler,
        "options": {
            **_WITHOUT_DASHBOARD,
            "security": security,
            "protocol": "tls://",
            "host": "127.0.0.1",
            "port": 0,
        },
    }
    settings = {
        "distributed.scheduler.allowed-failures": _ALLOWED_FAILURES,
        "distributed.worker.use-file-locking": False,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with (
        dask.config.set(settings),
        SpecCluster(workers, scheduler, security=security, silence_logs=logging.CRITICAL) as cluster,  # type: ignore[no-untyped-call]
    ):
        yield cluster


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from writing into the progress bar."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.nanny", "distributed.worker")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
