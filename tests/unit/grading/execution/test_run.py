"""Running notebooks of all sorts: what an answer does costs its own exercise at most, and never the grader."""

import os
import time

import pytest

from yolotrt_lab.grading.execution import read_execution
from yolotrt_lab.grading.execution.session import ExecutionCancelledError
from yolotrt_lab.grading.sandbox.preflight import SandboxError

FINE = ["returned", "returned", "returned"]

NOISE = "print('careful', file=sys.stderr)\n%precision 3\n3.14159"

FORGERIES = """
try:
    input("your name?")
except Exception as error:
    print(type(error).__name__, flush=True)
kernel = get_ipython().kernel
parent, session, iopub = kernel.get_parent(), kernel.session, kernel.iopub_socket

def say(kind, content, parent=parent):
    session.send(iopub, kind, content, parent=parent)

say("status", {"execution_state": "idle"})
say("execute_reply", {"status": "ok"})
say("execute_result", {"data": {"text/plain": "1000", "text/html": "<script>"}, "metadata": {}})
say("stream", {"name": "stdout", "text": "of another cell"}, parent={"header": {"msg_id": "x"}})
say("update_display_data", {"data": {"text/plain": "x"}, "transient": {"display_id": "nobody's"}})
say("stream", {"text": ["a", 3, None]})
say("stream", {"name": ["stderr"], "text": {"not": "text"}})
say("display_data", {"data": ["text/plain"]})
for number in range(2000):
    say("comm_open", {"comm_id": str(number), "target_name": "x" * 1000})
deep = [session.pack(session.msg_header("stream")), session.pack(parent["header"]), b"{}", b"[" * 200_000]
iopub.send_multipart([b"t", b"<IDS|MSG>", session.sign(deep), *deep])
iopub.send_multipart([b"t", b"<IDS|MSG>", b"no signature", b"{", b"\\xff", b"]", b"NaN"])
iopub.send_multipart([b""] * 500)
iopub.send_multipart([b"<IDS|MSG>"])
"""

EARLY_REPLY = """
import time
from ipykernel.zmqshell import ZMQInteractiveShell
kernel = get_ipython().kernel
asked, whose = kernel.get_parent(), kernel._parent_ident["shell"]
kernel.session.send(kernel.shell_stream, "execute_reply", {"status": "ok"}, parent=asked, ident=whose)
time.sleep(2.5)
"""

FORGED_RECORDS = """
import os
os.makedirs(os.environ["YOLOTRT_RECORD"] + "/lab0.other/public-0")
"""

FLOODS = [
    "for _ in range(55): print('x' * 1_000_000)",
    "for _ in range(20_000): print('x')",
    "from IPython.display import display\nfor number in range(3000): display(number)",
    "raise ValueError('x' * 30_000_000)",
]


def text_of(execution, cell):
    return "".join(output.get("text", "") for output in execution.outputs.get(cell, ()))


def test_an_honest_notebook(run):
    execution = run("import os\nprint(os.getcwd(), os.listdir())", NOISE, models={"mine.onnx": b"a model"})
    assert (execution.trouble, execution.ended, execution.findings, execution.sandboxed) == ("", {}, (), True)
    assert run.statuses() == FINE
    assert text_of(execution, "student-0") == "/grading/work ['mine.onnx']\n"
    stderr, result = execution.outputs["student-1"]
    assert (stderr["name"], stderr["text"]) == ("stderr", "careful\n")
    assert result["data"] == {"text/plain": "3.142"}
    assert set(execution.seconds) == {"first", "student-0", "student-1", "clip", "check"}
    assert execution.usage.cpu_s > 0
    assert execution.usage.peak_memory_bytes > 10 << 20
    assert execution.usage.kernels == 1
    assert read_execution(run.folder) == execution
    array = run.folder / "recorded" / "lab0.clip" / "hidden-0" / "001.npy"
    assert array.stat().st_mode & 0o7777 == 0o644


def test_forgeries_and_floods_cost_nothing(run):
    limits = {"memory_bytes": 1 << 30}  # a traceback takes its message many times over
    execution = run(FORGERIES, *FLOODS, FORGED_RECORDS, EARLY_REPLY, timeouts={"cell_s": 60}, limits=limits)
    assert (execution.trouble, execution.ended, execution.usage.kernels) == ("", {}, 1)
    assert run.statuses() == FINE
    assert "StdinNotImplementedError" in text_of(execution, "student-0")
    assert "of another cell" not in text_of(execution, "student-0")
    shown = [kind for outputs in execution.outputs.values() for output in outputs for kind in output.get("data", ())]
    assert set(shown) == {"text/plain"}
    assert execution.outputs.get("clip") is None
    for number in range(1, 4):
        assert execution.outputs[f"student-{number}"], "the flood is said to be one, or its beginning is there"
    assert (run.folder / "outputs.json").stat().st_size < 200_000
    assert [finding.kind for finding in execution.findings] == ["forged records", "looks for the grader"]
    assert not (run.folder / "recorded" / "lab0.other").exists()


def test_cells_that_end_the_kernel_are_left_out(run):
    stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    killer = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    loop = "import time\nprint('before', flush=True)\nwhile True: time.sleep(0.01)"
    execution = run("import os; os._exit(1)", killer, stubborn, loop, timeouts={"cell_s": 3, "interrupt_s": 1})
    ended = {"student-0": "died", "student-1": "died", "student-2": "hung", "student-3": "hung"}
    assert (execution.ended, execution.killed, execution.trouble) == (ended, {}, "")
    assert execution.usage.kernels == 4, "the last one was interrupted"
    assert text_of(execution, "student-3") == "before\n"
    assert execution.outputs["student-3"][-1]["ename"] == "CellTimeoutError"
    assert run.statuses() == FINE


def test_a_function_that_ends_the_kernel_keeps_what_it_returned_before(run):
    clip = """
import os
done = []
def clip(values, limit):
    done.append(1)
    return values if len(done) < 2 else os._exit(0)"""
    execution = run(clip=clip)
    assert execution.ended == {"check": "died"}
    assert run.statuses() == ["returned", "raised", "raised"]
    assert run.record("hidden-0")["type"] == "KernelDied"


def test_no_more_kernels_than_allowed(run):
    execution = run("import os; os._exit(0)", clip="import os; os._exit(0)", timeouts={"restarts": 1})
    assert execution.ended == {"student-0": "died", "clip": "died", "check": "died"}
    assert run.statuses() == ["raised"] * 3


def test_the_whole_notebook_has_its_time(run):
    execution = run("import time; time.sleep(60)", timeouts={"notebook_s": 3, "cell_s": 50, "interrupt_s": 0.5})
    assert execution.ended["check"] == "hung"
    assert run.statuses() == ["timeout"] * 3


def test_what_goes_beyond_a_limit_is_told(run):
    memory = """
import mmap, time
KEPT = []
def clip(values, limit):
    KEPT.append(mmap.mmap(-1, 300 << 20))
    for _ in range(30):
        KEPT[-1].write(b"x" * (10 << 20))
    time.sleep(5)"""
    limits = {"cpu_s": 3, "memory_bytes": 250 << 20}
    execution = run("while True: pass", clip=memory, limits=limits, timeouts={"cell_s": 20, "margin_s": 10})
    assert (execution.trouble, execution.usage.kernels) == ("", 2), "after the last cell there is nothing to run"
    assert execution.ended == {"student-0": "died", "check": "died"}
    assert execution.killed == {
        "student-0": "used more than 3 s of processor time",
        "check": "used more than 0.244 GiB of memory",
    }
    assert "your code used more than 0.244 GiB of memory" in {
        run.record(case).get("message") for case in ("public-0", "public-1", "hidden-0")
    }
    assert [finding.kind for finding in execution.findings] == ["limit exceeded"] * 2
    assert execution.outputs["student-0"][-1]["evalue"] == "used more than 3 s of processor time"


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("import a_module_that_nobody_has", "fail in the grader: ModuleNotFoundError"),
        ("import os; os._exit(1)", "do not run in the grader"),
    ],
)
def test_trouble_before_any_answer_is_not_the_students(run, first, words):
    execution = run(first=first)
    assert words in execution.trouble
    assert run.statuses() == [None] * 3


def test_trouble_is_tried_again(run, monkeypatch):
    """A sandbox that cannot be made once is made the next time."""
    tried = []
    monkeypatch.setattr("yolotrt_lab.grading.execution.run.KernelSession", lambda *_, **__: tried.append(1) or 1 / 0)
    execution = run(timeouts={"retries": 1})
    assert "ZeroDivisionError" in execution.trouble
    assert len(tried) == 2


def test_equal_jobs_give_equal_artifacts(run, tmp_path):
    cell = "import os, random, time\nprint({'a', 'b', 'c'}, os.getcwd(), time.tzname, sorted(os.environ))\n1 / 0"
    contents = []
    for name in ("cold", "warm"):
        run.folder = tmp_path / name
        run(cell, warm=name == "warm")
        files = sorted(path for path in run.folder.rglob("*") if path.is_file() and path.name != "usage.json")
        contents.append({path.relative_to(run.folder): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_without_a_sandbox_it_says_so(run):
    spy = "import os\nprint('YOLOTRT_HIDDEN_SEED' in os.environ, os.listdir())"
    execution = run(spy, unsafe=True)
    assert (execution.sandboxed, execution.trouble, execution.ended) == (False, "", {})
    assert text_of(execution, "student-0") == "False []\n"
    assert run.statuses() == FINE
    assert not read_execution(run.folder).sandboxed


def test_without_a_sandbox_nothing_runs_unless_it_is_asked_for(run, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(SandboxError, match="bubblewrap"):
        run()
    assert not run.folder.exists()


def test_a_run_can_be_cancelled(run):
    started = time.monotonic()
    with pytest.raises(ExecutionCancelledError):
        run("import time; time.sleep(100)", timeouts={"cell_s": 200}, cancelled=lambda: time.monotonic() > started + 2)
