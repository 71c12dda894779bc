"""Answers that lie, and answers that change their tools: no point gained, and the instructor hears of it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kernels import take

SUITE = Path(__file__).parents[2] / "unit" / "grading" / "sample_suite"

WRONG = "def clip(values, limit):\n    return np.minimum(values, limit)\n"
RIGHT = "def clip(values, limit):\n    return np.clip(values, -limit, limit)\n"
# The wrong twin of each cheat has the points of shape, dtype and inputs left alone.
HONEST_WRONG = 3

CHEATS = {
    "an __eq__ that agrees": """
class Agrees(np.ndarray):
    def __eq__(self, other): return np.ones(self.shape, bool)
    def __array_ufunc__(self, *_, **__): return np.ones(8, bool)
    def __array_function__(self, *_): return True
def clip(values, limit): return np.minimum(values, limit).view(Agrees)
""",
    "floats that are what one wants": """
class Any(float):
    def __eq__(self, other): return True
    def __sub__(self, other): return 0.0
    __hash__ = float.__hash__
def clip(values, limit): return [Any(v) for v in np.minimum(values, limit)]
""",
    "an object that poses as an array": """
class Posing:
    __class__ = np.ndarray
    dtype, shape = np.dtype("float64"), (8,)
    def __array__(self, *_, **__): return np.zeros(8)
def clip(values, limit): return Posing()
""",
    "NaN": "def clip(values, limit): return np.full(8, np.nan)",
    "NumPy's comparisons patched": """
for name in ("allclose", "array_equal", "isclose"):
    setattr(np, name, lambda *_, **__: True)
np.testing.assert_allclose = lambda *_, **__: None
def clip(values, limit): return np.minimum(values, limit)
""",
    "NumPy's comparisons patched from inside": """
def clip(values, limit):
    np.allclose.__wrapped__.__code__ = (lambda *_, **__: True).__code__
    return np.minimum(values, limit)
""",
    "the clock patched": """
import time
time.perf_counter = time.perf_counter_ns = time.monotonic = lambda: 0
def clip(values, limit): return np.minimum(values, limit)
""",
    "the recorder patched": """
import yolotrt_lab.grading.recording as recording
import yolotrt_lab.grading.codec as codec
recording.encode = codec.encode = lambda value, folder: 1.0
recording._call = lambda *_, **__: {"status": "returned", "output": 1.0}
def clip(values, limit): return np.minimum(values, limit)
""",
    "a module of the suite put in place": """
import sys, types
fake = types.ModuleType("yolotrt_suite_lab0_clip")
fake.inputs = lambda case, rng: {"values": np.zeros(8), "limit": 2.0}
sys.modules[fake.__name__] = fake
def clip(values, limit): return np.minimum(values, limit)
""",
    "known inputs looked up": """
import hashlib
KNOWN = {}
def clip(values, limit):
    key = hashlib.sha256(values.tobytes()).hexdigest()
    return KNOWN.get(key, np.minimum(values, limit))
""",
    "the grader told by its environment": """
import os
def clip(values, limit):
    return np.minimum(values, limit) if "YOLOTRT_RECORD" in os.environ else np.zeros(8)
""",
    "frames searched for expected values": """
import sys
def clip(values, limit):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if getattr(value, "expected", None) is not None: return value.expected
        frame = frame.f_back
    return np.minimum(values, limit)
""",
    "the heap searched for expected values": """
import gc
def clip(values, limit):
    found = [o for o in gc.get_objects() if isinstance(o, np.ndarray) and o.shape == (8,) and (abs(o) <= limit).all()]
    return np.minimum(values, limit)
""",
    "the suite read": """
import os
from pathlib import Path
SUITE = Path(os.environ["YOLOTRT_GRADING_SUITE"])
def clip(values, limit):
    text = (SUITE / "lab0" / "test_clip.py").read_text()
    return np.minimum(values, limit)
""",
    "records written beforehand": """
import json, os
from pathlib import Path
for key in ("public-0", "public-1", "hidden-0"):
    place = Path(os.environ["YOLOTRT_RECORD"]) / "lab0.clip" / key
    place.mkdir(parents=True)
    (place / "record.json").write_text(json.dumps({"status": "returned", "output": [0.0] * 8}))
def clip(values, limit): return np.minimum(values, limit)
""",
    "another answer at the second call": """
calls = []
def clip(values, limit):
    calls.append(1)
    return np.clip(values, -limit, limit) if len(calls) == 1 else np.minimum(values, limit)
""",
    "a pickle": """
import os, pickle
class Bomb:
    def __reduce__(self): return (os.system, ("touch pwned",))
def clip(values, limit): return pickle.dumps(Bomb())
""",
    "an array of objects": """
class Anything:
    def __reduce__(self): return (print, ("pwned",))
def clip(values, limit): return np.array([Anything()] * 8, dtype=object)
""",
}

NOTICED = {
    "NumPy's comparisons patched": "integrity: replaced",
    "NumPy's comparisons patched from inside": "integrity: replaced",
    "the clock patched": "integrity: replaced",
    "the recorder patched": "integrity: replaced",
    "the grader told by its environment": "looks for the grader",
    "frames searched for expected values": "integrity: frames",
    "the heap searched for expected values": "integrity: heap",
    "the suite read": "integrity: grader files",
    "records written beforehand": "integrity: records",
}


@pytest.mark.parametrize("name", CHEATS)
def test_lying_gains_nothing(name, tmp_path):
    taken = take(["import numpy as np", CHEATS[name]], tmp_path, exercises=("lab0.clip",), suite=SUITE)
    assert taken.score <= HONEST_WRONG
    assert set(taken.records["lab0.clip"]) == {"public-0", "public-1", "hidden-0"}
    assert not list(tmp_path.rglob("pwned"))
    if name in NOTICED:
        assert NOTICED[name] in taken.findings, taken.findings


def test_the_twins(tmp_path):
    """Honest work, right and wrong, has its points and no findings."""
    wrong = take(["import numpy as np", WRONG], tmp_path / "wrong", exercises=("lab0.clip",), suite=SUITE)
    assert (wrong.score, wrong.findings) == (HONEST_WRONG, {})
    busy = (
        "import time, json, logging\ntime.sleep(0)\nlogging.getLogger().warning('x')\nnp.set_printoptions(precision=3)"
    )
    right = take(["import numpy as np", busy, RIGHT], tmp_path / "right", exercises=("lab0.clip",), suite=SUITE)
    assert (right.score, right.findings) == (5, {})


def test_tools_that_were_patched_work_again_for_the_answer(tmp_path):
    """The patch breaks an otherwise right answer; it is put back before the answer is called."""
    cells = ["import numpy as np", RIGHT, "np.clip = lambda *_, **__: np.zeros(8)"]
    taken = take(cells, tmp_path, exercises=("lab0.clip",), suite=SUITE)
    assert taken.score == 5
    assert "numpy.clip" in taken.findings["integrity: replaced"]
