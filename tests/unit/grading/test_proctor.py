"""The proctor records in the check cells' place, whatever the notebook has done to names and environment."""

import json
import subprocess
import sys

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading import proctor

KERNEL = """
import os, sys
from IPython.core.interactiveshell import InteractiveShell
from yolotrt_lab.grading import proctor
proctor.install()
shell = InteractiveShell.instance()
for source in sys.argv[1:]:
    shell.run_cell(source, store_history=True).raise_error()
print(proctor.take("lab0.clip"))
"""


def run(cells, folder, suite, program=KERNEL):
    environment = {
        "PATH": "/usr/bin:/bin",
        "YOLOTRT_RECORD": str(folder),
        "YOLOTRT_GRADING_SUITE": str(suite),
        "YOLOTRT_HIDDEN_SEED": "7",
        "HOME": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-c", program, *cells], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("lab0.clip/*/record.json"))}


ANSWER = """
import numpy as np
def clip(values, limit):
    return np.clip(values, -limit, limit)
"""


@pytest.mark.parametrize(
    "trick",
    [
        "check = lambda name: None",
        "import os; os.environ.clear()",
        "import os; os.environ['YOLOTRT_RECORD'] = '/nowhere'",
        "get_ipython = None",
    ],
)
def test_it_takes_the_answer_whatever_names_mean(tmp_path, suite, trick):
    records = run([ANSWER, trick], tmp_path, suite)
    assert {key: content["status"] for key, content in records.items()} == {
        "hidden-0": "returned",
        "public-0": "returned",
        "public-1": "returned",
    }


def test_no_answer(tmp_path, suite):
    assert {content["status"] for content in run(["x = 1"], tmp_path, suite).values()} == {"missing"}


def test_nothing_is_taken_before_it_is_installed():
    with pytest.raises(InputError, match="not installed"):
        proctor.take("lab0.clip")


def test_orders_are_needed():
    with pytest.raises(InputError, match="YOLOTRT_RECORD"):
        proctor.install()
