"""lab1.honest_benchmark: time work on an asynchronous device, on a clock and a device made for the purpose."""

import math

import numpy as np

from yolotrt_lab.grading import Drawing, Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab1.honest_benchmark",
    title="An honest benchmark",
    objective="Measure a latency so that warm-up, asynchronous work and the slow tail do not lie to you.",
    answer="benchmark",
    difficulty=3,
    minutes=30,
    cases=("steady", "slow start", "outliers", "waits by itself", "no warm-up wanted"),
    hidden=("slow start", "outliers", "waits by itself"),
    seconds=5.0,
    reading="https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/#using-cpu-timers",
)

_NS_PER_MS = 1_000_000


class Device:
    """A device with a queue, and the clock on its wall. No real time passes.

    Launching costs the host little and returns at once; the work is done later, one piece after the other. Only
    `synchronize` waits, until the last piece is done.
    """

    def __init__(self, work_ms, launch_ms: float, waits_by_itself: bool) -> None:
        self._work_ns = [round(ms * _NS_PER_MS) for ms in work_ms]
        self._launch_ns = round(launch_ms * _NS_PER_MS)
        self._waits = waits_by_itself
        self._now_ns = 7_000_000_000_000
        self._done_ns = 0
        self.launches = 0
        self.log: list[str] = []

    def launch(self) -> None:
        """Hand one piece of work to the device."""
        self._now_ns += self._launch_ns
        begin = max(self._now_ns, self._done_ns)
        self._done_ns = begin + self._work_ns[min(self.launches, len(self._work_ns) - 1)]
        if self._waits:
            self._now_ns = self._done_ns
        self.launches += 1
        self._note("L")

    def synchronize(self) -> None:
        """Wait until the device has done all its work."""
        self._now_ns = max(self._now_ns, self._done_ns)
        self._note("S")

    def clock_ns(self) -> int:
        """Read the clock: nanoseconds since some moment in the past."""
        self._note("c" if self._done_ns > self._now_ns else "C")  # c: while work was still under way
        return self._now_ns

    def _note(self, event: str) -> None:
        if len(self.log) < 20_000:
            self.log.append(event)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    warmup = 0 if case == "no warm-up wanted" else int(rng.integers(8, 16))
    repeats = int(rng.choice([200, 240, 300]))
    base_ms = float(rng.uniform(3, 9))
    work_ms = base_ms * rng.lognormal(0.0, 0.04, warmup + repeats + 40)
    if case == "slow start":
        cold = min(warmup, 5)
        work_ms[:cold] += base_ms * np.geomspace(40, 2, cold)
    if case in ("outliers", "waits by itself"):
        slow = rng.choice(np.arange(warmup, warmup + repeats), size=repeats // 20, replace=False)
        work_ms[slow] *= rng.uniform(2.5, 5.0, len(slow))
    return {
        "work_ms": np.round(work_ms, 6),
        "launch_ms": round(float(rng.uniform(0.02, 0.05)), 6),
        "waits_by_itself": case == "waits by itself",
        "warmup": warmup,
        "repeats": repeats,
    }


def run(answer, work_ms, launch_ms, waits_by_itself, warmup, repeats) -> dict[str, object]:
    device = Device(work_ms, launch_ms, waits_by_itself)
    result = answer(device.launch, device.synchronize, device.clock_ns, warmup=warmup, repeats=repeats)
    log = "".join(device.log)
    return {"result": result, "log": log, "refusals": [_refusal(answer, -1, 5), _refusal(answer, 2, 0)]}


def _refusal(answer, warmup: int, repeats: int) -> str:
    device = Device([1.0], 0.01, False)
    try:
        answer(device.launch, device.synchronize, device.clock_ns, warmup=warmup, repeats=repeats)
    except Exception as error:
        return type(error).__name__
    return ""


def true_samples(inputs) -> np.ndarray:
    """Return what each measured call takes: handing the work over, and the work."""
    first, count = inputs["warmup"], inputs["repeats"]
    return inputs["work_ms"][first : first + count] + inputs["launch_ms"]


def _samples(answer) -> np.ndarray:
    """Return the student's samples, as many as asked for."""
    samples = answer.item("result").item("samples_ms").array(ndim=1).astype(np.float64)
    asked = answer.inputs["repeats"]
    if len(samples) != asked:
        if len(samples) == asked + answer.inputs["warmup"] != asked:
            hint = "Warm-up calls are made, and not measured."
        elif len(samples) < asked:
            hint = "Every measured call stays, the slow ones too: users live in the tail. And one call, one sample."
        else:
            hint = "One measured call gives one sample."
        raise Mismatch(expected=f"{asked} samples", seen=f"{len(samples)} samples", misconception=hint)
    return samples


def picture(answer):
    """Show what each call took and what was measured."""
    from yolotrt_lab.figures.verdicts import samples_over_calls

    truth = true_samples(answer.inputs)
    seen = answer.item("result").item("samples_ms").array(ndim=1).astype(np.float64)
    if not len(seen) or np.array_equal(truth, seen):
        return None
    if len(seen) == len(truth) and np.allclose(seen, truth, rtol=1e-6, atol=1e-6):
        return None
    return Drawing(
        samples_over_calls(truth, seen, unit="ms"),
        caption=f"“{answer.case.name}”: how long each measured call took on the device, and what you measured.",
        alt=f"{len(truth)} calls take {np.median(truth):.4g} ms in the median. The answer has {len(seen)} samples with "
        f"a median of {np.median(seen):.4g} ms.",
    )


@points(3)
def test_result_holds_one_sample_per_call(answer):
    """The result holds one finite sample per measured call, and three percentiles."""
    samples = _samples(answer)
    expect(
        bool(np.isfinite(samples).all()),
        expected="finite samples",
        seen=f"{int((~np.isfinite(samples)).sum())} that are not",
    )
    for key in ("p50_ms", "p90_ms", "p99_ms"):
        answer.item("result").item(key).number()


@points(6)
def test_samples_hold_the_whole_work(answer):
    """Each sample is the time from handing the work over until it is done."""
    samples, truth = _samples(answer), true_samples(answer.inputs)
    wrong = ~np.isclose(samples, truth, rtol=1e-6, atol=1e-6)
    wrong[0] = False  # what may be wrong with the first one is judged with the warm-up
    if not wrong.any():
        return
    place = int(np.argmax(wrong))
    raise Mismatch(
        expected=f"sample {place}: {truth[place]:.4f} ms",
        seen=f"{samples[place]:.4f} ms; {int(wrong.sum())} of {len(samples)} samples differ",
        misconception=_what_went_wrong(samples, truth, answer.inputs),
    )


def _what_went_wrong(samples, truth, inputs) -> str:
    if not np.isfinite(samples).all():
        return "A latency is a finite number."
    if np.allclose(np.sort(samples), np.sort(truth), rtol=1e-6):
        return "The right samples in another order. Keep the order they ran in: it shows drift and warm-up."
    ratio = float(np.median(samples) / np.median(truth))
    if any(abs(ratio / factor - 1) < 0.2 for factor in (1e-6, 1e-3, 1e3, 1e6)):
        return "The size is off by a power of ten: the clock counts nanoseconds, samples are milliseconds."
    if np.allclose(samples, inputs["launch_ms"], rtol=0.2):
        return (
            "This is the time it takes to hand the work over. The device returns at once and works on: the clock was "
            "stopped before it was done."
        )
    if np.ptp(samples) < 1e-9:
        return "All samples are the same: one long time, divided by the calls, is an average and no distribution."
    if inputs["warmup"] and np.allclose(samples, inputs["work_ms"][: len(samples)] + inputs["launch_ms"], rtol=1e-6):
        return "These are the first calls, warm-up included."
    if ratio > 1.5:
        return "Samples are longer than the work: the device was still busy with other calls when the clock started."
    if np.all(samples <= truth + 1e-9):
        return "Some samples are shorter than their work. Was anything cut off or replaced? A slow call is a fact."
    return "Between two readings of the clock belong one launch and the wait for it, nothing less and nothing more."


@points(5)
def test_warm_up_is_made_and_finished_before_the_clock_starts(answer):
    """The warm-up calls are made, thrown away, and done before the first measurement starts."""
    log, warmup, repeats = answer.item("log").text(), answer.inputs["warmup"], answer.inputs["repeats"]
    launches = log.count("L")
    expect(
        launches == warmup + repeats,
        expected=f"{warmup} calls to warm up and {repeats} to measure",
        seen=f"{launches} calls",
        misconception="Warm-up calls come on top of the measured ones, as many as were asked for.",
    )
    places = [index for index, event in enumerate(log) if event == "L"]
    start = log[: places[warmup]]
    reading = max(start.rfind("C"), start.rfind("c"))
    last_warm = places[warmup - 1] if warmup else -1
    expect(
        reading > last_warm,
        expected="a clock reading between the warm-up and the first measured call",
        seen="none there",
        misconception="The first measurement starts where the warm-up ends.",
    )
    expect(
        start[reading] == "C",
        expected="an idle device when the first measurement starts",
        seen="a device still busy with the warm-up",
        misconception="The warm-up calls were handed over, but nobody waited for them: the first sample pays for them.",
    )


@points(6)
def test_percentiles_are_the_median_and_the_tail(answer):
    """The percentiles are those of the samples."""
    samples = np.sort(_samples(answer))
    expect(bool(np.isfinite(samples).all()), expected="finite samples", seen="some that are not")
    expect(
        len(np.unique(samples)) > 1,
        expected="samples that differ, as those of this device do",
        seen="all samples the same",
        misconception="A distribution of one value has no tail to speak of.",
    )
    for percent in (50, 90, 99):
        seen = answer.item("result").item(f"p{percent}_ms").number()
        low, high = _between(samples, percent / 100)
        if not low * (1 - 1e-9) <= seen <= high * (1 + 1e-9):
            raise Mismatch(
                expected=f"p{percent}_ms between {low:.4f} and {high:.4f} ms",
                seen=f"{seen:.4f} ms",
                misconception=_percentile_hint(samples, percent, seen),
            )


def _between(samples, share: float) -> tuple[float, float]:
    """Return the sorted samples that every usual definition of a quantile stays between."""
    count = len(samples)
    low, high = math.floor(share * (count - 1)), math.ceil(share * (count + 1)) - 1
    return float(samples[low]), float(samples[max(low, min(high, count - 1))])


def _percentile_hint(samples, percent: int, seen: float) -> str:
    if np.isclose(seen, samples.mean(), rtol=1e-6):
        return "That is the mean: a few slow calls pull it up, and nobody ever waits for it."
    if np.isclose(seen, samples.max(), rtol=1e-9):
        return "That is the slowest call of all. It tells about one bad moment, and grows with the number of calls."
    if np.isclose(seen, samples.min(), rtol=1e-9):
        return "That is the fastest call: the one that users are least likely to see."
    for other in (1, 10, 50, 90, 99):
        low, high = _between(samples, other / 100)
        if other != percent and low <= seen <= high:
            return f"That is the {other}th percentile of the samples."
    if np.isclose(seen / np.median(samples), 1e-3, rtol=0.9) or seen > 100 * samples.max():
        return "Percentiles are in milliseconds, like the samples."
    if samples[0] <= seen <= samples[-1]:
        return f"{percent} % of the samples should be below it: sort before you count."
    return "A percentile lies between the smallest and the largest sample."


@points(2)
def test_senseless_counts_are_refused(answer):
    """A negative warm-up and a benchmark of no call are refused."""
    refusals = answer.item("refusals").list(length=2)
    for name, what in zip(refusals, ("warmup=-1", "repeats=0"), strict=True):
        expect(
            name in ("ValueError", "InputError"),
            expected=f"a ValueError for {what}",
            seen=f"{name}" if name else "a result",
            misconception="A measurement of nothing is no measurement: say so at the door, not by accident inside.",
        )
