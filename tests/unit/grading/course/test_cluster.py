"""A cluster whose scheduler and workers are processes of their own: the same grades as at home."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import yolotrt_lab
from yolotrt_lab.grading.course import GradeOptions, grade_lab, open_course, release_lab
from yolotrt_lab.grading.jobs.cluster import Cluster, ClusterError
from yolotrt_lab.grading.jobs.parcels import Parcels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PLAIN = GradeOptions(canary=False, recheck=0.0)
SLOW = "import time\n\ntime.sleep(3)\n\n\ndef double(x):\n    return x + x"


@pytest.fixture
def cluster(tmp_path):
    """Start a scheduler; the function that starts a worker returns its process."""
    with contextlib.ExitStack() as stack:
        file = tmp_path / "scheduler.json"

        def start(program, *options, **environment):
            command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--scheduler-file", str(file), *options]
            process = subprocess.Popen(
                [*command, "--no-dashboard"],
                env={**os.environ, "YOLOTRT_PARCELS": str(tmp_path / "parcels"), **environment},
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        start("scheduler", "--port", "0", "--host", "127.0.0.1")
        while not file.is_file() or not file.read_text().strip():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]

        def worker(*options, **environment):
            return start(
                "worker", "--nthreads", "1", "--no-nanny", *(options or ("--resources", "CPU=1")), **environment
            )

        yield address, worker


@pytest.fixture
def course(root, sample):
    course = open_course(root)
    release_lab(course, sample.LAB)
    return course


def graded(course, sample, **more):
    options = GradeOptions(canary=False, recheck=0.0, **more)
    grades = grade_lab(course, sample.LAB, options=options).students
    return {item.student: (item.score, item.state, item.open_parts) for item in grades}


def results(course, sample, *students):
    return [course.private.student(sample.LAB, student).read("grading")["results"] for student in students]


def test_a_worker_with_other_code_gives_the_same(root, sample, course, cluster, tmp_path):
    """Code and data come as parcels, and nothing of the instructor's."""
    address, worker = cluster
    other = shutil.copytree(Path(yolotrt_lab.__file__).parent, tmp_path / "other" / "yolotrt_lab")
    (other / "grading" / "execution" / "run.py").write_text("raise ImportError('an old version')")
    worker(PYTHONPATH=str(tmp_path / "other"))
    sample.hand_in(root, "ada", sample.answered(root))
    sample.hand_in(root, "ben", sample.answered(root, lab0_double="def double(x): return abs(2 * x)"))
    away = graded(course, sample, scheduler=address)
    found = results(course, sample, "ada", "ben")
    parcels = list((tmp_path / "parcels").iterdir())
    assert len(parcels) == 3
    secret = (root / "course" / "grading" / "hidden_seed").read_text().strip()
    texts = [path.read_bytes() for parcel in parcels for path in parcel.rglob("*.py")]
    assert any(b"def perform(" in text for text in texts)
    assert not any(secret.encode() in text or b"def test_is_twice_the_number" in text for text in texts)
    assert graded(course, sample, fresh=True) == away
    assert results(course, sample, "ada", "ben") == found


def test_work_of_a_worker_that_is_lost_is_done_by_another(root, sample, course, cluster):
    from distributed import Client

    address, worker = cluster
    processes = [worker(), worker()]
    sample.hand_in(root, "ada", sample.answered(root, lab0_double=SLOW))
    lost: list[psutil.Process] = []

    def kill_the_busy_one():
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            pids = client.run(os.getpid)
            while not (busy := [place for place, tasks in client.processing().items() if tasks]):
                time.sleep(0.05)
            time.sleep(2.0)
            process = psutil.Process(pids[busy[0]])
            lost.extend([process, *process.children(recursive=True)])
            os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_busy_one)
    killer.start()
    grades = graded(course, sample, scheduler=address)
    killer.join()
    assert grades["ada"][:2] == (10.0, "needs grading by hand")
    assert [process.poll() is None for process in processes].count(True) == 1
    _, alive = psutil.wait_procs(lost, timeout=20)
    assert alive == []


def test_workers_without_slots_are_refused(cluster):
    address, worker = cluster
    worker("--name", "slotless")
    with pytest.raises(ClusterError, match="no worker with a slot"):
        Cluster(Parcels({}), settings={}, scheduler=address)


def test_no_scheduler(monkeypatch):
    monkeypatch.setattr("yolotrt_lab.grading.jobs.cluster._JOIN_S", 1)
    with pytest.raises(ClusterError, match="No scheduler answers"):
        Cluster(Parcels({}), settings={}, scheduler="tcp://127.0.0.1:9")


def test_nobody_else_can_send_work_to_the_workers_of_this_machine(root, sample, course, monkeypatch):
    from distributed import Client

    refused = []

    class Watched(Cluster):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            address = self._client.scheduler.address
            assert address.startswith("tls://127.0.0.1")
            for scheme in ("tcp", "tls"):
                with pytest.raises((OSError, TypeError, ValueError, RuntimeError)):
                    Client(address.replace("tls", scheme), timeout=2, set_as_default=False)
                refused.append(scheme)

    monkeypatch.setattr("yolotrt_lab.grading.jobs.cluster.Cluster", Watched)
    sample.hand_in(root, "ada", sample.answered(root))
    assert graded(course, sample, jobs=2)["ada"][0] == 10.0
    assert refused == ["tcp", "tls"]
