"""nbgrader's configuration for this course: read by `nbgrader`, by JupyterLab's extensions and by `yolotrt course`.

It works as it is on one machine, for instructor and students in one account. What you may want to change is in the
first part; course/instructor_guide.md explains it. Everything is written as plain values, so that formgrader can show
the configuration.
"""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821 -- nbgrader provides it

ROOT = Path(__file__).resolve().parent
# False for a copy in /etc/jupyter, which tells students' accounts on a hub where the exchange is.
IS_COURSE = (ROOT / "labs").is_dir()
OURS = "yolotrt_lab.grading.nbgrader"

# nbgrader calls `alembic`, a program of the same environment, by its bare name.
PROGRAMS = str(Path(sys.executable).parent)
if PROGRAMS not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([PROGRAMS, os.environ.get("PATH", os.defpath)])

# --- For you to change ------------------------------------------------------------------------------------------------

c.CourseDirectory.course_id = "yolotrt"

# Where labs, submissions and feedback change hands. As it comes, a folder of this clone that git ignores: enough for
# one machine. For a class on JupyterHub the hub sets YOLOTRT_EXCHANGE to the folder that all accounts share, and makes
# it: course/jupyter/jupyterhub_config.py.
SHARED_EXCHANGE = os.environ.get("YOLOTRT_EXCHANGE", "")

# Time zone of times that nbgrader shows and stamps.
c.Exchange.timezone = "UTC"
c.NbGraderAPI.timezone = "UTC"

# What lateness costs: as it comes, nothing. See yolotrt_lab/grading/nbgrader/late_policy.py.
c.LatePolicy.percent_per_day = 0.0
c.LatePolicy.grace_minutes = 15
c.LatePolicy.most_percent = 50.0

# Believe the times that submissions state, rather than the exchange's file system: after moving the exchange.
c.CollectSubmissions.trust_client_clock = False

# Seconds: for a cell that is no check (a check has its exercise's own limits), and for a whole submission.
c.Execute.timeout = 300
c.RecordExercises.timeout = 120
c.RecordExercises.notebook_seconds = 1800

# What a submission may use in its sandbox: memory, its files included, and threads of numerical libraries. Without a
# sandbox (RecordExercises.unsafe_no_sandbox = True) students' code runs as you: for your own or trusted work only.
c.RecordExercises.memory_gib = 4.0
c.RecordExercises.cores = 1

# --- Folders ----------------------------------------------------------------------------------------------------------

if IS_COURSE:
    c.CourseDirectory.root = str(ROOT)
    c.CourseDirectory.db_url = f"sqlite:///{ROOT / 'course' / 'gradebook.db'}"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "labs"
c.CourseDirectory.submitted_directory = "course/submitted"
c.CourseDirectory.autograded_directory = "course/autograded"
c.CourseDirectory.feedback_directory = "course/feedback"
# Where `nbgrader generate_solution` writes; its own default, `solution`, is easily taken for `solutions`.
c.CourseDirectory.solution_directory = "course/generated_solutions"
# What a submission may hold, in kilobytes; a student's caches and feedback are passed over.
c.CourseDirectory.max_file_size = 50_000
c.CourseDirectory.max_dir_size = 100_000
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", ".git", ".venv"]

if SHARED_EXCHANGE:
    c.Exchange.root = SHARED_EXCHANGE
    # Several accounts: on the machine's ports, everybody could listen to the kernels that validate somebody's notebook.
    c.KernelManager.transport = "ipc"
elif IS_COURSE:
    # nbgrader wants the exchange to be there. On one machine it is simply made.
    local_exchange = ROOT / "course" / "exchange"
    local_exchange.mkdir(parents=True, exist_ok=True)
    local_exchange.chmod(0o1777)
    c.Exchange.root = str(local_exchange)
    c.Exchange.cache = str(local_exchange / ".cache")
if IS_COURSE:
    # Students work in labs/: that is where nbgrader's Assignment List finds what they fetched, and fetches to.
    c.Exchange.assignment_dir = str(ROOT / "labs")

# --- From solution to release: the same steps as `make notebooks`, and the gradebook ----------------------------------

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"
c.GenerateAssignment.preprocessors = [
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearSolutions",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.SaveCells",
    "nbgrader.preprocessors.ClearHiddenTests",
    "nbgrader.preprocessors.ClearMarkScheme",
    "nbgrader.preprocessors.ComputeChecksums",
]
c.GenerateAssignment.exporter_class = f"{OURS}.release_exporter.ReleaseExporter"
# labs/ is in git, and generated: without this, nbgrader would skip it and not fill the gradebook.
c.GenerateAssignment.force = True
c.ExchangeReleaseAssignment.force = True
c.ExchangeFactory.release_assignment = f"{OURS}.release_assignment.ReleaseAssignment"

# --- From submission to grade -----------------------------------------------------------------------------------------

c.ExchangeFactory.submit = f"{OURS}.submit_assignment.SubmitAssignment"
c.ExchangeFactory.collect = f"{OURS}.collect_submissions.CollectSubmissions"
# A model that lies beside the solution must not take the place of the student's.
c.Autograde.exclude_overwriting = {"lab2_dataset_training": ["station_b.onnx"]}
c.Autograde.exporter_class = f"{OURS}.submission_exporter.SubmissionExporter"
# First conversion: the release with the submission's answers.
c.Autograde.sanitize_preprocessors = [
    f"{OURS}.clear_old_scores.ClearOldScores",
    f"{OURS}.rebuild_from_release.RebuildFromRelease",
    "nbgrader.preprocessors.CheckCellMetadata",
]
# Second conversion: run, judge outside of the kernel, save.
c.Autograde.autograde_preprocessors = [
    f"{OURS}.record_exercises.RecordExercises",
    f"{OURS}.clean_outputs.CleanOutputs",
    f"{OURS}.score_exercises.ScoreExercises",
    f"{OURS}.save_grades.SaveGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.AssignLatePenalties.plugin_class = f"{OURS}.late_policy.LatePolicy"
# Plots, trainings and measurements to look at; neither `nbgrader validate` nor the autograder runs them.
c.Execute.skip_cells_with_tag = "demonstration"

c.Validator.failed_warning = (
    "{num_failed} EXERCISE(S) STILL WAIT FOR YOU. You can hand in the lab as it is; "
    "these would not get all of their points."
)
c.Validator.changed_warning = (
    "{num_changed} CHECK CELL(S) HAVE CHANGED. The grader puts the original ones back, so a result here may not be "
    "the one you get. Undo the change, or take the cell from a fresh copy of the lab."
)

# --- From grade to feedback -------------------------------------------------------------------------------------------

c.GenerateFeedback.exporter_class = f"{OURS}.feedback_exporter.FeedbackExporter"
c.GenerateFeedback.preprocessors = []
c.ExchangeFactory.release_feedback = f"{OURS}.release_feedback.ReleaseFeedback"
# formgrader shows answers as they were written, HTML included.
c.HTMLExporter.preprocessors = [f"{OURS}.escape_answers.EscapeAnswers"]
c.ExportApp.plugin_class = f"{OURS}.export_grades.ExportGrades"
