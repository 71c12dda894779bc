"""lab5.hot_layers: collect TensorRT's layer times over several runs, and find the layers worth working on."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, expect_close, points, sibling

tiny = sibling(__file__, "tiny_engines")

_REPORTED = ("steady times", "a cold first run", "equal times")

EXERCISE = Exercise(
    id="lab5.hot_layers",
    title="Hot layers",
    objective="Collect layer times with TensorRT's profiler interface and find the few layers that take most of them.",
    answer="LayerTimer",
    difficulty=3,
    minutes=25,
    cases=(*_REPORTED, "a real engine"),
    hidden=("steady times", "a cold first run", "a real engine"),
    seconds=30.0,
    reading="https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/best-practices.html",
)

_RUNS = 7
_SHARES = (0.5, 0.8, 0.95)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """What a profiler would report, run by run; or a network, whose engine reports itself."""
    if case == "a real engine":
        return {"model": tiny.network(rng, blocks=3), "image": rng.random((1, 3, tiny.SIZE, tiny.SIZE), np.float32)}
    count = int(rng.integers(6, 12))
    names = [f"/model.{index}/{kind}/Conv" for index, kind in enumerate(rng.choice(["cv1", "cv2", "m"], count))]
    times = rng.permutation(0.05 * 1.6 ** np.arange(count))
    if case == "equal times":
        times = np.round(times, 3)
        times[: count // 2] = float(rng.integers(2, 9)) / 4
        reports = np.tile(times, (_RUNS, 1))
    else:
        reports = times * rng.lognormal(0, 0.02, (_RUNS, count))
    if case == "a cold first run":  # what allocates and loads at first is not what is slow later
        reports[0, :] = np.sort(reports[0])[::-1][np.argsort(np.argsort(times))] * rng.uniform(8, 20)
    return {"names": names, "reports": np.round(reports, 6)}


def run(answer: Any, **case: Any) -> dict[str, object]:
    """Let a timer hear the reports, and ask it for times and hot layers."""
    empty = _asked(answer())
    if "model" in case:
        timer, heard = _real_runs(answer, case["model"], case["image"])
    else:
        timer, heard = answer(), []
        for row in case["reports"]:
            for name, time_ms in zip(case["names"], row, strict=True):
                timer.report_layer_time(name, float(time_ms))
    return {"empty": empty, "heard": heard, **_asked(timer)}


def _asked(timer: Any) -> dict[str, object]:
    return {"layer_ms": timer.layer_ms(), "hot": [timer.hot_layers(share) for share in _SHARES]}


def _real_runs(answer: Any, model: bytes, image: np.ndarray) -> tuple[Any, list[list[Any]]]:
    """Run an engine with the timer as its profiler, and note what the engine reports."""
    from yolotrt_lab.runtimes.tensorrt_buffers import EngineBuffers

    heard: list[list[Any]] = []

    class Overheard(answer):  # type: ignore[misc]
        def report_layer_time(self, layer_name: str, ms: float) -> None:
            heard.append([str(layer_name), float(ms)])
            super().report_layer_time(layer_name, ms)

    with tiny.settled():
        engine = tiny.engine_of(model, 1)
        timer = Overheard()
        buffers = EngineBuffers(engine, 1, profiler=timer)
        for _ in range(_RUNS):
            buffers.submit({"images": image})
            buffers.wait()
    return timer, heard


def _reports(answer) -> dict[str, list[float]]:
    """Return all times of each layer, layers in the order in which they ran."""
    times: dict[str, list[float]] = {}
    if answer.case.name != "a real engine":
        names, reports = answer.inputs["names"], answer.inputs["reports"]
        return {name: [float(value) for value in reports[:, index]] for index, name in enumerate(names)}
    for name, time_ms in answer.item("heard").list():
        times.setdefault(name, []).append(time_ms)
    return times


def _by_layer(answer, wanted: dict[str, list[float]]) -> np.ndarray:
    found = answer.item("layer_ms").mapping()
    missing = [name for name in wanted if name not in found]
    if missing or len(found) != len(wanted):
        raise Mismatch(
            expected=f"a time for each of the {len(wanted)} layers",
            seen=f"{len(found)} entries" + (f"; {missing[0]} is missing" if missing else ""),
            misconception="TensorRT reports every layer once in every run, by its name.",
        )
    return np.array([answer.item("layer_ms").item(name).number() for name in wanted])


@points(2)
def test_each_layer_has_the_median_of_its_runs(answer):
    """Each layer's time is the median over all runs."""
    reports = _reports(answer)
    seen, table = _by_layer(answer, reports), np.array(list(reports.values()))
    right = np.median(table, axis=1)
    ideas = {
        "These are sums over all runs.": table.sum(axis=1),
        "This is the last run only: the times of the earlier ones were overwritten.": table[:, -1],
        "This is the first run only, the coldest.": table[:, 0],
        "These are means: the cold first run is in them for ever.": table.mean(axis=1),
        "This is the fastest of the runs.": table.min(axis=1),
    }
    fits = (idea for idea, values in ideas.items() if np.allclose(seen, values, rtol=1e-6, atol=1e-9))
    hint = "" if np.allclose(seen, right, rtol=1e-6, atol=1e-9) else next(fits, "")
    expect_close(seen, right, what="the layers' milliseconds", rtol=1e-6, atol=1e-9, misconception=hint)


@points(1)
def test_layers_keep_their_order(answer):
    """The layers are listed in the order in which they run."""
    wanted = list(_reports(answer))
    seen = [str(name) for name in answer.item("layer_ms").mapping()]
    if set(seen) != set(wanted):
        raise Mismatch(expected=f"the {len(wanted)} layers that ran", seen=f"{len(seen)} layers")
    if seen != wanted:
        raise Mismatch(
            expected="the order of execution",
            seen="another one",
            misconception="Sorted layers no longer show where in the network the time goes.",
        )


def _hot(medians: dict[str, float], share: float, *, slack: float = 1e-9) -> list[str]:
    ordered = sorted(medians, key=lambda name: -medians[name])  # stable: equals stay in order
    total, covered, chosen = sum(medians.values()), 0.0, []
    for name in ordered:
        if covered >= share * total * (1 - slack):
            break
        chosen.append(name)
        covered += medians[name]
    return chosen


@points(2)
def test_hot_layers_are_the_fewest_that_cover_the_share(answer):
    """The hot layers are the fewest that take the share, slowest first."""
    medians = {name: float(np.median(times)) for name, times in _reports(answer).items()}
    for index, share in enumerate(_SHARES):
        seen = [str(name) for name in answer.item("hot").item(index).list()]
        right = _hot(medians, share)
        # Times come in whole microseconds, so a sum can hit the share exactly; rounding then decides about one layer.
        if seen in (right, _hot(medians, share, slack=-1e-9)):
            continue
        unknown = [name for name in seen if name not in medians]
        expect(
            not unknown,
            expected="names of layers",
            seen=f"{unknown[:1]}",
            misconception="A list of names, not of pairs or numbers.",
        )
        covered = sum(medians[name] for name in seen) / max(sum(medians.values()), 1e-12)
        raise Mismatch(
            expected=f"hot_layers({share:g}): {len(right)} layers, slowest first",
            seen=f"{len(seen)} layers, which take {covered:.0%} of the time",
            misconception=_cause(seen, right, medians, share, covered),
        )


def _cause(seen: list[str], right: list[str], medians: dict[str, float], share: float, covered: float) -> str:
    total = sum(medians.values())
    if set(seen) == set(right):
        return "These are the layers, in another order: the slowest comes first, and equals stay in execution order."
    if seen == right[:-1]:
        return "They stop short of the share: the layer that crosses the line belongs to them."
    if set(seen) == {name for name in medians if medians[name] >= share * total}:
        return "The share is of the layers together, not of each one."
    if len(seen) == round(share * len(medians)):
        return "That is a share of the number of layers; what counts is a share of the time."
    if covered < share:
        return "They take less than the share."
    if len(seen) > len(right):
        return "Fewer layers would do: begin with the slowest and stop as soon as the share is reached."
    return "Other layers take more. Are the times those of several runs together?"


@points(1)
def test_an_unused_timer_is_empty(answer):
    """Before the first run there are no layers, and none are hot."""
    expect(answer.item("layer_ms").mapping(), expected="layers after the first run", seen="none even then")
    times = answer.item("empty").item("layer_ms").mapping()
    hint = "What several timers share belongs to the class; what each one collects belongs to itself."
    expect(not times, expected="no layers", seen=f"{len(times)} layers", misconception=hint)
    for index in range(len(_SHARES)):
        seen = answer.item("empty").item("hot").item(index).list()
        expect(not seen, expected="no hot layers", seen=f"{len(seen)}", misconception=hint)
