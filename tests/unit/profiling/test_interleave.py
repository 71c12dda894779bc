import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.profiling.interleave import InterleavedTimings, Ratio, measure_interleaved
from yolotrt_lab.profiling.timing import LatencyStats


def timings(samples, calls_per_turn=1):
    return InterleavedTimings({name: LatencyStats.from_samples(s) for name, s in samples.items()}, calls_per_turn)


def test_everyone_gets_every_round_and_order_changes(clock):
    calls = []
    runners = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    found = measure_interleaved(runners, rounds=20, calls_per_turn=2, warmup=1)
    assert calls[:3] == ["a", "b", "c"]  # the warm-up
    turns = [calls[3 + start : 6 + start] for start in range(0, 60 * 3, 3)]
    assert all(len(set(turn)) == 1 for turn in turns)  # an unmeasured call and two measured ones in a row
    rounds = ["".join(turn[0] for turn in turns[start : start + 3]) for start in range(0, 60, 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 3
    assert all(len(stats.samples_ms) == 40 for stats in found.stats.values())


def test_the_first_call_of_a_turn_is_not_measured(clock):
    state = {"last": None}

    def runner(name):
        def run():
            clock.advance_ms(100 if state["last"] != name else 10)
            state["last"] = name

        return run

    found = measure_interleaved({"a": runner("a"), "b": runner("b")}, rounds=5, calls_per_turn=2)
    assert set(found.stats["a"].samples_ms) == {10}


def test_a_slow_spell_hits_all_and_the_ratio_survives(clock):
    """b always takes 1.5 times as long as a, but the machine gets ten times slower half way."""
    spell = {"factor": 1.0, "calls": 0}

    def runner(base_ms):
        def run():
            spell["calls"] += 1
            if spell["calls"] > 100:
                spell["factor"] = 10.0
            clock.advance_ms(base_ms * spell["factor"])

        return run

    found = measure_interleaved({"a": runner(10), "b": runner(15)}, rounds=30, warmup=0)
    ratio = found.ratio("b", baseline="a")
    assert ratio.value == pytest.approx(1.5)
    assert ratio.low == pytest.approx(1.5)
    assert ratio.is_clear
    assert found.ratio("a", baseline="b").value == pytest.approx(1 / 1.5)
    assert found.ratio("a", baseline="a") == Ratio(1, 1, 1)


def test_ratios_pair_by_round_not_by_overall_median():
    found = timings({"a": [1, 10, 100], "b": [2, 20, 200]})
    assert found.ratio("b", baseline="a") == Ratio(2, 2, 2)


def test_noise_is_no_difference():
    found = timings({"a": [10, 11, 9, 10, 12, 8], "b": [11, 10, 10, 9, 11, 10]})
    assert not found.ratio("b", baseline="a").is_clear


@pytest.mark.parametrize(
    ("ratio", "clear"), [(Ratio(2, 1.5, 2.5), True), (Ratio(0.5, 0.4, 0.6), True), (Ratio(1.1, 0.9, 1.3), False)]
)
def test_is_clear(ratio, clear):
    assert ratio.is_clear is clear


def test_an_unknown_name_lists_those_there():
    with pytest.raises(InputError, match="No runner 'c'") as caught:
        timings({"a": [1], "b": [1]}).ratio("a", baseline="c")
    assert caught.value.expected == "a, b"


@pytest.mark.parametrize("counts", [{"rounds": 0}, {"calls_per_turn": 0}, {"warmup": -1}])
def test_counts_out_of_range(counts):
    with pytest.raises(InputError, match="Nothing to time"):
        measure_interleaved({"a": lambda: None}, **counts)
    with pytest.raises(InputError, match="Nothing to time"):
        measure_interleaved({})


def test_one_runner_will_do_and_progress_is_told(clock):
    seen = []
    found = measure_interleaved(
        {"a": clock.takes_ms([4])}, rounds=2, warmup=0, on_progress=lambda *step: seen.append(step)
    )
    assert found.stats["a"].p50_ms == pytest.approx(4)
    assert seen == [(1, 2), (2, 2)]
