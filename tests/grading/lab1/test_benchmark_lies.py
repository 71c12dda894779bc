"""lab1.benchmark_lies: find the lies in a benchmark, and the lines where they are told."""

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points, sibling

listings = sibling(__file__, "listings")

EXERCISE = Exercise(
    id="lab1.benchmark_lies",
    title="Spot the lies in a benchmark",
    objective="Read a benchmark and name the lines that make its result worthless.",
    answer="find_lies",
    difficulty=3,
    minutes=25,
    cases=("the article", "an honest one", "warm-ups", "some lies", "three models"),
    hidden=("an honest one", "warm-ups", "one lie", "some lies", "some lies", "three models", "three models"),
    seconds=5.0,
    reading="https://docs.nvidia.com/deeplearning/tensorrt/10.16.1/performance/best-practices.html",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    return {"steps": listings.make_listing(case, rng)}


def _told(answer) -> set[tuple[int, str]]:
    """Return the student's (line, kind) pairs; raises Mismatch if they have another form."""
    told = set()
    for index in range(len(answer.list())):
        pair = answer.item(index)
        pair.list(length=2)
        line, kind = pair.item(0).integer(), pair.item(1).text()
        if kind not in listings.KINDS:
            raise Mismatch(expected=f"a kind out of {', '.join(listings.KINDS)}", seen=repr(kind)[:60])
        told.add((line, kind))
    return told


def _code(steps, line: int) -> str:
    return next((step["code"].strip() for step in steps if step["line"] == line), "no line of the script")


@points(2)
def test_lies_come_as_lines_and_kinds(answer):
    """Each lie is a pair of a line of the script and a kind, named once."""
    told, steps = _told(answer), answer.inputs["steps"]
    expect(len(told) == len(answer.list()), expected="each lie once", seen=f"{len(answer.list())} for {len(told)}")
    lines = {step["line"] for step in steps}
    strange = sorted(line for line, _ in told if line not in lines)
    expect(
        not strange,
        expected="line numbers as the steps have them under `line`",
        seen=f"line {strange[0]}, which is not in the script" if strange else "",
        misconception="The place of a step in the list is not its line number: blank lines and comments are left out.",
    )
    expect(not answer.changed_inputs, expected="the steps as they were", seen="changed steps")


_FALSE_ALARM = {
    "cold start": "A model is warm once it was called, timed or not, and stays so until it is loaded again. Each model "
    "is warm or cold for itself.",
    "no synchronisation": "What counts is whether something is still unfinished at this very line: one `synchronize` "
    "finishes all calls before it.",
    "extra work": "Work between `stop clock` and the next `start clock` costs nobody anything.",
    "unequal work": "Only timed calls are compared, each with the first timed call of the script. What a model is "
    "warmed up with does not show in its time.",
    "picked number": "The median and the percentiles p90 and p99 are fair ways to say how long a call takes.",
}
_MISSED = {
    "cold start": "Who was called before its clock started? A model that is loaded again starts cold again, and one "
    "model's warm-up does not warm another.",
    "no synchronisation": "Calls return before the work is done. Follow the unfinished work from line to line: it must "
    "not be there when the clock is started, nor when it is stopped.",
    "extra work": "Between start and stop, everything but the call and the wait for it is charged to the model.",
    "unequal work": "Eight images in one call are not the same work as one image: compare the batches of timed calls.",
    "picked number": "The fastest call, the first call and a mean from which calls were removed are chosen, not "
    "measured.",
}


@points(4)
def test_honest_lines_are_not_accused(answer):
    """No honest line is called a lie."""
    told, steps = _told(answer), answer.inputs["steps"]
    right = listings.lies_of(steps)
    wrong = sorted(told - right)
    if wrong:
        line, kind = wrong[0]
        raise Mismatch(
            expected="no honest line accused",
            seen=f"{kind} in line {line}: {_code(steps, line)}",
            misconception=_FALSE_ALARM[kind],
        )
    if right and not told and answer.case.name == "the article":
        raise Mismatch(
            expected="some of the five lies of the article",
            seen="none",
            misconception="Who accuses nobody makes no mistake here, and finds nothing either.",
        )


def _require(answer, kinds: tuple[str, ...]) -> None:
    told, right = _told(answer), listings.lies_of(answer.inputs["steps"])
    for kind in kinds:
        there = {line for line, name in right if name == kind}
        missed = there - {line for line, name in told if name == kind}
        if missed:
            elsewhere = sorted(name for line, name in told if line in missed)
            raise Mismatch(
                expected=f"all lies of the kind {kind!r} ({len(there)} in this script), each at its line",
                seen=f"{len(missed)} missed" + (f"; that line is called {', '.join(elsewhere)}" if elsewhere else ""),
                misconception=_MISSED[kind],
            )


@points(4)
def test_lies_about_time_are_found(answer):
    """Finds cold starts, and clocks read while work was unfinished."""
    _require(answer, ("cold start", "no synchronisation"))


@points(4)
def test_lies_about_work_and_numbers_are_found(answer):
    """Finds extra and unequal work, and picked numbers."""
    _require(answer, ("extra work", "unequal work", "picked number"))
