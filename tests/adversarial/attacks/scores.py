"""Scores of one's own making: printed, returned, raised."""

from arena import DOUBLE, SMALLEST, adversary

WRONG = {DOUBLE: "def double(x):\n    return 'wrong'", SMALLEST: "def smallest(values):\n    return -1, -1"}
POOR_DOUBLE = WRONG[DOUBLE]
POOR = WRONG[SMALLEST]


def _score(work, value):
    """Have `check` return a value, and a comparison that counts points be that value."""
    work.answer(DOUBLE, f"{POOR_DOUBLE}\n\ndef check(name):\n    return {value}\n")
    odd = f"class Odd(int):\n    def __eq__(self, other): return {value}\n    __hash__ = int.__hash__\n"
    work.answer(SMALLEST, f"{odd}\ndef smallest(values):\n    return Odd(-1), Odd(-1)\n")


@adversary(tries="a negative score", twin=WRONG)
def negative_score(work):
    _score(work, -5)


@adversary(tries="a score that is no number", twin=WRONG)
def nan_score(work):
    _score(work, "float('nan')")


@adversary(tries="an infinite score", twin=WRONG)
def infinite_score(work):
    _score(work, "float('inf')")


@adversary(tries="a score of a billion", twin=WRONG)
def huge_score(work):
    _score(work, "10 ** 9")


@adversary(tries="`check` says nothing", twin=WRONG)
def silent_check(work):
    work.answer(DOUBLE, f"{POOR_DOUBLE}\n\ndef check(name):\n    pass\n")


@adversary(tries="`check` shows a verdict in the grader's own media type", twin=WRONG)
def forged_verdict(work):
    work.answer(
        DOUBLE,
        f"""{POOR_DOUBLE}

def check(name):
    from IPython.display import display
    verdict = {{"exercise_id": name, "title": "", "state": "passed", "note": "", "reading": "", "tests": [
        {{"name": "test_all", "title": "all", "points": 6, "passed": True}}]}}
    display({{"application/vnd.yolotrt.result+json": verdict, "text/plain": "6.0"}}, raw=True)
""",
    )


@adversary(tries="a partial score is the value of a comparison that lies", twin=WRONG)
def lying_comparison(work):
    work.answer(
        SMALLEST,
        """class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __float__(self): return 3.0
    def __int__(self): return 1
    def __mul__(self, other): return 2 * other
    __rmul__ = __mul__
    __hash__ = None

def smallest(values):
    return Yes(), Yes()
""",
    )


@adversary(tries="a number whose equality lies", twin={DOUBLE: "def double(x):\n    return 7"})
def lying_number(work):
    work.answer(
        DOUBLE,
        """class Twice(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = int.__hash__

def double(x):
    return Twice(7)
""",
    )


@adversary(tries="every name of the tests is replaced: `assert` needs none, `print` and `isinstance` do", twin=WRONG)
def patched_builtins(work):
    work.answer(
        DOUBLE,
        f"""import builtins
builtins.isinstance, builtins.abs = (lambda *_: True), (lambda _: 0)
builtins.AssertionError = type("Fine", (BaseException,), {{}})
{POOR_DOUBLE}
""",
    )
