"""A class graded on a cluster: scheduler, two workers and grader on machines of their own (cluster/nodes.py).

The workers have no course, no suite, no solutions; one has other code than the grader, and one is lost in mid-job.
"""

import importlib.util
import json
import shutil
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed")

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "yolotrt_lab"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample = load(ROOT / "tests" / "sample_course" / "sample_course.py")
nodes = load(Path(__file__).parent / "cluster" / "nodes.py")
LAB = sample.LAB

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("cluster"),
    pytest.mark.skipif(bool(nodes.why_not()), reason=nodes.why_not()),
]

FIRST, SECOND = ("ada",), ("bo", "cy")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The sample course, with three students' submissions."""
    from yolotrt_lab.grading.course import open_course, release_lab

    root = sample.make_course(tmp_path_factory.mktemp("course"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOTRT_GRADING_SUITE", str(root / "suite"))
        patch.delenv("YOLOTRT_EXCHANGE", raising=False)
        release_lab(open_course(root), LAB)
    changes = {
        "ada": {},
        "bo": {"lab0_smallest": None, "lab0_written": None},
        "cy": {"lab0_double": "def double(x):\n    return 2 * abs(x)"},
    }
    for student, answers in changes.items():
        sample.hand_in(root, student, sample.answered(root, **answers))
    return root


@pytest.fixture(scope="module")
def at_home(course, tmp_path_factory):
    """What the same submissions get on one machine: the same course, graded without a cluster."""
    root = tmp_path_factory.mktemp("at-home") / "course"
    shutil.copytree(course, root)
    from yolotrt_lab.grading.course import open_course
    from yolotrt_lab.grading.course.grade import GradeOptions, grade_lab

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOTRT_GRADING_SUITE", str(root / "suite"))
        grade_lab(open_course(root), LAB, options=GradeOptions(jobs=1, canary=False, recheck=0.0))
    return results(root)


def results(root):
    """Return every student's verdicts, as they were recorded."""
    from yolotrt_lab.grading.course import open_course

    private = open_course(root).private
    return {student: private.student(LAB, student).read("grading")["results"] for student in private.students(LAB)}


class Cluster:
    """Scheduler and workers, which run, and graders, which come and go."""

    def __init__(self, folder, course):
        self.folder, self.course, self.cables, self.nodes = folder, course, 0, []
        self.certificates = nodes.write_certificates(folder)
        (folder / "sent").mkdir()
        options = ["--protocol", "tls", "--port", "8786", "--no-dashboard"]
        self.scheduler = self.node("scheduler", "-m", "distributed.cli.dask_scheduler", *options)
        self.scheduler.begin()

    def node(self, name, *command, **more):
        program = [sys.executable, "-W", "ignore", *command]
        self.nodes.append(nodes.Node(self.folder / name, program, **self.certificates, **more))
        return self.nodes[-1]

    def connected(self, name, command, **more):
        """Start a program, which `command` makes of the scheduler's address, on a machine with a cable to it."""
        self.cables += 1
        node = self.node(name, *command(f"tls://10.77.{self.cables}.1:8786"), **more)
        node.connect(self.scheduler, self.cables)
        node.begin()
        return node

    def worker(self, name, *, changed=None):
        hidden = [self.course, *(ROOT / name for name in ("solutions", "course", "labs", "tests"))]
        parcels = str(self.folder / name / "parcels")
        program = ["-m", "yolotrt_lab.cli.main", "course", "worker", "--slots", "1"]
        return self.connected(
            name, lambda address: [*program, address], hidden=hidden, changed=changed, YOLOTRT_PARCELS=parcels
        )

    def grade(self, name, students):
        """Begin to grade some students on a machine that has the course; return it."""
        program = Path(__file__).parent / "cluster" / "grader.py"
        return self.connected(
            name,
            lambda address: [program, self.course, LAB, address, self.folder / "sent", *students],
            YOLOTRT_GRADING_SUITE=str(self.course / "suite"),
        )

    def outcome(self, node):
        """Wait for a grader, and return what it printed."""
        assert node.process.wait(timeout=300) == 0, self.logs()
        return json.loads(node.log.read_text().splitlines()[-1])

    def logs(self):
        return "\n".join(f"== {node.folder.name}\n{node.log.read_text()[-3000:]}" for node in self.nodes)


@pytest.fixture(scope="module")
def cluster(course, tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), course)
    try:
        yield cluster
    finally:
        for node in cluster.nodes:
            node.kill()


@pytest.fixture(scope="module")
def workers(cluster, tmp_path_factory):
    """One worker with the grader's code, one with an older version of it, which would do everything wrong."""
    old = tmp_path_factory.mktemp("old") / "run.py"
    old.write_text('raise RuntimeError("old code was run")\n')
    same = cluster.worker("same")
    return {"same": same, "other": cluster.worker("other", changed={old: PACKAGE / "grading" / "execution" / "run.py"})}


@pytest.fixture(scope="module")
def first(cluster, workers):
    """Grade one student."""
    return cluster.outcome(cluster.grade("grader-1", FIRST))


@pytest.fixture(scope="module")
def second(cluster, workers, first):
    """Grade two more, and lose the worker that has the grader's code while it works."""
    grader = cluster.grade("grader-2", SECOND)
    end = time.monotonic() + 120
    while not list((workers["same"].folder / "tmp").glob("yolotrt-perform-*")):
        assert time.monotonic() < end, cluster.logs()
        assert grader.process.poll() is None, cluster.logs()
        time.sleep(0.05)
    workers["same"].kill()
    return cluster.outcome(grader)


def test_every_students_results_are_those_of_one_machine(first, second, at_home, course):
    assert {student: grade[0] for student, grade in (first | second).items()} == {
        "ada": 10.0,
        "bo": 6.0,
        "cy": 6.0,
    }
    assert results(course) == at_home


def test_a_worker_was_lost_in_mid_job(second, workers):
    assert list((workers["same"].folder / "tmp").glob("yolotrt-perform-*"))  # what it left behind
    assert not [failed for _, _, failed in second.values() if failed]


def test_a_worker_with_other_code_got_the_graders_by_its_digest(second, workers):
    from yolotrt_lab.grading.jobs.packing import digest_of, pack

    codes = [path for path in (workers["other"].folder / "parcels").iterdir() if (path / "yolotrt_lab").is_dir()]
    assert codes
    for code in codes:
        files = [path for path in code.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert digest_of(pack(code, files=files)) == code.name


def test_workers_get_no_secret_and_no_name(first, second, cluster, course, workers):
    secret = (course / "course" / "grading" / "hidden_seed").read_text().strip()
    from yolotrt_lab.grading.course import open_course

    seed = open_course(course).private.hidden_seed(LAB.split("_")[0])
    seeds = {str(seed).encode(), seed.to_bytes(8, "big"), seed.to_bytes(8, "little"), f"{seed:x}".encode()}
    sent = {path.read_bytes() for path in (cluster.folder / "sent").iterdir()}
    assert len(sent) == 3  # some more than once: to a worker that lacked something
    assert all(path.name.endswith("-execute") for path in (cluster.folder / "sent").iterdir())
    held = [
        path
        for worker in workers.values()
        for path in (*worker.folder.glob("parcels/*/**/*"), *worker.folder.glob("tmp/**/*"))
        if path.is_file() and "yolotrt_lab" not in path.parts
    ]
    names = [student.encode() for student in (*FIRST, *SECOND)]
    for content in (*sent, *(path.read_bytes() for path in held)):
        assert secret.encode() not in content
        assert not [form for form in seeds if form in content]
        assert b"def test_" not in content
    assert not [name for name in names for content in sent if name + b"/" in content or b'"' + name + b'"' in content]
    assert not [path for path in held if path.name in ("gradebook.db", "hidden_seed")]
