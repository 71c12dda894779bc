"""Memory, disk and output without end: within what this machine bears, should the sandbox fail."""

from arena import DOUBLE, adversary

POOR = {DOUBLE: "def double(x):\n    return 'wrong'"}


def _in_double(body):
    return "$GUARD\ndef double(x):\n" + "".join(f"    {line}\n" for line in body.splitlines())


@adversary(tries="memory, piece by piece", twin=POOR)
def memory_bomb(work):
    work.answer(
        DOUBLE,
        _in_double(
            """\
import time
held = []
for _ in range(50):
    held.append(bytearray(b"x") * 10_000_000)
    time.sleep(0.01)
time.sleep(600)"""
        ),
    )


@adversary(tries="memory, spread over children", twin=POOR)
def memory_in_children(work):
    work.answer(
        DOUBLE,
        _in_double(
            """\
import os, time
for _ in range(5):
    if os.fork() == 0:
        held = bytearray(b"x") * 90_000_000
        time.sleep(600)
time.sleep(600)"""
        ),
    )


@adversary(tries="a file of 50 MB in every place that can be written", twin=POOR)
def disk_bomb(work):
    work.answer(
        DOUBLE,
        _in_double(
            """\
import os, tempfile
for place in (".", "/tmp", "/var/tmp", "/dev/shm", "/run", "/grading/results", "/grading/work"):
    try:
        with open(os.path.join(place, "$TOKEN-big"), "wb") as stream:
            for _ in range(50):
                stream.write(b"x" * 1_000_000)
    except OSError:
        pass
return 'wrong'"""
        ),
    )


@adversary(tries="20,000 small files", twin=POOR)
def many_small_files(work):
    work.answer(
        DOUBLE,
        _in_double(
            """\
import os
for place in ("/grading/results", "/grading/work", "/tmp"):
    try:
        for number in range(7_000):
            open(f"{place}/$TOKEN-{number}", "w").close()
    except OSError:
        pass
return 'wrong'"""
        ),
    )


@adversary(tries="a line of 50 MB", twin=POOR)
def one_huge_line(work):
    work.after(DOUBLE, "$GUARD\nprint('x' * 50_000_000)")


@adversary(tries="300,000 lines", twin=POOR)
def many_lines(work):
    work.after(DOUBLE, "$GUARD\nfor number in range(300_000):\n    print('line', number)")


@adversary(tries="3,000 displays with pictures and pages", twin=POOR)
def many_displays(work):
    work.after(
        DOUBLE,
        """$GUARD
from IPython.display import display
for number in range(3_000):
    display({"text/plain": "x" * 100, "text/html": "<b>" * 300, "image/png": "A" * 1000}, raw=True)
""",
    )


@adversary(tries="a display that is updated without end, and outputs cleared without end", twin=POOR)
def updated_displays(work):
    work.after(
        DOUBLE,
        """$GUARD
from IPython.display import clear_output, display
handle = display("x" * 1000, display_id=True)
for number in range(2_000):
    handle.update("y" * 1000)
    clear_output(wait=True)
""",
    )


@adversary(tries="one message of 80 MB with 400,000 keys", twin=POOR)
def huge_message(work):
    work.after(
        DOUBLE,
        """$GUARD
from IPython.display import display
display({f"text/x{n}": "x" * 200 for n in range(400_000)}, raw=True)
""",
    )


@adversary(tries="a message whose JSON is 100,000 levels deep", twin=POOR)
def deep_message(work):
    work.after(
        DOUBLE,
        """$GUARD
kernel = get_ipython().kernel
session = kernel.session
deep = b"[" * 100_000 + b"]" * 100_000
session.pack = lambda content: deep
try:
    session.send(kernel.iopub_socket, "display_data", {}, parent=kernel.get_parent())
finally:
    del session.pack
""",
    )


@adversary(tries="20 MB past Python, straight to the file descriptors", twin=POOR)
def floods_file_descriptors(work):
    flood = "    os.write(1, b'\\0\\xff' * 50_000)\n    os.write(2, b'x' * 100_000)"
    work.after(DOUBLE, f"$GUARD\nimport os\nfor _ in range(100):\n{flood}")


@adversary(tries="binary junk and control sequences", twin=POOR)
def control_sequences(work):
    work.after(
        DOUBLE,
        """import sys
print("\\x1b[31m" * 100_000, "\\x1b[999999999A\\x1b]52;c;" + "A" * 10_000 + "\\x07", "\\ud800\\udfff\\x00" * 1000)
sys.stdout.buffer.write(bytes(range(256)) * 1000) if hasattr(sys.stdout, "buffer") else None
""",
    )


@adversary(tries="an exception with a message of 30 MB, and a chain of 500", twin=POOR)
def huge_exception(work):
    work.answer(
        DOUBLE,
        """$GUARD
def double(x):
    error = ValueError("x" * 30_000_000)
    for _ in range(500):
        nested = ValueError("y")
        nested.__cause__ = error
        error = nested
    raise error
raise ValueError("x" * 30_000_000)
""",
    )


@adversary(tries="an exception whose words and name never come", twin=POOR)
def exception_without_words(work):
    work.answer(
        DOUBLE,
        """class Silent(Exception):
    def __str__(self): raise Silent
    __repr__ = __str__

def double(x):
    raise Silent
""",
    )
