"""Run a rebuilt notebook in a sandbox and keep what came of it: a pure function of its job.

`run.execute` is untrusted code's only place. It knows nothing of nbgrader, students or times; equal jobs give equal
results, so that a result can be kept and used again.
"""

from yolotrt_lab.grading.execution.artifact import Execution, Usage, read_execution, write_execution
from yolotrt_lab.grading.execution.job import ExecutionJob, ExercisePlan, Timeouts

__all__ = [
    "Execution",
    "ExecutionJob",
    "ExercisePlan",
    "Timeouts",
    "Usage",
    "read_execution",
    "write_execution",
]
