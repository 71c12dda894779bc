from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report.from_json import value_from_json
from yolotrt_lab.types import Precision


@dataclass(frozen=True)
class Inner:
    count: int
    ratio: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"]
    precision: Precision
    pair: tuple[float, float]
    items: tuple[Inner, ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    maybe: Inner | None = None
    mixed: bool | float | str | None = None
    anything: Any = None
    latency: LatencyStats | None = None


GOOD = {
    "name": "n",
    "kind": "a",
    "precision": "fp16",
    "pair": [1, 2.5],
    "items": [{"count": 1}, {"count": 2, "ratio": 1}],
    "by_name": {"x": {"count": 3}},
    "maybe": {"count": 4},
    "mixed": True,
    "anything": {"deep": [1, {"x": None}]},
    "latency": {"samples": [1.0, 2.0]},
    "unknown": "ignored",
}


def test_everything_is_decoded():
    value = value_from_json(Outer, GOOD)
    assert value.items == (Inner(1), Inner(2, 1.0))
    assert value.by_name == {"x": Inner(3)}
    assert value.maybe == Inner(4)
    assert value.pair == (1.0, 2.5)
    assert isinstance(value.pair[0], float)
    assert value.precision is Precision.FP16
    assert value.mixed is True
    assert value.latency.p50_ms == 1.5
    assert value.anything == {"deep": [1, {"x": None}]}


@pytest.mark.parametrize("mixed", [True, 0.5, 3, "text", None])
def test_a_union_takes_each_of_its_kinds(mixed):
    assert value_from_json(Outer, {**GOOD, "mixed": mixed}).mixed == mixed


@pytest.mark.parametrize(
    ("change", "path", "expected"),
    [
        ({"name": 3}, "r.name", "text"),
        ({"kind": "c"}, "r.kind", "'a' or 'b'"),
        ({"precision": "fp8"}, "r.precision", "'fp32' or 'fp16'"),
        ({"pair": [1]}, "r.pair", "a list of 2"),
        ({"pair": "12"}, "r.pair", "a list"),
        ({"pair": [1, "2"]}, "r.pair[1]", "a number"),
        ({"pair": [1, float("nan")]}, "r.pair[1]", "a finite number"),
        ({"pair": [True, 1]}, "r.pair[0]", "a number"),
        ({"items": [{"count": 1}, {"count": 1.5}]}, "r.items[1].count", "a whole number"),
        ({"items": [{"count": True}]}, "r.items[0].count", "a whole number"),
        ({"items": {}}, "r.items", "a list"),
        ({"by_name": {"x": {"count": "1"}}}, "r.by_name.x.count", "a whole number"),
        ({"by_name": []}, "r.by_name", "an object"),
        ({"maybe": 3}, "r.maybe", "an object (Inner)"),
        ({"mixed": [1]}, "r.mixed", "text"),
        ({"anything": {"deep": [1, float("inf")]}}, "r.anything.deep[1]", "a finite number"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(change, path, expected):
    with pytest.raises(InputError) as caught:
        value_from_json(Outer, {**GOOD, **change}, path="r")
    assert caught.value.what == f"{path} is not what belongs there."
    assert caught.value.expected.startswith(expected)


def test_a_missing_key_suggests_the_misspelled_one():
    with pytest.raises(InputError) as caught:
        value_from_json(Inner, {"cuont": 1})
    assert caught.value.what == "results.count is missing."
    assert caught.value.fix == "Is 'cuont' meant to be 'count'?"
    with pytest.raises(InputError) as caught:
        value_from_json(Inner, {})
    assert caught.value.got == "an empty object"


def test_a_class_that_reads_itself_keeps_the_place():
    with pytest.raises(InputError, match=r"r\.latency: Latency has no samples"):
        value_from_json(Outer, {**GOOD, "latency": {"p50": 1.0}}, path="r")


def test_long_values_are_cut_in_messages():
    with pytest.raises(InputError) as caught:
        value_from_json(Inner, {"count": "x" * 1000})
    assert len(caught.value.got) == 80
