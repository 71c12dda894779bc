"""Results forged, removed and booby-trapped where the grader looks for them."""

from arena import DOUBLE, SCALE, SMALLEST, adversary

KNOWN_ONLY = "def double(x):\n    return 2 * x if 0 < x < 10 else 0"
POOR = {DOUBLE: KNOWN_ONLY}
POOR_SCALE = {SCALE: "def scale(values, factor):\n    return 'wrong'"}

# Where records go: by the environment, by the proctor's orders, by where a sandbox usually has them.
_FIND = """$GUARD
import json, os, sys, threading, time
from pathlib import Path

def folders():
    proctor = sys.modules.get("yolotrt_lab.grading.proctor")
    orders = getattr(proctor, "_installed", None)
    found = [getattr(orders, "folder", None), os.environ.get("YOLOTRT_RECORD"), "/grading/results"]
    return [Path(place) for place in found if place and Path(place).is_dir()]

def afterwards(work):
    def wait():
        for _ in range(2000):
            for folder in folders():
                try:
                    work(folder)
                except OSError:
                    pass
            time.sleep(0.002)
    threading.Thread(target=wait, daemon=True).start()
"""


@adversary(
    tries="records of hidden cases are removed, so that only known ones are judged",
    twin=POOR,
    flagged=["looks for the grader"],
)
def removed_hidden_records(work):
    work.before(
        DOUBLE,
        _FIND
        + """
import shutil
afterwards(lambda folder: [shutil.rmtree(path) for path in folder.glob("lab0.double/hidden-*")])
""",
    )


@adversary(tries="records of hidden cases are those of the known ones", twin=POOR, flagged=["looks for the grader"])
def copied_records(work):
    work.before(
        DOUBLE,
        _FIND
        + """
def copy(folder):
    for path in folder.glob("lab0.double/hidden-*/record.json"):
        path.write_bytes((folder / "lab0.double" / "public-0" / "record.json").read_bytes())
afterwards(copy)
""",
    )


@adversary(
    tries="a record that claims to be passed, with numbers that compare with everything",
    twin=POOR,
    flagged=["looks for the grader"],
)
def forged_records(work):
    work.before(
        DOUBLE,
        _FIND
        + """
def forge(folder):
    for name in ("public-0", "hidden-0"):
        place = folder / "lab0.double" / name
        place.mkdir(parents=True, exist_ok=True)
        content = {"status": "returned", "passed": True, "score": 6, "output": {"$$": "float", "text": "nan"}}
        (place / "record.json").write_text(json.dumps(content))
        (place / "results.json").write_text(json.dumps({"lab0.double": {"state": "passed", "score": 6}}))
afterwards(forge)
""",
    )


@adversary(tries="records that are links to the host's files", twin=POOR, flagged=["looks for the grader"])
def linked_records(work):
    work.before(
        DOUBLE,
        _FIND
        + """
def link(folder):
    for name in ("public-0", "hidden-0"):
        place = folder / "lab0.double" / name
        place.mkdir(parents=True, exist_ok=True)
        for number, target in enumerate(("$HOME/.ssh/id_ed25519", "$COURSE/course/gradebook.db", "/etc/passwd")):
            (place / f"{number}.npy").symlink_to(target)
        (place / "record.json").unlink(missing_ok=True)
        (place / "record.json").symlink_to("$HOME/.ssh/id_ed25519")
afterwards(link)
""",
    )


@adversary(tries="the folder of the records is a link, a pipe, a socket", twin=POOR, flagged=["looks for the grader"])
def folder_of_records_replaced(work):
    work.before(
        DOUBLE,
        _FIND
        + """
import shutil, socket
def replace(folder):
    place = folder / "lab0.double"
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
        place.symlink_to("$HOME")
    for name, make in {"lab0.smallest-pipe": os.mkfifo, "_evidence.json": os.mkfifo}.items():
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
afterwards(replace)
""",
    )


@adversary(tries="a pickle bomb where an array is expected", twin=POOR_SCALE, flagged=["looks for the grader"])
def pickle_bomb(work):
    work.before(
        SCALE,
        _FIND
        + """
import numpy as np

class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/$TOKEN-pickle",)

def bomb(folder):
    for place in folder.glob("lab0.scale/*"):
        np.save(place / "001.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
        content = {"status": "returned", "output": {"$$": "array", "file": "001.npy"}, "printed": ""}
        (place / "record.json").write_text(json.dumps(content))
afterwards(bomb)
""",
    )


@adversary(
    tries="an object array, and arrays whose headers promise terabytes",
    twin=POOR_SCALE,
    flagged=["looks for the grader"],
)
def lying_arrays(work):
    work.answer(
        SCALE,
        _FIND
        + """
import numpy as np

def scale(values, factor):
    return values * 0

def lie(folder):
    for path in folder.glob("lab0.scale/*/*.npy"):
        head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
        head += b" " * (118 - len(head) - 1) + b"\\n"
        path.write_bytes(b"\\x93NUMPY\\x01\\x00" + len(head).to_bytes(2, "little") + head)
afterwards(lie)
""",
    )


@adversary(
    tries="records of exercises that were not asked for yet, then the kernel ends",
    twin=POOR,
    flagged=["looks for the grader"],
)
def records_ahead_of_time(work):
    work.before(
        DOUBLE,
        _FIND
        + """
for folder in folders():
    for name in ("public-0", "hidden-0"):
        for exercise in ("lab0.double", "lab0.smallest", "lab0.scale", "../lab0.double", "lab9.other"):
            place = folder / exercise / name
            try:
                place.mkdir(parents=True, exist_ok=True)
                (place / "record.json").write_text('{"status": "returned", "output": 0}')
            except OSError:
                pass
os._exit(0)
""",
    )


@adversary(
    tries="records of many levels, of many megabytes, and no records at all",
    twin=POOR,
    flagged=["looks for the grader"],
)
def heavy_records(work):
    work.before(
        DOUBLE,
        _FIND
        + """
def heavy(folder):
    deep, long = "[" * 100_000 + "]" * 100_000, '{"status": "' + "x" * 20_000_000 + '"}'
    for name, text in {"public-0": deep, "hidden-0": long}.items():
        place = folder / "lab0.double" / name
        if place.is_dir() and (place / "record.json").stat().st_size < 100_000:
            (place / "record.json").write_text(text)
afterwards(heavy)
""",
    )


@adversary(tries="evidence that was found is written over with none", twin=POOR, flagged=["looks for the grader"])
def forged_evidence(work):
    work.before(
        DOUBLE,
        _FIND
        + """
import yolotrt_lab.grading.recording as recording
recording.record = lambda *_, **__: None
def clean(folder):
    (folder / "_evidence.json").unlink(missing_ok=True)
    (folder / "_evidence.json").write_text('{"notes": [], "findings": [{"kind": "x", "suspicious": "<script>"}]}')
afterwards(clean)
""",
    )


@adversary(tries="forged replies: the kernel's key is known, so `idle` and `ok` come before the answer", twin=POOR)
def forged_replies(work):
    work.after(
        DOUBLE,
        """kernel = get_ipython().kernel
session, parent = kernel.session, kernel.get_parent("shell")
fine = {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {
    "proctor": {"status": "ok", "data": {"text/plain": "'taken'"}, "metadata": {}}}}
for _ in range(50):
    session.send(kernel.iopub_socket, "status", {"execution_state": "idle"}, parent=parent, ident=b"kernel.status")
    session.send(kernel.iopub_socket, "execute_result", {"data": {"text/plain": "6.0"}, "metadata": {}}, parent=parent)
    session.send(kernel.shell_stream if hasattr(kernel, "shell_stream") else kernel.shell_socket, "execute_reply", fine,
                 parent=parent, ident=kernel._parent_ident.get("shell") if hasattr(kernel, "_parent_ident") else None)
""",
    )


@adversary(tries="forged messages of strange kinds: no parent, no header, a wrong signature, half a message", twin=POOR)
def forged_messages(work):
    work.after(
        DOUBLE,
        """kernel = get_ipython().kernel
session, socket = kernel.session, kernel.iopub_socket
for kind in ("status", "stream", "error", "display_data", "execute_input", "comm_open", "nonsense", "shutdown_reply"):
    for content in ({}, {"data": 3}, {"name": 7, "text": []}, {"traceback": "x"}, {"execution_state": "dead"}):
        session.send(socket, kind, content, parent={"header": {"msg_id": "other"}})
        session.send(socket, kind, content)
for parts in ([b""], [b"<IDS|MSG>"], [b"<IDS|MSG>", b"0" * 64, b"{}", b"{}", b"{}", b"{}"], [b"x" * 1000] * 50):
    session.stream = None
    (socket.send_multipart if hasattr(socket, "send_multipart") else socket.io_thread.socket.send_multipart)(parts)
""",
    )


@adversary(tries="the kernel's sockets are closed, and others put in their place", twin=POOR)
def replaced_sockets(work):
    work.after(
        DOUBLE,
        """import glob, os, socket
for path in glob.glob("/grading/channels/*"):
    try:
        os.unlink(path)
        found = socket.socket(socket.AF_UNIX)
        found.bind(path)
        found.listen(1)
    except OSError:
        pass
""",
    )


POOR_SMALLEST = {SMALLEST: "def smallest(values):\n    return -1, -1"}


@adversary(
    tries="an answer that lists the seeds of all cases and keeps what it saw for the next one",
    twin=POOR_SMALLEST,
    flagged=["looks for the grader"],
)
def tests_from_the_callers(work):
    work.answer(
        SMALLEST,
        """import sys
SEEN = []

def smallest(values):
    frame = sys._getframe(1)
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value).__name__ == "LoadedExercise":
                SEEN.append([name for name in vars(value.module) if name.startswith("test_")])
        frame = frame.f_back
    return (min(values), values.index(min(values))) if any(SEEN) else (-1, -1)
""",
    )
