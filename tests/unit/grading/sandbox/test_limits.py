"""What happens to programs that take too much, or will not end."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.sandbox.policy import SandboxLimits, SandboxPolicy

from .conftest import MIB

GREEDY = {
    "memory of many": (
        "import os, time\nfor _ in range(3): os.fork()\nheld = bytearray(b'1' * (60 * 2**20))\ntime.sleep(20)",
        {"memory_bytes": 200 * MIB},
        "memory",
    ),
    "files in memory count": (
        "held = b'1' * (120 * 2**20)\n"
        "for place in ('/tmp/a', '/out/a'):\n"
        "    with open(place, 'wb') as file:\n"
        "        for _ in range(50): file.write(b'1' * 2**20)\n"
        "import time; time.sleep(20)",
        {"memory_bytes": 200 * MIB, "disk_bytes": 70 * MIB},
        "memory",
    ),
    "memory in sockets": (
        "import socket, time\nheld = [socket.socketpair() for _ in range(480)]\ntime.sleep(20)",
        {"memory_bytes": 200 * MIB},
        "memory",
    ),
    "memory in page tables": (
        "import mmap, time\n"
        "nothing = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=mmap.PROT_READ)\n"
        "for place in range(0, 20_000 << 21, 1 << 21): nothing[place]\ntime.sleep(20)",
        {"memory_bytes": 60 * MIB},
        "memory",
    ),
    "a loop": ("while True: pass", {"wall_s": 0.5}, "wall"),
    "a loop that holds on": (
        "import signal, threading\nfor number in range(1, 65):\n    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nthreading.Event().wait()",
        {"wall_s": 0.5},
        "wall",
    ),
    "stopped by itself": ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", {"wall_s": 0.5}, "wall"),
    "processor time of one": ("while True: pass", {"cpu_s": 0.5}, "cpu"),
    "processor time of several": ("import os\nos.fork()\nos.fork()\nwhile True: pass", {"cpu_s": 0.6}, "cpu"),
    "many small files": ("for number in range(10**6): open(f'/tmp/{number}', 'w').close()", {}, "disk"),
}


@pytest.mark.parametrize("case", GREEDY)
def test_the_watchdog_ends_it_and_says_why(run, tmp_path, case):
    program, limits, reason = GREEDY[case]
    ended = run(program, writable=((tmp_path, "/out"),), **limits)
    assert ended.killed == reason
    assert ended.code < 0


IGNORED = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
REFUSED = {
    "memory of one": ("held = [bytearray(2**20) for _ in range(600)]", "MemoryError"),
    "a full folder": ("open('/tmp/a', 'wb').write(b'1' * (20 * 2**20))", "No space left"),
    "a full folder of results": ("open('/out/a', 'wb').write(b'1' * (20 * 2**20))", "No space left"),
    "shared memory": ("open('/dev/shm/a', 'wb').write(b'1' * (80 * 2**20))", "No space left"),
    "a large file": (f"{IGNORED}\nopen('/tmp/a', 'wb').truncate(2**24)", "File too large"),
    "open files": ("held = [open('/dev/null') for _ in range(5000)]", "Too many open files"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_the_system_refuses(run, tmp_path, case):
    program, said = REFUSED[case]
    ended = run(program, writable=((tmp_path, "/out"),), file_bytes=2**24 - 1 if case == "a large file" else 100 * MIB)
    assert (ended.code, ended.killed) == (1, "")
    assert said in ended.output


@pytest.mark.parametrize("thing", ["os.fork()", "threading.Thread(target=time.sleep, args=(30,), daemon=True).start()"])
def test_processes_and_threads_are_counted_together(run, thing):
    program = f"""
import os, threading, time
made = 0
while True:
    try:
        {thing}
        made += 1
    except (OSError, RuntimeError):
        print("refused after", made, flush=True)
        time.sleep(1)
        break
os._exit(7)
"""
    ended = run(program)
    assert ended.killed in ("", "processes", "memory")  # refused by the system, or ended before it came to that
    assert ended.usage.processes <= 40


def test_nothing_outlives_a_sandbox(run):
    mark = f"outliving-{os.getpid()}-{time.monotonic_ns()}"
    program = f"""
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", {mark!r}])
    os._exit(0)
time.sleep(0.3)
print("gone")
"""
    ended = run(program)
    assert ended.output.strip() == "gone"
    assert [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or [])] == []


def test_what_a_program_leaves_running_ends_with_it(start):
    program = "import os, time\nif os.fork() == 0: time.sleep(600)"
    with start([sys.executable, "-c", program], SandboxPolicy()) as process:
        assert process.wait(30) == 0
        deadline = time.monotonic() + 10
        while _processes_of(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert _processes_of(process) == []


def _processes_of(process):
    try:
        return [name for name in os.listdir(process._container.proc) if name.isdecimal()]
    except OSError:
        return []


def test_a_program_cannot_make_its_sockets_hold_more(run):
    program = """
import socket
one, _ = socket.socketpair()
before = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
print(one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before)
"""
    assert run(program).output.strip() == "True"


def test_floods_of_output_are_read_and_dropped(run):
    ended = run("import sys\nfor _ in range(300): sys.stderr.write('x' * 100_000)\nprint('end')")
    assert ended.code == 0
    assert len(ended.output) == SandboxLimits().output_bytes


def test_exit_codes(run):
    assert run("import sys; sys.exit(3)").code == 3
    assert run("import os; os._exit(4)").code == 4
    assert run("raise ValueError").code == 1
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").code == -11


def test_a_live_folder_can_be_looked_into(start, tmp_path):
    program = "import time\nopen('/out/ready', 'w').write('1')\ntime.sleep(30)"
    policy = SandboxPolicy(writable=((tmp_path, "/out"),))
    with start([sys.executable, "-c", program], policy) as process:
        path = process.folder("/out") / "ready"
        while not path.is_file():
            assert process.poll() is None
            time.sleep(0.01)
        with pytest.raises(TimeoutError):
            process.wait(0.05)
        process.kill()
        assert process.poll() == -9
        process.close()
        process.close()
    assert (tmp_path / "ready").is_file()


def test_memory_that_forks_share_counts_once(run):
    program = """
import os, time
held = bytearray(b'1' * (100 * 2**20))
for _ in range(6):
    if os.fork() == 0:
        time.sleep(0.6)
        os._exit(0)
for _ in range(6): os.wait()
print("fine")
"""
    ended = run(program, memory_bytes=300 * MIB)
    assert (ended.killed, ended.output.strip()) == ("", "fine")


@pytest.mark.parametrize("field", ["wall_s", "memory_bytes", "processes"])
def test_limits_are_positive(field):
    with pytest.raises(InputError, match="not positive"):
        SandboxLimits(**{field: 0})


@pytest.mark.parametrize("place", ["relative", "/", "/a/../b"])
def test_places_are_absolute(place):
    with pytest.raises(InputError, match="not usable"):
        SandboxPolicy(readonly=((Path("/usr"), place),))
