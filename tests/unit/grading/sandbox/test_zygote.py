"""A process that has its imports done and forks programs into sandboxes."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from yolotrt_lab.grading.sandbox.policy import SandboxPolicy
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.sandbox.zygote import Zygote


def output_of(zygote, *command, **policy):
    with zygote.spawn([sys.executable, *command], SandboxPolicy(**policy)) as process:
        process.wait(30)
    return process.output.decode()


def test_imports_are_done_and_failures_told(zygote):
    assert zygote.failed == ("no_such_module",)
    assert zygote.usable
    assert output_of(zygote, "-c", "import sys; print('decimal' in sys.modules)") == "True\n"


def test_programs_are_run_as_python_runs_them(zygote):
    assert (
        output_of(zygote, "-c", "import sys; print(sys.argv, __name__)", "a", "b c") == "['-c', 'a', 'b c'] __main__\n"
    )
    assert "usage: python" in output_of(zygote, "-m", "json.tool", "--help").replace("json.tool", "python", 1)
    assert "ZeroDivisionError" in output_of(zygote, "-c", "1 / 0")
    text = "import atexit, threading, time\natexit.register(print, 'last')\n"
    text += "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\nprint('first')"
    assert output_of(zygote, "-c", text) == "first\nthread\nlast\n"


def test_children_do_not_meet(zygote):
    output_of(zygote, "-c", "import decimal, os; decimal.planted = 1; os.environ['PLANTED'] = '1'; open('/tmp/a', 'w')")
    seen = output_of(
        zygote,
        "-c",
        "import decimal, os; print(hasattr(decimal, 'planted'), 'PLANTED' in os.environ, os.listdir('/tmp'))",
    )
    assert seen.startswith("False False ")
    assert "'a'" not in seen


def test_a_zygote_whose_imports_keep_threads_busy_is_not_used(monkeypatch, tmp_path):
    (tmp_path / "restless.py").write_text(
        "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()"
    )
    with Zygote(["restless"], environment={"PYTHONPATH": str(tmp_path)}) as zygote:
        assert zygote.busy_threads == 1
        assert not zygote.usable
        with pytest.raises(SandboxError, match="busy threads"):
            zygote.spawn([sys.executable, "-c", "pass"], SandboxPolicy())


def test_a_thread_that_rests_does_no_harm(tmp_path):
    (tmp_path / "resting.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    with Zygote(["resting"], environment={"PYTHONPATH": str(tmp_path)}) as zygote:
        assert output_of(zygote, "-c", "import threading; print(threading.active_count())") == "1\n"


@pytest.mark.parametrize("command", [["/bin/sh", "-c", "true"], [sys.executable, "script.py"]])
def test_other_programs_are_refused(zygote, command):
    with pytest.raises(SandboxError, match="Python programs only"):
        zygote.spawn(command, SandboxPolicy())


def test_one_that_has_died_says_so():
    with Zygote([]) as zygote:
        zygote._process.kill()
        zygote._process.wait()
        assert not zygote.usable
        with pytest.raises(SandboxError, match="forked any more"):
            zygote.spawn([sys.executable, "-c", "pass"], SandboxPolicy())


def test_it_ends_with_whoever_started_it():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        zygote = Zygote([])
        os.write(writing, f"{zygote._process.pid} {zygote._home}".encode())
        time.sleep(60)
        os._exit(0)
    number, home = os.read(reading, 1000).decode().split()
    process = psutil.Process(int(number))
    assert Path(home).is_dir()
    os.kill(child, 9)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 20
    while not _has_ended(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _has_ended(process)
    assert not Path(home).exists()


def _has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_nothing_is_left_behind():
    with Zygote(["json"]) as zygote:
        home = zygote._home
        assert home.is_dir()
        with zygote.spawn([sys.executable, "-c", "import time; time.sleep(60)"], SandboxPolicy()) as process:
            zygote.close()
            deadline = time.monotonic() + 10
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            assert process.poll() == -9  # its keeper ends with the zygote
    assert not home.exists()
