"""How fast a class is graded: stock `nbgrader autograde` against `yolotrt course grade`, in one run on one machine.

    python benchmarks/grading_throughput.py --lab lab1 --students 40 --stock-sample 8

Both grade the same submissions of the same lab, all different: right, half done and wrong. Stock nbgrader is as it
comes, with its own preprocessors, in one process, without a sandbox; it skips the cells that only demonstrate, as ours.
Both begin with an empty workspace. With `--stock-sample` stock nbgrader grades one submission and then that many more,
and its time for the class is computed from these. Ours grades the class from an empty cache, in sandboxes, canaries and
the second run of a few included, and then again from the cache. Memory is the sum of proportional set sizes over the
tree of processes, looked at twice a second.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from yolotrt_lab.files import write_json
from yolotrt_lab.grading.course import open_course, release_lab
from yolotrt_lab.grading.course.wrong_answers import wrong_answers
from yolotrt_lab.grading.nbgrader.rebuilding import answer_cells
from yolotrt_lab.grading.nbgrader.release import read_notebook
from yolotrt_lab.system import usable_cores

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(sys.executable).parent
STOCK = """\
c = get_config()
c.CourseDirectory.course_id = "stock"
c.Execute.timeout = 600
c.Execute.skip_cells_with_tag = "demonstration"
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\\nraise NotImplementedError()"}
"""


@dataclass
class Measured:
    """One run: seconds, the most memory in bytes, and how many submissions."""

    seconds: float
    peak_bytes: int
    submissions: int

    @property
    def each(self) -> float:
        """Seconds for one submission."""
        return self.seconds / self.submissions


class PeakMemory(threading.Thread):
    """Looks at the memory of a process and all its descendants until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process, self._stop_it = psutil.Process(pid), threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        """Look twice a second."""
        while not self._stop_it.wait(0.5):
            self.peak_bytes = max(self.peak_bytes, sum(map(_pss, self._family())))

    def stop(self) -> int:
        """Stop, and return the most that was seen."""
        self._stop_it.set()
        self.join()
        return self.peak_bytes

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return []


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def measure(command: list[str], *, cwd: Path, environment: dict[str, str], submissions: int) -> Measured:
    """Run a command to its end."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=said, stderr=subprocess.STDOUT)
        watch = PeakMemory(process.pid)
        watch.start()
        code = process.wait()
        seconds = time.perf_counter() - started
        peak = watch.stop()
        if code:
            said.seek(0)
            sys.exit(f"{' '.join(command)} ended with {code}:\n{said.read().decode(errors='replace')[-3000:]}")
    return Measured(seconds, peak, submissions)


def submissions(lab: str, students: int) -> dict[str, str]:
    """Return the notebooks of a class by student: right, half and wrong in turn, no two alike."""
    course = open_course(ROOT)
    solution = read_notebook(course.folder("source", lab) / f"{lab}.ipynb")
    release = read_notebook(course.folder("release", lab) / f"{lab}.ipynb")
    right = {name: str(cell.source) for name, cell in answer_cells(solution).items()}
    stubs = {name: str(cell.source) for name, cell in answer_cells(release).items()}
    wrong = wrong_answers(solution, ROOT / "tests" / "course")
    half = dict(list(right.items())[: max(1, len(right) // 2)])
    found = {}
    for number in range(students):
        name, texts = f"student{number:03}", ({**right}, {**stubs, **half}, {**right, **wrong})[number % 3]
        notebook = copy.deepcopy(release)
        for grade_id, cell in answer_cells(notebook).items():
            mark = f"# written by {name}\n" if cell.cell_type == "code" else f"{name}: "
            cell.source = mark + texts[grade_id]
        found[name] = json.dumps(notebook, ensure_ascii=False, indent=1)
    return found


def make_stock_course(folder: Path, lab: str, notebooks: dict[str, str], environment: dict[str, str]) -> None:
    """Make a course with nbgrader's own settings, and release the lab in it."""
    folder.mkdir(parents=True)
    (folder / "nbgrader_config.py").write_text(STOCK)
    shutil.copytree(ROOT / "solutions" / lab, folder / "source" / lab)
    for student, text in notebooks.items():
        place = folder / "submitted" / student / lab
        place.mkdir(parents=True)
        (place / f"{lab}.ipynb").write_text(text)
    command = [str(PROGRAMS / "nbgrader"), "generate_assignment", lab, "--force"]
    measure(command, cwd=folder, environment=environment, submissions=1)


def make_our_course(folder: Path, lab: str, notebooks: dict[str, str]) -> None:
    """Make a course with this repository's settings, and release the lab in it."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    for name in ("solutions", "labs"):
        shutil.copytree(ROOT / name / lab, folder / name / lab)
    for path in (ROOT / "tests" / "course").glob(f"{lab.split('_')[0]}/*.py"):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    course = open_course(folder)
    release_lab(course, lab)
    for student, text in notebooks.items():
        place = course.folder("submitted", lab, student)
        place.mkdir(parents=True)
        (place / f"{lab}.ipynb").write_text(text)


def measure_stock(folder: Path, lab: str, students: list[str], environment: dict[str, str]) -> list[Measured]:
    """Grade the first student, who pays for preparing the workspace, and then some others."""
    nbgrader = str(PROGRAMS / "nbgrader")
    found = []
    for group in (students[:1], students[1:]):
        if group:
            pattern = group[0] if len(group) == 1 else "student*"
            for student in (folder / "submitted").iterdir():
                if student.name not in group:
                    student.rename(folder / student.name)
            command = [nbgrader, "autograde", lab, "--student", pattern, "--force"]
            found.append(measure(command, cwd=folder, environment=environment, submissions=len(group)))
            for student in folder.glob("student*"):
                student.rename(folder / "submitted" / student.name)
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", default="lab1", help="the lab [lab1]")
    parser.add_argument("--students", type=int, default=40, help="submissions [40]")
    parser.add_argument(
        "--stock-sample", type=int, default=0, help="how many stock nbgrader grades after the first [all]"
    )
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="submissions that run at once [one per core]")
    parser.add_argument("--output", type=Path, default=Path("runs/grading_throughput.json"), help="a JSON file")
    options = parser.parse_args()
    lab = open_course(ROOT).lab(options.lab)
    notebooks = submissions(lab, options.students)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="yolotrt-throughput-") as name:
        folder = Path(name)
        path = f"{PROGRAMS}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "YOLOTRT_WORKSPACE": str(folder / "workspace")}
        (folder / "workspace").mkdir()
        sample = list(notebooks)[: 1 + (options.stock_sample or options.students - 1)]
        make_stock_course(folder / "stock", lab, {student: notebooks[student] for student in sample}, environment)
        first, *others = measure_stock(folder / "stock", lab, sample, environment)
        make_our_course(folder / "ours", lab, notebooks)
        command = [str(PROGRAMS / "yolotrt"), "course", "grade", lab, "--jobs", str(options.jobs), "--json"]
        ours = measure(command, cwd=folder / "ours", environment=environment, submissions=options.students)
        again = [*command, "--again"]
        cached = measure(again, cwd=folder / "ours", environment=environment, submissions=options.students)
    each = others[0].each if others else first.each
    seconds = first.seconds + each * (options.students - 1)
    stock = Measured(seconds, max(found.peak_bytes for found in (first, *others)), options.students)
    report(options, lab, stock, ours, cached, measured=len(sample), load=load)


def report(
    options: argparse.Namespace,
    lab: str,
    stock: Measured,
    ours: Measured,
    cached: Measured,
    *,
    measured: int,
    load: float,
) -> None:
    """Print the ratios and write them."""
    machine = (
        f"{usable_cores()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, Python {platform.python_version()}"
    )
    content: dict[str, Any] = {
        "lab": lab,
        "machine": machine,
        "load_before": load,
        "jobs": options.jobs,
        "stock_measured_on": measured,
        "stock": asdict(stock),
        "ours": asdict(ours),
        "ours_from_cache": asdict(cached),
        "ratio": stock.seconds / ours.seconds,
        "ratio_from_cache": stock.seconds / cached.seconds,
    }
    write_json(options.output, content)
    print(f"{options.students} submissions of {lab} on {machine}; load before: {load:.1f}")
    rows = (
        (f"stock nbgrader autograde ({measured} measured)", stock),
        (f"course grade --jobs {options.jobs}, empty cache", ours),
        ("course grade --again, from cache", cached),
    )
    for what, each in rows:
        memory = f"{each.peak_bytes / 2**20:6.0f} MiB"
        print(f"{what:45} {each.seconds:8.1f} s {each.each:7.2f} s each {memory} {stock.seconds / each.seconds:6.1f} x")
    if load > 0.5:
        print("The machine was busy with something else: repeat this on a quiet one.")


if __name__ == "__main__":
    main()
