"""lab3.bisect_divergence: find the first tensor that differs, with as few looks as possible."""

from __future__ import annotations

import math

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points, sibling

networks = sibling(__file__, "networks")

ORDINARY = ("in the middle", "a thousand tensors", "two graphs", "errors that grow")
EDGES = ("at the first", "at the last", "nowhere", "one good tensor", "one bad tensor", "no tensors")
NAN = ("NaN from there on",)

EXERCISE = Exercise(
    id="lab3.bisect_divergence",
    title="Bisect to the first divergence",
    objective="Find where a graph goes wrong in a number of looks that grows with the logarithm of its depth.",
    answer="bisect_divergence",
    difficulty=3,
    minutes=25,
    cases=ORDINARY + EDGES + NAN,
    hidden=ORDINARY * 2 + EDGES + NAN,
    forbidden=(
        "yolotrt_lab.export.divergence.first_divergence",
        "yolotrt_lab.export.divergence.locate_divergence",
    ),
    reading="https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/polygraphy/index.html",
)

TOLERANCE = 1e-3
_DEPTH = 24


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """Return the errors along a chain, or the parts of two graphs of which the second has a fault."""
    if case == "two graphs":
        kernels = rng.normal(0, 0.4, (_DEPTH, 4, 4, 3, 3)).astype(np.float32)
        images = rng.random((1, 4, 8, 8), np.float32)
        return {"kernels": kernels, "images": images, "fault": int(rng.integers(3, _DEPTH - 2))}
    count = {"a thousand tensors": 1000, "no tensors": 0}.get(
        case, 1 if case.startswith("one") else int(rng.integers(20, 60))
    )
    first = {"at the first": 0, "at the last": count - 1, "nowhere": count, "one good tensor": 1}.get(case)
    if first is None:
        first = int(rng.integers(2, count - 2)) if count > 4 else 0
    return {"errors": _errors(case, count, first, rng)}


def _errors(case: str, count: int, first: int, rng: np.random.Generator) -> np.ndarray:
    """Return relative errors: rounding before the fault, something larger from there on."""
    errors = rng.uniform(1e-8, 1e-5, count)
    errors[first:] = rng.uniform(0.02, 0.9, count - first)
    if case == "errors that grow":  # rounding adds up; the fault is small at first
        errors = np.geomspace(1e-7, TOLERANCE / 3, count)
        errors[first:] = np.geomspace(TOLERANCE * 2, 0.9, count - first)
    if case == "NaN from there on":
        errors[first:] = np.nan
    return errors


class _Oracle:
    """Tells the relative error of one tensor, and counts how often it is asked."""

    def __init__(self, errors) -> None:
        self.asked: list[str] = []
        self._errors = errors

    def __call__(self, tensor: str) -> float:
        self.asked.append(tensor)
        return float(self._errors(tensor))


def run(answer, **given) -> object:
    """Let the answer search, and count."""
    names, errors = _chain(given)
    oracle = _Oracle(errors)
    found = answer(list(names), oracle, TOLERANCE)
    return {"found": found, "calls": len(oracle.asked), "asked": oracle.asked[:50]}


def _chain(given: dict):
    """Return the names of the tensors in order, and what tells the error of one."""
    if "errors" in given:
        names = [f"tensor_{number}" for number in range(len(given["errors"]))]
        return names, lambda name: given["errors"][names.index(name)]
    good, bad = (_graph(given["kernels"], fault) for fault in (None, given["fault"]))
    names = [f"layer_{number}" for number in range(len(given["kernels"]))]

    def error(name: str) -> float:
        actual, expected = (_value(model, name, given["images"]) for model in (bad, good))
        return networks.relative_l2(actual, expected)

    return names, error


def _graph(kernels: np.ndarray, fault: int | None):
    """Return a chain of convolutions with leaky Relu; the one at `fault` lost its padding's symmetry."""
    nodes, constants, source = [], {}, "images"
    for number, kernel in enumerate(kernels):
        constants[f"w{number}"] = kernel
        pads = [2, 0, 0, 2] if number == fault else [1, 1, 1, 1]
        nodes.append(networks.node("Conv", f"{source} w{number}", f"conv_{number}", pads=pads))
        nodes.append(networks.node("LeakyRelu", f"conv_{number}", f"layer_{number}", alpha=0.2))
        source = f"layer_{number}"
    shape = ("batch", 4, 8, 8)
    return networks.model_of(nodes, inputs={"images": shape}, outputs={source: shape}, constants=constants)


def _value(model, name: str, images: np.ndarray) -> np.ndarray:
    """Run a graph up to one tensor."""
    cut = type(model)()
    cut.CopyFrom(model)
    cut.graph.output[0].name = name
    return networks.run_model(cut, images)


def _right(given: dict) -> str | None:
    """Return the first tensor that differs: the fault's by construction, not by asking."""
    names, _ = _chain(given)
    if "errors" not in given:
        return names[given["fault"]]
    for name, error in zip(names, given["errors"], strict=True):
        if not error <= TOLERANCE:
            return name
    return None


def _budget(given: dict) -> int:
    """Return how many questions tell n + 1 possibilities apart."""
    return math.ceil(math.log2(len(_chain(given)[0]) + 1))


def _check_found(answer) -> None:
    right, seen = _right(answer.inputs), answer.item("found").output
    if _same(seen, right):
        return
    names = _chain(answer.inputs)[0]
    raise Mismatch(expected=right or "None", seen=f"{seen}"[:80], misconception=_idea(seen, right, names))


def _same(seen: object, right: str | None) -> bool:
    return isinstance(seen, (str, type(None))) and seen == right


def _idea(seen: object, right: str | None, names: list[str]) -> str:
    if isinstance(seen, int) and not isinstance(seen, bool):
        return "Return the tensor's name, not its place."
    if right is None:
        return "Every tensor agrees here; there is nothing to find."
    if seen is None:
        return "Something differs here: is the last tensor, or the only one, ever looked at?"
    if isinstance(seen, str) and seen in names:
        step = names.index(seen) - names.index(right)
        if step == -1:
            return "That is the last tensor that agrees, one before the first that does not."
        if step > 0:
            return "That tensor differs, but an earlier one does too: keep looking to its left."
        return "That tensor agrees: the one to find lies further right."
    return ""


def picture(answer):
    """Show the errors along the depth, and where the search looked."""
    from yolotrt_lab.figures.agreement import error_along_depth

    names, error = _chain(answer.inputs)
    if not 1 < len(names) <= 100:
        return None
    right, seen = _right(answer.inputs), answer.item("found").output
    asked = [names.index(name) for name in answer.item("asked").list() if name in names][:12]
    figure = error_along_depth(
        [str(number) for number in range(len(names))],
        {"error (NaN leaves a gap)": [error(name) for name in names]},
        tolerance=TOLERANCE,
        looks=[str(number) for number in asked],
        first=None if right is None else str(names.index(right)),
    )
    figure.axes[0].set_xlim(-0.5, len(names) - 0.5)
    calls, found = answer.item("calls").integer(), seen if seen in names else "none of the tensors"
    return Drawing(
        figure,
        caption=f"The errors of “{answer.case.name}” by the tensors' numbers, and where you looked: the first "
        f"{len(asked)} of {calls} looks, in their order. You named {found}.",
        alt=f"The first tensor that differs: {right}. Looks of the answer: {calls}. It named {found}.",
    )


@points(4, cases=ORDINARY)
def test_the_first_that_differs(answer):
    """The first tensor that differs is found."""
    _check_found(answer)


@points(4, cases=ORDINARY)
def test_few_looks(answer):
    """No more looks than telling the possibilities apart takes."""
    names, calls, budget = _chain(answer.inputs)[0], answer.item("calls").integer(), _budget(answer.inputs)
    _check_found(answer)
    expect(
        0 < calls <= budget,
        expected=f"at most {budget} calls for {len(names)} tensors",
        seen=f"{calls} calls",
        misconception=_cost_idea(calls, budget, len(names), answer.item("asked").list()),
    )


def _cost_idea(calls: int, budget: int, count: int, asked: list) -> str:
    if calls == 0:
        return "Without a look at any tensor nothing can be known."
    if len(set(map(str, asked))) < len(asked):
        return "A tensor was looked at more than once, and each look runs both networks: keep what you know."
    if calls <= 2 * budget:
        return "Almost: each look should halve what is left, the possibility that nothing differs included."
    return f"One look after the other costs up to {count}. Where errors stay once they are there, each look can halve."


@points(2, cases=EDGES)
def test_the_ends(answer):
    """The first, the last, the only, none: the ends of the search are right."""
    _check_found(answer)
    budget, calls = _budget(answer.inputs), answer.item("calls").integer()
    expect(calls <= budget, expected=f"at most {budget} calls", seen=f"{calls} calls",
           misconception="The ends need no extra looks: the search that halves gets to them too.")  # fmt: skip


@points(1, cases=NAN)
def test_nan_differs(answer):
    """A tensor whose error is NaN differs."""
    right, seen = _right(answer.inputs), answer.item("found").output
    expect(
        _same(seen, right),
        expected=right,
        seen=f"{seen}"[:80],
        misconception="Every comparison with NaN is False: `error > tolerance` takes NaN for agreement.",
    )
