"""Wrong and right answers to lab4.engine_table."""

import statistics

import numpy as np
from tests_course_api import right, wrong


def kept(model):
    return model["latency_ms"][model["warmup"] :]


def table(measurements, *, samples=kept, center=np.median, tail=lambda s: np.percentile(s, 99), **columns):
    models = measurements["models"]
    medians = {name: float(center(samples(model))) if samples(model) else None for name, model in models.items()}
    base = medians[measurements["baseline"]]
    best = models[measurements["reference"]]["map50_95"]
    rows = []
    for name, model in models.items():
        accuracy, median = model["map50_95"], medians[name]
        row = {
            "name": name,
            "executed": model["executed"],
            "map50_95": accuracy,
            "drop": None if accuracy is None else best - accuracy,
            "size_mib": model["bytes"] / 2**20,
            "build_s": model["build_s"],
            "median_ms": median,
            "p99_ms": float(tail(samples(model))) if samples(model) else None,
            "time_ratio": median / base if median and base else None,
        }
        rows.append(row | {key: change(row, model, measurements) for key, change in columns.items()})
    return rows


@wrong(caught_by="test_latency_is_the_median_and_the_tail", says="one hiccup moves it")
def means(measurements):
    """Averages."""
    return table(measurements, center=np.mean)


@wrong(caught_by="test_latency_is_the_median_and_the_tail", says="once in an engine's life")
def warm_up_too(measurements):
    """Keeps all samples: data is data."""
    return table(measurements, samples=lambda model: model["latency_ms"])


@wrong(caught_by="test_latency_is_the_median_and_the_tail", says="worst sample")
def worst_case(measurements):
    """Takes the maximum for the tail."""
    return table(measurements, tail=max)


@wrong(caught_by="test_the_drop_is_against_onnx_runtime", says="all engines share")
def against_the_engine(measurements):
    """Measures the drop against the FP32 engine."""

    def drop(row, _model, given):
        base = given["models"][given["baseline"]]["map50_95"]
        return None if row["map50_95"] is None else base - row["map50_95"]

    return table(measurements, drop=drop)


@wrong(caught_by="test_the_drop_is_against_onnx_runtime", says="A gain became zero")
def no_gains(measurements):
    """Believes that quantization cannot help."""
    return table(measurements, drop=lambda row, *_: None if row["drop"] is None else max(row["drop"], 0.0))


@wrong(caught_by="test_the_ratio_compares_medians_with_the_baseline", says="the other way around")
def speed_up(measurements):
    """Gives the speed-up."""
    return table(measurements, time_ratio=lambda row, *_: None if row["time_ratio"] is None else 1 / row["time_ratio"])


@wrong(caught_by="test_sizes_are_in_mib", says="a million bytes")
def megabytes(measurements):
    """Divides by a million."""
    return table(measurements, size_mib=lambda _row, model, _given: model["bytes"] / 1e6)


@wrong(caught_by="test_what_was_not_measured_stays_empty", says="fastest engine of all")
def zeros(measurements):
    """Fills gaps with zeros."""
    return [{key: 0.0 if value is None and key != "build_s" else value for key, value in row.items()}
            for row in table(measurements)]  # fmt: skip


@wrong(caught_by="test_every_model_has_a_row", says="look complete")
def successes_only(measurements):
    """Leaves out what failed."""
    return [row for row in table(measurements) if row["median_ms"] is not None]


@wrong(caught_by="test_every_model_has_a_row", says="favourite")
def fastest_first(measurements):
    """Sorts by latency."""
    return sorted(table(measurements), key=lambda row: row["median_ms"] or 1e9)


@right
def by_the_standard_library(measurements):
    """Uses statistics and plain lists; adds a column of its own."""
    models = measurements["models"]

    def median_of(name):
        samples = kept(models[name])
        return statistics.median(samples) if samples else None

    def percentile(samples):
        ordered = sorted(samples)
        place = 0.99 * (len(ordered) - 1)
        low = int(place)
        return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])

    base, rows = median_of(measurements["baseline"]), []
    for name, model in models.items():
        median, accuracy = median_of(name), model["map50_95"]
        rows.append(
            {
                "name": name,
                "executed": model["executed"],
                "map50_95": accuracy,
                "drop": models[measurements["reference"]]["map50_95"] - accuracy if accuracy is not None else None,
                "size_mib": model["bytes"] / 1024 / 1024,
                "build_s": model["build_s"],
                "median_ms": median,
                "p99_ms": percentile(kept(model)) if kept(model) else None,
                "time_ratio": median / base if None not in (median, base) else None,
                "samples": len(kept(model)),
            }
        )
    return tuple(rows)


@right
def with_numpy_numbers(measurements):
    """Leaves NumPy's own numbers in the table."""
    rows = table(measurements)
    for row in rows:
        row.update({key: np.float64(value) for key, value in row.items() if isinstance(value, float)})
    return rows
