"""A class on JupyterHub: two students and an instructor, each in an account of the system, with the course's hub.

The hub is real, and so are accounts, servers, kernels and exchange; the machine is made up (hub/machine.py): its
accounts, files, processes and network are seen by nobody else, and end with the test.
"""

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

pytest.importorskip("jupyterhub")
pytest.importorskip("configurable_http_proxy")

ROOT = Path(__file__).parents[2]
HUB = Path(__file__).parent / "hub"
NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--uts")
PASSWORD = secrets.token_hex(8)
SUITE = "/opt/yolotrt-lab/tests/grading"
COURSE, EXCHANGE = "/srv/yolotrt/course", "/srv/nbgrader/exchange/yolotrt"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sample = load(ROOT / "tests" / "sample_course" / "sample_course.py")
client = load(HUB / "client.py")
machine_module = load(HUB / "machine.py")
attacks = load(HUB / "attacks.py")
LAB, ACCOUNTS = sample.LAB, machine_module.ACCOUNTS


def why_not():
    """Return why this machine cannot hold another one; "" if it can."""
    if os.geteuid() != 0:
        return "needs root: the hub starts servers in several accounts"
    missing = [name for name in ("unshare", "nsenter", "setpriv", "pivot_root", "mount") if not shutil.which(name)]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install util-linux"
    tried = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True)
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("jupyterhub"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


class Machine:
    """The made-up machine, while it runs."""

    def __init__(self, process, log):
        self.process, self.log = process, log
        while not (children := psutil.Process(process.pid).children()):
            assert process.poll() is None, log.read_text()
        self.pid = children[0].pid

    def run(self, name, *command, code=0, **environment):
        """Run a program in an account, as in a terminal of its server; return what it printed."""
        uid = ACCOUNTS.get(name, 0)
        rights = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--init-groups"] if uid else []
        variables = {
            "HOME": f"/home/{name}" if uid else "/root",
            "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "YOLOTRT_EXCHANGE": "/srv/nbgrader/exchange",
            "YOLOTRT_GRADING_SUITE": SUITE,
            **environment,
        }
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--ipc", "--uts"]
        settings = [f"{key}={value}" for key, value in variables.items()]
        shell = ["sh", "-c", 'umask 077; cd "$HOME"; exec "$@"', "sh"]
        whole = [*inside, *rights, "env", "-i", *settings, *shell, *map(str, command)]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stdout + done.stderr + self.log.read_text()[-3000:]
        return done.stdout

    def python(self, name, code, *arguments):
        return self.run(name, sys.executable, "-c", code, *arguments)

    def course(self, *command):
        """Run `yolotrt course` as the instructor; return what it says."""
        program = [sys.executable, "-m", "yolotrt_lab.cli.main", "course", *command, "--course", COURSE, "--json"]
        return json.loads(self.run("prof", *program))


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The sample course with the files of this one that a hub needs."""
    root = tmp_path_factory.mktemp("course")
    sample.make_course(root)
    shutil.copytree(ROOT / "course" / "jupyter", root / "course" / "jupyter")
    return root


@pytest.fixture(scope="module")
def machine(course, tmp_path_factory):
    """The machine with a hub that answers."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "files").mkdir()
    hub = [sys.executable, "-m", "jupyterhub", "--config", "/etc/jupyterhub/without_passwords.py"]
    inside = [
        sys.executable,
        HUB / "machine.py",
        folder / "files",
        ROOT,
        course,
        "env",
        f"HUB_PASSWORD={PASSWORD}",
        *hub,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", *map(str, inside)], stdout=log, stderr=log
        )
        try:
            machine = Machine(process, folder / "log")
            client.await_hub(machine.pid, lambda: process.poll() is None)
            yield machine
        finally:
            process.kill()  # the kernel ends every process of the machine with its first one
            process.wait()
            shutil.copy(folder / "log", os.environ.get("YOLOTRT_HUB_LOG", folder / "last-log"))


@pytest.fixture(scope="module")
def people(machine):
    """Everybody, logged in, with a server."""
    people = {name: client.Person(machine.pid, name) for name in ACCOUNTS}
    starts = []
    for person in people.values():
        person.log_in(PASSWORD)
        starts.append(threading.Thread(target=person.start_server))
        starts[-1].start()
    for person, start in zip(people.values(), starts, strict=True):
        start.join()
        person.await_server()
    return people


@pytest.fixture(scope="module")
def press(people):
    """Press one of formgrader's buttons as the instructor; return the log that it shows."""

    def press(button, place=f"assignment/{LAB}"):
        answer = people["prof"].mine("POST", f"/formgrader/api/{place}/{button}", {}, timeout_s=300)
        assert answer.status == 200, answer
        assert answer.json["success"], answer
        return answer.json["log"]

    return press


@pytest.fixture(scope="module")
def released(press):
    press("assign")
    press("release")


@pytest.fixture(scope="module")
def fetched(people, released):
    return {name: people[name].nbgrader("fetch", LAB) for name in ("alice", "bob")}


def answered(notebook, **changes):
    """Write right answers into a notebook, but for those that are left out with None."""
    for grade_id, text in {
        **sample.ANSWERS,
        **{name.replace("_", "-"): text for name, text in changes.items()},
    }.items():
        if text is not None:
            sample.cell(notebook, grade_id)["source"] = text
    return notebook


@pytest.fixture(scope="module")
def worked(people, fetched):
    """Alice answers everything, bob one exercise; each validates."""
    path, said = f"{LAB}/{LAB}.ipynb", {}
    for name, changes in (("alice", {"lab0_double": _CURIOUS}), ("bob", {"lab0_smallest": None, "lab0_written": None})):
        people[name].write(path, answered(people[name].read(path), **changes))
        said[name] = people[name].mine("POST", "/assignments/validate", {"path": path})
    return said


@pytest.fixture(scope="module")
def submitted(people, worked, machine):
    """Both hand in; return the name of the folder of bob's, which only root and the instructor can see."""
    for name in ("alice", "bob"):
        people[name].nbgrader("submit", LAB)
    (name,) = [name for name in inbound(machine) if name.startswith("bob+")]
    return name


def inbound(machine):
    return machine.run("root", "ls", f"{EXCHANGE}/inbound").splitlines()


# An answer that looks for the instructor's files when it is defined: on the student's server, and in the grader.
_CURIOUS = """
import os
print("the course is here:", os.path.exists("/srv/yolotrt/course"))
def double(x):
    return x + x
"""
_FORGE = """
import datetime as dt, pathlib, shutil, sys
stamp = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60)
folder = pathlib.Path(sys.argv[1], f"bob+{sys.argv[2]}+{stamp:%Y-%m-%d %H:%M:%S.%f} UTC+AAAAAAAAAAAA")
shutil.copytree(pathlib.Path.home() / sys.argv[2], folder)
(folder / "timestamp.txt").write_text(f"{stamp:%Y-%m-%d %H:%M:%S.%f} UTC")
for path in (folder, *folder.rglob("*")):
    path.chmod(0o777)
"""


@pytest.fixture(scope="module")
def collected(machine, press, submitted):
    """Before the instructor collects, alice hands in a newer one in bob's name."""
    machine.python("alice", _FORGE, f"{EXCHANGE}/inbound", LAB)
    return press("collect")


@pytest.fixture(scope="module")
def graded(machine, press, collected):
    """One submission is graded by formgrader's button, the rest of the class by a command."""
    press("autograde", f"submission/{LAB}/alice")
    return {grade["student"]: grade for grade in machine.course("grade", LAB)["students"]}


@pytest.fixture(scope="module")
def feedback(people, press, graded):
    press("generate_feedback")
    press("release_feedback")
    return {name: people[name].nbgrader("fetch_feedback", LAB) for name in ("alice", "bob")}


@pytest.fixture(scope="module")
def known(submitted):
    """What a student knows who knows too much."""
    return {
        "course": COURSE,
        "exchange": EXCHANGE,
        "suite": SUITE,
        "state": "/srv/jupyterhub",
        "lab": LAB,
        "me": "alice",
        "victim": "bob",
        "victim_uid": ACCOUNTS["bob"],
        "home": "/home/bob",
        "submission": submitted,
    }


@pytest.fixture(scope="module")
def attacked(people, feedback, known):
    """What alice's attempts came to: she runs them in a notebook on her server, while bob has a kernel."""
    assert people["bob"].mine("POST", "/api/kernels", {"name": "python3"}).status == 201
    lines = [(HUB / "attacks.py").read_text(), f"main(attempts({known!r}), 'came_of_it.json')"]
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": []}
    cells = [{**cell, "source": "\n".join(lines)}]
    people["alice"].write("try.ipynb", {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    people["alice"].mine("POST", "/assignments/validate", {"path": "try.ipynb"})
    return json.loads(people["alice"].read("came_of_it.json"))


def test_students_fetch_the_lab_into_their_homes(fetched, machine, people):
    for name in ("alice", "bob"):
        (lab,) = [item for item in fetched[name] if item.get("assignment_id") == LAB and item["status"] == "fetched"]
        assert lab["path"] == LAB
        assert machine.run("root", "stat", "-c", "%U %a", f"/home/{name}").split() == [name, "700"]


def test_students_validate_on_their_servers(worked):
    assert worked["alice"].json["success"], worked["alice"]
    assert "failed" not in worked["alice"].json["value"]
    failed = [item["source"] for item in worked["bob"].json["value"]["failed"]]
    assert any('check("lab0.smallest")' in source for source in failed)
    assert not any('check("lab0.double")' in source for source in failed)


def test_a_submission_is_its_students_and_the_instructors(submitted, machine):
    folder = f"{EXCHANGE}/inbound/{submitted}"
    assert machine.run("root", "stat", "-c", "%U %G %a", folder).split() == ["bob", "prof", "770"]
    assert machine.run("root", "stat", "-c", "%U %a", f"{EXCHANGE}/inbound").split() == ["prof", "3733"]


def test_one_handed_in_in_anothers_name_is_refused_and_hides_nothing(collected):
    assert "in the name of bob but belongs to the account alice" in collected
    assert [name for name in ACCOUNTS if f"Collected {LAB} of {name}." in collected] == ["alice", "bob"]


def test_scores_are_right(graded):
    assert {name: grade["score"] for name, grade in graded.items()} == {"alice": 10.0, "bob": 6.0}


def test_answers_run_where_the_course_is_not(graded, people):
    notebook = people["prof"].read(f"course/autograded/alice/{LAB}/{LAB}.ipynb")
    printed = [output["text"] for output in sample.cell(notebook, "lab0-double")["outputs"] if "text" in output]
    assert "".join("".join(text) for text in printed).strip() == "the course is here: False"


def test_students_get_their_own_feedback(feedback, machine):
    for name, points in (("alice", "10"), ("bob", "6")):
        pages = machine.run("root", "find", f"/home/{name}/{LAB}/feedback", "-name", "*.html").splitlines()
        (page,) = pages
        text = machine.run("root", "cat", page)
        assert "Doubling" in text
        assert f"{points}" in text
    alices, bobs = (machine.run("root", "sh", "-c", f"cat /home/{name}/{LAB}/feedback/*/*.html") for name in feedback)
    assert alices != bobs


NAMED = ("course", "exchange", "home", "submission", "lab", "suite", "state", "victim", "victim_uid", "me")


@pytest.mark.parametrize("attempt", sorted(attacks.attempts(dict.fromkeys(NAMED, ""))))
def test_a_student_cannot(attempt, attacked):
    if attempt == "see that others work":
        assert attacked[attempt] == "it worked"  # or the attempts between processes would show nothing
    else:
        assert attacked[attempt].startswith("denied"), attacked[attempt]


def test_nothing_has_changed_by_it(attacked, machine, people, submitted):
    assert people["bob"].mine("GET", "/api/status").status == 200
    assert not machine.run("root", "find", f"{EXCHANGE}/inbound/{submitted}", "-newer", f"/home/bob/{LAB}/feedback")
    assert machine.run("root", "ls", f"{EXCHANGE}/outbound").split() == [LAB]


def test_what_was_tried_is_there(attacked, machine, known):
    """The same attempts succeed for root: it is the rights of the accounts that forbade them."""
    program = (HUB / "attacks.py").read_text()
    lines = [program, f"main(with_files({known!r}) | between_processes({known!r}), '/root/came_of_it.json')"]
    machine.python("root", "\n".join(lines))
    came = json.loads(machine.run("root", "cat", "/root/came_of_it.json"))
    assert [name for name, text in came.items() if text != "it worked"] == ["listen to a kernel"]
