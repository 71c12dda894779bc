"""Wrong and right answers to lab5.hot_layers."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict

import numpy as np
from tests_course_api import right, wrong

from yolotrt_lab.engines.platform import activate

trt = activate().trt

MEDIAN = "test_each_layer_has_the_median_of_its_runs"
ORDER = "test_layers_keep_their_order"
HOT = "test_hot_layers_are_the_fewest_that_cover_the_share"
EMPTY = "test_an_unused_timer_is_empty"


class Sound(trt.IProfiler):
    """What the wrong answers differ from in one place each."""

    def __init__(self):
        trt.IProfiler.__init__(self)
        self.times = {}

    def report_layer_time(self, layer_name, ms):
        self.times.setdefault(layer_name, []).append(ms)

    def layer_ms(self):
        return {name: float(np.median(times)) for name, times in self.times.items()}

    def hot_layers(self, share):
        times = self.layer_ms()
        total, covered, chosen = sum(times.values()), 0.0, []
        for name in sorted(times, key=times.get, reverse=True):
            if covered >= share * total:
                break
            chosen.append(name)
            covered += times[name]
        return chosen


@wrong(caught_by=MEDIAN, says="last run only")
class KeepsTheLastRun(Sound):
    """A dict of name to time."""

    def report_layer_time(self, layer_name, ms):
        self.times[layer_name] = [ms]


@wrong(caught_by=MEDIAN, says="sums over all runs")
class AddsUp(Sound):
    """Adds the runs up."""

    def layer_ms(self):
        return {name: sum(times) for name, times in self.times.items()}


@wrong(caught_by=MEDIAN, says="these are means")
class Means(Sound):
    """Takes the mean."""

    def layer_ms(self):
        return {name: float(np.mean(times)) for name, times in self.times.items()}


@wrong(caught_by=MEDIAN, says="__init__")
class ForgetsTheBase(Sound):
    """Does not initialise the class that TensorRT wrote."""

    def __init__(self):
        self.times = {}


@wrong(caught_by=ORDER, says="no longer show where")
class SortsTheTable(Sound):
    """Sorts for the reader."""

    def layer_ms(self):
        return dict(sorted(super().layer_ms().items(), key=lambda item: -item[1]))


@wrong(caught_by=HOT, says="crosses the line")
class StopsShort(Sound):
    """Takes layers as long as they fit under the share."""

    def hot_layers(self, share):
        return super().hot_layers(share)[:-1]


@wrong(caught_by=HOT, says="of each one")
class ShareOfEach(Sound):
    """Takes the layers that have the share on their own."""

    def hot_layers(self, share):
        times = self.layer_ms()
        total = sum(times.values())
        return [name for name, time_ms in times.items() if time_ms >= share * total]


@wrong(caught_by=HOT, says="number of layers")
class ShareOfTheCount(Sound):
    """Takes the first part of the sorted list."""

    def hot_layers(self, share):
        times = self.layer_ms()
        return sorted(times, key=times.get, reverse=True)[: round(share * len(times))]


@wrong(caught_by=HOT, says="slowest comes first")
class FastestFirst(Sound):
    """Finds them, and lists them in the order of the network."""

    def hot_layers(self, share):
        return sorted(super().hot_layers(share))


@wrong(caught_by=EMPTY, says="belongs to itself")
class SharesItsTimes(Sound):
    """Collects into the class, so that all timers hear each other."""

    everything = {}  # noqa: RUF012  # that is the mistake

    def __init__(self):
        super().__init__()
        self.times = self.everything


@wrong(caught_by=EMPTY, says="division")
class DividesByNothing(Sound):
    """Does not think of a timer that nobody has used."""

    def hot_layers(self, share):
        if not self.times:
            return [1 / sum(self.times.values(), 0)]
        return super().hot_layers(share)


@right
class WithArrays(trt.IProfiler):
    """A list of reports, put in order when asked; a stable sort and cumulative sums."""

    def __init__(self):
        super().__init__()
        self.reports = []

    def report_layer_time(self, layer_name, ms):
        self.reports.append((layer_name, ms))

    def layer_ms(self):
        names = list(dict.fromkeys(name for name, _ in self.reports))
        return {name: np.median([ms for other, ms in self.reports if other == name]) for name in names}

    def hot_layers(self, share):
        times = self.layer_ms()
        names, values = list(times), np.array(list(times.values()))
        order = np.argsort(-values, kind="stable")
        reached = np.cumsum(values[order])
        count = int(np.searchsorted(reached, share * reached[-1] * (1 - 1e-12))) + 1 if names else 0
        return tuple(names[index] for index in order[:count])


@right
class WithTheStandardLibrary(trt.IProfiler):
    """defaultdict, statistics and itertools."""

    def __init__(self):
        trt.IProfiler.__init__(self)
        self.by_name = defaultdict(list)

    def report_layer_time(self, layer_name, ms):
        self.by_name[layer_name].append(float(ms))

    def layer_ms(self):
        return {name: statistics.median(times) for name, times in self.by_name.items()}

    def hot_layers(self, share):
        ranked = sorted(self.layer_ms().items(), key=lambda item: item[1], reverse=True)
        limit = share * sum(value for _, value in ranked)
        before = itertools.accumulate((value for _, value in ranked), initial=0.0)
        return [name for (name, _), covered in zip(ranked, before, strict=False) if covered < limit]
