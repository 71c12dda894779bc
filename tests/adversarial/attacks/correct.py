"""Right work that looks odd, is noisy, or went through other editors: it loses nothing and is not suspected."""

import json

from arena import DOUBLE, SCALE, SMALLEST, WRITTEN, correct


@correct(tries="writes to stderr")
def noise_on_stderr(work):
    work.answer(DOUBLE, "import sys\n\ndef double(x):\n    print('careful', file=sys.stderr)\n    return 2 * x")


@correct(tries="warnings, also turned into errors for the rest of the notebook")
def warns(work):
    work.answer(
        DOUBLE,
        """import warnings
warnings.warn("deprecated", DeprecationWarning)
warnings.simplefilter("error")

def double(x):
    return 2 * x
""",
    )


@correct(tries="logging, with a handler of its own")
def logs(work):
    work.answer(
        SCALE,
        """import logging
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("mine").error("an error that is none")

def scale(values, factor):
    logging.debug("scaling %s", values)
    return values * factor
""",
    )


@correct(tries="a module that takes two seconds to import")
def slow_import(work):
    work.before(
        DOUBLE,
        """from pathlib import Path
Path("slow_module.py").write_text("import time\\ntime.sleep(2)\\nvalue = 2\\n")
import sys
sys.path.insert(0, "")
from slow_module import value
""",
    )


@correct(tries="much, but legal output: 20,000 lines and a line of 300,000 characters")
def much_output(work):
    work.after(DOUBLE, "for number in range(20_000):\n    print('line', number)\nprint('x' * 300_000)")


@correct(tries="identifiers, texts and a name in other scripts")
def zoë_müller(work):
    work.answer(
        DOUBLE,
        """def twice_größe(größe):
    'Удвоить. 二倍 🙂'
    return 2 * größe


def double(x):
    π = twice_größe(x)
    return π
""",
    )
    work.answer(WRITTEN, "Weil zwei mehr sind als eins. 因為二大於一。 🙂")


@correct(tries="Windows line ends and tabs")
def windows_line_ends(work):
    for cell in work.notebook["cells"]:
        cell["source"] = cell["source"].replace("\n", "\r\n")
    work.answer(DOUBLE, "def double(x):\r\n\treturn x + x\r\n")


@correct(tries="cells of one's own between, before and behind the answers")
def extra_cells(work):
    for index in (9, 6, 3, 0):
        work.insert(index, "import time\nnotes = [1, 2, 3]\nraise ValueError('an experiment')")
        work.insert(index, "Some *notes*.", cell_type="markdown")


@correct(tries="cells in another order")
def reordered_cells(work):
    work.notebook["cells"].reverse()


@correct(tries="an answer copied to a second cell with the same id, the first left as it was released")
def split_answer(work):
    cell = dict(work.cell(DOUBLE))
    work.cell(DOUBLE)["source"] = "def helper(x):\n    return x"
    work.notebook["cells"].insert(work.notebook["cells"].index(work.cell(DOUBLE)) + 1, cell)
    cell["source"] = "def double(x):\n    return helper(x) + helper(x)"


@correct(tries="magics: line, cell, shell")
def magics(work):
    work.answer(
        DOUBLE,
        """%matplotlib inline
%load_ext autoreload
%autoreload 2
!echo a shell
files = !ls
%timeit -n1 -r1 2 + 2

def double(x):
    return 2 * x
""",
    )
    work.answer(SCALE, "%%time\ndef scale(values, factor):\n    return values * factor\n")


@correct(tries="progress bars with carriage returns")
def progress_bars(work):
    work.answer(
        DOUBLE,
        """from tqdm.auto import tqdm

def double(x):
    for step in tqdm(range(50)):
        print(step, end="\\r")
    return 2 * x
""",
    )


@correct(tries="cell ids that an editor removed, in a notebook of format 4.2")
def no_cell_ids(work):
    work.notebook["nbformat_minor"] = 2
    for cell in work.notebook["cells"]:
        cell.pop("id", None)


@correct(tries="grading marks that an editor removed; the cells' ids are left")
def no_marks(work):
    for cell in work.notebook["cells"]:
        cell["metadata"] = {}


@correct(tries="a notebook as Colab saves it")
def from_colab(work):
    work.notebook["metadata"] = {
        "colab": {"provenance": [], "toc_visible": True},
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"},
        "accelerator": "GPU",
    }
    work.notebook["nbformat_minor"] = 0
    for number, cell in enumerate(work.notebook["cells"]):
        cell["metadata"] = {"id": f"aB{number}", "outputId": "x", "colab": {"base_uri": "x"}, **cell["metadata"]}
        cell["source"] = cell["source"].splitlines(keepends=True)
        cell.pop("id", None)


@correct(tries="a notebook as VS Code saves it, with a byte order mark")
def from_vscode(work):
    work.notebook["metadata"]["kernelspec"] = {"display_name": ".venv", "language": "python", "name": "venv-of-mine"}
    work.notebook["metadata"]["language_info"] = {"name": "python", "version": "3.13.1", "file_extension": ".py"}
    for cell in work.notebook["cells"]:
        cell["metadata"]["vscode"] = {"languageId": "python"}
    work.notebook = b"\xef\xbb\xbf" + json.dumps(work.notebook, indent=1, ensure_ascii=False).encode()


@correct(tries="outputs with errors left in, of a run in another order")
def old_outputs(work):
    error = {"output_type": "error", "ename": "NameError", "evalue": "x", "traceback": ["\x1b[31mNameError\x1b[0m"]}
    for number, cell in enumerate(work.notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [error], 99 - number


@correct(tries="a callable object instead of a function")
def callable_object(work):
    work.answer(DOUBLE, "class Double:\n    def __call__(self, x):\n        return 2 * x\n\ndouble = Double()")
    work.answer(SCALE, "import functools, operator\nscale = lambda values, factor: operator.mul(values, factor)")


@correct(tries="a class that is made instead of a function")
def class_with_new(work):
    work.answer(DOUBLE, "class double:\n    def __new__(cls, x):\n        return x + x")


@correct(tries="`from __future__ import annotations`, type hints, decorators, a cache")
def modern_code(work):
    work.answer(
        DOUBLE,
        """from __future__ import annotations
import functools
from dataclasses import dataclass

@dataclass(frozen=True, slots=True)
class Number:
    value: Undefined

@functools.cache
def double(x: Undefined) -> Undefined:
    return Number(x).value * 2
""",
    )


@correct(tries="an async helper, and await at the top of a cell")
def async_helper(work):
    work.answer(
        DOUBLE,
        """import asyncio

async def slowly(x):
    await asyncio.sleep(0)
    return 2 * x

four = await slowly(2)

def double(x):
    coroutine = slowly(x)
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value
""",
    )


@correct(tries="figures that are shown and left open")
def figures(work):
    work.answer(
        SCALE,
        """import matplotlib.pyplot as plt

def scale(values, factor):
    plt.figure()
    plt.plot(values)
    return values * factor

scale(__import__("numpy").arange(3.0), 2.0)
plt.show()
""",
    )


@correct(tries="threads that are joined, a process that is waited for")
def threads_and_processes(work):
    work.answer(
        SCALE,
        """import subprocess
from concurrent.futures import ThreadPoolExecutor

print(subprocess.run(["echo", "7"], capture_output=True, text=True).stdout)

def scale(values, factor):
    with ThreadPoolExecutor(4) as pool:
        return __import__("numpy").array(list(pool.map(lambda value: value * factor, values)))
""",
    )


@correct(tries="another working folder, files of its own, an environment variable")
def other_folder(work):
    work.answer(
        DOUBLE,
        """import os, tempfile
os.environ["MINE"] = "1"
os.chdir(tempfile.mkdtemp())
open("notes.txt", "w").write("x" * 1000)

def double(x):
    open(f"{x}.txt", "w").write(str(x))
    return 2 * x
""",
    )


@correct(tries="names of its own that the grader uses too")
def clashing_names(work):
    work.before(DOUBLE, "record = json = sys = os = np = loaded = answer = result = take = install = 3\ndel sys\n")


@correct(tries="calls `check` itself, in the answer cell, before and after it is right")
def checks_itself(work):
    work.answer(
        DOUBLE,
        """def double(x):
    return 0
check("lab0.double")
def double(x):
    return 2 * x
check("lab0.double")
""",
    )


@correct(tries="numbers of NumPy, a list for a tuple, an array of another order and width")
def other_types(work):
    work.answer(DOUBLE, "import numpy as np\ndef double(x):\n    return np.int64(2) * x")
    work.answer(SMALLEST, "import numpy as np\ndef smallest(values):\n    return [min(values), np.argmin(values)]")
    work.answer(
        SCALE, "import numpy as np\ndef scale(values, factor):\n    return np.asfortranarray(values * factor)[::1]"
    )


@correct(tries="a seed, print options and error settings of NumPy")
def numpy_settings(work):
    work.before(
        SCALE,
        """import numpy as np
np.random.seed(0)
np.set_printoptions(precision=1, threshold=3)
np.seterr(all="raise")
""",
    )


@correct(tries="a deep recursion limit and a recursive answer")
def recursive(work):
    work.answer(
        SMALLEST,
        """import sys
sys.setrecursionlimit(50_000)

def smallest(values, place=0):
    if place == len(values) - 1:
        return values[place], place
    value, where = smallest(values, place + 1)
    return (values[place], place) if values[place] <= value else (value, where)
""",
    )


@correct(tries="an exception that it catches itself, a finally, a generator, a context manager")
def unusual_flow(work):
    work.answer(
        DOUBLE,
        """import contextlib

@contextlib.contextmanager
def doubling(x):
    yield 2 * x

def double(x):
    try:
        raise KeyboardInterrupt
    except BaseException:
        with contextlib.suppress(SystemExit):
            raise SystemExit
    finally:
        with doubling(x) as result:
            return result
""",
    )


@correct(tries="quit() and exit() at the end of an answer cell")
def quits_at_the_end(work):
    work.after(DOUBLE, "quit()")
    work.after(SMALLEST, "exit")


@correct(tries="a cell that fails after the answer was defined")
def fails_after_the_answer(work):
    work.after(DOUBLE, "assert double(2) == 5, 'my own test is wrong'")
