"""Answers that lie about themselves, and libraries made to lie for them; tests/adversarial/answers has more of them."""

from arena import DOUBLE, SCALE, SMALLEST, adversary

POOR_SCALE = {SCALE: "def scale(values, factor):\n    return values * 0"}
POOR_BOTH = {**POOR_SCALE, SMALLEST: "def smallest(values):\n    return -1, -1"}
KNOWN = {DOUBLE: "def double(x):\n    return 0"}


@adversary(tries="NumPy's comparisons are replaced", twin=POOR_SCALE, flagged=["integrity: replaced"])
def patched_numpy(work):
    work.before(
        SCALE,
        """import numpy as np
np.testing.assert_allclose = np.testing.assert_array_equal = lambda *_, **__: None
np.allclose = np.array_equal = lambda *_, **__: True
np.isclose = lambda a, b, **_: np.ones(np.shape(a), bool)
np.abs = lambda values: values * 0
""",
    )


@adversary(tries="an array whose comparisons lie, and that is another one when it is saved", twin=POOR_SCALE)
def lying_array(work):
    work.answer(
        SCALE,
        """import numpy as np

class Fine(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **_):
        return np.ones(self.shape, bool) if ufunc.nout == 1 else None
    def __array_function__(self, *_, **__): return True
    def __eq__(self, other): return np.ones(self.shape, bool)
    def __reduce__(self): return eval, ("__import__('os').system('touch /tmp/$TOKEN-pickle')",)

def scale(values, factor):
    return (values * 0).view(Fine)
""",
    )


@adversary(
    tries="clocks that stand still or run backwards, random numbers that are not",
    twin=POOR_SCALE,
    flagged=["integrity: replaced"],
)
def patched_clocks(work):
    work.before(
        SCALE,
        """import random, time
import numpy as np
time.perf_counter = time.monotonic = time.time = lambda: 0.0
time.perf_counter_ns = time.monotonic_ns = lambda: -1
np.random.default_rng = lambda *_: None
random.random = lambda: 4
""",
    )


@adversary(tries="the inputs that are known are looked up in a table", twin=KNOWN)
def hard_coded(work):
    work.answer(DOUBLE, "TABLE = {3: 6, -7919000: -15838000}\ndef double(x):\n    return TABLE.get(x, 0)")


@adversary(tries="the inputs are changed in place, so that a wrong answer becomes right", twin=POOR_BOTH)
def changed_inputs(work):
    work.answer(
        SCALE,
        """def scale(values, factor):
    values *= 0
    return values
""",
    )
    work.answer(SMALLEST, "def smallest(values):\n    values[:] = [-1]\n    return -1, 0")
