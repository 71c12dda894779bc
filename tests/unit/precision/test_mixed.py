import dataclasses
import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolotrt_lab.errors import InputError
from yolotrt_lab.precision.calibration import calibrate
from yolotrt_lab.precision.mixed import LayerCosts, cheapest_cover, costs_from_times, estimated_work, plan_mixed
from yolotrt_lab.precision.output_error import OutputError
from yolotrt_lab.precision.sensitivity import LayerDamage, SensitivityReport
from yolotrt_lab.types import Precision


def layer(node, share, *, depth=0, amax=10.0, bulk=9.0, clip=10.0, work=1000):
    return LayerDamage(node, "Conv", depth, share**0.5, share, share, work, amax, bulk, clip)


def cover_by_trying_all(shares, costs, target):
    sets = itertools.chain.from_iterable(itertools.combinations(shares, size) for size in range(len(shares) + 1))
    fitting = [each for each in sets if sum(shares[name] for name in each) >= target - 1e-9]
    return min(sum(costs[name] for name in each) for each in fitting)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("target", [0.0, 0.3, 0.8, 1.0])
def test_the_cover_is_the_cheapest(seed, target):
    rng = np.random.default_rng(seed)
    parts = rng.multinomial(1000, rng.dirichlet(np.ones(8))) / 1000
    shares = {f"l{index}": float(part) for index, part in enumerate(parts)}
    costs = {name: float(rng.integers(1, 50)) for name in shares}
    chosen = cheapest_cover(shares, costs, target=target)
    assert sum(shares[name] for name in chosen) >= target - 1e-9
    assert sum(costs[name] for name in chosen) == pytest.approx(cover_by_trying_all(shares, costs, target))
    assert list(chosen) == [name for name in shares if name in chosen]


def test_covers_at_the_edges():
    assert cheapest_cover({}, {}, target=0.9) == ()
    assert cheapest_cover({"a": 0.0004, "b": 0.0}, {}, target=1.0) == ()  # too little to count
    assert cheapest_cover({"a": 0.6, "b": 0.3}, {}, target=1.0) == ("a", "b")  # out of reach: what there is
    assert cheapest_cover({"a": 0.5, "b": 0.25, "c": 0.25}, {}, target=0.5) == ("a",)  # free: the fewest


def test_costs_from_layer_times():
    costs = costs_from_times({"a": 1.0, "b": 2.0, "c": 1.0}, {"a": 3.0, "b": 1.5})
    assert costs == LayerCosts({"a": 2.0, "b": 0.0}, 4.0, "ms")
    assert costs.relative(["a"]) == pytest.approx(1.5)
    assert costs.relative(["b", "c"]) == 1.0


NODES = ("/stem/Conv", "/body/Conv", "/p3/Conv", "/neck/Conv")
SHARES = (0.05, 0.7, 0.2, 0.05)


@pytest.fixture
def report():
    layers = tuple(
        layer(node, share, depth=depth) for depth, (node, share) in enumerate(zip(NODES, SHARES, strict=True))
    )
    spiky = dataclasses.replace(layers[1], input_amax=40.0, input_bulk=2.0, clip=30.0)
    return SensitivityReport((layers[0], spiky, *layers[2:]), OutputError(0.1, 0.0), 4)


@pytest.fixture
def table(detector, images):
    return calibrate(detector, [images], method="minmax", threads=1)


class Judge:
    """Takes 0.01 off for every part in a hundred of the damage that the file still holds."""

    def __init__(self, *, noise=None):
        self.files = []
        self.noise = noise or {}

    def __call__(self, path):
        model = onnx.load(path)
        quantized = {
            node.name for node in model.graph.node if node.op_type == "Conv" and "dequantized" in node.input[0]
        }
        damage = sum(share for node, share in zip(NODES, SHARES, strict=True) if node in quantized)
        self.files.append(frozenset(quantized))
        is_reference = not any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        return 0.6 - 0.01 * damage + (0.0 if is_reference else self.noise.get(round(damage, 3), 0.0))


@pytest.mark.parametrize(
    ("budget", "kept"),
    [(0.02, ()), (0.004, ("/body/Conv",)), (0.0012, ("/body/Conv", "/p3/Conv"))],
)
def test_the_bad_layers_are_kept(detector, table, report, budget, kept):
    plan = plan_mixed(detector, table=table, report=report, judge=Judge(), budget=budget)
    assert plan.chosen.kept == kept
    assert plan.within_budget
    assert plan.chosen.loss <= budget
    assert plan.reference_map == pytest.approx(0.6)
    assert plan.curve[0].kept == ()
    assert [point.damage_left for point in plan.curve] == sorted((p.damage_left for p in plan.curve), reverse=True)
    assert plan.chosen in plan.curve


def test_a_lucky_point_is_not_taken(detector, table, report):
    """INT8 throughout happens to score well, keeping the worst layer does not: noise, so both are passed over."""
    lucky = Judge(noise={1.0: 0.02})
    assert plan_mixed(detector, table=table, report=report, judge=Judge(), budget=0.002).chosen.kept != ()
    assert plan_mixed(detector, table=table, report=report, judge=lucky, budget=0.002).chosen.kept != ()


def test_out_of_reach(detector, table, report):
    plan = plan_mixed(detector, table=table, report=report, judge=Judge(noise={0.0: -0.1, 0.05: -0.1}), budget=0.0001)
    assert not plan.within_budget
    assert "No choice of layers keeps the loss within 0.0001" in plan.explanation[-1]


def test_price_decides_between_equals(detector, table, report):
    """The worst layer is so dear that for 30 % of the damage others are kept instead."""
    costs = LayerCosts({"/body/Conv": 100.0, "/p3/Conv": 1.0, "/neck/Conv": 1.0, "/stem/Conv": 1.0}, 200.0, "ms")
    plan = plan_mixed(detector, table=table, report=report, judge=Judge(), budget=0.0081, costs=costs)
    assert "/body/Conv" not in plan.chosen.kept
    assert plan.chosen.relative_time == pytest.approx(1.0 + len(plan.chosen.kept) / 200)
    assert plan.unit == "ms"


def test_estimated_work(detector):
    """The roofline by hand: neck is bound by memory, as everything this small is; so is an Add."""
    work = estimated_work(onnx.load(detector))
    assert work["/neck/Conv"] == 200 * (32 * 16 + 16 * 32 * 9 + 16 + 16 * 16)
    assert work["/residual/Add"] == 200 * 3 * 16 * 64


def test_much_arithmetic_outweighs_traffic():
    shapes = {"x": [1, 512, 80, 80], "y": [1, 512, 80, 80]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    weight = numpy_helper.from_array(np.zeros((512, 512, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])
    model = helper.make_model(helper.make_graph([node], "g", [values["x"]], [values["y"]], [weight]))
    assert estimated_work(model) == {"conv": 512 * 512 * 9 * 6400}


def test_estimated_time(detector, table, report):
    plan = plan_mixed(detector, table=table, report=report, judge=Judge(), budget=0.004, clock=lambda path: 7.0)
    work = estimated_work(onnx.load(detector))
    total = sum(amount * (1 if node in NODES else 2) for node, amount in work.items())
    assert plan.chosen.relative_time == pytest.approx(1 + work["/body/Conv"] / total)
    assert plan.chosen.latency_ms == 7.0
    assert plan.unit == "estimate"


def test_words(detector, table, report):
    text = "\n".join(plan_mixed(detector, table=table, report=report, judge=Judge(), budget=0.004).explanation)
    assert "2 layers of 4 cause 90 % of the damage" in text
    assert "/body/Conv: 70 % of it, because its inputs reach 40 while 99 % of the values are below 2" in text
    assert "they share 8 of 127 steps; what lies above 30 is clipped" in text
    assert "/p3/Conv: 20 % of it, though its inputs, up to 10, make good use of the 127 steps" in text
    assert "70 % of the damage. The loss is then 0.0030, within the budget of 0.004" in text
    fine = plan_mixed(detector, table=table, report=report, judge=Judge(), budget=0.5).explanation
    assert "every layer may stay in INT8" in fine[-1]


def test_progress_and_base(detector, table, report):
    progress = []
    judge = Judge()
    plan_mixed(
        detector, table=table, report=report, judge=judge, budget=0.004, base=Precision.FP32,
        on_progress=lambda done, total: progress.append((done, total)),
    )  # fmt: skip
    assert all(done <= total == 9 for done, total in progress)
    assert len(judge.files) == len(set(judge.files))  # no file is judged twice


@pytest.mark.parametrize("budget", [-0.001, float("nan")])
def test_a_budget_must_make_sense(detector, table, report, budget):
    with pytest.raises(InputError, match="budget is out of range"):
        plan_mixed(detector, table=table, report=report, judge=Judge(), budget=budget)
