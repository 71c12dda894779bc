"""The grader's own program: grade some students with a cluster, and keep what was sent to it."""

import json
import sys
from pathlib import Path

from yolotrt_lab.grading.course import open_course
from yolotrt_lab.grading.course.grade import GradeOptions, grade_lab
from yolotrt_lab.grading.jobs.cluster import Cluster


def main(root, lab, scheduler, sent, *students):
    submit = Cluster.submit

    def keep(cluster, work):
        Path(sent, f"{len(list(Path(sent).iterdir()))}-{work.kind}").write_bytes(work.content)
        submit(cluster, work)

    Cluster.submit = keep
    options = GradeOptions(scheduler=scheduler, jobs=1, canary=False, recheck=0.0)
    grades = grade_lab(open_course(Path(root)), lab, students=students, options=options)
    print(json.dumps({grade.student: [grade.score, grade.state, grade.failed] for grade in grades.students}))


if __name__ == "__main__":
    main(*sys.argv[1:])
