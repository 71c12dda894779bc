"""Made-up benchmark scripts for lab1.benchmark_lies, as lists of steps with line numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("cold start", "no synchronisation", "extra work", "unequal work", "picked number")
HONEST_STATISTICS = ("median", "p90", "p99")

_PICKED = ("minimum", "first", "mean without the slowest")
_REPORT = {
    "median": "print(median(times))",
    "p90": "print(p90(times))",
    "p99": "print(p99(times))",
    "minimum": "print(min(times))",
    "first": "print(times[0])",
    "mean without the slowest": "print(mean(sorted(times)[:-10]))",
}
_EXTRA = {
    "read image": "image = read_image(path)",
    "resize": "image = letterbox(image, 640)",
    "print": 'print("still running")',
}
_FILES = {"torch_model": "detector.pt", "ort_session": "detector.onnx", "engine": "detector.engine"}

Step = dict[str, Any]

# The article of the notebook: every lie once.
ARTICLE: tuple[Step, ...] = (
    {"line": 1, "code": "images = read_images(64)", "does": "read image"},
    {"line": 2, "code": 'torch_model = load("detector.pt")', "does": "load", "model": "torch_model"},
    {"line": 3, "code": 'engine = load("detector.engine")', "does": "load", "model": "engine"},
    {"line": 6, "code": "for _ in range(100):", "does": "repeat", "times": 100},
    {"line": 7, "code": "    start_clock()", "does": "start clock"},
    {"line": 8, "code": "    image = letterbox(images[0], 640)", "does": "resize"},
    {"line": 9, "code": "    torch_model(images[:1])", "does": "call", "model": "torch_model", "batch": 1},
    {"line": 10, "code": "    synchronize()", "does": "synchronize"},
    {"line": 11, "code": "    stop_clock()", "does": "stop clock"},
    {"line": 12, "code": "print(p99(times))", "does": "report", "model": "torch_model", "statistic": "p99"},
    {"line": 15, "code": "engine(images[:8])", "does": "call", "model": "engine", "batch": 8},
    {"line": 16, "code": "synchronize()", "does": "synchronize"},
    {"line": 17, "code": "for _ in range(100):", "does": "repeat", "times": 100},
    {"line": 18, "code": "    start_clock()", "does": "start clock"},
    {"line": 19, "code": "    engine(images[:8])", "does": "call", "model": "engine", "batch": 8},
    {"line": 20, "code": "    stop_clock()", "does": "stop clock"},
    {"line": 21, "code": "synchronize()", "does": "synchronize"},
    {"line": 22, "code": "print(min(times) / 8)", "does": "report", "model": "engine", "statistic": "minimum"},
)


@dataclass
class Block:
    """How one model is timed."""

    model: str
    batch: int
    warm: bool = True
    warm_batch: int = 0
    reloaded: bool = False
    waits_after_warm_up: bool = True
    waits_in_clock: bool = True
    extra: str = ""
    statistic: str = "median"


class _Writer:
    """Writes steps, with line numbers that leave room for blank lines and comments."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.steps: list[Step] = []
        self._line = int(rng.integers(1, 9))

    def add(self, code: str, does: str, *, indent: int = 0, **details: Any) -> None:
        """Write one step."""
        self.steps.append({"line": self._line, "code": "    " * indent + code, "does": does, **details})
        self._line += 1

    def gap(self) -> None:
        """Leave some lines out."""
        self._line += int(self._rng.integers(1, 4))


def make_listing(case: str, rng: np.random.Generator) -> list[Step]:
    """Return the steps of one case."""
    if case == "the article":
        return [dict(step) for step in ARTICLE]
    models = [str(name) for name in rng.permutation(list(_FILES))][: 3 if case in ("warm-ups", "three models") else 2]
    batch = int(rng.choice([1, 2, 4, 8]))
    statistic = str(rng.choice(HONEST_STATISTICS))
    blocks = [Block(model, batch, statistic=statistic) for model in models]
    if case == "warm-ups":
        # One is not waited for, one is undone by loading again, one is made with another batch, which is no lie.
        mistakes = [int(number) for number in rng.permutation(3)]
        blocks[mistakes[0]].waits_after_warm_up = False
        blocks[mistakes[1]].reloaded = True
        blocks[mistakes[2]].warm_batch = batch + 1
        return _written(blocks, rng)
    count = {"an honest one": 0, "one lie": 1, "some lies": 3, "three models": 4}[case]
    for kind in rng.permutation(len(_LIES))[:count]:
        # A lie about equal work needs something before it to be unequal to.
        first = 1 if _LIES[int(kind)] is _tell_unequal else 0
        _LIES[int(kind)](blocks[int(rng.integers(first, len(blocks)))], rng)
    return _written(blocks, rng)


def _tell_cold(block: Block, rng: np.random.Generator) -> None:
    block.warm, block.reloaded = bool(rng.random() < 0.5), True


def _tell_unwaited(block: Block, rng: np.random.Generator) -> None:
    if rng.random() < 0.6 or not block.warm:
        block.waits_in_clock = False
    else:
        block.waits_after_warm_up = False


def _tell_extra(block: Block, rng: np.random.Generator) -> None:
    block.extra = str(rng.choice(["read image", "resize", "print"]))


def _tell_unequal(block: Block, rng: np.random.Generator) -> None:
    block.batch = block.batch * 2 if rng.random() < 0.5 else block.batch + 7


def _tell_picked(block: Block, rng: np.random.Generator) -> None:
    block.statistic = str(rng.choice(_PICKED))


_LIES = (_tell_cold, _tell_unwaited, _tell_extra, _tell_unequal, _tell_picked)


def _written(blocks: list[Block], rng: np.random.Generator) -> list[Step]:
    writer = _Writer(rng)
    writer.add("images = read_images(64)", "read image")
    loads_first = bool(rng.random() < 0.5)
    if loads_first:
        for block in blocks:
            _write_load(writer, block)
    for block in blocks:
        writer.gap()
        if not loads_first:
            _write_load(writer, block)
        _write_block(writer, block, rng)
    return writer.steps


def _write_load(writer: _Writer, block: Block) -> None:
    writer.add(f'{block.model} = load("{_FILES[block.model]}")', "load", model=block.model)


def _write_call(writer: _Writer, block: Block, *, batch: int) -> None:
    writer.add(f"{block.model}(images[:{batch}])", "call", indent=1, model=block.model, batch=batch)


def _write_block(writer: _Writer, block: Block, rng: np.random.Generator) -> None:
    if block.warm:
        times = int(rng.choice([5, 10, 50]))
        writer.add(f"for _ in range({times}):", "repeat", times=times)
        _write_call(writer, block, batch=block.warm_batch or block.batch)
        if block.waits_after_warm_up and not block.reloaded:
            writer.add("synchronize()", "synchronize")
    if block.reloaded:
        writer.add("synchronize()", "synchronize")
        _write_load(writer, block)
    if rng.random() < 0.4:
        writer.add(_EXTRA["resize"], "resize")
    times = int(rng.choice([100, 200, 1000]))
    writer.add(f"for _ in range({times}):", "repeat", times=times)
    writer.add("start_clock()", "start clock", indent=1)
    if block.extra and rng.random() < 0.5:
        writer.add(_EXTRA[block.extra], block.extra, indent=1)
        block.extra = ""
    _write_call(writer, block, batch=block.batch)
    if block.waits_in_clock:
        writer.add("synchronize()", "synchronize", indent=1)
    if block.extra:
        writer.add(_EXTRA[block.extra], block.extra, indent=1)
    writer.add("stop_clock()", "stop clock", indent=1)
    if not block.waits_in_clock:
        writer.add("synchronize()", "synchronize")
    writer.gap()
    writer.add(_REPORT[block.statistic], "report", model=block.model, statistic=block.statistic)


def lies_of(steps: list[Step]) -> set[tuple[int, str]]:
    """Return every lie of a listing as (line, kind)."""
    lies: set[tuple[int, str]] = set()
    warm: set[str] = set()
    unfinished = timing = False
    batch: int | None = None
    for step in steps:
        line, does = step["line"], step["does"]
        if does in ("start clock", "stop clock"):
            if unfinished:
                lies.add((line, "no synchronisation"))
            timing = does == "start clock"
        elif does == "synchronize":
            unfinished = False
        elif does == "call":
            if timing:
                batch = step["batch"] if batch is None else batch
                if step["model"] not in warm:
                    lies.add((line, "cold start"))
                if step["batch"] != batch:
                    lies.add((line, "unequal work"))
            warm.add(step["model"])
            unfinished = True
        elif timing:
            lies.add((line, "extra work"))
        if does == "load":
            warm.discard(step["model"])
        if does == "report" and step["statistic"] not in HONEST_STATISTICS:
            lies.add((line, "picked number"))
    return lies
