"""lab4.engine_table: from raw measurements to a table one may show."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolotrt_lab.grading import Exercise, Mismatch, expect, points

_PLAIN, _COLD, _HICCUP = "a quiet machine", "a slow start", "one hiccup"
_BETTER, _FAILED, _NO_BASELINE = "INT8 scores higher", "one engine failed", "the baseline failed"
_REFERENCE, _BASELINE = "ONNX Runtime FP32", "FP32 engine"
_COLUMNS = ("name", "executed", "map50_95", "drop", "size_mib", "build_s", "median_ms", "p99_ms", "time_ratio")

EXERCISE = Exercise(
    id="lab4.engine_table",
    title="A table one may show",
    objective="Report accuracy, size and latency of engines honestly.",
    answer="engine_table",
    difficulty=2,
    minutes=20,
    cases=(_PLAIN, _COLD, _HICCUP, _BETTER, _FAILED, _NO_BASELINE),
    hidden=(_COLD, _HICCUP, _BETTER, _FAILED),
    forbidden=("yolotrt_lab.profiling.timing.measure_latency",),
    reading="https://docs.nvidia.com/deeplearning/tensorrt/latest/performance/best-practices.html",
)


def inputs(case: str, rng: np.random.Generator) -> dict[str, object]:
    """What a session measured: four models, each with its own samples."""
    base = float(rng.uniform(18, 40))
    accuracy = float(rng.uniform(0.4, 0.7))
    size = int(rng.integers(9_000_000, 12_000_000))
    models: dict[str, dict[str, Any]] = {}
    for name, executed, factor, drop, share in (
        (_REFERENCE, "fp32", 1.15, 0.0, 0.98),
        (_BASELINE, "fp32", 1.0, rng.uniform(-2e-4, 2e-4), 1.0),
        ("FP16 engine", "bf16", 0.6, rng.uniform(1e-3, 4e-3), 0.52),
        ("INT8 engine", "int8", 0.45, rng.uniform(5e-3, 2e-2), 0.31),
    ):
        if case == _BETTER and executed == "int8":
            drop = -drop
        warmup = int(rng.integers(3, 7))
        samples = base * factor * (1 + rng.gamma(2.0, 0.012, size=warmup + int(rng.integers(30, 45))))
        samples[:warmup] *= rng.uniform(1.05, 1.2) if case != _COLD else rng.uniform(10, 40, size=warmup)
        if case == _HICCUP and executed != "bf16":
            samples[warmup + int(rng.integers(3, 20))] *= rng.uniform(15, 30)
        models[name] = {
            "executed": executed,
            "map50_95": accuracy - float(drop),
            "bytes": int(size * share),
            "build_s": None if name == _REFERENCE else float(rng.uniform(1, 60)),
            "warmup": warmup,
            "latency_ms": [float(sample) for sample in samples],
        }
    if case == _FAILED:
        models["INT8 engine"] |= {"map50_95": None, "latency_ms": models["INT8 engine"]["latency_ms"][:2]}
    if case == _NO_BASELINE:
        models[_BASELINE]["latency_ms"] = []
    return {"measurements": {"reference": _REFERENCE, "baseline": _BASELINE, "models": models}}


def _samples(model: dict[str, Any]) -> list[float]:
    return list(model["latency_ms"][model["warmup"] :])


def _median(model: dict[str, Any]) -> float | None:
    return float(np.median(_samples(model))) if _samples(model) else None


def _models(answer: Any) -> dict[str, dict[str, Any]]:
    return dict(answer.inputs["measurements"]["models"])


def _row(answer: Any, name: str) -> Any:
    """Return the accessor of a model's row."""
    rows = answer.list()
    for index, row in enumerate(rows):
        if isinstance(row, dict) and str(row.get("name")) == name:
            entry = answer.item(index)
            entry.mapping(keys=_COLUMNS)
            return entry
    raise Mismatch(
        expected=f"a row for {name}",
        seen=f"{len(rows)} rows without it",
        misconception="A model that failed stays in the table. Leaving it out makes the rest look complete.",
    )


def _expect_number(
    answer: Any, name: str, column: str, right: float, *, rtol: float = 1e-6, atol: float = 0.0, ideas: dict[str, Any]
) -> None:
    value = _row(answer, name).item(column)
    if value.output is None:
        raise Mismatch(expected=f"{name}, {column}: {right:.5g}", seen="None", misconception="This was measured.")
    seen = value.number()
    text = next((idea for idea, wrong in ideas.items() if wrong is not None and np.isclose(seen, wrong, 1e-6, 0)), "")
    expect(
        np.isclose(seen, right, rtol=rtol, atol=atol),
        expected=f"{name}, {column}: {right:.5g}",
        seen=f"{seen:.5g}",
        misconception=text,
    )


@points(1)
def test_every_model_has_a_row(answer):
    """Every model has one row, in the order of the measurements, with what was recorded."""
    models = _models(answer)
    names = [str(row.get("name")) if isinstance(row, dict) else "" for row in answer.list()]
    if sorted(names) == sorted(models) and names != list(models):
        raise Mismatch(
            expected=f"the order {', '.join(models)}",
            seen=", ".join(names),
            misconception="Sorting puts the favourite first. The reader wants the reference there.",
        )
    for name, model in models.items():
        row = _row(answer, name)
        for column in ("executed", "map50_95", "build_s"):
            value = row.item(column).output
            same = value is model[column] or value == model[column]
            if isinstance(model[column], float) and isinstance(value, (float, np.floating)):
                same = bool(np.isclose(value, model[column], rtol=1e-9))
            expect(
                isinstance(same, (bool, np.bool_)) and same,
                expected=f"{name}, {column}: {model[column]}",
                seen=str(value)[:60],
                misconception="There is nothing to show, and a number would be an invention."
                if model[column] is None
                else "Values are shown as measured; rounding belongs to the display."
                if isinstance(value, float)
                else "",
            )
    expect(len(names) == len(models), expected=f"{len(models)} rows", seen=f"{len(names)}")


@points(2, cases=(_PLAIN, _COLD, _HICCUP, _BETTER, _FAILED))
def test_latency_is_the_median_and_the_tail(answer):
    """Latency is the median and the 99th percentile, without the warm-up."""
    for name, model in _models(answer).items():
        samples, everything = _samples(model), model["latency_ms"]
        if not samples:
            continue
        _expect_number(
            answer,
            name,
            "median_ms",
            float(np.median(samples)),
            ideas={
                "This is the mean: one hiccup moves it, and nobody's frame takes that long.": np.mean(samples),
                "The warm-up is in it. First runs load code and fill caches; they happen once in an engine's life.": (
                    np.median(everything)
                ),
                "This is the mean of everything, warm-up included.": np.mean(everything),
                "This is the best run of all. It is what the machine can do, not what it does.": np.min(samples),
            },
        )
        _expect_number(
            answer,
            name,
            "p99_ms",
            float(np.percentile(samples, 99)),
            rtol=1e-5,
            ideas={
                "This is the worst sample of all; the 99th percentile lies a little below it.": np.max(samples),
                "The warm-up is in it.": np.percentile(everything, 99),
                "This is the 90th percentile.": np.percentile(samples, 90),
                "This is mean and spread of a bell curve. Latencies have a long tail to one side.": (
                    np.mean(samples) + 2.326 * np.std(samples)
                ),
            },
        )


@points(1)
def test_the_drop_is_against_onnx_runtime(answer):
    """The drop is ONNX Runtime's mAP minus the model's."""
    models = _models(answer)
    reference = models[_REFERENCE]["map50_95"]
    for name, model in models.items():
        if model["map50_95"] is None:
            continue
        drop = reference - model["map50_95"]
        ideas = {
            "A gain became zero. Whether INT8 scores higher by chance is for the reader to see.": (
                0.0 if drop < 0 else None
            ),
            "This is measured against the FP32 engine. An error that all engines share would vanish.": (
                models[_BASELINE]["map50_95"] - model["map50_95"]
            ),
            "The sign is turned: a drop is positive where accuracy is lost.": -drop if drop else None,
            "This is relative to the reference; mAP differences are given in points.": (
                drop / reference if drop else None
            ),
            "This is in percent.": 100 * drop if drop else None,
        }
        _expect_number(answer, name, "drop", drop, rtol=1e-6, atol=1e-9, ideas=ideas)


@points(1, cases=(_PLAIN, _COLD, _HICCUP, _BETTER, _FAILED))
def test_the_ratio_compares_medians_with_the_baseline(answer):
    """The time ratio is the model's median over that of the FP32 engine."""
    models = _models(answer)
    base = _median(models[_BASELINE]) or 1.0
    onnx_runtime = _median(models[_REFERENCE])
    for name, model in models.items():
        median = _median(model)
        if median is None:
            continue
        means = np.mean(_samples(model)) / np.mean(_samples(models[_BASELINE]))
        _expect_number(
            answer,
            name,
            "time_ratio",
            median / base,
            ideas={
                "This is the speed-up, the other way around: half the time is 0.5 here.": base / median
                if name != _BASELINE
                else None,
                "This is against ONNX Runtime; the column says what the precision brings, so the baseline is the FP32 "
                "engine of the same compiler.": median / onnx_runtime if onnx_runtime else None,
                "These are means: a single hiccup of the baseline makes everything else look fast.": means,
            },
        )


@points(1)
def test_sizes_are_in_mib(answer):
    """Sizes are in MiB."""
    for name, model in _models(answer).items():
        _expect_number(
            answer,
            name,
            "size_mib",
            model["bytes"] / 2**20,
            ideas={
                "These are MB, of a million bytes.": model["bytes"] / 1e6,
                "These are KiB.": model["bytes"] / 1024,
                "These are bytes.": model["bytes"],
            },
        )


@points(1, cases=(_FAILED, _NO_BASELINE))
def test_what_was_not_measured_stays_empty(answer):
    """What was not measured is None."""
    models = _models(answer)
    no_base = _median(models[_BASELINE]) is None
    for name, model in models.items():
        missing = [] if _median(model) is not None else ["median_ms", "p99_ms", "time_ratio"]
        missing += ["time_ratio"] if no_base and "time_ratio" not in missing else []
        missing += ["drop"] if model["map50_95"] is None else []
        for column in missing:
            value = _row(answer, name).item(column).output
            expect(
                value is None,
                expected=f"{name}, {column}: None",
                seen=str(value)[:40],
                misconception="Zero milliseconds would be the fastest engine of all. An empty place is honest."
                if isinstance(value, (int, float)) and value == 0
                else "There are no samples behind this number.",
            )
