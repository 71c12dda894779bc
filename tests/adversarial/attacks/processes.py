"""Ends, hangs, signals, children that outlive their parents, and code that runs when nobody expects it."""

from arena import DOUBLE, SCALE, SMALLEST, adversary

NONE = {DOUBLE: "def double(x):\n    return None"}
POOR = {DOUBLE: "def double(x):\n    return 'wrong'"}
POOR_SMALLEST = "def smallest(values):\n    return -1, -1"
POOR_BOTH = {**POOR, SMALLEST: POOR_SMALLEST}


def _double(body):
    return "def double(x):\n" + "".join(f"    {line}\n" for line in body.splitlines())


@adversary(tries="os._exit within the answer", twin=NONE)
def exit_in_function(work):
    work.answer(DOUBLE, "import os\n" + _double("os._exit(0)"))


@adversary(tries="os._exit in the answer cell, and everything after it lost", twin=NONE)
def exit_in_cell(work):
    work.answer(DOUBLE, "import os\nos._exit(0)")


@adversary(tries="SystemExit and sys.exit", twin=NONE)
def system_exit(work):
    work.answer(DOUBLE, "import sys\n" + _double("sys.exit(0)") + "raise SystemExit(0)")


@adversary(tries="quit() asks the kernel to shut down", twin=NONE)
def quits(work):
    work.answer(DOUBLE, _double("return None") + "quit()\nget_ipython().ask_exit()")


@adversary(tries="a segmentation fault", twin=NONE)
def segmentation_fault(work):
    work.answer(DOUBLE, "import ctypes\n" + _double("ctypes.string_at(1)"))


@adversary(tries="kills its own process group, and the process above", twin=NONE)
def signals_to_parents(work):
    work.answer(
        DOUBLE,
        "$GUARD\nimport os, signal\n"
        + _double(
            """\
for kind in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
    for process in (os.getppid(), 1, $CANARY_PID, $GRADER_PID):
        try: os.kill(process, kind)
        except OSError: pass
os.killpg(0, signal.SIGKILL)"""
        ),
    )


@adversary(tries="kills everybody", twin={DOUBLE: "def double(x):\n    return 0"})
def signals_to_everybody(work):
    work.answer(DOUBLE, "$GUARD\nimport os\n" + _double("os.kill(-1, 9)\nreturn 0"))


@adversary(tries="an endless loop", twin=NONE)
def endless_loop(work):
    work.answer(DOUBLE, _double("while True: pass"))


@adversary(tries="an endless loop that swallows interrupts", twin=NONE)
def swallows_interrupts(work):
    work.answer(
        DOUBLE,
        "import time\n"
        + _double(
            """\
while True:
    try: time.sleep(0.1)
    except BaseException: pass"""
        ),
    )


@adversary(tries="an endless loop with signals blocked", twin=NONE)
def blocks_signals(work):
    work.answer(
        DOUBLE,
        "import signal\n" + _double("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\nwhile True: pass"),
    )


@adversary(tries="a loop in C that never looks for signals", twin=NONE)
def loop_in_c(work):
    work.answer(DOUBLE, "import re\n" + _double("return re.match('(a+)+$$', 'a' * 60 + 'b')"))


@adversary(tries="an answer cell that never ends", twin=NONE)
def endless_cell(work):
    work.answer(DOUBLE, "while True:\n    pass")


@adversary(tries="waits for input that nobody gives", twin=NONE)
def waits_for_input(work):
    work.answer(
        DOUBLE, _double("return input('password: ')") + "import sys, getpass\nsys.stdin.read()\ngetpass.getpass()"
    )


@adversary(
    tries="a detached child that outlives the kernel, ignores signals and writes later",
    twin=POOR,
    flagged=["integrity: process"],
)
def detached_child(work):
    work.after(
        DOUBLE,
        """$GUARD
import os, subprocess, sys
code = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(600)"
for place in ("/tmp", "/var/tmp", "/dev/shm", "$HOME", "$REPO", "$COURSE"):
    late = f"import time; time.sleep(3); open('{place}/$TOKEN-late', 'w').write('x')"
    subprocess.Popen([sys.executable, "-c", late, "$TOKEN"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", code, "$TOKEN"])
    os._exit(0)
""",
    )


@adversary(tries="a child that keeps the kernel's files and sockets open", twin=POOR, flagged=["integrity: process"])
def child_holds_sockets(work):
    work.after(
        DOUBLE,
        """$GUARD
import os, time
if os.fork() == 0:
    time.sleep(600)
    os._exit(0)
""",
    )


@adversary(tries="hooks at exit, finalizers, and a shut-down that hangs", twin=POOR)
def hangs_at_exit(work):
    work.after(
        DOUBLE,
        """import atexit, threading, time

class Late:
    def __del__(self):
        time.sleep(600)

late = Late()
atexit.register(lambda: time.sleep(600))
threading.Thread(target=lambda: time.sleep(600)).start()
""",
    )


@adversary(tries="a thread that puts another function in the answer's place once it was checked", twin=POOR_BOTH)
def late_thread(work):
    work.after(
        DOUBLE,
        """import threading, time

def later():
    space = get_ipython().user_ns
    while True:
        space["smallest"] = space["double"] = lambda *_: 0
        time.sleep(0.001)

thread = threading.Thread(target=later, daemon=True)
""",
    )
    work.answer(SMALLEST, f"{POOR_SMALLEST}\nthread.start()")


@adversary(tries="a timer that raises in the grader's code", twin=POOR, costs=[SMALLEST, SCALE])
def raises_in_the_grader(work):
    work.after(
        DOUBLE,
        """import ctypes, signal, sys, threading, time
main = threading.main_thread().ident

def shoot():
    for _ in range(200):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(KeyboardInterrupt))
        time.sleep(0.01)

threading.Thread(target=shoot, daemon=True).start()
sys.settrace(lambda *_: None)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.setitimer = lambda *_: (0.0, 0.0)
""",
    )


@adversary(tries="starts processes without end", twin=POOR, flagged=["integrity: process"])
def process_bomb(work):
    work.answer(
        DOUBLE,
        "$GUARD\nimport os, time\n"
        + _double(
            """\
for _ in range(60):
    if os.fork() == 0:
        time.sleep(600)
while True: time.sleep(1)"""
        ),
    )


@adversary(tries="starts threads without end", twin=POOR)
def thread_bomb(work):
    work.answer(
        DOUBLE,
        "$GUARD\nimport threading, time\n"
        + _double(
            """\
for _ in range(1000):
    threading.Thread(target=time.sleep, args=(600,)).start()
return 'wrong'"""
        ),
    )
