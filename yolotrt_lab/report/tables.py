"""The report's tables, as text cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yolotrt_lab.evaluation.tolerance import TOLERANCES
from yolotrt_lab.report.plots.accuracy import agreement_cells, column_title
from yolotrt_lab.report.plots.style import display_name
from yolotrt_lab.report.schema import Agreement, Results

__all__ = [
    "Table",
    "accuracy_table",
    "agreement_rows",
    "class_table",
    "engine_table",
    "framework_table",
    "speed_table",
]


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Its caption.
        header: One cell per column.
        rows: Cells; the first one names the row.
        numeric: Columns to align right.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> frozenset[int]:
        """Columns whose every filled cell starts like a number."""
        columns = range(1, len(self.header))
        return frozenset(
            index
            for index in columns
            if any(row[index] not in ("", "-") for row in self.rows)
            and all(row[index] in ("", "-") or row[index][0] in "+-0123456789" for row in self.rows)
        )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Table]:
    return [Table(title, tuple(header), tuple(tuple(row) for row in rows))] if rows else []


def engine_table(results: Results) -> list[Table]:
    """Return how each engine was built and what it became."""
    rows = [
        (
            display_name(name),
            display_name(engine.requested_precision),
            display_name(engine.executed_precision),
            ", ".join(f"{display_name(key)} {share:.0%}" for key, share in engine.precision_share.items()) or "-",
            _number(engine.layer_count, "d"),
            _number(engine.size_mb, ".1f"),
            _number(engine.memory_mb, ".1f"),
            _number(engine.build_s, ".1f"),
        )
        for name, engine in results.engines.items()
    ]
    header = ("Engine", "Asked for", "Runs in", "Share of layers", "Layers", "Size (MB)", "Memory (MB)", "Build (s)")
    return _table("Engines as built", header, rows)


def accuracy_table(results: Results) -> list[Table]:
    """Return accuracy per engine with its difference to FP32."""
    rows = [
        (
            display_name(name),
            _number(engine.map50, ".3f"),
            _number(engine.map50_95, ".3f"),
            "-" if engine.map50_95_interval is None else "{:.3f} to {:.3f}".format(*engine.map50_95_interval),
            _number(engine.delta_to_fp32, "+.4f"),
        )
        for name, engine in results.engines.items()
        if engine.map50_95 is not None or engine.map50 is not None
    ]
    return _table("Accuracy", ("Engine", "mAP50", "mAP50-95", "95 % interval", "Difference to FP32"), rows)


def class_table(results: Results) -> list[Table]:
    """Return mAP50-95 per class and engine."""
    engines = {name: item.per_class_map50_95 for name, item in results.engines.items() if item.per_class_map50_95}
    classes = list(dict.fromkeys(label for per_class in engines.values() for label in per_class))
    rows = [(label, *(_number(values.get(label), ".3f") for values in engines.values())) for label in classes]
    return _table("mAP50-95 by class", ("Class", *map(display_name, engines)), rows)


def agreement_rows(results: Results) -> list[Table]:
    """Return the comparison with FP32 ONNX Runtime, and what was allowed."""
    found = {
        name: item.agreement_with_onnxruntime
        for name, item in results.engines.items()
        if item.agreement_with_onnxruntime is not None
    }
    tables: list[Table] = []
    for title, part in (("Raw output", "tensor"), ("Boxes and scores", "boxes")):
        values = {name: getattr(item, part) for name, item in found.items()}
        keys = list(dict.fromkeys(key for numbers in values.values() for key in numbers))
        if keys:
            rows = [
                (display_name(name), *(agreement_cells(numbers.get(key)) for key in keys))
                for name, numbers in values.items()
            ]
            tables += _table(title, ("Engine", *map(column_title, keys)), rows)
    return [*tables, *_verdicts(found), *(_allowed(results) if found else [])]


def _verdicts(found: dict[str, Agreement]) -> list[Table]:
    rows = [
        (display_name(name), "pass" if item.verdict == "pass" else "FAIL", "; ".join(item.reasons) or "-")
        for name, item in found.items()
    ]
    return _table("Verdicts", ("Engine", "Verdict", "Reasons"), rows)


def speed_table(results: Results) -> list[Table]:
    """Return latency percentiles per engine."""
    base = results.engines.get("fp32")
    reference = base.latency_ms.p50_ms if base and base.latency_ms else None
    rows = [
        (
            display_name(name),
            *(f"{value:.2f}" for value in (stats.min_ms, stats.p50_ms, stats.p90_ms, stats.p99_ms, stats.mean_ms)),
            "{:.2f} to {:.2f}".format(*stats.p50_interval_ms),
            "-" if reference is None else f"{reference / stats.p50_ms:.2f}",
            str(len(stats.samples_ms)),
        )
        for name, engine in results.engines.items()
        if (stats := engine.latency_ms) is not None
    ]
    header = ("Engine", "Min", "p50", "p90", "p99", "Mean", "95 % interval of p50", "Times as fast as FP32", "Calls")
    return _table("Latency of one image (ms)", header, rows)


def framework_table(results: Results) -> list[Table]:
    """Return the frameworks' latency, fastest first."""
    ordered = sorted(results.frameworks.items(), key=lambda item: item[1].latency_ms.p50_ms)
    rows = [
        (
            name,
            item.version or "-",
            item.device or "-",
            display_name(item.precision) or "-",
            f"{item.latency_ms.p50_ms:.2f}",
            f"{item.latency_ms.p90_ms:.2f}",
            _number(item.map50_95, ".3f"),
        )
        for name, item in ordered
    ]
    header = ("Framework", "Version", "Device", "Precision", "p50 (ms)", "p90 (ms)", "mAP50-95")
    return _table("Frameworks, timed in turns", header, rows)


def _allowed(results: Results) -> list[Table]:
    """Return the tolerances of the precisions that ran."""
    executed = list(dict.fromkeys(engine.executed_precision for engine in results.engines.values()))
    names = list(vars(TOLERANCES[executed[0]])) if executed else []
    rows = [
        (display_name(precision), *(agreement_cells(getattr(TOLERANCES[precision], name)) for name in names))
        for precision in executed
    ]
    return _table("Allowed, by the precision that ran", ("Precision", *map(column_title, names)), rows)
