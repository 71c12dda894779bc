"""Wrong and right answers to lab4.sensitive_layers."""

from itertools import combinations

from tests_course_api import right, wrong


def _fill(order, costs, budget, *, stop=False):
    total, kept = sum(costs.values()), []
    for name in order:
        if sum(costs[other] for other in (*kept, name)) <= budget * total:
            kept.append(name)
        elif stop:
            break
    return kept


def _alone(costs, measure):
    return {name: measure([name]) for name in costs}


def _ranked(damage):
    return sorted(damage, key=damage.get, reverse=True)


@right
def greedy(costs, measure, *, budget):
    """From the worst on, whatever fits."""
    damage = _alone(costs, measure)
    return {"damage": damage, "order": _ranked(damage), "keep": _fill(_ranked(damage), costs, budget)}


@right
def knapsack(costs, measure, *, budget):
    """The affordable set that spares the most damage, by search over what was measured once; no more measurements."""
    damage = {name: measure({name}) for name in costs}
    total = sum(costs.values())
    affordable = (
        part
        for size in range(len(costs) + 1)
        for part in combinations(costs, size)
        if sum(costs[name] for name in part) <= budget * total
    )
    best = max(affordable, key=lambda part: sum(damage[name] ** 2 for name in part))
    return {"damage": damage, "order": tuple(sorted(costs, key=lambda name: -damage[name])), "keep": set(best)}


@wrong(caught_by="test_damage_of_each_layer", says="what the layer costs")
def by_size(costs, measure, *, budget):
    """Takes large layers for sensitive ones."""
    measure(costs)
    return {"damage": dict(costs), "order": _ranked(costs), "keep": _fill(_ranked(costs), costs, budget)}


@wrong(caught_by="test_damage_of_each_layer", says="errors of the others hide")
def spared_alone(costs, measure, *, budget):
    """Measures what sparing a layer brings while all the others are in INT8."""
    everything = measure(costs)
    damage = {name: everything - measure(set(costs) - {name}) for name in costs}
    return {"damage": damage, "order": _ranked(damage), "keep": _fill(_ranked(damage), costs, budget)}


@wrong(caught_by="test_damage_of_each_layer", says="adds up")
def one_after_the_other(costs, measure, *, budget):
    """Quantizes layer after layer and leaves the earlier ones in INT8."""
    names = list(costs)
    damage = {name: measure(names[: number + 1]) for number, name in enumerate(names)}
    return {"damage": damage, "order": _ranked(damage), "keep": _fill(_ranked(damage), costs, budget)}


@wrong(caught_by="test_damage_of_each_layer", says="comes first")
def the_wrong_end(costs, measure, *, budget):
    """Sorts, and takes the wrong end."""
    damage = _alone(costs, measure)
    order = sorted(damage, key=damage.get)
    return {"damage": damage, "order": order, "keep": _fill(order, costs, budget)}


@wrong(caught_by="test_what_is_kept_pays_off", says="in which order")
def the_cheapest(costs, measure, *, budget):
    """Ranks correctly, then keeps the harmless layers."""
    damage = _alone(costs, measure)
    return {"damage": damage, "order": _ranked(damage), "keep": _fill(_ranked(damage)[::-1], costs, budget)}


@wrong(caught_by="test_budget_is_kept", says="not of the number of layers")
def share_of_the_layers(costs, measure, *, budget):
    """Takes the budget for a share of the layers."""
    damage = _alone(costs, measure)
    order = _ranked(damage)
    return {"damage": damage, "order": order, "keep": order[: max(1, round(budget * len(costs)))]}


@wrong(caught_by="test_budget_is_kept", says="why there is a budget")
def everything_harmful(costs, measure, *, budget):
    """Keeps all that does any damage."""
    damage = _alone(costs, measure)
    return {"damage": damage, "order": _ranked(damage), "keep": _ranked(damage)[:7]}


@wrong(caught_by="test_what_is_kept_pays_off", says="no reason to stop")
def stops_at_the_first(costs, measure, *, budget):
    """Stops at the first layer that does not fit."""
    damage = _alone(costs, measure)
    return {"damage": damage, "order": _ranked(damage), "keep": _fill(_ranked(damage), costs, budget, stop=True)}


@wrong(caught_by="test_what_is_kept_pays_off", says="first and last layers")
def first_and_last(costs, measure, *, budget):
    """Knows a rule of thumb."""
    damage = _alone(costs, measure)
    ends = [next(iter(costs)), list(costs)[-1]]
    return {"damage": damage, "order": _ranked(damage), "keep": _fill(ends, costs, budget)}


@wrong(caught_by="test_measurements_are_few", says="all combinations")
def exhaustive(costs, measure, *, budget):
    """Measures every combination that fits."""
    damage, total = _alone(costs, measure), sum(costs.values())
    best = (float("inf"), ())
    for size in range(1, 4):
        for part in combinations(costs, size):
            if sum(costs[name] for name in part) <= budget * total:
                best = min(best, (measure(set(costs) - set(part)), part))
    return {"damage": damage, "order": _ranked(damage), "keep": list(best[1])}
