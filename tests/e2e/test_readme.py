"""What the README tells people to type works, in the order it is told."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The same commands on less data; of an option given twice the last one counts.
SMALLER = {
    ("data", "make"): "--train 8 --val 3 --test 3 --workers 1",
    ("train",): "--epochs 1 --imgsz 160 --max-images 8",
    ("export",): "--imgsz 160",
    ("calibrate",): "--count 4",
    ("layers",): "--repeats 2 --roof fp32=100,int8=400,gb_s=20",
    ("bench",): "--rounds 2 --warmup 1",
}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _commands() -> list[list[str]]:
    lines = [line for block in _blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("yolotrt ")]


@pytest.mark.slow
def test_the_path_step_by_step(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = _commands()
    assert len(commands) > 10
    for command in commands:
        extra = next((more for start, more in SMALLER.items() if tuple(command[: len(start)]) == start), "")
        outcome = cli(*command, *shlex.split(extra))
        assert outcome.code == 0, f"{' '.join(command)}\n{outcome.err}\n{outcome.out}"
    for block in _blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert list((tmp_path / "found").rglob("*.jpg"))


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {target for block in _blocks("bash") for target in re.findall(r"^make (\w+)", block, re.MULTILINE)}
    targets |= set(re.findall(r"`make (\w+)", README))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target} is not in the Makefile"


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert link.startswith("http") or (ROOT / link).exists(), link
