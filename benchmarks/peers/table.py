"""The results as Markdown, made from the JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peers.results import MOST_DROP, MOST_TIME, Row

__all__ = ["dataset_table", "markdown"]

HEADER = (
    "model", "runtime", "mAP50-95", "mAP50", "drop to FP32 (95 %)", "ms: median (min to max)",
    "time to FP32: median (min to max)", "front",
)  # fmt: skip
LEGEND = (
    "Sorted by time. *front*: **yes** where no other row is both faster and more accurate; otherwise how many rows "
    "are faster in every repeat and more accurate beyond chance (paired bootstrap over the images). An asterisk marks "
    "the runtime the maker means the model for. Each repeat gives a median; min and max are over the repeats."
)


def markdown(results: Mapping[str, Any]) -> str:
    """Return everything a reader needs: on what, one table per data set, and the goals."""
    lines = ["# INT8 against peers", "", *_provenance(results), "", LEGEND, ""]
    for name, content in results["datasets"].items():
        lines += [f"## {name}: {content['test_images']} test images", "", dataset_table(content["rows"]), ""]
        missing = [row for row in content["rows"] if "reason" in row]
        if missing:
            lines += ["Not measured:", "", *(f"- {_model(row)}, {row['runtime']}: {row['reason']}" for row in missing)]
            lines.append("")
        lines += [*_goal_lines(content["goals"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _provenance(results: Mapping[str, Any]) -> list[str]:
    machine, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"{machine['processor']}, {machine['cores']} cores ({', '.join(machine['cpu_flags']) or 'no INT8 or BF16'}), "
        f"{machine['memory_gib']} GiB, Python {machine['python']}; {versions}. Load average before and after: "
        f"{results['load_average']['before']:.1f} and {results['load_average']['after']:.1f}.",
        "",
        f"640 x 640, batch 1, {settings['calibration_images']} calibration images of the training split, the same for "
        f"all; {settings['repeats']} repeats of {settings['rounds']} turns, {settings['resamples']} draws of images.",
    ]
    if results["tensorrt_platform"] == "emulated":
        lines += ["", "**TensorRT is emulated on the CPU by OpenVINO: these are CPU timings, not GPU timings.**"]
    return lines


def dataset_table(rows: Sequence[Row]) -> str:
    """Return the measured rows, the fastest first."""
    measured = sorted((row for row in rows if "reason" not in row), key=lambda row: row["time_to_fp32"]["median"])
    cells = [HEADER, ("---",) * len(HEADER), *(_cells(row) for row in measured)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cells(row: Row) -> tuple[str, ...]:
    drop, latency, ratio = row["map50_95_drop"], row["latency_ms"], row["time_to_fp32"]
    beaten = len(row["clearly_beaten_by"])
    return (
        _model(row),
        row["runtime"] + ("*" if row["is_makers_runtime"] else ""),
        f"{row['map50_95']:.4f}",
        f"{row['map50']:.4f}",
        f"{drop['value']:+.4f} ({drop['low']:+.4f} to {drop['high']:+.4f})",
        f"{latency['median']:.1f} ({latency['min']:.1f} to {latency['max']:.1f})",
        f"{ratio['median']:.3f} ({ratio['min']:.3f} to {ratio['max']:.3f})",
        "**yes**" if row["on_front"] else (f"beaten by {beaten}" if beaten else ""),
    )


def _model(row: Row) -> str:
    return f"{row['maker']} {row['model']}"


def _goal_lines(goals: Sequence[Row]) -> list[str]:
    asked = {
        "drop_is_small": f"drop at most {MOST_DROP}",
        "is_fast": f"at most {MOST_TIME} of FP32's time",
        "on_front": "on the front",
        "beaten_by_nobody": "clearly beaten by nobody",
    }
    return [
        f"- {goal['name']}: " + ", ".join(f"{text}: {'yes' if goal[key] else 'NO'}" for key, text in asked.items())
        for goal in goals
    ]
