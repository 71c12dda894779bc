"""Grade sample courses again and again, each time in a fork that whoever reads our words may kill.

For every line on standard input, "begin <course>" or "resume <course>", a fork in a process group of its own grades;
its process id is written to standard output, and when it ends, "ended <exit code>". What is executed is noted in a log
in the course's folder, with whether its result was kept already.
"""

import os
import sys
from pathlib import Path

from yolotrt_lab.grading.course import GradeOptions, grade_lab, open_course
from yolotrt_lab.grading.digests import package_digest
from yolotrt_lab.grading.jobs import perform
from yolotrt_lab.grading.jobs.store import Store

LAB = "lab0_sample"


def watched(root: Path):
    store, execute = Store(root / "course" / "grading" / "cache"), perform.execute

    def run(job, into, **more):
        with (root / "executions.log").open("a") as stream:
            stream.write(f"{job.key()} {'kept' if store.has(job.key()) else 'new'}\n")
        return execute(job, into, **more)

    return run


def main() -> None:
    jobs = int(sys.argv[2])
    options = GradeOptions(jobs=jobs, canary=False, recheck=0.0, unsafe=sys.argv[1] == "unsafe")
    package_digest()  # once: all forks grade with the same code
    for line in sys.stdin:
        word, _, folder = line.strip().partition(" ")
        root = Path(folder)
        child = os.fork()
        if child == 0:
            os.setsid()
            code = 1
            try:
                if jobs == 1:
                    perform.execute = watched(root)
                os.environ["YOLOTRT_GRADING_SUITE"] = str(root / "suite")
                grade_lab(open_course(root), LAB, options=options, resume=word == "resume")
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
