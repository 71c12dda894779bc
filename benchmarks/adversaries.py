"""What plain nbgrader and this course's grader give the submissions of tests/adversarial, and the table of it.

    python benchmarks/adversaries.py                      all of them; a quarter of an hour with plain nbgrader
    python benchmarks/adversaries.py --only input_transformer --only nan_score
    python benchmarks/adversaries.py --ours               the other grader's column stays as it was measured before
    python benchmarks/adversaries.py --table              only writes the table from course/results/adversaries.json

Plain nbgrader runs a submission as the instructor. So it does that here in a sandbox of its own, on a copy of a
scratch course in which each exercise is checked by asserts and by partial credit, as nbgrader's manual has it. Its
configuration is nbgrader's, its batch is one classmate before and one after the adversary, its time 150 s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "adversarial"))

from arena import Adversary, TargetLab, adversaries_in, grade_class
from arena.adversary import write_notebook
from arena.batch import released_notebook
from arena.host import guard, tree_of
from arena.target import stock_solution
from nbgrader.api import Gradebook, MissingEntry
from sqlalchemy.exc import SQLAlchemyError

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "course" / "results"
FIRST, LAST = "aaron", "zoe"
LIMIT_S = 150
WRITTEN = "written"  # graded by hand with both graders: left out of the sums
CONFIG = "c = get_config()\nc.CourseDirectory.course_id = 'stock'\n"


def adversaries() -> dict[str, Adversary]:
    """Return all that are declared, by name."""
    folder = REPOSITORY / "tests" / "adversarial"
    return {**adversaries_in(folder / "attacks"), **adversaries_in(folder / "answers")}


class StockCourse:
    """A course with plain nbgrader in which a lab is released and one honest student is graded."""

    def __init__(self, lab: TargetLab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        (folder / "course" / "source" / lab.name).mkdir(parents=True)
        (folder / "home" / ".ssh").mkdir(parents=True)
        (folder / "home" / ".ssh" / "id_ed25519").write_text("home-canary\n")
        (folder / "home" / ".bashrc").write_text("# a shell's start\n")
        (folder / "course" / "nbgrader_config.py").write_text(CONFIG)
        (folder / "course" / "source" / lab.name / lab.file).write_text(stock_solution(lab))
        self._nbgrader(folder, "generate_assignment", lab.name)
        self.released = released_notebook(folder / "course" / "release" / lab.name / lab.file)
        self._hand_in_honest(folder, FIRST)
        self._nbgrader(folder, "autograde", lab.name, f"--student={FIRST}")

    def _hand_in_honest(self, folder: Path, student: str) -> None:
        right = Adversary(name="", group="", tries="", lab=self.lab, twin={}, make=lambda _: None)
        place = folder / "course" / "submitted" / student / self.lab.name
        place.mkdir(parents=True)
        write_notebook(place / self.lab.file, right.twins_notebook(self.released))

    def grade(self, item: Adversary, *, as_twin: bool = False) -> dict[str, Any]:
        """Grade an adversary, or its twin, and a classmate after it, in a copy of the course."""
        with tempfile.TemporaryDirectory(prefix="stock-", dir=self.folder.parent, ignore_cleanup_errors=True) as name:
            scratch = Path(name) / "host"
            shutil.copytree(self.folder, scratch, symlinks=True)
            self._hand_in_honest(scratch, LAST)
            course = scratch / "course"
            place = course / "submitted" / "mallory" / self.lab.name
            known = {"REPO": str(REPOSITORY), "COURSE": str(course), "HOME": str(scratch / "home"), "TOKEN": "mallorys"}
            known |= {"PORT": "9", "SOCKET": "/nowhere", "CANARY_PID": "2", "GRADER_PID": "2", "ME": "mallory"}
            if as_twin:
                place.mkdir(parents=True)
                write_notebook(place / self.lab.file, item.twins_notebook(self.released))
            else:
                item.hand_in(place, self.released, {**known, "GUARD": guard()})
            before = {path: tree_of(path) for path in self._watched(scratch)}
            ended = self._nbgrader(scratch, "autograde", self.lab.name)
            return {
                "score": self._score(course, "mallory"),
                "ended": ended,
                "others": self._score(course, FIRST) == self._score(self.folder / "course", FIRST),
                "last": self._score(course, LAST) is not None,
                "host": all(tree_of(path) == found for path, found in before.items() if path.exists()),
            }

    def _watched(self, scratch: Path) -> tuple[Path, ...]:
        course = scratch / "course"
        return scratch / "home" / ".ssh", course / "source", course / "nbgrader_config.py"

    def _nbgrader(self, folder: Path, *arguments: str) -> str:
        """Run nbgrader where it sees this folder and a system that it cannot change; return how it ended."""
        command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/"]
        command += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind", str(folder), str(folder)]
        command += ["--chdir", str(folder / "course"), "--setenv", "HOME", str(folder / "home")]
        command += [sys.executable, "-m", "nbgrader", *arguments]
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            return "finished" if process.wait(LIMIT_S) == 0 else "failed"
        except subprocess.TimeoutExpired:
            return "hangs"
        finally:
            process.kill()  # the first process of its namespace: all others end with it
            process.wait()

    def _score(self, course: Path, student: str) -> float | None:
        """Return the points for code, None where there are none."""
        address = f"sqlite:///{course / 'gradebook.db'}"
        with contextlib.suppress(MissingEntry, SQLAlchemyError), Gradebook(address, "stock") as gradebook:
            notebook = gradebook.find_submission_notebook(self.lab.name, self.lab.name, student)
            grades = [grade for grade in notebook.grades if WRITTEN not in grade.name]
            if any(grade.auto_score is not None or grade.manual_score is not None for grade in grades):
                return float(sum(grade.score for grade in grades))
        return None


def measure_stock(items: Sequence[Adversary], scratch: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what plain nbgrader makes of each, with its name."""
    courses = {}
    for lab in {item.lab.name: item.lab for item in items}.values():
        courses[lab.name] = StockCourse(lab, scratch / lab.name)
    twins = {item.twin_name: item for item in items}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        graded = pool.map(lambda item: courses[item.lab.name].grade(item, as_twin=True), twins.values())
        of_twins = dict(zip(twins, graded, strict=True))
        results = pool.map(lambda item: courses[item.lab.name].grade(item), items)
        for item, result in zip(items, results, strict=True):
            found = {**result, "twin": of_twins[item.twin_name]["score"]}
            print(f"plain nbgrader: {item.name}: {_stock_words(found)}", flush=True)
            yield item.name, found


def measure_ours(items: Sequence[Adversary], scratch: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what this course's grader makes of each, with its name."""
    for lab in {item.lab.name: item.lab for item in items}.values():
        graded = grade_class(scratch / f"ours-{lab.name}", lab, items)
        for item in (item for item in items if item.lab is lab):
            outcome = graded.outcomes[item.name]
            yield (
                item.name,
                {
                    "score": _sum_of(outcome.scores),
                    "twin": _sum_of(graded.outcomes[item.twin_name].scores),
                    "by_hand": sum(WRITTEN not in name for name in outcome.by_hand),
                    "flags": sorted({finding.kind for finding in outcome.findings}),
                    "unreadable": bool(outcome.unreadable),
                },
            )


def _sum_of(scores: dict[str, float | None]) -> float:
    return float(sum(score or 0.0 for name, score in scores.items() if WRITTEN not in name))


def _stock_words(found: dict[str, Any]) -> str:
    score = "no grade" if found["score"] is None else f"{found['score']:g}"
    words = {"hangs": ["hangs the grader"], "failed": ["an error"]}.get(found["ended"], [])
    words += [] if found["last"] else ["the next student is not graded"]
    words += [] if found["others"] else ["a classmate's grade changed"]
    words += [] if found["host"] else ["the host's files changed"]
    return f"{score}{': ' if words else ''}{', '.join(words)}"


def _our_words(found: dict[str, Any]) -> str:
    if found["unreadable"]:
        return "set aside for a human"
    waits = f", {found['by_hand']} by hand" if found["by_hand"] else ""
    return f"{found['score']:g}{waits}"


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    lines = [_HEAD.format(count=len(rows), **_counts(rows.values()))]
    for group in sorted({row["group"] for row in rows.values()}):
        lines += [f"\n## {group.replace('_', ' ').capitalize()}\n"]
        lines += ["| submission | what it tries | honest twin | plain nbgrader | this grader | noted |"]
        lines += ["|---|---|---|---|---|---|"]
        for name, row in sorted(rows.items()):
            if row["group"] == group:
                stock, ours = row["stock"], row["ours"]
                noted = ", ".join(ours["flags"]) or "-"
                cells = [name, row["tries"], f"{ours['twin']:g}", _stock_words(stock), _our_words(ours), noted]
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _counts(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    rows = list(rows)
    attacks = [row["stock"] for row in rows if not row["correct"]]
    right = [row for row in rows if row["correct"]]
    return {
        "attacks": len(attacks),
        "right": len(right),
        "gained": sum((stock["score"] or 0.0) > (stock["twin"] or 0.0) for stock in attacks),
        "harmed": sum(not (stock["last"] and stock["others"] and stock["host"]) for stock in attacks),
        "lost": sum((row["stock"]["score"] or 0.0) < (row["stock"]["twin"] or 0.0) for row in right),
        "ours_gained": sum(row["ours"]["score"] > row["ours"]["twin"] for row in rows if not row["correct"]),
        "ours_lost": sum(row["ours"]["score"] < row["ours"]["twin"] for row in right),
    }


_HEAD = """\
# What {count} odd submissions get

Written by `benchmarks/adversaries.py` from the submissions of `tests/adversarial`: {attacks} attacks and {right} right
answers that only look odd. Each has an honest twin: the same answers, without the attack. Points are those for code.

| | plain nbgrader 0.9.6 | this grader |
|---|---|---|
| attacks with more points than their honest twin | {gained} | {ours_gained} |
| attacks after which a classmate is not graded or graded otherwise, or the host is changed | {harmed} | 0 |
| right answers with fewer points than their plain twin | {lost} | {ours_lost} |

Plain nbgrader has its own configuration and checks the same exercises with asserts and partial credit; it ran in a
sandbox around all of it, because it runs submissions as the instructor. "No grade" means that the gradebook holds none.
"By hand" means that the exercise waits for the instructor and counts nothing until then. What is noted is shown to the
instructor; a note takes no points. The honest twin's points are those of this grader; plain nbgrader's checks may give
such answers more or fewer, so its column is counted against its own. That nobody else and nothing on the host is
touched is what `tests/adversarial/test_attacks.py` asks of every run."""


def _write(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="a submission; may be repeated")
    parser.add_argument("--missing", action="store_true", help="only what was not measured yet")
    parser.add_argument("--ours", action="store_true", help="measure this grader only")
    parser.add_argument("--stock", action="store_true", help="measure plain nbgrader only")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    options = parser.parse_args()
    path = RESULTS / "adversaries.json"
    rows = json.loads(path.read_text()) if path.is_file() else {}
    every = adversaries()
    items = [item for name, item in every.items() if not options.only or name in options.only]
    with tempfile.TemporaryDirectory(prefix="adversaries-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        sides = {"stock": measure_stock, "ours": measure_ours}
        left_out = {"stock": options.table or options.ours, "ours": options.table or options.stock}
        for side, measure in sides.items():
            chosen = [item for item in items if not options.missing or side not in rows.get(item.name, {})]
            for found, result in () if left_out[side] else measure(chosen, Path(name)):
                rows.setdefault(found, {})[side] = result
                _write(path, rows)  # whoever stops this keeps what was measured
    for item in every.values():
        rows.setdefault(item.name, {}).update(group=item.group, tries=item.tries, correct=item.is_correct)
    rows = {name: row for name, row in sorted(rows.items()) if name in every}
    _write(path, rows)
    complete = {name: row for name, row in rows.items() if "stock" in row and "ours" in row}
    (RESULTS / "adversaries.md").write_text(table(complete))


if __name__ == "__main__":
    main()
