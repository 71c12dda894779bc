"""lab4.sensitive_layers: keep in high precision what INT8 hurts most, within a budget."""

import functools
from itertools import pairwise

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_close, points, sibling

graphs = sibling(__file__, "quantization_graphs")

EXERCISE = Exercise(
    id="lab4.sensitive_layers",
    title="Keep the sensitive layers",
    objective="Rank layers by the damage their quantization does, and spend a budget of high precision on the worst.",
    answer="keep_sensitive",
    tier="stretch",
    difficulty=3,
    minutes=15,
    cases=("all fit that matter", "one that does not fit"),
    hidden=("all fit that matter", "one that does not fit"),
    seconds=20.0,
    reading="https://arxiv.org/abs/1906.04721",
)


class Network:
    """A small network with a ruler: the error of its output with any of its layers in INT8."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.model, self.costs = graphs.unbalanced_chain(rng)
        self.images = graphs.smooth_images(rng, 3)
        self.amax = graphs.observed_amax(self.model, self.images)
        self.reference = graphs.infer(self.model, self.images).astype(np.float64)
        self._errors = {}

    def error(self, layers):
        """Return the relative L2 error with these layers in INT8, the others in FP32."""
        key = frozenset(layers)
        if key not in self._errors:
            output = graphs.infer(graphs.with_fake_quantization(self.model, self.amax, key), self.images)
            self._errors[key] = float(np.linalg.norm(output - self.reference) / np.linalg.norm(self.reference))
        return self._errors[key]

    @functools.cached_property
    def damage(self):
        """The error with each layer alone in INT8."""
        return {name: self.error({name}) for name in self.costs}

    @property
    def order(self):
        """Layers, the most damaging first."""
        return sorted(self.damage, key=self.damage.get, reverse=True)

    def share(self, layers):
        """Return the share of the multiply-accumulates that these layers do."""
        return sum(self.costs[name] for name in layers) / sum(self.costs.values())

    def kept(self, budget):
        """Return what to keep: from the worst on, whatever still fits."""
        kept = []
        for name in self.order:
            if self.share([*kept, name]) <= budget:
                kept.append(name)
        return kept


network = functools.lru_cache(maxsize=32)(Network)


def inputs(case, rng):
    """The seed of a network, and the share of its arithmetic that may stay in high precision."""
    seed, budget = _chosen(case, int(rng.integers(1 << 62)))
    return {"seed": seed, "budget": budget}


@functools.cache  # every test asks for the inputs anew
def _chosen(case, start):
    """Return seed and budget of a network on which the case makes a difference."""
    rng = np.random.default_rng(start)
    while True:
        seed = int(rng.integers(1 << 30))
        net = network(seed)
        order = net.order
        if case == "all fit that matter":
            if net.share(order[:3]) < 0.6:
                return seed, round(net.share(order[:3]) + 0.005, 4)
            continue
        budget = round(net.share(order[:2]) - 0.01, 4)
        kept = net.kept(budget)
        if order[0] not in kept or order[1] in kept or order[2] not in kept:
            continue
        # The second worst does not fit any more, and those who give up there do worse.
        spared = [net.error(set(net.costs) - set(part)) for part in (kept, order[:1])]
        if spared[0] < 0.8 * spared[1]:
            return seed, budget


def run(answer, seed, budget):
    """Hand over the layers' costs and a function that measures, and count how often it is called."""
    net = network(seed)
    calls = []

    def measure(int8_layers):
        """Return the relative L2 error of the output with exactly these layers in INT8."""
        names = {int8_layers} if isinstance(int8_layers, str) else set(int8_layers)
        unknown = names - set(net.costs)
        if unknown:
            raise ValueError(f"measure() knows no layer {sorted(map(str, unknown))[0]!r}")
        calls.append(len(names))
        return net.error(names)

    result = answer(dict(net.costs), measure, budget=budget)
    return {"result": result, "calls": len(calls)}


def kept_layers(answer):
    """Return the names to keep, all of them known."""
    net = network(answer.inputs["seed"])
    kept = answer.item("result").item("keep").list()
    known = all(isinstance(name, str) and name in net.costs for name in kept) and len(kept) == len({*map(str, kept)})
    expect(known, expected="different names of layers", seen=str(kept)[:100])
    return net, kept


@points(2)
def test_damage_of_each_layer(answer):
    """The damage of each layer, measured alone, and their order."""
    net, result = network(answer.inputs["seed"]), answer.item("result")
    damage = result.item("damage").mapping(keys=tuple(net.costs))
    everything = net.error(net.costs)
    for name, right in net.damage.items():
        seen = result.item("damage").item(name).number()
        if np.isclose(seen, right, rtol=0.02, atol=1e-6):
            continue
        spared = net.error(set(net.costs) - {name})
        idea = ""
        if np.isclose(seen, everything - spared, rtol=0.05, atol=1e-4) or np.isclose(seen, spared, rtol=0.02):
            idea = "That is about all layers but this one in INT8. The errors of the others hide what this one does."
        elif np.isclose(seen, net.costs[name]) or np.isclose(seen, net.share([name])):
            idea = "That is what the layer costs. A large layer may be robust and a small one fragile: measure."
        else:
            names = list(net.costs)
            so_far = net.error(names[: names.index(name) + 1])
            if np.isclose(seen, so_far, rtol=0.02):
                idea = "Earlier layers were still in INT8: their damage adds up in this one's."
        expect_close(seen, right, rtol=0.02, atol=1e-6, what=f"the damage of {name}", misconception=idea)
    expect(len(damage) == len(net.costs), expected=f"{len(net.costs)} layers", seen=f"{len(damage)}")
    order = result.item("order").list()
    idea = "The most damaging layer comes first." if order == net.order[::-1] else ""
    ranked = [net.damage.get(name, np.nan) if isinstance(name, str) else np.nan for name in order]
    right = len(order) == len(net.costs) and all(a >= 0.98 * b for a, b in pairwise(ranked))
    seen = ", ".join(map(str, order))[:160]
    expect(right, expected="all layers, the most damaging first", seen=seen, misconception=idea)


@points(1)
def test_budget_is_kept(answer):
    """The kept layers fit the budget."""
    net, kept = kept_layers(answer)
    budget = answer.inputs["budget"]
    expect(kept, expected="at least one layer kept: the budget allows it", seen="none")
    expect(
        net.share(kept) <= budget + 1e-9,
        expected=f"at most {budget:.1%} of the multiply-accumulates in high precision",
        seen=f"{net.share(kept):.1%} in {len(kept)} of {len(net.costs)} layers",
        misconception="The budget is a share of the arithmetic, not of the number of layers."
        if len(kept) <= budget * len(net.costs) + 1
        else "What stays in FP32 costs time: that is why there is a budget.",
    )


@points(1)
def test_what_is_kept_pays_off(answer):
    """The network with these layers kept is as good as the budget allows."""
    net, kept = kept_layers(answer)
    budget = answer.inputs["budget"]
    everything = set(net.costs)
    seen, right = net.error(everything - set(kept)), net.error(everything - set(net.kept(budget)))
    if seen <= right * 1.05 + 1e-6:
        return
    idea, left = "", [name for name in net.order if name not in kept and net.share([*kept, name]) <= budget]
    ends = {next(iter(net.costs)), list(net.costs)[-1]}
    if kept and set(kept) <= ends and net.order[0] not in kept:
        idea = "First and last layers are often sensitive, not always: here the measurement says otherwise."
    elif net.order[0] not in kept:
        idea = "The most damaging layer is not among them: in which order were they taken?"
    elif left:
        idea = "There is budget left: a layer that does not fit is no reason to stop; a smaller one further down may."
    raise Mismatch(
        expected=f"an error of about {right:.3f}; {net.error(everything):.3f} with everything in INT8",
        seen=f"{seen:.3f} with {', '.join(kept) or 'nothing'} kept",
        misconception=idea,
    )


@points(1)
def test_measurements_are_few(answer):
    """Not many more measurements than layers."""
    net = network(answer.inputs["seed"])
    calls = answer.item("calls").integer()
    kept_layers(answer)
    expect(
        0 < calls <= 2 * len(net.costs),
        expected=f"at most {2 * len(net.costs)} calls of measure() for {len(net.costs)} layers",
        seen=f"{calls}",
        misconception="Each call is a build and a run over images: minutes, on a real network. Trying all combinations "
        "takes 2 to the number of layers of them."
        if calls
        else "Sensitivity cannot be told from names or sizes: it has to be measured.",
    )
