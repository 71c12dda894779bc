"""The results in plain words: what is faster, what it costs, and what to distrust."""

from __future__ import annotations

from yolotrt_lab.profiling.timing import LatencyStats
from yolotrt_lab.report.plots.style import display_name
from yolotrt_lab.report.schema import EngineResult, Results

__all__ = ["summarize"]

_BASELINE = "fp32"


def summarize(results: Results) -> tuple[str, ...]:
    """Return sentences a reader without background can act on; fewer when less was measured."""
    sentences: list[str] = []
    if results.platform.is_emulated:
        sentences.append(
            "TensorRT was emulated on the CPU: trust accuracy and agreement, and read speeds as CPU speeds only."
        )
    baseline = results.engines.get(_BASELINE)
    for name, engine in results.engines.items():
        sentences.append(_engine_sentence(name, engine, baseline=None if name == _BASELINE else baseline))
    sentences += [text for name, engine in results.engines.items() if (text := _precision_sentence(name, engine))]
    sentences += _verdict_sentences(results)
    if (best := _fastest_acceptable(results)) is not None:
        sentences.append(best)
    if not results.engines:
        sentences.append("This run built no engine; what it did measure is below.")
    return tuple(sentences)


def _engine_sentence(name: str, engine: EngineResult, *, baseline: EngineResult | None) -> str:
    parts: list[str] = []
    if engine.map50_95 is not None:
        accuracy = f"reaches mAP50-95 {engine.map50_95:.3f}"
        if engine.delta_to_fp32 is not None and baseline is not None:
            accuracy += f" ({engine.delta_to_fp32:+.3f} against FP32)"
        parts.append(accuracy)
    if engine.latency_ms is not None:
        speed = f"takes {engine.latency_ms.p50_ms:.1f} ms per image"
        if baseline is not None and baseline.latency_ms is not None:
            speed += f" ({_speed_words(engine.latency_ms, baseline.latency_ms)})"
        parts.append(speed)
    if engine.size_mb is not None:
        parts.append(f"is {engine.size_mb:.1f} MB large")
    if not parts:
        return f"The {display_name(name)} engine was built, but not measured."
    return f"The {display_name(name)} engine {_joined(parts)}."


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}"


def _speed_words(latency: LatencyStats, baseline: LatencyStats) -> str:
    """Compare medians, and call a difference one only when their 95 % intervals do not overlap."""
    low, high = latency.p50_interval_ms
    base_low, base_high = baseline.p50_interval_ms
    if high < base_low:
        return f"{baseline.p50_ms / latency.p50_ms:.2f} times as fast as FP32"
    if low > base_high:
        return f"{latency.p50_ms / baseline.p50_ms:.2f} times as slow as FP32"
    return "no clear difference to FP32 in this run"


def _precision_sentence(name: str, engine: EngineResult) -> str:
    if engine.executed_precision == engine.requested_precision:
        return ""
    return (
        f"The {display_name(name)} engine was asked for {display_name(engine.requested_precision)}, but most of it "
        f"runs in {display_name(engine.executed_precision)}; it is judged by that precision."
    )


def _verdict_sentences(results: Results) -> list[str]:
    judged = {name: item.agreement_with_onnxruntime for name, item in results.engines.items()}
    passed = [display_name(name) for name, item in judged.items() if item is not None and item.verdict == "pass"]
    sentences: list[str] = []
    if passed:
        sentences.append(f"Agrees with FP32 ONNX Runtime within its tolerance: {', '.join(passed)}.")
    for name, item in judged.items():
        if item is not None and item.verdict == "fail":
            reasons = "; ".join(item.reasons) or "no reason was recorded"
            sentences.append(f"The {display_name(name)} engine does NOT agree with ONNX Runtime: {reasons}")
    return [text if text.endswith(".") else f"{text}." for text in sentences]


def _fastest_acceptable(results: Results) -> str | None:
    """Recommend the fastest engine that was judged and passed; recommend none where nothing was judged."""
    fit = {
        name: engine.latency_ms.p50_ms
        for name, engine in results.engines.items()
        if engine.latency_ms is not None
        and engine.agreement_with_onnxruntime is not None
        and engine.agreement_with_onnxruntime.verdict == "pass"
    }
    if len(fit) < 2:
        return None
    name = min(fit, key=lambda key: fit[key])
    where = "on this CPU" if results.platform.is_emulated else f"on this {results.platform.device}"
    return f"Of the engines that agree, {display_name(name)} is the fastest {where}."
