"""What lies in the folder that is handed in: broken notebooks, links, pipes, impossible times, modules of one's own."""

import json
import os

from arena import DOUBLE, NOTHING, SCALE, SMALLEST, WRITTEN, adversary

NOTHING_DONE = {DOUBLE: NOTHING, SMALLEST: NOTHING, SCALE: NOTHING, WRITTEN: NOTHING}
ALL = (DOUBLE, SMALLEST, SCALE, WRITTEN)
WRONG = {DOUBLE: "def double(x):\n    return 'wrong'"}


@adversary(tries="bad JSON", twin=NOTHING_DONE)
def bad_json(work):
    work.notebook = b'{"cells": [}'


@adversary(tries="a notebook that was cut off", twin=NOTHING_DONE)
def cut_off(work):
    work.notebook = json.dumps(work.notebook).encode()[:-200]


@adversary(tries="JSON 100,000 levels deep", twin=NOTHING_DONE)
def deep_json(work):
    work.notebook = b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@adversary(tries="a cell 50,000 levels deep in an otherwise right notebook", twin=NOTHING_DONE)
def deep_cell(work):
    text = json.dumps(work.notebook)
    work.notebook = text.replace('"cells": [', '"cells": [' + "[" * 50_000 + "]" * 50_000 + ",", 1).encode()


@adversary(tries="a code cell nested 20,000 brackets deep", costs=[DOUBLE])
def deep_code(work):
    work.answer(DOUBLE, "x = " + "(" * 20_000 + ")" * 20_000)


@adversary(tries="a notebook of 100 MB", twin=NOTHING_DONE)
def hundred_megabytes(work):
    work.notebook["metadata"]["filler"] = "$FILLER"
    text = json.dumps(work.notebook)
    with (work.folder / work.file).open("w", encoding="utf-8") as stream:
        before, after = text.split("$FILLER")
        stream.write(before)
        for _ in range(100):
            stream.write("x" * 1_000_000)
        stream.write(after)
    work.notebook = None


@adversary(tries="NUL bytes", twin=NOTHING_DONE)
def nul_bytes(work):
    work.notebook = b"\0" * 1000 + json.dumps(work.notebook).encode()


@adversary(tries="NUL and lone surrogates in an answer", costs=[DOUBLE])
def nul_in_answer(work):
    work.answer(DOUBLE, "x = '\0\ud800'\ndef double(x): return 2 * x")


@adversary(tries="bytes that are no UTF-8", twin=NOTHING_DONE)
def invalid_utf8(work):
    work.notebook = json.dumps(work.notebook).encode().replace(b"def double", b"def \xff\xfe")


@adversary(tries="the notebook is missing", twin=NOTHING_DONE)
def missing_notebook(work):
    work.notebook = None


@adversary(tries="two notebooks under other names, both with answers", twin=NOTHING_DONE)
def two_renamed_notebooks(work):
    for name in ("final.ipynb", "final2.ipynb"):
        (work.folder / name).write_text(json.dumps(work.notebook))
    work.notebook = None


@adversary(tries="the notebook is a folder", twin=NOTHING_DONE)
def notebook_is_a_folder(work):
    (work.folder / work.file).mkdir()
    (work.folder / work.file / "x.ipynb").write_text(json.dumps(work.notebook))
    work.notebook = None


@adversary(tries="the notebook is a list of notebooks", twin=NOTHING_DONE)
def a_list(work):
    work.notebook = json.dumps([work.notebook]).encode()


@adversary(tries="a notebook of format 3", twin=NOTHING_DONE)
def old_format(work):
    work.notebook = json.dumps({"nbformat": 3, "worksheets": [{"cells": []}], "metadata": {}}).encode()


@adversary(tries="the notebook is a link to a classmate's", twin=NOTHING_DONE, flagged=["unfit file"])
def link_to_a_classmate(work):
    theirs = work.folder.parents[1] / "aaron" / work.lab.name / work.file
    (work.folder / work.file).symlink_to(theirs)
    work.notebook = None


@adversary(tries="the notebook is a link to the solution", twin=NOTHING_DONE, flagged=["unfit file"])
def link_to_the_solution(work):
    (work.folder / work.file).symlink_to(work.text(f"$COURSE/solutions/{work.lab.name}/{work.file}"))
    work.notebook = None


@adversary(tries="links to the gradebook, a home folder and the root", flagged=["unfit file"])
def links_beside(work):
    for name, target in {"a.db": "$COURSE/course/gradebook.db", "ssh": "$HOME/.ssh", "all": "/", "self": "."}.items():
        (work.folder / name).symlink_to(work.text(target))
    (work.folder / "model.onnx").symlink_to(work.text("$HOME/.ssh/id_ed25519"))


@adversary(tries="a hard link to the secret of a home folder, as a model", twin=WRONG)
def hard_link(work):
    os.link(work.text("$HOME/.bashrc"), work.folder / "model.onnx")


@adversary(tries="named pipes that nobody writes to", twin=NOTHING_DONE, flagged=["unfit file"])
def named_pipes(work):
    os.mkfifo(work.folder / work.file)
    os.mkfifo(work.folder / "model.onnx")
    os.mkfifo(work.folder / "timestamp.txt")
    work.notebook = None


@adversary(tries="a device that never ends, as a model", flagged=["unfit file"])
def devices(work):
    try:
        os.mknod(work.folder / "model.onnx", 0o20666, os.makedev(1, 5))  # /dev/zero, which only root may make
    except PermissionError:
        (work.folder / "model.onnx").symlink_to("/dev/zero")


@adversary(tries="a time stamp that is no time")
def malformed_timestamp(work):
    work.beside("timestamp.txt", "yesterday\0\n" * 3)


@adversary(tries="a time stamp in the far future", flagged=["impossible time"])
def future_timestamp(work):
    work.beside("timestamp.txt", "9999-12-31 23:59:59 UTC")


@adversary(tries="a time stamp of 10 MB", flagged=["impossible time"])
def huge_timestamp(work):
    work.beside("timestamp.txt", "2" * 10_000_000)


@adversary(tries="a thousand and more files, and folders 60 deep", flagged=["unfit file"])
def many_files(work):
    for number in range(1_100):
        work.beside(f"many/{number}", b"")
    work.beside("/".join(["deep"] * 60) + "/x", b"x")


@adversary(tries="a file of 120 MB beside the notebook", flagged=["unfit file"])
def giant_file(work):
    with (work.folder / "giant.bin").open("wb") as stream:
        stream.truncate(120_000_000)  # sparse: costs this machine nothing


@adversary(tries="names that only differ by case, with spaces, quotes, newlines and dashes")
def odd_file_names(work):
    (work.folder / work.file.upper()).write_text("{}")
    for name in ("-rf", "a\nb", "'; DROP TABLE grade; --", "$(touch x)", "é" * 100, "\udcff\udcfe"):
        (work.folder / name).write_text("x")


SHADOWS = {
    name: "raise SystemExit('a file of the student was imported')\n"
    for name in ("numpy.py", "json.py", "onnx.py", "sitecustomize.py", "usercustomize.py", "conftest.py", "logging.py")
}


@adversary(tries="modules, start-up files and configurations beside the notebook take the place of real ones")
def shadowing_files(work):
    for name, text in SHADOWS.items():
        work.beside(name, text)
    work.beside("yolotrt_lab/__init__.py", "raise SystemExit")
    work.beside("yolotrt_lab/grading/__init__.py", "def check(name): return 6.0")
    work.beside("evil.pth", "import os; os.environ['SHADOW'] = '1'\n")
    work.beside("pytest.ini", "[pytest]\naddopts = --collect-only\n")
    work.beside("ipython_config.py", "c.InteractiveShellApp.exec_lines = ['import os; os._exit(0)']\n")
    work.beside(".ipython/profile_default/startup/00.py", "import os; os._exit(0)\n")
    work.beside("nbgrader_config.py", "raise SystemExit\n")
    work.beside("jupyter_config.json", "{")


@adversary(tries="the notebook asks for a kernel that a file beside it declares", twin=WRONG)
def evil_kernelspec(work):
    spec = {"argv": ["/bin/sh", "-c", "touch /tmp/$TOKEN-kernel"], "display_name": "evil", "language": "python"}
    for place in ("jupyter/kernels/evil", ".local/share/jupyter/kernels/evil", "kernels/evil"):
        work.beside(f"{place}/kernel.json", json.dumps(spec))
    work.notebook["metadata"]["kernelspec"] = {"name": "evil", "display_name": "evil", "language": "python"}


@adversary(tries="the notebook asks for a kernel with a path as its name")
def kernelspec_with_a_path(work):
    work.notebook["metadata"]["kernelspec"] = {"name": "../../../../tmp/evil", "display_name": "x", "language": "sh"}
    work.notebook["metadata"]["language_info"] = {"name": "bash"}
