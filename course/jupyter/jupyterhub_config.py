"""JupyterHub for a class on one machine, each student in an account of the system: started by root.

    jupyterhub --config /srv/yolotrt/course/course/jupyter/jupyterhub_config.py

`tests/e2e/test_jupyterhub.py` runs a class with this very file. What to prepare is in course/instructor_guide.md.
The hub does not start where students could read the course or change the exchange.
"""

import grp
import os
import pwd
import shutil
import stat
import sys
from pathlib import Path

c = get_config()  # noqa: F821 -- JupyterHub provides it

# --- For you to change ------------------------------------------------------------------------------------------------

# The instructor's clone of the course, with solutions and gradebook. Its owner is the instructor.
COURSE = Path(os.environ.get("YOLOTRT_COURSE", "/srv/yolotrt/course"))
COURSE_ID = "yolotrt"  # as in nbgrader_config.py

# Where labs, submissions and feedback change hands.
EXCHANGE = Path(os.environ.get("YOLOTRT_EXCHANGE", "/srv/nbgrader/exchange"))

# The grading suite that students and grader use, written by root only.
SUITE = Path(os.environ.get("YOLOTRT_GRADING_SUITE", "/opt/yolotrt-lab/tests/grading"))

# The hub's own database and secrets.
STATE = Path(os.environ.get("YOLOTRT_HUB_STATE", "/srv/jupyterhub"))

# Who may log in, with the password of the machine: members of these groups of the system.
c.PAMAuthenticator.allowed_groups = {"students", "instructors"}

# A proxy that is not in the hub's environment is looked for in the PATH. For the internet put TLS in front of it.
PROXY = Path(sys.executable).parent / "configurable-http-proxy"
c.ConfigurableHTTPProxy.command = [str(PROXY)] if PROXY.is_file() else ["configurable-http-proxy"]

# --- What keeps students apart ----------------------------------------------------------------------------------------

INSTRUCTOR = pwd.getpwuid(COURSE.stat().st_uid)
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def close_course():
    """Refuse to start where the instructor's files are open, are those of root, or would be for a group of many."""
    if COURSE.stat().st_mode & stat.S_IRWXO:
        raise SystemExit(f"{COURSE} is open to all accounts, with solutions and grades: chmod 700 {COURSE}")
    if INSTRUCTOR.pw_uid == 0:
        raise SystemExit(f"{COURSE} belongs to root; grading runs students' programs: chown it to an instructor.")
    group = grp.getgrgid(INSTRUCTOR.pw_gid).gr_name
    sharing = sorted({account.pw_name for account in pwd.getpwall() if account.pw_gid == INSTRUCTOR.pw_gid})
    if sharing != [INSTRUCTOR.pw_name]:
        raise SystemExit(f"Submissions are open to the group {group}, which is {', '.join(sharing)}: one each, please.")


def make_exchange():
    """Make the folders where nbgrader looks for them, before somebody else can, with the rights they need."""
    EXCHANGE.mkdir(parents=True, exist_ok=True)
    os.chown(EXCHANGE, 0, 0)
    EXCHANGE.chmod(0o1777)  # nbgrader wants to write here; the sticky bit keeps folders in their place
    course = EXCHANGE / COURSE_ID
    # Submissions are put in without seeing others', in the instructor's group; nobody can move another's.
    for folder, mode in (
        (course, 0o755),
        (course / "outbound", 0o755),
        (course / "inbound", 0o3733),
        (course / "feedback", 0o711),
    ):
        folder.mkdir(exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid not in (0, INSTRUCTOR.pw_uid):
            raise SystemExit(f"{folder} was made by somebody else. Look what is in it, and remove it.")
        os.chown(folder, INSTRUCTOR.pw_uid, INSTRUCTOR.pw_gid)
        folder.chmod(mode)


def close_home(spawner):
    """Close the student's home to others. Called by the hub before it starts a server."""
    account = pwd.getpwnam(spawner.user.name)
    handle = os.open(account.pw_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        state = os.fstat(handle)
        if state.st_uid == account.pw_uid and state.st_mode & OTHERS:
            os.fchmod(handle, stat.S_IMODE(state.st_mode) & ~OTHERS)
    finally:
        os.close(handle)
    if account.pw_uid == INSTRUCTOR.pw_uid:
        spawner.notebook_dir = str(COURSE)
        spawner.environment = {
            **spawner.environment,
            "JUPYTER_CONFIG_PATH": os.pathsep.join(map(str, (COURSE, COURSE / "course" / "jupyter"))),
        }


close_course()
make_exchange()
# What the hub and all servers write is their own account's. What changes hands gets its rights where it is put.
os.umask(0o077)
STATE.mkdir(mode=0o700, parents=True, exist_ok=True)

c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.JupyterHub.db_url = f"sqlite:///{STATE / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(STATE / "cookie_secret")
c.JupyterHub.shutdown_on_logout = False
c.ConfigurableHTTPProxy.pid_file = str(STATE / "proxy.pid")
c.Spawner.pre_spawn_hook = close_home
c.Spawner.start_timeout = c.Spawner.http_timeout = 180  # seconds; a class logs in at the same time
c.Spawner.cmd = [str(Path(sys.executable).parent / "jupyterhub-singleuser")]
# Kernels talk through sockets in the account's own folder. Through the usual ports of the machine, every account
# could listen to what another's kernel runs and prints.
c.Spawner.args = ["--KernelManager.transport=ipc"]
c.Spawner.environment = {
    "YOLOTRT_EXCHANGE": str(EXCHANGE),
    "YOLOTRT_GRADING_SUITE": str(SUITE),
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
}
if shutil.which("jupyterhub-singleuser", path=c.Spawner.environment["PATH"]) is None:
    raise SystemExit("jupyterhub-singleuser is not in the hub's environment: install jupyterhub and jupyterlab there.")
